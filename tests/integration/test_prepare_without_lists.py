"""Preparing on an API that lists no precisions: what a task requests, what it waits for, and what it says."""

from __future__ import annotations

import logging
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from typing import Any

import pytest
from airflow.sdk import DAG

from airflow_provider_fireworks import exceptions
from airflow_provider_fireworks.hooks.fireworks import FireworksHook
from airflow_provider_fireworks.operators.model import FireworksPrepareModelOperator
from airflow_provider_fireworks.sensors.model import FireworksModelReadySensor
from tests.integration.conftest import TaskInstance, run_task
from tests.integration.creating import act_when
from tests.integration.sensing import MODES, act_later
from tests.timing import use_timing

TIMES = {"poll_interval": 0.1, "timeout": 20}


@pytest.fixture(params=["empty", "absent"])
def emulator(emulator: Any, request: pytest.FixtureRequest) -> Any:
    emulator.configure(precision_lists=request.param)
    return emulator


def prepare(precision: str = "FP8", **arguments: Any) -> dict[str, Any]:
    return run_task(
        lambda: FireworksPrepareModelOperator(
            task_id="prepare", model="my-model", precision=precision, **TIMES, **arguments
        )
    )


def wait(prepared: dict[str, Any], mode: str = "deferrable") -> dict[str, Any]:
    return run_task(
        lambda: FireworksModelReadySensor(
            task_id="ready", prepared=prepared, poke_interval=0.1, timeout=20, **MODES[mode]
        )
    )


def ready_line(caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]) -> tuple[str, str]:
    """Return the level and the text of the last line that says that the model is ready."""
    # Depending on its version, Airflow logs with the one, with the other, or with both.
    logged = [(record.levelname.lower(), record.getMessage()) for record in caplog.records]
    printed = [
        ("warning" if "[warning" in line else "info", line) for line in capsys.readouterr().out.splitlines()
    ]
    caplog.clear()
    found = [[each for each in lines if "is ready at" in each[1]] for lines in (logged, printed)]
    return (found[0] or found[1])[-1]


def posts(emulator: Any) -> int:
    return emulator.count("POST", ":prepare")


# ---- one after the other


def test_prepare_returns_once_the_preparation_has_begun(emulator):
    emulator.configure(start_lag=0.3, duration=5)
    prepared = prepare()
    assert prepared["baseline"]["began"] is True
    assert emulator.model("my-model")["state"] == "PREPARING"


@pytest.mark.parametrize(
    "second", ["accepted", "ignored", "aborted", "already_exists", "failed_precondition"]
)
def test_precisions_requested_one_after_the_other_are_all_prepared(emulator, second):
    emulator.configure(second_prepare=second, start_lag=0.2, duration=0.5)
    for precision in ("FP8", "FP4"):
        wait_for = prepare(precision)
    wait(wait_for)
    assert [each.precision for each in emulator.preparations] == ["FP8", "FP4"]
    assert all(emulator.is_prepared("my-model", precision) for precision in ("FP8", "FP4"))


def test_second_precision_waits_until_the_first_has_ended(emulator):
    emulator.configure(duration=0.6)
    prepare("FP8")
    started = time.monotonic()
    prepare("FP4")
    assert time.monotonic() - started > 0.4
    assert posts(emulator) == 2


@pytest.mark.parametrize(("first", "second"), [("failed_status", "ok"), ("ok", "failed_status")])
def test_wait_is_not_mistaken_about_the_preparation_that_follows(emulator, first, second):
    # The second operator waits until the model has been idle for some polls, so the first sensor sees that it is.
    emulator.configure(duration=0.5, outcomes={"FP8": first, "FP4": second})
    with ThreadPoolExecutor(1) as pool:
        waits = pool.submit(wait, prepare("FP8"))
        then = prepare("FP4")
        for outcome, result in ((first, waits.result), (second, lambda: wait(then))):
            with nullcontext() if outcome == "ok" else pytest.raises(exceptions.FireworksModelNotReady):
                result()
    assert len(emulator.preparations) == 2


@pytest.mark.parametrize("deferrable", [False, True])
@pytest.mark.parametrize("after_work", [False, True])
def test_failed_read_after_the_request_makes_no_room_for_another_one(emulator, deferrable, after_work):
    # A task that is deferred lets Airflow start the next one, so the operator is not until the preparation has begun.
    emulator.configure(start_lag=0.2, duration=60)
    emulator.fault("status", method="POST", path=":prepare", status=503, after_work=after_work)
    with act_when(
        lambda: emulator.preparations, lambda: emulator.fault("status", method="GET", status=503, times=2)
    ):
        task = FireworksPrepareModelOperator(
            task_id="prepare", model="my-model", precision="FP8", deferrable=deferrable, **TIMES
        )
        assert task.execute({"ti": TaskInstance()})["baseline"]["began"] is True
    assert len(emulator.preparations) == 1


