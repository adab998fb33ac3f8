"""The deployment sensor, with the same results when it pokes, is rescheduled, or is deferred."""

from __future__ import annotations

import time
from contextlib import nullcontext
from itertools import pairwise
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import (
    AirflowFailException,
    AirflowSensorTimeout,
    AirflowSkipException,
)

from airflow_provider_fireworks import exceptions
from airflow_provider_fireworks.hooks.fireworks import FireworksHook
from airflow_provider_fireworks.sensors.deployment import FireworksDeploymentReadySensor
from tests.integration.conftest import MODEL, TaskInstance, run_task
from tests.integration.creating import H100, defer_task, fault_id
from tests.integration.sensing import MODES, SKIPS, TRANSIENT_FAULTS, act_later
from tests.timing import use_timing

NAME = "accounts/demo/deployments/d"
CHAT = "/inference/v1/chat/completions"
SPEC = {"baseModel": MODEL, "acceleratorType": H100}
RESULT = {"deployment": NAME, "inference_model": f"{MODEL}#{NAME}"}


def make_sensor(**arguments: Any) -> FireworksDeploymentReadySensor:
    arguments = {"deployment": "d", "poke_interval": 0.1, "timeout": 20, **arguments}
    return FireworksDeploymentReadySensor(task_id="up", **arguments)


@pytest.fixture(autouse=True)
def _quick_retries(monkeypatch: pytest.MonkeyPatch) -> None:
    use_timing(monkeypatch, first_retry_delay=0.01)


