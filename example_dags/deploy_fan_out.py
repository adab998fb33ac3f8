"""
### Prepare, deploy, try and remove a model at several precisions

Each precision goes its own way, and one that fails holds up no other. `deploy` only creates and `up` waits, so
that `remove` runs whatever fails after `deploy`. **Deployments cost money** for as long as they have replicas.
"""

from __future__ import annotations

from datetime import timedelta

import pendulum
from airflow.sdk import Param, dag, task, task_group

from airflow_provider_fireworks.client.precision import Precision
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
    tags=["fireworks"],
    doc_md=__doc__,
    params={
        "model": Param("my-model", type="string", title="Model", description="Its id, or its full name."),
        "precisions": Param(
            ["FP8", "FP4"],
            type="array",
            title="Precisions",
            description="What to deploy it at.",
            examples=[precision.value for precision in Precision],
            minItems=1,
            uniqueItems=True,
        ),
        "accelerator_type": Param(
            "NVIDIA_H100_80GB", type="string", title="Accelerator type", description="As Fireworks spells it."
        ),
    },
)
def deploy_fan_out():
    @task
    def precisions(params: dict) -> list[str]:
        return params["precisions"]

    @task
    def smoke_test(inference_model: str) -> None:
        # Here, so that parsing this file does not load it.
        from airflow_provider_fireworks.hooks.fireworks import FireworksHook

        hook = FireworksHook()
        answer = hook.get_conn().post(
            hook.endpoint.url("inference/v1/chat/completions"),
            json={
                "model": inference_model,
                "messages": [{"role": "user", "content": "Say hello."}],
                "max_tokens": 50,
            },
            timeout=60,
        )
        answer.raise_for_status()
        said = answer.json()["choices"][0]["message"]["content"]
        print(f"{inference_model} says: {said}")

    @task_group
    def serve(precision: str):
        prepare = FireworksPrepareModelOperator(
            task_id="prepare",
            model="{{ params.model }}",
            precision=precision,
            deferrable=True,
            poll_interval=10,
        )
        ready = FireworksModelReadySensor(
            task_id="ready",
            model=prepare.output["model"],
            precision=prepare.output["precision"],
            baseline=prepare.output["baseline"],
            deferrable=True,
            poke_interval=10,
        )
        deploy = FireworksCreateDeploymentOperator(
            task_id="deploy",
            model=ready.output["model"],
            precision=ready.output["precision"],
            accelerator_type="{{ params.accelerator_type }}",
            max_replica_count=1,
            # Should it be left behind, it goes to zero replicas after five minutes without a request, not an hour.
            extra_spec={"autoscalingPolicy": {"scaleToZeroWindow": "300s"}},
            wait_for_completion=False,
            retries=2,
            retry_delay=timedelta(seconds=30),
        )
        up = FireworksDeploymentReadySensor(
            task_id="up",
            deployment=deploy.output["deployment"],
            wait_for_inference=True,
            deferrable=True,
            poke_interval=10,
        )
        tested = smoke_test(deploy.output["inference_model"])
        remove = FireworksDeleteDeploymentOperator(
            task_id="remove",
            created_by="deploy",
            # The smoke test counts as recent traffic.
            ignore_checks=True,
            retries=5,
            retry_delay=timedelta(seconds=30),
        )
        deploy >> up >> tested
        # A deployment that could not be removed is to fail the run.
        tested >> remove.as_teardown(setups=deploy, on_failure_fail_dagrun=True)

    # Airflow tells a run's state from its last tasks. Without this one, those would be the removals alone, and a
    # run whose smoke test has failed would be a success.
    @task
    def all_answered() -> None:
        print("All of them were deployed and have answered.")

    serve.expand(precision=precisions()) >> all_answered()


deploy_fan_out()
