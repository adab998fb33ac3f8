from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from airflow_provider_fireworks.emulator import Emulator
    from local_airflow import LocalAirflow

DAG = "prepare_as_told"


def test_a_model_that_does_not_exist_fails_at_once(
    airflow: LocalAirflow, emulator: Emulator, finish: Callable[..., None]
) -> None:
    run = airflow.trigger(DAG, {"model": "no-such-model", "precisions": ["FP8"]})
    finish(DAG, run, "failed")

    (prepare,) = airflow.api.task_instances(DAG, run, "prepare")
    assert (prepare.state, prepare.try_number) == ("failed", 1)
    assert "resource not found" in airflow.api.log(prepare)
    assert emulator.preparations == []


def test_a_wrong_key_fails_at_once(
    airflow: LocalAirflow, emulator: Emulator, finish: Callable[..., None]
) -> None:
    run = airflow.trigger(DAG, {"connection": "fireworks_wrong_key", "precisions": ["FP8"]})
    finish(DAG, run, "failed")

    (prepare,) = airflow.api.task_instances(DAG, run, "prepare")
    assert (prepare.state, prepare.try_number) == ("failed", 1)
    assert "The API key you provided is invalid." in airflow.api.log(prepare)
    assert {request.status for request in emulator.requests} == {403}
    assert len(emulator.requests) <= 2


def test_a_preparation_that_fails_ends_its_own_wait_only(
    airflow: LocalAirflow, emulator: Emulator, finish: Callable[..., None]
) -> None:
    # FP8 is there already. Of two that are prepared at once, it would be chance whose status is left behind.
    emulator.set_model("my-model", supportedPrecisions=["FP16", "FP8"])
    emulator.configure(duration=6, outcomes={"FP4": "failed_status"})

    run = airflow.trigger(DAG)
    finish(DAG, run, "failed")

    ready = airflow.api.task_instances(DAG, run, "ready")
    assert [(task.state, task.try_number) for task in ready] == [("success", 1), ("failed", 1)]
    assert "preparing the model at FP4 failed" in airflow.api.log(ready[1])
    assert [done.precision for done in emulator.preparations] == ["FP4"]
