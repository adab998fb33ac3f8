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
    ConnectError,
    NoResponseError,
    NotFoundError,
    RateLimitedError,
    RefusedError,
    UnavailableError,
    error_from_response,
)
from airflow_provider_fireworks.client.retries import (
    backoff,
    delay_before_retry,
    may_retry,
    parse_retry_after,
)
from airflow_provider_fireworks.timing import DEFAULT_TIMING

NOW = 1_750_000_000.0


# ---- Retry-After


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
        pytest.param({"retry-after": "0.25"}, 0.25, id="fraction of a second"),
        pytest.param({"retry-after": "0"}, 0.0, id="zero"),
        pytest.param({"retry-after": "-5"}, 0.0, id="negative"),
        pytest.param({"retry-after": "3600"}, 60.0, id="hour"),
        pytest.param({"retry-after": "9" * 400}, 60.0, id="huge"),
        pytest.param({"retry-after": "inf"}, 60.0, id="infinite"),
        pytest.param({"retry-after": "-inf"}, 0.0, id="negative infinite"),
        pytest.param({"retry-after": "nan"}, None, id="not a number"),
        pytest.param({"retry-after": "soon"}, None, id="word"),
        pytest.param({"retry-after": ""}, None, id="empty"),
        pytest.param({"retry-after": http_date(20)}, 20.0, id="date in 20 s"),
        pytest.param({"retry-after": http_date(86_400)}, 60.0, id="date tomorrow"),
        pytest.param({"retry-after": http_date(-20)}, 0.0, id="past date"),
        pytest.param({"retry-after": "Mon, 99 Foo 2026 99:99:99 GMT"}, None, id="invalid date"),
        pytest.param({"retry-after-ms": "1500"}, 1.5, id="milliseconds"),
        pytest.param({"retry-after-ms": "1500", "retry-after": "9"}, 1.5, id="milliseconds come first"),
        pytest.param({"retry-after-ms": "junk", "retry-after": "9"}, 9.0, id="invalid milliseconds"),
        pytest.param({"retry-after-ms": "nan", "retry-after": "9"}, 9.0, id="milliseconds not a number"),
        pytest.param({"retry-after-ms": "", "retry-after": "9"}, 9.0, id="empty milliseconds"),
        pytest.param({"retry-after-ms": "9000000"}, 60.0, id="many milliseconds"),
    ],
)
def test_retry_after_is_parsed_and_limited(headers, seconds):
    assert parse_retry_after(headers, now=NOW, longest=60.0) == seconds


@given(value=st.text(), now=st.floats(0, 4e9), longest=st.floats(0, 1e6))
@example(value=",", now=NOW, longest=60.0)
@example(value="Mon, 01 Jan 0001 00:00:00 -0000", now=NOW, longest=60.0)
@example(value="Fri, 31 Dec 9999 23:59:59 -2359", now=NOW, longest=60.0)
@example(value="1 Jan 2026 00:00:00 +99999999999", now=NOW, longest=60.0)
def test_retry_after_of_any_text_stays_within_its_limit(value, now, longest):
    for name in ("retry-after", "retry-after-ms"):
        wait = parse_retry_after({name: value}, now=now, longest=longest)
        assert wait is None or 0 <= wait <= longest


# ---- whether to retry


@pytest.mark.parametrize(
    ("error", "read", "write"),
    [
        pytest.param(ConnectError("refused"), True, True, id="connection refused"),
        pytest.param(NoResponseError("read timeout"), True, False, id="no response"),
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
def test_retry_is_safe_for_reads_and_for_some_writes(error, read, write):
    if isinstance(error, int):
        error = error_from_response("GET /", error, {}, b'{"code": 13, "message": "m"}')
    assert may_retry(error, writes=False) is read
    assert may_retry(error, writes=True) is write


@pytest.mark.parametrize("kind", [AccessDeniedError, NotFoundError, RefusedError, ApiError])
def test_final_error_is_not_retried_despite_retry_after(kind):
    assert may_retry(kind("m", retry_after=1), writes=False) is False


# ---- when to retry


@pytest.mark.parametrize(
    ("failures", "seconds"), [(1, 0.5), (2, 1), (3, 2), (4, 4), (5, 8), (6, 8), (50, 8), (100_000, 8)]
)
def test_backoff_doubles_up_to_its_longest(failures, seconds):
    error = UnavailableError("m")
    assert backoff(error, failures, first=0.5, longest=8, jitter=0) == seconds
    assert backoff(error, failures, first=0.5, longest=8, jitter=1) == seconds * 0.75


@given(
    failures=st.integers(1, 10**6),
    longest=st.floats(0.5, 1e4),
    jitter=st.floats(0, 1),
    requested=st.none() | st.floats(0, 60),
)
def test_backoff_is_at_least_what_the_api_asks_for(failures, longest, jitter, requested):
    error = RateLimitedError("m", retry_after=requested)
    wait = backoff(error, failures, first=0.5, longest=longest, jitter=jitter)
    assert (requested or 0) <= wait <= max(longest, requested or 0)
    assert wait >= 0.5 * 0.75


def delay_after(number: int, error: BaseException | None) -> float:
    """Return the delay after an attempt with that number and outcome, as tenacity asks for it."""
    future: tenacity.Future = tenacity.Future(number)
    future.set_exception(error) if error else future.set_result(None)
    return delay_before_retry(SimpleNamespace(outcome=future, attempt_number=number), DEFAULT_TIMING)


@pytest.mark.parametrize("number", [1, 2, 3, 10])
def test_delay_before_retry_is_between_one_and_eight_seconds(number):
    grown = max(min(0.5 * 2 ** (number - 1), 8), 1)
    for _ in range(50):
        assert max(grown * 0.75, 1) <= delay_after(number, UnavailableError("m")) <= grown


def test_delay_before_retry_is_what_the_api_asks_for():
    assert delay_after(1, RateLimitedError("m", retry_after=33)) == 33


def test_delay_before_retry_has_jitter():
    assert len({delay_after(3, UnavailableError("m")) for _ in range(20)}) > 1


def test_delay_before_retry_is_zero_without_an_api_error():
    assert delay_after(1, None) == 0
    assert delay_after(1, ValueError("x")) == 0
    assert delay_before_retry(SimpleNamespace(outcome=None, attempt_number=1), DEFAULT_TIMING) == 0
