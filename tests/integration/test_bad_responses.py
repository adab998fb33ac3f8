"""Answers without end, answers that are none, and what is made of them, by workers and by the triggerer alike."""

from __future__ import annotations

import contextlib
import gzip
import itertools
import json
import time
import tracemalloc
import zlib
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from airflow_provider_fireworks.client import api, config as limits
from airflow_provider_fireworks.client.errors import (
    ApiError,
    NoResponseError,
    NotFoundError,
    RateLimitedError,
    UnavailableError,
)
from airflow_provider_fireworks.client.names import DeploymentName, ModelName
from tests.integration.raw import Server, answer, in_worker, shared_client, worker_gateway
from tests.timing import use_timing

MODEL = ModelName("demo", "my-model")
READ = api.get_model(MODEL)
WRITE = api.prepare_model(MODEL, "FP8")
GOOD = b'{"name": "accounts/demo/models/my-model", "state": "READY"}'
LONG = 20.0
"""Seconds for which a server trickles, and which no call takes by far."""


def trickle(start: bytes, drop: bytes) -> Callable[[], Iterator[bytes]]:
    def parts() -> Iterator[bytes]:
        yield start
        for _ in range(int(LONG / 0.02)):
            time.sleep(0.02)
            yield drop

    return parts


HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
CHUNKED = HEAD + b"Transfer-Encoding: chunked\r\n\r\n"
TRICKLES = {
    "status line": trickle(b"HTTP/1.1 200 ", b"O"),
    "header": trickle(HEAD + b"X-Long: ", b"x"),
    "headers": trickle(HEAD, b"X-Many: x\r\n"),
    "answers before the answer": trickle(b"", b"HTTP/1.1 100 Continue\r\n\r\n"),
    "body": trickle(HEAD + b"Content-Length: 100000\r\n\r\n", b" "),
    "body of no length": trickle(HEAD + b"\r\n", b" "),
    "chunks": trickle(CHUNKED, b"1\r\n \r\n"),
    "length of a chunk": trickle(CHUNKED, b"0"),
    "trailers": trickle(CHUNKED + b"2\r\n{}\r\n0\r\n", b"X-Many: x\r\n"),
    "packed body": trickle(HEAD + b"Content-Encoding: gzip\r\n\r\n", gzip.compress(b"{}")[:1]),
}


@pytest.mark.parametrize("call", [READ, WRITE], ids=["read", "write"])
@pytest.mark.parametrize("parts", TRICKLES.values(), ids=TRICKLES)
def test_an_answer_that_trickles_is_lost_in_time(ask, parts, call, monkeypatch):
    use_timing(monkeypatch, response_timeout=0.3)
    started = time.monotonic()
    with Server(parts) as server, pytest.raises(NoResponseError) as lost:
        ask(server.url, call)
    assert time.monotonic() - started < LONG
    assert lost.value.is_transient
    assert lost.value.outcome_unknown
    assert server.hung_up.wait(LONG)
    assert len(server.requests) == 1


def test_the_time_for_an_answer_is_told(ask, monkeypatch):
    use_timing(monkeypatch, response_timeout=0.3)
    with (
        Server(TRICKLES["body"]) as server,
        pytest.raises(
            NoResponseError,
            match=f"^GET /v1/{MODEL}: the answer of {server.url} was not complete after 0.3 s$",
        ),
    ):
        ask(server.url, READ)


def test_an_answer_may_be_slow_as_long_as_it_is_in_time(ask):
    def parts() -> Iterator[bytes]:
        for byte in answer(GOOD):
            time.sleep(0.001)
            yield bytes([byte])

    with Server(parts) as server:
        assert ask(server.url, READ).state == "READY"


def test_a_hurried_call_is_bounded_as_a_whole():
    with Server(TRICKLES["header"]) as server, pytest.raises(NoResponseError, match=r"after 0\.3 s"):
        worker_gateway(server.url, response_timeout=0.3).send(READ, attempts=1)


