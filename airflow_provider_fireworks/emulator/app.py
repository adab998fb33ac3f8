"""The emulated API as an ASGI application: requests are recorded, meet their fault, and are answered."""

from __future__ import annotations

import asyncio
import contextlib
import gzip
import json
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from dataclasses import replace
from itertools import repeat
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl

from airflow_provider_fireworks.emulator.api import (
    accounts,
    admin,
    deployments,
    inference,
    models,
    routing,
    shapes,
)
from airflow_provider_fireworks.emulator.records import ReceivedRequest, without_secrets
from airflow_provider_fireworks.emulator.responses import Response, as_text, envelope

if TYPE_CHECKING:
    from airflow_provider_fireworks.emulator.faults import Fault
    from airflow_provider_fireworks.emulator.state import State

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]

#: Closes the connection of the peer (address, port) that a request came from.
Hangup = Callable[[tuple[str, int]], None]

GATEWAY_ROUTES = [
    *accounts.ROUTES,
    *models.ROUTES,
    *deployments.ROUTES,
    *shapes.ROUTES,
    *inference.ROUTES,
]
ADMIN_PREFIX = "/emulator/"

_PAGE = "<!DOCTYPE html>\n<html><head><title>{title}</title></head><body><h1>{title}</h1></body></html>\n"
_CUT_OFF = b'{"name": "accounts/'
_HUGE = (b'{"name": "', b'"}')
_CHUNK = 65_536


