"""Connections that break after the request was sent, over TLS and through proxies."""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from airflow_provider_fireworks.client import ApiError, ModelName, NoResponseError, api, async_client
from tests.faults.network import NOT_LOOPBACK, Proxy, create_certificate
from tests.integration.clients import sync_client
from tests.integration.servers import Server

MODEL = ModelName("demo", "my-model")


@pytest.fixture
def trusted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A certificate for this machine with its key, which both clients trust."""
    pem = create_certificate(tmp_path)
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(pem))
    monkeypatch.setenv("SSL_CERT_FILE", str(pem))
    for name in [name for name in os.environ if name.lower().endswith("_proxy")]:
        monkeypatch.delenv(name)
    async_client._tls_context.cache_clear()
    yield pem
    async_client._tls_context.cache_clear()


def test_post_with_response_lost_behind_proxy_is_sent_once(trusted, monkeypatch):
    # The server closes each connection instead of responding.
    with Server(lambda: [], certificate=trusted, host=NOT_LOOPBACK) as server, Proxy() as proxy:
        monkeypatch.setenv("HTTPS_PROXY", f"http://127.0.0.1:{proxy.port}")
        with pytest.raises(NoResponseError) as lost:
            sync_client(server.url).send(api.prepare_model(MODEL, "FP8"))
    assert proxy.attempts, "the request bypassed the proxy"
    assert lost.value.outcome_unknown
    assert len(server.requests) == 1


class BreakingTls(Server):
    """Sends an invalid TLS record after its response."""

    def send(self, peer: socket.socket) -> None:
        for part in self.respond():
            peer.sendall(part)
        os.write(peer.fileno(), b"\x17\x03\x03\x00\x20" + b"A" * 32)


@pytest.mark.parametrize(
    "sent", [[], [b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{"]], ids=["before headers", "in body"]
)
def test_tls_that_breaks_in_a_response_is_no_response(trusted, send, sent):
    server = BreakingTls(lambda: sent, certificate=trusted, host=NOT_LOOPBACK)
    with server, pytest.raises(NoResponseError):
        send(server.url, api.get_model(MODEL))
    assert len(server.requests) == 1


def test_socks_proxy_is_used(trusted, monkeypatch):
    hello: list[bytes] = []

    def accept(listener: socket.socket) -> None:
        peer, _ = listener.accept()
        with peer:
            hello.append(peer.recv(100))

    with socket.create_server(("127.0.0.1", 0)) as listener:
        monkeypatch.setenv("HTTPS_PROXY", f"socks5h://127.0.0.1:{listener.getsockname()[1]}")
        thread = threading.Thread(target=accept, args=(listener,), daemon=True)
        thread.start()
        with pytest.raises(ApiError):
            sync_client("https://api.invalid").send(api.get_model(MODEL), attempts=1)
        thread.join(10)
    assert hello[0][:1] == b"\x05"
