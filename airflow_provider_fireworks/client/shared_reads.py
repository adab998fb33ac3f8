"""One request for all waits that poll the same resource at about the same time."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Coroutine
from contextvars import Context
from typing import TYPE_CHECKING, Any
from weakref import WeakValueDictionary

from airflow_provider_fireworks.client.api import Request
from airflow_provider_fireworks.client.errors import (
    AccessDeniedError,
    ApiError,
    NoResponseError,
    RateLimitedError,
)

if TYPE_CHECKING:
    from airflow_provider_fireworks.client.shared_client import SharedClient

_FRESH = 0.5
"""
A reading is fresh enough if it was requested within this last fraction of a wait's interval.

One half, so that waits with the same interval poll together after two polls, no matter when they began.
"""
_LOGGED_DELAY = 1.0
"""Seconds after which a poll that is still queued is worth a line in the log."""


class Poller:
    """
    Sends the requests of one wait, and shares its ``GET`` requests with all waits for the same resource.

    Each poll takes the newest reading of the resource if it is fresh enough, or joins the request that is in flight, or
    sends one. A reading that was requested before the wait began, or before its last poll, is not used. So a wait never
    judges the same reading twice, nor one that is older than the last request of its task.

    The next interval begins when the reading arrived, not when this wait took it. Waits with the same interval
    therefore poll at about the same time from their second poll on, and see a change as early as if each polled on its
    own.

    :param client: the client of the connection.
    :param log: called with one line, once, if the pace of the connection delays this wait.
    :ivar age: age in seconds of the last result when this wait took it. The result must be judged as of its arrival.
    """

    def __init__(self, client: SharedClient, log: Callable[[str], object]) -> None:
        self.age = 0.0
        self._client = client
        self._log = log
        self._resource: _Resource | None = None
        self._last_poll = _now()
        self._interval = 0.0
        self._has_logged = False

    async def sleep(self, interval: float) -> None:
        """Sleep until an interval in seconds has passed since the last result arrived."""
        self._interval = interval
        await asyncio.sleep(max(interval - self.age, 0.0))

    async def poll(self, request: Request[Any], *, timeout: float) -> Any:
        """
        Return the result of a request, or the :class:`~airflow_provider_fireworks.client.ApiError` instead.

        :param timeout: seconds for the whole poll. Without it, a wait could outlast its deadline in the queue.
        :raises Exception: any error of reading the connection, if that has never succeeded.
        """
        reading = self._take(request)
        reading.waiters += 1
        delayed = asyncio.get_running_loop().call_later(_LOGGED_DELAY, self._log_delay, reading)
        try:
            # Neither the timeout nor a cancellation of this wait cancels the request, which others may wait for.
            await asyncio.wait({reading.task}, timeout=timeout)
        finally:
            delayed.cancel()
            reading.waiters -= 1
            if not reading.waiters:
                reading.task.cancel()
        self._last_poll = _now()
        if reading.task.done():
            result = reading.task.result()
            self.age = self._last_poll - reading.received_at
            return result
        self.age = 0.0
        if reading.is_sent or self._client.pace.rate == math.inf:
            return NoResponseError("no response before the end of the wait", request=str(request))
        return RateLimitedError(f"not sent before the end of the wait: {self._limit}", request=str(request))

    def _take(self, request: Request[Any]) -> _Reading:
        if request.method != "GET":
            return _Reading(self._client, request)
        # Keeps the resource, and with it the newest reading, alive for as long as this wait.
        self._resource = self._client.reads.resource(request)
        newest, since = self._resource.newest, _now() - _FRESH * self._interval
        if newest is None or not newest.serves(last_poll=self._last_poll, since=since):
            newest = self._resource.newest = _Reading(self._client, request)
        return newest

    def _log_delay(self, reading: _Reading) -> None:
        if not self._has_logged and not reading.is_sent and (delay := self._client.pace.delay):
            self._has_logged = True
            self._log(f"Polls are delayed, this one by up to {delay:.0f} s: {self._limit}.")

    @property
    def _limit(self) -> str:
        return f"requests of this connection are limited to about {self._client.pace.rate:.0f} a minute"


class SharedReads:
    """
    The readings and the requests in flight of one connection.

    A resource is kept for as long as a :class:`Poller` polls it.
    """

    def __init__(self) -> None:
        self._resources: WeakValueDictionary[object, _Resource] = WeakValueDictionary()
        self._tasks: set[asyncio.Task[Any]] = set()

    def resource(self, request: Request[Any]) -> _Resource:
        """Return the resource that a ``GET`` reads."""
        key = request.path, tuple(sorted(request.query.items()))
        return self._resources.setdefault(key, _Resource())

    def start(self, sending: Coroutine[Any, Any, Any]) -> asyncio.Task[Any]:
        """Start a request in a task of its own."""
        # In an empty context: it may outlast the wait that began it, and then that wait's log is closed.
        task: asyncio.Task[Any] = Context().run(asyncio.create_task, sending)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def close(self) -> None:
        """Wait until the requests that were cancelled last have ended."""
        await asyncio.gather(*self._tasks, return_exceptions=True)


class _Resource:
    """Holds the newest reading of a resource."""

    newest: _Reading | None = None


class _Reading:
    """
    One request, which is sent at once, and its result.

    :ivar waiters: how many waits are waiting for it. The last one that leaves cancels it.
    :ivar received_at: when its result arrived, on the clock of the event loop; infinite until then.
    """

    def __init__(self, client: SharedClient, request: Request[Any]) -> None:
        self._sent_at = math.inf
        self.received_at = math.inf
        self.waiters = 0
        self.task = client.reads.start(self._send(client, request))

    @property
    def is_sent(self) -> bool:
        """Whether the request was sent, rather than still queued."""
        return self._sent_at < math.inf

    def serves(self, *, last_poll: float, since: float) -> bool:
        """Whether a wait that polled at ``last_poll`` and needs a reading requested after ``since`` can use it."""
        if self._sent_at < last_poll:
            return False
        if self.received_at == math.inf:
            return self.waiters > 0
        # A refused key says nothing about the one that may have replaced it by now.
        return self._sent_at >= since and not isinstance(self.task.result(), AccessDeniedError)

    async def _send(self, client: SharedClient, request: Request[Any]) -> Any:
        await client.turn()
        self._sent_at = _now()
        try:
            result = await client.send(request)
        except ApiError as error:
            # Without its traceback, whose frames would live as long as the reading.
            result = error.with_traceback(None)
        self.received_at = _now()
        return result


def _now() -> float:
    return asyncio.get_running_loop().time()
