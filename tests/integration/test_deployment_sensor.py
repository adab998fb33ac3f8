"""The sensor of a deployment: poked, rescheduled and deferred, where every argument is to mean the same."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from itertools import pairwise
from threading import Timer
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import (
    AirflowFailException,
    AirflowSensorTimeout,
    AirflowSkipException,
    TaskDeferred,
)

from airflow_provider_fireworks import exceptions
from airflow_provider_fireworks.hooks.fireworks import FireworksHook
from airflow_provider_fireworks.sensors.deployment import FireworksDeploymentReadySensor
from tests.integration.conftest import MODEL, TaskInstance, run_task
from tests.timing import use_timing

NAME = "accounts/demo/deployments/d"
CHAT = "/inference/v1/chat/completions"
MODES = {
    "poke": {"mode": "poke"},
    "reschedule": {"mode": "reschedule"},
    "deferrable": {"deferrable": True},
}


@contextmanager
def later(act: Callable[[], Any]) -> Iterator[None]:
    """Do something while a task waits."""
    timer = Timer(0.2, act)
    timer.start()
    try:
        yield
    finally:
        timer.join()


@pytest.fixture(autouse=True)
def _quick_retries(monkeypatch: pytest.MonkeyPatch) -> None:
    use_timing(monkeypatch, first_retry_delay=0.01)


@pytest.fixture(params=MODES)
def mode(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture
def ready(mode: str) -> Any:
    def run(**arguments: Any) -> dict[str, Any]:
        arguments = {"deployment": "d", "poke_interval": 0.1, "timeout": 20, **MODES[mode], **arguments}
        return run_task(lambda: FireworksDeploymentReadySensor(task_id="up", **arguments))

    return run


@pytest.fixture
def deployed(emulator: Any) -> Any:
    """Deploy ``d``, and forget that it was asked for."""

    def deploy(**options: Any) -> None:
        emulator.configure(**{"deploy_duration": 0.4, "scale_duration": 0.2} | options)
        spec = {"baseModel": MODEL, "acceleratorType": "NVIDIA_H100_80GB"}
        FireworksHook().create_deployment("d", spec)
        emulator.clear()

    return deploy


def test_waits_until_it_is_ready(emulator, deployed, ready):
    deployed()
    assert ready() == {"deployment": NAME}
    assert emulator.deployment("d")["state"] == "READY"
    assert {request.method for request in emulator.requests} == {"GET"}


@pytest.mark.parametrize("deployment", ["d", NAME])
def test_what_is_ready_takes_one_look_and_no_deferral(emulator, deployed, deployment):
    deployed(deploy_duration=0)
    task = FireworksDeploymentReadySensor(task_id="up", deployment=deployment, deferrable=True)
    assert task.execute({"ti": TaskInstance()}) == {"deployment": NAME}
    assert [request.path for request in emulator.requests] == [f"/v1/{NAME}"]


def test_a_bare_id_and_a_full_name_are_waited_for_alike(emulator, deployed, ready):
    deployed()
    assert ready(deployment=NAME) == ready(deployment="d") == {"deployment": NAME}


def test_a_bare_id_belongs_to_the_account_given(emulator, ready):
    emulator.configure(accounts=["demo", "second"], deploy_duration=0.3)
    spec = {"baseModel": MODEL, "acceleratorType": "NVIDIA_H100_80GB"}
    FireworksHook(account_id="second").create_deployment("d", spec)
    assert ready(account_id="second") == {"deployment": "accounts/second/deployments/d"}
    with pytest.raises(exceptions.FireworksInvalidArgument, match="belongs to account 'demo'"):
        ready(account_id="second", deployment=NAME)


def test_scaled_to_zero_is_ready(emulator, deployed, ready):
    deployed(start_at_zero=True)
    assert ready() == {"deployment": NAME}
    assert emulator.deployment("d")["replicaCount"] == 0
    assert emulator.gpu_seconds == 0


# ---- serving


def test_ready_is_not_serving_yet(emulator, deployed, ready):
    deployed(serving_lag=0.5)
    ready(wait_for_inference=True)
    asked = [request.status for request in emulator.requests if request.path == CHAT]
    assert asked[-1] == 200
    assert asked[:-1]
    assert set(asked[:-1]) == {404}
    # It is asked only once it is READY, and looked at before each time.
    assert all(one.method == "GET" for one, two in pairwise(emulator.requests) if two.path == CHAT)


def test_at_zero_replicas_asking_wakes_it(emulator, deployed, ready):
    deployed(start_at_zero=True, deploy_duration=0)
    assert emulator.deployment("d")["replicaCount"] == 0
    ready(wait_for_inference=True)
    asked = [request.status for request in emulator.requests if request.path == CHAT]
    assert (asked[0], asked[-1]) == (503, 200)
    assert emulator.deployment("d")["replicaCount"] == 1


def test_without_being_told_to_nothing_is_asked_of_it(emulator, deployed, ready):
    deployed(start_at_zero=True, deploy_duration=0)
    ready()
    assert emulator.count(path=CHAT) == 0
    assert emulator.deployment("d")["replicaCount"] == 0


def test_what_takes_no_chat_is_never_skipped(emulator, deployed, ready):
    deployed(deploy_duration=0)
    emulator.fault("status", status=400, path=CHAT, times=-1)
    for skipping in ({}, {"soft_fail": True}, {"never_fail": True}):
        with pytest.raises(exceptions.FireworksRefused, match="without wait_for_inference"):
            ready(wait_for_inference=True, **skipping)


def test_blips_of_inference_are_waited_out(emulator, deployed, ready):
    deployed(deploy_duration=0)
    emulator.fault("status", status=429, path=CHAT, retry_after="0")
    emulator.fault("drop", path=CHAT)
    emulator.fault("html", status=502, path=CHAT)
    assert ready(wait_for_inference=True) == {"deployment": NAME}


# ---- errors


def fail(emulator: Any) -> None:
    emulator.set_deployment("d", state="FAILED", status={"code": "INTERNAL", "message": "no capacity"})


ERRORS = {
    # What happens: (before the wait, during the wait, arguments, error, its words, whether it may be skipped)
    "failed": (fail, None, {}, exceptions.FireworksDeploymentNotReady, "FAILED.*no capacity", True),
    "fails": (None, fail, {}, exceptions.FireworksDeploymentNotReady, "FAILED.*no capacity", True),
    "deleted softly": (
        None,
        lambda emulator: FireworksHook().delete_deployment("d"),
        {},
        exceptions.FireworksDeploymentNotReady,
        "DELETED: it was deleted while",
        True,
    ),
    "deleted before": (
        lambda emulator: FireworksHook().delete_deployment("d"),
        None,
        {},
        exceptions.FireworksDeploymentNotReady,
        "DELETED",
        True,
    ),
    "no such deployment": (None, None, {"deployment": "none"}, exceptions.FireworksNotFound, "404", True),
    "timeout": (None, None, {"timeout": 0.5}, AirflowSensorTimeout, "last seen: its state is CREATING", True),
    "wrong key": (
        lambda emulator: emulator.revoke_key(),
        None,
        {},
        exceptions.FireworksAccessDenied,
        "API key",
        False,
    ),
    "key revoked": (
        None,
        lambda emulator: emulator.revoke_key(),
        {},
        exceptions.FireworksAccessDenied,
        "API key",
        False,
    ),
}


@pytest.mark.parametrize("skipping", [None, "soft_fail", "never_fail"])
@pytest.mark.parametrize("case", ERRORS)
def test_every_error_means_the_same_in_every_mode(emulator, deployed, ready, case, skipping):
    before, meanwhile, arguments, error, told, skips = ERRORS[case]
    deployed(deploy_duration=60)
    if before:
        before(emulator)
    if skipping:
        arguments = arguments | {skipping: True}
    expected = AirflowSkipException if skipping and skips else error
    happening = later(lambda: meanwhile(emulator)) if meanwhile else nullcontext()
    with happening, pytest.raises(expected) as ending:
        ready(**arguments)
    assert type(ending.value) is expected
    if expected is error:
        assert ending.match(told)
        assert emulator.api_key not in repr(ending.value)
        if error is not AirflowSensorTimeout:
            assert isinstance(ending.value, AirflowFailException), "it would be retried"


def test_one_that_vanishes_ends_the_wait(emulator, deployed, ready, mode):
    deployed(deploy_duration=60)
    # Rescheduled, every poke is a new process, which does not know that it was there.
    error = exceptions.FireworksNotFound if mode == "reschedule" else exceptions.FireworksDeploymentNotReady
    with later(lambda: emulator.remove_deployment("d")), pytest.raises(error, match="not found"):
        ready()


def test_a_timeout_says_what_was_waited_for(emulator, deployed, ready):
    deployed(serving_lag=60, deploy_duration=0)
    with pytest.raises(
        AirflowSensorTimeout, match=rf"Waited \d s for {NAME} to be serving: last seen: its state is READY"
    ):
        ready(wait_for_inference=True, timeout=0.5)


def test_a_timeout_says_that_inference_did_not_answer(emulator, deployed, ready):
    deployed(serving_lag=60, deploy_duration=0)
    with pytest.raises(AirflowSensorTimeout, match="inference does not answer yet"):
        ready(wait_for_inference=True, timeout=0.5)


BLIPS = [
    {"kind": "status", "status": 503},
    {"kind": "status", "status": 429, "retry_after": "0"},
    {"kind": "html", "status": 404},
    {"kind": "truncate"},
    {"kind": "drop"},
]


@pytest.mark.parametrize("error", BLIPS, ids=lambda error: " ".join(map(str, error.values())))
def test_blips_are_waited_out(emulator, deployed, ready, error):
    deployed(deploy_duration=0)
    emulator.fault(**error, times=3, method="GET", path="/deployments/")
    assert ready() == {"deployment": NAME}


def test_a_gateway_that_is_away_for_a_while_is_waited_for(emulator, deployed, ready):
    deployed()
    emulator.stop()
    with later(emulator.start):
        assert ready() == {"deployment": NAME}


def test_an_unknown_state_is_waited_out(emulator, deployed, ready):
    deployed(deploy_duration=0)
    emulator.set_deployment("d", state="REBALANCING")
    with later(lambda: emulator.set_deployment("d", state="READY")):
        assert ready() == {"deployment": NAME}


def test_while_the_account_cannot_be_found_out_the_worker_goes_on_asking(
    emulator, deployed, ready, monkeypatch
):
    deployed()
    monkeypatch.setenv("AIRFLOW_CONN_FIREWORKS_DEFAULT", emulator.connection.replace('"demo"', '""'))
    emulator.fault("status", status=503, path="/v1/accounts?", times=4, retry_after="0")
    assert ready() == {"deployment": NAME}


# ---- deferred


def deferral_of(task: FireworksDeploymentReadySensor, instance: TaskInstance) -> TaskDeferred:
    with pytest.raises(TaskDeferred) as deferred:
        task.execute({"ti": instance})
    return deferred.value


def test_the_deferral_outlives_the_deadline_and_carries_no_secret(emulator, deployed):
    deployed(deploy_duration=60)
    task = FireworksDeploymentReadySensor(task_id="up", deployment="d", deferrable=True, timeout=600)
    instance = TaskInstance()
    deferral = deferral_of(task, instance)
    assert deferral.timeout.total_seconds() > 600
    path, kwargs = deferral.trigger.serialize()
    assert path.endswith(".FireworksDeploymentReadyTrigger")
    assert emulator.api_key not in repr(kwargs) + repr(deferral.kwargs)
    assert kwargs["wait"]["deployment"] == NAME
    assert kwargs["wait"]["known"] is True
    assert kwargs["wait"]["deadline"] == pytest.approx(time.time() + 600, abs=5)
    assert kwargs["delete_on_kill"] is None
    # For the link, while it waits.
    assert instance.xcoms["deployment"] == NAME


@pytest.mark.parametrize("skipping", [{}, {"soft_fail": True}, {"never_fail": True}], ids=str)
@pytest.mark.parametrize(
    "verdict",
    [None, {}, {"outcome": "pending", "reason": ""}, {"outcome": "splendid", "reason": ""}],
    ids=str,
)
def test_an_event_that_makes_no_sense_fails_the_task(emulator, deployed, verdict, skipping):
    deployed(deploy_duration=60)
    task = FireworksDeploymentReadySensor(task_id="up", deployment="d", deferrable=True, **skipping)
    resume_state = deferral_of(task, TaskInstance()).trigger.serialize()[1]["resume_state"]
    for event in (
        {"resume_state": resume_state, "verdict": verdict},
        {"resume_state": {}, "verdict": verdict},
        "ready",
    ):
        with pytest.raises(exceptions.FireworksInvalidEvent):
            task.resume_execution("execute_complete", {"event": event}, {})


@pytest.mark.parametrize("wrong", ["a b", "", "accounts/demo/models/m", "Deployment"])
def test_a_bad_literal_is_refused_when_the_dag_is_parsed(wrong):
    with pytest.raises(exceptions.FireworksInvalidArgument, match="is no deployment"):
        FireworksDeploymentReadySensor(task_id="up", deployment=wrong)


def test_a_bad_rendering_is_refused_before_anything_is_sent_and_never_skipped(emulator):
    task = FireworksDeploymentReadySensor(task_id="up", deployment="{{ x }}", soft_fail=True)
    task.deployment = "None"
    with pytest.raises(exceptions.FireworksInvalidArgument, match="'None' is no deployment id"):
        task.execute({"ti": TaskInstance()})
    assert emulator.requests == []
