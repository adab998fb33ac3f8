"""The HTTP server of the emulator: records requests, applies faults, and calls the handlers."""

from __future__ import annotations

import contextlib
import gzip
import json
import math
import socket
import socketserver
import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from http.server import BaseHTTPRequestHandler
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

#: Headers that can carry a secret. They are not recorded.
_SECRET_HEADERS = frozenset({"authorization", "cookie", "proxy-authorization", "x-api-key"})

_PAGE = "<!DOCTYPE html>\n<html><head><title>{title}</title></head><body><h1>{title}</h1></body></html>\n"
_TRUNCATED = b'{"name": "accounts/'
_CHUNK_SIZE = 65_536


class HttpServer(socketserver.TCPServer):
    """
    Listens from its creation on, and serves each connection in a thread.

    :param log: called with each recorded request when it ends, with or without a response.
    :param handler: handles the requests of one connection.
    :raises OSError: if the port is in use.
    """

    allow_reuse_address = True
    request_queue_size = 128

    def __init__(
        self,
        host: str,
        port: int,
        state: State,
        log: Callable[[ReceivedRequest], None] | None,
        handler: type[RequestHandler],
    ) -> None:
        self.address_family = socket.AF_INET6 if ":" in host else socket.AF_INET
        self.state = state
        self.log = log
        self._connections: dict[Any, threading.Thread] = {}
        super().__init__((host, port), handler)
        # stop() takes as long as the poll interval.
        threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()

    def process_request(self, request: Any, client_address: Any) -> None:
        # Daemons, so that an emulator that is not stopped does not keep the process alive.
        thread = threading.Thread(target=self._serve, args=(request, client_address), daemon=True)
        self._connections[request] = thread
        thread.start()

    def _serve(self, connection: Any, client_address: Any) -> None:
        try:
            # An OSError means that the client has disconnected.
            with contextlib.suppress(OSError):
                self.finish_request(connection, client_address)
        finally:
            self.shutdown_request(connection)
            del self._connections[connection]

    def stop(self) -> None:
        """Close the port and all connections, whether they have a response or not."""
        self.shutdown()
        self.server_close()
        for connection, thread in list(self._connections.items()):
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
            thread.join()


@dataclass(frozen=True)
class _RawRequest:
    method: str
    path: str
    target: str
    query: list[tuple[str, str]]
    body: bytes
    headers: dict[str, str]