def test_the_time_of_one_call_is_not_taken_from_the_next(monkeypatch):
    use_timing(monkeypatch, response_timeout=2.0)

    def parts() -> Iterator[bytes]:
        for _ in range(4):
            time.sleep(0.7)
            yield answer(GOOD)

    with Server(parts) as server:
        emulator = worker_gateway(server.url)
        for _ in range(4):
            assert emulator.send(READ, attempts=1).state == "READY"
    assert len(server.requests) == 1


def packed_bomb() -> Iterator[bytes]:
    """10 GB of blanks, in as many parts as anyone takes."""
    packer = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    block = packer.compress(b" " * 16_000_000) + packer.flush(zlib.Z_FULL_FLUSH)
    yield HEAD + b"Content-Encoding: gzip\r\n\r\n" + bytes.fromhex("1f8b08000000000002ff")
    for _ in range(640):
        yield block


ENDLESS = {
    "body of a length": lambda: [HEAD + b"Content-Length: 10000000000\r\n\r\n", *[b" " * 65536] * 5000],
    "body of no length": lambda: itertools.chain([HEAD + b"\r\n"], itertools.repeat(b" " * 65536)),
    "chunks": lambda: itertools.chain([CHUNKED], itertools.repeat(b"10000\r\n" + b" " * 65536 + b"\r\n")),
    "one chunk": lambda: itertools.chain([CHUNKED, b"ffffffffff\r\n"], itertools.repeat(b" " * 65536)),
    "length of a chunk": lambda: itertools.chain([CHUNKED], itertools.repeat(b"0" * 65536)),
    "header": lambda: itertools.chain([HEAD, b"X: "], itertools.repeat(b"x" * 65536)),
    "headers": lambda: itertools.chain([HEAD], itertools.repeat(b"X: x\r\n" * 10000)),
    "trailers": lambda: itertools.chain([CHUNKED, b"0\r\n"], itertools.repeat(b"X: x\r\n" * 10000)),
    "answers before the answer": lambda: itertools.repeat(b"HTTP/1.1 100 Continue\r\n\r\n" * 1000),
    "packed body": packed_bomb,
}


@pytest.mark.parametrize("parts", ENDLESS.values(), ids=ENDLESS)
def test_an_answer_without_end_is_lost_and_never_held(ask, parts, monkeypatch):
    use_timing(monkeypatch, response_timeout=3.0)
    tracemalloc.start()
    try:
        with Server(parts) as server, pytest.raises(NoResponseError) as lost:
            ask(server.url, READ)
        _, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert most < 6 * limits.MAX_RESPONSE_BYTES
    assert lost.value.outcome_unknown


@pytest.mark.parametrize("where", ["headers", "trailers", "answers before the answer", "length of a chunk"])
def test_what_stands_around_the_body_is_counted_too(where, monkeypatch):
    monkeypatch.setattr(limits, "MAX_RESPONSE_BYTES", 10_000)
    with Server(ENDLESS[where]) as server, pytest.raises(NoResponseError) as lost:
        in_worker(server.url, READ)
    assert "not complete" not in str(lost.value)


@pytest.mark.parametrize("status", ["200 OK", "400 Bad Request", "503 Service Unavailable"])
def test_the_largest_answer_is_read_and_no_larger_one(ask, status, monkeypatch):
    monkeypatch.setattr(limits, "MAX_RESPONSE_BYTES", 10_000)

    def ask_for(size: int, *, packed: bool) -> Any:
        body = GOOD + b" " * (size - len(GOOD))
        sent = (
            answer(gzip.compress(body), "Content-Encoding: gzip", status=status)
            if packed
            else answer(body, status=status)
        )
        with Server(lambda: [sent]) as server:
            return ask(server.url, READ)

    for packed in (False, True):
        if status == "200 OK":
            assert ask_for(10_000, packed=packed).state == "READY"
        else:
            with pytest.raises(ApiError, match="unexpected response"):
                ask_for(10_000, packed=packed)
        with pytest.raises(NoResponseError, match=f"HTTP {status[:3]}: .* more than 10000 bytes"):
            ask_for(10_001, packed=packed)


