"""What becomes of a temporary deployment when a person or Airflow ends or clears a task that needs it."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pytest

from airflow_provider_fireworks.identity import Identity
from tests.e2e.steps import AIRFLOW, clear, deleted, deployments_of, left, mark, until, wait_until_deleted

if TYPE_CHECKING:
    from collections.abc import Callable

    from airflow_provider_fireworks.emulator import Emulator
    from local_airflow import LocalAirflow, TaskInstance

DEFERRED = "deploy_temporarily"
IN_WORKER = "deploy_temporarily_in_worker"
UNTIL_TIMEOUT = "deploy_temporarily_until_timeout"
SWEEP = "sweep_temporary_deployments"


def states(airflow: LocalAirflow, dag: str, run: str) -> dict[str, str | None]:
    return {task.name: task.state for task in airflow.api.task_instances(dag, run)}


def wait_until_waiting(
    airflow: LocalAirflow, gateway: Emulator, runs: dict[str, str], task_id: str
) -> list[TaskInstance]:
    """Wait until this task of each run waits, in the triggerer or in the worker, and polls its deployment."""
    tasks = []
    for dag, run in runs.items():
        state = "deferred" if dag == DEFERRED else "running"
        tasks += airflow.wait_for_tasks(dag, run, task_id, {state}, count=1)
    begun = time.time()
    waiting = {Identity(dag, run, "deploy").deployment_id for dag, run in runs.items()}

    def polled() -> bool:
        # Two polls: the first one of a trigger may have begun before the task was seen to be deferred.
        paths = [
            request.path.rpartition("/")[2]
            for request in gateway.requests
            if request.method == "GET" and request.at > begun
        ]
        return all(paths.count(deployment) >= 2 for deployment in waiting)

    until(airflow, f"{task_id} to poll", polled)
    return tasks


def test_up_marked_failed_while_it_waits_removes_the_deployment(
    airflow: LocalAirflow, gateway: Emulator, finish: Callable[..., None]
) -> None:
    gateway.configure(deploy_outcome="never")
    runs = {dag: airflow.trigger(dag) for dag in (DEFERRED, IN_WORKER)}
    for task in wait_until_waiting(airflow, gateway, runs, "up"):
        mark(airflow, task, "failed")
    for dag, run in runs.items():
        finish(dag, run, "failed")
        ended = states(airflow, dag, run)
        assert (ended["deploy"], ended["up"], ended["remove"]) == ("success", "failed", "success")
        assert ended["ask"] == "upstream_failed"
    assert len(gateway.creations) == 2
    assert left(gateway) == set()


def test_deploy_marked_failed_before_its_create_creates_nothing(
    airflow: LocalAirflow, gateway: Emulator, finish: Callable[..., None]
) -> None:
    gateway.fault("status", status=503, path="/deployments", times=-1)
    runs = {dag: airflow.trigger(dag) for dag in (DEFERRED, IN_WORKER)}
    for task in wait_until_waiting(airflow, gateway, runs, "deploy"):
        mark(airflow, task, "failed")
    for dag, run in runs.items():
        finish(dag, run, "failed")
        ended = states(airflow, dag, run)
        assert (ended["deploy"], ended["remove"]) == ("failed", "upstream_failed")
    # A worker learns of the mark at its next heartbeat only. Were the API available before that, it could still create.
    until(airflow, "the polls to end", lambda: time.time() - gateway.requests[-1].at > 10)
    gateway.clear_faults()
    time.sleep(5)
    assert gateway.creations == []


def lose_response_of_create(gateway: Emulator) -> None:
    """Let the next create succeed without a response. Another fault decides what comes of the read that follows."""
    gateway.fault("status", status=404, method="GET", path="/deployments/")
    gateway.fault("drop", method="POST", path="/deployments", after_work=True)


@pytest.mark.skipif(
    AIRFLOW < (3, 3), reason="Before Airflow 3.3 a trigger does not learn what becomes of its task."
)
def test_deferred_deploy_marked_failed_after_lost_response_leaves_nothing(
    airflow: LocalAirflow, gateway: Emulator, finish: Callable[..., None]
) -> None:
    lose_response_of_create(gateway)
    gateway.fault("status", status=503, method="GET", path="/deployments/", times=-1)
    run = airflow.trigger(DEFERRED)
    (task,) = wait_until_waiting(airflow, gateway, {DEFERRED: run}, "deploy")
    created = deployments_of(gateway, DEFERRED, run)["deploy"]
    assert left(gateway) == {created}

    mark(airflow, task, "failed")
    gateway.clear_faults()
    finish(DEFERRED, run, "failed")
    wait_until_deleted(airflow, gateway, created, timeout=30)
    assert len(gateway.creations) == 1


def test_running_deploy_marked_failed_after_lost_response_leaves_nothing(
    airflow: LocalAirflow, gateway: Emulator, finish: Callable[..., None]
) -> None:
    lose_response_of_create(gateway)
    # The read hangs until the worker is killed. Were it answered, the task could end before that, and then
    # nothing but the sweep would find the deployment.
    gateway.fault("hang", method="GET", path="/deployments/")
    run = airflow.trigger(IN_WORKER)
    until(airflow, "the read to hang", lambda: "hang" in [request.fault for request in gateway.requests])
    created = deployments_of(gateway, IN_WORKER, run)["deploy"]
    assert left(gateway) == {created}

    (task,) = airflow.api.task_instances(IN_WORKER, run, "deploy")
    mark(airflow, task, "failed")
    finish(IN_WORKER, run, "failed")
    wait_until_deleted(airflow, gateway, created, timeout=30)
    assert len(gateway.creations) == 1


def test_cleared_task_of_the_block_gets_its_deployment_again(
    airflow: LocalAirflow, gateway: Emulator, finish: Callable[..., None]
) -> None:
    gateway.configure(deploy_duration=3)
    run = airflow.trigger(DEFERRED)
    finish(DEFERRED, run)
    created = deployments_of(gateway, DEFERRED, run)["deploy"]
    assert left(gateway) == set()

    (task,) = airflow.api.task_instances(DEFERRED, run, "ask_again")
    gateway.clear()
    clear(airflow, task)
    until(airflow, "the run to go on", lambda: airflow.api.run_state(DEFERRED, run) != "success")
    finish(DEFERRED, run)

    tries = {task.name: task.try_number for task in airflow.api.task_instances(DEFERRED, run)}
    assert tries == {"deploy": 2, "up": 2, "ask": 1, "ask_again": 2, "done": 2, "remove": 2}
    assert deleted(gateway) == {created}
    assert left(gateway) == set()
    # It was deleted softly, so its id was taken: the same deployment came back.
    assert gateway.creations == []
    assert gateway.count("POST", f"{created}:undelete") == 1
    # By `up`, and by the task that was cleared.
    assert gateway.count("POST", "chat/completions") >= 2


@pytest.fixture
def sweep(airflow: LocalAirflow, finish: Callable[..., None]) -> Callable[[], dict[str, bool]]:
    """Sweep, and return which deployments were found, and whether they were deleted."""

    def to_the_end() -> dict[str, bool]:
        run = airflow.trigger(SWEEP)
        finish(SWEEP, run)
        (task,) = airflow.api.task_instances(SWEEP, run, "sweep")
        orphaned = airflow.api.xcom(task, "orphaned")
        return {each["deployment"].rpartition("/")[2]: each["deleted"] for each in orphaned}

    return to_the_end


def test_deployment_left_by_dagrun_timeout_is_found_by_the_sweep(
    airflow: LocalAirflow,
    gateway: Emulator,
    finish: Callable[..., None],
    sweep: Callable[[], dict[str, bool]],
) -> None:
    gateway.configure(deploy_duration=1)
    run = airflow.trigger(UNTIL_TIMEOUT)
    airflow.wait_for_tasks(UNTIL_TIMEOUT, run, "hold", {"running"}, count=1)
    created = deployments_of(gateway, UNTIL_TIMEOUT, run)["deploy"]
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
    assert left(gateway) == {created}

    # That `up` asked for inference is recent traffic, for which the API refuses the deletion for an hour.
    assert sweep() == {created: False}
    assert left(gateway) == {created}
    gateway.configure(recent_traffic=0)
    assert sweep() == {created: True}
    assert left(gateway) == set()