class RequestHandler(BaseHTTPRequestHandler):
    """Sends responses, and applies faults to them."""

    protocol_version = "HTTP/1.1"
    # It would cost 40 ms per response.
    disable_nagle_algorithm = True
    server: HttpServer
    record: ReceivedRequest | None = None

    def version_string(self) -> str:
        return "fireworks-emulator"

    def log_message(self, format: str, *args: Any) -> None:
        """Print nothing; :attr:`HttpServer.log` is called instead."""

    def error(self, fault: Fault, status: int) -> Response:
        """Return the error of a fault ``status``."""
        return envelope(status, fault.message or f"emulated fault: {status}", code=fault.code)

    def fail(self, fault: Fault, execute: Callable[[], Response]) -> None:
        """
        Apply a fault to a request that has been read.

        :param execute: executes the request, and returns its response.
        """
        response = execute() if fault.after_work else None
        disconnected = fault.kind != "trickle" and self._client_disconnects(fault.delay)
        if disconnected or fault.kind == "drop":
            self.close_connection = True
        elif fault.kind == "truncate":
            body = response.body[: len(response.body) // 2] if response else _TRUNCATED
            self.send(Response(fault.status or 200, body), content_length=len(body) + 1000)
            self.close_connection = True
        elif fault.kind == "huge":
            self._send_slowly(fault.status or 200, _huge_body(fault.size), fault.size)
        elif fault.kind in ("status", "html", "text", "redirect"):
            self.send(self._replacement(fault))
        else:
            response = response or execute()
            if fault.kind == "trickle":
                parts = (bytes([byte]) for byte in response.body)
                self._send_slowly(response.status, parts, len(response.body), pause=fault.delay)
            else:
                self.send(_altered(fault, response))

    def _replacement(self, fault: Fault) -> Response:
        """Return what a fault sends instead of the response to the request."""
        status = fault.status or 503
        if fault.kind == "status":
            response = self.error(fault, status)
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

    def _client_disconnects(self, within: float) -> bool:
        """Wait, and return whether the client disconnects meanwhile."""
        if not within:
            return False
        self.connection.settimeout(within)
        try:
            return not self.connection.recv(1, socket.MSG_PEEK)
        except TimeoutError:
            return False
        finally:
            self.connection.settimeout(None)

    def send(self, response: Response, *, content_length: int | None = None) -> None:
        """
        Send a response.

        :param content_length: announces a longer body than is sent.
        """
        if self.record is not None:
            self.record.status = response.status
        headers = {
            "content-type": response.content_type,
            "content-length": str(len(response.body) if content_length is None else content_length),
            **response.headers,
        }
        is_stream = response.content_type == "text/event-stream"
        if is_stream:
            # As the API does, so that clients see each event when it arrives.
            del headers["content-length"]
            headers["transfer-encoding"] = "chunked"
        self.send_response(response.status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command == "HEAD":
            return
        body = response.body
        for length, pause in response.pauses or [(len(body), 0)]:
            if self._client_disconnects(pause):
                self.close_connection = True
                return
            self.wfile.write(b"%x\r\n%b\r\n" % (length, body[:length]) if is_stream else body[:length])
            body = body[length:]
        if is_stream:
            self.wfile.write(b"0\r\n\r\n")

    def _send_slowly(self, status: int, parts: Iterable[bytes], length: int, *, pause: float = 0) -> None:
        """Send a JSON response in parts, until the client disconnects."""
        self.send(Response(status, b""), content_length=length)
        for part in parts:
            if self._client_disconnects(pause):
                self.close_connection = True
                return
            self.wfile.write(part)


class ApiHandler(RequestHandler):
    """Handles requests to the API and to ``/emulator/…``."""

    def respond(self) -> None:
        """Handle a request whose headers have been read."""
        if "transfer-encoding" in self.headers:
            self.send_error(411)
            return
        length = int(self.headers.get("content-length") or 0)
        body = self.rfile.read(length)
        if len(body) < length:
            self.close_connection = True
            return
        path, _, query = self.path.partition("?")
        headers = {name.lower(): value for name, value in self.headers.items()}
        pairs = parse_qsl(query, keep_blank_values=True)
        request = _RawRequest(self.command, path, self.path, pairs, body, headers)
        self.record = None
        if path.startswith(ADMIN_PREFIX):
            self.send(self._execute(request, ADMIN_ROUTES))
            return
        state = self.server.state
        with state.lock:
            record = self.record = _record(state, request)
            fault = state.faults.take(request.method, request.target)
        try:
            if fault is None:
                self.send(self._execute(request))
            else:
                record.fault = fault.kind
                if fault.kind == "endless":
                    # The API would refuse the page token.
                    without_token = [(name, value) for name, value in pairs if name != "pageToken"]
                    request = replace(request, query=without_token)
                self.fail(fault, lambda: self._execute(request))
        finally:
            if self.server.log is not None:
                self.server.log(record)

    do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = do_HEAD = do_OPTIONS = respond

    def _execute(self, request: _RawRequest, routes: list[Route] = API_ROUTES) -> Response:
        found = find_route(routes, request.method, request.path)
        if isinstance(found, Response):
            return found
        route, ids = found
        state = self.server.state
        with state.lock:
            if routes is API_ROUTES:
                refusal = state.refuse(request.headers.get("authorization"))
                if refusal is not None:
                    return refusal
            return route.respond(state, ids, request.query, request.body)


def recordable(headers: dict[str, str]) -> dict[str, str]:
    """Return the headers without those that can carry a secret."""
    return {name: text for name, text in headers.items() if name not in _SECRET_HEADERS}


def _record(state: State, request: _RawRequest) -> ReceivedRequest:
    record = ReceivedRequest(
        method=request.method,
        path=request.path,
        query=dict(request.query),
        body=_parse_body(request.body),
        at=state.clock(),
        headers=recordable(request.headers),
    )
    state.requests.append(record)
    found = find_route(API_ROUTES, request.method, request.path)
    label = "other" if isinstance(found, Response) else found[0].label
    state.counts[f"{request.method} {label}"] += 1
    return record


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
