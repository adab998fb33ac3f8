"""The ready sensor: poked, rescheduled and deferred, where every argument is to mean the same."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from itertools import pairwise
from threading import Timer
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import (
    AirflowFailException,
    AirflowSensorTimeout,
    AirflowSkipException,
    AirflowTaskTimeout,
    TaskDeferred,
)

from airflow_provider_fireworks import exceptions
from airflow_provider_fireworks.operators.model import FireworksPrepareModelOperator
from airflow_provider_fireworks.polling import Wait
from airflow_provider_fireworks.sensors.model import FireworksModelReadySensor
from tests.integration.conftest import MODEL, TaskInstance, run_task
from tests.timing import use_timing

MODES = {
    "poke": {"mode": "poke"},
    "reschedule": {"mode": "reschedule"},
    "deferrable": {"deferrable": True},
}


@contextmanager
def later(act: Callable[[], None]) -> Iterator[None]:
    """Do something while a task waits."""
    timer = Timer(0.3, act)
    timer.start()
    try:
        yield
    finally:
        timer.join()


@pytest.fixture(params=MODES.values(), ids=MODES)
def ready(request: pytest.FixtureRequest) -> Any:
    def run(**arguments: Any) -> dict[str, Any]:
        arguments = {
            "model": "my-model",
            "precision": "FP8",
            "poke_interval": 0.1,
            "timeout": 20,
            **request.param,
            **arguments,
        }
        return run_task(lambda: FireworksModelReadySensor(task_id="ready", **arguments))

    return run


@pytest.fixture
def prepared(emulator: Any) -> Any:
    """Ask for a preparation, and return what the sensor takes."""

    def ask(precision: str = "FP8") -> dict[str, Any]:
        return run_task(
            lambda: FireworksPrepareModelOperator(task_id="prepare", model="my-model", precision=precision)
        )

    return ask


@pytest.mark.parametrize("skipping", [{}, {"soft_fail": True}, {"never_fail": True}], ids=str)
def test_deferred_sensor_ends_by_execution_timeout(emulator, skipping):
    emulator.configure(duration=60)
    sensor = {"model": "my-model", "precision": "FP8", "poke_interval": 0.1, "timeout": 600, **skipping}
    limit = timedelta(seconds=0.6)
    # A skip has Airflow's own words.
    said = (
        None if skipping else r"FP8: execution_timeout of 1 s is over, last seen: .*A retry starts a new wait"
    )
    with pytest.raises(AirflowSkipException if skipping else AirflowTaskTimeout, match=said):
        run_task(
            lambda: FireworksModelReadySensor(
                task_id="ready", deferrable=True, execution_timeout=limit, **sensor
            )
        )


def test_deferred_sensor_keeps_its_timeout_if_that_is_the_smaller(emulator):
    emulator.configure(duration=60)
    with pytest.raises(AirflowSensorTimeout):
        run_task(
            lambda: FireworksModelReadySensor(
                task_id="ready",
                model="my-model",
                precision="FP8",
                deferrable=True,
                poke_interval=0.1,
                timeout=0.5,
                execution_timeout=timedelta(seconds=600),
            )
        )


def test_deferred_sensor_needs_no_grace_for_what_the_worker_saw_running(emulator, prepared, monkeypatch):
    use_timing(monkeypatch, preparation_start=60)
    emulator.configure(precision_lists="absent")
    asked = prepared()
    result = run_task(
        lambda: FireworksModelReadySensor(
            task_id="ready", deferrable=True, poke_interval=0.5, timeout=20, **asked
        )
    )
    assert result == {"model": MODEL, "precision": "FP8"}


def test_waits_until_the_precision_is_there(emulator, prepared, ready):
    result = ready(**prepared())
    assert result == {"model": MODEL, "precision": "FP8"}
    assert "FP8" in emulator.model("my-model")["supportedPrecisions"]


def test_what_is_ready_takes_one_look_and_no_deferral(emulator):
    task = FireworksModelReadySensor(task_id="ready", model="my-model", precision="FP16", deferrable=True)
    assert task.execute({"ti": TaskInstance()}) == {"model": MODEL, "precision": "FP16"}
    assert len(emulator.requests) == 1


@pytest.mark.parametrize("lists", ["empty", "absent"])
@pytest.mark.parametrize("outcome", ["ok", "calibrated"])
def test_readiness_is_inferred_where_no_lists_are_sent(emulator, prepared, ready, lists, outcome):
    emulator.configure(precision_lists=lists, outcome=outcome)
    assert ready(**prepared())["precision"] == "FP8"
    assert emulator.model("my-model")["state"] == "READY"


def test_proof_can_be_required(emulator, prepared, ready):
    emulator.configure(precision_lists="absent")
    with pytest.raises(exceptions.FireworksModelNotReady, match="require_confirmation"):
        ready(**prepared(), require_confirmation=True)


def test_sensor_takes_what_was_prepared_whole(emulator, prepared, ready):
    result = ready(model=None, precision=None, prepared=prepared())
    assert result == {"model": MODEL, "precision": "FP8"}


def test_sensor_without_baseline_fails_at_once_if_no_precisions_are_listed(emulator, prepared, ready):
    emulator.configure(precision_lists="absent")
    prepared()
    emulator.clear()
    with pytest.raises(exceptions.FireworksModelNotReady, match=r"prepared=prepare\.output"):
        ready()
    assert len(emulator.requests) == 1


@pytest.mark.parametrize(
    "wrong",
    [
        {"baseline": {"foo": 1}},
        {"baseline": {"model": MODEL, "precision": "FP8", "baseline": {}}},
        {"baseline": {"state": "READY"}},
    ],
    ids=str,
)
def test_sensor_refuses_a_baseline_that_is_not_the_operators(emulator, ready, wrong):
    with pytest.raises(
        exceptions.FireworksInvalidArgument, match=r"invalid baseline .*prepared=prepare\.output"
    ):
        ready(**wrong)
    assert emulator.requests == []


def test_the_precision_that_is_ready_is_returned(emulator, ready):
    assert ready(precision="FP8", accept_precisions=["FP16"])["precision"] == "FP16"


ERRORS = {
    # What happens: (how to bring it about, what is raised, whether soft_fail and never_fail skip)
    "failed by status": ({"outcome": "failed_status"}, exceptions.FireworksModelNotReady, True),
    "failed by state": ({"outcome": "failed_state"}, exceptions.FireworksModelNotReady, True),
    "finished without it": ({"outcome": "without_precision"}, exceptions.FireworksModelNotReady, True),
    "never begun": ({"outcome": "never"}, exceptions.FireworksModelNotReady, True),
    "deleted": ("delete_model", exceptions.FireworksModelNotReady, True),
    "no such model": ("no-such-model", exceptions.FireworksNotFound, True),
    "timeout": ({"duration": 60}, AirflowSensorTimeout, True),
    "wrong key": ("revoke_key", exceptions.FireworksAccessDenied, False),
}


@pytest.mark.parametrize("skipping", [None, "soft_fail", "never_fail"])
@pytest.mark.parametrize(("cause", "error", "skips"), ERRORS.values(), ids=ERRORS)
def test_every_error_means_the_same_in_every_mode(emulator, prepared, ready, cause, error, skips, skipping):
    if isinstance(cause, dict):
        emulator.configure(**cause)
    arguments = prepared()
    if cause == "no-such-model":
        arguments = {"model": cause, "precision": "FP8"}
    elif cause == "revoke_key":
        emulator.revoke_key()
    elif cause == "delete_model":
        emulator.delete_model("my-model")
    if cause == {"duration": 60}:
        arguments["timeout"] = 0.5
    if skipping:
        arguments[skipping] = True
    expected = AirflowSkipException if skipping and skips else error
    with pytest.raises(expected) as ending:
        ready(**arguments)
    assert type(ending.value) is expected
    if not skipping and error is not AirflowSensorTimeout:
        assert isinstance(ending.value, AirflowFailException), "it would be retried"


def test_a_key_that_is_revoked_during_the_wait_is_never_skipped(emulator, prepared, ready):
    emulator.configure(duration=60)
    arguments = prepared()
    with later(emulator.revoke_key), pytest.raises(exceptions.FireworksAccessDenied):
        ready(**arguments, soft_fail=True)


def test_the_timeout_says_what_was_waited_for_and_last_seen(emulator, prepared, ready):
    emulator.configure(duration=60)
    with pytest.raises(
        AirflowSensorTimeout, match=rf"Waited \d s for {MODEL} to be ready at FP8: last seen: .*PREPARING"
    ):
        ready(**prepared(), timeout=0.5)


@pytest.mark.parametrize(
    ("how", "error", "told"),
    [
        ({}, AirflowSensorTimeout, "last seen: .*PREPARING"),
        ({"never_fail": True}, AirflowSkipException, None),
    ],
    ids=["plain", "never_fail"],
)
def test_a_time_that_is_over_after_a_look_ends_it_all_the_same(
    emulator, prepared, ready, monkeypatch, how, error, told
):
    """There Airflow itself would end the wait, with less to say, and heedless of ``never_fail``."""
    emulator.configure(duration=60)
    told_of = Wait.log_line

    def slowly(wait: Wait, *args: Any) -> str | None:
        time.sleep(max(wait.deadline - time.time(), 0) + 0.05)
        return told_of(wait, *args)

    monkeypatch.setattr(Wait, "log_line", slowly)
    with pytest.raises(error, match=told):
        ready(**prepared(), timeout=0.5, **how)


BLIPS = [
    {"kind": "status", "status": 503},
    {"kind": "status", "status": 429, "retry_after": "0"},
    {"kind": "html", "status": 502},
    {"kind": "html", "status": 403},
    {"kind": "html", "status": 404},
    {"kind": "html", "status": 200},
    {"kind": "truncate"},
    {"kind": "drop"},
    {"kind": "redirect", "location": "https://example.com/"},
]


@pytest.mark.parametrize("error", BLIPS, ids=lambda error: " ".join(map(str, error.values())))
def test_blips_are_waited_out(emulator, prepared, ready, error):
    arguments = prepared()
    emulator.fault(**error, times=3, method="GET", path="/models/")
    assert ready(**arguments)["precision"] == "FP8"


def test_a_gateway_that_is_away_for_a_while_is_waited_for(emulator, prepared, ready):
    arguments = prepared()
    emulator.stop()
    with later(emulator.start):
        assert ready(**arguments)["precision"] == "FP8"


def test_a_gateway_that_stays_away_is_named_by_the_timeout(emulator, prepared, ready):
    arguments = prepared()
    emulator.stop()
    with pytest.raises(AirflowSensorTimeout, match=r"the API cannot be reached at http://127\.0\.0\.1"):
        ready(**arguments, timeout=0.5)


def test_an_old_bad_status_does_no_harm(emulator, prepared, ready):
    emulator.configure(stale_status=True)
    emulator.set_model("my-model", status={"code": "INTERNAL", "message": "long ago"})
    arguments = prepared()
    assert arguments["baseline"]["status"]["message"] == "long ago"
    assert ready(**arguments)["precision"] == "FP8"


def test_an_unknown_state_is_waited_out(emulator, prepared, ready):
    emulator.set_model("my-model", state="OPTIMIZING")

    def end() -> None:
        emulator.set_model("my-model", state="READY", supportedPrecisions=["FP16", "FP8"])

    with later(end):
        assert ready()["precision"] == "FP8"


def test_requests_keep_to_the_interval(emulator, prepared, ready):
    emulator.configure(duration=60)
    arguments = prepared()
    emulator.clear()
    with pytest.raises(AirflowSensorTimeout):
        ready(**arguments, poke_interval=0.5, timeout=1.2)
    times = [request.at for request in emulator.requests]
    assert len(times) <= 5
    # The last look may come early, at the deadline.
    assert all(b - a >= 0.45 for a, b in pairwise(times[:-1]))


def test_the_deferral_outlives_the_deadline_and_carries_no_secret(emulator, prepared):
    emulator.configure(duration=60)
    task = FireworksModelReadySensor(
        task_id="ready",
        **prepared(),
        deferrable=True,
        timeout=timedelta(minutes=10),
        exponential_backoff=True,
    )
    with pytest.raises(TaskDeferred) as deferred:
        task.execute({"ti": TaskInstance()})
    assert deferred.value.timeout > timedelta(minutes=10)
    _, kwargs = deferred.value.trigger.serialize()
    assert emulator.api_key not in repr(kwargs) + repr(deferred.value.kwargs)
    assert kwargs["wait"]["deadline"] == pytest.approx(time.time() + 600, abs=5)
    assert kwargs["wait"]["growing"] is True
    assert kwargs["wait"]["baseline"]["posted"] == "accepted"


@pytest.mark.parametrize("skipping", [{}, {"soft_fail": True}, {"never_fail": True}], ids=str)
@pytest.mark.parametrize(
    "verdict",
    [
        None,
        {"outcome": "pending", "reason": ""},
        {"outcome": "ready", "reason": "", "precision": "FP4"},
        {"outcome": "ready", "reason": ""},
        {"outcome": "splendid", "reason": ""},
    ],
    ids=str,
)
def test_an_event_that_makes_no_sense_fails_the_task(emulator, prepared, verdict, skipping):
    emulator.configure(duration=60)
    task = FireworksModelReadySensor(task_id="ready", **prepared(), deferrable=True, **skipping)
    with pytest.raises(TaskDeferred) as deferred:
        task.execute({"ti": TaskInstance()})
    event = {"resume_state": deferred.value.trigger.serialize()[1]["resume_state"], "verdict": verdict}
    with pytest.raises(exceptions.FireworksInvalidEvent):
        task.resume_execution("execute_complete", {"event": event}, {"ti": TaskInstance()})


@pytest.mark.parametrize(
    "wrong", [{"precision": ["FP8", "FP4"]}, {"model": "a b"}, {"precision": "fp8"}], ids=str
)
def test_bad_literals_are_refused_when_the_dag_is_parsed(emulator, wrong):
    with pytest.raises(exceptions.FireworksInvalidArgument):
        FireworksModelReadySensor(task_id="ready", **{"model": "my-model", "precision": "FP8", **wrong})


@pytest.mark.parametrize("skipping", [{}, {"soft_fail": True}, {"never_fail": True}], ids=str)
@pytest.mark.parametrize(
    "wrong",
    [
        {"baseline": "{'state': 'READY'}"},
        {"precision": "{{ 'FP9' }}"},
        {"precision": ["FP8", "FP4"], "accept_precisions": ["FP16"]},
    ],
    ids=str,
)
def test_bad_arguments_fail_before_anything_is_sent(emulator, ready, wrong, skipping):
    with pytest.raises(exceptions.FireworksInvalidArgument):
        ready(**wrong, **skipping)
    assert emulator.requests == []
