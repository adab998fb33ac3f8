"""One deployment, waited for by the task that creates it, and deleted if that is killed."""

from __future__ import annotations

import pendulum
from airflow.sdk import dag

from airflow_provider_fireworks.operators.deployment import FireworksCreateDeploymentOperator


@dag(schedule=None, start_date=pendulum.datetime(2026, 1, 1, tz="UTC"), catchup=False)
def deploy_and_wait():
    FireworksCreateDeploymentOperator(
        task_id="deploy",
        model="my-model",
        precision="FP16",
        accelerator_type="NVIDIA_H100_80GB",
        delete_on_kill=True,
        deferrable=True,
        poll_interval=2,
        retries=3,
    )


deploy_and_wait()
