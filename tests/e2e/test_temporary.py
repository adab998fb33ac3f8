"""Temporary deployments of which a user or Airflow ends or clears a task."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pytest

from airflow_provider_fireworks.deployments.ownership import Owner
from tests.e2e.steps import (
    AIRFLOW,
    clear,
    deleted,
    deployments_of,
    mark,
    remaining,
    states,
    until,
    wait_until_deleted,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from airflow_provider_fireworks.emulator import Emulator
    from local_airflow.api import TaskInstance
    from local_airflow.components import LocalAirflow

DEFERRED = "deploy_temporarily"
IN_WORKER = "deploy_temporarily_in_worker"
UNTIL_TIMEOUT = "deploy_temporarily_until_timeout"
SWEEP = "sweep_temporary_deployments"


def wait_until_waiting(
    airflow: LocalAirflow, emulator: Emulator, runs: dict[str, str], task_id: str
) -> list[TaskInstance]:
    """Wait until this task of each run is deferred or runs, and polls its deployment. Return the tasks."""
    tasks = []
    for dag, run in runs.items():
        state = "deferred" if dag == DEFERRED else "running"
        tasks += airflow.wait_for_tasks(dag, run, task_id, {state}, count=1)
    started = time.time()
    waiting = {Owner(dag, run, "deploy").deployment_id for dag, run in runs.items()}

    def polled() -> bool:
        # Two polls: the first one of a trigger may have been sent before the task was found to be deferred.
        paths = [
            request.path.rpartition("/")[2]
            for request in emulator.requests
            if request.method == "GET" and request.at > started
        ]
        return all(paths.count(deployment) >= 2 for deployment in waiting)

    until(airflow, f"{task_id} to poll", polled)
    return tasks


def test_up_marked_failed_while_it_waits_removes_deployment(
    airflow: LocalAirflow, emulator: Emulator, finish: Callable[..., None]
) -> None:
    emulator.configure(deploy_outcome="never")
    runs = {dag: airflow.trigger(dag) for dag in (DEFERRED, IN_WORKER)}
    for task in wait_until_waiting(airflow, emulator, runs, "up"):
        mark(airflow, task, "failed")
    for dag, run in runs.items():
        finish(dag, run, "failed")
        ended = states(airflow, dag, run)
        assert (ended["deploy"], ended["up"], ended["remove"]) == ("success", "failed", "success")
        assert ended["ask"] == "upstream_failed"
    assert len(emulator.creations) == 2
    assert remaining(emulator) == set()


def test_deploy_marked_failed_before_its_create_creates_nothing(
    airflow: LocalAirflow, emulator: Emulator, finish: Callable[..., None]
) -> None:
    emulator.fault("status", status=503, path="/deployments", times=-1)
    runs = {dag: airflow.trigger(dag) for dag in (DEFERRED, IN_WORKER)}
    for task in wait_until_waiting(airflow, emulator, runs, "deploy"):
        mark(airflow, task, "failed")
    for dag, run in runs.items():
        finish(dag, run, "failed")
        ended = states(airflow, dag, run)
        assert (ended["deploy"], ended["remove"]) == ("failed", "upstream_failed")
    # A worker notices the mark at its next heartbeat. If the API were available before that, it would still create.
    until(airflow, "the polls to end", lambda: time.time() - emulator.requests[-1].at > 10)
    emulator.clear_faults()
    time.sleep(5)
    assert emulator.creations == []


def lose_response_of_create(emulator: Emulator) -> None:
    """Lose the response of the next create, which succeeds. Another fault must handle the read that follows."""
    emulator.fault("status", status=404, method="GET", path="/deployments/")
    emulator.fault("drop", method="POST", path="/deployments", after_work=True)


@pytest.mark.skipif(
    AIRFLOW < (3, 3), reason="Before Airflow 3.3 a trigger does not notice that its task ended."
)
def test_deferred_deploy_marked_failed_after_lost_response_is_deleted(
    airflow: LocalAirflow, emulator: Emulator, finish: Callable[..., None]
) -> None:
    lose_response_of_create(emulator)
    emulator.fault("status", status=503, method="GET", path="/deployments/", times=-1)
    run = airflow.trigger(DEFERRED)
    (task,) = wait_until_waiting(airflow, emulator, {DEFERRED: run}, "deploy")
    created = deployments_of(emulator, DEFERRED, run)["deploy"]
    assert remaining(emulator) == {created}

    mark(airflow, task, "failed")
    emulator.clear_faults()
    finish(DEFERRED, run, "failed")
    wait_until_deleted(airflow, emulator, created, timeout=30)
    assert len(emulator.creations) == 1


def test_running_deploy_marked_failed_after_lost_response_is_deleted(
    airflow: LocalAirflow, emulator: Emulator, finish: Callable[..., None]
) -> None:
    lose_response_of_create(emulator)
    # The read hangs until the worker is killed. With a response, the task could end before that, and then only the
    # sweep would find the deployment.
    emulator.fault("hang", method="GET", path="/deployments/")
    run = airflow.trigger(IN_WORKER)
    until(airflow, "the read to hang", lambda: "hang" in [request.fault for request in emulator.requests])
    created = deployments_of(emulator, IN_WORKER, run)["deploy"]
    assert remaining(emulator) == {created}

    (task,) = airflow.api.task_instances(IN_WORKER, run, "deploy")
    mark(airflow, task, "failed")
    finish(IN_WORKER, run, "failed")
    wait_until_deleted(airflow, emulator, created, timeout=30)
    assert len(emulator.creations) == 1


def test_cleared_task_of_block_gets_its_deployment_again(
    airflow: LocalAirflow, emulator: Emulator, finish: Callable[..., None]
) -> None:
    emulator.configure(deploy_duration=3)
    run = airflow.trigger(DEFERRED)
    finish(DEFERRED, run)
    created = deployments_of(emulator, DEFERRED, run)["deploy"]
    assert remaining(emulator) == set()

    (task,) = airflow.api.task_instances(DEFERRED, run, "ask_again")
    emulator.clear()
    clear(airflow, task)
    until(airflow, "the run to continue", lambda: airflow.api.run_state(DEFERRED, run) != "success")
    finish(DEFERRED, run)

    tries = {task.name: task.try_number for task in airflow.api.task_instances(DEFERRED, run)}
    assert tries == {"deploy": 2, "up": 2, "ask": 1, "ask_again": 2, "done": 2, "remove": 2}
    assert deleted(emulator) == {created}
    assert remaining(emulator) == set()
    # The deletion was soft, so the deployment was undeleted instead of created again.
    assert emulator.creations == []
    assert emulator.count("POST", f"{created}:undelete") == 1
    # By `up`, and by the task that was cleared.
    assert emulator.count("POST", "chat/completions") >= 2


@pytest.fixture
def sweep(airflow: LocalAirflow, finish: Callable[..., None]) -> Callable[[], dict[str, bool]]:
    """Sweep. Return the orphaned deployments, and whether each was deleted."""

    def run_sweep() -> dict[str, bool]:
        run = airflow.trigger(SWEEP)
        finish(SWEEP, run)
        (task,) = airflow.api.task_instances(SWEEP, run, "sweep")
        orphaned = airflow.api.xcom(task, "orphaned")
        return {each["deployment"].rpartition("/")[2]: each["deleted"] for each in orphaned}

    return run_sweep


def test_sweep_deletes_deployment_left_by_dagrun_timeout(
    airflow: LocalAirflow,
    emulator: Emulator,
    finish: Callable[..., None],
    sweep: Callable[[], dict[str, bool]],
) -> None:
    emulator.configure(deploy_duration=1)
    run = airflow.trigger(UNTIL_TIMEOUT)
    airflow.wait_for_tasks(UNTIL_TIMEOUT, run, "hold", {"running"}, count=1)
    created = deployments_of(emulator, UNTIL_TIMEOUT, run)["deploy"]
    assert sweep() == {}

    finish(UNTIL_TIMEOUT, run, "failed")
    ended = states(airflow, UNTIL_TIMEOUT, run)
    assert ended == {
        "deploy": "success",
        "up": "success",
        "hold": "skipped",
        "done": "skipped",
        "remove": "skipped",
    }
    assert remaining(emulator) == {created}

    # The inference request of `up` is recent traffic: the API rejects a deletion for an hour after it.
    assert sweep() == {created: False}
    assert remaining(emulator) == {created}
    emulator.configure(recent_traffic=0)
    assert sweep() == {created: True}
    assert remaining(emulator) == set()
