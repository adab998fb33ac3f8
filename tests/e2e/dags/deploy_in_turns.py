"""Deployments that take turns under a GPU quota. Retry policies can reschedule a task from Airflow 3.4 on."""

from __future__ import annotations

import time
from datetime import timedelta
from typing import Any

import pendulum
from airflow.sdk import dag, task, task_group

from airflow_provider_fireworks.operators.deployment import temporary_deployment

try:
    from airflow.sdk import ExceptionRetryPolicy, RetryAction, RetryRule

    HAS_RESCHEDULE = hasattr(RetryAction, "RESCHEDULE")
except ImportError:  # Airflow 3.0, 3.1 and 3.2
    HAS_RESCHEDULE = False

DAG: dict[str, Any] = {
    "start_date": pendulum.datetime(2026, 1, 1, tz="UTC"),
    "catchup": False,
}
DEPLOYMENT: dict[str, Any] = {
    "model": "my-model",
    "accelerator_type": "NVIDIA_H100_80GB",
    "poll_interval": 1,
}


def wait_for_gpus(*, limit: timedelta) -> Any:
    """Return a policy that reschedules a create every two seconds while the quota has too few GPUs left."""
    return ExceptionRetryPolicy(
        rules=[
            RetryRule(
                exception="airflow_provider_fireworks.exceptions.FireworksQuotaExceeded",
                action=RetryAction.RESCHEDULE,
                retry_delay=timedelta(seconds=2),
                reschedule_timeout=limit,
            )
        ]
    )


@task
def use(inference_model: str) -> None:
    from airflow_provider_fireworks.hooks.fireworks import FireworksHook

    hook = FireworksHook()
    body = {"model": inference_model, "messages": [{"role": "user", "content": "Say hello."}]}
    url = hook.config.url("inference/v1/chat/completions")
    hook.get_conn().post(url, json=body, timeout=60).raise_for_status()
    time.sleep(6)


if HAS_RESCHEDULE:

    @dag(schedule=None, **DAG)
    def deploy_in_turns():
        """Deploy two precisions, as soon as the quota allows each."""

        @task_group
        def serve(precision):
            with temporary_deployment(
                precision=precision,
                retries=1,
                retry_policy=wait_for_gpus(limit=timedelta(minutes=5)),
                **DEPLOYMENT,
            ) as deployment:
                use(deployment.inference_model)

        serve.expand(precision=["FP8", "FP4"])

    @dag(schedule=None, **DAG)
    def deploy_until_limit():
        """Deploy once, and stop waiting for GPUs after a few seconds in each try."""
        with temporary_deployment(
            precision="FP16",
            retries=1,
            retry_delay=timedelta(seconds=1),
            retry_policy=wait_for_gpus(limit=timedelta(seconds=8)),
            timeout=6,
            **DEPLOYMENT,
        ) as deployment:
            use(deployment.inference_model)

    deploy_in_turns()
    deploy_until_limit()
