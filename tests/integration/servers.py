"""Servers that send exactly the bytes that a test chooses."""

from __future__ import annotations

import contextlib
import json
import re
import socket
import ssl
import threading
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any


class Server:
    """
    Sends the same bytes to each client, whatever it requests, until the client closes the connection.

    :param respond: makes the bytes to send, part by part.
    :param certificate: a PEM file with a certificate and its key, to serve TLS.
    :param host: the address to listen at.
    :ivar requests: the first request of each connection, with its body.
    :ivar hung_up: set as soon as a client has closed its connection.
    """

    def __init__(
        self,
        respond: Callable[[], Iterable[bytes]],
        *,
        certificate: Path | None = None,
        host: str = "127.0.0.1",
    ) -> None:
        self.respond = respond
        self._tls: ssl.SSLContext | None = None
        if certificate is not None:
            self._tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            self._tls.load_cert_chain(certificate)
        self._socket = socket.create_server((host, 0))
        scheme = "https" if self._tls else "http"
        self.url = f"{scheme}://{host}:{self._socket.getsockname()[1]}"
        self.requests: list[bytes] = []
        self.hung_up = threading.Event()

    def __enter__(self) -> Server:
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.close()

    def send(self, peer: socket.socket) -> None:
        """Send the response to one client."""
        for part in self.respond():
            peer.sendall(part)
        peer.shutdown(socket.SHUT_WR)
        while peer.recv(65536):
            pass

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                peer, _ = self._socket.accept()
                threading.Thread(target=self._serve, args=(peer,), daemon=True).start()

    def _serve(self, peer: socket.socket) -> None:
        with peer, contextlib.suppress(OSError):
            if self._tls is None:
                self._respond_to(peer)
            else:
                with self._tls.wrap_socket(peer, server_side=True) as secured:
                    self._respond_to(secured)
        self.hung_up.set()

    def _respond_to(self, peer: socket.socket) -> None:
        if request := read_request(peer):
            self.requests.append(request)
            self.send(peer)


def read_request(peer: socket.socket) -> bytes:
    """Read a request with its body, or what arrives of it before the client closes the connection."""
    request = b""
    missing = 1
    while missing > 0 and (part := peer.recv(65536)):
        request += part
        head, end, body = request.partition(b"\r\n\r\n")
        length = re.search(rb"content-length: (\d+)", head, re.IGNORECASE)
        missing = (int(length[1]) if length else 0) - len(body) if end else 1
    return request


def http_response(body: bytes, *headers: str, status: str = "200 OK") -> bytes:
    """Return the bytes of a complete response."""
    lines = (f"HTTP/1.1 {status}", f"Content-Length: {len(body)}", "Content-Type: application/json", *headers)
    return "\r\n".join((*lines, "", "")).encode("latin-1") + body


def json_response(content: Any, *headers: str, status: str = "200 OK") -> bytes:
    """Return the bytes of a response with JSON, after which the client opens a new connection."""
    return http_response(json.dumps(content).encode(), "Connection: close", *headers, status=status)
