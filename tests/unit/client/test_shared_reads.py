"""Many waits of one connection, on an event loop with a virtual clock and an API without a network."""

from __future__ import annotations

import asyncio
import gc
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from contextvars import ContextVar
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given, strategies as st

from airflow_provider_fireworks.client import shared_client as shared_client_module
from airflow_provider_fireworks.client.api import Request, request_inference
from airflow_provider_fireworks.client.config import ClientConfig
from airflow_provider_fireworks.client.errors import (
    AccessDeniedError,
    ApiError,
    NoResponseError,
    NotFoundError,
    RateLimitedError,
    UnavailableError,
)
from airflow_provider_fireworks.client.shared_client import shared_client
from airflow_provider_fireworks.client.shared_reads import Poller
from tests.unit.client.fake_api import CONFIG, Api, Client, Sent, use
from tests.virtual_time import now, run


def get(path: str = "m") -> Request[Any]:
    return Request("GET", path, dict)


@pytest.fixture(autouse=True)
def _no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shared_client_module, "AsyncClient", Client)


@asynccontextmanager
async def polling(
    api: Api, connection: str = "c", log: Callable[[str], object] = lambda line: None
) -> AsyncIterator[Poller]:
    async with shared_client(connection, api.read_config) as client:
        yield client.poller(log)


@dataclass
class Poll:
    """What a wait got, and when."""

    began: float
    ended: float
    result: Any


async def wait(
    api: Api,
    path: str = "m",
    *,
    interval: float = 30.0,
    start: float = 0.0,
    polls: int = 5,
    connection: str = "c",
    timeout: float = 1e6,
    request: Request[Any] | None = None,
    log: Callable[[str], object] = lambda line: None,
) -> list[Poll]:
    """Poll so many times, or until the key is refused."""
    await asyncio.sleep(start)
    seen: list[Poll] = []
    async with polling(api, connection, log) as poller:
        while len(seen) < polls:
            await poller.sleep(interval)
            began = now()
            result = await poller.poll(request or get(path), timeout=timeout)
            seen.append(Poll(began, now(), result))
            if isinstance(result, AccessDeniedError):
                break
    return seen


# ---- one request per resource and interval


@pytest.mark.parametrize("waits", [1, 8, 64])
def test_waits_for_one_resource_send_one_request_per_interval(waits):
    api = use(Api())

    async def main() -> list[list[Poll]]:
        # They begin at any point of an interval.
        return await asyncio.gather(
            *(wait(api, start=30 * number / waits, polls=100) for number in range(waits))
        )

    seen = run(main())
    # The first two intervals align them.
    assert len(api.sent) <= 100 + 4
    for polls in seen:
        assert len({poll.result for poll in polls}) == 100
        # As often as if it polled on its own.
        assert 90 * 30 < polls[-1].ended - polls[0].ended <= 99 * 30.2


def test_waits_for_one_resource_see_a_change_as_early_as_one_alone():
    api = use(Api())

    async def main() -> list[float]:
        waits = [
            asyncio.create_task(wait(api, start=number * 0.47, polls=12, interval=30)) for number in range(64)
        ]
        await asyncio.sleep(200)
        changed = len(api.sent)
        seen = await asyncio.gather(*waits)
        return [next(poll.ended for poll in polls if poll.result >= changed) - 200 for polls in seen]

    delays = run(main())
    assert max(delays) <= 30.2


