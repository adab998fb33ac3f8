"""A task loop, each iteration of which deploys. Airflow has task loops, and this DAG, from 3.4 on."""

from __future__ import annotations

import pendulum
from airflow.sdk import dag, task_group

from airflow_provider_fireworks.operators.deployment import FireworksCreateDeploymentOperator


@task_group
def serve():
    FireworksCreateDeploymentOperator(
        task_id="deploy",
        model="my-model",
        precision="FP16",
        accelerator_type="NVIDIA_H100_80GB",
        deferrable=True,
        poll_interval=1,
    )


if hasattr(serve, "loop"):

    @dag(schedule=None, start_date=pendulum.datetime(2026, 1, 1, tz="UTC"), catchup=False)
    def deploy_in_loop():
        serve.loop(max_iterations=2)

    deploy_in_loop()
