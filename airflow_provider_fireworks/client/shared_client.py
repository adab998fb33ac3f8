"""One asynchronous client per event loop and connection, shared by all triggers."""

from __future__ import annotations

import asyncio
import math
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import TypeVar
from weakref import WeakKeyDictionary

from airflow_provider_fireworks.client.api import Request
from airflow_provider_fireworks.client.async_client import AsyncClient
from airflow_provider_fireworks.client.config import ClientConfig
from airflow_provider_fireworks.client.errors import AccessDeniedError, ApiError
from airflow_provider_fireworks.client.pace import Pace
from airflow_provider_fireworks.client.responses import clear_locals
from airflow_provider_fireworks.client.shared_reads import Poller, SharedReads

ResultT = TypeVar("ResultT")


class SharedClient:
    """
    Sends the requests of all triggers that use one connection.

    The connection is read again every :attr:`~airflow_provider_fireworks.timing.Timing.connection_ttl` seconds, and at
    once when the API refuses the key, so that waits survive a replaced key.

    :param read_config: reads the connection.
    :ivar pace: how fast requests follow each other.
    :ivar reads: what waits for the same resource share.
    :ivar users: how many blocks of :func:`shared_client` use this client.
    """

    def __init__(self, read_config: Callable[[], Awaitable[ClientConfig]]) -> None:
        self._read_config = read_config
        self._lock = asyncio.Lock()
        self._client: AsyncClient | None = None
        self._retired: list[AsyncClient] = []
        self._read_at = -math.inf
        self.pace = Pace()
        self.reads = SharedReads()
        self.users = 0

    def poller(self, log: Callable[[str], object]) -> Poller:
        """
        Return what sends the requests of one wait.

        :param log: called with one line, once, if the pace of the connection delays it.
        """
        return Poller(self, log)

    async def turn(self) -> None:
        """Wait until the pace of the connection allows a request."""
        await self._current()  # it may limit the requests
        await self.pace.turn()

    async def send(self, request: Request[ResultT]) -> ResultT:
        """
        Send a request once and at once, or a second time if the API refused the key and the connection has a new one.

        :raises ApiError: if it fails.
        :raises Exception: whatever ``read_config`` raises, if the connection has never been read.
        """
        began = _now()
        client = await self._current()
        try:
            return await self._send_with(client, request)
        except AccessDeniedError:
            renewed = await self._current(not_before=began)
            if renewed.config == client.config:
                raise
            return await self._send_with(renewed, request)

    async def close(self) -> None:
        """Close all connections."""
        await self.reads.close()
        for client in [*self._retired, *([self._client] if self._client else [])]:
            await client.close()

    async def _send_with(self, client: AsyncClient, request: Request[ResultT]) -> ResultT:
        sent_at = _now()
        try:
            result = await client.send(request)
        except ApiError as error:
            self.pace.record(error, sent_at)
            raise
        self.pace.record(None, sent_at)
        return result

    async def _current(self, *, not_before: float | None = None) -> AsyncClient:
        """
        Return the client for the connection.

        :param not_before: read the connection again unless it was read after this time.
        """
        async with self._lock:
            if self._client is not None:
                oldest = _now() - self._client.config.timing.connection_ttl
                if self._read_at > (oldest if not_before is None else not_before):
                    return self._client
            try:
                with clear_locals():
                    config = await self._read_config()
            except Exception:
                # A secrets backend may be unavailable for a moment. The known key then serves on.
                if self._client is None:
                    raise
                config = self._client.config
            self._read_at = _now()
            if self._client is None or self._client.config != config:
                if self._client is not None:
                    # Other triggers may be in the middle of a request, so it is closed with the last user.
                    self._retired.append(self._client)
                self._client = AsyncClient(config)
                self.pace.limit = config.requests_per_minute or math.inf
                self.pace.timing = config.timing
            return self._client


_shared: WeakKeyDictionary[asyncio.AbstractEventLoop, dict[str | None, SharedClient]] = WeakKeyDictionary()


@asynccontextmanager
async def shared_client(
    connection: str | None, read_config: Callable[[], Awaitable[ClientConfig]]
) -> AsyncIterator[SharedClient]:
    """
    Use the shared client of a connection on this event loop. The last user closes it.

    :param connection: the connection's id, ``None`` for the environment's.
    :param read_config: reads the connection.
    """
    clients = _shared.setdefault(asyncio.get_running_loop(), {})
    client = clients.setdefault(connection, SharedClient(read_config))
    client.users += 1
    try:
        yield client
    finally:
        client.users -= 1
        if not client.users:
            del clients[connection]
            await client.close()


def _now() -> float:
    return asyncio.get_running_loop().time()
