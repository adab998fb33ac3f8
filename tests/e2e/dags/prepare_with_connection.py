"""Prepare several precisions as the example does, but with a connection in the params, short polls, and retries."""

from __future__ import annotations

from datetime import timedelta

import pendulum
from airflow.sdk import dag, task

from airflow_provider_fireworks.operators.model import FireworksPrepareModelOperator
from airflow_provider_fireworks.sensors.model import FireworksModelReadySensor


@dag(
    schedule=None,
    start_date=pendulum.datetime(2026, 1, 1, tz="UTC"),
    catchup=False,
    params={"model": "my-model", "precisions": ["FP8", "FP4"], "connection": "fireworks_default"},
    default_args={
        "deferrable": True,
        "fireworks_conn_id": "{{ params.connection }}",
        "retries": 2,
        "retry_delay": timedelta(seconds=5),
    },
)
def prepare_with_connection():
    @task(retries=0)
    def precisions(params: dict) -> list[str]:
        return params["precisions"]

    prepare = FireworksPrepareModelOperator.partial(
        task_id="prepare", model="{{ params.model }}", poll_interval=2, max_active_tis_per_dagrun=1
    ).expand(precision=precisions())
    FireworksModelReadySensor.partial(task_id="ready", poke_interval=2).expand(prepared=prepare.output)


prepare_with_connection()
