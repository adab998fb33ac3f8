"""Endless, slow, oversized and malformed responses, read by both clients."""

from __future__ import annotations

import contextlib
import gzip
import itertools
import time
import tracemalloc
import zlib
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from airflow_provider_fireworks.client import api, responses
from airflow_provider_fireworks.client.errors import (
    ApiError,
    NoResponseError,
    NotFoundError,
    RateLimitedError,
    UnavailableError,
)
from airflow_provider_fireworks.client.names import DeploymentName, ModelName
from tests.integration.clients import async_client, send_sync, sync_client
from tests.integration.servers import Server, http_response, json_response
from tests.timing import use_timing

MODEL = ModelName("demo", "my-model")
READ = api.get_model(MODEL)
WRITE = api.prepare_model(MODEL, "FP8")
READY = b'{"name": "accounts/demo/models/my-model", "state": "READY"}'
HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
CHUNKED = HEAD + b"Transfer-Encoding: chunked\r\n\r\n"
GZIP = HEAD + b"Content-Encoding: gzip\r\n\r\n"


# ---- slow responses

TRICKLE_SECONDS = 20.0
"""For how long a server trickles. Every request has to end much earlier."""


def trickle(start: bytes, drop: bytes) -> Callable[[], Iterator[bytes]]:
    def parts() -> Iterator[bytes]:
        yield start
        for _ in range(int(TRICKLE_SECONDS / 0.02)):
            time.sleep(0.02)
            yield drop

    return parts


TRICKLES = {
    "status line": trickle(b"HTTP/1.1 200 ", b"O"),
    "header": trickle(HEAD + b"X-Long: ", b"x"),
    "headers": trickle(HEAD, b"X-Many: x\r\n"),
    "interim responses": trickle(b"", b"HTTP/1.1 100 Continue\r\n\r\n"),
    "body": trickle(HEAD + b"Content-Length: 100000\r\n\r\n", b" "),
    "body without length": trickle(HEAD + b"\r\n", b" "),
    "chunks": trickle(CHUNKED, b"1\r\n \r\n"),
    "length of a chunk": trickle(CHUNKED, b"0"),
    "trailers": trickle(CHUNKED + b"2\r\n{}\r\n0\r\n", b"X-Many: x\r\n"),
    "compressed body": trickle(GZIP, gzip.compress(b"{}")[:1]),
}


@pytest.mark.parametrize("api_request", [READ, WRITE], ids=["read", "write"])
@pytest.mark.parametrize("parts", TRICKLES.values(), ids=TRICKLES)
def test_trickling_response_ends_at_the_response_timeout(send, parts, api_request, monkeypatch):
    use_timing(monkeypatch, response_timeout=0.3)
    started = time.monotonic()
    with Server(parts) as server, pytest.raises(NoResponseError) as late:
        send(server.url, api_request)
    assert time.monotonic() - started < TRICKLE_SECONDS / 2
    assert late.value.is_transient
    assert late.value.outcome_unknown
    assert server.hung_up.wait(TRICKLE_SECONDS)
    assert len(server.requests) == 1


def test_response_timeout_is_named_in_the_error(send, monkeypatch):
    use_timing(monkeypatch, response_timeout=0.3)
    with Server(TRICKLES["body"]) as server, pytest.raises(NoResponseError) as late:
        send(server.url, READ)
    assert str(late.value) == f"GET /v1/{MODEL}: the response of {server.url} was not complete after 0.3 s"


def test_slow_response_within_the_timeout_is_read(send):
    def parts() -> Iterator[bytes]:
        for byte in http_response(READY):
            time.sleep(0.001)
            yield bytes([byte])

    with Server(parts) as server:
        assert send(server.url, READ).state == "READY"


def test_response_timeout_starts_anew_with_each_request(monkeypatch):
    use_timing(monkeypatch, response_timeout=2.0)

    def parts() -> Iterator[bytes]:
        for _ in range(4):
            time.sleep(0.7)
            yield http_response(READY)

    with Server(parts) as server:
        client = sync_client(server.url)
        for _ in range(4):
            assert client.send(READ, attempts=1).state == "READY"
    assert len(server.requests) == 1, "the connection was not reused"


