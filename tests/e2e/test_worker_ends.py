"""Deployments of tasks that end while they wait in the worker."""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING

from tests.e2e.steps import (
    AIRFLOW,
    deleted,
    deployments_of,
    mark,
    remaining,
    supervisor_of,
    until,
    wait_until_deleted,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from airflow_provider_fireworks.emulator import Emulator
    from local_airflow.api import TaskInstance
    from local_airflow.components import LocalAirflow

DAG = "deploy_in_worker"
RETRIED = ["evicted[0]", "evicted[1]"]
ENDED = ["evicted_in_last_try[0]", "evicted_in_last_try[1]"]


def tasks_of(airflow: LocalAirflow, run_id: str) -> dict[str, TaskInstance]:
    return {task.name: task for task in airflow.api.task_instances(DAG, run_id)}


def evict(airflow: LocalAirflow, task: TaskInstance) -> None:
    """Send SIGTERM to a running task, which stays running for Airflow."""
    supervisor = supervisor_of(airflow, task)
    (process,) = supervisor.children()
    # In Airflow 3.3 the supervisor forwards the signal. From 3.4 on it waits for its task instead.
    target = supervisor if task.map_index == 1 and AIRFLOW == (3, 3) else process
    target.send_signal(signal.SIGTERM)


def test_creates_ended_in_worker_keep_what_next_try_adopts(
    airflow: LocalAirflow, emulator: Emulator, finish: Callable[..., None]
) -> None:
    emulator.configure(deploy_outcome="never")
    run = airflow.trigger(DAG)
    until(airflow, "all deployments", lambda: len(emulator.creations) == 5, timeout=90)
    created = deployments_of(emulator, DAG, run)
    assert {*created} == {"marked", *RETRIED, *ENDED}
    kept = {created[name] for name in RETRIED}

    tasks = tasks_of(airflow, run)
    mark(airflow, tasks["marked"], "failed")
    for name in (*RETRIED, *ENDED):
        evict(airflow, tasks[name])
    wait_until_deleted(airflow, emulator, created["marked"], *(created[name] for name in ENDED))

    def retried() -> bool:
        again = [tasks_of(airflow, run)[name] for name in RETRIED]
        return all((task.try_number, task.state) == (2, "running") for task in again)

    until(airflow, "the retries to run", retried)
    for name in kept:
        emulator.set_deployment(name, state="READY")
    finish(DAG, run, "failed")

    assert {name: (task.state, task.try_number) for name, task in tasks_of(airflow, run).items()} == {
        "marked": ("failed", 1),
        **dict.fromkeys(RETRIED, ("success", 2)),
        **dict.fromkeys(ENDED, ("failed", 1)),
    }
    assert remaining(emulator) == kept
    assert not deleted(emulator) & kept
    assert len(emulator.creations) == 5