GOOD_ONES = {
    "packed": answer(gzip.compress(GOOD), "Content-Encoding: gzip"),
    "packed, by another name": answer(gzip.compress(GOOD), "Content-Encoding: X-GZip"),
    "said to be as it is": answer(GOOD, "Content-Encoding: identity"),
    "said to be a page": answer(GOOD, "Content-Type: text/html"),
    "said to be of another charset": answer(GOOD, "Content-Type: application/json; charset=utf-99"),
    "with a mark at its start": answer(b"\xef\xbb\xbf" + GOOD),
    "UTF-16": answer(GOOD.decode().encode("utf-16")),
    "in chunks": CHUNKED + b"%x\r\n%s\r\n0\r\n\r\n" % (len(GOOD), GOOD),
    "up to the end of the connection": HEAD + b"\r\n" + GOOD,
    "with numbers that are none": answer(b'{"state": "READY", "x": [NaN, Infinity, 1e999]}'),
    "after another": b"HTTP/1.1 100 Continue\r\n\r\n" + answer(GOOD),
}


@pytest.mark.parametrize("sent", GOOD_ONES.values(), ids=GOOD_ONES)
def test_what_is_odd_but_plain_is_read(ask, sent):
    with Server(lambda: [sent]) as server:
        assert ask(server.url, READ).state == "READY"


EITHER = {
    "all of it, and yet less than was told": HEAD + b"Content-Length: 1000\r\n\r\n" + GOOD,
    "a length of letters": HEAD + b"Content-Length: abc\r\n\r\n" + GOOD,
    "a length below zero": HEAD + b"Content-Length: -5\r\n\r\n" + GOOD,
    "two lengths": answer(GOOD, "Content-Length: 3"),
    "two ways of telling the length": answer(GOOD, "Transfer-Encoding: chunked"),
}


@pytest.mark.parametrize("sent", EITHER.values(), ids=EITHER)
def test_what_one_library_reads_and_the_other_does_not_is_read_or_an_error_of_the_gateway(ask, sent):
    with Server(lambda: [sent]) as server, contextlib.suppress(ApiError):
        assert ask(server.url, READ).state == "READY"


