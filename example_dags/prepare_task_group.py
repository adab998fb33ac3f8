"""
### Each precision on its own way

With plain mapping, what follows waits until the model is ready at every precision. In a mapped task group
each precision goes on as soon as it is ready itself, and one that fails holds up no other.
"""

from __future__ import annotations

import pendulum
from airflow.sdk import Param, dag, task, task_group

from airflow_provider_fireworks.gateway.precision import Precision
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
            examples=[precision.value for precision in Precision],
            minItems=1,
            uniqueItems=True,
        ),
    },
)
def prepare_task_group():
    @task
    def precisions(params: dict) -> list[str]:
        return params["precisions"]

    @task
    def deploy(model: str, precision: str) -> None:
        print(f"Here {model} would be deployed at {precision}.")

    @task_group
    def serve(precision: str) -> None:
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
        deploy(ready.output["model"], ready.output["precision"])

    serve.expand(precision=precisions())


prepare_task_group()
