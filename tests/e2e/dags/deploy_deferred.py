"""Deployments whose tasks are deferred until they are ready, with the operator's defaults for deleting them."""

from __future__ import annotations

import time
from datetime import timedelta
from pathlib import Path
from typing import Any

import pendulum
from airflow.sdk import dag, task, task_group

from airflow_provider_fireworks.operators.deployment import FireworksCreateDeploymentOperator
from airflow_provider_fireworks.sensors.deployment import FireworksDeploymentReadySensor

DAG: dict[str, Any] = {
    "start_date": pendulum.datetime(2026, 1, 1, tz="UTC"),
    "catchup": False,
    "default_args": {"retries": 0},
}


def deploy(task_id: str = "deploy", **arguments: Any) -> FireworksCreateDeploymentOperator:
    return FireworksCreateDeploymentOperator(
        task_id=task_id,
        model="my-model",
        precision="FP16",
        accelerator_type="NVIDIA_H100_80GB",
        deferrable=True,
        poll_interval=2,
        **arguments,
    )


@dag(schedule=None, **DAG)
def deploy_and_use():
    """Three deployments, each used by a task after it was created."""

    @task_group
    def serve(index):
        created = deploy()
        # In the worker, so that it soon notices a deletion of the deployment.
        FireworksDeploymentReadySensor(
            task_id="use", deployment=created.output["deployment"], poke_interval=1, timeout=300
        )

    serve.expand(index=[0, 1, 2])


@dag(schedule=None, **DAG)
def adopt_and_deploy():
    """One deployment that an earlier run may have created, and one of this run."""
    deploy("adopt", deployment_id="shared-by-all-runs")
    deploy()


@dag(schedule=None, **DAG, dagrun_timeout=timedelta(seconds=30))
def deploy_until_timeout():
    """A run that Airflow ends while its task is deferred."""
    deploy()


@dag(schedule=None, **DAG, fail_fast=True, params={"file": ""})
def deploy_until_failure():
    """A run that fails as soon as the file in its params exists."""

    @task
    def fail(params: dict) -> None:
        while not Path(params["file"]).exists():
            time.sleep(0.2)
        raise RuntimeError("This task fails so that the run fails fast.")

    deploy()
    fail()


deploy_and_use()
adopt_and_deploy()
deploy_until_timeout()
deploy_until_failure()
