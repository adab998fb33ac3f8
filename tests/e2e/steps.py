"""Steps that several tests share: read what a run created, mark and clear its tasks, wait for the triggerer."""

from __future__ import annotations

import time
from importlib import metadata
from typing import TYPE_CHECKING, Any

from packaging.version import Version

from airflow_provider_fireworks.deployments.ownership import Owner
from local_airflow.api import poll_until

if TYPE_CHECKING:
    from collections.abc import Callable

    import psutil

    from airflow_provider_fireworks.emulator import Emulator
    from local_airflow.api import TaskInstance
    from local_airflow.components import LocalAirflow


#: Airflow's minor version, such as (3, 3), also for a beta of it.
AIRFLOW = Version(metadata.version("apache-airflow-core")).release[:2]


def until(
    airflow: LocalAirflow, what: str, condition: Callable[[], Any], *, timeout: float = 60, every: float = 0.2
) -> Any:
    """Call a condition until it is true, and return its value."""
    return poll_until(condition, timeout=timeout, what=what, meanwhile=airflow.check, every=every)


def states(airflow: LocalAirflow, dag_id: str, run_id: str) -> dict[str, str | None]:
    """Return the states of a run's tasks, by their names."""
    return {task.name: task.state for task in airflow.api.task_instances(dag_id, run_id)}


def deployments_of(emulator: Emulator, dag_id: str, run_id: str) -> dict[str, str]:
    """
    Return the ids of the deployments that a run created or adopted, by the name of the task.

    Purged deployments are not among them.
    """
    found = {}
    for deployment in emulator.deployments:
        owner = Owner.from_description(deployment["description"])
        if owner is not None and (owner.dag_id, owner.run_id) == (dag_id, run_id):
            index = "" if owner.map_index < 0 else f"[{owner.map_index}]"
            found[f"{owner.task_id}{index}"] = deployment["name"].rpartition("/")[2]
    return found


def remaining(emulator: Emulator) -> set[str]:
    """Return the ids of the deployments that are not deleted."""
    return {name.rpartition("/")[2] for name in emulator.deployments_left}


def deleted(emulator: Emulator) -> set[str]:
    """Return the ids of the deployments for which a DELETE was sent."""
    return {request.path.rpartition("/")[2] for request in emulator.requests if request.method == "DELETE"}


def wait_until_deferred(
    airflow: LocalAirflow, emulator: Emulator, dag_id: str, run_id: str, *names: str, try_number: int = 1
) -> dict[str, TaskInstance]:
    """
    Wait until these tasks of a run are deferred, and the triggerer runs the trigger of each. Return the tasks.

    :param names: of tasks that have one deployment each.
    :param try_number: the try to wait for.
    """

    def deferred() -> dict[str, TaskInstance] | None:
        tasks = {task.name: task for task in airflow.api.task_instances(dag_id, run_id) if task.name in names}
        ended = [name for name, task in tasks.items() if task.state in ("failed", "skipped", "success")]
        assert not ended, airflow.api.describe(dag_id, run_id)
        found = [
            task for task in tasks.values() if task.state == "deferred" and task.try_number == try_number
        ]
        return tasks if len(found) == len(names) else None

    tasks: dict[str, TaskInstance] = until(airflow, f"{names} to be deferred", deferred, timeout=90)
    deferred_at = time.time()
    waiting = {deployments_of(emulator, dag_id, run_id)[name] for name in names}

    def polled() -> bool:
        # Airflow assigns a trigger before it runs it. Only a poll shows that it runs.
        return waiting <= {
            request.path.rpartition("/")[2]
            for request in emulator.requests
            if request.method == "GET" and request.at > deferred_at
        }

    until(airflow, "the triggerer to poll", polled)
    return tasks


def wait_until_deleted(
    airflow: LocalAirflow, emulator: Emulator, *deployments: str, timeout: float = 60
) -> None:
    """Wait until all of these deployments are deleted."""
    until(
        airflow,
        f"{', '.join(deployments)} to be deleted",
        lambda: not remaining(emulator) & {*deployments},
        timeout=timeout,
    )


def mark(airflow: LocalAirflow, task: TaskInstance, state: str) -> None:
    """Mark a task, as a user does in Airflow's UI."""
    path = f"/api/v2/dags/{task.dag_id}/dagRuns/{task.run_id}/taskInstances/{task.task_id}"
    if task.map_index >= 0:
        path = f"{path}/{task.map_index}"
    airflow.api.request("PATCH", path, json={"new_state": state})


def clear(airflow: LocalAirflow, task: TaskInstance) -> None:
    """Clear a task, as a user does in Airflow's UI."""
    body = {
        "dry_run": False,
        "dag_run_id": task.run_id,
        "task_ids": [task.task_id if task.map_index < 0 else [task.task_id, task.map_index]],
        "only_failed": False,
    }
    airflow.api.request("POST", f"/api/v2/dags/{task.dag_id}/clearTaskInstances", json=body)


def supervisor_of(airflow: LocalAirflow, task: TaskInstance) -> psutil.Process:
    """Return LocalExecutor's process that supervises a running task. The process of the task is its child."""
    path = f"/api/v2/dags/{task.dag_id}/dagRuns/{task.run_id}/taskInstances"
    (ti_id,) = [
        found["id"]
        for found in airflow.api.get(path, task_id=task.task_id)["task_instances"]
        if found["map_index"] == task.map_index
    ]
    # Airflow puts the id of the task instance into the titles of both processes.
    titles = {process: " ".join(process.cmdline()) for process in airflow.processes("scheduler")}
    (found,) = [process for process, title in titles.items() if ti_id in title and "LocalExecutor" in title]
    return found
