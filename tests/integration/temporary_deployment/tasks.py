"""Temporary deployments and tasks for the DAGs of these tests."""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import Any

from airflow.providers.common.compat.sdk import AirflowSkipException
from airflow.providers.standard.operators.empty import EmptyOperator
from airflow.sdk import task

from airflow_provider_fireworks.hooks.fireworks import FireworksHook
from airflow_provider_fireworks.operators.deployment import TemporaryDeployment, temporary_deployment
from tests.integration.creating import H100


def deployed(**arguments: Any) -> AbstractContextManager[TemporaryDeployment]:
    """Return a temporary deployment that polls often, and retries nothing."""
    quick = {"poll_interval": 0.1, "ready_timeout": 20, "retries": 0, "remove_retries": 0}
    model = {"model": "my-model", "precision": "FP16"}
    return temporary_deployment(**{**model, "accelerator_type": H100, **quick, **arguments})


@task
def ask(inference_model: str) -> None:
    """Fail unless inference answers."""
    hook = FireworksHook()
    body = {"model": inference_model, "messages": [{"role": "user", "content": "Say hello."}]}
    url = hook.config.url("inference/v1/chat/completions")
    hook.get_conn().post(url, json=body, timeout=10).raise_for_status()


@task
def use() -> None:
    """Fail unless a deployment is ready."""
    assert "READY" in [each.state for each in FireworksHook().list_deployments()]


@task
def check_deleted() -> None:
    """Fail if a deployment exists."""
    assert {each.state for each in FireworksHook().list_deployments()} <= {"DELETED"}


@task
def fail() -> None:
    raise RuntimeError("This task fails.")


@task
def skip() -> None:
    raise AirflowSkipException("This task skips itself.")


def empty(task_id: str, **arguments: Any) -> EmptyOperator:
    """Return a task that succeeds."""
    return EmptyOperator(task_id=task_id, **arguments)


def not_created(*tasks: str, group: str = "") -> dict[str, str]:
    """Return the states of these tasks, and of those after ``deploy``, if ``deploy`` failed or did not run."""
    prefix = f"{group}." if group else ""
    return {f"{prefix}{task_id}": "upstream_failed" for task_id in (*tasks, "up", "done", "remove")}
