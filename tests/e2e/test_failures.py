"""What cannot succeed fails at once, and fails nothing else."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from airflow_provider_fireworks.emulator import Emulator
    from local_airflow.components import LocalAirflow

DAG = "prepare_with_connection"


def test_prepare_of_unknown_model_fails_without_retry(
    airflow: LocalAirflow, emulator: Emulator, finish: Callable[..., None]
) -> None:
    run = airflow.trigger(DAG, {"model": "no-such-model", "precisions": ["FP8"]})
    finish(DAG, run, "failed")

    (prepare,) = airflow.api.task_instances(DAG, run, "prepare")
    assert (prepare.state, prepare.try_number) == ("failed", 1)
    assert "resource not found" in airflow.api.log(prepare)
    assert emulator.preparations == []


def test_prepare_with_wrong_key_fails_without_retry(
    airflow: LocalAirflow, emulator: Emulator, finish: Callable[..., None]
) -> None:
    run = airflow.trigger(DAG, {"connection": "fireworks_wrong_key", "precisions": ["FP8"]})
    finish(DAG, run, "failed")

    (prepare,) = airflow.api.task_instances(DAG, run, "prepare")
    assert (prepare.state, prepare.try_number) == ("failed", 1)
    assert "The API key you provided is invalid." in airflow.api.log(prepare)
    assert {request.status for request in emulator.requests} == {403}
    assert len(emulator.requests) <= 2


def test_failed_preparation_fails_only_its_own_wait(
    airflow: LocalAirflow, emulator: Emulator, finish: Callable[..., None]
) -> None:
    # FP8 is prepared already. Of two preparations at once, either could be the last to set the model's status.
    emulator.set_model("my-model", supportedPrecisions=["FP16", "FP8"])
    emulator.configure(precision_lists="present", duration=6, outcomes={"FP4": "failed_status"})

    run = airflow.trigger(DAG)
    finish(DAG, run, "failed")

    ready = airflow.api.task_instances(DAG, run, "ready")
    assert [(task.state, task.try_number) for task in ready] == [("success", 1), ("failed", 1)]
    assert "preparing the model at FP4 failed" in airflow.api.log(ready[1])
    assert [preparation.precision for preparation in emulator.preparations] == ["FP4"]
