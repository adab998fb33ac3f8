"""
### Prepare, deploy, test and remove a model at several precisions

Each precision runs on its own, so one that fails does not delay the others. A deployment exists only for the tasks in
the `with` block, and is removed whether they succeed or fail. **Deployments cost money** while they have replicas.
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
        "model": Param("my-model", type="string", title="Model", description="Its id or full resource name."),
        "precisions": Param(
            ["FP8", "FP4"],
            type="array",
            title="Precisions",
            description="One deployment is created for each.",
            examples=[precision.value for precision in Precision],
            minItems=1,
            uniqueItems=True,
        ),
        "accelerator_type": Param(
            "NVIDIA_H100_80GB",
            type="string",
            title="Accelerator type",
            description="As the Fireworks API spells it.",
        ),
    },
)
def deploy_fan_out():
    @task
    def precisions(params: dict) -> list[str]:
        return params["precisions"]

    @task
    def smoke_test(inference_model: str) -> None:
        # Imported here, so that parsing this file does not load the hook.
        from airflow_provider_fireworks.hooks.fireworks import FireworksHook

        hook = FireworksHook()
        response = hook.get_conn().post(
            hook.config.url("inference/v1/chat/completions"),
            json={
                "model": inference_model,
                "messages": [{"role": "user", "content": "Say hello."}],
                "max_tokens": 50,
            },
            timeout=60,
        )
        response.raise_for_status()
        content = response.json()["choices"][0]["message"]["content"]
        print(f"{inference_model} says: {content}")

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
            # Should it be orphaned, it scales to zero after five minutes without a request instead of an hour.
            extra_spec={"autoscalingPolicy": {"scaleToZeroWindow": "300s"}},
            deferrable=True,
            poll_interval=10,
        ) as deployment:
            smoke_test(deployment.inference_model)

    serve.expand(precision=precisions())


deploy_fan_out()
