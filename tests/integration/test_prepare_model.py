"""The prepare operator, in a worker and deferred, with the API's own record as the proof."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import AirflowFailException, AirflowTaskTimeout, TaskDeferred

from airflow_provider_fireworks import exceptions
from airflow_provider_fireworks.models import preparation
from airflow_provider_fireworks.operators.model import FireworksPrepareModelOperator
from tests.integration.conftest import MODEL, TaskInstance, run_task
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


def posts(emulator: Any) -> int:
    return emulator.count("POST", ":prepare")


def test_asks_once_and_returns_the_arguments_of_the_sensor(emulator, prepare):
    result = prepare()
    assert (result["model"], result["precision"]) == (MODEL, "FP8")
    assert result["baseline"]["posted"] == "accepted"
    assert result["baseline"]["state"] == "READY"
    assert [(p.model, p.precision) for p in emulator.preparations] == [("my-model", "FP8")]
    assert emulator.count("GET", "/models/") == 1


def test_posts_nothing_for_what_is_proven(emulator, prepare):
    result = prepare("FP16")
    assert result["precision"] == "FP16"
    assert result["baseline"]["posted"] is None
    assert posts(emulator) == 0


def test_an_accepted_precision_that_is_there_is_taken(emulator, prepare):
    assert prepare("FP8", accept_precisions=["FP16"])["precision"] == "FP16"
    assert posts(emulator) == 0


@pytest.mark.parametrize("lists", ["present", "empty", "absent"])
def test_waits_for_completion(emulator, prepare, lists):
    emulator.configure(precision_lists=lists)
    result = prepare(wait_for_completion=True)
    assert result["precision"] == "FP8"
    assert emulator.model("my-model")["state"] == "READY"
    assert posts(emulator) == 1


@pytest.mark.parametrize("outcome", ["failed_status", "failed_state"])
@pytest.mark.parametrize("lists", ["present", "absent"])
def test_a_failed_preparation_fails_in_the_gateways_words_and_can_be_retried(
    emulator, prepare, outcome, lists
):
    emulator.configure(outcome=outcome, precision_lists=lists)
    with pytest.raises(exceptions.FireworksPreparationFailed, match=r"INTERNAL|status") as failure:
        prepare(wait_for_completion=True)
    assert emulator.model("my-model")["status"]["message"] in str(failure.value)
    assert not isinstance(failure.value, AirflowFailException)
    emulator.configure(outcome="ok")
    assert prepare(wait_for_completion=True)["precision"] == "FP8"


def test_what_ends_without_its_precision_is_posted_once_more(emulator, prepare):
    emulator.configure(outcome="without_precision")
    with pytest.raises(exceptions.FireworksPreparationFailed, match="finished without FP8"):
        prepare(wait_for_completion=True)
    assert posts(emulator) == 2


@pytest.mark.parametrize("refusal", ["aborted", "already_exists", "failed_precondition"])
@pytest.mark.parametrize("lag", [0, 0.4], ids=["at once", "with a start lag"])
def test_several_precisions_at_once_take_turns(emulator, prepare, refusal, lag):
    emulator.configure(second_prepare=refusal, duration=0.6, start_lag=lag)
    with ThreadPoolExecutor(3) as pool:
        results = list(pool.map(lambda p: prepare(p, wait_for_completion=True), ["FP8", "FP4", "NF4"]))
    assert [result["precision"] for result in results] == ["FP8", "FP4", "NF4"]
    assert sorted(p.precision for p in emulator.preparations) == ["FP4", "FP8", "NF4"]


def test_a_second_preparation_that_is_silently_dropped_is_asked_for_again(emulator, prepare):
    emulator.configure(second_prepare="ignored")
    with ThreadPoolExecutor(2) as pool:
        list(pool.map(lambda p: prepare(p, wait_for_completion=True), ["FP8", "FP4"]))
    assert {"FP8", "FP4"} <= set(emulator.model("my-model")["supportedPrecisions"])


def test_a_refusal_with_nothing_in_preparation_is_final(emulator, prepare):
    emulator.configure(precision_lists="absent", already_prepared="failed_precondition", outcome="ok")
    prepare(wait_for_completion=True)
    with pytest.raises(exceptions.FireworksRefused, match="FAILED_PRECONDITION") as refusal:
        prepare()
    assert isinstance(refusal.value, AirflowFailException)
    assert len(emulator.preparations) == 1


def test_already_is_taken_for_an_answer(emulator, prepare):
    emulator.configure(precision_lists="absent", already_prepared="already_exists")
    prepare(wait_for_completion=True)
    assert prepare()["baseline"]["posted"] == "already"


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
    ids=lambda fault: " ".join(str(value) for value in fault.values()),
)
def test_a_lost_answer_makes_no_second_preparation(emulator, prepare, fault, lists):
    emulator.configure(precision_lists=lists)
    emulator.fault(**fault, method="POST", path=":prepare")
    assert prepare(wait_for_completion=True)["precision"] == "FP8"
    assert len(emulator.preparations) == 1


def test_posts_that_are_lost_slowly_end_at_the_deadline_too(emulator, prepare):
    emulator.fault("status", delay=preparation.START_LAG + 0.1, method="POST", times=-1)
    with pytest.raises(
        exceptions.FireworksTimeout, match=r"last seen: It may have worked nevertheless: .*503"
    ):
        prepare(timeout=1)
    assert posts(emulator) <= 2


def test_a_start_lag_shorter_than_the_looks_makes_no_second_post(emulator, prepare):
    emulator.configure(start_lag=0.5)
    emulator.fault("drop", method="POST", after_work=True)
    prepare(wait_for_completion=True)
    assert posts(emulator) == 1


def test_reading_goes_on_over_blips(emulator, prepare):
    emulator.fault("status", status=503, times=4, method="GET", retry_after="0")
    assert prepare(wait_for_completion=True)["precision"] == "FP8"


@pytest.mark.parametrize(
    ("model", "error"),
    [
        ("no-such-model", exceptions.FireworksNotFound),
        # Other people's public models can be read, and not prepared.
        (PUBLIC, exceptions.FireworksAccessDenied),
    ],
)
def test_fails_at_once_with_the_gateways_words(emulator, prepare, model, error):
    with pytest.raises(error) as failure:
        prepare(model=model)
    assert isinstance(failure.value, AirflowFailException)
    assert "HTTP 40" in str(failure.value)


def test_a_wrong_key_fails_at_once_and_is_not_shown(emulator, prepare):
    emulator.revoke_key()
    with pytest.raises(exceptions.FireworksAccessDenied) as failure:
        prepare()
    assert "API key" in str(failure.value)
    assert emulator.api_key not in repr(failure.value)
    assert len(emulator.requests) == 1


def test_a_key_revoked_while_waiting_ends_the_wait(emulator, prepare):
    emulator.configure(duration=60)
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(prepare, wait_for_completion=True)
        while posts(emulator) == 0 or emulator.count("GET", "/models/") < 3:
            assert not waiting.done()
        emulator.revoke_key()
        with pytest.raises(exceptions.FireworksAccessDenied):
            waiting.result(timeout=5)


def test_the_timeout_says_what_was_waited_for_and_last_seen(emulator, prepare):
    emulator.configure(duration=60)
    with pytest.raises(
        exceptions.FireworksTimeout, match=r"my-model at FP8: timeout of 1 s is over, last seen: .*PREPARING"
    ):
        prepare(wait_for_completion=True, timeout=1)


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


def test_deferred_prepare_needs_no_grace_for_what_it_saw_running(emulator, prepare, monkeypatch):
    use_timing(monkeypatch, preparation_start=60)
    emulator.configure(precision_lists="absent", duration=0.4)
    # The response is lost, so the worker looks what became of the request, and sees it running.
    emulator.fault("drop", method="POST", after_work=True)
    assert prepare(wait_for_completion=True, poll_interval=0.6)["precision"] == "FP8"


def test_waiting_for_its_turn_ends_with_the_timeout(emulator, prepare):
    emulator.configure(second_prepare="aborted", duration=60)
    prepare("FP4")
    with pytest.raises(exceptions.FireworksTimeout, match="PREPARING"):
        prepare("FP8", timeout=1)


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
def test_bad_literals_are_refused_when_the_dag_is_parsed(emulator, wrong):
    arguments = {"model": "my-model", "precision": "FP8", **wrong}
    with pytest.raises(exceptions.FireworksInvalidArgument):
        FireworksPrepareModelOperator(task_id="prepare", **arguments)
    assert emulator.requests == []


@pytest.mark.parametrize(
    ("field", "rendered", "told"),
    [
        ("precision", "FP8_V22", "FP8_V2"),
        ("precision", ["FP8", "FP4"], r"expand\(precision="),
        ("model", "a/b", "is no model"),
        ("model", "my model", "is no model id"),
        ("model", "accounts/a/models/..", "is no model id"),
        ("timeout", "soon", "timeout"),
        ("poll_interval", -1, "poll_interval"),
        ("wait_for_completion", "perhaps", "wait_for_completion"),
    ],
)
def test_bad_renderings_are_refused_before_anything_is_sent(emulator, field, rendered, told):
    def make() -> FireworksPrepareModelOperator:
        task = FireworksPrepareModelOperator(
            task_id="prepare", model="{{ params.model }}", precision="{{ params.precision }}"
        )
        task.model, task.precision = "my-model", "FP8"
        setattr(task, field, rendered)
        return task

    with pytest.raises(exceptions.FireworksInvalidArgument, match=told):
        run_task(make)
    assert emulator.requests == []


def test_a_newer_precision_can_be_passed(emulator, prepare):
    with pytest.raises(exceptions.FireworksRefused, match="INVALID_ARGUMENT"):
        prepare("FP2_NEXT", allow_unknown_precision=True)
    assert emulator.requests[-1].body == {"precision": "FP2_NEXT"}


@pytest.mark.parametrize(
    "event",
    [
        None,
        {},
        {"resume_state": {}},
        {"resume_state": {}, "verdict": {"outcome": "ready", "reason": ""}},
        "ready",
    ],
    ids=str,
)
def test_an_event_that_makes_no_sense_fails_the_task(emulator, event):
    emulator.configure(duration=60)
    task = FireworksPrepareModelOperator(
        task_id="prepare", model="my-model", precision="FP8", wait_for_completion=True, deferrable=True
    )
    with pytest.raises(TaskDeferred):
        task.execute({"ti": TaskInstance()})
    with pytest.raises(exceptions.FireworksInvalidEvent):
        task.resume_execution("execute_complete", {"event": event}, {})
