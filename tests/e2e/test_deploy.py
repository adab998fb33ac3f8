from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from airflow_provider_fireworks.deployments.ownership import Owner
from local_airflow.api import poll_until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from airflow_provider_fireworks.emulator import Emulator
    from local_airflow import LocalAirflow, TaskInstance

DAG = "deploy_fan_out"
MODEL = "accounts/demo/models/my-model"
CONSOLE = "https://app.fireworks.ai"
STEPS = ["prepare", "ready", "deploy", "up", "smoke_test", "remove"]


@pytest.fixture
def until(airflow: LocalAirflow) -> Callable[..., None]:
    def wait(condition: Callable[[], Any], what: str, *, every: float = 0.2) -> None:
        poll_until(condition, timeout=60, what=what, meanwhile=airflow.check, every=every)

    return wait


@pytest.fixture
def sweep(airflow: LocalAirflow) -> Iterator[Callable[..., str]]:
    """Trigger the DAG that sweeps; it is paused again in the end, as it is a scheduled one."""
    dag = "sweep_deployments"
    airflow.wait_for_dag(dag)
    yield lambda **given: airflow.api.trigger(dag, given.pop("conf"), **given)
    airflow.api.request("PATCH", f"/api/v2/dags/{dag}", json={"is_paused": True})


def states(airflow: LocalAirflow, run: str, index: int) -> list[str | None]:
    """Return the states of a precision's tasks, in their order."""
    found = {
        task.task_id: task.state for task in airflow.api.task_instances(DAG, run) if task.map_index == index
    }
    return [found[f"serve.{step}"] for step in STEPS]


def tasks(airflow: LocalAirflow, run: str) -> dict[str, TaskInstance]:
    return {task.name: task for task in airflow.api.task_instances(DAG, run)}


def links(airflow: LocalAirflow, task: TaskInstance) -> dict[str, str | None]:
    path = f"/api/v2/dags/{task.dag_id}/dagRuns/{task.run_id}/taskInstances/{task.task_id}/links"
    found: dict[str, str | None] = airflow.api.get(path, map_index=task.map_index)["extra_links"]
    return found


def mark_as_failed(airflow: LocalAirflow, path: str, **state: str) -> None:
    airflow.api.request("PATCH", f"/api/v2/dags/{path}", json=state)


def left(emulator: Emulator) -> set[str]:
    return {name.rpartition("/")[2] for name in emulator.deployments_left}


def test_each_precision_is_deployed_asked_and_removed_whatever_becomes_of_the_others(
    airflow: LocalAirflow, emulator: Emulator, finish: Callable[..., None]
) -> None:
    emulator.configure(duration=4, deploy_duration=4, deploy_outcomes={"FP4": "failed"})

    # Side by side, to save time.
    well = airflow.trigger(DAG, {"precisions": ["FP8", "BF16"]})
    ill = airflow.trigger(DAG, {"precisions": ["FP4", "NF4"]})
    finish(DAG, well)
    finish(DAG, ill, "failed")

    assert emulator.deployments_left == []
    made = [Owner(DAG, run, "serve.deploy", index).deployment_id for run in (well, ill) for index in (0, 1)]
    assert sorted(creation.deployment for creation in emulator.creations) == sorted(made)
    assert emulator.count("DELETE") == 4

    assert {task.state for task in airflow.api.task_instances(DAG, well)} == {"success"}
    assert {task.try_number for task in airflow.api.task_instances(DAG, well)} == {1}
    assert states(airflow, ill, 0) == [*["success"] * 3, "failed", "upstream_failed", "success"]
    assert states(airflow, ill, 1) == ["success"] * 6
    in_well, in_ill = tasks(airflow, well), tasks(airflow, ill)
    assert "no capacity" in airflow.api.log(in_ill["serve.up[0]"])

    name = f"accounts/demo/deployments/{made[0]}"
    assert f"{MODEL}#{name} says: This is the emulated API." in airflow.api.log(
        in_well["serve.smoke_test[0]"]
    )
    assert airflow.api.xcom(in_well["serve.remove[0]"]) == {"deleted": [name]}
    assert links(airflow, in_well["serve.deploy[0]"]) == {
        "Model in Fireworks": f"{CONSOLE}/models/demo/my-model",
        "Deployment in Fireworks": f"{CONSOLE}/dashboard/deployments/{made[0]}",
    }
    # Per precision: deploy twice, up twice, remove; the one that fails may be looked at once less.
    assert emulator.count("GET", "/deployments/") <= 4 * 5


