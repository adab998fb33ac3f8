"""Servers that send just the bytes they are told to, and one attempt at a call, over each of the transports."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import threading
from collections.abc import Callable, Iterable
from typing import Any

from airflow_provider_fireworks.client import api
from airflow_provider_fireworks.client.async_client import AsyncClient
from airflow_provider_fireworks.client.config import ClientConfig
from airflow_provider_fireworks.client.sync_client import SyncClient, make_session
from airflow_provider_fireworks.hooks import fireworks as hooks

KEY = "fw_0123456789"


async def send_from_triggerer(call: api.Request[Any], conn_id: str | None = "fireworks_default") -> Any:
    """Make a call over the client that all triggers of a connection share; once."""
    async with hooks.shared_client(conn_id) as emulator:
        return await emulator.send(call)


class Server:
    """Sends to everyone who asks what it is made with, byte by byte as it comes, until they leave."""

    def __init__(self, answer: Callable[[], Iterable[bytes]]) -> None:
        self._answer = answer
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._socket.getsockname()[1]}"
        self.requests: list[bytes] = []
        self.hung_up = threading.Event()

    def __enter__(self) -> Server:
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.close()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                peer, _ = self._socket.accept()
                threading.Thread(target=self._serve, args=(peer,), daemon=True).start()

    def _serve(self, peer: socket.socket) -> None:
        with peer, contextlib.suppress(OSError):
            self.requests.append(peer.recv(65536))
            for part in self._answer():
                peer.sendall(part)
            peer.shutdown(socket.SHUT_WR)
            while peer.recv(65536):
                pass
        self.hung_up.set()


def worker_gateway(url: str, **limits: float) -> SyncClient:
    config = ClientConfig.make(host=url, api_key=KEY)
    return SyncClient(config, make_session(config), **limits)


def shared_client(url: str) -> AsyncClient:
    return AsyncClient(ClientConfig.make(host=url, api_key=KEY))


def in_worker(url: str, call: api.Request[Any]) -> Any:
    return worker_gateway(url).send(call, attempts=1)


def in_triggerer(url: str, call: api.Request[Any]) -> Any:
    async def ask() -> Any:
        emulator = shared_client(url)
        try:
            return await emulator.send(call)
        finally:
            await emulator.close()

    return asyncio.run(ask())


def answer(body: bytes, *headers: str, status: str = "200 OK") -> bytes:
    """One whole answer."""
    lines = (f"HTTP/1.1 {status}", f"Content-Length: {len(body)}", "Content-Type: application/json", *headers)
    return "\r\n".join((*lines, "", "")).encode("latin-1") + body
