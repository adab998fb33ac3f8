"""Deployments whose tasks wait in the worker. The test ends each task in another way."""

from __future__ import annotations

from datetime import timedelta

import pendulum
from airflow.sdk import dag

from airflow_provider_fireworks.operators.deployment import FireworksCreateDeploymentOperator


@dag(
    schedule=None,
    start_date=pendulum.datetime(2026, 1, 1, tz="UTC"),
    catchup=False,
    default_args={
        "model": "my-model",
        "accelerator_type": "NVIDIA_H100_80GB",
        "poll_interval": 2,
        "retry_delay": timedelta(seconds=1),
    },
)
def deploy_in_worker():
    FireworksCreateDeploymentOperator(task_id="marked", precision="FP16", retries=1)
    for task_id, retries in (("evicted", 1), ("evicted_in_last_try", 0)):
        # The test sends a signal to the process of the first one and to the supervisor of the second one.
        FireworksCreateDeploymentOperator.partial(task_id=task_id, retries=retries).expand(
            precision=["FP16", "FP16"]
        )


deploy_in_worker()
