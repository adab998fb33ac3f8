from __future__ import annotations

import json
from datetime import timedelta
from typing import ClassVar

import pytest
from hypothesis import given, strategies as st
from pydantic import ValidationError

from airflow_provider_fireworks.client.errors import (
    AccessDeniedError,
    ConnectError,
    NoResponseError,
    NotFoundError,
    QuotaExceededError,
    RateLimitedError,
    RefusedError,
    UnavailableError,
)
from airflow_provider_fireworks.polling import Outcome, ResponseWait, Verdict, Wait
from airflow_provider_fireworks.timing import DEFAULT_TIMING

NOW = 1_750_000_000.0
JITTER = 0.1
PENDING = Verdict(Outcome.PENDING, "its state is NEW")
READY = Verdict(Outcome.READY, "its state is READY")
TRANSIENT = [
    ConnectError("refused"),
    NoResponseError("cut off"),
    UnavailableError("bad gateway", status=502),
    RateLimitedError("slow down", status=429),
]


class ExampleWait(Wait):
    """A wait whose results are verdicts already."""

    resource: ClassVar[str] = "example"

    @property
    def subject(self) -> str:
        return "example"

    @property
    def goal(self) -> str:
        return "the example to be ready"

    def _judge(self, result: Verdict, now: float) -> Verdict:
        return result


def new_wait(**fields) -> ExampleWait:
    return ExampleWait(**{"deadline": NOW + 7200, "poll_interval": 30} | fields)


def resumed(wait: ExampleWait) -> ExampleWait:
    """Return the wait as it continues elsewhere."""
    return ExampleWait.model_validate(json.loads(json.dumps(wait.to_arguments())))


# ---- verdicts


@pytest.mark.parametrize("outcome", Outcome)
def test_verdict_is_terminal_unless_pending(outcome):
    assert Verdict(outcome, "r").is_terminal is (outcome is not Outcome.PENDING)


@pytest.mark.parametrize(
    ("error", "outcome"),
    [
        *((error, Outcome.PENDING) for error in TRANSIENT),
        (AccessDeniedError("bad key", status=401), Outcome.ACCESS_DENIED),
        (NotFoundError("no such model", status=404), Outcome.NOT_FOUND),
        (RefusedError("bad request", status=400), Outcome.REFUSED),
        (QuotaExceededError("no GPUs left", status=429), Outcome.REFUSED),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Exception) else value.value,
)
def test_observe_judges_error(error, outcome):
    verdict = new_wait().observe(error, NOW)
    assert verdict.outcome is outcome
    assert str(error) in verdict.reason


@pytest.mark.parametrize("error", TRANSIENT, ids=lambda error: type(error).__name__)
def test_transient_errors_never_end_wait_before_deadline(error):
    wait = new_wait()
    assert {wait.observe(error, NOW + at).outcome for at in range(0, 7200, 9)} == {Outcome.PENDING}
    assert wait.observe(READY, NOW + 7199) is READY


@pytest.mark.parametrize("result", [PENDING, *TRANSIENT], ids=lambda result: type(result).__name__)
def test_deadline_ends_wait_with_what_was_seen_last(result):
    assert new_wait().observe(result, NOW + 7199.9).outcome is Outcome.PENDING
    timeout = new_wait().observe(result, NOW + 7200)
    assert timeout.outcome is Outcome.TIMEOUT
    assert timeout.reason.startswith("last seen: ")
    assert len(timeout.reason) > len("last seen: ")


@pytest.mark.parametrize(
    ("result", "outcome"),
    [
        (READY, Outcome.READY),
        (Verdict(Outcome.FAILED, "r"), Outcome.FAILED),
        (AccessDeniedError("m"), Outcome.ACCESS_DENIED),
        (NotFoundError("m"), Outcome.NOT_FOUND),
    ],
    ids=lambda value: value.value if isinstance(value, Outcome) else "",
)
def test_terminal_verdict_after_deadline_is_kept(result, outcome):
    assert new_wait().observe(result, NOW + 99_999).outcome is outcome


# ---- delays


def is_delayed(wait: Wait, seconds: float, now: float = NOW) -> bool:
    return all(seconds <= wait.next_delay(now) <= seconds * (1 + JITTER) for _ in range(30))


