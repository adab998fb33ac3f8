"""
### Prepare several models every week, unattended

Every model at every precision, each Monday at four. One gate per model then waits for all of its precisions
at once, with a single request a poll. What is prepared already is not prepared again, so a run that is
repeated or retried costs next to nothing.
"""

from __future__ import annotations

from datetime import timedelta

import pendulum
from airflow.sdk import dag, task

from airflow_provider_fireworks.operators.model import FireworksPrepareModelOperator
from airflow_provider_fireworks.sensors.model import FireworksModelReadySensor

MODELS = ["my-model", "my-other-model"]
PRECISIONS = ["FP8", "FP4"]


@dag(
    schedule="0 4 * * 1",
    start_date=pendulum.datetime(2026, 1, 1, tz="UTC"),
    catchup=False,
    max_active_runs=1,
    tags=["fireworks"],
    doc_md=__doc__,
    default_args={
        "retries": 3,
        "retry_delay": timedelta(minutes=5),
        "deferrable": True,
        "fireworks_conn_id": "fireworks_default",
    },
)
def prepare_scheduled():
    # Two mapped arguments: every model with every precision.
    prepare = FireworksPrepareModelOperator.partial(task_id="prepare", timeout=4 * 60 * 60).expand(
        model=MODELS, precision=PRECISIONS
    )
    gate = FireworksModelReadySensor.partial(
        task_id="gate", precision=PRECISIONS, poke_interval=60, timeout=4 * 60 * 60
    ).expand(model=MODELS)

    @task
    def announce(ready: list[dict]) -> None:
        for each in ready:
            print(f"{each['model']} is ready at {', '.join(each['precision'])}.")

    prepare >> gate
    announce(gate.output)


prepare_scheduled()
