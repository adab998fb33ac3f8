"""Deferred waits end by ``execution_timeout``."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING

from tests.e2e.steps import wait_until_deleted

if TYPE_CHECKING:
    from collections.abc import Callable

    from airflow_provider_fireworks.emulator import Emulator
    from local_airflow.components import LocalAirflow

DAG = "wait_with_execution_timeout"
EXECUTION_TIMEOUT = 12.0
#: Seconds for scheduling, deferral and resumption on a busy machine. The timeout of the tasks is 3600 s.
SLACK = 60.0


def test_deferred_waits_end_by_execution_timeout(
    airflow: LocalAirflow, emulator: Emulator, finish: Callable[..., None]
) -> None:
    emulator.configure(precision_lists="present", outcome="never", deploy_outcome="never")
    run = airflow.trigger(DAG)
    finish(DAG, run, "failed", timeout=90)

    tasks = {task.task_id: task for task in airflow.api.task_instances(DAG, run)}
    assert {name: task.state for name, task in tasks.items()} == {
        "create": "failed",
        "prepare": "failed",
        "ready": "failed",
        "ready_or_skip": "skipped",
    }
    for name in ("create", "prepare", "ready"):
        assert "AirflowTaskTimeout" in airflow.api.log(tasks[name])
    for name, duration in durations_of(airflow, run).items():
        assert EXECUTION_TIMEOUT - 1 <= duration <= EXECUTION_TIMEOUT + SLACK, name
    (creation,) = emulator.creations
    wait_until_deleted(airflow, emulator, creation.deployment, timeout=10)


def durations_of(airflow: LocalAirflow, run_id: str) -> dict[str, float]:
    """Return the seconds between the start of the run and the end of each task."""

    def parse(text: str) -> datetime:
        return datetime.fromisoformat(text.replace("Z", "+00:00"))

    path = f"/api/v2/dags/{DAG}/dagRuns/{run_id}"
    started = parse(airflow.api.get(path)["start_date"])
    tasks = airflow.api.get(f"{path}/taskInstances")["task_instances"]
    return {task["task_id"]: (parse(task["end_date"]) - started).total_seconds() for task in tasks}
