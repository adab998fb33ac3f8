"""A deployment that exists for as long as the tasks of a block need it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from airflow.providers.standard.operators.empty import EmptyOperator
from airflow.sdk import TaskGroup

from airflow_provider_fireworks.operators.deployment.create import FireworksCreateDeploymentOperator
from airflow_provider_fireworks.operators.deployment.delete import FireworksDeleteDeploymentOperator
from airflow_provider_fireworks.sensors.deployment import FireworksDeploymentReadySensor

_NOT_TAKEN = frozenset({"task_id", "deployment_id", "wait_for_completion", "validate_only"})


@dataclass(frozen=True)
class TemporaryDeployment:
    """
    What the block of :func:`temporary_deployment` uses.

    :ivar deploy: creates the deployment. To run a task before it: ``x >> deployment.deploy``.
    :ivar up: waits until it is ready.
    :ivar remove: deletes it. To run a task after that: ``deployment.remove >> x``.
    """

    deploy: FireworksCreateDeploymentOperator
    up: FireworksDeploymentReadySensor
    remove: FireworksDeleteDeploymentOperator

    @property
    def name(self) -> Any:
        """The full resource name of the deployment, as an ``XComArg``."""
        return _output(self.deploy)["deployment"]

    @property
    def inference_model(self) -> Any:
        """The ``model`` of an inference request, as an ``XComArg`` of ``up``, which finds out which name answers."""
        return _output(self.up)["inference_model"]


@contextmanager
def temporary_deployment(
    *,
    group_id: str | None = None,
    ready_timeout: float = 3600,
    wait_for_inference: bool = True,
    capacity_timeout: float | None = None,
    remove_retries: int = 5,
    **arguments: Any,
) -> Iterator[TemporaryDeployment]:
    """
    Deploy a model for the tasks of a block, and delete the deployment however they end.

    Adds the tasks ``deploy`` (creates only; ``retries=2``), ``up`` (waits), ``done`` and ``remove``. The block is
    every task created inside the ``with``: task groups, mapped tasks and further temporary deployments included. Its
    first tasks run after ``up``, and ``remove`` waits for its last ones. A task outside of the block that uses the
    deployment is not protected from the removal.

    The run succeeds or fails as the block does, and it fails if the deployment cannot be created, does not become
    ready, or cannot be deleted. After ``dagrun_timeout`` or ``fail_fast`` Airflow skips ``remove`` too, and only
    :class:`FireworksSweepDeploymentsOperator` finds the deployment: prefer ``ready_timeout`` and
    ``execution_timeout``.

    Example::

        with temporary_deployment(prepared=ready.output, accelerator_type="NVIDIA_H100_80GB") as deployment:
            smoke_test(deployment.inference_model)

    :param group_id: puts the four tasks and the block into a task group; needed for a second temporary deployment in
        one DAG or group.
    :param ready_timeout: seconds that ``up`` waits.
    :param wait_for_inference: wait until inference answers, not only until the deployment is READY.
    :param capacity_timeout: seconds that Fireworks may have no GPUs for the deployment, before ``up`` fails and, if it
        has no retries left, ``remove`` deletes the deployment; ``None`` for as long as ``up`` waits.
    :param remove_retries: retries of ``remove``, 30 seconds apart.
    :param arguments: of :class:`FireworksCreateDeploymentOperator` and of Airflow's operators, for ``deploy``.
        ``fireworks_conn_id`` and ``account_id`` go to all tasks, ``deferrable`` and ``poll_interval`` to ``up`` too.
    :raises TypeError: for ``task_id``, ``wait_for_completion``, ``validate_only`` and ``deployment_id``. A deployment
        with an id that the user chose is meant to stay, and the sweep does not delete it.
    :raises ValueError: if a task directly after ``up`` has another trigger rule than ``all_success``, which is all that
        Airflow allows after a setup.
    """
    if wrong := _NOT_TAKEN & arguments.keys():
        raise TypeError(
            f"temporary_deployment() does not take {', '.join(sorted(wrong))}. For a deployment that stays, or for "
            "other wiring, use FireworksCreateDeploymentOperator."
        )
    where = {name: arguments[name] for name in ("fireworks_conn_id", "account_id") if name in arguments}
    waiting = {"deferrable": arguments["deferrable"]} if "deferrable" in arguments else {}
    if "poll_interval" in arguments:
        waiting["poke_interval"] = arguments["poll_interval"]
    if capacity_timeout is not None:
        waiting["capacity_timeout"] = capacity_timeout
    # default_args must neither prevent the removal nor make it wait for another run's.
    always: dict[str, Any] = {
        "depends_on_past": False,
        "wait_for_downstream": False,
        "execution_timeout": None,
    }
    with TaskGroup(group_id) if group_id else nullcontext():
        deploy = FireworksCreateDeploymentOperator(
            task_id="deploy",
            wait_for_completion=False,
            # Not that of default_args: it is for `up`.
            capacity_timeout=None,
            **{"retries": 2, **arguments},
        )
        up = FireworksDeploymentReadySensor(
            task_id="up",
            deployment=_output(deploy)["deployment"],
            wait_for_inference=wait_for_inference,
            timeout=ready_timeout,
            trigger_rule="all_success",
            # If `up` were skipped, a run without a deployment would succeed.
            soft_fail=False,
            never_fail=False,
            **where,
            **waiting,
        )
        done = EmptyOperator(task_id="done", **always)
        remove = FireworksDeleteDeploymentOperator(
            task_id="remove",
            deployment=_output(deploy)["deployment"],
            retries=remove_retries,
            retry_delay=timedelta(seconds=30),
            **always,
            **where,
        )
        before = set(deploy.dag.task_ids)
        yield TemporaryDeployment(deploy, up, remove)
        block = {task_id: task for task_id, task in deploy.dag.task_dict.items() if task_id not in before}
        for task in block.values():
            if block.keys().isdisjoint(task.upstream_task_ids):
                up >> task
            if block.keys().isdisjoint(task.downstream_task_ids):
                task >> done
            after = sorted({deploy.task_id, up.task_id} & task.upstream_task_ids)
            if after and not task.is_teardown and task.trigger_rule != "all_success":
                raise ValueError(
                    f"{task.task_id} comes directly after {' and '.join(after)}, so its trigger_rule must be "
                    f"all_success, not {getattr(task.trigger_rule, 'value', task.trigger_rule)}"
                )
        # With a block, `up` is a setup as well, so that clearing a task of the block waits again. Without one it is
        # not: a group of only setups and teardowns has no last task for `group >> x` to follow.
        up >> done
        done.as_teardown(setups=[deploy, up] if block else deploy)
        # A teardown with on_failure_fail_dagrun hides the tasks directly before it from the run's state. The empty
        # `done` is there to be hidden instead of the block.
        remove.as_teardown(setups=deploy, on_failure_fail_dagrun=True)
        done >> remove


def _output(task: FireworksCreateDeploymentOperator | FireworksDeploymentReadySensor) -> Any:
    # Airflow declares a base class here that has no __getitem__.
    return task.output
