"""Temporary deployments of which a user clears a task, or that Airflow leaves behind."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from airflow_provider_fireworks.emulator import Emulator
from tests.e2e.steps import clear, deleted, deployments_of, remaining, states, until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from local_airflow.components import LocalAirflow

DAG = "deploy_temporarily"
UNTIL_TIMEOUT = "deploy_temporarily_until_timeout"
SWEEP = "sweep_temporary_deployments"


@pytest.fixture(scope="module")
def other_emulator(airflow: LocalAirflow) -> Iterator[Emulator]:
    with Emulator(deploy_duration=1) as emulator:
        airflow.api.add_connection("fireworks_other", json.loads(emulator.connection))
        yield emulator


@pytest.fixture(scope="module", autouse=True)
def run_until_timeout(airflow: LocalAirflow, other_emulator: Emulator) -> str:
    """Start the run that times out before the first test, to save time."""
    return airflow.trigger(UNTIL_TIMEOUT)


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


def test_sweep_finds_no_deployment_of_active_run(
    airflow: LocalAirflow, run_until_timeout: str, sweep: Callable[[], dict[str, bool]]
) -> None:
    airflow.wait_for_tasks(UNTIL_TIMEOUT, run_until_timeout, "hold", {"running"}, count=1)
    assert sweep() == {}


def test_cleared_task_of_block_gets_its_deployment_again(
    airflow: LocalAirflow, emulator: Emulator, finish: Callable[..., None]
) -> None:
    emulator.configure(deploy_duration=3)
    run = airflow.trigger(DAG)
    finish(DAG, run)
    created = deployments_of(emulator, DAG, run)["deploy"]
    assert remaining(emulator) == set()

    (task,) = airflow.api.task_instances(DAG, run, "use_again")
    emulator.clear()
    clear(airflow, task)
    until(airflow, "the run to continue", lambda: airflow.api.run_state(DAG, run) != "success")
    finish(DAG, run)

    tries = {task.name: task.try_number for task in airflow.api.task_instances(DAG, run)}
    assert tries == {"deploy": 2, "up": 2, "use": 1, "use_again": 2, "done": 2, "remove": 2}
    assert deleted(emulator) == {created}
    assert remaining(emulator) == set()
    # The deletion was soft, so the deployment was undeleted instead of created again.
    assert emulator.creations == []
    assert emulator.count("POST", f"{created}:undelete") == 1
    # By `up`, and by the task that was cleared.
    assert emulator.count("POST", "chat/completions") >= 2


def test_sweep_deletes_deployment_left_by_dagrun_timeout(
    airflow: LocalAirflow,
    other_emulator: Emulator,
    run_until_timeout: str,
    finish: Callable[..., None],
    sweep: Callable[[], dict[str, bool]],
) -> None:
    run, emulator = run_until_timeout, other_emulator
    finish(UNTIL_TIMEOUT, run, "failed")
    created = deployments_of(emulator, UNTIL_TIMEOUT, run)["deploy"]
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
