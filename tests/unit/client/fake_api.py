"""An API without a network, for event loops with a virtual clock."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from airflow_provider_fireworks.client.api import Request
from airflow_provider_fireworks.client.config import ClientConfig
from airflow_provider_fireworks.client.errors import AccessDeniedError, ApiError
from tests.virtual_time import now

CONFIG = ClientConfig("https://api.example", "fw_first")
DENIED = AccessDeniedError("revoked", status=401, code="UNAUTHENTICATED")


@dataclass(frozen=True)
class Sent:
    """A request that has reached the API, and what it responded."""

    at: float
    request: Request[Any]
    key: str
    result: Any


@dataclass
class Api:
    """
    An API that responds with the number of the request.

    :ivar respond: raises an error, or returns something else to respond with.
    :ivar latency: seconds for a response, by path.
    """

    respond: Callable[[Request[Any]], Any] = lambda request: None
    latency: Callable[[str], float] = lambda path: 0.1
    key: str = CONFIG.api_key
    sent: list[Sent] = field(default_factory=list)
    completed: int = 0
    closed_early: bool = False
    clients: list[Client] = field(default_factory=list)
    reads_of_connection: int = 0
    config: ClientConfig = CONFIG

    async def read_config(self) -> ClientConfig:
        self.reads_of_connection += 1
        await asyncio.sleep(0)
        return self.config

    @property
    def paths(self) -> Counter[str]:
        return Counter(each.request.path for each in self.sent)

    def count(self, path: str) -> int:
        return self.paths[path]


class Client:
    """In place of :class:`~airflow_provider_fireworks.client.async_client.AsyncClient`."""

    api: Api

    def __init__(self, config: ClientConfig) -> None:
        self.config = config
        self.is_closed = False
        self.api.clients.append(self)

    async def send(self, request: Request[Any]) -> Any:
        assert not self.is_closed
        number, sent_at = len(self.api.sent), now()
        error: ApiError | None = None
        result: Any = number
        if self.config.api_key != self.api.key:
            error = replace_traceback(DENIED)
        else:
            try:
                response = self.api.respond(request)
                result = number if response is None else response
            except ApiError as raised:
                error = raised
        self.api.sent.append(Sent(sent_at, request, self.config.api_key, error or result))
        try:
            await asyncio.sleep(self.api.latency(request.path))
        finally:
            self.api.closed_early |= self.is_closed
        self.api.completed += 1
        if error is not None:
            raise error
        return result

    async def close(self) -> None:
        self.is_closed = True


def replace_traceback(error: ApiError) -> ApiError:
    return type(error)(error.message, status=error.status, code=error.code)


def use(api: Api) -> Api:
    Client.api = api
    return api
