from __future__ import annotations

from datetime import datetime, timedelta, timezone
from email.utils import format_datetime
from types import SimpleNamespace

import pytest
import tenacity
from hypothesis import example, given, strategies as st

from airflow_provider_fireworks.client.errors import (
    AccessDeniedError,
    ApiError,
    NoResponseError,
    NotFoundError,
    RateLimitedError,
    RefusedError,
    UnavailableError,
    UnreachableError,
    error_from_response,
)
from airflow_provider_fireworks.client.retries import (
    MAX_RETRY_AFTER,
    backoff,
    may_retry,
    retry_after,
    wait_before_retry,
    worth_a_retry,
)

NOW = 1_750_000_000.0


def http_date(seconds_from_now: float) -> str:
    return format_datetime(
        datetime.fromtimestamp(NOW, timezone.utc) + timedelta(seconds=seconds_from_now), usegmt=True
    )


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        pytest.param({}, None, id="no header"),
        pytest.param({"retry-after": "7"}, 7.0, id="seconds"),
        pytest.param({"retry-after": " 7 "}, 7.0, id="seconds between blanks"),
        pytest.param({"retry-after": "0.25"}, 0.25, id="part of a second"),
        pytest.param({"retry-after": "0"}, 0.0, id="at once"),
        pytest.param({"retry-after": "-5"}, 0.0, id="negative"),
        pytest.param({"retry-after": "3600"}, 60.0, id="an hour"),
        pytest.param({"retry-after": "9" * 400}, 60.0, id="huge"),
        pytest.param({"retry-after": "inf"}, 60.0, id="infinite"),
        pytest.param({"retry-after": "-inf"}, 0.0, id="infinitely long ago"),
        pytest.param({"retry-after": "nan"}, None, id="no number"),
        pytest.param({"retry-after": "soon"}, None, id="a word"),
        pytest.param({"retry-after": ""}, None, id="empty"),
        pytest.param({"retry-after": http_date(20)}, 20.0, id="a date to come"),
        pytest.param({"retry-after": http_date(86_400)}, 60.0, id="a date tomorrow"),
        pytest.param({"retry-after": http_date(-20)}, 0.0, id="a date that has been"),
        pytest.param({"retry-after": "Mon, 99 Foo 2026 99:99:99 GMT"}, None, id="a date that is none"),
        pytest.param({"retry-after-ms": "1500"}, 1.5, id="milliseconds"),
        pytest.param({"retry-after-ms": "1500", "retry-after": "9"}, 1.5, id="milliseconds go first"),
        pytest.param({"retry-after-ms": "junk", "retry-after": "9"}, 9.0, id="unless they make no sense"),
        pytest.param({"retry-after-ms": "nan", "retry-after": "9"}, 9.0, id="or are no number"),
        pytest.param({"retry-after-ms": "", "retry-after": "9"}, 9.0, id="or are empty"),
        pytest.param({"retry-after-ms": "9000000"}, 60.0, id="many milliseconds"),
    ],
)
def test_what_the_headers_ask_for(headers, seconds):
    assert retry_after(headers, now=NOW) == seconds


@given(value=st.text(), now=st.floats(0, 4e9))
@example(value=",", now=NOW)
@example(value="Mon, 01 Jan 0001 00:00:00 -0000", now=NOW)
@example(value="Fri, 31 Dec 9999 23:59:59 -2359", now=NOW)
@example(value="1 Jan 2026 00:00:00 +99999999999", now=NOW)
def test_no_header_asks_for_more_than_a_minute_or_breaks_anything(value, now):
    for name in ("retry-after", "retry-after-ms"):
        wait = retry_after({name: value}, now=now)
        assert wait is None or 0 <= wait <= MAX_RETRY_AFTER


@pytest.mark.parametrize(
    ("error", "read", "write"),
    [
        pytest.param(UnreachableError("refused"), True, True, id="connection refused"),
        pytest.param(NoResponseError("read timeout"), True, False, id="answer lost"),
        pytest.param(408, True, False, id="408"),
        pytest.param(429, True, True, id="429"),
        pytest.param(500, True, False, id="500"),
        pytest.param(502, True, False, id="502"),
        pytest.param(503, True, False, id="503"),
        pytest.param(504, True, False, id="504"),
        pytest.param(302, True, False, id="redirect"),
        pytest.param(400, False, False, id="400"),
        pytest.param(401, False, False, id="401"),
        pytest.param(403, False, False, id="403"),
        pytest.param(404, False, False, id="404"),
        pytest.param(409, False, False, id="409"),
    ],
)
def test_what_may_be_sent_again_without_looking(error, read, write):
    if isinstance(error, int):
        error = error_from_response("GET /", error, {}, b'{"code": 13, "message": "m"}')
    assert may_retry(error, writes=False) is read
    assert may_retry(error, writes=True) is write
    assert worth_a_retry(writes=False)(error) is read
    assert worth_a_retry(writes=True)(error) is write


@pytest.mark.parametrize("error", [ValueError("x"), KeyboardInterrupt(), tenacity.RetryError(None)])
def test_what_is_no_error_of_the_gateway_is_not_tried_again(error):
    assert worth_a_retry(writes=False)(error) is False


@pytest.mark.parametrize(
    ("failures", "seconds"), [(1, 0.5), (2, 1), (3, 2), (4, 4), (5, 8), (6, 8), (50, 8), (100_000, 8)]
)
def test_the_backoff_doubles_up_to_its_longest(failures, seconds):
    error = UnavailableError("m")
    assert backoff(error, failures, longest=8, jitter=0) == seconds
    assert backoff(error, failures, longest=8, jitter=1) == seconds * 0.75


@given(
    failures=st.integers(1, 10**6),
    longest=st.floats(0.5, 1e4),
    jitter=st.floats(0, 1),
    asked=st.none() | st.floats(0, 60),
)
def test_the_gateway_is_never_asked_sooner_than_it_wants(failures, longest, jitter, asked):
    wait = backoff(RateLimitedError("m", retry_after=asked), failures, longest=longest, jitter=jitter)
    assert (asked or 0) <= wait <= max(longest, asked or 0)
    assert wait >= 0.5 * 0.75


def attempt(number: int, error: BaseException | None) -> tenacity.RetryCallState:
    future: tenacity.Future = tenacity.Future(number)
    future.set_exception(error) if error else future.set_result(None)
    return SimpleNamespace(outcome=future, attempt_number=number)


@pytest.mark.parametrize("number", [1, 2, 3, 10])
def test_between_the_attempts_of_one_call_it_backs_off_for_eight_seconds_at_most(number):
    grown = max(min(0.5 * 2 ** (number - 1), 8), 1)
    for _ in range(50):
        assert max(grown * 0.75, 1) <= wait_before_retry(attempt(number, UnavailableError("m"))) <= grown


def test_between_the_attempts_of_one_call_it_waits_as_long_as_it_is_asked_to():
    assert wait_before_retry(attempt(1, RateLimitedError("m", retry_after=33))) == 33


def test_the_pauses_of_calls_that_failed_together_differ():
    assert len({wait_before_retry(attempt(3, UnavailableError("m"))) for _ in range(20)}) > 1


def test_without_an_error_there_is_nothing_to_wait_for():
    assert wait_before_retry(attempt(1, None)) == 0
    assert wait_before_retry(SimpleNamespace(outcome=None, attempt_number=1)) == 0


@pytest.mark.parametrize("kind", [AccessDeniedError, NotFoundError, RefusedError, ApiError])
def test_what_is_final_is_not_tried_again_even_if_it_asks_to_wait(kind):
    assert may_retry(kind("m", retry_after=1), writes=False) is False