class App:
    """
    The emulated API over HTTP.

    :param state: what it knows.
    :param hangup: how to close a connection, which ASGI itself has no word for.
    :param log: called with every request to the API once it is answered, or will never be.
    """

    def __init__(
        self, state: State, hangup: Hangup, log: Callable[[ReceivedRequest], None] | None = None
    ) -> None:
        self._state = state
        self._hangup = hangup
        self._log = log
        self._running: set[asyncio.Task[Any]] = set()

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        task = asyncio.current_task()
        if task is not None:
            self._running.add(task)
            task.add_done_callback(self._running.discard)
        await self._meet(scope, receive, send)

    async def finished(self) -> None:
        """Wait for the requests whose connections were cut to notice it."""
        if self._running:
            await asyncio.wait(self._running)

    async def _meet(self, scope: Message, receive: Receive, send: Send) -> None:
        body = await _read(receive)
        if body is None:
            return
        target = scope.get("raw_path", scope["path"].encode()).decode("ascii", "replace")
        query = scope["query_string"].decode("ascii", "replace")
        given = parse_qsl(query, keep_blank_values=True)
        twice = next((name for name, times in Counter(name for name, _ in given).items() if times > 1), None)
        call = routing.Call(scope["method"], {}, dict(given), body, twice)
        if target.startswith(ADMIN_PREFIX):
            await _send(send, self._administer(target, call))
            return
        headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
        with self._state.lock:
            request = self._record(target, call, headers)
            fault = self._state.faults.take(call.method, f"{target}?{query}" if query else target)
        try:
            if fault is None:
                await self._reply(send, request, self._carry_out(target, call, headers))
            else:
                request.fault = fault.kind
                await self._fail(
                    fault, target, call, headers, request, (tuple(scope["client"]), receive, send)
                )
        finally:
            if self._log is not None:
                self._log(request)

    def _record(self, target: str, call: routing.Call, headers: dict[str, str]) -> ReceivedRequest:
        request = ReceivedRequest(
            method=call.method,
            path=target,
            query=call.query,
            body=routing.read_body(call.body),
            at=self._state.clock(),
            user_agent=headers.get("user-agent", ""),
            headers=without_secrets(headers),
        )
        self._state.requests.append(request)
        found = routing.find(GATEWAY_ROUTES, call.method, target)
        self._state.counts[f"{call.method} {'other' if isinstance(found, Response) else found[0].what}"] += 1
        return request

    def _carry_out(self, target: str, call: routing.Call, headers: dict[str, str]) -> Response:
        found = routing.find(GATEWAY_ROUTES, call.method, target)
        if isinstance(found, Response):
            return found
        route, ids = found
        with self._state.lock:
            refusal = self._state.admit(headers.get("authorization"))
            if refusal is not None:
                return refusal
            return routing.answer(route, self._state, replace(call, ids=ids))

    def _administer(self, target: str, call: routing.Call) -> Response:
        found = routing.find(admin.ROUTES, call.method, target)
        if isinstance(found, Response):
            return found
        route, ids = found
        with self._state.lock:
            return routing.answer(route, self._state, replace(call, ids=ids))

    async def _fail(
        self,
        fault: Fault,
        target: str,
        call: routing.Call,
        headers: dict[str, str],
        request: ReceivedRequest,
        wire: tuple[Any, Receive, Send],
    ) -> None:
        peer, receive, send = wire
        if fault.kind == "endless":
            # It would be told that the token is none.
            query = {name: value for name, value in call.query.items() if name != "pageToken"}
            call = replace(call, query=query)
        answer = self._carry_out(target, call, headers) if fault.after_work else None
        if fault.delay and fault.kind != "trickle" and await _gone(receive, fault.delay):
            return
        if fault.kind == "drop":
            self._hangup(peer)
            await _gone(receive)
        elif fault.kind == "truncate":
            request.status = fault.status
            cut = answer.body[: len(answer.body) // 2] if answer else _CUT_OFF
            await _send(send, Response(fault.status or 200, cut), promised=len(cut) + 1000)
            self._hangup(peer)
            await _gone(receive)
        elif fault.kind == "huge":
            request.status = fault.status
            await _send_slowly(wire, fault.status or 200, _huge_body(fault.size), fault.size)
        elif fault.kind in ("status", "html", "text", "redirect"):
            await self._reply(send, request, _instead(fault))
        else:
            answer = answer or self._carry_out(target, call, headers)
            if fault.kind == "trickle":
                request.status = answer.status
                bytewise = (bytes([byte]) for byte in answer.body)
                await _send_slowly(wire, answer.status, bytewise, len(answer.body), pause=fault.delay)
            else:
                await self._reply(send, request, _disguised(fault, answer))

    async def _reply(self, send: Send, request: ReceivedRequest, answer: Response) -> None:
        request.status = answer.status
        await _send(send, answer)


def _instead(fault: Fault) -> Response:
    """Return what a fault answers in place of the API."""
    status = fault.status or 503
    if fault.kind == "status":
        answer = envelope(
            status, fault.message or f"fault ordered from the emulator: {status}", code=fault.code
        )
    elif fault.kind == "html":
        page = _PAGE.format(title=fault.message or f"{status} proxy error")
        answer = Response(status, page.encode(), "text/html; charset=utf-8")
    else:
        answer = as_text(status, fault.message or f"proxy error {status}\n")
    if fault.location is not None:
        answer.headers["location"] = fault.location
    if fault.retry_after is not None:
        answer.headers["retry-after"] = fault.retry_after
    return answer


def _disguised(fault: Fault, answer: Response) -> Response:
    """Return a good answer as a fault has it look."""
    if fault.kind == "gzip":
        headers = {**answer.headers, "content-encoding": "gzip"}
        return replace(answer, body=gzip.compress(answer.body), headers=headers)
    if fault.kind == "wrong_type":
        return replace(answer, content_type="text/html; charset=utf-8")
    if fault.kind == "endless" and answer.status == 200:
        return replace(answer, body=json.dumps({**json.loads(answer.body), "nextPageToken": "next"}).encode())
    return answer


def _huge_body(size: int) -> Iterable[bytes]:
    before, after = _HUGE
    yield before
    filling = size - len(before) - len(after)
    yield from repeat(b"x" * _CHUNK, filling // _CHUNK)
    yield b"x" * (filling % _CHUNK) + after


async def _read(receive: Receive) -> bytes | None:
    """Return the body of a request, ``None`` if its sender left in the middle of it."""
    body = bytearray()
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            return None
        body += message.get("body", b"")
        if not message.get("more_body", False):
            return bytes(body)


async def _gone(receive: Receive, within: float | None = None) -> bool:
    """Wait for the other side to leave, at most so many seconds; whether it did."""

    async def disconnect() -> None:
        while (await receive())["type"] != "http.disconnect":
            pass

    try:
        await asyncio.wait_for(disconnect(), within)
    except asyncio.TimeoutError:
        return False
    return True


async def _send_slowly(
    wire: tuple[Any, Receive, Send], status: int, parts: Iterable[bytes], length: int, *, pause: float = 0
) -> None:
    """Send an answer in parts, until the other side leaves."""
    _, receive, send = wire
    leaving = asyncio.create_task(_gone(receive))
    try:
        await _send(send, Response(status, b""), promised=length)
        for part in parts:
            await asyncio.wait({leaving}, timeout=pause)
            if leaving.done():
                return
            await send({"type": "http.response.body", "body": part, "more_body": True})
        await send({"type": "http.response.body", "body": b"", "more_body": False})
    finally:
        leaving.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await leaving


async def _send(send: Send, answer: Response, *, promised: int | None = None) -> None:
    """
    Send an answer.

    :param promised: a Content-Length other than that of the body; the rest is left to come.
    """
    headers = {
        "content-type": answer.content_type,
        "content-length": str(len(answer.body) if promised is None else promised),
        **answer.headers,
    }
    raw = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in headers.items()]
    await send({"type": "http.response.start", "status": answer.status, "headers": raw})
    await send({"type": "http.response.body", "body": answer.body, "more_body": promised is not None})
