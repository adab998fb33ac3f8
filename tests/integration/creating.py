"""What the tests of the operator that creates deployments share."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import TaskDeferred

from airflow_provider_fireworks.deployments.ownership import Owner
from airflow_provider_fireworks.hooks.fireworks import FireworksHook
from airflow_provider_fireworks.operators.deployment import FireworksCreateDeploymentOperator
from tests.integration.conftest import MODEL, TaskInstance

H100 = "NVIDIA_H100_80GB"
MINE = Owner.from_context({"ti": TaskInstance()})
NAME = f"accounts/demo/deployments/{MINE.deployment_id}"
SPEC = {"baseModel": MODEL, "precision": "FP16", "acceleratorType": H100, "minReplicaCount": 0}


def task(**arguments: Any) -> FireworksCreateDeploymentOperator:
    arguments = {
        "task_id": "deploy",
        "model": "my-model",
        "precision": "FP16",
        "accelerator_type": None if "deployment_shape" in arguments else H100,
        "poll_interval": 0.05,
        "timeout": 20,
        **arguments,
    }
    return FireworksCreateDeploymentOperator(**arguments)


def again(**arguments: Any) -> TaskInstance:
    """Return the same task instance at its second try."""
    return TaskInstance(try_number=2, **arguments)


def posts(emulator: Any) -> int:
    return emulator.count("POST", "/deployments")


def touched(emulator: Any) -> int:
    """Return how often anything was asked that changes a deployment which is there."""
    return emulator.count("DELETE") + emulator.count("PATCH") + emulator.count("POST", ":undelete")


def payload(emulator: Any, deployment_id: str = MINE.deployment_id) -> dict[str, Any]:
    return emulator.deployment(deployment_id)


def gone(emulator: Any, deployment_id: str = MINE.deployment_id) -> bool:
    """Whether nothing is left of a deployment, so that its id is free."""
    return all(each["name"] != f"accounts/demo/deployments/{deployment_id}" for each in emulator.deployments)


def costs_nothing(emulator: Any) -> bool:
    """Whether no deployment is left, and none is billed any more."""
    spent = emulator.gpu_seconds
    time.sleep(0.02)
    return emulator.deployments_left == [] and emulator.gpu_seconds == spent


def make(emulator: Any, deployment_id: str = MINE.deployment_id, **fields: Any) -> None:
    """Make a deployment by hand, and let the API forget that it was asked for it."""
    FireworksHook().create_deployment(deployment_id, {**SPEC, **fields})
    emulator.clear()


@contextmanager
def meanwhile(when: Callable[[], Any], act: Callable[[], Any]) -> Iterator[None]:
    """Do something as soon as a condition holds, beside what runs in the block."""
    done = threading.Event()

    def run() -> None:
        while not done.wait(0.01):
            if when():
                act()
                return

    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()


@contextmanager
def interrupted(when: Callable[[], Any], act: Callable[[], Any]) -> Iterator[None]:
    """Do something in a signal handler, as Airflow calls ``on_kill``, as soon as a condition holds."""

    def handle(*_: Any) -> None:
        if when():
            signal.setitimer(signal.ITIMER_REAL, 0)
            act()

    before = signal.signal(signal.SIGALRM, handle)
    signal.setitimer(signal.ITIMER_REAL, 0.02, 0.02)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def defer(make_task: Callable[[], Any], instance: TaskInstance | None = None) -> TaskDeferred:
    """Run a task up to its first deferral."""
    with pytest.raises(TaskDeferred) as deferral:
        make_task().execute({"ti": instance or TaskInstance()})
    return deferral.value
