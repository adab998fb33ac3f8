"""Prepare each precision in a task group of its own, and deploy nothing."""

from __future__ import annotations

import pendulum
from airflow.sdk import dag, task_group

from airflow_provider_fireworks.operators.model import FireworksPrepareModelOperator
from airflow_provider_fireworks.sensors.model import FireworksModelReadySensor


@dag(schedule=None, start_date=pendulum.datetime(2026, 1, 1, tz="UTC"), catchup=False)
def prepare_in_groups():
    @task_group
    def serve(precision):
        prepare = FireworksPrepareModelOperator(
            task_id="prepare", model="my-model", precision=precision, deferrable=True, poll_interval=2
        )
        FireworksModelReadySensor(
            task_id="ready",
            prepared=prepare.output,
            deferrable=True,
            poke_interval=2,
        )

    serve.expand(precision=["FP8", "FP4"])


prepare_in_groups()