def test_nothing_is_left_of_a_deployment_that_fails_its_smoke_test(
    airflow: LocalAirflow, emulator: Emulator, finish: Callable[..., None], until: Callable[..., None]
) -> None:
    emulator.set_model("my-model", supportedPrecisions=["FP16", "FP8"])
    emulator.configure(deploy_duration=1)

    run = airflow.trigger(DAG, {"precisions": ["FP8"]})
    # The sensor has asked once, so the next one to ask is the smoke test.
    until(lambda: emulator.count("POST", "/inference/"), "Waiting for the deployment to be asked", every=0.05)
    emulator.fault("status", status=500, path="/inference/", times=-1)
    finish(DAG, run, "failed")

    assert states(airflow, run, 0) == [*["success"] * 4, "failed", "success"]
    assert len(emulator.creations) == 1
    assert emulator.deployments_left == []


def test_a_run_that_is_marked_as_failed_removes_its_deployment(
    airflow: LocalAirflow, emulator: Emulator, until: Callable[..., None]
) -> None:
    emulator.set_model("my-model", supportedPrecisions=["FP16", "FP8"])
    emulator.configure(deploy_outcome="never")

    run = airflow.trigger(DAG, {"precisions": ["FP8"]})
    (up,) = airflow.wait_for_tasks(DAG, run, "serve.up", {"deferred"}, count=1)
    deployment = Owner(DAG, run, "serve.deploy", 0).deployment_id
    expected = {"Deployment in Fireworks": f"{CONSOLE}/dashboard/deployments/{deployment}"}
    until(lambda: links(airflow, up) == expected, "Waiting for the link")
    mark_as_failed(airflow, f"{DAG}/dagRuns/{run}", state="failed")
    # Not looked at: Airflow tells the run's state anew after the teardown, and takes what was skipped for a success.
    airflow.wait(DAG, run)

    assert states(airflow, run, 0)[3:] == ["failed", "skipped", "success"]
    assert emulator.deployments_left == []


def test_a_task_that_is_marked_as_failed_while_it_waits_deletes_its_deployment(
    airflow: LocalAirflow, emulator: Emulator, finish: Callable[..., None], until: Callable[..., None]
) -> None:
    emulator.configure(deploy_outcome="never")
    dag = "deploy_and_wait"

    run = airflow.trigger(dag)
    (deploy,) = airflow.wait_for_tasks(dag, run, "deploy", {"deferred"}, count=1)
    # Airflow stores them right after the state.
    until(lambda: all(links(airflow, deploy).values()), "Waiting for the links")
    # It is the triggerer that is told, so the trigger has to be there.
    until(lambda: emulator.count("GET", "/deployments/") > 1, "Waiting for the triggerer to look")
    mark_as_failed(airflow, f"{dag}/dagRuns/{run}/taskInstances/deploy", new_state="failed")
    finish(dag, run, "failed")

    until(lambda: emulator.deployments_left == [], "Waiting for the deployment to be deleted")
    assert len(emulator.creations) == 1


def test_what_was_left_behind_is_listed_and_then_deleted(
    airflow: LocalAirflow,
    emulator: Emulator,
    finish: Callable[..., None],
    sweep: Callable[..., str],
    deploy_by_hand: Callable[[str, str], None],
) -> None:
    dag = "sweep_deployments"
    deploy_by_hand("of-no-run", Owner("gone", "long_ago", "deploy").description)
    deploy_by_hand("meant-to-stay", Owner("gone", "long_ago", "serve").description)
    deploy_by_hand("in-use", Owner(dag, "second", "deploy").description)
    deploy_by_hand("of-another-airflow", Owner("gone", "r", "deploy", airflow="https://b").description)
    deploy_by_hand("somebodys-own", "Made by hand.")
    first = sweep(conf={"keep": ["meant-to-stay"]})
    finish(dag, first, "failed")
    (listing,) = airflow.api.task_instances(dag, first, "sweep")
    named = {each["deployment"].rpartition("/")[2]: each for each in airflow.api.xcom(listing, "orphaned")}
    # There was no run of the name "second" yet.
    assert {name: each["run"] for name, each in named.items()} == {
        "of-no-run": "unknown",
        "in-use": "unknown",
    }
    assert len(left(emulator)) == 5

    deploy_by_hand("of-the-first-run", Owner(dag, first, "deploy").description)
    finish(dag, sweep(conf={"keep": ["meant-to-stay"], "delete": True}, run_id="second"))
    assert left(emulator) == {"meant-to-stay", "in-use", "of-another-airflow", "somebodys-own"}
