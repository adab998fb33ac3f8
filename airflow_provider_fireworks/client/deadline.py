"""
A deadline and a size limit for a whole response in requests.

Neither requests nor urllib3 has them. A socket's timeout starts anew with every byte, so a server that sends one header
a second occupies a worker for ever; and nothing limits interim responses, trailers and the length lines of chunks.

This module replaces the file object from which ``http.client`` reads a response. That is internal to urllib3 and
``http.client``, and the tests of bad responses fail if it stops working. A timer that closes the socket would need the
same internals to find the socket, a thread per request, and another way to limit the size.
"""

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

from airflow_provider_fireworks.client import responses

_deadline: ContextVar[float | None] = ContextVar("_deadline", default=None)


@contextmanager
def response_deadline(deadline: float) -> Iterator[None]:
    """
    Require each response that begins in the block to be complete by a deadline, headers included.

    :param deadline: a value of ``time.monotonic()``. Reading after it raises ``TimeoutError``, which urllib3 wraps.
    """
    token = _deadline.set(deadline)
    try:
        yield
    finally:
        _deadline.reset(token)


def set_response_deadline(deadline: float) -> None:
    """Change the deadline of the surrounding :func:`response_deadline`, as soon as a request of any size is sent."""
    _deadline.set(deadline)


class DeadlineAdapter(requests.adapters.HTTPAdapter):
    """An adapter whose connections respect :func:`response_deadline`."""

    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        """Create the pools of direct connections."""
        super().init_poolmanager(*args, **kwargs)
        _use_deadlines(self.poolmanager)

    def proxy_manager_for(self, proxy: str, **kwargs: Any) -> Any:
        """Create the pools of connections through a proxy."""
        known = proxy in self.proxy_manager
        manager = super().proxy_manager_for(proxy, **kwargs)
        return manager if known else _use_deadlines(manager)


class _DeadlineReader(io.RawIOBase):
    """Reads the bytes of one response, until its deadline and up to twice the largest body."""

    def __init__(self, raw: io.RawIOBase, sock: socket.socket, deadline: float) -> None:
        self._raw = raw
        self._sock = sock
        self._deadline = deadline
        self._read_timeout = sock.gettimeout()
        # Twice the body leaves room for headers, and for the length line before each chunk of the body.
        self._room = 2 * responses.MAX_BODY_BYTES

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int | None:
        left = self._deadline - time.monotonic()
        if left <= 0:
            raise TimeoutError("the response is not complete in time")
        self._sock.settimeout(min(left, self._read_timeout or left))
        count: int | None = self._raw.readinto(buffer)
        self._room -= count or 0
        if self._room < 0:
            raise OSError("the response does not end")
        return count

    def close(self) -> None:
        self._raw.close()
        super().close()


class _Response(http.client.HTTPResponse):
    def __init__(self, sock: socket.socket, *args: Any, **kwargs: Any) -> None:
        super().__init__(sock, *args, **kwargs)
        deadline = _deadline.get()
        if deadline is not None:
            self.fp = io.BufferedReader(_DeadlineReader(self.fp.detach(), sock, deadline))


@functools.cache
def _with_deadlines(pool: type[urllib3.HTTPConnectionPool]) -> type[urllib3.HTTPConnectionPool]:
    connection = type("Connection", (pool.ConnectionCls,), {"response_class": _Response})
    return type(pool.__name__, (pool,), {"ConnectionCls": connection})


def _use_deadlines(manager: Any) -> Any:
    """Replace the pool classes of a manager, which may be that of a SOCKS proxy."""
    pools = manager.pool_classes_by_scheme
    manager.pool_classes_by_scheme = {scheme: _with_deadlines(pool) for scheme, pool in pools.items()}
    return manager
