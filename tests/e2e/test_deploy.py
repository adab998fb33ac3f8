"""The example that deploys, and the sweep, as a user runs them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from airflow_provider_fireworks.deployments.ownership import Owner
from tests.e2e.steps import remaining, until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from airflow_provider_fireworks.emulator import Emulator
    from local_airflow.api import TaskInstance
    from local_airflow.components import LocalAirflow

DAG = "deploy_fan_out"
SWEEP = "sweep_deployments"
MODEL = "accounts/demo/models/my-model"
CONSOLE = "https://app.fireworks.ai"
STEPS = ["prepare", "ready", "deploy", "up", "smoke_test", "remove"]


@pytest.fixture
def sweep(airflow: LocalAirflow) -> Iterator[Callable[..., str]]:
    """Trigger the DAG that sweeps. It is paused again at the end, as it has a schedule."""

    def trigger(run_id: str | None = None, **conf: object) -> str:
        return airflow.api.trigger(SWEEP, conf, run_id=run_id)

    airflow.wait_for_dag(SWEEP)
    yield trigger
    airflow.api.request("PATCH", f"/api/v2/dags/{SWEEP}", json={"is_paused": True})


def states_at(airflow: LocalAirflow, run: str, index: int) -> list[str | None]:
    """Return the states of a precision's tasks, in their order."""
    found = {
        task.task_id: task.state for task in airflow.api.task_instances(DAG, run) if task.map_index == index
    }
    return [found[f"serve.{step}"] for step in STEPS]


def tasks_of(airflow: LocalAirflow, run: str) -> dict[str, TaskInstance]:
    return {task.name: task for task in airflow.api.task_instances(DAG, run)}


def links(airflow: LocalAirflow, task: TaskInstance) -> dict[str, str | None]:
    path = f"/api/v2/dags/{task.dag_id}/dagRuns/{task.run_id}/taskInstances/{task.task_id}/links"
    found: dict[str, str | None] = airflow.api.get(path, map_index=task.map_index)["extra_links"]
    return found


def test_example_deploys_each_precision_whatever_happens_to_others(
    airflow: LocalAirflow, emulator: Emulator, finish: Callable[..., None]
) -> None:
    # With lists, so that the runs need not take turns in preparing. The demo and the fan-out are tested without.
    emulator.configure(
        precision_lists="present", duration=4, deploy_duration=4, deploy_outcomes={"FP4": "failed"}
    )

    # Concurrent runs, to save time.
    succeeds = airflow.trigger(DAG, {"precisions": ["FP8", "BF16"]})
    fails = airflow.trigger(DAG, {"precisions": ["FP4", "NF4"]})
    finish(DAG, succeeds)
    finish(DAG, fails, "failed")

    assert emulator.deployments_left == []
    created = [
        Owner(DAG, run, "serve.deploy", index).deployment_id for run in (succeeds, fails) for index in (0, 1)
    ]
    assert sorted(creation.deployment for creation in emulator.creations) == sorted(created)
    assert emulator.count("DELETE") == 4

    assert {task.state for task in airflow.api.task_instances(DAG, succeeds)} == {"success"}
    assert {task.try_number for task in airflow.api.task_instances(DAG, succeeds)} == {1}
    assert states_at(airflow, fails, 0) == [*["success"] * 3, "failed", "upstream_failed", "success"]
    assert states_at(airflow, fails, 1) == ["success"] * 6
    succeeded, failed = tasks_of(airflow, succeeds), tasks_of(airflow, fails)
    assert "did not start" in airflow.api.log(failed["serve.up[0]"])

    name = f"accounts/demo/deployments/{created[0]}"
    smoke_test_log = airflow.api.log(succeeded["serve.smoke_test[0]"])
    assert f"{MODEL}#{name} says: This is the emulated API." in smoke_test_log
    assert airflow.api.xcom(succeeded["serve.remove[0]"]) == {"deleted": [name]}
    assert links(airflow, succeeded["serve.deploy[0]"]) == {
        "Model in Fireworks": f"{CONSOLE}/models/demo/my-model",
        "Deployment in Fireworks": f"{CONSOLE}/dashboard/deployments/{created[0]}",
    }
    # Per precision: two by deploy, two by up and one by remove. For the one that fails, its termination message too.
    assert emulator.count("GET", "/deployments/") <= 4 * 5 + 1


