"""The ASGI application of the emulator: records requests, applies faults, and calls the handlers."""

from __future__ import annotations

import asyncio
import contextlib
import gzip
import json
import math
from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from dataclasses import dataclass, replace
from itertools import repeat
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl

from airflow_provider_fireworks.emulator.records import ReceivedRequest
from airflow_provider_fireworks.emulator.responses import Response, as_text, envelope
from airflow_provider_fireworks.emulator.routes import API_ROUTES
from airflow_provider_fireworks.emulator.routes.admin import ADMIN_PREFIX, ADMIN_ROUTES
from airflow_provider_fireworks.emulator.routes.routing import Route, find_route

if TYPE_CHECKING:
    from airflow_provider_fireworks.emulator.faults import Fault
    from airflow_provider_fireworks.emulator.state import State

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
#: Closes the connection of a peer (address, port), which ASGI has no message for.
Disconnect = Callable[[tuple[str, int]], None]

#: Headers that can carry a secret. They are not recorded.
_SECRET_HEADERS = frozenset({"authorization", "cookie", "proxy-authorization", "x-api-key"})

_PAGE = "<!DOCTYPE html>\n<html><head><title>{title}</title></head><body><h1>{title}</h1></body></html>\n"
_TRUNCATED = b'{"name": "accounts/'
_CHUNK_SIZE = 65_536


class App:
    """
    The ASGI application.

    :param log: called with each request to the API when it ends, with or without a response.
    """

    def __init__(
        self, state: State, disconnect: Disconnect, log: Callable[[ReceivedRequest], None] | None = None
    ) -> None:
        self._state = state
        self._disconnect = disconnect
        self._log = log
        self._running: set[asyncio.Task[Any]] = set()

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        task = asyncio.current_task()
        if task is not None:
            self._running.add(task)
            task.add_done_callback(self._running.discard)
        exchange = _Exchange(receive, send)
        body = await exchange.read_body()
        if body is None:
            return
        request = _RawRequest.from_scope(scope, body)
        if request.path.startswith(ADMIN_PREFIX):
            await exchange.send(self._execute(request, ADMIN_ROUTES))
            return
        with self._state.lock:
            record = exchange.record = self._record(request)
            fault = self._state.faults.take(request.method, request.target)
        try:
            if fault is None:
                await exchange.send(self._execute(request))
            else:
                record.fault = fault.kind
                if await self._fail(fault, request, exchange):
                    self._disconnect(tuple(scope["client"]))
                    await exchange.is_disconnected()
        finally:
            if self._log is not None:
                self._log(record)

    async def wait_for_requests(self) -> None:
        """Wait until the requests whose connections were closed have ended."""
        if self._running:
            await asyncio.wait(self._running)

    def _record(self, request: _RawRequest) -> ReceivedRequest:
        record = ReceivedRequest(
            method=request.method,
            path=request.path,
            query=dict(request.query),
            body=_parse_body(request.body),
            at=self._state.clock(),
            headers={name: text for name, text in request.headers.items() if name not in _SECRET_HEADERS},
        )
        self._state.requests.append(record)
        found = find_route(API_ROUTES, request.method, request.path)
        label = "other" if isinstance(found, Response) else found[0].label
        self._state.counts[f"{request.method} {label}"] += 1
        return record

    def _execute(self, request: _RawRequest, routes: list[Route] = API_ROUTES) -> Response:
        found = find_route(routes, request.method, request.path)
        if isinstance(found, Response):
            return found
        route, ids = found
        with self._state.lock:
            if routes is API_ROUTES:
                refusal = self._state.refuse(request.headers.get("authorization"))
                if refusal is not None:
                    return refusal
            return route.respond(self._state, ids, request.query, request.body)

    async def _fail(self, fault: Fault, request: _RawRequest, exchange: _Exchange) -> bool:
        """Respond with a fault, and return whether the connection is to be closed."""
        if fault.kind == "endless":
            # The API would refuse the page token.
            query = [(name, value) for name, value in request.query if name != "pageToken"]
            request = replace(request, query=query)
        response = self._execute(request) if fault.after_work else None
        if fault.delay and fault.kind != "trickle" and await exchange.is_disconnected(fault.delay):
            return False
        if fault.kind == "drop":
            return True
        if fault.kind == "truncate":
            body = response.body[: len(response.body) // 2] if response else _TRUNCATED
            await exchange.send(Response(fault.status or 200, body), content_length=len(body) + 1000)
            return True
        if fault.kind == "huge":
            await exchange.send_slowly(fault.status or 200, _huge_body(fault.size), fault.size)
        elif fault.kind in ("status", "html", "text", "redirect"):
            await exchange.send(_replacement(fault))
        else:
            response = response or self._execute(request)
            if fault.kind == "trickle":
                parts = (bytes([byte]) for byte in response.body)
                await exchange.send_slowly(response.status, parts, len(response.body), pause=fault.delay)
            else:
                await exchange.send(_altered(fault, response))
        return False


@dataclass(frozen=True)
class _RawRequest:
    method: str
    path: str
    target: str
    query: list[tuple[str, str]]
    body: bytes
    headers: dict[str, str]

    @classmethod
    def from_scope(cls, scope: Message, body: bytes) -> _RawRequest:
        path = scope.get("raw_path", scope["path"].encode()).decode("ascii", "replace")
        query = scope["query_string"].decode("ascii", "replace")
        return cls(
            method=scope["method"],
            path=path,
            target=f"{path}?{query}" if query else path,
            query=parse_qsl(query, keep_blank_values=True),
            body=body,
            headers={name.decode("latin-1"): text.decode("latin-1") for name, text in scope["headers"]},
        )


class _Exchange:
    """
    The wire of one request and its response.

    :ivar record: gets the status of the response.
    """

    def __init__(self, receive: Receive, send: Send) -> None:
        self._receive = receive
        self._send = send
        self.record: ReceivedRequest | None = None

    async def read_body(self) -> bytes | None:
        """Return the body, ``None`` if the client disconnects before its end."""
        body = bytearray()
        while True:
            message = await self._receive()
            if message["type"] == "http.disconnect":
                return None
            body += message.get("body", b"")
            if not message.get("more_body", False):
                return bytes(body)

    async def is_disconnected(self, within: float | None = None) -> bool:
        """Wait until the client disconnects, for at most so many seconds, and return whether it did."""

        async def disconnected() -> None:
            while (await self._receive())["type"] != "http.disconnect":
                pass

        try:
            await asyncio.wait_for(disconnected(), within)
        except asyncio.TimeoutError:
            return False
        return True

    async def send(self, response: Response, *, content_length: int | None = None) -> None:
        """
        Send a response.

        :param content_length: announces a longer body, and leaves the response unfinished.
        """
        if self.record is not None:
            self.record.status = response.status
        headers = {
            "content-type": response.content_type,
            "content-length": str(len(response.body) if content_length is None else content_length),
            **response.headers,
        }
        raw = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in headers.items()]
        await self._send({"type": "http.response.start", "status": response.status, "headers": raw})
        await self._send_part(response.body, more=content_length is not None)

    async def send_slowly(
        self, status: int, parts: Iterable[bytes], length: int, *, pause: float = 0
    ) -> None:
        """Send a JSON response in parts, until the client disconnects."""
        disconnected = asyncio.create_task(self.is_disconnected())
        try:
            await self.send(Response(status, b""), content_length=length)
            for part in parts:
                await asyncio.wait({disconnected}, timeout=pause)
                if disconnected.done():
                    return
                await self._send_part(part, more=True)
            await self._send_part(b"", more=False)
        finally:
            disconnected.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await disconnected

    async def _send_part(self, body: bytes, *, more: bool) -> None:
        await self._send({"type": "http.response.body", "body": body, "more_body": more})


