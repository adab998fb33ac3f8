"""The prepare operator, waiting in the worker and deferred, judged by the emulator's records."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import AirflowFailException, AirflowTaskTimeout

from airflow_provider_fireworks import exceptions
from airflow_provider_fireworks.operators.model import FireworksPrepareModelOperator
from tests.integration.conftest import MODEL, TaskInstance, run_task
from tests.integration.creating import fault_id
from tests.timing import use_timing

PUBLIC = "accounts/fireworks/models/yi-6b"


@pytest.fixture(params=[False, True], ids=["worker", "deferrable"])
def prepare(request: pytest.FixtureRequest) -> Any:
    def run(precision: str = "FP8", **arguments: Any) -> dict[str, Any]:
        arguments = {
            "model": "my-model",
            "poll_interval": 0.1,
            "timeout": 20,
            "deferrable": request.param,
            **arguments,
        }
        return run_task(
            lambda: FireworksPrepareModelOperator(task_id="prepare", precision=precision, **arguments)
        )

    return run


def count_requests(emulator: Any) -> int:
    return emulator.count("POST", ":prepare")


@pytest.mark.parametrize(("lists", "reads", "began"), [("present", 1, False), ("absent", 2, True)])
def test_prepare_requests_once_and_returns_arguments_of_sensor(emulator, prepare, lists, reads, began):
    emulator.configure(precision_lists=lists)
    result = prepare()
    assert (result["model"], result["precision"]) == (MODEL, "FP8")
    assert result["baseline"]["posted"] == "accepted"
    assert result["baseline"]["state"] == "READY"
    assert result["baseline"]["began"] is began
    assert [(p.model, p.precision) for p in emulator.preparations] == [("my-model", "FP8")]
    assert emulator.count("GET", "/models/") == reads


def test_prepare_requests_nothing_if_precision_is_listed(emulator, prepare):
    result = prepare("FP16")
    assert result["precision"] == "FP16"
    assert result["baseline"]["posted"] is None
    assert count_requests(emulator) == 0


def test_prepare_requests_nothing_if_accepted_precision_is_listed(emulator, prepare):
    assert prepare("FP8", accept_precisions=["FP16"])["precision"] == "FP16"
    assert count_requests(emulator) == 0


@pytest.mark.parametrize("lists", ["present", "empty", "absent"])
def test_prepare_waits_for_completion(emulator, prepare, lists):
    emulator.configure(precision_lists=lists)
    result = prepare(wait_for_completion=True)
    assert result["precision"] == "FP8"
    assert emulator.model("my-model")["state"] == "READY"
    assert count_requests(emulator) == 1


def test_prepare_with_require_confirmation_fails_on_inferred_readiness(emulator, prepare):
    emulator.configure(precision_lists="absent")
    with pytest.raises(exceptions.FireworksPreparationFailed, match="require_confirmation is set"):
        prepare(wait_for_completion=True, require_confirmation=True)


@pytest.mark.parametrize("outcome", ["failed_status", "failed_state"])
@pytest.mark.parametrize("lists", ["present", "absent"])
def test_failed_preparation_quotes_status_and_can_be_retried(emulator, prepare, outcome, lists):
    emulator.configure(outcome=outcome, precision_lists=lists)
    with pytest.raises(exceptions.FireworksPreparationFailed, match=r"INTERNAL|status") as failure:
        prepare(wait_for_completion=True)
    assert emulator.model("my-model")["status"]["message"] in str(failure.value)
    assert not isinstance(failure.value, AirflowFailException)
    emulator.configure(outcome="ok")
    assert prepare(wait_for_completion=True)["precision"] == "FP8"


@pytest.mark.usefixtures("lists")
def test_preparation_without_its_precision_is_requested_once_more(emulator, prepare):
    emulator.configure(outcome="without_precision")
    with pytest.raises(exceptions.FireworksPreparationFailed, match="finished without FP8"):
        prepare(wait_for_completion=True)
    assert count_requests(emulator) == 2


# ---- other preparations of the same model


@pytest.mark.parametrize("refusal", ["aborted", "already_exists", "failed_precondition"])
@pytest.mark.parametrize("start_lag", [0, 0.4])
def test_preparations_of_several_precisions_take_turns(emulator, prepare, refusal, start_lag):
    emulator.configure(second_prepare=refusal, duration=0.6, start_lag=start_lag)
    with ThreadPoolExecutor(3) as pool:
        results = list(pool.map(lambda p: prepare(p, wait_for_completion=True), ["FP8", "FP4", "NF4"]))
    assert [result["precision"] for result in results] == ["FP8", "FP4", "NF4"]
    assert sorted(p.precision for p in emulator.preparations) == ["FP4", "FP8", "NF4"]


@pytest.mark.usefixtures("lists")
def test_preparation_that_api_dropped_is_requested_again(emulator, prepare):
    emulator.configure(second_prepare="ignored")
    with ThreadPoolExecutor(2) as pool:
        list(pool.map(lambda p: prepare(p, wait_for_completion=True), ["FP8", "FP4"]))
    assert all(emulator.is_prepared("my-model", precision) for precision in ("FP8", "FP4"))


def test_refusal_by_idle_model_is_final(emulator, prepare):
    with pytest.raises(exceptions.FireworksRefused, match=r"FAILED_PRECONDITION.*add-on") as refusal:
        prepare(model="my-addon")
    assert isinstance(refusal.value, AirflowFailException)
    assert count_requests(emulator) > 1
    assert emulator.preparations == []


@pytest.mark.parametrize("refusal", ["already_exists", "failed_precondition", "aborted"])
def test_refusal_that_says_already_prepared_is_a_success(emulator, prepare, refusal):
    emulator.configure(already_prepared=refusal)
    prepare(wait_for_completion=True)
    result = prepare()
    assert (result["precision"], result["baseline"]["posted"]) == ("FP8", "already")
    assert len(emulator.preparations) == 1


# ---- transient errors


@pytest.mark.parametrize("lists", ["present", "absent"])
@pytest.mark.parametrize(
    "fault",
    [
        {"kind": "drop", "after_work": True},
        {"kind": "status", "status": 503, "after_work": True},
        {"kind": "html", "status": 502, "after_work": True},
        {"kind": "truncate", "after_work": True},
        {"kind": "drop"},
        {"kind": "status", "status": 500},
        {"kind": "status", "status": 429, "retry_after": "0"},
        {"kind": "html", "status": 403},
    ],
    ids=fault_id,
)
def test_failed_request_makes_no_second_preparation(emulator, prepare, fault, lists):
    emulator.configure(precision_lists=lists)
    emulator.fault(**fault, method="POST", path=":prepare")
    assert prepare(wait_for_completion=True)["precision"] == "FP8"
    assert len(emulator.preparations) == 1


def test_requests_with_slow_unknown_outcomes_end_at_timeout(emulator, prepare):
    # Then the request is sent again without a pause.
    slow = FireworksPrepareModelOperator.timing.visibility_lag + 0.1
    emulator.fault("status", delay=slow, method="POST", times=-1)
    with pytest.raises(
        exceptions.FireworksTimeout,
        match=r"last seen: the API may have carried out the request all the same: .*503",
    ):
        prepare(timeout=1)
    assert count_requests(emulator) <= 2


def test_preparation_not_visible_yet_is_not_requested_again(emulator, prepare):
    emulator.configure(start_lag=0.5)
    emulator.fault("drop", method="POST", after_work=True)
    prepare(wait_for_completion=True)
    assert count_requests(emulator) == 1


def test_prepare_waits_out_failed_reads(emulator, prepare):
    emulator.fault("status", status=503, times=4, method="GET", retry_after="0")
    assert prepare(wait_for_completion=True)["precision"] == "FP8"


def test_prepare_waits_out_failed_lookup_of_account(emulator, prepare, monkeypatch):
    monkeypatch.setenv("AIRFLOW_CONN_FIREWORKS_DEFAULT", emulator.connection.replace('"demo"', '""'))
    emulator.fault("status", status=503, path="/v1/accounts?", times=4, retry_after="0")
    assert prepare()["model"] == MODEL


# ---- errors and time limits


@pytest.mark.parametrize(
    ("model", "error"),
    [
        ("no-such-model", exceptions.FireworksNotFound),
        # The public models of another account can be read, but not prepared.
        (PUBLIC, exceptions.FireworksAccessDenied),
    ],
)
def test_prepare_fails_at_once_with_error_of_api(emulator, prepare, model, error):
    with pytest.raises(error, match="HTTP 40") as failure:
        prepare(model=model)
    assert isinstance(failure.value, AirflowFailException)


def test_prepare_with_wrong_key_fails_at_once_without_showing_it(emulator, prepare):
    emulator.revoke_key()
    with pytest.raises(exceptions.FireworksAccessDenied, match="API key") as failure:
        prepare()
    assert emulator.api_key not in repr(failure.value)
    assert len(emulator.requests) == 1


def test_prepare_fails_when_key_is_revoked_during_wait(emulator, prepare):
    emulator.configure(duration=60)
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(prepare, wait_for_completion=True)
        while count_requests(emulator) == 0 or emulator.count("GET", "/models/") < 3:
            assert not waiting.done()
        emulator.revoke_key()
        with pytest.raises(exceptions.FireworksAccessDenied):
            waiting.result(timeout=5)


def test_timeout_error_says_what_was_seen_last(emulator, prepare):
    emulator.configure(duration=60)
    with pytest.raises(
        exceptions.FireworksTimeout, match=r"my-model at FP8: timeout of 1 s is over, last seen: .*PREPARING"
    ):
        prepare(wait_for_completion=True, timeout=1)


def test_timeout_ends_wait_for_another_preparation(emulator, prepare):
    emulator.configure(second_prepare="aborted", duration=60)
    prepare("FP4")
    with pytest.raises(exceptions.FireworksTimeout, match="PREPARING"):
        prepare("FP8", timeout=1)


def test_deferred_prepare_ends_by_execution_timeout(emulator):
    emulator.configure(duration=60)
    with pytest.raises(
        AirflowTaskTimeout, match=r"FP8: execution_timeout of 1 s is over, last seen: .*PREPARING"
    ):
        run_task(
            lambda: FireworksPrepareModelOperator(
                task_id="prepare",
                model="my-model",
                precision="FP8",
                wait_for_completion=True,
                deferrable=True,
                poll_interval=0.1,
                timeout=600,
                execution_timeout=timedelta(seconds=0.6),
            )
        )


def test_deferred_prepare_infers_from_preparation_seen_in_worker(emulator, prepare, monkeypatch):
    use_timing(monkeypatch, preparation_start=60)
    emulator.configure(precision_lists="absent", duration=0.4)
    # Without a response, the worker reads the model, and sees the preparation in progress.
    emulator.fault("drop", method="POST", after_work=True)
    assert prepare(wait_for_completion=True, poll_interval=0.6)["precision"] == "FP8"


# ---- arguments and events


@pytest.mark.parametrize(
    "wrong",
    [
        {"precision": "FP9"},
        {"model": "../other"},
        {"model": "my-model?x=1"},
        {"accept_precisions": ["fp8"]},
    ],
    ids=str,
)
def test_invalid_literal_fails_when_dag_is_parsed(emulator, wrong):
    arguments = {"model": "my-model", "precision": "FP8", **wrong}
    with pytest.raises(exceptions.FireworksInvalidArgument):
        FireworksPrepareModelOperator(task_id="prepare", **arguments)
    assert emulator.requests == []


@pytest.mark.parametrize(
    ("field", "rendered", "words"),
    [
        ("precision", "FP8_V22", "FP8_V2"),
        ("precision", ["FP8", "FP4"], r"expand\(precision="),
        ("model", "a/b", "Invalid model 'a/b'"),
        ("model", "my model", "Invalid model id 'my model'"),
        ("model", "accounts/a/models/..", r"Invalid model id '\.\.'"),
        ("timeout", "soon", "timeout"),
        ("poll_interval", -1, "poll_interval"),
        ("wait_for_completion", "perhaps", "wait_for_completion"),
    ],
)
def test_invalid_rendered_value_fails_before_any_request(emulator, field, rendered, words):
    def make() -> FireworksPrepareModelOperator:
        task = FireworksPrepareModelOperator(
            task_id="prepare", model="{{ params.model }}", precision="{{ params.precision }}"
        )
        task.model, task.precision = "my-model", "FP8"
        setattr(task, field, rendered)
        return task

    with pytest.raises(exceptions.FireworksInvalidArgument, match=words):
        run_task(make)
    assert emulator.requests == []


def test_unknown_precision_is_sent_if_allowed(emulator, prepare):
    with pytest.raises(exceptions.FireworksRefused, match="INVALID_ARGUMENT"):
        prepare("FP2_NEXT", allow_unknown_precision=True)
    assert emulator.requests[-1].body == {"precision": "FP2_NEXT"}


VALID = {"verdict": {"outcome": "ready", "reason": ""}, "wait": {}}


@pytest.mark.parametrize(
    ("event", "problem"),
    [
        (None, "event: Input should be a valid dictionary"),
        ({}, "verdict: Field required"),
        ({**VALID, "resume_state": {}}, "model: Field required"),
        ({**VALID, "resume_state": {"model": MODEL, "deadline": 0, "x": 1}}, "x: Extra inputs"),
    ],
    ids=str,
)
def test_invalid_event_fails_task(event, problem):
    task = FireworksPrepareModelOperator(task_id="prepare", model="my-model", precision="FP8")
    with pytest.raises(exceptions.FireworksInvalidEvent, match=f"event is invalid: {problem}"):
        task.resume_execution("execute_complete", {"event": event}, {"ti": TaskInstance()})
