"""
### Prepare several models every week, unattended

Every model at every precision, each Monday at four. Each task requests a preparation and waits for it. If the API lists
the precision already, the task requests nothing, so a run can be repeated or retried at any time. **If the API lists no
precisions, which is likely, every run requests every preparation again**: `docs/preparing.md` says what that costs.
"""

from __future__ import annotations

from datetime import timedelta

import pendulum
from airflow.sdk import Param, dag, task

from airflow_provider_fireworks.client import Precision
from airflow_provider_fireworks.operators.model import FireworksPrepareModelOperator


@dag(
    schedule="0 4 * * 1",
    start_date=pendulum.datetime(2026, 1, 1, tz="UTC"),
    catchup=False,
    max_active_runs=1,
    tags=["fireworks"],
    doc_md=__doc__,
    params={
        "models": Param(
            ["my-model", "my-other-model"], type="array", title="Models", minItems=1, uniqueItems=True
        ),
        "precisions": Param(
            ["FP8", "FP4"],
            type="array",
            title="Precisions",
            examples=[precision.value for precision in Precision],
            minItems=1,
            uniqueItems=True,
        ),
    },
    default_args={
        "retries": 3,
        "retry_delay": timedelta(minutes=5),
        "deferrable": True,
        "fireworks_conn_id": "fireworks_default",
    },
)
def prepare_scheduled():
    @task
    def models(params: dict) -> list[str]:
        return params["models"]

    @task
    def precisions(params: dict) -> list[str]:
        return params["precisions"]

    # Two mapped arguments make one task for each pair of model and precision.
    prepared = FireworksPrepareModelOperator.partial(
        task_id="prepare",
        wait_for_completion=True,
        poll_interval=60,
        timeout=4 * 60 * 60,
        # The API may drop a request while it prepares the model for another precision.
        max_active_tis_per_dagrun=1,
    ).expand(model=models(), precision=precisions())

    @task
    def announce(ready: list[dict]) -> None:
        for each in ready:
            print(f"{each['model']} is ready at {each['precision']}.")

    announce(prepared.output)


prepare_scheduled()
