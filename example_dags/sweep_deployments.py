"""
### Find orphaned deployments, every hour

Deployments whose run is over: its worker was killed, or a person stopped it half way. They are only listed, unless
*delete* is set. The run fails as long as any is left. What was created under a `deployment_id` is meant to stay.
"""

from __future__ import annotations

import pendulum
from airflow.sdk import Param, dag, task

from airflow_provider_fireworks.operators.deployment import FireworksSweepDeploymentsOperator


@dag(
    schedule="@hourly",
    start_date=pendulum.datetime(2026, 1, 1, tz="UTC"),
    catchup=False,
    max_active_runs=1,
    tags=["fireworks"],
    doc_md=__doc__,
    params={
        "delete": Param(
            False,
            type="boolean",
            title="Delete",
            description="Delete them; those that have served within the hour at a later run.",
        ),
        "keep": Param(
            [],
            type="array",
            title="Keep",
            description="Deployments that are meant to outlive their run: ids or full names, one per line.",
            items={"type": "string"},
        ),
    },
    # So that a list stays a list.
    render_template_as_native_obj=True,
)
def sweep_deployments():
    sweep = FireworksSweepDeploymentsOperator(
        task_id="sweep", delete="{{ params.delete }}", keep="{{ params.keep }}", retries=2
    )

    @task
    def none_is_left(orphaned: list[dict]) -> None:
        left = [each["deployment"] for each in orphaned if not each["deleted"] and not each["kept"]]
        if left:
            raise RuntimeError(f"{len(left)} deployments are left and may cost money: {', '.join(left)}")

    none_is_left(sweep.output["orphaned"])


sweep_deployments()
