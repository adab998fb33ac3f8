"""Prepare, deploy, use and remove each of several models at each of several precisions, independently."""

from __future__ import annotations

from datetime import timedelta

import pendulum
from airflow.sdk import dag, task, task_group

from airflow_provider_fireworks.operators.deployment import (
    FireworksCreateDeploymentOperator,
    FireworksDeleteDeploymentOperator,
)
from airflow_provider_fireworks.operators.model import FireworksPrepareModelOperator
from airflow_provider_fireworks.sensors.deployment import FireworksDeploymentReadySensor
from airflow_provider_fireworks.sensors.model import FireworksModelReadySensor


@dag(
    schedule=None,
    start_date=pendulum.datetime(2026, 1, 1, tz="UTC"),
    catchup=False,
    max_active_tasks=100,
    params={"models": ["my-model"], "precisions": ["FP8"]},
    # A killed worker costs each of its tasks a try.
    default_args={"retries": 5, "retry_delay": timedelta(seconds=1)},
)
def deploy_pairs():
    @task
    def read_param(name: str, params: dict) -> list[str]:
        return params[name]

    @task
    def smoke_test(inference_model: str) -> None:
        from airflow_provider_fireworks.hooks.fireworks import FireworksHook

        hook = FireworksHook()
        body = {"model": inference_model, "messages": [{"role": "user", "content": "Say hello."}]}
        url = hook.config.url("inference/v1/chat/completions")
        hook.get_conn().post(url, json=body, timeout=60).raise_for_status()

    @task_group
    def serve(model: str, precision: str):
        prepare = FireworksPrepareModelOperator(task_id="prepare", model=model, precision=precision)
        ready = FireworksModelReadySensor(
            task_id="ready",
            prepared=prepare.output,
            deferrable=True,
            poke_interval=3,
        )
        deploy = FireworksCreateDeploymentOperator(
            task_id="deploy",
            model=ready.output["model"],
            precision=ready.output["precision"],
            accelerator_type="NVIDIA_H100_80GB",
            max_replica_count=1,
            wait_for_completion=False,
        )
        up = FireworksDeploymentReadySensor(
            task_id="up",
            deployment=deploy.output["deployment"],
            wait_for_inference=True,
            deferrable=True,
            poke_interval=3,
        )
        tested = smoke_test(deploy.output["inference_model"])
        remove = FireworksDeleteDeploymentOperator(task_id="remove", deployment=deploy.output["deployment"])
        prepare >> ready >> deploy >> up >> tested
        tested >> remove.as_teardown(setups=deploy, on_failure_fail_dagrun=True)

    @task
    def report() -> None:
        print("All of them were deployed and have responded.")

    served = serve.expand(
        model=read_param.override(task_id="models")("models"),
        precision=read_param.override(task_id="precisions")("precisions"),
    )
    served >> report()


deploy_pairs()
