"""
### Prepare a model at several precisions

One model fans out to the precisions in the run's params by dynamic task mapping: each mapped `ready` takes the result
of its `prepare`. The sensors wait in the triggerer, so they occupy no worker slots.
"""

from __future__ import annotations

import pendulum
from airflow.sdk import Param, dag, task

from airflow_provider_fireworks.client import Precision
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
            ["FP8", "FP4", "BF16"],
            type="array",
            title="Precisions",
            description="The model is prepared for each of them.",
            # With examples, the UI's form shows a field to choose several from.
            examples=[precision.value for precision in Precision],
            minItems=1,
            uniqueItems=True,
        ),
    },
)
def prepare_fan_out():
    @task
    def precisions(params: dict) -> list[str]:
        return params["precisions"]

    prepare = FireworksPrepareModelOperator.partial(
        task_id="prepare",
        model="{{ params.model }}",
        deferrable=True,
        poll_interval=10,
        # The API may drop a request while it prepares the model for another precision.
        max_active_tis_per_dagrun=1,
    ).expand(precision=precisions())

    ready = FireworksModelReadySensor.partial(task_id="ready", deferrable=True, poke_interval=10).expand(
        prepared=prepare.output
    )

    @task
    def report(prepared: list[dict[str, str]]) -> None:
        for each in prepared:
            print(f"{each['model']} is ready at {each['precision']}.")

    report(ready.output)


prepare_fan_out()
