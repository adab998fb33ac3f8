"""Deferred waits survive a killed triggerer."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from airflow_provider_fireworks.emulator import Emulator
    from local_airflow.components import LocalAirflow

DAG = "prepare_in_groups"


def test_deferred_waits_go_on_after_triggerer_was_killed(
    airflow: LocalAirflow, emulator: Emulator, finish: Callable[..., None]
) -> None:
    # One precision waits in the sensor until it is ready, the other in the operator until it can be prepared.
    emulator.configure(precision_lists="present", duration=600, second_prepare="aborted")
    run = airflow.trigger(DAG)
    airflow.wait_for_tasks(DAG, run, "serve.ready", {"deferred"}, count=1)
    airflow.wait_for_tasks(DAG, run, "serve.prepare", {"deferred"}, count=1)

    airflow.kill("triggerer")
    requests_before = len(emulator.requests)
    airflow.start("triggerer")

    (preparation,) = emulator.preparations
    emulator.configure(duration=1)
    emulator.set_model("my-model", state="READY", supportedPrecisions=["FP16", preparation.precision])
    finish(DAG, run)
    tasks = airflow.api.task_instances(DAG, run)
    assert {task.state for task in tasks} == {"success"}
    assert {task.try_number for task in tasks} == {1}
    assert sorted(preparation.precision for preparation in emulator.preparations) == ["FP4", "FP8"]
    assert len(emulator.requests) > requests_before
