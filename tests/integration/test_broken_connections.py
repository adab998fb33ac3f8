"""Connections that break when the request is already there, over TLS and through a proxy."""

from __future__ import annotations

import os
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from airflow_provider_fireworks.client import ApiError, NoResponseError, api, triggerer
from airflow_provider_fireworks.client.names import ModelName
from tests.faults.network import NOT_LOOPBACK, Proxy, certificate
from tests.integration.raw import worker_gateway

MODEL = ModelName("demo", "my-model")


@pytest.fixture
def trusted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A certificate for this machine that everybody trusts, with its key."""
    pem = certificate(tmp_path)
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(pem))
    monkeypatch.setenv("SSL_CERT_FILE", str(pem))
    for name in [name for name in os.environ if name.lower().endswith("_proxy")]:
        monkeypatch.delenv(name)
    triggerer._tls_context.cache_clear()
    yield pem
    triggerer._tls_context.cache_clear()


@contextmanager
def tls_server(pem: Path, then: Callable[[ssl.SSLSocket], None]) -> Iterator[tuple[str, list[bytes]]]:
    """Serve TLS: take each request whole, and do something else than answer it."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pem)
    requests: list[bytes] = []

    def serve(peer: socket.socket) -> None:
        with suppress(OSError), context.wrap_socket(peer, server_side=True) as secured:
            request = b""
            while b"\r\n\r\n" not in request or (request.startswith(b"POST") and b"}" not in request):
                request += secured.recv(65536)
            requests.append(request)
            then(secured)

    def accept() -> None:
        with suppress(OSError):
            while True:
                peer, _ = server.accept()
                threading.Thread(target=serve, args=(peer,), daemon=True).start()

    with socket.create_server((NOT_LOOPBACK, 0)) as server:
        threading.Thread(target=accept, daemon=True).start()
        yield f"https://{NOT_LOOPBACK}:{server.getsockname()[1]}", requests


def test_a_post_whose_answer_a_proxy_loses_is_not_made_again(trusted, monkeypatch):
    with tls_server(trusted, lambda secured: None) as (url, requests), Proxy() as proxy:
        monkeypatch.setenv("HTTPS_PROXY", f"http://127.0.0.1:{proxy.port}")
        with pytest.raises(NoResponseError) as lost:
            worker_gateway(url).send(api.prepare_model(MODEL, "FP8"))
    assert proxy.met, "it went past the proxy"
    assert lost.value.outcome_unknown
    assert len(requests) == 1


def broken_record(secured: ssl.SSLSocket) -> None:
    os.write(secured.fileno(), b"\x17\x03\x03\x00\x20" + b"A" * 32)


@pytest.mark.parametrize(
    "before", [b"", b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{"], ids=["head", "body"]
)
def test_tls_that_breaks_midway_is_a_lost_answer(trusted, ask, before):
    def answer(secured: ssl.SSLSocket) -> None:
        if before:
            secured.sendall(before)
        broken_record(secured)

    with tls_server(trusted, answer) as (url, _), pytest.raises(NoResponseError):
        ask(url, api.get_model(MODEL))


def test_a_socks_proxy_is_spoken_to(trusted, monkeypatch):
    with socket.create_server(("127.0.0.1", 0)) as server:
        monkeypatch.setenv("HTTPS_PROXY", f"socks5h://127.0.0.1:{server.getsockname()[1]}")
        hello: list[bytes] = []

        def accept() -> None:
            peer, _ = server.accept()
            with peer:
                hello.append(peer.recv(100))

        threading.Thread(target=accept, daemon=True).start()
        with pytest.raises(ApiError):
            worker_gateway("https://emulator.invalid").send(api.get_model(MODEL), attempts=1)
    assert hello[0][:1] == b"\x05"
