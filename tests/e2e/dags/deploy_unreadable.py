"""One deployment for each way of waiting for it."""

from __future__ import annotations

import pendulum
from airflow.sdk import dag

from airflow_provider_fireworks.operators.deployment import FireworksCreateDeploymentOperator


@dag(
    schedule=None,
    start_date=pendulum.datetime(2026, 1, 1, tz="UTC"),
    catchup=False,
    default_args={
        "model": "my-model",
        "precision": "FP16",
        "accelerator_type": "NVIDIA_H100_80GB",
        "poll_interval": 2,
    },
)
def deploy_unreadable():
    FireworksCreateDeploymentOperator(task_id="in_worker")
    FireworksCreateDeploymentOperator(task_id="deferred", deferrable=True)
    FireworksCreateDeploymentOperator(task_id="without_waiting", wait_for_completion=False)


deploy_unreadable()
