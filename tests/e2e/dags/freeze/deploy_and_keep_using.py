"""One deployment that its task waits for, and one that a task uses until a file exists."""

from __future__ import annotations

import time
from pathlib import Path

import pendulum
from airflow.sdk import dag, task

from airflow_provider_fireworks.operators.deployment import FireworksCreateDeploymentOperator


@dag(
    schedule=None,
    start_date=pendulum.datetime(2026, 1, 1, tz="UTC"),
    catchup=False,
    params={"stop": ""},
    default_args={
        "model": "my-model",
        "precision": "FP16",
        "accelerator_type": "NVIDIA_H100_80GB",
        "deferrable": True,
        "delete_on_kill": True,
        "poll_interval": 2,
    },
)
def deploy_and_keep_using():
    FireworksCreateDeploymentOperator(task_id="wait")
    created = FireworksCreateDeploymentOperator(task_id="create")

    @task
    def use(deployment: str, params: dict) -> None:
        from airflow_provider_fireworks.hooks.fireworks import FireworksHook

        while not Path(params["stop"]).exists():
            time.sleep(0.2)
        state = FireworksHook().get_deployment(deployment).state
        if state != "READY":
            raise RuntimeError(f"{deployment} is {state}.")

    use(created.output["deployment"])


deploy_and_keep_using()
