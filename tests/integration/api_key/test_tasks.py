"""No failed task shows the API key, whatever exception it ends with."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import AirflowSensorTimeout

from airflow_provider_fireworks import exceptions
from airflow_provider_fireworks.emulator import Emulator
from airflow_provider_fireworks.hooks.fireworks import FireworksHook
from airflow_provider_fireworks.operators.deployment import (
    FireworksCreateDeploymentOperator,
    FireworksSweepDeploymentsOperator,
)
from airflow_provider_fireworks.operators.model import (
    FireworksPrepareModelOperator,
    FireworksUploadModelOperator,
)
from airflow_provider_fireworks.operators.router import FireworksRouteOperator
from airflow_provider_fireworks.sensors.deployment import FireworksDeploymentReadySensor
from airflow_provider_fireworks.sensors.model import FireworksModelReadySensor
from tests.integration.api_key.leaks import KEY, assert_hides_key, subclasses
from tests.integration.conftest import MODEL, run_task
from tests.integration.uploading import checkpoint
from tests.timing import use_timing

H100 = "NVIDIA_H100_80GB"
MODEL_ARGUMENTS: dict[str, Any] = {"model": "my-model", "precision": "FP8", "timeout": 20}


def prepare(**arguments: Any) -> Any:
    arguments = {"wait_for_completion": True, "poll_interval": 0.1, **MODEL_ARGUMENTS, **arguments}
    return FireworksPrepareModelOperator(task_id="prepare", **arguments)


def upload(model: str = "new-model", **arguments: Any) -> Any:
    return FireworksUploadModelOperator(
        task_id="upload", model=model, source=checkpoint().name, timeout=20, poll_interval=0.1, **arguments
    )


def wait_for_model(**arguments: Any) -> Any:
    return FireworksModelReadySensor(task_id="ready", poke_interval=0.1, **{**MODEL_ARGUMENTS, **arguments})


def deploy(**arguments: Any) -> Any:
    return FireworksCreateDeploymentOperator(
        task_id="deploy", model="my-model", accelerator_type=H100, timeout=20, poll_interval=0.1, **arguments
    )


def wait_for_deployment(**arguments: Any) -> Any:
    return FireworksDeploymentReadySensor(
        task_id="up", deployment="d", poke_interval=0.1, timeout=20, **arguments
    )


def route(**arguments: Any) -> Any:
    return FireworksRouteOperator(task_id="route", router="r", deployments="d", timeout=20, **arguments)


class ResumedWithInvalidEvent:
    """A deferred task whose trigger has fired an event that this package does not know."""

    def __init__(self, deferrable: bool) -> None:
        pass

    def execute(self, context: Any) -> Any:
        return prepare(deferrable=True).resume_execution("execute_complete", {"event": "ready"}, context)


# ---- what happens before a task runs; returns further arguments of the task


def nothing(emulator: Emulator) -> None:
    pass


def fault(kind: str, **fields: Any) -> Callable[[Emulator], None]:
    return lambda emulator: emulator.fault(kind, times=-1, **fields)


def option(**options: Any) -> Callable[[Emulator], None]:
    def configure(emulator: Emulator) -> None:
        emulator.configure(**options)

    return configure


def revoked_key(emulator: Emulator) -> None:
    emulator.revoke_key()


def failed_preparation(emulator: Emulator) -> dict[str, Any]:
    emulator.configure(outcome="failed_status")
    prepared = run_task(lambda: prepare(wait_for_completion=False))
    return {"baseline": prepared["baseline"]}


def other_deployment(emulator: Emulator) -> dict[str, Any]:
    FireworksHook().create_deployment("d", {"baseModel": MODEL, "acceleratorType": H100})
    return {"deployment_id": "d"}


def other_router(emulator: Emulator) -> None:
    other_deployment(emulator)
    emulator.set_deployment("d", state="READY")
    FireworksHook().create_router("r", {"deployments": ["accounts/demo/deployments/d"]})


def failed_deployment(emulator: Emulator) -> None:
    other_deployment(emulator)
    emulator.set_deployment("d", state="FAILED")


TASKS: dict[type[Exception], tuple[Callable[..., Any], Callable[[Emulator], Any]]] = {
    exceptions.FireworksInvalidArgument: (
        lambda **mode: prepare(**mode, account_id="other", model=MODEL),
        nothing,
    ),
    exceptions.FireworksBadConnection: (lambda **mode: prepare(**mode, fireworks_conn_id="missing"), nothing),
    exceptions.FireworksUnreachable: (prepare, fault("html", status=404)),
    exceptions.FireworksAccessDenied: (prepare, revoked_key),
    exceptions.FireworksRefused: (prepare, fault("status", status=400)),
    exceptions.FireworksNotFound: (prepare, fault("status", status=404)),
    exceptions.FireworksModelConflict: (lambda **mode: upload("my-model", **mode), nothing),
    exceptions.FireworksUploadFailed: (upload, fault("status", status=404, path="validateUpload")),
    exceptions.FireworksPreparationFailed: (prepare, option(outcome="failed_status")),
    exceptions.FireworksModelNotReady: (wait_for_model, failed_preparation),
    exceptions.FireworksDeploymentFailed: (deploy, option(deploy_outcome="failed")),
    exceptions.FireworksDeploymentNotReady: (wait_for_deployment, failed_deployment),
    exceptions.FireworksDeploymentConflict: (deploy, other_deployment),
    exceptions.FireworksRouterConflict: (route, other_router),
    exceptions.FireworksQuotaExceeded: (deploy, option(gpu_quota=0)),
    exceptions.FireworksCapacityUnavailable: (
        lambda **mode: deploy(**mode, capacity_timeout=0.2),
        option(capacity_after=60),
    ),
    exceptions.FireworksTimeout: (
        lambda **mode: prepare(**mode, timeout=1.5),
        fault("drop", method="GET"),
    ),
    exceptions.FireworksInvalidEvent: (ResumedWithInvalidEvent, nothing),
    exceptions.FireworksError: (
        lambda deferrable: FireworksSweepDeploymentsOperator(task_id="sweep"),
        fault("status", status=503),
    ),
    AirflowSensorTimeout: (
        lambda **mode: wait_for_model(**mode, timeout=1.5),
        fault("status", status=503),
    ),
}


@pytest.mark.parametrize("deferrable", [False, True], ids=["worker", "deferrable"])
@pytest.mark.parametrize("kind", TASKS)
def test_failed_task_hides_key(emulator, kind, deferrable, caplog, monkeypatch):
    use_timing(monkeypatch, misdirected_timeout=0.5)
    make, arrange = TASKS[kind]
    arguments = arrange(emulator) or {}
    with caplog.at_level(logging.DEBUG), pytest.raises(kind) as failed:
        run_task(lambda: make(deferrable=deferrable, **arguments))
    assert type(failed.value) is kind
    assert_hides_key(failed.value)
    assert KEY not in caplog.text


def test_tasks_cover_every_exception():
    raised = {exceptions.FireworksError, *subclasses(exceptions.FireworksError)}
    assert set(TASKS) - {AirflowSensorTimeout} == raised - {exceptions.FireworksFinalError}