def test_delay_is_poll_interval_with_jitter():
    assert is_delayed(new_wait(), 30)
    assert len({new_wait().next_delay(NOW) for _ in range(20)}) > 1


@pytest.mark.parametrize("poll_interval", [0, 0.001, -5])
def test_delay_has_minimum(poll_interval):
    assert is_delayed(new_wait(poll_interval=poll_interval), DEFAULT_TIMING.min_poll_delay)


def test_delay_ends_with_deadline():
    assert new_wait().next_delay(NOW + 7195) == 5
    assert new_wait().next_delay(NOW + 7200) == 0
    assert new_wait().next_delay(NOW + 9999) == 0


@pytest.mark.parametrize(
    ("exponential", "max_interval", "delays"),
    [
        (False, None, [10, 10, 10, 10]),
        (True, None, [10, 10, 20, 40, 80]),
        (True, 25, [10, 10, 20, 25, 25]),
    ],
)
def test_exponential_delay_doubles_up_to_max_interval(exponential, max_interval, delays):
    wait = new_wait(poll_interval=10, exponential=exponential, max_interval=max_interval)
    for seconds in delays:
        assert is_delayed(wait, seconds)
        wait.observe(PENDING, NOW)


def test_delay_grows_with_transient_errors_and_is_reset_by_response():
    wait = new_wait(poll_interval=1)
    for failures in range(1, 12):
        wait.observe(UnavailableError("m"), NOW)
        longest = max(1, min(0.5 * 2 ** (failures - 1), DEFAULT_TIMING.max_poll_backoff))
        for _ in range(20):
            assert max(1, longest * 0.75) <= wait.next_delay(NOW) <= longest * (1 + JITTER)
    wait.observe(PENDING, NOW)
    assert is_delayed(wait, 1)
    wait.observe(UnavailableError("m"), NOW)
    assert is_delayed(wait, 1)


def test_delay_respects_retry_after_until_next_response():
    wait = new_wait(poll_interval=5)
    wait.observe(RateLimitedError("m", retry_after=45), NOW)
    assert is_delayed(wait, 45)
    wait.observe(PENDING, NOW)
    assert is_delayed(wait, 5)


@given(
    poll_interval=st.floats(0, 1e6),
    exponential=st.booleans(),
    max_interval=st.none() | st.floats(0, 1e5),
    polls=st.lists(st.none() | st.floats(0, 60), max_size=60),
    left=st.floats(-100, 1e6),
)
def test_delay_is_never_too_short_and_never_beyond_deadline(
    poll_interval, exponential, max_interval, polls, left
):
    wait = new_wait(
        poll_interval=poll_interval, exponential=exponential, max_interval=max_interval, deadline=NOW + 1e7
    )
    for retry_after in polls:
        throttled = RateLimitedError("m", retry_after=retry_after)
        wait.observe(PENDING if retry_after is None else throttled, NOW)
    wait.deadline = NOW + left
    delay = wait.next_delay(NOW)
    remaining = max(wait.deadline - NOW, 0)
    assert 0 <= delay <= remaining
    if remaining > DEFAULT_TIMING.min_poll_delay:
        assert delay >= DEFAULT_TIMING.min_poll_delay
    if polls and polls[-1] is not None:
        assert delay >= min(polls[-1], remaining)
    if not exponential and not polls:
        assert delay >= min(poll_interval, remaining)


# ---- over a deferral


def test_deferral_outlasts_deadline():
    slack = timedelta(seconds=DEFAULT_TIMING.deferral_slack)
    assert new_wait().deferral_timeout(NOW) == timedelta(hours=2) + slack
    assert new_wait().deferral_timeout(NOW + 9999) == slack


@pytest.mark.parametrize(
    "fields",
    [{}, {"until": "response", "has_responded": True}, {"exponential": True, "max_interval": 600.0}],
    ids=str,
)
def test_wait_survives_json(fields):
    wait = new_wait(**fields)
    assert resumed(wait) == wait
    assert "timing" not in wait.to_arguments()


def test_retry_after_is_respected_after_deferral():
    wait = new_wait(poll_interval=5)
    wait.observe(RateLimitedError("m", retry_after=45), NOW)
    elsewhere = resumed(wait)
    assert is_delayed(elsewhere, 35, NOW + 10)
    # The other clock is far behind.
    assert elsewhere.next_delay(NOW - 1e6) <= DEFAULT_TIMING.max_retry_after * (1 + JITTER)
    elsewhere.observe(PENDING, NOW + 46)
    assert is_delayed(elsewhere, 5)
    assert "retry_not_before" not in elsewhere.to_arguments()


