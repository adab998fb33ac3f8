"""Limits how fast the requests of one connection follow each other."""

from __future__ import annotations

import asyncio
import math
from collections import deque

from airflow_provider_fireworks.client.errors import ApiError, RateLimitedError
from airflow_provider_fireworks.client.retries import backoff
from airflow_provider_fireworks.timing import DEFAULT_TIMING

_MINUTE = 60.0
_CUT = 2 / 3
"""The pace after a 429, as a fraction of the requests that the API accepted in the last minute."""
_FEWEST = 9
"""The requests to count at least after the first 429, as Fireworks allows every account more."""
_GROWTH = 0.2
"""What each accepted request adds to the requests per minute: any pace doubles within four minutes."""
_FASTEST = 6000.0
"""The most requests per minute that Fireworks allows any account. Above it there is no pace."""


class Pace:
    """
    Makes the requests of one connection take turns, in the order in which they came.

    There is no gap between them until the API refuses one with 429. Then all of them pause for as long as it asks, and
    at least for an exponential backoff. They continue at two thirds of the rate that it accepted in the last minute.
    Each accepted request makes the gap a little shorter. At a limit of 10 requests per minute, about one in 25 is
    refused, at higher limits fewer.

    :ivar limit: requests per minute, never exceeded.
    :ivar timing: the delays of the backoff. The gap never exceeds the longest of them.
    """

    def __init__(self) -> None:
        self.limit = math.inf
        self.timing = DEFAULT_TIMING
        self._rate = math.inf
        self._next_at = -math.inf
        self._slowed_at = -math.inf
        self._refusals = 0  # in a row
        self._accepted: deque[float] = deque()
        self._queue = asyncio.Lock()  # asyncio's lock is fair
        self._queued = 0

    @property
    def rate(self) -> float:
        """The current pace in requests per minute, infinite while nothing limits it."""
        return min(self._rate, self.limit)

    @property
    def delay(self) -> float:
        """The seconds, approximately, for which a request that came now would wait."""
        gap = _MINUTE / self.rate
        return max(self._next_at - _now(), 0.0) + self._queued * gap

    async def turn(self) -> None:
        """Wait until a request may be sent."""
        self._queued += 1
        try:
            async with self._queue:
                left = self._next_at - _now()
                while left > 0:
                    await asyncio.sleep(left)
                    left = self._next_at - _now()  # another 429 may have come meanwhile
                self._next_at = _now() + _MINUTE / self.rate
        finally:
            self._queued -= 1

    def record(self, error: ApiError | None, sent_at: float) -> None:
        """
        Adapt the pace to the result of a request.

        :param error: ``None`` if it succeeded.
        :param sent_at: the event loop's time at which it was sent.
        """
        now = _now()
        while self._accepted and self._accepted[0] <= now - _MINUTE:
            self._accepted.popleft()
        if isinstance(error, RateLimitedError):
            # Of several requests that were sent together, only the first one slows the pace.
            if sent_at > self._slowed_at:
                self._slowed_at = now
                self._refusals += 1
                cut = max(len(self._accepted), min(self._rate, _FEWEST)) * _CUT
                self._rate = max(cut, _MINUTE / self.timing.max_poll_backoff)
            pause = backoff(
                error,
                self._refusals,
                first=self.timing.first_retry_delay,
                longest=self.timing.max_poll_backoff,
                jitter=0.0,
            )
            self._next_at = max(self._next_at, now + pause, now + _MINUTE / self.rate)
        elif error is None or error.status is not None:
            self._refusals = 0
            self._accepted.append(now)
            self._rate = self._rate + _GROWTH if self._rate < _FASTEST else math.inf


def _now() -> float:
    return asyncio.get_running_loop().time()
