"""The model sensor, with the same results when it pokes, is rescheduled, or is deferred."""

from __future__ import annotations

import time
from datetime import timedelta
from itertools import pairwise
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import (
    AirflowFailException,
    AirflowSensorTimeout,
    AirflowSkipException,
    AirflowTaskTimeout,
)

from airflow_provider_fireworks import exceptions
from airflow_provider_fireworks.operators.model import FireworksPrepareModelOperator
from airflow_provider_fireworks.polling import Wait
from airflow_provider_fireworks.sensors.model import FireworksModelReadySensor
from tests.integration.conftest import MODEL, TaskInstance, run_task
from tests.integration.creating import defer_task, fault_id
from tests.integration.sensing import MODES, SKIPS, TRANSIENT_FAULTS, act_later
from tests.timing import use_timing


def make_sensor(**arguments: Any) -> FireworksModelReadySensor:
    arguments = {"model": "my-model", "precision": "FP8", "poke_interval": 0.1, "timeout": 20, **arguments}
    return FireworksModelReadySensor(task_id="ready", **arguments)


@pytest.fixture(params=MODES.values(), ids=MODES)
def ready(request: pytest.FixtureRequest) -> Any:
    """Runs the sensor in each mode."""

    def run(**arguments: Any) -> dict[str, Any]:
        return run_task(lambda: make_sensor(**request.param, **arguments))

    return run


@pytest.fixture
def prepare(emulator: Any) -> Any:
    """Requests a preparation, and returns the arguments of the sensor."""

    def run(precision: str = "FP8") -> dict[str, Any]:
        return run_task(
            lambda: FireworksPrepareModelOperator(task_id="prepare", model="my-model", precision=precision)
        )

    return run


@pytest.mark.usefixtures("lists")
def test_sensor_waits_until_precision_is_listed(emulator, prepare, ready):
    result = ready(**prepare())
    assert result == {"model": MODEL, "precision": "FP8"}
    assert "FP8" in emulator.model("my-model")["supportedPrecisions"]


def test_sensor_takes_result_of_operator_whole(emulator, prepare, ready):
    result = ready(model=None, precision=None, prepared=prepare())
    assert result == {"model": MODEL, "precision": "FP8"}


def test_sensor_does_not_defer_if_model_is_ready(emulator):
    task = make_sensor(precision="FP16", deferrable=True)
    assert task.execute({"ti": TaskInstance()}) == {"model": MODEL, "precision": "FP16"}
    assert len(emulator.requests) == 1


def test_sensor_returns_precision_that_is_ready(emulator, ready):
    assert ready(precision="FP8", accept_precisions=["FP16"])["precision"] == "FP16"


@pytest.mark.parametrize("lists", ["empty", "absent"])
@pytest.mark.parametrize("outcome", ["ok", "calibrated"])
def test_sensor_infers_readiness_without_lists(emulator, prepare, ready, lists, outcome):
    emulator.configure(precision_lists=lists, outcome=outcome)
    assert ready(**prepare())["precision"] == "FP8"
    assert emulator.model("my-model")["state"] == "READY"


def test_sensor_with_require_confirmation_fails_on_inferred_readiness(emulator, prepare, ready):
    emulator.configure(precision_lists="absent")
    with pytest.raises(exceptions.FireworksModelNotReady, match="require_confirmation"):
        ready(**prepare(), require_confirmation=True)


def test_sensor_without_baseline_and_lists_fails_at_first_poll(emulator, prepare, ready):
    emulator.configure(precision_lists="absent")
    prepare()
    emulator.clear()
    with pytest.raises(exceptions.FireworksModelNotReady, match=r"prepared=prepare\.output"):
        ready()
    assert len(emulator.requests) == 1


@pytest.mark.usefixtures("lists")
def test_sensor_ignores_old_error_status(emulator, prepare, ready):
    emulator.configure(stale_status=True)
    emulator.set_model("my-model", status={"code": "INTERNAL", "message": "long ago"})
    arguments = prepare()
    assert arguments["baseline"]["status"]["message"] == "long ago"
    assert ready(**arguments)["precision"] == "FP8"


@pytest.mark.parametrize("lists", ["present", "absent"])
def test_sensor_waits_in_unknown_state(emulator, prepare, ready, lists):
    emulator.configure(precision_lists=lists)
    # Without a baseline, only lists can show how the preparation ends.
    arguments = prepare() if lists == "absent" else {}
    emulator.set_model("my-model", state="OPTIMIZING")
    listed = {"state": "READY", "supportedPrecisions": ["FP16", "FP8"]}
    with act_later(lambda: emulator.set_model("my-model", **listed)):
        assert ready(**arguments)["precision"] == "FP8"
    assert emulator.model("my-model")["state"] == "READY"