def test_unknown_field_of_wait_is_invalid():
    with pytest.raises(ValidationError):
        new_wait(api_key="fw_x")


# ---- log lines


@pytest.mark.parametrize(
    ("poll_interval", "logged_at"),
    [(60, [0, 600, 1200, 1800]), (2, [0, 300, 600])],
    ids=["every tenth poll", "every five minutes"],
)
def test_log_line_of_unchanged_wait_is_rare(poll_interval, logged_at):
    wait = new_wait()
    seconds = range(0, logged_at[-1] + 1, poll_interval)
    assert [at for at in seconds if wait.log_line(wait.observe(PENDING, NOW + at), NOW + at)] == logged_at


def test_log_line_is_due_when_reason_changes():
    wait = new_wait()
    lines = [
        wait.log_line(wait.observe(Verdict(Outcome.PENDING, reason), NOW + at), NOW + at)
        for at, reason in enumerate(["its state is NEW", "its state is NEW", "its state is PREPARING"])
    ]
    assert lines == [
        "example: its state is NEW. 2:00:00 left.",
        None,
        "example: its state is PREPARING. 1:59:58 left.",
    ]


def test_log_line_ignores_request_id():
    wait = new_wait()
    lines = [
        wait.log_line(wait.observe(UnavailableError("away", request_id=str(at)), NOW + at), NOW + at)
        for at in range(3)
    ]
    assert [line is not None for line in lines] == [True, False, False]


def test_log_line_is_short_with_single_punctuation():
    wait = new_wait()
    verdict = Verdict(Outcome.PENDING, "has it been prepared?")
    assert wait.log_line(verdict, NOW) == "example: has it been prepared? 2:00:00 left."
    assert len(wait.log_line(Verdict(Outcome.PENDING, "x" * 900), NOW)) < 210


# ---- a Base URL that leads elsewhere

MISDIRECTED = UnavailableError("redirected", status=302, misdirected=True)


def test_misdirected_wait_ends_after_five_minutes():
    wait = new_wait()
    outcomes = [wait.observe(MISDIRECTED, NOW + at).outcome for at in (0, 100, 299, 300)]
    assert outcomes == [Outcome.PENDING] * 3 + [Outcome.UNREACHABLE]


def test_misdirected_wait_ends_five_minutes_after_start_over_deferral():
    wait = new_wait()
    wait.observe(MISDIRECTED, NOW)
    assert resumed(wait).observe(MISDIRECTED, NOW + 301).outcome is Outcome.UNREACHABLE


@pytest.mark.parametrize(
    "response", [PENDING, UnavailableError("away", code="UNAVAILABLE")], ids=["success", "error of the API"]
)
def test_misdirected_wait_continues_once_api_has_responded(response):
    wait = new_wait()
    wait.observe(response, NOW)
    wait.observe(MISDIRECTED, NOW + 1)
    assert resumed(wait).observe(MISDIRECTED, NOW + 1000).outcome is Outcome.PENDING


def test_misdirected_time_restarts_after_another_error():
    wait = new_wait()
    wait.observe(MISDIRECTED, NOW)
    wait.observe(TRANSIENT[0], NOW + 200)
    assert wait.observe(MISDIRECTED, NOW + 301).outcome is Outcome.PENDING


def test_misdirected_wait_polls_when_five_minutes_are_over():
    wait = new_wait(poll_interval=600)
    wait.observe(MISDIRECTED, NOW)
    assert is_delayed(wait, 100, NOW + 200)


# ---- ResponseWait


def test_response_wait_ends_with_first_response():
    wait = ResponseWait(about="my-model", deadline=NOW + 7200, poll_interval=30)
    pending = wait.observe(TRANSIENT[2], NOW)
    assert pending.outcome is Outcome.PENDING
    assert wait.log_line(pending, NOW) == "my-model: HTTP 502: bad gateway. 2:00:00 left."
    assert wait.goal == "a response about my-model"
    assert wait.observe(None, NOW + 1).outcome is Outcome.READY
