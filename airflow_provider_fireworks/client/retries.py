"""Whether and when to send a failed request again: pure functions, whose callers sleep."""

from __future__ import annotations

import random
from collections.abc import Mapping
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING

from airflow_provider_fireworks.client.errors import ApiError
from airflow_provider_fireworks.client.files import SourceError

if TYPE_CHECKING:
    import tenacity

    from airflow_provider_fireworks.timing import Timing


def parse_retry_after(headers: Mapping[str, str], *, now: float, longest: float) -> float | None:
    """
    Return the seconds that a response asks to wait: ``retry-after-ms``, else ``Retry-After``.

    :param headers: by lower-case name. An invalid value counts as absent.
    :param now: seconds since the epoch, for a ``Retry-After`` that is a date.
    :param longest: the most seconds to return.
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
        if wait == wait:  # float() accepts "nan", which is not equal to itself
            return min(max(wait, 0.0), longest)
    return None


def may_retry(error: ApiError, *, writes: bool) -> bool:
    """
    Return whether a failed request may be sent again without reading the resource first.

    :param writes: whether the request changes anything: then only if the API cannot have carried it out.
    """
    return error.is_transient and not (writes and error.outcome_unknown)


def backoff(
    error: ApiError | SourceError, failures: int, *, first: float, longest: float, jitter: float
) -> float:
    """
    Return the seconds to wait after a failed request: what the API asked for, at least an exponential backoff.

    :param failures: in a row, 1 or more.
    :param first: seconds after the first failure.
    :param longest: seconds that the backoff grows to.
    :param jitter: 0 to 1, random: takes up to a quarter off the backoff.
    """
    grown = min(first * 2.0 ** min(failures - 1, 32), longest) * (1 - jitter / 4)
    return max(grown, error.retry_after or 0.0)


def delay_before_retry(state: tenacity.RetryCallState, timing: Timing) -> float:
    """
    Return the seconds to wait before the next attempt of one request.

    :param state: what tenacity knows of the attempts so far.
    """
    error = state.outcome.exception() if state.outcome else None
    if not isinstance(error, ApiError):
        return 0.0
    delay = backoff(
        error,
        state.attempt_number,
        first=timing.first_retry_delay,
        longest=timing.max_retry_delay,
        jitter=random.random(),
    )
    return max(delay, timing.min_retry_delay)
