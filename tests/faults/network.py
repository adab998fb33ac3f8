"""What stands between a task and the API: TLS, proxies, names and clocks, the real ones as far as there are."""

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
"""This machine, by an address that proxies are not passed by for."""


def certificate(folder: Path) -> Path:
    """Make a key and a certificate for this machine, signed by itself, in one file."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "the fault matrix")])
    now = datetime.now(tz=timezone.utc)
    addresses = [x509.IPAddress(ip_address(address)) for address in ("127.0.0.1", NOT_LOOPBACK)]
    made = (
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
        + made.public_bytes(pem)
    )
    return file


class _Relay(ABC):
    """
    Passes what comes in at a port on to another one.

    :ivar port: where it listens.
    :ivar met: when it was spoken to, in seconds since the epoch.
    """

    def __init__(self, tls: ssl.SSLContext | None = None) -> None:
        self.met: list[float] = []
        self.port = 0
        self._tls = tls
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)

    def __enter__(self) -> Any:
        self._thread.start()
        self.port = self._run(self._listen())
        return self

    def __exit__(self, *_: object) -> None:
        self._run(self._end())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def _run(self, awaitable: Any) -> Any:
        return asyncio.run_coroutine_threadsafe(awaitable, self._loop).result(10)

    async def _listen(self) -> int:
        self._server = await asyncio.start_server(self._guarded, NOT_LOOPBACK, 0, ssl=self._tls)
        return int(self._server.sockets[0].getsockname()[1])

    async def _end(self) -> None:
        self._server.close()
        others = asyncio.all_tasks() - {asyncio.current_task()}
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)

    async def _guarded(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
            await self._meet(reader, writer)
        writer.close()

    @abstractmethod
    async def _meet(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Take what has come in."""


class TlsServer(_Relay):
    """
    The API behind TLS.

    :param pem: its key and certificate.
    :param port: of the API.
    """

    def __init__(self, pem: Path, port: int) -> None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(pem)
        # Called with every hello, so also where the other side then does not like the certificate.
        context.sni_callback = lambda *_: self.met.append(time.time())
        super().__init__(context)
        self._emulator = port

    async def _meet(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await _pass_on(reader, writer, "127.0.0.1", self._emulator)


class Proxy(_Relay):
    """
    A proxy for https: it is asked for a tunnel, and digs it.

    :param refuses: it digs none.
    """

    def __init__(self, *, refuses: bool = False) -> None:
        super().__init__()
        self._refuses = refuses

    async def _meet(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        self.met.append(time.time())
        verb, target, _ = head.split(" ", 2)
        if verb != "CONNECT" or self._refuses:
            writer.write(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n")
            await writer.drain()
            return
        assert "authorization" not in head.lower()
        host, _, port = target.rpartition(":")
        writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
        await _pass_on(reader, writer, host, int(port))


async def _pass_on(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, host: str, port: int) -> None:
    back, forth = await asyncio.open_connection(host, port)

    async def pump(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
        while data := await source.read(65_536):
            sink.write(data)
            await sink.drain()

    ways = [asyncio.create_task(pump(reader, forth)), asyncio.create_task(pump(back, writer))]
    try:
        # Whoever ends it first ends it for both.
        await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for way in ways:
            way.cancel()
        forth.close()


class Clock(ModuleType):
    """The module ``time``, but for a ``time()`` that can be set back."""

    def __init__(self) -> None:
        super().__init__("time")
        self.set_back = 0.0
        self.asked = False

    def __getattr__(self, name: str) -> Any:
        return getattr(time, name)

    def time(self) -> float:
        self.asked = self.asked or self.set_back > 0
        return time.time() - self.set_back


class Attempts(list[float]):
    """
    When something was tried, in seconds since the epoch.

    :ivar took: the seconds that the system took for all of them.
    """

    took = 0.0


def spy_on(function: Callable[..., Any], of: Callable[..., bool], met: Attempts) -> Callable[..., Any]:
    """
    Return a function that does what this one does, and takes note of when it was called.

    :param of: which calls it takes note of, told from their arguments.
    """

    def spying(*args: Any, **kwargs: Any) -> Any:
        if not of(*args):
            return function(*args, **kwargs)
        met.append(time.time())
        began = time.monotonic()
        try:
            return function(*args, **kwargs)
        finally:
            met.took += time.monotonic() - began

    return spying
