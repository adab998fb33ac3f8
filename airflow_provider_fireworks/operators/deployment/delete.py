"""Deleting deployments."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any

from airflow_provider_fireworks.arguments import DeleteArguments
from airflow_provider_fireworks.client.errors import RefusedError
from airflow_provider_fireworks.exceptions import (
    FireworksRefused,
    FireworksTimeout,
    add_to_message,
    error_of_gateway,
)
from airflow_provider_fireworks.identity import Identity
from airflow_provider_fireworks.operators.base import FireworksOperator
from airflow_provider_fireworks.operators.deployment import cleanup
from airflow_provider_fireworks.removal import MONEY, Removed, remove
from airflow_provider_fireworks.runs import RunState, run_state
from airflow_provider_fireworks.watch import DeploymentWatch, Until

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import Context

    from airflow_provider_fireworks.client.names import DeploymentName
    from airflow_provider_fireworks.client.shapes import Deployment
    from airflow_provider_fireworks.exceptions import FireworksError


class FireworksDeleteDeploymentOperator(FireworksOperator):
    """
    Delete deployments: ``DELETE /v1/accounts/{account}/deployments/{deployment}``.

    Succeeds if a deployment no longer exists. Over transient errors it tries until ``timeout``.

    Returns ``{"deleted": ["accounts/…/deployments/…"]}``, those that existed; it is an XCom too.

    Example::

        FireworksDeleteDeploymentOperator(task_id="remove", deployment=deploy.output["deployment"])

    :param deployment: id or full resource name, or any number of them: what a mapped task created is deleted by one
        task with ``deployment=deploy.output["deployment"]``. ``None``, which is what a task that never ran or that
        ended in a conflict has pushed, deletes nothing and logs a warning.
    :param hard: delete for good. Otherwise the id stays taken for some days, and the deployment can be undeleted.
    :param ignore_checks: delete also what has served within the last hour, which the API refuses otherwise. ``None``
        does so for what this DAG run itself created, since a smoke test is traffic, but not for what it adopted from
        an earlier run. Unless this is ``True``, what belongs to another run that has not ended is left alone.
    :param timeout: seconds for which it tries, in all.
    :param account_id: the account of a deployment id, instead of the connection's.
    :param fireworks_conn_id: the Airflow connection; ``None`` takes ``FIREWORKS_API_KEY`` and its like.
    :raises FireworksInvalidArgument: for a name that is invalid; nothing was sent.
    :raises FireworksRefused, FireworksAccessDenied: not retried.
    :raises FireworksTimeout: retried, as the task's ``retries`` say.
    """

    template_fields: Sequence[str] = (
        "deployment",
        "hard",
        "ignore_checks",
        "timeout",
        "account_id",
        "fireworks_conn_id",
    )
    ui_color = "#f3f3f3"

    def __init__(
        self,
        *,
        deployment: str | Iterable[str | None] | None,
        hard: bool = False,
        ignore_checks: bool | None = None,
        timeout: float = 600,
        account_id: str | None = None,
        fireworks_conn_id: str | None = "fireworks_default",
        **kwargs: Any,
    ) -> None:
        kwargs.setdefault("multiple_outputs", True)
        super().__init__(**kwargs)
        self.deployment = deployment
        self.hard = hard
        self.ignore_checks = ignore_checks
        self.timeout = timeout
        self.account_id = account_id
        self.fireworks_conn_id = fireworks_conn_id
        DeleteArguments.check_literals(**self._rendered())

    @cached_property
    def _arguments(self) -> DeleteArguments:
        return DeleteArguments.check(**self._rendered())

    def execute(self, context: Context) -> dict[str, Any]:
        """Delete each of them, and fail in the end if any could not be deleted."""
        if not self._arguments.deployment:
            self.log.warning(
                "Nothing to delete: no deployment was named by the tasks upstream (%s). "
                "If one was created all the same, FireworksSweepDeploymentsOperator finds it.",
                ", ".join(sorted(self.upstream_task_ids)) or "none",
            )
            return {"deleted": []}
        deadline = time.time() + self._arguments.timeout
        me = Identity.of(context)
        todo = list(self._arguments.deployment)
        deleted: list[str] = []
        left: list[Removed] = []
        try:
            while todo:
                name = self._name(todo[0], deadline)
                removed = self._remove(name, context, me, deadline)
                todo.pop(0)
                if removed.status == "left":
                    left.append(removed)
                if removed.status == "deleted":
                    deleted.append(str(name))
        except BaseException as error:
            notes = " ".join(removed.note for removed in left)
            add_to_message(error, f"Not deleted: {', '.join(todo)}: {MONEY}. {notes}".strip())
            raise
        if left:
            raise self._error(left)
        return {"deleted": deleted}

    def _remove(self, name: DeploymentName, context: Context, me: Identity, deadline: float) -> Removed:
        removed = cleanup.run(
            remove(
                name,
                seconds=max(deadline - time.time(), 0.0),
                is_own=lambda found: not self._in_use_elsewhere(found, context["ti"], me),
                ignore_checks=lambda found: self._skips_checks(found, me),
                hard=self._arguments.hard,
                purge=True,
                unread="delete",
            ),
            self.hook,
            self.log,
        )
        # Of many, the message that the task ends with could not hold all.
        (self.log.error if removed.status == "left" else self.log.info)("%s", removed.note)
        return removed

    def _in_use_elsewhere(self, found: Deployment, ti: Any, me: Identity) -> bool:
        """Whether it belongs to another run, which has not ended: one that adopted it since its name was passed on."""
        owner = Identity.of_description(found.description)
        if (
            owner is None
            or owner.airflow != me.airflow
            or owner.same_run(me)
            or self._arguments.ignore_checks
        ):
            return False
        if run_state(ti, owner.dag_id, owner.run_id) is not RunState.GOING:
            return False
        self.log.warning("%s belongs to %s, which has not ended.", found.name, owner)
        return True

    def _name(self, deployment: str, deadline: float) -> DeploymentName:
        """Return the full name. Finding the account out may take a request, and so patience."""
        watch = DeploymentWatch(deployment=deployment, until=Until.ANSWER, deadline=deadline, poll_interval=0)

        def fail(verdict: Any) -> None:
            raise FireworksTimeout(f"{deployment} was not deleted and {MONEY}: {verdict.reason}")

        what = f"{deployment} was not deleted and {MONEY}"
        return self._patiently(lambda: self.hook.deployment_name(deployment), watch, what, fail)

    def _skips_checks(self, found: Deployment | None, me: Identity) -> bool:
        if found is None or self._arguments.ignore_checks is not None:
            return self._arguments.ignore_checks is True
        owner = Identity.of_description(found.description)
        return owner is not None and owner.same_run(me) and not owner.kept

    def _error(self, left: list[Removed]) -> FireworksError:
        notes = " ".join(removed.note for removed in left)
        # One that may be retried is worth a retry, which finds the others as they are.
        transient = [removed for removed in left if removed.error is None or removed.error.blip]
        if transient:
            return FireworksTimeout(f"{notes} {FireworksTimeout.what_to_do}")
        refused = [removed.error for removed in left if isinstance(removed.error, RefusedError)]
        if refused and self._arguments.ignore_checks is not True:
            return FireworksRefused(
                f"{notes} If it has served within the last hour, ignore_checks=True deletes it all the same."
            )
        (error, *_) = [removed.error for removed in left if removed.error is not None]
        return error_of_gateway(error, notes)
