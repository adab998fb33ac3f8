"""Every way to fail that prints an exception, each in a task of its own; one more tells a marker, as a control."""

from __future__ import annotations

import base64
from datetime import timedelta

import pendulum
from airflow.sdk import dag, task

from airflow_provider_fireworks.operators.model import FireworksPrepareModelOperator
from airflow_provider_fireworks.sensors.model import FireworksModelReadySensor


@dag(
    schedule=None,
    start_date=pendulum.datetime(2026, 1, 1, tz="UTC"),
    catchup=False,
    doc_md="control_in_the_source_of_a_dag",
    params={"marker": "none"},
    default_args={"model": "never-ready", "precision": "FP8", "poke_interval": 1, "timeout": 60},
)
def fail_in_every_way():
    FireworksModelReadySensor(task_id="deadline_error", timeout=2)
    FireworksModelReadySensor(task_id="too_late_deferred", timeout=8, deferrable=True)
    FireworksModelReadySensor(task_id="hangs", model="hangs", execution_timeout=timedelta(seconds=4))
    FireworksModelReadySensor(task_id="key_refused_deferred", model="refused-later", deferrable=True)
    FireworksPrepareModelOperator(task_id="key_refused", fireworks_conn_id="fireworks_wrong_key")
    FireworksPrepareModelOperator(task_id="plain_http", fireworks_conn_id="fireworks_plain_http")
    FireworksPrepareModelOperator(
        task_id="not_found", model="none", fireworks_conn_id="fireworks_of_environment"
    )
    FireworksPrepareModelOperator(
        task_id="fails_deferred", model="fails", precision="FP4", wait_for_completion=True, deferrable=True
    )

    @task(retries=1, retry_delay=timedelta(seconds=1))
    def nobody_there():
        from airflow_provider_fireworks.hooks.fireworks import FireworksHook

        FireworksHook("fireworks_nobody").get_model("my-model")

    @task
    def by_the_session():
        from airflow_provider_fireworks.hooks.fireworks import FireworksHook

        hook = FireworksHook()
        hook.get_conn().get(hook.config.url("v1/accounts/demo/models/none"), timeout=5).raise_for_status()

    @task
    def tell(params: dict) -> dict[str, str]:
        print("The marker is", params["marker"])
        return {"plain": params["marker"], "encoded": base64.b64encode(params["marker"].encode()).decode()}

    nobody_there()
    by_the_session()
    tell()


fail_in_every_way()
