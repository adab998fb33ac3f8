"""One model is prepared at several precisions."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable

    from airflow_provider_fireworks.emulator import Emulator
    from local_airflow.components import LocalAirflow

MODEL = "accounts/demo/models/my-model"
PRECISIONS = ["FP8", "FP4", "BF16"]


def test_fan_out_prepares_each_precision_once(
    airflow: LocalAirflow, emulator: Emulator, finish: Callable[..., None]
) -> None:
    emulator.configure(duration=4)

    run = airflow.trigger("prepare_fan_out", {"precisions": PRECISIONS})
    finish("prepare_fan_out", run)

    tasks = {task.name: task for task in airflow.api.task_instances("prepare_fan_out", run)}
    mapped = {f"{step}[{index}]" for step in ("prepare", "ready") for index in range(3)}
    assert set(tasks) == mapped | {"precisions", "report"}
    assert {task.state for task in tasks.values()} == {"success"}
    assert {task.try_number for task in tasks.values()} == {1}

    for index, precision in enumerate(PRECISIONS):
        prepared = airflow.api.xcom(tasks[f"prepare[{index}]"])
        assert (prepared["model"], prepared["precision"]) == (MODEL, precision)
        assert airflow.api.xcom(tasks[f"ready[{index}]"]) == {"model": MODEL, "precision": precision}
        assert airflow.api.xcom(tasks[f"ready[{index}]"], "precision") == precision
        assert f"{MODEL} is ready at {precision}." in airflow.api.log(tasks["report"])

    assert sorted(preparation.precision for preparation in emulator.preparations) == sorted(PRECISIONS)
    assert emulator.count("POST", ":prepare") == len(PRECISIONS)
    # Per precision: one before the POST, one after it, the sensor's first poll, and further ones every 10 s.
    assert emulator.count("GET", "/models/my-model") <= len(PRECISIONS) * 8


def test_fan_out_of_prepared_precisions_sends_no_post(
    airflow: LocalAirflow, emulator: Emulator, finish: Callable[..., None]
) -> None:
    emulator.set_model("my-model", supportedPrecisions=["FP16", "FP8", "FP4"])
    emulator.configure(precision_lists="present")

    run = airflow.trigger("prepare_with_connection")
    finish("prepare_with_connection", run)

    assert emulator.count("POST") == 0


@pytest.mark.parametrize(
    ("lists", "second"), [("present", "aborted"), ("absent", "aborted"), ("absent", "ignored")]
)
def test_fan_out_prepares_in_turns_if_api_prepares_one_at_a_time(
    airflow: LocalAirflow, emulator: Emulator, finish: Callable[..., None], lists: str, second: str
) -> None:
    # "ignored": the API drops the second request without a word, and only the order of the requests prevents that.
    emulator.configure(precision_lists=lists, second_prepare=second, duration=6, start_lag=3)

    run = airflow.trigger("prepare_with_connection")
    finish("prepare_with_connection", run)

    tasks = airflow.api.task_instances("prepare_with_connection", run)
    assert {task.state for task in tasks} == {"success"}
    assert {task.try_number for task in tasks} == {1}
    assert {preparation.precision for preparation in emulator.preparations} == {"FP8", "FP4"}
    first_at, second_at = [
        request.at
        for request in emulator.requests
        if request.path.endswith(":prepare") and request.status == 200
    ]
    assert second_at - first_at >= 6