@pytest.fixture(params=MODES)
def mode(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture
def ready(mode: str) -> Any:
    """Runs the sensor in each mode."""

    def run(**arguments: Any) -> dict[str, Any]:
        return run_task(lambda: make_sensor(**MODES[mode], **arguments))

    return run


@pytest.fixture
def deploy(emulator: Any) -> Any:
    """Creates the deployment ``d``, and clears the emulator's records of that."""

    def run(**options: Any) -> None:
        emulator.configure(**{"deploy_duration": 0.4, "scale_duration": 0.2} | options)
        FireworksHook().create_deployment("d", SPEC)
        emulator.clear()

    return run


@pytest.mark.parametrize("deployment", ["d", NAME])
def test_sensor_waits_until_deployment_is_ready(emulator, deploy, ready, deployment):
    deploy()
    assert ready(deployment=deployment) == RESULT
    assert emulator.deployment("d")["state"] == "READY"
    assert {request.method for request in emulator.requests} == {"GET"}


def test_sensor_does_not_defer_if_deployment_is_ready(emulator, deploy):
    deploy(deploy_duration=0)
    task = make_sensor(deferrable=True)
    assert task.execute({"ti": TaskInstance()}) == RESULT
    assert [request.path for request in emulator.requests] == [f"/v1/{NAME}"]


def test_bare_id_belongs_to_given_account(emulator, ready):
    emulator.configure(accounts=["demo", "second"], deploy_duration=0.3)
    FireworksHook(account_id="second").create_deployment("d", SPEC)
    name = "accounts/second/deployments/d"
    assert ready(account_id="second") == {"deployment": name, "inference_model": f"{MODEL}#{name}"}
    with pytest.raises(exceptions.FireworksInvalidArgument, match="belongs to account 'demo'"):
        ready(account_id="second", deployment=NAME)


def test_deployment_scaled_to_zero_is_ready(emulator, deploy, ready):
    deploy(start_at_zero=True)
    assert ready() == RESULT
    assert emulator.deployment("d")["replicaCount"] == 0
    assert emulator.gpu_seconds == 0


def test_sensor_waits_in_unknown_state(emulator, deploy, ready):
    deploy(deploy_duration=0)
    emulator.set_deployment("d", state="REBALANCING")
    with act_later(lambda: emulator.set_deployment("d", state="READY")):
        assert ready() == RESULT


# ---- inference


def test_inference_is_requested_after_each_read_until_it_answers(emulator, deploy, ready):
    deploy(serving_lag=0.5)
    ready(wait_for_inference=True)
    statuses = [request.status for request in emulator.requests if request.path == CHAT]
    assert statuses[-1] == 200
    assert set(statuses[:-1]) == {404}
    assert all(before.method == "GET" for before, after in pairwise(emulator.requests) if after.path == CHAT)


def test_inference_that_answers_while_creating_is_readiness(emulator, deploy, ready):
    deploy(deploy_outcome="stays_creating", serving_lag=0.3)
    assert ready(wait_for_inference=True) == RESULT
    assert emulator.deployment("d")["state"] == "CREATING"
    # Not before a replica may be there, and once in each poll.
    assert emulator.requests[0].method == "GET"
    assert all(before.method == "GET" for before, after in pairwise(emulator.requests) if after.path == CHAT)


@pytest.mark.parametrize(("names", "answers"), [("with_model", f"{MODEL}#{NAME}"), ("deployment", NAME)])
def test_sensor_returns_the_name_that_inference_answers_to(emulator, deploy, ready, names, answers):
    deploy(inference_names=names)
    assert ready(wait_for_inference=True) == {"deployment": NAME, "inference_model": answers}


def test_inference_request_wakes_deployment_scaled_to_zero(emulator, deploy, ready):
    # A rescheduled sensor picks one of the two names at random.
    deploy(start_at_zero=True, deploy_duration=0, inference_names="both")
    assert emulator.deployment("d")["replicaCount"] == 0
    ready(wait_for_inference=True)
    statuses = [request.status for request in emulator.requests if request.path == CHAT]
    assert (statuses[0], statuses[-1]) == (503, 200)
    assert emulator.deployment("d")["replicaCount"] == 1


def test_model_without_chat_completions_is_never_skipped(emulator, deploy, ready):
    deploy(deploy_duration=0)
    emulator.fault("status", status=400, path=CHAT, times=-1)
    for skip in SKIPS:
        with pytest.raises(exceptions.FireworksRefused, match="without wait_for_inference"):
            ready(wait_for_inference=True, **skip)


def test_sensor_waits_out_transient_errors_of_inference(emulator, deploy, ready):
    deploy(deploy_duration=0)
    emulator.fault("status", status=429, path=CHAT, retry_after="0")
    emulator.fault("drop", path=CHAT)
    emulator.fault("html", status=502, path=CHAT)
    assert ready(wait_for_inference=True) == RESULT


# ---- errors


def fail(emulator: Any) -> None:
    emulator.set_deployment("d", state="FAILED", status={"code": "INTERNAL", "message": "no capacity"})


def delete(emulator: Any) -> None:
    FireworksHook().delete_deployment("d")


def revoke_key(emulator: Any) -> None:
    emulator.revoke_key()


ERRORS = {
    # (before the wait, during the wait, arguments, error, words, whether soft_fail and never_fail skip the task)
    "FAILED before": (fail, None, {}, exceptions.FireworksDeploymentNotReady, "FAILED.*no capacity", True),
    "FAILED during": (None, fail, {}, exceptions.FireworksDeploymentNotReady, "FAILED.*no capacity", True),
    "deleted before": (delete, None, {}, exceptions.FireworksDeploymentNotReady, "DELETED", True),
    "deleted during": (
        None, delete, {}, exceptions.FireworksDeploymentNotReady, "DELETED: it was deleted while", True,
    ),
    "not found": (None, None, {"deployment": "none"}, exceptions.FireworksNotFound, "404", True),
    "timeout": (None, None, {"timeout": 0.5}, AirflowSensorTimeout, "last seen: its state is CREATING", True),
    "wrong key": (revoke_key, None, {}, exceptions.FireworksAccessDenied, "API key", False),
    "key revoked": (None, revoke_key, {}, exceptions.FireworksAccessDenied, "API key", False),
}  # fmt: skip


@pytest.mark.parametrize("skip", [None, "soft_fail", "never_fail"])
@pytest.mark.parametrize("case", ERRORS.values(), ids=ERRORS)
def test_sensor_error_is_the_same_in_every_mode(emulator, deploy, ready, case, skip):
    before, during, arguments, error, words, skips = case
    deploy(deploy_duration=60)
    if before:
        before(emulator)
    if skip:
        arguments = arguments | {skip: True}
    expected = AirflowSkipException if skip and skips else error
    acting = act_later(lambda: during(emulator)) if during else nullcontext()
    with acting, pytest.raises(expected) as ending:
        ready(**arguments)
    assert type(ending.value) is expected
    if expected is error:
        assert ending.match(words)
        assert emulator.api_key not in repr(ending.value)
        if error is not AirflowSensorTimeout:
            assert isinstance(ending.value, AirflowFailException), "it would be retried"


def test_deployment_that_vanishes_ends_wait(emulator, deploy, ready, mode):
    deploy(deploy_duration=60)
    # In reschedule mode every poke is a new process, which does not know that the deployment existed.
    error = exceptions.FireworksNotFound if mode == "reschedule" else exceptions.FireworksDeploymentNotReady
    with act_later(lambda: emulator.remove_deployment("d")), pytest.raises(error, match="not found"):
        ready()


def test_timeout_error_says_what_was_waited_for_and_seen_last(emulator, deploy, ready):
    deploy(serving_lag=60, deploy_duration=0)
    words = rf"Waited \d s for inference of {NAME} to answer: last seen: .*inference does not answer yet"
    with pytest.raises(AirflowSensorTimeout, match=words):
        ready(wait_for_inference=True, timeout=0.5)


@pytest.mark.parametrize("fault", TRANSIENT_FAULTS, ids=fault_id)
def test_sensor_waits_out_transient_errors(emulator, deploy, ready, fault):
    deploy(deploy_duration=0)
    emulator.fault(**fault, times=3, method="GET", path="/deployments/")
    assert ready() == RESULT


def test_sensor_waits_out_unreachable_api(emulator, deploy, ready):
    deploy()
    emulator.stop()
    with act_later(emulator.start):
        assert ready() == RESULT


def test_sensor_waits_out_failed_lookup_of_account(emulator, deploy, ready, monkeypatch):
    deploy()
    monkeypatch.setenv("AIRFLOW_CONN_FIREWORKS_DEFAULT", emulator.connection.replace('"demo"', '""'))
    emulator.fault("status", status=503, path="/v1/accounts?", times=4, retry_after="0")
    assert ready() == RESULT


def test_timeout_error_says_that_account_could_not_be_looked_up(emulator, ready, monkeypatch):
    monkeypatch.setenv("AIRFLOW_CONN_FIREWORKS_DEFAULT", emulator.connection.replace('"demo"', '""'))
    emulator.fault("status", status=503, path="/v1/accounts?", times=-1)
    words = r"Waited \d s for a response about d: last seen: GET /v1/accounts: HTTP 503"
    with pytest.raises(AirflowSensorTimeout, match=words):
        ready(timeout=0.5)


# ---- deferral


def test_deferral_outlasts_deadline_and_has_no_secret(emulator, deploy):
    deploy(deploy_duration=60)
    instance = TaskInstance()
    deferral = defer_task(lambda: make_sensor(deferrable=True, timeout=600), instance)
    assert deferral.timeout.total_seconds() > 600
    path, kwargs = deferral.trigger.serialize()
    assert path.endswith(".FireworksDeploymentReadyTrigger")
    assert emulator.api_key not in repr(kwargs) + repr(deferral.kwargs)
    assert kwargs["wait"]["deployment"] == NAME
    assert kwargs["wait"]["known"] is True
    assert kwargs["wait"]["deadline"] == pytest.approx(time.time() + 600, abs=5)
    assert kwargs["owner_signature"] is None
    # For the link, while the task is deferred.
    assert instance.xcoms["deployment"] == NAME


@pytest.mark.parametrize("skip", SKIPS, ids=str)
@pytest.mark.parametrize(
    "changes",
    [
        {"verdict": None},
        {"verdict": {}},
        {"verdict": {"outcome": "pending", "reason": ""}},
        {"verdict": {"outcome": "splendid", "reason": ""}},
        {"verdict": {"outcome": "ready", "reason": ""}},
        {"wait": {}},
        {"wait": "d"},
    ],
    ids=str,
)
def test_invalid_event_fails_sensor(changes, skip):
    wait = {"deployment": NAME, "deadline": 0, "poll_interval": 1}
    verdict = {"outcome": "ready", "reason": "", "inference_model": f"{MODEL}#{NAME}"}
    event = {"verdict": verdict, "wait": wait, "resume_state": {}}

    def resume(event: Any) -> dict[str, Any]:
        return make_sensor(**skip).resume_execution("execute_complete", {"event": event}, {})

    assert resume(event) == RESULT
    for invalid in (event | changes, "ready"):
        with pytest.raises(exceptions.FireworksInvalidEvent):
            resume(invalid)


# ---- arguments


@pytest.mark.parametrize("wrong", ["a b", "", "accounts/demo/models/m", "Deployment"])
def test_invalid_literal_fails_when_dag_is_parsed(wrong):
    with pytest.raises(exceptions.FireworksInvalidArgument, match="Invalid deployment"):
        make_sensor(deployment=wrong)


def test_invalid_rendered_value_is_never_skipped_and_nothing_is_sent(emulator):
    task = make_sensor(deployment="{{ x }}", soft_fail=True)
    task.deployment = "None"
    with pytest.raises(exceptions.FireworksInvalidArgument, match="Invalid deployment id 'None'"):
        task.execute({"ti": TaskInstance()})
    assert emulator.requests == []