def test_sensor_keeps_to_poke_interval(emulator, prepare, ready):
    emulator.configure(duration=60)
    arguments = prepare()
    emulator.clear()
    with pytest.raises(AirflowSensorTimeout):
        ready(**arguments, poke_interval=0.5, timeout=1.2)
    times = [request.at for request in emulator.requests]
    assert len(times) <= 5
    # The last poll may come early, at the deadline.
    assert all(b - a >= 0.45 for a, b in pairwise(times[:-1]))


# ---- errors

ERRORS = {
    # (how to cause it, what is raised, whether soft_fail and never_fail skip the task instead)
    "error status": ({"outcome": "failed_status"}, exceptions.FireworksModelNotReady, True),
    "FAILED": ({"outcome": "failed_state"}, exceptions.FireworksModelNotReady, True),
    # Without lists, these two look like a preparation that has succeeded.
    "without precision": (
        {"outcome": "without_precision", "precision_lists": "present"},
        exceptions.FireworksModelNotReady,
        True,
    ),
    "never begun": (
        {"outcome": "never", "precision_lists": "present"},
        exceptions.FireworksModelNotReady,
        True,
    ),
    "deleted": ("delete_model", exceptions.FireworksModelNotReady, True),
    "not found": ("no-such-model", exceptions.FireworksNotFound, True),
    "timeout": ({"duration": 60}, AirflowSensorTimeout, True),
    "wrong key": ("revoke_key", exceptions.FireworksAccessDenied, False),
}


@pytest.mark.parametrize("skip", [None, "soft_fail", "never_fail"])
@pytest.mark.parametrize(("cause", "error", "skips"), ERRORS.values(), ids=ERRORS)
def test_sensor_error_is_the_same_in_every_mode(emulator, prepare, ready, cause, error, skips, skip):
    if isinstance(cause, dict):
        emulator.configure(**cause)
    arguments = prepare()
    if cause == "no-such-model":
        arguments = {"model": cause, "precision": "FP8"}
    elif cause == "revoke_key":
        emulator.revoke_key()
    elif cause == "delete_model":
        emulator.delete_model("my-model")
    elif error is AirflowSensorTimeout:
        arguments["timeout"] = 0.5
    if skip:
        arguments[skip] = True
    expected = AirflowSkipException if skip and skips else error
    with pytest.raises(expected) as ending:
        ready(**arguments)
    assert type(ending.value) is expected
    if not skip and error is not AirflowSensorTimeout:
        assert isinstance(ending.value, AirflowFailException), "it would be retried"


def test_key_revoked_during_wait_is_never_skipped(emulator, prepare, ready):
    emulator.configure(duration=60)
    arguments = prepare()
    with act_later(emulator.revoke_key), pytest.raises(exceptions.FireworksAccessDenied):
        ready(**arguments, soft_fail=True)


@pytest.mark.parametrize("fault", TRANSIENT_FAULTS, ids=fault_id)
def test_sensor_waits_out_transient_errors(emulator, prepare, ready, fault):
    arguments = prepare()
    emulator.fault(**fault, times=3, method="GET", path="/models/")
    assert ready(**arguments)["precision"] == "FP8"


def test_sensor_waits_out_unreachable_api(emulator, prepare, ready):
    arguments = prepare()
    emulator.stop()
    with act_later(emulator.start):
        assert ready(**arguments)["precision"] == "FP8"


# ---- time limits


def test_timeout_error_says_what_was_waited_for_and_seen_last(emulator, prepare, ready):
    emulator.configure(duration=60)
    with pytest.raises(
        AirflowSensorTimeout, match=rf"Waited \d s for {MODEL} to be ready at FP8: last seen: .*PREPARING"
    ):
        ready(**prepare(), timeout=0.5)


def test_timeout_error_names_unreachable_base_url(emulator, prepare, ready):
    arguments = prepare()
    emulator.stop()
    with pytest.raises(AirflowSensorTimeout, match=r"the API cannot be reached at http://127\.0\.0\.1"):
        ready(**arguments, timeout=0.5)


@pytest.mark.parametrize(
    ("arguments", "error", "words"),
    [
        ({}, AirflowSensorTimeout, "last seen: .*PREPARING"),
        ({"never_fail": True}, AirflowSkipException, None),
    ],
    ids=["plain", "never_fail"],
)
def test_deadline_that_passes_after_poll_ends_wait_with_verdict(
    emulator, prepare, ready, monkeypatch, arguments, error, words
):
    """Airflow would end the wait itself, without what was seen last, and ignoring ``never_fail``."""
    emulator.configure(duration=60)
    log_line = Wait.log_line

    def slow_log_line(wait: Wait, *args: Any) -> str | None:
        time.sleep(max(wait.deadline - time.time(), 0) + 0.05)
        return log_line(wait, *args)

    monkeypatch.setattr(Wait, "log_line", slow_log_line)
    with pytest.raises(error, match=words):
        ready(**prepare(), timeout=0.5, **arguments)


