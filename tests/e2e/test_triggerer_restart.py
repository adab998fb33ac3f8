from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from airflow_provider_fireworks.emulator import Emulator
    from local_airflow import LocalAirflow

DAG = "prepare_in_groups"


def test_waiting_outlives_the_triggerer(
    airflow: LocalAirflow, emulator: Emulator, finish: Callable[..., None]
) -> None:
    # One precision waits to be ready, in the sensor, while the other waits for its turn, in the operator.
    emulator.configure(duration=20, second_prepare="aborted")
    run = airflow.trigger(DAG)
    airflow.wait_for_tasks(DAG, run, "serve.ready", {"deferred"}, count=1)
    airflow.wait_for_tasks(DAG, run, "serve.prepare", {"deferred"}, count=1)

    airflow.kill("triggerer")
    asked_before = len(emulator.requests)
    airflow.start("triggerer")

    # Else there would have been nothing left to wait for.
    assert emulator.model("my-model")["state"] == "PREPARING"
    finish(DAG, run)
    tasks = airflow.api.task_instances(DAG, run)
    assert {task.state for task in tasks} == {"success"}
    assert {task.try_number for task in tasks} == {1}
    assert sorted(done.precision for done in emulator.preparations) == ["FP4", "FP8"]
    assert len(emulator.requests) > asked_before
