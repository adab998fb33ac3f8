"""Deploy in each of the possible ways, and delete the deployments, whatever is killed meanwhile: see ../run.py."""

from __future__ import annotations

import time
from datetime import timedelta

import pendulum
from airflow.sdk import dag, task, task_group

from airflow_provider_fireworks.operators.deployment import (
    FireworksCreateDeploymentOperator,
    FireworksDeleteDeploymentOperator,
)
from airflow_provider_fireworks.operators.model import FireworksPrepareModelOperator
from airflow_provider_fireworks.sensors.deployment import FireworksDeploymentReadySensor
from airflow_provider_fireworks.sensors.model import FireworksModelReadySensor

MODEL = "my-model"
DEPLOYMENT = {"accelerator_type": "NVIDIA_H100_80GB", "min_replica_count": 1}
#: Each failed deployment costs the task that waits for it a try.
WAITING = {"retries": 6, "poll_interval": 2}


@task
def use(inference_model: str) -> None:
    print(f"Using {inference_model}")
    time.sleep(2)


def remove(deploy: FireworksCreateDeploymentOperator) -> FireworksDeleteDeploymentOperator:
    removal = FireworksDeleteDeploymentOperator(task_id="remove", deployment=deploy.output["deployment"])
    return removal.as_teardown(setups=deploy)


@dag(
    schedule=None,
    start_date=pendulum.datetime(2026, 1, 1, tz="UTC"),
    catchup=False,
    max_active_runs=100,
    max_active_tasks=200,
    params={"serve": ["FP8", "FP4"], "deferred": "FP8", "worker": "FP4"},
    # Each kill costs a task a try; the kill of a scheduler costs all running tasks one.
    default_args={"retries": 50, "retry_delay": timedelta(seconds=1)},
)
def chaos():
    @task
    def precisions(params: dict) -> list[str]:
        return params["serve"]

    @task_group
    def serve(precision):
        prepare = FireworksPrepareModelOperator(task_id="prepare", model=MODEL, precision=precision)
        ready = FireworksModelReadySensor(
            task_id="ready",
            prepared=prepare.output,
            deferrable=True,
            poke_interval=2,
        )
        deploy = FireworksCreateDeploymentOperator(
            **DEPLOYMENT,
            task_id="deploy",
            prepared=ready.output,
            wait_for_completion=False,
        )
        up = FireworksDeploymentReadySensor(
            task_id="up", deployment=deploy.output["deployment"], deferrable=True, poke_interval=2
        )
        prepare >> ready >> deploy >> up
        up >> use(deploy.output["inference_model"]) >> remove(deploy)

    @task_group
    def deferred():
        deploy = FireworksCreateDeploymentOperator(
            **DEPLOYMENT,
            **WAITING,
            task_id="deploy",
            model=MODEL,
            precision="{{ params.deferred }}",
            # A triggerer that was frozen calls the trigger's on_kill, which must not delete a deployment in use.
            deferrable=True,
        )
        use(deploy.output["inference_model"]) >> remove(deploy)

    @task_group
    def worker():
        deploy = FireworksCreateDeploymentOperator(
            **DEPLOYMENT,
            **WAITING,
            task_id="deploy",
            model=MODEL,
            precision="{{ params.worker }}",
            deferrable=False,
        )
        use(deploy.output["inference_model"]) >> remove(deploy)

    serve.expand(precision=precisions())
    deferred()
    worker()


chaos()
