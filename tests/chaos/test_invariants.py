"""The monitor of the chaos runs finds each violation, and finds none where there is none."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass, field
from typing import Any

import pytest

from airflow_provider_fireworks.deployments.ownership import Owner
from airflow_provider_fireworks.emulator import CreatedDeployment
from local_airflow.api import TaskInstance
from tests.chaos.dag_runs import DAG
from tests.chaos.invariants import Monitor

WORKER_DEPLOY = Owner(DAG, "r1", "worker.deploy")
NOT_STARTED = math.inf


@dataclass
class StubApi:
    """An API with any deployments, also such as the emulator never has."""

    creations: list[CreatedDeployment] = field(default_factory=list)
    deployments: list[dict[str, Any]] = field(default_factory=list)

    def create(self, name: str, owner: Owner | None, state: str = "READY") -> dict[str, Any]:
        self.creations.append(CreatedDeployment("demo", name, "accounts/demo/models/my-model", "FP8"))
        deployment = {
            "name": f"accounts/demo/deployments/{name}",
            "description": "" if owner is None else owner.description,
            "precision": "FP8",
            "createTime": str(len(self.creations)),
            "state": state,
        }
        self.deployments.append(deployment)
        return deployment


@pytest.fixture
def api() -> StubApi:
    return StubApi()


@pytest.fixture
def monitor(api: StubApi) -> Monitor:
    return Monitor(api, DAG)


@pytest.fixture
def monitor_without_grace(api: StubApi) -> Monitor:
    return Monitor(api, DAG, grace=0)


def task(task_id: str, state: str = "success", map_index: int = -1) -> TaskInstance:
    return TaskInstance(DAG, "r1", task_id, map_index, state, 1, 1.0)


def kinds(monitor: Monitor) -> list[str]:
    return [violation.kind for violation in monitor.violations]


def test_run_that_deploys_and_deletes_is_no_violation(api: StubApi, monitor_without_grace: Monitor) -> None:
    monitor = monitor_without_grace
    first = api.create("one", WORKER_DEPLOY)
    second = api.create("two", Owner(DAG, "r1", "serve.deploy", 1))
    monitor.poll()
    for deployment in (first, second):
        deployment["state"] = "DELETED"
    tasks = [task("worker.deploy"), task("serve.deploy", map_index=1), task("serve.up", map_index=1)]
    monitor.on_run_finished("r1", "success", tasks, fails=False)
    monitor.poll()
    assert kinds(monitor) == []


@pytest.mark.parametrize("creator", [("worker.deploy", -1), ("serve.deploy", 1)])
@pytest.mark.parametrize("state", ["CREATING", "READY", "UPDATING"])
@pytest.mark.parametrize("to", ["DELETING", "DELETED", None])
def test_deployment_deleted_before_removal_started_is_violation(
    api: StubApi, monitor: Monitor, creator: tuple[str, int], state: str, to: str | None
) -> None:
    deployment = api.create("one", Owner(DAG, "r1", *creator), state="READY")
    monitor.poll()
    deployment["state"] = state
    monitor.poll()
    if to is None:
        api.deployments.clear()
    else:
        deployment["state"] = to
    monitor.poll()
    removal = task(creator[0].replace("deploy", "remove"), map_index=creator[1]).name
    monitor.on_run_finished("r1", "success", [], fails=False, removals={removal: time.time() + 1})
    assert kinds(monitor) == ["deleted"]
    assert f"deleted before {removal} started" in str(monitor.violations[0])


def test_deployment_replaced_before_removal_started_is_violation(api: StubApi, monitor: Monitor) -> None:
    api.create("one", WORKER_DEPLOY)
    monitor.poll()
    api.deployments.clear()
    api.create("one", WORKER_DEPLOY)
    monitor.on_run_finished("r1", "success", [], fails=False, removals={"worker.remove": NOT_STARTED})
    assert kinds(monitor) == ["deleted"]


def test_deployment_deleted_after_removal_started_is_no_violation(api: StubApi, monitor: Monitor) -> None:
    deployment = api.create("one", WORKER_DEPLOY)
    monitor.poll()
    started = time.time()
    deployment["state"] = "DELETED"
    monitor.on_run_finished("r1", "success", [], fails=False, removals={"worker.remove": started})
    assert kinds(monitor) == []


def test_deployment_is_judged_by_removal_of_its_own_group_and_run(api: StubApi, monitor: Monitor) -> None:
    api.create("one", Owner(DAG, "r1", "serve.deploy", 0), state="DELETED")
    api.create("two", Owner(DAG, "r2", "worker.deploy"), state="DELETED")
    removals = {"worker.remove": NOT_STARTED, "serve.remove[1]": NOT_STARTED}
    monitor.on_run_finished("r1", "success", [], fails=False, removals=removals)
    assert kinds(monitor) == []


@pytest.mark.parametrize("states", [["CREATING", "FAILED", "DELETED"], ["CREATING", "DELETED"]])
def test_failed_deployment_deleted_at_any_time_is_no_violation(api: StubApi, states: list[str]) -> None:
    # Without FAILED among its states, only its precision says that it failed.
    monitor = Monitor(api, DAG, failing=() if "FAILED" in states else {"FP8"})
    deployment = api.create("one", WORKER_DEPLOY)
    for state in states:
        deployment["state"] = state
        monitor.poll()
    monitor.on_run_finished("r1", "failed", [], fails=True, removals={"worker.remove": NOT_STARTED})
    assert kinds(monitor) == []


def test_deployment_undeleted_is_one_violation(api: StubApi, monitor: Monitor) -> None:
    deployment = api.create("one", WORKER_DEPLOY)
    for state in ["READY", "DELETED", "CREATING", "READY"]:
        deployment["state"] = state
        monitor.poll()
    monitor.on_run_finished("r1", "success", [], fails=False, removals={"worker.remove": NOT_STARTED})
    assert kinds(monitor) == ["deleted"]
    assert "undeleted after its deletion" in str(monitor.violations[0])


def test_failed_deployment_created_again_is_no_violation(api: StubApi, monitor: Monitor) -> None:
    api.create("one", WORKER_DEPLOY, state="FAILED")
    monitor.poll()
    api.deployments.clear()
    monitor.poll()
    api.create("one", WORKER_DEPLOY, state="CREATING")
    monitor.poll()
    assert kinds(monitor) == []


def test_second_deployment_of_one_task_is_violation(api: StubApi, monitor: Monitor) -> None:
    api.create("one", WORKER_DEPLOY, state="DELETED")
    api.create("two", WORKER_DEPLOY)
    monitor.poll()
    assert kinds(monitor) == ["duplicate"]


def test_two_deployments_of_one_name_are_violation(api: StubApi, monitor: Monitor) -> None:
    api.create("one", WORKER_DEPLOY)
    api.create("one", WORKER_DEPLOY)
    monitor.poll()
    assert kinds(monitor) == ["duplicate"]


def test_success_before_recreated_deployment_is_ready_is_violation(api: StubApi, monitor: Monitor) -> None:
    api.create("one", WORKER_DEPLOY)
    monitor.poll()
    api.deployments.clear()
    api.create("one", WORKER_DEPLOY, state="CREATING")
    monitor.poll()
    api.deployments.clear()
    monitor.on_run_finished("r1", "success", [task("worker.deploy")], fails=False)
    assert kinds(monitor) == ["not ready"]
    assert "READY → created again → CREATING → DELETED" in str(monitor.violations[0])


def test_deployment_gone_before_first_poll_is_violation(api: StubApi, monitor: Monitor) -> None:
    api.create("one", WORKER_DEPLOY)
    api.deployments.clear()
    monitor.finish()
    assert kinds(monitor) == ["unsigned"]


@pytest.mark.parametrize("state", ["CREATING", "READY", "UPDATING", "DELETING", "FAILED"])
def test_deployment_left_after_its_run_is_violation(
    api: StubApi, monitor_without_grace: Monitor, state: str
) -> None:
    api.create("one", WORKER_DEPLOY, state=state)
    monitor_without_grace.on_run_finished("r1", "failed", [], fails=True)
    monitor_without_grace.poll()
    assert kinds(monitor_without_grace) == ["orphaned"]


def test_deployment_created_after_its_run_is_violation(api: StubApi, monitor_without_grace: Monitor) -> None:
    monitor_without_grace.on_run_finished("r1", "success", [], fails=False)
    api.create("one", WORKER_DEPLOY, state="CREATING")
    monitor_without_grace.poll()
    assert kinds(monitor_without_grace) == ["orphaned"]


@pytest.mark.parametrize(
    ("creator", "succeeded"),
    [(("worker.deploy", -1), "worker.deploy"), (("serve.deploy", 1), "serve.up")],
)
def test_success_without_ready_deployment_is_violation(
    api: StubApi, monitor: Monitor, creator: tuple[str, int], succeeded: str
) -> None:
    api.create("one", Owner(DAG, "r1", *creator), state="FAILED")
    # Of another task, so it does not count.
    api.create("two", Owner(DAG, "r1", "serve.deploy", 0))
    monitor.poll()
    for deployment in api.deployments:
        deployment["state"] = "DELETED"
    monitor.on_run_finished("r1", "success", [task(succeeded, map_index=creator[1])], fails=False)
    assert kinds(monitor) == ["not ready"]


def test_run_success_although_deployment_fails_is_violation(monitor: Monitor) -> None:
    monitor.on_run_finished("r1", "success", [], fails=True)
    assert kinds(monitor) == ["not ready"]


def test_run_failure_without_reason_is_violation(monitor: Monitor) -> None:
    monitor.on_run_finished("r1", "failed", [task("worker.deploy", "failed")], fails=False)
    assert kinds(monitor) == ["unexpected"]
    assert "worker.deploy failed at try 1" in str(monitor.violations[0])


def test_deployment_without_signature_is_violation(api: StubApi, monitor: Monitor) -> None:
    api.create("one", None)
    monitor.poll()
    assert kinds(monitor) == ["unsigned"]