def test_different_intervals_share_requests_of_shortest():
    api = use(Api())

    async def main() -> None:
        await asyncio.gather(
            *(wait(api, interval=interval, polls=3600 // interval) for interval in (10, 30, 60, 300))
        )

    run(main())
    assert len(api.sent) <= 3600 / 10 + 10


def test_resources_and_queries_and_connections_share_nothing():
    api = use(Api())
    page = [replace(get("list"), query={"page": str(number)}) for number in range(3)]

    async def main() -> None:
        await asyncio.gather(
            *(wait(api, f"m{number}") for number in range(8)),
            wait(api, "m0", connection="other"),
            *(wait(api, request=each) for each in page),
        )

    run(main())
    assert api.paths == {f"m{number}": 5 for number in range(1, 8)} | {"m0": 10, "list": 15}
    assert len(api.clients) == 2


def test_post_is_never_shared():
    api = use(Api(latency=lambda path: 20))

    async def main() -> None:
        await asyncio.gather(*(wait(api, request=request_inference("m#d")) for _ in range(8)))

    run(main())
    assert len(api.sent) == 8 * 5


def test_error_is_shared_without_traceback():
    def respond(request: Request[Any]) -> Any:
        raise UnavailableError("away", status=503)

    api = use(Api(respond))

    async def main() -> list[list[Poll]]:
        return await asyncio.gather(*(wait(api, start=number / 4) for number in range(20)))

    seen = run(main())
    assert len(api.sent) <= 7
    results = [poll.result for polls in seen for poll in polls]
    assert {type(result) for result in results} == {UnavailableError}
    assert {result.__traceback__ for result in results} == {None}


def test_reading_is_fresh_for_half_an_interval():
    api = use(Api())

    async def main() -> list[list[Poll]]:
        return await asyncio.gather(
            wait(api, interval=1000, polls=2),
            wait(api, start=945, interval=100, polls=1),
            wait(api, start=955, interval=100, polls=1),
        )

    assert [polls[0].result for polls in run(main())] == [0, 0, 1]


def test_reading_from_before_the_wait_began_is_not_used():
    """The task may have changed the resource just before it deferred."""
    api = use(Api(latency=lambda path: 10))

    async def main() -> None:
        early = asyncio.create_task(wait(api, interval=1, polls=1))
        await asyncio.sleep(5)
        assert len(api.sent) == 1
        (poll,) = await wait(api, interval=1, polls=1)
        assert poll.result == 1
        await early
        (poll,) = await wait(api, interval=300, polls=1)
        assert poll.result == 2

    run(main())


INTERVALS = st.sampled_from([1.0, 5.0, 15.0, 30.0, 60.0, 600.0])
ERRORS = st.sampled_from(
    [
        None,
        None,
        None,
        UnavailableError("away", status=503),
        NoResponseError("cut off"),
        NotFoundError("gone", status=404, code="NOT_FOUND"),
        RateLimitedError("slow down", status=429, retry_after=7.0),
        RateLimitedError("slow down", status=429),
    ]
)


@given(
    waits=st.lists(
        st.tuples(
            st.sampled_from(["a", "b", "slow"]),
            INTERVALS,
            st.floats(0, 100),
            st.none() | st.floats(0, 400),  # when it is cancelled
            st.sampled_from([1e6, 20.0]),
        ),
        min_size=1,
        max_size=20,
    ),
    errors=st.lists(ERRORS, max_size=20),
)
def test_waits_are_right_whatever_happens(waits, errors):
    pending = list(errors)

    def respond(request: Request[Any]) -> Any:
        if pending and (error := pending.pop()):
            raise error

    api = use(Api(respond, latency=lambda path: 70 if path == "slow" else 0.5))

    async def main() -> None:
        async def run_wait(path, interval, start, cancel_at, timeout) -> list[Poll]:
            task = asyncio.current_task()
            if cancel_at is not None:
                asyncio.get_running_loop().call_later(cancel_at, task.cancel, "why")
            try:
                return await wait(api, path, interval=interval, start=start, polls=6, timeout=timeout)
            except asyncio.CancelledError as cancelled:
                # Airflow decides by the message whether to call on_kill.
                return [] if cancelled.args == ("why",) else [Poll(0, 0, cancelled)]

        seen = await asyncio.gather(*(asyncio.create_task(run_wait(*each)) for each in waits))
        for (path, _, start, cancel_at, timeout), polls in zip(waits, seen, strict=True):
            assert cancel_at is not None or len(polls) == 6
            begun = start
            for poll in polls:
                assert poll.ended - poll.began <= timeout + 1e-6
                # What it got was requested after the wait began and after its last poll, and is of its resource.
                if isinstance(poll.result, int):
                    sent = api.sent[poll.result]
                    assert sent.request.path == path
                    assert begun <= sent.at <= poll.ended
                begun = poll.ended
            numbers = [poll.result for poll in polls if isinstance(poll.result, int)]
            assert numbers == sorted(set(numbers)), "a reading was judged twice"

    run(main())
    assert all(client.is_closed for client in api.clients)


@given(waits=st.lists(st.tuples(INTERVALS, st.floats(0, 600)), min_size=1, max_size=12))
def test_shared_waits_never_send_more_than_waits_alone(waits):
    async def main(api: Api, together: bool) -> int:
        await asyncio.gather(
            *(
                wait(api, interval=interval, start=start, connection="c" if together else str(number))
                for number, (interval, start) in enumerate(waits)
            )
        )
        return len(api.sent)

    together = run(main(use(Api()), True))
    assert together <= run(main(use(Api()), False)) == 5 * len(waits)


# ---- isolation


def test_slow_resource_delays_no_other():
    api = use(Api(latency=lambda path: 100 if path == "slow" else 0.1))

    async def main() -> list[Poll]:
        slow = [asyncio.create_task(wait(api, "slow", interval=5, polls=3)) for _ in range(50)]
        polls = await wait(api, "quick", interval=5, polls=50)
        await asyncio.gather(*slow)
        return polls

    assert all(poll.ended - poll.began < 0.2 for poll in run(main()))
    assert api.count("slow") == 3


def test_429_slows_no_other_connection():
    def respond(request: Request[Any]) -> Any:
        if request.path == "limited":
            raise RateLimitedError("slow down", status=429, retry_after=60)

    api = use(Api(respond))

    async def main() -> list[Poll]:
        limited = asyncio.create_task(wait(api, "limited", interval=5, polls=10))
        polls = await wait(api, interval=5, polls=50, connection="other")
        await limited
        return polls

    assert all(poll.ended - poll.began < 0.2 for poll in run(main()))


@pytest.mark.parametrize("cancelled", [0, 1])
def test_cancelled_wait_cancels_no_request_that_another_waits_for(cancelled):
    api = use(Api(latency=lambda path: 10))

    async def main() -> None:
        waits = [asyncio.create_task(wait(api, polls=1)) for _ in range(2)]
        await asyncio.sleep(35)
        waits[cancelled].cancel()
        ((poll,), _) = await asyncio.gather(waits[1 - cancelled], waits[cancelled], return_exceptions=True)
        assert poll.result == 0

    run(main())
    assert (len(api.sent), api.completed) == (1, 1)


def test_last_cancelled_wait_cancels_the_request_and_a_new_wait_sends_another():
    api = use(Api(latency=lambda path: 10))

    async def main() -> None:
        async with polling(api) as poller:
            first = asyncio.create_task(wait(api, polls=1))
            await asyncio.sleep(35)
            first.cancel()
            with suppress(asyncio.CancelledError):
                await first
            assert await poller.poll(get(), timeout=60) == 1

    run(main())
    assert (len(api.sent), api.completed) == (2, 1)


def test_client_is_closed_after_its_last_request_has_ended():
    api = use(Api(latency=lambda path: 10))

    async def main() -> None:
        task = asyncio.create_task(wait(api))
        await asyncio.sleep(35)
        task.cancel()
        await asyncio.wait({task})

    run(main())
    assert [client.is_closed for client in api.clients] == [True]
    assert not api.closed_early


def test_request_is_sent_without_the_context_of_the_wait():
    """The context ties log lines to the wait, whose log may be closed by then."""
    variable: ContextVar[str] = ContextVar("variable", default="unset")
    api = use(Api(lambda request: variable.get()))

    async def main() -> list[Poll]:
        variable.set("set")
        return await wait(api, polls=1)

    assert [poll.result for poll in run(main())] == ["unset"]


def test_nothing_is_left_when_the_last_wait_ends():
    api = use(Api(latency=lambda path: 10))

    async def main() -> None:
        async with shared_client("c", api.read_config) as client:
            waits = [
                asyncio.create_task(wait(api, f"m{number % 3}", start=number, polls=3)) for number in range(9)
            ]
            for task in waits[:3]:
                await asyncio.sleep(12)
                task.cancel()
            await asyncio.gather(*waits, return_exceptions=True)
            del waits, task
            await asyncio.sleep(0)
            gc.collect()
            assert (len(client.reads._resources), client.reads._tasks) == (0, set())
        assert shared_client_module._shared[asyncio.get_running_loop()] == {}

    run(main())
    assert [client.is_closed for client in api.clients] == [True]


# ---- pace


def sliding_limit(limit: int, *, says_when: bool = True) -> Callable[[Request[Any]], Any]:
    accepted: list[float] = []

    def respond(request: Request[Any]) -> Any:
        accepted[:] = [at for at in accepted if at > now() - 60]
        if len(accepted) >= limit:
            retry_after = accepted[0] + 60 - now() if says_when else None
            raise RateLimitedError(
                "slow down", status=429, code="RESOURCE_EXHAUSTED", retry_after=retry_after
            )
        accepted.append(now())

    return respond


@pytest.mark.parametrize("says_when", [True, False])
def test_waits_beyond_the_limit_are_refused_rarely_and_served_in_turn(says_when):
    api = use(Api(sliding_limit(10, says_when=says_when)))

    async def main() -> list[list[Poll]]:
        return await asyncio.gather(
            *(wait(api, f"m{number}", start=number, polls=15) for number in range(64))
        )

    seen = run(main())
    assert [len(polls) for polls in seen] == [15] * 64
    settled = [each for each in api.sent if each.at > 600]
    refused = sum(isinstance(each.result, RateLimitedError) for each in settled)
    assert refused / len(settled) < 0.1
    # First come, first served: between two polls of one wait, no other wait has more than two.
    order = [each.request.path for each in settled]
    for path in set(order):
        places = [place for place, each in enumerate(order) if each == path]
        assert all(max(Counter(order[a + 1 : b]).values()) <= 2 for a, b in pairwise(places))


def test_configured_limit_is_never_exceeded():
    api = use(Api(sliding_limit(10), config=replace(CONFIG, requests_per_minute=9)))

    async def main() -> None:
        await asyncio.gather(*(wait(api, f"m{number}", interval=30, polls=5) for number in range(40)))

    run(main())
    assert not [each for each in api.sent if isinstance(each.result, ApiError)]
    assert len(api.sent) == 200


def test_delayed_wait_logs_that_once():
    api = use(Api(config=replace(CONFIG, requests_per_minute=6)))
    lines: list[list[str]] = [[] for _ in range(6)]

    async def main() -> None:
        waits = (wait(api, f"m{number}", start=number / 100, log=lines[number].append) for number in range(5))
        await asyncio.gather(*waits, wait(api, connection="other", log=lines[5].append))

    run(main())
    assert [len(each) for each in lines] == [1, 1, 1, 1, 1, 0]
    assert lines[4] == [
        "Polls are delayed, this one by up to 49 s: requests of this connection are limited to about 6 a minute."
    ]


def test_wait_in_the_queue_ends_in_time():
    api = use(Api(config=replace(CONFIG, requests_per_minute=1)))

    async def main() -> list[list[Poll]]:
        return await asyncio.gather(
            *(wait(api, f"m{number}", start=number / 100, polls=1, timeout=90) for number in range(5)),
            wait(api, "m4", start=1, polls=1),
        )

    *in_time, (patient,) = run(main())
    results = [polls[0].result for polls in in_time]
    assert results[:2] == [0, 1]
    assert {type(result) for result in results[2:]} == {RateLimitedError}
    assert "limited to about 1 a minute" in str(results[-1])
    # Those that have left do not delay the one that another wait still needs.
    assert (patient.result, patient.ended) == (2, pytest.approx(150.1))


def test_slow_response_ends_in_time():
    api = use(Api(latency=lambda path: 1000))
    ((poll,),) = run(_gather(wait(api, polls=1, timeout=60)))
    assert isinstance(poll.result, NoResponseError)
    assert poll.ended == pytest.approx(90)


async def _gather(*waits: Any) -> list[Any]:
    return await asyncio.gather(*waits)


def test_direct_request_does_not_queue():
    """A killed task's deployment is deleted at once."""
    api = use(Api(config=replace(CONFIG, requests_per_minute=1)))

    async def main() -> None:
        async with shared_client("c", api.read_config) as client:
            waits = asyncio.create_task(_gather(*(wait(api, f"m{number}", polls=1) for number in range(5))))
            await asyncio.sleep(31)
            began = now()
            await client.send(Request("DELETE", "d", dict))
            assert now() - began < 1
            await waits

    run(main())


# ---- the key


@pytest.mark.parametrize("old_key_works", [True, False])
def test_replaced_key_reaches_every_wait_within_a_minute(old_key_works):
    api = use(Api())

    async def main() -> None:
        waits = [
            asyncio.create_task(wait(api, f"m{number % 10}", start=number, polls=20)) for number in range(30)
        ]
        await asyncio.sleep(300)
        api.config = replace(CONFIG, api_key="fw_second")
        if not old_key_works:
            api.key = "fw_second"
        else:
            Client.send, send = _send_with_any_key, Client.send
        replaced_at = now()
        seen = await asyncio.gather(*waits)
        if old_key_works:
            Client.send = send
        assert {len(polls) for polls in seen} == {20}
        late = [each for each in api.sent if each.at > replaced_at + 60]
        assert late
        assert {each.key for each in late} == {"fw_second"}
        refused = [each for each in api.sent if isinstance(each.result, AccessDeniedError)]
        assert len(refused) <= 10
        assert api.reads_of_connection <= now() / 60 + 3

    run(main())


async def _send_with_any_key(self: Client, request: Request[Any]) -> Any:
    self.api.sent.append(Sent(now(), request, self.config.api_key, len(self.api.sent)))
    await asyncio.sleep(0.1)
    return len(self.api.sent) - 1


def test_revoked_key_ends_all_waits_with_one_request_each_at_most():
    api = use(Api())

    async def main() -> list[list[Poll]]:
        waits = [
            asyncio.create_task(wait(api, f"m{number % 20}", start=number / 3, polls=99))
            for number in range(60)
        ]
        await asyncio.sleep(300)
        before = len(api.sent)
        api.key = "fw_other"
        seen = await asyncio.gather(*waits)
        assert len(api.sent) - before <= 60
        assert now() < 300 + 31
        return seen

    assert all(isinstance(polls[-1].result, AccessDeniedError) for polls in run(main()))


def test_connection_is_read_once_for_requests_that_are_refused_together():
    api = use(Api())
    api.key = "fw_other"

    async def main() -> None:
        await asyncio.gather(*(wait(api, f"m{number}") for number in range(20)))

    run(main())
    assert len(api.sent) == 20
    assert api.reads_of_connection == 2


def test_key_replaced_after_another_wait_was_refused_ends_no_wait():
    api = use(Api())

    async def main() -> None:
        long = asyncio.create_task(wait(api, interval=300, polls=2))
        await asyncio.sleep(580)
        api.key = "fw_second"
        ((refused,), _) = await asyncio.gather(wait(api, interval=1), asyncio.sleep(2))
        assert isinstance(refused.result, AccessDeniedError)
        api.config = replace(CONFIG, api_key="fw_second")
        assert [type(poll.result) for poll in await long] == [int, int]

    run(main())


def test_unusable_connection_raises_in_every_wait():
    api = use(Api())

    async def main() -> None:
        async def read_config() -> ClientConfig:
            raise ValueError("no key")

        async def one() -> None:
            async with shared_client("c", read_config) as client:
                await client.poller(print).poll(get(), timeout=60)

        results = await asyncio.gather(*(one() for _ in range(5)), return_exceptions=True)
        assert [repr(result) for result in results] == ["ValueError('no key')"] * 5

    run(main())
    assert api.sent == []


def test_wait_that_is_cancelled_when_its_request_fails_leaves_no_error():
    api = use(Api())
    logged: list[Any] = []

    async def main() -> None:
        asyncio.get_running_loop().set_exception_handler(lambda loop, context: logged.append(context))

        tasks: list[asyncio.Task[None]] = []

        async def read_config() -> ClientConfig:
            tasks[0].cancel()
            raise ValueError("no key")

        async def one() -> None:
            async with shared_client("c", read_config) as client:
                await client.poller(print).poll(get(), timeout=60)

        async with shared_client("c", read_config):
            tasks.append(asyncio.create_task(one()))
            await asyncio.wait(tasks)
            assert tasks.pop().cancelled()
            await asyncio.sleep(0)
            gc.collect()

    run(main())
    assert (api.sent, logged) == ([], [])


def test_pace_recovers():
    def respond(request: Request[Any]) -> Any:
        if len(api.sent) == 0:
            raise RateLimitedError("slow down", status=429)

    api = use(Api(respond))

    async def main() -> None:
        async with shared_client("c", api.read_config) as client:
            await wait(api, polls=2)
            slow = client.pace.rate
            await wait(api, polls=20)
            assert slow < client.pace.rate

    run(main())
