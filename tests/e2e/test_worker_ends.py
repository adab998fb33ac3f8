"""What becomes of a deployment whose task ends while it waits in the worker."""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING

from tests.e2e.steps import AIRFLOW, deleted, deployments_of, left, mark, until, wait_until_deleted

if TYPE_CHECKING:
    from collections.abc import Callable

    import psutil

    from airflow_provider_fireworks.emulator import Emulator
    from local_airflow import LocalAirflow, TaskInstance

DAG = "deploy_in_worker"
RETRIED = ["evicted[0]", "evicted[1]"]
ENDED = ["evicted_in_last_try[0]", "evicted_in_last_try[1]"]


def tasks_of(airflow: LocalAirflow, run_id: str) -> dict[str, TaskInstance]:
    return {task.name: task for task in airflow.api.task_instances(DAG, run_id)}


def supervisor_of(airflow: LocalAirflow, task: TaskInstance) -> psutil.Process:
    """Return the process of LocalExecutor that supervises a running task; the task's own is its child."""
    path = f"/api/v2/dags/{task.dag_id}/dagRuns/{task.run_id}/taskInstances"
    (ti_id,) = [
        found["id"]
        for found in airflow.api.get(path, task_id=task.task_id)["task_instances"]
        if found["map_index"] == task.map_index
    ]
    # Airflow names both processes after the task instance.
    titles = {process: " ".join(process.cmdline()) for process in airflow.processes("scheduler")}
    (found,) = [process for process, title in titles.items() if ti_id in title and "LocalExecutor" in title]
    return found


def evict(airflow: LocalAirflow, task: TaskInstance) -> None:
    """End a running task by SIGTERM while Airflow takes it for running."""
    supervisor = supervisor_of(airflow, task)
    (process,) = supervisor.children()
    # Airflow 3.3 forwards the signal from the supervisor; from 3.4 on that one waits for its task instead.
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
    assert left(emulator) == kept
    assert not deleted(emulator) & kept
    assert len(emulator.creations) == 5