def test_delete_with_trickling_response_is_sent_once(monkeypatch):
    use_timing(monkeypatch, response_timeout=0.3)
    with Server(TRICKLES["body"]) as server, pytest.raises(NoResponseError):
        sync_client(server.url).send(api.delete_deployment(DeploymentName("demo", "d")))
    assert len(server.requests) == 1


# ---- endless and large responses


def gzip_bomb() -> Iterator[bytes]:
    """10 GB of blanks, a few KB at a time."""
    compressor = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    block = compressor.compress(b" " * 16_000_000) + compressor.flush(zlib.Z_FULL_FLUSH)
    yield GZIP + bytes.fromhex("1f8b08000000000002ff")
    for _ in range(640):
        yield block


def endless(start: bytes, part: bytes) -> Callable[[], Iterator[bytes]]:
    return lambda: itertools.chain([start], itertools.repeat(part))


ENDLESS = {
    "body": lambda: [HEAD + b"Content-Length: 10000000000\r\n\r\n", *[b" " * 65536] * 5000],
    "body without length": endless(HEAD + b"\r\n", b" " * 65536),
    "chunks": endless(CHUNKED, b"10000\r\n" + b" " * 65536 + b"\r\n"),
    "one chunk": endless(CHUNKED + b"ffffffffff\r\n", b" " * 65536),
    "length of a chunk": endless(CHUNKED, b"0" * 65536),
    "header": endless(HEAD + b"X: ", b"x" * 65536),
    "headers": endless(HEAD, b"X: x\r\n" * 10000),
    "trailers": endless(CHUNKED + b"0\r\n", b"X: x\r\n" * 10000),
    "interim responses": endless(b"", b"HTTP/1.1 100 Continue\r\n\r\n" * 1000),
    "compressed body": gzip_bomb,
}


@pytest.mark.parametrize("parts", ENDLESS.values(), ids=ENDLESS)
def test_endless_response_is_aborted_and_never_held(send, parts, monkeypatch):
    use_timing(monkeypatch, response_timeout=3.0)
    tracemalloc.start()
    try:
        with Server(parts) as server, pytest.raises(NoResponseError) as aborted:
            send(server.url, READ)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 6 * responses.MAX_BODY_BYTES
    assert aborted.value.outcome_unknown


@pytest.mark.parametrize("where", ["headers", "trailers", "interim responses", "length of a chunk"])
def test_size_limit_counts_what_surrounds_the_body(where, monkeypatch):
    monkeypatch.setattr(responses, "MAX_BODY_BYTES", 10_000)
    with Server(ENDLESS[where]) as server, pytest.raises(NoResponseError) as aborted:
        send_sync(server.url, READ)
    assert "not complete" not in str(aborted.value), "only the timeout has ended it"


@pytest.mark.parametrize("status", ["200 OK", "400 Bad Request", "503 Service Unavailable"])
@pytest.mark.parametrize("compressed", [False, True], ids=["plain", "gzip"])
def test_body_of_the_size_limit_is_read_and_a_larger_one_not(send, status, compressed, monkeypatch):
    monkeypatch.setattr(responses, "MAX_BODY_BYTES", 10_000)

    def send_for(size: int) -> Any:
        body = READY.ljust(size)
        if compressed:
            sent = http_response(gzip.compress(body), "Content-Encoding: gzip", status=status)
        else:
            sent = http_response(body, status=status)
        with Server(lambda: [sent]) as server:
            return send(server.url, READ)

    if status == "200 OK":
        assert send_for(10_000).state == "READY"
    else:
        with pytest.raises(ApiError, match="unexpected response"):
            send_for(10_000)
    with pytest.raises(NoResponseError, match=f"HTTP {status[:3]}: .* more than 10000 bytes"):
        send_for(10_001)


