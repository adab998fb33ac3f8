"""Every request that tasks send, in every way of waiting."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from airflow_provider_fireworks.deployments.ownership import Owner
from airflow_provider_fireworks.emulator import Emulator
from airflow_provider_fireworks.hooks.fireworks import FireworksHook
from airflow_provider_fireworks.operators.deployment import (
    FireworksCreateDeploymentOperator,
    FireworksDeleteDeploymentOperator,
    FireworksScaleDeploymentOperator,
    FireworksSweepDeploymentsOperator,
)
from airflow_provider_fireworks.operators.model import (
    FireworksPrepareModelOperator,
    FireworksUploadModelOperator,
)
from airflow_provider_fireworks.operators.router import (
    FireworksDeleteRouterOperator,
    FireworksRouteOperator,
)
from airflow_provider_fireworks.sensors.deployment import FireworksDeploymentReadySensor
from airflow_provider_fireworks.sensors.model import FireworksModelReadySensor
from tests.integration.conftest import MODEL, TaskInstance, fire, run_task
from tests.integration.uploading import checkpoint

POLL_INTERVAL = 0.03
WAYS = ("worker", "reschedule", "deferrable", "trigger")
_OPERATOR_WAYS = ("worker", "deferrable")
_SENSOR: dict[str, dict[str, Any]] = {
    "worker": {"mode": "poke"},
    "reschedule": {"mode": "reschedule"},
    "deferrable": {"deferrable": True},
}
_DEPLOYMENT = "accounts/demo/deployments/d"
_H100 = "NVIDIA_H100_80GB"
_NEW_MODEL = "new-model"


@dataclass(frozen=True)
class Scenario:
    """
    A request, and a task that sends it.

    :ivar request: its name in the table.
    :ivar method: its method.
    :ivar path: a part of its path and query.
    :ivar ways: the ways of waiting that the task has.
    :ivar run: runs the task, or its trigger alone, in a way and with a timeout in seconds, and returns its result.
    :ivar set_up: creates what the task needs.
    :ivar done: whether the task has done what it should.
    :ivar after: the method of a request that must have succeeded before the fault may occur.
    :ivar follow_ups: requests that may follow a final response, to clean up or to read what is left.
    :ivar times: how often a temporary fault occurs, if the default would fail the task or not make it wait.
    """

    request: str
    method: str
    path: str
    ways: tuple[str, ...]
    run: Callable[[str, float], Any]
    set_up: Callable[[], Any] = lambda: None
    done: Callable[[Emulator], bool] = lambda emulator: True
    after: str | None = None
    follow_ups: int = 0
    times: int | None = None

    def prepare(self, emulator: Emulator) -> None:
        """Create what the task needs, and clear the records of that."""
        self.set_up()
        while any(each["state"] == "CREATING" for each in emulator.deployments):
            time.sleep(0.01)
        emulator.clear()

    @property
    def reads(self) -> bool:
        return self.method == "GET"

    @property
    def is_read_of_an_operator(self) -> bool:
        return self.reads and self.ways == _OPERATOR_WAYS

    @property
    def can_duplicate(self) -> bool:
        """Whether sending the request twice may create two of something."""
        return self.method == "POST"


def _get_model(way: str, timeout: float) -> Any:
    if way == "trigger":
        return _fire("model.FireworksModelReadyTrigger", timeout, model=MODEL, precision="FP16")
    return run_task(
        lambda: FireworksModelReadySensor(
            task_id="ready",
            model="my-model",
            precision="FP16",
            poke_interval=POLL_INTERVAL,
            timeout=timeout,
            **_SENSOR[way],
        )
    )


def _get_deployment(way: str, timeout: float) -> Any:
    if way == "trigger":
        return _fire("deployment.FireworksDeploymentReadyTrigger", timeout, deployment=_DEPLOYMENT)
    return run_task(
        lambda: FireworksDeploymentReadySensor(
            task_id="up", deployment="d", poke_interval=POLL_INTERVAL, timeout=timeout, **_SENSOR[way]
        )
    )


def _fire(trigger: str, timeout: float, **wait: Any) -> str:
    wait |= {"deadline": time.time() + timeout, "poll_interval": POLL_INTERVAL}
    arguments = {"fireworks_conn_id": "fireworks_default", "wait": wait}
    event = fire(f"airflow_provider_fireworks.triggers.{trigger}", arguments)
    return str(event["verdict"]["outcome"])


def _operate(kind: Any, way: str, timeout: float, **arguments: Any) -> Any:
    deferrable = way == "deferrable"
    return run_task(
        lambda: kind(
            task_id="deploy",
            deferrable=deferrable,
            poll_interval=POLL_INTERVAL,
            timeout=timeout,
            **arguments,
        )
    )


def _prepare(way: str, timeout: float) -> Any:
    kind = FireworksPrepareModelOperator
    return _operate(kind, way, timeout, model="my-model", precision="FP8", wait_for_completion=True)


def _upload(way: str, timeout: float) -> Any:
    kind = FireworksUploadModelOperator
    return _operate(kind, way, timeout, model=_NEW_MODEL, source=checkpoint().name, max_parallel=1)


def _create(way: str, timeout: float) -> Any:
    kind = FireworksCreateDeploymentOperator
    return _operate(kind, way, timeout, model="my-model", precision="FP16", accelerator_type=_H100)


def _scale(way: str, timeout: float) -> Any:
    kind = FireworksScaleDeploymentOperator
    return _operate(kind, way, timeout, deployment="d", replica_count=2, wait_for_completion=True)


def _delete(way: str, timeout: float) -> Any:
    return run_task(
        lambda: FireworksDeleteDeploymentOperator(task_id="remove", deployment="d", timeout=timeout),
        TaskInstance("remove"),
    )


def _route(way: str, timeout: float) -> Any:
    return _operate(FireworksRouteOperator, way, timeout, router="r", deployments="d", adopt=True)


def _delete_router(way: str, timeout: float) -> Any:
    return run_task(lambda: FireworksDeleteRouterOperator(task_id="unroute", router="r", timeout=timeout))


def _list(way: str, timeout: float) -> Any:
    found = run_task(
        lambda: FireworksSweepDeploymentsOperator(task_id="sweep"), TaskInstance("sweep", "manual__2")
    )
    assert [each["deployment"] for each in found["orphaned"]] == [_DEPLOYMENT]
    return found


def _deploy() -> None:
    """Create the deployment ``d``, as the task of a run that has ended."""
    description = Owner.from_context({"ti": TaskInstance()}).description
    FireworksHook().create_deployment(
        "d", {"baseModel": MODEL, "acceleratorType": _H100, "maxReplicaCount": 2, "description": description}
    )


def _deploy_and_route() -> None:
    """Create the deployment ``d``, and the router ``r`` of somebody else that routes to it."""
    _deploy()
    FireworksHook().create_router("r", {"deployments": [_DEPLOYMENT]})


def _is_prepared(emulator: Emulator) -> bool:
    return emulator.is_prepared("my-model", "FP8")


def _is_uploaded(emulator: Emulator) -> bool:
    """Whether the model is READY, and was not validated before every byte was there."""
    model = emulator.model(_NEW_MODEL)
    return model["state"] == "READY" and "validation early" not in emulator.counts


def _is_ready(emulator: Emulator) -> bool:
    return [each["state"] for each in emulator.deployments] == ["READY"]


def _is_scaled(emulator: Emulator) -> bool:
    return bool(emulator.deployment("d")["replicaStats"]["readyReplicaCount"] == 2)


def _nothing_is_left(emulator: Emulator) -> bool:
    return not emulator.deployments_left


def _is_routed(emulator: Emulator) -> bool:
    router = emulator.router("r")
    return router["state"] == "READY" and router["displayName"].startswith("airflow ")


def _is_not_routed(emulator: Emulator) -> bool:
    return all(router["state"] == "DELETING" for router in emulator.routers)


MODELS, DEPLOYMENTS, ROUTERS = "/models/", "/deployments/", "/routers/"

SCENARIOS = [
    Scenario("get model", "GET", MODELS, WAYS, _get_model),
    Scenario("get deployment", "GET", DEPLOYMENTS, WAYS, _get_deployment, _deploy),
    Scenario("upload: first read", "GET", _NEW_MODEL, _OPERATOR_WAYS, _upload, done=_is_uploaded, times=4),
    Scenario("upload: create", "POST", "/models$", _OPERATOR_WAYS, _upload, done=_is_uploaded),
    Scenario(
        "upload: URLs", "POST", "getUploadEndpoint", _OPERATOR_WAYS, _upload, done=_is_uploaded, follow_ups=2
    ),
    Scenario(
        "upload: file",
        "PUT",
        "/emulated-bucket/",
        ("worker",),
        _upload,
        done=_is_uploaded,
        # Whatever the refusal, the task tries again with new URLs.
        follow_ups=5,
    ),
    Scenario(
        "upload: validation",
        "GET",
        "validateUpload",
        _OPERATOR_WAYS,
        _upload,
        done=_is_uploaded,
        # Reading the model after a refusal, then the clean-up.
        follow_ups=3,
    ),
    Scenario("prepare: first read", "GET", MODELS, _OPERATOR_WAYS, _prepare, done=_is_prepared, times=4),
    Scenario("prepare", "POST", ":prepare", _OPERATOR_WAYS, _prepare, done=_is_prepared),
    Scenario("prepare: polls", "GET", MODELS, _OPERATOR_WAYS, _prepare, done=_is_prepared, after="POST"),
    Scenario("create: first read", "GET", DEPLOYMENTS, _OPERATOR_WAYS, _create, done=_is_ready, times=4),
    Scenario("create", "POST", "/deployments", _OPERATOR_WAYS, _create, done=_is_ready, follow_ups=2),
    Scenario(
        "create: polls",
        "GET",
        DEPLOYMENTS,
        _OPERATOR_WAYS,
        _create,
        done=_is_ready,
        after="POST",
        follow_ups=2,
    ),
    Scenario("scale", "PATCH", ":scale", _OPERATOR_WAYS, _scale, _deploy, _is_scaled),
    Scenario(
        "scale: polls",
        "GET",
        DEPLOYMENTS,
        _OPERATOR_WAYS,
        _scale,
        _deploy,
        _is_scaled,
        after="PATCH",
        # The termination message of a deployment that is gone.
        follow_ups=1,
    ),
    Scenario("delete", "DELETE", DEPLOYMENTS, ("worker",), _delete, _deploy, _nothing_is_left, follow_ups=1),
    Scenario("route: first read", "GET", ROUTERS, _OPERATOR_WAYS, _route, _deploy, _is_routed, times=4),
    Scenario("route: create", "POST", "/routers", _OPERATOR_WAYS, _route, _deploy, _is_routed),
    Scenario("route: update", "PATCH", ROUTERS, _OPERATOR_WAYS, _route, _deploy_and_route, _is_routed),
    Scenario("route: polls", "GET", ROUTERS, _OPERATOR_WAYS, _route, _deploy, _is_routed, after="POST"),
    Scenario(
        "delete router",
        "DELETE",
        ROUTERS,
        ("worker",),
        _delete_router,
        _deploy_and_route,
        _is_not_routed,
    ),
    Scenario("list", "GET", "/deployments?", ("worker",), _list, _deploy, times=2),
]
