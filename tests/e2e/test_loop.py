"""Task loops of Airflow 3.4."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from tests.e2e.steps import AIRFLOW, remaining, until

if TYPE_CHECKING:
    from collections.abc import Callable

    from airflow_provider_fireworks.emulator import Emulator
    from local_airflow.components import LocalAirflow

DAG = "deploy_in_loop"
TASK = "serve.deploy"


pytestmark = pytest.mark.skipif(AIRFLOW < (3, 4), reason="Before Airflow 3.4 there are no task loops.")


def iterations(airflow: LocalAirflow, run_id: str) -> list[dict[str, Any]]:
    """Return the task instances of the create task in the loop, by iteration."""
    path = f"/api/v2/dags/{DAG}/dagRuns/{run_id}/taskInstances"
    found: list[dict[str, Any]] = airflow.api.get(path, task_id=TASK)["task_instances"]
    return sorted(found, key=lambda task: task["loop_iteration"]["iteration"])


def test_create_in_loop_has_own_deployment_in_each_iteration(
    airflow: LocalAirflow, emulator: Emulator, finish: Callable[..., None]
) -> None:
    emulator.configure(deploy_duration=1)
    run = airflow.trigger(DAG)
    finish(DAG, run)
    first, second = (creation.deployment for creation in emulator.creations)
    assert first != second
    assert remaining(emulator) == {first, second}

    cleared, later = iterations(airflow, run)
    emulator.clear()
    body = {
        "dry_run": False,
        "dag_run_id": run,
        "task_instance_ids": [cleared["id"]],
        "only_failed": False,
    }
    airflow.api.request("POST", f"/api/v2/dags/{DAG}/clearTaskInstances", json=body)
    until(
        airflow,
        "the first iteration to run again",
        lambda: (
            [(task["try_number"], task["state"]) for task in iterations(airflow, run)]
            == [(cleared["try_number"] + 1, "success"), (later["try_number"], "success")]
        ),
        timeout=90,
    )

    read = {request.path.rpartition("/")[2] for request in emulator.requests if request.method == "GET"}
    assert first in read
    assert second not in read
    assert emulator.creations == []
    assert remaining(emulator) == {first, second}
