"""
### Prepare a model at one precision

`prepare` asks Fireworks to prepare the model, `ready` waits until it is, and the task after them gets the
model's full name and the precision that is proven. Both tasks are deferrable: waiting occupies no worker.
"""

from __future__ import annotations

import pendulum
from airflow.sdk import Param, dag, task

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
        "precision": Param("FP8", type="string", title="Precision", enum=[p.value for p in Precision]),
    },
)
def prepare_one_precision():
    prepare = FireworksPrepareModelOperator(
        task_id="prepare", model="{{ params.model }}", precision="{{ params.precision }}", deferrable=True
    )
    ready = FireworksModelReadySensor(
        task_id="ready",
        model=prepare.output["model"],
        precision=prepare.output["precision"],
        baseline=prepare.output["baseline"],
        deferrable=True,
    )

    @task
    def deploy(model: str, precision: str) -> None:
        print(f"Here {model} would be deployed at {precision}.")

    deploy(ready.output["model"], ready.output["precision"])


prepare_one_precision()
