"""A triggerer is frozen until Airflow assigns its triggers to another one, and then continues."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from airflow_provider_fireworks.emulator import Emulator
from local_airflow.components import LocalAirflow
from local_airflow.postgres import Postgres
from local_airflow.server import ServerMissingError
from local_airflow.settings import FAST_FAILURE_DETECTION
from tests.e2e.steps import deleted, deployments_of, remaining, until, wait_until_deferred

if TYPE_CHECKING:
    from collections.abc import Iterator

DAG = "deploy_and_keep_using"
HEALTH_THRESHOLD = 5


@pytest.fixture
def emulator() -> Iterator[Emulator]:
    with Emulator(deploy_outcome="never") as emulator:
        yield emulator


@pytest.fixture
def two_triggerers(folder: Path, emulator: Emulator) -> Iterator[LocalAirflow]:
    """An Airflow with two triggerers, which soon notices that one of them is frozen."""
    try:
        server = Postgres()
    except ServerMissingError as error:
        pytest.skip(str(error))
    env = {
        **FAST_FAILURE_DETECTION,
        "AIRFLOW__TRIGGERER__TRIGGERER_HEALTH_CHECK_THRESHOLD": str(HEALTH_THRESHOLD),
        "AIRFLOW_CONN_FIREWORKS_DEFAULT": emulator.connection,
    }
    dags = Path(__file__).parent / "dags/freeze"
    with (
        server as postgres,
        LocalAirflow(folder, dags, database=postgres.url, env=env, triggerers=2, stop_timeout=1) as airflow,
    ):
        yield airflow


def test_frozen_triggerer_deletes_nothing_of_tasks_taken_over(
    two_triggerers: LocalAirflow, emulator: Emulator, tmp_path: Path
) -> None:
    airflow, stop = two_triggerers, tmp_path / "stop"

    def deferred() -> dict[str, set[str]]:
        found = airflow.deferred_tasks(DAG, run)
        return {name: {task.name for task in tasks} for name, tasks in found.items()}

    def state(task_id: str) -> str | None:
        (task,) = airflow.api.task_instances(DAG, run, task_id)
        return task.state

    # Now Airflow assigns all triggers to the first triggerer.
    airflow.freeze("triggerer-2")
    time.sleep(HEALTH_THRESHOLD + 1)
    run = airflow.trigger(DAG, {"stop": str(stop)})
    wait_until_deferred(airflow, emulator, DAG, run, "wait", "create")
    created = deployments_of(emulator, DAG, run)
    assert deferred() == {"triggerer": {"wait", "create"}}
    airflow.thaw("triggerer-2")

    airflow.freeze("triggerer")
    until(airflow, "the triggers to be taken over", lambda: deferred() == {"triggerer-2": {"wait", "create"}})
    emulator.set_deployment(created["create"], state="READY")
    until(airflow, "the deployment to be used", lambda: state("use") == "running")
    # Otherwise the frozen trigger may end by itself, as it polls before it is cancelled.
    emulator.fault("slow", method="GET", path=created["create"], delay=2)
    airflow.thaw("triggerer")
    # Enough for the triggerer to notice that the triggers were reassigned, and to delete: its first request to
    # Airflow alone can take 9 s.
    time.sleep(12)

    assert deleted(emulator) == set()
    assert state("wait") == "deferred"
    stop.touch()
    emulator.set_deployment(created["wait"], state="READY")
    assert airflow.wait(DAG, run) == "success", airflow.api.describe(DAG, run)
    tasks = airflow.api.task_instances(DAG, run)
    assert {(task.state, task.try_number) for task in tasks} == {("success", 1)}
    assert remaining(emulator) == {*created.values()}
    assert len(emulator.creations) == 2