BAD_ONES = {
    "empty": (answer(b""), NoResponseError),
    "empty and packed": (answer(b"", "Content-Encoding: gzip"), NoResponseError),
    "no content": (b"HTTP/1.1 204 No Content\r\n\r\n", NoResponseError),
    "a list": (answer(b"[{}]"), NoResponseError),
    "text": (answer(b'"x"'), NoResponseError),
    "null": (answer(b"null"), NoResponseError),
    "no JSON": (answer(b"<html>"), NoResponseError),
    "half of it": (answer(GOOD[:-1]), NoResponseError),
    "half of it, as was not told": (HEAD + b"Content-Length: 1000\r\n\r\n" + GOOD[:-1], NoResponseError),
    "a packed half": (answer(gzip.compress(GOOD)[:20], "Content-Encoding: gzip"), NoResponseError),
    "deep": (answer(b"[" * 1_000_000), NoResponseError),
    "deep and whole": (answer(b'{"a":' * 100_000 + b"1" + b"}" * 100_000), NoResponseError),
    "no UTF-8": (answer(b'{"state": "\xff"}'), NoResponseError),
    "a huge number": (answer(b'{"x": ' + b"9" * 100_000 + b"}"), NoResponseError),
    "a number for text": (answer(b'{"state": 5}'), NoResponseError),
    "packed as was not asked for": (answer(GOOD, "Content-Encoding: br"), NoResponseError),
    "packed twice": (
        answer(gzip.compress(gzip.compress(GOOD)), "Content-Encoding: gzip, gzip"),
        NoResponseError,
    ),
    "packed, it says": (answer(GOOD, "Content-Encoding: gzip"), NoResponseError),
    "another protocol": (b"SSH-2.0-OpenSSH_9.2\r\n", NoResponseError),
    "HTTP/2": (b"\x00\x00\x12\x04\x00\x00\x00\x00\x00", NoResponseError),
    "no status": (b"HTTP/1.1\r\n\r\n", NoResponseError),
    "a status of letters": (b"HTTP/1.1 abc OK\r\n\r\n", NoResponseError),
    "nothing": (b"", NoResponseError),
    "a chunk of letters": (CHUNKED + b"xyz\r\n" + GOOD, NoResponseError),
    "a chunk below zero": (CHUNKED + b"-5\r\n" + GOOD, NoResponseError),
    "a chunk without end": (CHUNKED + b"f" * 40 + b"\r\n" + GOOD, NoResponseError),
    "a header that is none": (HEAD + b"no colon\r\nContent-Length: 2\r\n\r\n[]", NoResponseError),
    "a header with a null": (HEAD + b"X: a\x00b\r\nContent-Length: 2\r\n\r\n[]", NoResponseError),
    "another protocol from here": (b"HTTP/1.1 101 Switching\r\nUpgrade: x\r\n\r\n" + GOOD, ApiError),
    "a status above all": (answer(GOOD, status="999 Odd"), UnavailableError),
    "a status of its own": (answer(GOOD, status="600 Odd"), UnavailableError),
    "not found, packed": (
        answer(
            gzip.compress(b'{"code": 5, "message": "none"}'), "Content-Encoding: gzip", status="404 Not Found"
        ),
        NotFoundError,
    ),
}
BAD_ONES |= {
    f"a redirect to {place!r}": (answer(GOOD, f"Location: {place}", status="302 Found"), ApiError)
    for place in (
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
BAD_ONES |= {
    f"a request to wait for {wait!r}": (
        answer(b'{"code": 8, "message": "m"}', f"Retry-After: {wait}", status="429 Too Many"),
        RateLimitedError,
    )
    for wait in ("nan", "-inf", "1e999", "9" * 5000, "-1", "Mon, 99 Foo 99999 99:99:99", "0 0 0 0", "\xb2")
}


@pytest.mark.parametrize(("sent", "kind"), BAD_ONES.values(), ids=BAD_ONES)
def test_every_other_answer_ends_in_an_error_of_the_gateway(ask, sent, kind):
    with Server(lambda: [sent]) as server, pytest.raises(kind) as bad:
        ask(server.url, READ)
    assert str(bad.value).isprintable()
    assert len(str(bad.value)) < 2000
    if bad.value.retry_after is not None:
        assert 0 <= bad.value.retry_after <= 60


async def test_no_cookie_is_kept():
    with Server(lambda: [answer(GOOD, "Set-Cookie: a=b", "Connection: close")]) as server:
        in_turn, at_once = worker_gateway(server.url), shared_client(server.url)
        for _ in range(2):
            in_turn.send(READ, attempts=1)
            await at_once.send(READ)
        await at_once.close()
    assert len(server.requests) == 4
    assert not any(b"cookie" in sent.lower() for sent in server.requests)


def test_a_list_of_ever_more_pages_ends(monkeypatch):
    numbers = itertools.count()
    monkeypatch.setattr(api, "MAX_PAGES", 5)

    def page() -> list[bytes]:
        return [
            answer(
                json.dumps({"models": [], "nextPageToken": str(next(numbers))}).encode(), "Connection: close"
            )
        ]

    with Server(page) as server:
        emulator = worker_gateway(server.url)
        with pytest.raises(ApiError, match="more than 5 pages") as endless:
            emulator.run(api.list_models("demo"))
    assert not endless.value.is_transient
    assert len(server.requests) == 5


def test_a_list_that_takes_for_ever_ends(monkeypatch):
    numbers = itertools.count()
    use_timing(monkeypatch, list_timeout=0.3)

    def page() -> Iterator[bytes]:
        time.sleep(0.1)
        yield answer(
            json.dumps({"models": [], "nextPageToken": str(next(numbers))}).encode(), "Connection: close"
        )

    with Server(page) as server:
        emulator = worker_gateway(server.url)
        with pytest.raises(NoResponseError, match=r"still pages after 0\.3 s"):
            emulator.run(api.list_models("demo"))


def test_a_delete_whose_answer_trickles_is_sent_once(monkeypatch):
    use_timing(monkeypatch, response_timeout=0.3)
    with Server(TRICKLES["body"]) as server:
        emulator = worker_gateway(server.url)
        with pytest.raises(NoResponseError):
            emulator.send(api.delete_deployment(DeploymentName("demo", "d")))
    assert len(server.requests) == 1
