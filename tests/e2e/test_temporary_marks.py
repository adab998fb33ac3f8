"""Temporary deployments of which a user marks a task as failed."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from airflow_provider_fireworks.deployments.ownership import Owner
from tests.e2e.steps import mark, remaining, states, until, wait_until_deleted

if TYPE_CHECKING:
    from collections.abc import Callable

    from airflow_provider_fireworks.emulator import Emulator
    from local_airflow.api import TaskInstance
    from local_airflow.components import LocalAirflow

DEFERRED = "deploy_temporarily"
IN_WORKER = "deploy_temporarily_in_worker"


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
        assert ended["use"] == "upstream_failed"
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


def lose_response_of_create(emulator: Emulator, deployment: str) -> None:
    """Lose the response of a create, which succeeds. Another fault must handle the read that follows."""
    emulator.fault("status", status=404, method="GET", path=f"/deployments/{deployment}")
    emulator.fault("drop", method="POST", path=f"deploymentId={deployment}", after_work=True)


def test_deferred_deploy_marked_failed_after_lost_response_is_deleted(
    airflow: LocalAirflow, emulator: Emulator, finish: Callable[..., None]
) -> None:
    run = "lost-response"
    created = Owner(DEFERRED, run, "deploy").deployment_id
    lose_response_of_create(emulator, created)
    emulator.fault("status", status=503, method="GET", path=f"/deployments/{created}", times=-1)
    airflow.trigger(DEFERRED, run_id=run)
    (task,) = wait_until_waiting(airflow, emulator, {DEFERRED: run}, "deploy")
    assert remaining(emulator) == {created}

    mark(airflow, task, "failed")
    emulator.clear_faults()
    finish(DEFERRED, run, "failed")
    wait_until_deleted(airflow, emulator, created, timeout=30)
    assert len(emulator.creations) == 1


def test_running_deploy_marked_failed_after_lost_response_is_deleted(
    airflow: LocalAirflow, emulator: Emulator, finish: Callable[..., None]
) -> None:
    run = "lost-response"
    created = Owner(IN_WORKER, run, "deploy").deployment_id
    lose_response_of_create(emulator, created)
    # The read hangs until the worker is killed. With a response, the task could end before that, and then only the
    # sweep would find the deployment.
    emulator.fault("hang", method="GET", path=f"/deployments/{created}")
    airflow.trigger(IN_WORKER, run_id=run)
    until(airflow, "the read to hang", lambda: "hang" in [request.fault for request in emulator.requests])
    assert remaining(emulator) == {created}

    (task,) = airflow.api.task_instances(IN_WORKER, run, "deploy")
    mark(airflow, task, "failed")
    finish(IN_WORKER, run, "failed")
    wait_until_deleted(airflow, emulator, created, timeout=30)
    assert len(emulator.creations) == 1