def test_failed_smoke_test_removes_the_deployment(
    airflow: LocalAirflow, emulator: Emulator, finish: Callable[..., None]
) -> None:
    emulator.set_model("my-model", supportedPrecisions=["FP16", "FP8"])
    emulator.configure(precision_lists="present", deploy_duration=1)

    run = airflow.trigger(DAG, {"precisions": ["FP8"]})
    # The sensor sends one inference request; the next one is the smoke test's.
    until(airflow, "an inference request", lambda: emulator.count("POST", "/inference/"), every=0.05)
    emulator.fault("status", status=500, path="/inference/", times=-1)
    finish(DAG, run, "failed")

    assert states_at(airflow, run, 0) == [*["success"] * 4, "failed", "success"]
    assert len(emulator.creations) == 1
    assert emulator.deployments_left == []


def test_run_marked_as_failed_removes_its_deployment(airflow: LocalAirflow, emulator: Emulator) -> None:
    emulator.set_model("my-model", supportedPrecisions=["FP16", "FP8"])
    emulator.configure(precision_lists="present", deploy_outcome="never")

    run = airflow.trigger(DAG, {"precisions": ["FP8"]})
    (up,) = airflow.wait_for_tasks(DAG, run, "serve.up", {"deferred"}, count=1)
    deployment = Owner(DAG, run, "serve.deploy", 0).deployment_id
    expected = {"Deployment in Fireworks": f"{CONSOLE}/dashboard/deployments/{deployment}"}
    until(airflow, "the link", lambda: links(airflow, up) == expected)
    airflow.api.request("PATCH", f"/api/v2/dags/{DAG}/dagRuns/{run}", json={"state": "failed"})
    # Its state is not asserted: Airflow sets it again after the teardown, and counts skipped tasks as successes.
    airflow.wait(DAG, run)

    assert states_at(airflow, run, 0)[3:] == ["failed", "skipped", "success"]
    assert emulator.deployments_left == []


def test_sweep_lists_orphaned_deployments_and_then_deletes_them(
    airflow: LocalAirflow,
    emulator: Emulator,
    finish: Callable[..., None],
    sweep: Callable[..., str],
    deploy_by_hand: Callable[[str, str], None],
) -> None:
    deploy_by_hand("of-unknown-run", Owner("gone", "long_ago", "deploy").description)
    deploy_by_hand("to-be-kept", Owner("gone", "long_ago", "serve").description)
    deploy_by_hand("in-use", Owner(SWEEP, "second", "deploy").description)
    deploy_by_hand("of-another-airflow", Owner("gone", "r", "deploy", airflow="https://b").description)
    deploy_by_hand("not-signed", "Created by hand.")
    first = sweep(keep=["to-be-kept"])
    finish(SWEEP, first, "failed")
    (listing,) = airflow.api.task_instances(SWEEP, first, "sweep")
    orphaned = {each["deployment"].rpartition("/")[2]: each for each in airflow.api.xcom(listing, "orphaned")}
    # The run "second" does not exist yet.
    assert {name: each["run"] for name, each in orphaned.items()} == {
        "of-unknown-run": "unknown",
        "in-use": "unknown",
    }
    assert len(remaining(emulator)) == 5

    deploy_by_hand("of-first-run", Owner(SWEEP, first, "deploy").description)
    finish(SWEEP, sweep(keep=["to-be-kept"], delete=True, run_id="second"))
    assert remaining(emulator) == {"to-be-kept", "in-use", "of-another-airflow", "not-signed"}