# ---- odd and malformed responses

VALID = {
    "gzip": http_response(gzip.compress(READY), "Content-Encoding: gzip"),
    "x-gzip": http_response(gzip.compress(READY), "Content-Encoding: X-GZip"),
    "identity": http_response(READY, "Content-Encoding: identity"),
    "declared as HTML": http_response(READY, "Content-Type: text/html"),
    "unknown charset": http_response(READY, "Content-Type: application/json; charset=utf-99"),
    "byte order mark": http_response(b"\xef\xbb\xbf" + READY),
    "UTF-16": http_response(READY.decode().encode("utf-16")),
    "chunked": CHUNKED + b"%x\r\n%s\r\n0\r\n\r\n" % (len(READY), READY),
    "ended by closing": HEAD + b"\r\n" + READY,
    "NaN and Infinity": http_response(b'{"state": "READY", "x": [NaN, Infinity, 1e999]}'),
    "after an interim response": b"HTTP/1.1 100 Continue\r\n\r\n" + http_response(READY),
}


@pytest.mark.parametrize("sent", VALID.values(), ids=VALID)
def test_unusual_but_valid_response_is_read(send, sent):
    with Server(lambda: [sent]) as server:
        assert send(server.url, READ).state == "READY"


AMBIGUOUS = {
    "complete JSON, too long a length": HEAD + b"Content-Length: 1000\r\n\r\n" + READY,
    "length of letters": HEAD + b"Content-Length: abc\r\n\r\n" + READY,
    "negative length": HEAD + b"Content-Length: -5\r\n\r\n" + READY,
    "two lengths": http_response(READY, "Content-Length: 3"),
    "length and chunked": http_response(READY, "Transfer-Encoding: chunked"),
}


@pytest.mark.parametrize("sent", AMBIGUOUS.values(), ids=AMBIGUOUS)
def test_ambiguous_response_is_read_or_an_api_error(send, sent):
    """The HTTP libraries differ here."""
    with Server(lambda: [sent]) as server, contextlib.suppress(ApiError):
        assert send(server.url, READ).state == "READY"


