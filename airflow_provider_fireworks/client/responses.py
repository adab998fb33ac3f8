"""How both clients read a response, or report that there is none. Removes the API key from everything they return."""

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

from airflow_provider_fireworks.client.api import Request
from airflow_provider_fireworks.client.config import ClientConfig
from airflow_provider_fireworks.client.errors import (
    ApiError,
    ConnectError,
    NoResponseError,
)
from airflow_provider_fireworks.client.text import one_line

ResultT = TypeVar("ResultT")

MAX_BODY_BYTES = 16 * 1024 * 1024
"""The largest body of a response, decompressed. A full page of a list takes about 1 % of it."""
_MIN_KEY_LENGTH = 16
"""A shorter key, which only an emulator has, may be a word in any response, so it is not replaced there."""


@contextmanager
def clear_locals() -> Iterator[None]:
    """
    Clear the local variables in the traceback of every error that leaves the block.

    Local variables of the HTTP libraries and of the code that reads a connection hold the key, and some tools show
    local variables with a traceback. Files and line numbers stay in it.
    """
    handled = sys.exc_info()[1]
    try:
        yield
    except BaseException as error:
        pending: list[BaseException | None] = [error]
        seen = [handled]
        while pending:
            each = pending.pop()
            if each is not None and each not in seen:
                seen.append(each)
                traceback.clear_frames(each.__traceback__)
                pending += [each.__cause__, each.__context__]
        raise


class ResponseReader(Generic[ResultT]):
    """
    Reads a response while it arrives, and never holds more than :data:`MAX_BODY_BYTES` of it.

    :param status: the HTTP status.
    :param headers: as they arrived; names in any case.
    :raises ApiError: if the body has an encoding that was not asked for.
    """

    def __init__(
        self,
        request: Request[ResultT],
        config: ClientConfig,
        status: int,
        headers: Iterable[tuple[str, str]],
    ) -> None:
        self._request = request
        self._config = config
        self._status = status
        self._headers = {name.lower(): value for name, value in headers}
        self._body = bytearray()
        self._decompressor: Any = None
        encoding = self._headers.get("content-encoding", "").strip().lower()
        if encoding in ("gzip", "x-gzip"):
            self._decompressor = zlib.decompressobj(wbits=16 + zlib.MAX_WBITS)
        elif encoding not in ("", "identity"):
            raise self._unreadable(f"its encoding is {encoding!r}, which was not asked for")

    def add(self, chunk: bytes) -> None:
        """
        Add the next bytes of the body, still compressed.

        :raises ApiError: if the body is too large, or cannot be decompressed.
        """
        if self._decompressor is not None:
            room = MAX_BODY_BYTES - len(self._body)
            try:
                chunk = self._decompressor.decompress(chunk, room + 1)
            except zlib.error as error:
                raise self._unreadable(str(error)) from None
        self._body += chunk
        if len(self._body) > MAX_BODY_BYTES:
            raise self._unreadable(f"it has more than {MAX_BODY_BYTES} bytes")

    def result(self) -> ResultT:
        """
        Parse the complete response.

        :raises ApiError: unless it is a success that can be parsed.
        """
        body = bytes(self._body)
        if len(self._config.api_key) >= _MIN_KEY_LENGTH:
            # An echoed key must not get into what a task logs or returns.
            body = body.replace(self._config.api_key.encode(), b"***")
        try:
            return self._request.parse(
                self._status,
                self._headers,
                body,
                now=time.time(),
                max_retry_after=self._config.timing.max_retry_after,
            )
        except ApiError as error:
            if error.misdirected:
                error.message = f"{error.message} from {self._config.base_url}"
            error.hide(self._config.hide_key)
            raise

    def _unreadable(self, problem: str) -> ApiError:
        error = NoResponseError(
            one_line(f"the response cannot be read: {problem}"),
            request=str(self._request),
            status=self._status,
            request_id=one_line(self._headers.get("x-request-id", "")) or None,
        )
        error.hide(self._config.hide_key)
        return error


def no_response_error(
    request: Request[Any], config: ClientConfig, error: Exception, reason: object, *, never_sent: bool
) -> ApiError:
    """
    Return the error of a request without a response.

    :param error: what the HTTP library raised.
    :param reason: why, in the library's words.
    :param never_sent: whether it is certain that the API cannot have received the request.
    """
    kind = ConnectError if never_sent else NoResponseError
    what = "the API cannot be reached" if never_sent else "no response"
    shown = config.hide_key(one_line(f"{type(error).__name__}: {reason}"))
    return kind(
        f"{what} at {config.base_url}: {shown}", request=str(request), misdirected=_is_misdirected(error)
    )


def deadline_error(request: Request[Any], config: ClientConfig, seconds: float) -> ApiError:
    """Return the error of a request whose response was not complete when its timeout, in seconds, was over."""
    return NoResponseError(
        f"the response of {config.base_url} was not complete after {seconds:g} s", request=str(request)
    )


def _is_misdirected(error: BaseException | None) -> bool:
    """Whether the host has no address or the wrong certificate; both libraries wrap these errors several times."""
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        if isinstance(error, (socket.gaierror, ssl.SSLCertVerificationError)):
            return True
        seen.add(id(error))
        reason = getattr(error.args[0], "reason", None) if error.args else None
        error = (reason if isinstance(reason, Exception) else None) or error.__cause__ or error.__context__
    return False
