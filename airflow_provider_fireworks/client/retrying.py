"""Whether a failed call may be made again, and after how long. Pure functions; the sleeping is done elsewhere."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING

from airflow_provider_fireworks.client.errors import GatewayError

if TYPE_CHECKING:
    from tenacity import RetryCallState

LONGEST_RETRY_AFTER = 60.0
"""Seconds: however long the gateway asks to be left alone, this is as much of it as is honoured at once."""

SHORTEST_WAIT = 1.0
"""Seconds between two attempts of one call: no task asks the gateway more often than that."""

_FIRST_BACKOFF = 0.5


def retry_after(headers: Mapping[str, str], *, now: float) -> float | None:
    """
    Return the seconds (0 to 60) that an answer asks to wait: ``retry-after-ms``, else ``Retry-After``.

    :param headers: the answer's headers, by lower-case name. A value that makes no sense counts as absent.
    :param now: seconds since the epoch, for a ``Retry-After`` that is a date.
    """
    for name, seconds_per_unit in (("retry-after-ms", 0.001), ("retry-after", 1.0)):
        value = headers.get(name, "").strip()
        if not value:
            continue
        try:
            wait = float(value) * seconds_per_unit
        except ValueError:
            try:
                wait = parsedate_to_datetime(value).timestamp() - now
            except (ValueError, TypeError, OverflowError):
                continue
        if wait == wait:  # not NaN, which float() takes
            return min(max(wait, 0.0), LONGEST_RETRY_AFTER)
    return None


def may_retry(error: GatewayError, *, writes: bool) -> bool:
    """
    Return whether the same call may be sent again without looking first.

    :param error: how it ended.
    :param writes: whether it changes anything: then only what the gateway cannot have acted on is repeated.
    """
    return error.blip and not (writes and error.may_have_acted)


def worth_a_retry(*, writes: bool) -> Callable[[BaseException], bool]:
    """Return :func:`may_retry` as tenacity asks it."""
    return lambda error: isinstance(error, GatewayError) and may_retry(error, writes=writes)


def wait_before_retry(state: RetryCallState) -> float:
    """Return the seconds before the next attempt of one call, as tenacity asks for them."""
    error = state.outcome.exception() if state.outcome else None
    if not isinstance(error, GatewayError):
        return 0.0
    wait = backoff(error, state.attempt_number, longest=8.0, jitter=random.random())
    return max(wait, SHORTEST_WAIT)


def backoff(error: GatewayError, failures: int, *, longest: float, jitter: float) -> float:
    """
    Return the seconds to wait after a failed call: what the gateway asked for, at least an exponential backoff.

    :param error: how the last call ended.
    :param failures: how many calls in a row have failed so, 1 or more.
    :param longest: seconds; the backoff grows no further.
    :param jitter: 0 to 1, random: takes up to a quarter off the backoff.
    """
    grown = min(_FIRST_BACKOFF * 2.0 ** min(failures - 1, 32), longest) * (1 - jitter / 4)
    return max(grown, error.retry_after or 0.0)