def test_both_at_once_cannot_be_told_apart_if_the_api_drops_one(emulator):
    # Why one mapped task of a run requests at a time.
    emulator.configure(second_prepare="ignored", start_lag=0.3)
    with ThreadPoolExecutor(2) as pool:
        results = list(pool.map(prepare, ["FP8", "FP4"]))
    assert [wait(each)["precision"] for each in results] == ["FP8", "FP4"]
    assert len(emulator.preparations) == 1


def test_one_mapped_task_of_a_run_requests_at_a_time():
    task = FireworksPrepareModelOperator(task_id="prepare", model="m", precision="FP8")
    assert task.max_active_tis_per_dagrun == 1
    other = FireworksPrepareModelOperator(
        task_id="prepare", model="m", precision="FP8", max_active_tis_per_dagrun=4
    )
    assert other.max_active_tis_per_dagrun == 4
    with DAG("d", schedule=None, default_args={"max_active_tis_per_dagrun": 2}):
        by_default = FireworksPrepareModelOperator(task_id="prepare", model="m", precision="FP8")
    assert by_default.max_active_tis_per_dagrun == 2


# ---- readiness


@pytest.mark.parametrize("mode", MODES)
def test_sensor_is_ready_as_soon_as_the_preparation_has_ended(emulator, mode, monkeypatch, caplog, capsys):
    # The beginning that the operator has seen counts even where each poke is a new process.
    use_timing(monkeypatch, preparation_start=60.0)
    emulator.set_model("my-model", calibrated=True)
    with caplog.at_level(logging.INFO):
        assert wait(prepare(), mode)["precision"] == "FP8"
    level, line = ready_line(caplog, capsys)
    assert level == "info"
    assert "it was in preparation and is READY again" in line


@pytest.mark.parametrize("answer", ["ok", "already_exists", "failed_precondition", "aborted"])
def test_model_prepared_before_is_ready_after_a_while_with_a_warning(emulator, answer, caplog, capsys):
    emulator.configure(already_prepared=answer)
    wait(prepare())
    prepared = prepare()
    ready_line(caplog, capsys)
    with caplog.at_level(logging.INFO):
        assert wait(prepared)["precision"] == "FP8"
    level, line = ready_line(caplog, capsys)
    assert level == "warning"
    assert "most likely prepared before" in line
    assert len(emulator.preparations) == 1


@pytest.mark.parametrize("mode", MODES)
def test_aborted_preparation_fails_with_its_status(emulator, mode):
    emulator.configure(duration=60)
    prepared = prepare()
    with (
        act_later(lambda: FireworksHook().abort_preparation("my-model")),
        pytest.raises(
            exceptions.FireworksModelNotReady, match=r"somebody stopped its preparation.*CANCELLED"
        ),
    ):
        wait(prepared, mode)


def test_abort_without_a_status_cannot_be_told_from_success(emulator):
    # Documented among the limits.
    emulator.configure(duration=60, abort_status="ok")
    prepared = prepare()
    with act_later(lambda: FireworksHook().abort_preparation("my-model")):
        assert wait(prepared)["precision"] == "FP8"


# ---- refusals with advice of their own


@pytest.mark.parametrize("status", [429, 400, 403])
def test_gpu_quota_on_prepare_is_retried_with_its_own_advice(emulator, status):
    emulator.configure(prepare_refusal="quota", quota_status=status)
    with pytest.raises(exceptions.FireworksQuotaExceeded, match="set accelerator_count to fewer") as failure:
        prepare(accelerator_count=4)
    assert "requesting: 4" in str(failure.value)
    assert posts(emulator) == 1


def test_missing_entitlement_is_final_with_its_own_advice(emulator):
    emulator.configure(prepare_refusal="entitlement")
    with pytest.raises(exceptions.FireworksAccessDenied, match="not entitled to prepare models"):
        prepare()
    assert posts(emulator) == 1


def test_zero_data_retention_is_final_and_quoted(emulator):
    emulator.configure(zero_data_retention=True)
    with pytest.raises(exceptions.FireworksRefused, match="zero data retention"):
        prepare()


# ---- fields that only newer versions of the API know


def test_accelerator_count_is_sent_only_if_given(emulator):
    prepare("FP8")
    wait(prepare("FP4", accelerator_count=4))
    bodies = [request.body for request in emulator.requests if request.path.endswith(":prepare")]
    assert bodies == [{"precision": "FP8"}, {"precision": "FP4", "acceleratorCount": 4}]
    assert [each.accelerator_count for each in emulator.preparations] == [None, 4]


def test_api_that_does_not_know_accelerator_count_says_so(emulator):
    emulator.configure(prepare_fields="unknown")
    with pytest.raises(
        exceptions.FireworksRefused, match="does not know acceleratorCount: omit accelerator_count"
    ):
        prepare(accelerator_count=4)
    assert prepare()["precision"] == "FP8"


@pytest.mark.parametrize("count", [0, -1, 2.5, True, "many"])
def test_invalid_accelerator_count_is_rejected_when_the_dag_is_parsed(count):
    with pytest.raises(exceptions.FireworksInvalidArgument, match="accelerator_count"):
        FireworksPrepareModelOperator(task_id="p", model="m", precision="FP8", accelerator_count=count)
