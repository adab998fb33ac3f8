"""Connections of requests over which no answer lasts for ever, however slowly it comes and however long it is."""

from __future__ import annotations

import functools
import http.client
import io
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

import requests
import urllib3

from airflow_provider_fireworks.client import endpoint as limits

_deadline: ContextVar[float | None] = ContextVar("_deadline", default=None)


@contextmanager
def answered_by(deadline: float) -> Iterator[None]:
    """
    Let each answer that begins in the block be there as a whole by a deadline, headers and all.

    :param deadline: by ``time.monotonic()``. After it, reading on is a ``TimeoutError``, which urllib3 translates.
    """
    token = _deadline.set(deadline)
    try:
        yield
    finally:
        _deadline.reset(token)


class BoundedAdapter(requests.adapters.HTTPAdapter):
    """Connects so that :func:`answered_by` holds."""

    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        """Make the pools of direct connections."""
        super().init_poolmanager(*args, **kwargs)
        _bound(self.poolmanager)

    def proxy_manager_for(self, proxy: str, **kwargs: Any) -> Any:
        """Make the pools of connections through a proxy."""
        known = proxy in self.proxy_manager
        manager = super().proxy_manager_for(proxy, **kwargs)
        return manager if known else _bound(manager)


class _InTime(io.RawIOBase):
    """
    The bytes of one answer, up to its deadline and to twice the largest body.

    A socket's own time limit starts anew with every byte, and nobody else counts what stands between the bytes
    of a body.
    """

    def __init__(self, raw: io.RawIOBase, sock: socket.socket, deadline: float) -> None:
        self._raw = raw
        self._sock = sock
        self._deadline = deadline
        self._patience = sock.gettimeout() or limits.READ_TIMEOUT
        self._room = 2 * limits.LARGEST_ANSWER

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int | None:
        left = self._deadline - time.monotonic()
        if left <= 0:
            raise TimeoutError("the time for the whole answer is over")
        self._sock.settimeout(min(left, self._patience))
        count: int | None = self._raw.readinto(buffer)
        self._room -= count or 0
        if self._room < 0:
            raise OSError("the answer does not end")
        return count

    def close(self) -> None:
        self._raw.close()
        super().close()


class _Response(http.client.HTTPResponse):
    def __init__(self, sock: socket.socket, *args: Any, **kwargs: Any) -> None:
        super().__init__(sock, *args, **kwargs)
        deadline = _deadline.get()
        if deadline is not None:
            self.fp = io.BufferedReader(_InTime(self.fp.detach(), sock, deadline))


@functools.cache
def _bounded(pool: type[urllib3.HTTPConnectionPool]) -> type[urllib3.HTTPConnectionPool]:
    connection = type("Connection", (pool.ConnectionCls,), {"response_class": _Response})
    return type(pool.__name__, (pool,), {"ConnectionCls": connection})


def _bound(manager: Any) -> Any:
    """Let all connections of a manager of pools, such as that of a SOCKS proxy, read in time."""
    pools = manager.pool_classes_by_scheme
    manager.pool_classes_by_scheme = {scheme: _bounded(pool) for scheme, pool in pools.items()}
    return manager
