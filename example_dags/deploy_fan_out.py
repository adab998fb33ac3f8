"""
### Prepare, deploy, test and remove a model at several precisions

Each precision runs on its own; one that fails delays no other. The deployment exists for the tasks in the `with` block
and is removed whatever becomes of them. **Deployments cost money** for as long as they have replicas.
"""

from __future__ import annotations

import pendulum
from airflow.sdk import Param, dag, task, task_group

from airflow_provider_fireworks.client import Precision
from airflow_provider_fireworks.operators.deployment import temporary_deployment
from airflow_provider_fireworks.operators.model import FireworksPrepareModelOperator
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
            task_id="ready", prepared=prepare.output, deferrable=True, poke_interval=10
        )
        with temporary_deployment(
            prepared=ready.output,
            accelerator_type="{{ params.accelerator_type }}",
            max_replica_count=1,
            # If only the sweep finds it, it has scaled to zero after five minutes without a request, not an hour.
            extra_spec={"autoscalingPolicy": {"scaleToZeroWindow": "300s"}},
            deferrable=True,
            poll_interval=10,
        ) as deployment:
            smoke_test(deployment.inference_model)

    serve.expand(precision=precisions())


deploy_fan_out()
