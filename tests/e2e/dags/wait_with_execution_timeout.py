"""Deferred waits whose execution_timeout is far below their timeout."""

from __future__ import annotations

from datetime import timedelta

import pendulum
from airflow.sdk import dag

from airflow_provider_fireworks.operators.deployment import FireworksCreateDeploymentOperator
from airflow_provider_fireworks.operators.model import FireworksPrepareModelOperator
from airflow_provider_fireworks.sensors.model import FireworksModelReadySensor


@dag(
    schedule=None,
    start_date=pendulum.datetime(2026, 1, 1, tz="UTC"),
    catchup=False,
    default_args={
        "deferrable": True,
        "execution_timeout": timedelta(seconds=12),
        "timeout": 3600,
        "poll_interval": 2,
        "poke_interval": 2,
    },
)
def wait_with_execution_timeout():
    FireworksCreateDeploymentOperator(
        task_id="create", model="my-model", precision="FP16", accelerator_type="NVIDIA_H100_80GB"
    )
    FireworksPrepareModelOperator(
        task_id="prepare", model="my-other-model", precision="FP8", wait_for_completion=True
    )
    FireworksModelReadySensor(task_id="ready", model="my-model", precision="FP8")
    FireworksModelReadySensor(task_id="ready_or_skip", model="my-model", precision="FP8", soft_fail=True)


wait_with_execution_timeout()