def _replacement(fault: Fault) -> Response:
    """Return what a fault sends instead of the response of the API."""
    status = fault.status or 503
    if fault.kind == "status":
        response = envelope(status, fault.message or f"emulated fault: {status}", code=fault.code)
    elif fault.kind == "html":
        page = _PAGE.format(title=fault.message or f"{status} proxy error")
        response = Response(status, page.encode(), "text/html; charset=utf-8")
    else:
        response = as_text(status, fault.message or f"proxy error {status}\n")
    if fault.location is not None:
        response.headers["location"] = fault.location
    if fault.retry_after is not None:
        response.headers["retry-after"] = fault.retry_after
    return response


def _altered(fault: Fault, response: Response) -> Response:
    """Return the response of the API with the changes of a fault."""
    if fault.kind == "gzip":
        headers = {**response.headers, "content-encoding": "gzip"}
        return replace(response, body=gzip.compress(response.body), headers=headers)
    if fault.kind == "wrong_type":
        return replace(response, content_type="text/html; charset=utf-8")
    if fault.kind == "endless" and response.status == 200:
        endless = {**json.loads(response.body), "nextPageToken": "next"}
        return replace(response, body=json.dumps(endless).encode())
    return response


def _huge_body(size: int) -> Iterable[bytes]:
    start, end = b'{"name": "', b'"}'
    filling = size - len(start) - len(end)
    yield start
    yield from repeat(b"x" * _CHUNK_SIZE, filling // _CHUNK_SIZE)
    yield b"x" * (filling % _CHUNK_SIZE) + end


def _parse_body(body: bytes) -> Any:
    """Return a body for the records: its JSON, its text if it is not JSON, or ``None`` if it is empty."""
    if not body:
        return None
    try:
        return json.loads(body, parse_float=_finite, parse_constant=str)
    except (ValueError, RecursionError):
        return body.decode(errors="replace")


def _finite(text: str) -> float | str:
    # Records are sent as JSON, which has no infinite numbers.
    number = float(text)
    return number if math.isfinite(number) else text
