"""What is between a task and the API: TLS, proxies, names and clocks, real ones if possible."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Callable
from datetime import datetime, timedelta, timezone
from ipaddress import ip_address
from pathlib import Path
from types import ModuleType
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

NOT_LOOPBACK = "0.0.0.0"
"""An address of this machine for which a proxy is used."""


def create_certificate(folder: Path) -> Path:
    """Create a key and a self-signed certificate for this machine, in one file."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "the fault matrix")])
    now = datetime.now(tz=timezone.utc)
    addresses = [x509.IPAddress(ip_address(address)) for address in ("127.0.0.1", NOT_LOOPBACK)]
    certificate = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName(addresses), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    file = folder / "server.pem"
    pem = serialization.Encoding.PEM
    file.write_bytes(
        key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
        + certificate.public_bytes(pem)
    )
    return file


class _Relay(ABC):
    """
    A server on a port of its own, which forwards connections to another port.

    :ivar attempts: when it was contacted, in seconds since the epoch.
    """

    def __init__(self, tls: ssl.SSLContext | None = None) -> None:
        self.attempts: list[float] = []
        self.port = 0
        self._tls = tls
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)

    def __enter__(self) -> Any:
        self._thread.start()
        self.port = self._run(self._listen())
        return self

    def __exit__(self, *_: object) -> None:
        self._run(self._close())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def _run(self, awaitable: Any) -> Any:
        return asyncio.run_coroutine_threadsafe(awaitable, self._loop).result(10)

    async def _listen(self) -> int:
        self._server = await asyncio.start_server(self._handle, NOT_LOOPBACK, 0, ssl=self._tls)
        return int(self._server.sockets[0].getsockname()[1])

    async def _close(self) -> None:
        self._server.close()
        others = asyncio.all_tasks() - {asyncio.current_task()}
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)

    async def _handle(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
            await self._serve(reader, writer)
        writer.close()

    @abstractmethod
    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve one connection."""


class TlsServer(_Relay):
    """
    The API behind TLS.

    :param pem: file with the key and the certificate.
    :param port: port of the API.
    """

    def __init__(self, pem: Path, port: int) -> None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(pem)
        # Called at the beginning of each handshake, even if the client then rejects the certificate.
        context.sni_callback = lambda *_: self.attempts.append(time.time())
        super().__init__(context)
        self._api_port = port

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await _forward(reader, writer, "127.0.0.1", self._api_port)


class Proxy(_Relay):
    """
    A proxy for https, which opens a tunnel for each ``CONNECT``.

    :param refuses: refuse instead.
    """

    def __init__(self, *, refuses: bool = False) -> None:
        super().__init__()
        self._refuses = refuses

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        self.attempts.append(time.time())
        method, target, _ = head.split(" ", 2)
        if method != "CONNECT" or self._refuses:
            writer.write(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n")
            await writer.drain()
            return
        assert "authorization" not in head.lower()
        host, _, port = target.rpartition(":")
        writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
        await _forward(reader, writer, host, int(port))


async def _forward(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, host: str, port: int) -> None:
    response_reader, request_writer = await asyncio.open_connection(host, port)

    async def pump(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
        while data := await source.read(65_536):
            sink.write(data)
            await sink.drain()

    directions = [
        asyncio.create_task(pump(reader, request_writer)),
        asyncio.create_task(pump(response_reader, writer)),
    ]
    try:
        # Whichever side closes the connection first closes it for both.
        await asyncio.wait(directions, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for direction in directions:
            direction.cancel()
        request_writer.close()


class Clock(ModuleType):
    """The module ``time``, with a ``time()`` that can be set back."""

    def __init__(self) -> None:
        super().__init__("time")
        self.set_back = 0.0
        self.was_read_after_it = False

    def __getattr__(self, name: str) -> Any:
        return getattr(time, name)

    def time(self) -> float:
        self.was_read_after_it = self.was_read_after_it or self.set_back > 0
        return time.time() - self.set_back


class Attempts(list[float]):
    """
    The times of attempts, in seconds since the epoch.

    :ivar took: seconds that all of them took.
    """

    took = 0.0


def spy_on(
    function: Callable[..., Any], matches: Callable[..., bool], attempts: Attempts
) -> Callable[..., Any]:
    """
    Return a function that does the same, and notes its calls.

    :param matches: takes the arguments of a call, and returns whether to note it.
    """

    def spy(*args: Any, **kwargs: Any) -> Any:
        if not matches(*args):
            return function(*args, **kwargs)
        attempts.append(time.time())
        began = time.monotonic()
        try:
            return function(*args, **kwargs)
        finally:
            attempts.took += time.monotonic() - began

    return spy
