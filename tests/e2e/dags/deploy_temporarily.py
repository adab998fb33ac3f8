"""Temporary deployments, whose tasks wait in the triggerer or in the worker, and a sweep of orphaned deployments."""

from __future__ import annotations

import time
from datetime import timedelta
from typing import Any

import pendulum
from airflow.sdk import dag, task

from airflow_provider_fireworks.operators.deployment import (
    FireworksSweepDeploymentsOperator,
    temporary_deployment,
)

DAG: dict[str, Any] = {
    "start_date": pendulum.datetime(2026, 1, 1, tz="UTC"),
    "catchup": False,
}
DEPLOYMENT: dict[str, Any] = {
    "model": "my-model",
    "precision": "FP16",
    "accelerator_type": "NVIDIA_H100_80GB",
    "poll_interval": 2,
}
#: The test starts that run before its other tests, whose emulator it must not share.
OTHER_CONNECTION = "fireworks_other"


@task
def use(inference_model: str) -> None:
    from airflow_provider_fireworks.hooks.fireworks import FireworksHook

    hook = FireworksHook()
    body = {"model": inference_model, "messages": [{"role": "user", "content": "Say hello."}]}
    url = hook.config.url("inference/v1/chat/completions")
    hook.get_conn().post(url, json=body, timeout=60).raise_for_status()


@task
def hold() -> None:
    time.sleep(600)


@dag(schedule=None, **DAG)
def deploy_temporarily():
    with temporary_deployment(deferrable=True, **DEPLOYMENT) as deployment:
        use(deployment.inference_model) >> use.override(task_id="use_again")(deployment.inference_model)


@dag(schedule=None, **DAG)
def deploy_temporarily_in_worker():
    with temporary_deployment(**DEPLOYMENT) as deployment:
        use(deployment.inference_model)


@dag(schedule=None, **DAG, dagrun_timeout=timedelta(seconds=40))
def deploy_temporarily_until_timeout():
    with temporary_deployment(fireworks_conn_id=OTHER_CONNECTION, **DEPLOYMENT):
        hold()


@dag(schedule=None, **DAG)
def sweep_temporary_deployments():
    FireworksSweepDeploymentsOperator(task_id="sweep", fireworks_conn_id=OTHER_CONNECTION, delete=True)


deploy_temporarily()
deploy_temporarily_in_worker()
deploy_temporarily_until_timeout()
sweep_temporary_deployments()
