"""Deployments of tasks that a user or Airflow ends while they are deferred."""

from __future__ import annotations

import re
import time
from typing import TYPE_CHECKING

from airflow_provider_fireworks.deployments.ownership import Owner
from local_airflow.api import AirflowApiError
from tests.e2e.steps import (
    clear,
    deleted,
    deployments_of,
    mark,
    remaining,
    until,
    wait_until_deferred,
    wait_until_deleted,
)

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from airflow_provider_fireworks.emulator import Emulator
    from local_airflow.components import LocalAirflow

DAG = "deploy_and_use"
DEPLOY = [f"serve.deploy[{index}]" for index in range(3)]


def delete_run(airflow: LocalAirflow, dag_id: str, run_id: str) -> None:
    """
    Delete a run whose tasks are deferred.

    Its DAG is paused first: the scheduler crashes if a run that it is about to update is deleted.
    """
    airflow.api.request("PATCH", f"/api/v2/dags/{dag_id}", json={"is_paused": True})
    time.sleep(3)

    def gone() -> bool:
        path = f"/api/v2/dags/{dag_id}/dagRuns/{run_id}"
        # Airflow does not delete a running run. Its tasks stay deferred while it is queued again.
        airflow.api.request("PATCH", path, json={"state": "queued"})
        try:
            airflow.api.request("DELETE", path)
        except AirflowApiError as error:
            if ": 409 " not in str(error):
                raise
            return False
        return True

    until(airflow, "the run to be deleted", gone)


def wait_until_logged(airflow: LocalAirflow, deployment: str, run_id: str, map_index: int) -> None:
    """Wait until the triggerer has logged that it deleted the deployment of this mapped task."""
    index = re.compile(rf"\[{map_index}\]|map.?index\W+{map_index}\b")

    def logged() -> bool:
        lines = [line for log in airflow.logs.glob("triggerer*.log") for line in log.read_text().splitlines()]
        parts = (deployment, "deleted", DAG, run_id, "serve.deploy")
        return any(all(part in line for part in parts) and index.search(line) for line in lines)

    until(airflow, f"the deletion of {deployment} to be logged", logged, timeout=10)


def test_deferred_creates_marked_or_cleared_delete_only_what_is_unused(
    airflow: LocalAirflow, emulator: Emulator, finish: Callable[..., None]
) -> None:
    emulator.configure(deploy_outcome="never")
    run = airflow.trigger(DAG)
    tasks = wait_until_deferred(airflow, emulator, DAG, run, *DEPLOY)
    created = deployments_of(emulator, DAG, run)
    failed, succeeded, cleared = (created[name] for name in DEPLOY)

    mark(airflow, tasks[DEPLOY[0]], "failed")
    mark(airflow, tasks[DEPLOY[1]], "success")
    clear(airflow, tasks[DEPLOY[2]])
    wait_until_deleted(airflow, emulator, failed)
    wait_until_deferred(airflow, emulator, DAG, run, DEPLOY[2], try_number=2)
    for deployment in (succeeded, cleared):
        emulator.set_deployment(deployment, state="READY")
    finish(DAG, run, "failed")

    states = {task.name: task.state for task in airflow.api.task_instances(DAG, run)}
    assert [states[name] for name in DEPLOY] == ["failed", "success", "success"]
    assert [states[f"serve.use[{index}]"] for index in range(3)] == ["upstream_failed", "success", "success"]
    assert remaining(emulator) == {succeeded, cleared}
    assert deleted(emulator) == {failed}
    assert sorted(creation.deployment for creation in emulator.creations) == sorted(created.values())


def test_deferred_creates_marked_failed_with_slow_api_are_all_deleted(
    airflow: LocalAirflow, emulator: Emulator, finish: Callable[..., None]
) -> None:
    emulator.configure(deploy_outcome="never")
    run = airflow.trigger(DAG)
    tasks = wait_until_deferred(airflow, emulator, DAG, run, *DEPLOY)
    created = deployments_of(emulator, DAG, run)

    emulator.fault("slow", path=created[DEPLOY[0]], delay=2, times=-1)
    emulator.fault("status", path=created[DEPLOY[1]], method="DELETE", status=503)
    for name in DEPLOY:
        mark(airflow, tasks[name], "failed")
    finish(DAG, run, "failed")

    wait_until_deleted(airflow, emulator, *created.values(), timeout=30)
    for index, name in enumerate(DEPLOY):
        wait_until_logged(airflow, f"accounts/demo/deployments/{created[name]}", run, index)


def test_deferred_create_ended_by_airflow_deletes_its_deployment(
    airflow: LocalAirflow, emulator: Emulator, finish: Callable[..., None], tmp_path: Path
) -> None:
    emulator.configure(deploy_outcome="never")
    timeout, failure = "deploy_until_timeout", "deploy_until_failure"
    fail_now = tmp_path / "fail_now"

    # Concurrent runs, to save time.
    timed_out = airflow.trigger(timeout)
    failed_fast = airflow.trigger(failure, {"file": str(fail_now)})
    run_deleted = airflow.trigger(DAG)
    wait_until_deferred(airflow, emulator, timeout, timed_out, "deploy")
    wait_until_deferred(airflow, emulator, failure, failed_fast, "deploy")
    wait_until_deferred(airflow, emulator, DAG, run_deleted, *DEPLOY)
    created = {creation.deployment for creation in emulator.creations}
    assert len(emulator.creations) == len(created) == 5

    fail_now.touch()
    delete_run(airflow, DAG, run_deleted)
    finish(failure, failed_fast, "failed")
    finish(timeout, timed_out, "failed")

    for dag, run in ((timeout, timed_out), (failure, failed_fast)):
        (task,) = airflow.api.task_instances(dag, run, "deploy")
        assert task.state == "skipped"
    wait_until_deleted(airflow, emulator, *created)
    assert len(emulator.creations) == 5


def test_adopted_deployment_of_deferred_task_marked_failed_is_kept(
    airflow: LocalAirflow,
    emulator: Emulator,
    finish: Callable[..., None],
    deploy_by_hand: Callable[[str, str], None],
) -> None:
    emulator.configure(deploy_outcome="never")
    dag, shared = "adopt_and_deploy", "shared-by-all-runs"
    deploy_by_hand(shared, Owner(dag, "an_earlier_run", "adopt").description)

    run = airflow.trigger(dag)
    tasks = wait_until_deferred(airflow, emulator, dag, run, "adopt", "deploy")
    signature = Owner.from_description(emulator.deployment(shared)["description"])
    assert signature is not None
    assert (signature.run_id, signature.kept) == (run, True)
    own = deployments_of(emulator, dag, run)["deploy"]
    for task in tasks.values():
        mark(airflow, task, "failed")
    finish(dag, run, "failed")

    wait_until_deleted(airflow, emulator, own)
    # By now the triggerer is ending the other wait, too.
    time.sleep(3)
    assert remaining(emulator) == {shared}
    assert shared not in deleted(emulator)
