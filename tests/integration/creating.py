"""Helpers for tests of the operator that creates deployments."""

from __future__ import annotations

import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import TaskDeferred

from airflow_provider_fireworks.deployments.ownership import Owner
from airflow_provider_fireworks.hooks.fireworks import FireworksHook
from airflow_provider_fireworks.operators.deployment import FireworksCreateDeploymentOperator
from tests.integration.conftest import MODEL, TaskInstance

H100 = "NVIDIA_H100_80GB"
OWNER = Owner.from_context({"ti": TaskInstance()})
"""The task instance that runs unless a test says otherwise."""
NAME = f"accounts/demo/deployments/{OWNER.deployment_id}"
SPEC = {"baseModel": MODEL, "precision": "FP16", "acceleratorType": H100, "minReplicaCount": 0}

UNKNOWN_OUTCOMES: list[dict[str, Any]] = [
    {"kind": "drop"},
    {"kind": "status", "status": 503},
    {"kind": "html", "status": 502},
    {"kind": "truncate"},
]
"""Faults after which a client cannot know whether the API has carried out the request."""


def fault_id(fault: dict[str, Any]) -> str:
    return " ".join(str(value) for value in fault.values())


def make_task(**arguments: Any) -> FireworksCreateDeploymentOperator:
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


def second_try(**arguments: Any) -> TaskInstance:
    """Return the same task instance in its second try."""
    return TaskInstance(try_number=2, **arguments)


def defer_task(make: Callable[[], Any], instance: TaskInstance | None = None) -> TaskDeferred:
    """Run a task until its first deferral."""
    with pytest.raises(TaskDeferred) as deferral:
        make().execute({"ti": instance or TaskInstance()})
    return deferral.value


def create_by_hand(emulator: Any, deployment_id: str = OWNER.deployment_id, **fields: Any) -> None:
    """Create a deployment without a task, and clear the emulator's records of that."""
    FireworksHook().create_deployment(deployment_id, {**SPEC, **fields})
    emulator.clear()


def shown(emulator: Any, deployment_id: str = OWNER.deployment_id) -> dict[str, Any]:
    """Return the deployment as the API shows it."""
    return emulator.deployment(deployment_id)


def count_creates(emulator: Any) -> int:
    """Return how many requests to create a deployment the API has received."""
    return emulator.count("POST", "/deployments")


def count_changes(emulator: Any) -> int:
    """Return how many requests to change an existing deployment the API has received."""
    return emulator.count("DELETE") + emulator.count("PATCH") + emulator.count("POST", ":undelete")


def is_id_free(emulator: Any, deployment_id: str = OWNER.deployment_id) -> bool:
    """Whether nothing is left of a deployment, not even a softly deleted one."""
    return all(each["name"] != f"accounts/demo/deployments/{deployment_id}" for each in emulator.deployments)


def costs_nothing(emulator: Any) -> bool:
    """Whether no deployment is left, and no GPU is billed any more."""
    spent = emulator.gpu_seconds
    time.sleep(0.02)
    return emulator.deployments_left == [] and emulator.gpu_seconds == spent


@contextmanager
def act_when(condition: Callable[[], Any], act: Callable[[], Any]) -> Iterator[None]:
    """Act in another thread as soon as a condition holds while the block runs."""
    done = threading.Event()

    def run() -> None:
        while not done.wait(0.01):
            if condition():
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
def signal_when(condition: Callable[[], Any], act: Callable[[], Any], *, times: int = 1) -> Iterator[None]:
    """Act in a signal handler, as Airflow calls ``on_kill``, as soon as a condition holds while the block runs."""
    left = times

    def handle(_: int, frame: FrameType | None) -> None:
        nonlocal left
        # What is raised inside Python's own import can leave its lock held, which blocks every later test that imports
        # something in a thread.
        is_importing = frame is not None and frame.f_code.co_filename.startswith("<frozen importlib")
        if not is_importing and condition():
            left -= 1
            if left == 0:
                signal.setitimer(signal.ITIMER_REAL, 0)
            act()

    def act_again(lost: Any) -> None:
        """Act once more, as Python has ignored what was raised: the signal had interrupted a destructor."""
        nonlocal left
        left += 1
        signal.setitimer(signal.ITIMER_REAL, 0.02, 0.02)

    before, hook_before = signal.signal(signal.SIGALRM, handle), sys.unraisablehook
    sys.unraisablehook = act_again
    signal.setitimer(signal.ITIMER_REAL, 0.02, 0.02)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
        sys.unraisablehook = hook_before
