from __future__ import annotations

import asyncio
import math
from collections import deque
from itertools import pairwise

import pytest
from hypothesis import given, strategies as st

from airflow_provider_fireworks.client.errors import (
    ConnectError,
    NoResponseError,
    NotFoundError,
    RateLimitedError,
    UnavailableError,
)
from airflow_provider_fireworks.client.pace import Pace
from tests.virtual_time import now, run

LIMITED = RateLimitedError("slow down", status=429)


class Limiter:
    """Accepts so many requests in any 60 seconds, or in each whole minute."""

    def __init__(self, limit: int, *, sliding: bool = True, says_when: bool = True) -> None:
        self.limit, self.sliding, self.says_when = limit, sliding, says_when
        self.accepted: deque[float] = deque()

    def request(self) -> RateLimitedError | None:
        start = now() - 60 if self.sliding else now() // 60 * 60
        while self.accepted and self.accepted[0] < start + (1e-6 if self.sliding else 0):
            self.accepted.popleft()
        if len(self.accepted) < self.limit:
            self.accepted.append(now())
            return None
        left = (self.accepted[0] if self.sliding else start) + 60 - now()
        return RateLimitedError("m", status=429, retry_after=left if self.says_when else None)


async def turns(pace: Pace, count: int) -> list[float]:
    """Return the times of so many turns that are requested together, in the order of the requests."""
    started = now()

    async def turn() -> float:
        await pace.turn()
        return now() - started

    return list(await asyncio.gather(*(turn() for _ in range(count))))


def test_there_is_no_pace_before_a_429():
    async def main() -> None:
        pace = Pace()
        assert (pace.rate, pace.delay) == (math.inf, 0)
        for error in [None, NotFoundError("m", status=404), UnavailableError("m", status=503)] * 100:
            pace.record(error, now())
        assert await turns(pace, 1000) == [0] * 1000

    run(main())


def test_limit_is_kept_from_the_start_in_the_order_of_the_requests():
    async def main() -> None:
        pace = Pace()
        pace.limit = 10
        assert await turns(pace, 20) == pytest.approx([6 * place for place in range(20)])
        assert pace.delay == pytest.approx(6)
        pace.record(None, now())
        assert pace.rate == 10

    run(main())


def test_429_pauses_requests_that_queue_already():
    async def main() -> None:
        pace = Pace()
        pace.limit = 60
        queued = asyncio.create_task(turns(pace, 3))
        await asyncio.sleep(0.5)
        pace.record(RateLimitedError("m", retry_after=45), now())
        assert pace.delay > 45
        times = await queued
        assert times[:2] == pytest.approx([0, 45.5])
        assert times[2] == pytest.approx(45.5 + 60 / pace.rate)

    run(main())


def test_429_cuts_pace_to_part_of_what_was_accepted():
    async def main() -> None:
        pace = Pace()
        for _ in range(60):
            pace.record(None, now())
            await asyncio.sleep(1)
        sent_at = now()
        pace.record(LIMITED, sent_at)
        assert pace.rate == pytest.approx(60 * 2 / 3, rel=0.05)
        slowed, delay = pace.rate, pace.delay
        await asyncio.sleep(0.1)
        for _ in range(10):
            pace.record(LIMITED, sent_at)
        assert pace.rate == slowed, "they were sent together with the first one"
        assert pace.delay <= delay
        for _ in range(10):
            await asyncio.sleep(1)
            pace.record(LIMITED, now())
        assert pace.rate < slowed
        assert delay < 2
        assert pace.delay == 60, "each further refusal doubles the pause"

    run(main())


def test_first_429_of_a_quiet_connection_is_no_long_gap():
    async def main() -> None:
        pace = Pace()
        pace.record(LIMITED, now())
        assert pace.rate == 6
        for _ in range(50):
            await asyncio.sleep(1)
            pace.record(LIMITED, now())
        assert pace.rate == pytest.approx(60 / pace.timing.max_poll_backoff) == 1

    run(main())


def test_only_responses_raise_the_pace():
    async def main() -> None:
        pace = Pace()
        pace.record(LIMITED, now())
        for error in [ConnectError("refused"), NoResponseError("cut off")] * 10:
            pace.record(error, now())
        assert pace.rate == 6
        pace.record(NotFoundError("m", status=404), now())
        assert pace.rate > 6

    run(main())


def test_pace_vanishes_while_requests_are_accepted():
    async def main() -> float:
        pace = Pace()
        pace.record(LIMITED, now())
        started = now()
        while pace.rate < math.inf:
            await pace.turn()
            pace.record(None, now())
        return now() - started

    assert run(main()) < 45 * 60


@pytest.mark.parametrize("limit", [10, 60, 600])
@pytest.mark.parametrize("sliding", [True, False])
@pytest.mark.parametrize("says_when", [True, False])
def test_settled_pace_is_refused_rarely_and_uses_the_limit(limit, sliding, says_when):
    async def main() -> tuple[int, int]:
        pace, limiter = Pace(), Limiter(limit, sliding=sliding, says_when=says_when)
        refused = accepted = 0
        while now() < 3600:
            await pace.turn()
            error = limiter.request()
            pace.record(error, now())
            if now() > 600:
                refused += error is not None
                accepted += error is None
        return refused, accepted

    refused, accepted = run(main())
    assert refused / (refused + accepted) < 0.05
    assert accepted / 50 > limit * 0.75


@given(
    limit=st.integers(1, 600),
    cancelled=st.lists(st.booleans(), min_size=1, max_size=30),
    cancel_after=st.floats(0, 60),
)
def test_cancelled_requests_give_up_their_turns(limit, cancelled, cancel_after):
    async def main() -> None:
        pace = Pace()
        pace.limit = limit
        passed: list[int] = []

        async def turn(place: int) -> None:
            await pace.turn()
            passed.append(place)

        tasks = [asyncio.create_task(turn(place)) for place in range(len(cancelled))]
        await asyncio.sleep(cancel_after)
        for task, cancel in zip(tasks, cancelled, strict=True):
            if cancel:
                task.cancel()
        await asyncio.wait(tasks)
        assert passed == sorted(passed)
        assert {place for place, cancel in enumerate(cancelled) if not cancel} <= set(passed)
        assert pace.delay <= 60 / limit + 1e-6
        # One that was cancelled in its pause has not taken the turn of the next one.
        assert now() <= cancel_after + 60 / limit * len(cancelled) + 1e-6

    run(main())


@given(st.lists(st.tuples(st.floats(0, 30), st.none() | st.floats(0, 60)), max_size=60))
def test_no_request_passes_in_a_pause_or_closer_than_the_pace(events):
    async def main() -> None:
        pace = Pace()
        sent: list[tuple[float, float]] = []
        pauses: list[tuple[float, float]] = []

        async def send() -> None:
            while True:
                await pace.turn()
                sent.append((now(), pace.rate))
                await asyncio.sleep(0.05)

        sending = asyncio.create_task(send())
        for delay, retry_after in events:
            await asyncio.sleep(delay)
            if retry_after is None:
                pace.record(None, now())
            else:
                pace.record(RateLimitedError("m", retry_after=retry_after), now())
                pauses.append((now(), now() + retry_after))
        sending.cancel()
        await asyncio.wait({sending})
        assert all(later - earlier >= 60 / rate - 1e-6 for (earlier, rate), (later, _) in pairwise(sent))
        for begin, end in pauses:
            assert not [at for at, _ in sent if begin + 1e-6 < at < end - 1e-6]

    run(main())