@pytest.mark.parametrize("skip", SKIPS, ids=str)
def test_deferred_sensor_ends_by_execution_timeout(emulator, prepare, skip):
    emulator.configure(duration=60)
    arguments = prepare()
    limits = {"timeout": 600, "execution_timeout": timedelta(seconds=0.6)}
    # The message of a skip is Airflow's.
    words = None if skip else "FP8: execution_timeout of 1 s is over, last seen: .*A retry starts a new wait"
    with pytest.raises(AirflowSkipException if skip else AirflowTaskTimeout, match=words):
        run_task(lambda: make_sensor(deferrable=True, **arguments, **limits, **skip))
    # One poll in the worker, and more in the trigger.
    assert emulator.count("GET", "/models/") > 3


def test_deferred_sensor_ends_by_timeout_if_execution_timeout_is_longer(emulator, prepare):
    emulator.configure(duration=60)
    arguments = prepare()
    limits = {"timeout": 0.5, "execution_timeout": timedelta(seconds=600)}
    with pytest.raises(AirflowSensorTimeout):
        run_task(lambda: make_sensor(deferrable=True, **arguments, **limits))


# ---- deferral


def test_deferral_outlasts_deadline_and_has_no_secret(emulator, prepare):
    emulator.configure(duration=60)
    arguments = {**prepare(), "timeout": timedelta(minutes=10), "exponential_backoff": True}
    deferral = defer_task(lambda: make_sensor(deferrable=True, **arguments))
    assert deferral.timeout > timedelta(minutes=10)
    _, kwargs = deferral.trigger.serialize()
    assert emulator.api_key not in repr(kwargs) + repr(deferral.kwargs)
    assert kwargs["wait"]["deadline"] == pytest.approx(time.time() + 600, abs=5)
    assert kwargs["wait"]["exponential"] is True
    assert kwargs["wait"]["baseline"]["posted"] == "accepted"


def test_deferred_sensor_infers_from_preparation_seen_in_worker(emulator, prepare, monkeypatch):
    use_timing(monkeypatch, preparation_start=60)
    emulator.configure(precision_lists="absent")
    arguments = prepare()
    result = run_task(lambda: make_sensor(deferrable=True, poke_interval=0.5, **arguments))
    assert result == {"model": MODEL, "precision": "FP8"}


@pytest.mark.parametrize("skip", SKIPS, ids=str)
@pytest.mark.parametrize(
    "changes",
    [
        {"verdict": None},
        {"verdict": {"outcome": "pending", "reason": ""}},
        {"verdict": {"outcome": "ready", "reason": "", "precision": "FP4"}},
        {"verdict": {"outcome": "ready", "reason": ""}},
        {"verdict": {"outcome": "splendid", "reason": ""}},
        {"wait": {}},
    ],
    ids=str,
)
def test_invalid_event_fails_sensor(emulator, prepare, changes, skip):
    emulator.configure(duration=60)
    arguments = prepare()
    deferral = defer_task(lambda: make_sensor(deferrable=True, **arguments))
    ready = {"outcome": "ready", "reason": "", "precision": "FP8"}
    event = {"verdict": ready, "wait": deferral.trigger.wait, "resume_state": {}}

    def resume(event: dict[str, Any]) -> dict[str, Any]:
        task = make_sensor(deferrable=True, **arguments, **skip)
        return task.resume_execution("execute_complete", {"event": event}, {"ti": TaskInstance()})

    assert resume(event) == {"model": MODEL, "precision": "FP8"}
    with pytest.raises(exceptions.FireworksInvalidEvent):
        resume(event | changes)


# ---- arguments


@pytest.mark.parametrize(
    "wrong", [{"precision": ["FP8", "FP4"]}, {"model": "a b"}, {"precision": "fp8"}], ids=str
)
def test_invalid_literal_fails_when_dag_is_parsed(wrong):
    with pytest.raises(exceptions.FireworksInvalidArgument):
        make_sensor(**wrong)


@pytest.mark.parametrize("skip", SKIPS, ids=str)
@pytest.mark.parametrize(
    "wrong",
    [
        {"baseline": "{'state': 'READY'}"},
        {"precision": "{{ 'FP9' }}"},
        {"precision": ["FP8", "FP4"], "accept_precisions": ["FP16"]},
    ],
    ids=str,
)
def test_invalid_argument_fails_before_any_request(emulator, ready, wrong, skip):
    with pytest.raises(exceptions.FireworksInvalidArgument):
        ready(**wrong, **skip)
    assert emulator.requests == []


@pytest.mark.parametrize(
    "baseline",
    [{"foo": 1}, {"model": MODEL, "precision": "FP8", "baseline": {}}, {"state": "READY"}],
    ids=str,
)
def test_baseline_not_returned_by_operator_is_invalid(emulator, ready, baseline):
    with pytest.raises(
        exceptions.FireworksInvalidArgument, match=r"Invalid baseline .*prepared=prepare\.output"
    ):
        ready(baseline=baseline)
    assert emulator.requests == []
