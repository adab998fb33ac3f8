"""Each way to fail with an exception in the log, in a task of its own; another task logs a marker, as a control."""

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
    FireworksModelReadySensor(task_id="deadline_error_deferred", timeout=8, deferrable=True)
    FireworksModelReadySensor(task_id="hangs", model="hangs", execution_timeout=timedelta(seconds=4))
    FireworksModelReadySensor(task_id="key_rejected_deferred", model="rejected-later", deferrable=True)
    FireworksPrepareModelOperator(task_id="key_rejected", fireworks_conn_id="fireworks_wrong_key")
    FireworksPrepareModelOperator(task_id="plain_http", fireworks_conn_id="fireworks_plain_http")
    FireworksPrepareModelOperator(
        task_id="not_found", model="none", fireworks_conn_id="fireworks_of_environment"
    )
    FireworksPrepareModelOperator(
        task_id="fails_deferred", model="fails", precision="FP4", wait_for_completion=True, deferrable=True
    )

    @task(retries=1, retry_delay=timedelta(seconds=1))
    def unreachable():
        from airflow_provider_fireworks.hooks.fireworks import FireworksHook

        FireworksHook("fireworks_unreachable").get_model("my-model")

    @task
    def with_session():
        from airflow_provider_fireworks.hooks.fireworks import FireworksHook

        hook = FireworksHook()
        hook.get_conn().get(hook.config.url("v1/accounts/demo/models/none"), timeout=5).raise_for_status()

    @task
    def log_marker(params: dict) -> dict[str, str]:
        print("The marker is", params["marker"])
        return {"plain": params["marker"], "encoded": base64.b64encode(params["marker"].encode()).decode()}

    unreachable()
    with_session()
    log_marker()


fail_in_every_way()
