"""The API key is sent to the Base URL only: not to the target of a redirect, a proxy, or an untrusted server."""

from __future__ import annotations

import time
from collections.abc import Iterator
from functools import partial
from typing import Any
from urllib.parse import urlsplit

import pytest

from airflow_provider_fireworks.client import ApiError, ConnectError, ModelName, UnavailableError, api
from tests.faults.network import create_certificate
from tests.integration.clients import KEY, send_sync
from tests.integration.servers import Server, http_response, json_response
from tests.timing import use_timing

READ = api.get_model(ModelName("demo", "m"))


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
@pytest.mark.parametrize("target", ["{url}/v1/accounts", "//{host}/", "https://{host}/"])
def test_redirect_is_not_followed(send, status, target):
    with Server(lambda: [json_response({})]) as other:
        target = target.format(url=other.url, host=urlsplit(other.url).netloc)
        redirect = json_response({}, f"Location: {target}", status=f"{status} Moved")
        with Server(lambda: [redirect]) as server, pytest.raises(UnavailableError) as failure:
            send(server.url, READ)
    assert f"redirected to {target}, which is not followed" in str(failure.value)
    assert len(server.requests) == 1
    assert other.requests == []


def test_untrusted_server_receives_nothing(send, tmp_path):
    server = Server(lambda: [json_response({})], certificate=create_certificate(tmp_path))
    with server, pytest.raises(ConnectError, match="CERTIFICATE_VERIFY_FAILED"):
        send(server.url, READ)
    assert server.hung_up.wait(10)
    assert server.requests == []


# ---- proxies


@pytest.fixture
def proxy(monkeypatch: pytest.MonkeyPatch) -> Any:
    """A proxy in the environment, which refuses every connection."""
    for name in ("NO_PROXY", "no_proxy", "http_proxy", "https_proxy"):
        monkeypatch.delenv(name, raising=False)
    with Server(lambda: [b"HTTP/1.1 403 Forbidden\r\n\r\n"]) as proxy:
        for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
            monkeypatch.setenv(name, proxy.url)
        yield proxy


def test_proxy_receives_no_key(send, proxy):
    with pytest.raises(ConnectError):
        send("https://api.example", READ)
    (request,) = proxy.requests
    assert request.startswith(b"CONNECT api.example:443 ")
    assert KEY.encode() not in request


def test_trickling_proxy_is_left_in_time(send, monkeypatch, proxy):
    use_timing(monkeypatch, response_timeout=0.3)

    def parts() -> Iterator[bytes]:
        yield b"HTTP/1.1 200 OK\r\n"
        for _ in range(1000):
            time.sleep(0.02)
            yield b"X: y\r\n"

    proxy.respond = parts
    started = time.monotonic()
    with pytest.raises(ApiError):
        send("https://api.example", READ)
    assert time.monotonic() - started < 10
    assert len(proxy.requests) == 1


def test_server_on_this_machine_is_reached_without_a_proxy(send, proxy):
    with Server(lambda: [json_response({"state": "READY"})]) as server:
        assert send(server.url, READ).state == "READY"
    assert proxy.requests == []


# ---- a key that is echoed where the text is cut

ECHOES = {
    "message": lambda n: json_response({"code": 3, "message": "x" * n + KEY}, status="400 Bad"),
    "code": lambda n: json_response({"code": "x" * n + KEY, "message": "m"}, status="400 Bad"),
    "request id": lambda n: json_response({}, "X-Request-Id: " + "x" * n + KEY, status="500 Broken"),
    "location": lambda n: json_response({}, "Location: https://" + "x" * n + KEY, status="302 Found"),
    "text": lambda n: http_response(b"x" * n + KEY.encode(), "Connection: close", status="502 Bad"),
    "title": lambda n: http_response(
        b"<title>" + b"x" * n + KEY.encode(), "Connection: close", status="502 Bad"
    ),
    "encoding": lambda n: json_response({}, "Content-Encoding: " + "x" * n + KEY),
}


@pytest.mark.parametrize("echo", ECHOES.values(), ids=ECHOES)
def test_echoed_key_is_removed_even_if_it_is_cut(echo):
    for limit in (200, 500, 4096):
        for before in range(limit - len(KEY) - 50, limit + 2):
            with Server(partial(list, [echo(before)])) as server, pytest.raises(ApiError) as failure:
                send_sync(server.url, READ)
            assert KEY[:5] not in str(failure.value), before
