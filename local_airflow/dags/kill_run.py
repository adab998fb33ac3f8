"""Deploy in each of the ways there are, and clean up, whatever is killed meanwhile: see local_airflow/kills.py."""

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
DEPLOYED = {"accelerator_type": "NVIDIA_H100_80GB", "min_replica_count": 1}


#: A deployment that fails costs the task that waits for it a try, and is made anew.
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
    # Every kill costs a try, and where a scheduler is killed all of its tasks do.
    default_args={"retries": 50, "retry_delay": timedelta(seconds=1)},
)
def kill_run():
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
            **DEPLOYED,
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
            **DEPLOYED,
            **WAITING,
            task_id="deploy",
            model=MODEL,
            precision="{{ params.deferred }}",
            # A triggerer that was frozen calls the trigger's on_kill: it must not delete what is in use.
            deferrable=True,
        )
        use(deploy.output["inference_model"]) >> remove(deploy)

    @task_group
    def worker():
        deploy = FireworksCreateDeploymentOperator(
            **DEPLOYED,
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


kill_run()
