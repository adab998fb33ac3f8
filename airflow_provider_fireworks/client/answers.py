"""What both transports make of an answer, and of none. The key gets no further than this."""

from __future__ import annotations

import socket
import ssl
import sys
import time
import traceback
import zlib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any, Generic, TypeVar

from airflow_provider_fireworks.client import endpoint as limits
from airflow_provider_fireworks.client.calls import Call
from airflow_provider_fireworks.client.endpoint import Endpoint
from airflow_provider_fireworks.client.errors import (
    AnswerLostError,
    GatewayError,
    UnreachableError,
    one_line,
)

ResultT = TypeVar("ResultT")

_SHORTEST_KEY = 16
"""Characters. What is shorter may be a word of any answer, and is a key of nothing but an emulator."""


@contextmanager
def without_locals() -> Iterator[None]:
    """
    Let no error leave the block with the local variables of what it has come through.

    The key stands in those of the HTTP libraries (headers, what is sent) and of whoever reads it from a connection,
    and there are tools that show them with a traceback. Files and lines stay in it.
    """
    handled = sys.exc_info()[1]
    try:
        yield
    except BaseException as error:
        waiting: list[BaseException | None] = [error]
        seen = [handled]
        while waiting:
            each = waiting.pop()
            if each is not None and each not in seen:
                seen.append(each)
                traceback.clear_frames(each.__traceback__)
                waiting += [each.__cause__, each.__context__]
        raise


class Answer(Generic[ResultT]):
    """
    The answer to a call, as it comes in: never more of it is held than may be.

    :param status: the HTTP status.
    :param headers: as they came.
    :raises GatewayError: if its body cannot be unpacked.
    """

    def __init__(
        self, call: Call[ResultT], endpoint: Endpoint, status: int, headers: Iterable[tuple[str, str]]
    ) -> None:
        self._call = call
        self._endpoint = endpoint
        self._status = status
        self._headers = {name.lower(): value for name, value in headers}
        self._body = bytearray()
        self._unpacker: Any = None
        encoding = self._headers.get("content-encoding", "").strip().lower()
        if encoding in ("gzip", "x-gzip"):
            self._unpacker = zlib.decompressobj(wbits=16 + zlib.MAX_WBITS)
        elif encoding not in ("", "identity"):
            raise self._unreadable(f"it is packed as {encoding!r}, which was not asked for")

    def add(self, chunk: bytes) -> None:
        """
        Take the next bytes of the body, as they came over the wire.

        :raises GatewayError: if the body is too large, or cannot be unpacked.
        """
        if self._unpacker is not None:
            room = limits.LARGEST_ANSWER - len(self._body)
            try:
                chunk = self._unpacker.decompress(chunk, room + 1)
            except zlib.error as error:
                raise self._unreadable(str(error)) from None
        self._body += chunk
        if len(self._body) > limits.LARGEST_ANSWER:
            raise self._unreadable(f"it has more than {limits.LARGEST_ANSWER} bytes")

    def result(self) -> ResultT:
        """
        Read the answer, which is complete.

        :raises GatewayError: the member of the tree that fits, for anything but a success that can be read.
        """
        body = bytes(self._body)
        if len(self._endpoint.api_key) >= _SHORTEST_KEY:
            # One that is echoed must not get into what a task logs or returns either.
            body = body.replace(self._endpoint.api_key.encode(), b"***")
        try:
            return self._call.result(self._status, self._headers, body, now=time.time())
        except GatewayError as error:
            error.hide(self._endpoint.hide_key)
            raise

    def _unreadable(self, problem: str) -> GatewayError:
        error = AnswerLostError(
            one_line(f"the answer cannot be read: {problem}"),
            call=str(self._call),
            status=self._status,
            request_id=one_line(self._headers.get("x-request-id", "")) or None,
        )
        error.hide(self._endpoint.hide_key)
        return error


def without_answer(
    call: Call[Any], endpoint: Endpoint, error: Exception, reason: object, *, never_sent: bool
) -> GatewayError:
    """
    Return the error of a call that no answer came to.

    :param error: what the HTTP library has raised.
    :param reason: what it says.
    :param never_sent: whether it is certain that the gateway cannot have seen the call.
    """
    kind = UnreachableError if never_sent else AnswerLostError
    what = "the gateway cannot be reached" if never_sent else "no answer came back"
    shown = endpoint.hide_key(one_line(f"{type(error).__name__}: {reason}"))
    return kind(f"{what} at {endpoint.base_url}: {shown}", call=str(call), misdirected=_is_misdirected(error))


def _is_misdirected(error: BaseException | None) -> bool:
    """Whether the host has no address, or a certificate of another name; both libraries wrap that several times."""
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        if isinstance(error, (socket.gaierror, ssl.SSLCertVerificationError)):
            return True
        seen.add(id(error))
        reason = getattr(error.args[0], "reason", None) if error.args else None
        error = (reason if isinstance(reason, Exception) else None) or error.__cause__ or error.__context__
    return False


def too_late(call: Call[Any], endpoint: Endpoint, seconds: float) -> GatewayError:
    """Return the error of a call whose answer was not complete after so many seconds."""
    return AnswerLostError(
        f"the answer of {endpoint.base_url} was not complete after {seconds:g} s", call=str(call)
    )