INVALID = {
    "empty": (http_response(b""), NoResponseError),
    "empty gzip": (http_response(b"", "Content-Encoding: gzip"), NoResponseError),
    "204": (b"HTTP/1.1 204 No Content\r\n\r\n", NoResponseError),
    "list": (http_response(b"[{}]"), NoResponseError),
    "text": (http_response(b'"x"'), NoResponseError),
    "null": (http_response(b"null"), NoResponseError),
    "HTML": (http_response(b"<html>"), NoResponseError),
    "cut JSON": (http_response(READY[:-1]), NoResponseError),
    "cut body": (HEAD + b"Content-Length: 1000\r\n\r\n" + READY[:-1], NoResponseError),
    "cut gzip": (http_response(gzip.compress(READY)[:20], "Content-Encoding: gzip"), NoResponseError),
    "deep lists": (http_response(b"[" * 1_000_000), NoResponseError),
    "deep objects": (http_response(b'{"a":' * 100_000 + b"1" + b"}" * 100_000), NoResponseError),
    "invalid UTF-8": (http_response(b'{"state": "\xff"}'), NoResponseError),
    "huge number": (http_response(b'{"x": ' + b"9" * 100_000 + b"}"), NoResponseError),
    "number for text": (http_response(b'{"state": 5}'), NoResponseError),
    "encoding not asked for": (http_response(READY, "Content-Encoding: br"), NoResponseError),
    "gzip twice": (
        http_response(gzip.compress(gzip.compress(READY)), "Content-Encoding: gzip, gzip"),
        NoResponseError,
    ),
    "not gzip": (http_response(READY, "Content-Encoding: gzip"), NoResponseError),
    "SSH": (b"SSH-2.0-OpenSSH_9.2\r\n", NoResponseError),
    "HTTP/2": (b"\x00\x00\x12\x04\x00\x00\x00\x00\x00", NoResponseError),
    "no status": (b"HTTP/1.1\r\n\r\n", NoResponseError),
    "status of letters": (b"HTTP/1.1 abc OK\r\n\r\n", NoResponseError),
    "closed at once": (b"", NoResponseError),
    "chunk length of letters": (CHUNKED + b"xyz\r\n" + READY, NoResponseError),
    "negative chunk length": (CHUNKED + b"-5\r\n" + READY, NoResponseError),
    "huge chunk length": (CHUNKED + b"f" * 40 + b"\r\n" + READY, NoResponseError),
    "header without colon": (HEAD + b"no colon\r\nContent-Length: 2\r\n\r\n[]", NoResponseError),
    "NUL in header": (HEAD + b"X: a\x00b\r\nContent-Length: 2\r\n\r\n[]", NoResponseError),
    "101": (b"HTTP/1.1 101 Switching\r\nUpgrade: x\r\n\r\n" + READY, ApiError),
    "status 999": (http_response(READY, status="999 Odd"), UnavailableError),
    "status 600": (http_response(READY, status="600 Odd"), UnavailableError),
    "404 in gzip": (
        http_response(
            gzip.compress(b'{"code": 5, "message": "m"}'), "Content-Encoding: gzip", status="404 Not Found"
        ),
        NotFoundError,
    ),
}
INVALID |= {
    f"redirect to {target[:20]!r}": (
        http_response(READY, f"Location: {target}", status="302 Found"),
        ApiError,
    )
    for target in (
        "",
        "//",
        "http://[",
        "http://[::1",
        "javascript:x",
        "http://a:b@c:99999999/",
        "\xff",
        "x" * 9999,
    )
}
INVALID |= {
    f"retry after {delay[:30]!r}": (
        http_response(b'{"code": 8, "message": "m"}', f"Retry-After: {delay}", status="429 Too Many"),
        RateLimitedError,
    )
    for delay in ("nan", "-inf", "1e999", "9" * 5000, "-1", "Mon, 99 Foo 99999 99:99:99", "0 0 0 0", "\xb2")
}


@pytest.mark.parametrize(("sent", "kind"), INVALID.values(), ids=INVALID)
def test_invalid_response_is_an_api_error(send, sent, kind):
    with Server(lambda: [sent]) as server, pytest.raises(kind) as invalid:
        send(server.url, READ)
    assert str(invalid.value).isprintable()
    assert len(str(invalid.value)) < 2000
    if invalid.value.retry_after is not None:
        assert 0 <= invalid.value.retry_after <= 60


async def test_cookies_are_not_sent_back():
    with Server(lambda: [http_response(READY, "Set-Cookie: a=b", "Connection: close")]) as server:
        blocking, asynchronous = sync_client(server.url), async_client(server.url)
        for _ in range(2):
            blocking.send(READ, attempts=1)
            await asynchronous.send(READ)
        await asynchronous.close()
    assert len(server.requests) == 4
    assert not any(b"cookie" in request.lower() for request in server.requests)


# ---- lists


def test_list_with_ever_more_pages_fails(monkeypatch):
    numbers = itertools.count()
    monkeypatch.setattr(api, "MAX_PAGES", 5)

    def page() -> list[bytes]:
        return [json_response({"models": [], "nextPageToken": str(next(numbers))})]

    with Server(page) as server, pytest.raises(ApiError, match="more than 5 pages"):
        sync_client(server.url).send_all(api.list_models("demo"))
    assert len(server.requests) == 5


def test_list_that_takes_too_long_fails(monkeypatch):
    numbers = itertools.count()
    use_timing(monkeypatch, list_timeout=0.3)

    def page() -> Iterator[bytes]:
        time.sleep(0.1)
        yield json_response({"models": [], "nextPageToken": str(next(numbers))})

    with Server(page) as server, pytest.raises(NoResponseError, match=r"has not ended after 0\.3 s"):
        sync_client(server.url).send_all(api.list_models("demo"))
    assert len(server.requests) < 10
