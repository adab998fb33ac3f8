"""
### Find orphaned deployments, every hour

An orphaned deployment is one whose run is over, for example because its worker was killed or somebody stopped the run.
They are only listed unless *delete* is set. The run fails while any is left, so that your alerts go off. Deployments
that were created with a `deployment_id` are meant to outlive their run, and are spared.
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
            description="Delete them. The API refuses those with traffic in the last hour; a later run deletes them.",
        ),
        "keep": Param(
            [],
            type="array",
            title="Keep",
            description="Ids or full names of deployments that are meant to outlive their run, one per line.",
            items={"type": "string"},
        ),
    },
    # Renders the param `keep` as a list, not as text.
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
