"""
Exceptions raised for failed API requests::

    ApiError
    ├── ConnectError    no connection; nothing was sent
    ├── NoResponseError     sent, but no response that can be read
    ├── UnavailableError    408, 5xx, or a 401, 403, 404 or redirect that is not the API's own
    ├── RateLimitedError    429
    ├── QuotaExceededError  no GPUs left in the account's quota
    ├── AccessDeniedError   401 or 403 in the API's own words
    ├── NotFoundError       404 in the API's own words
    └── RefusedError        any other 4xx

The first four are transient: they say nothing about the resource, so a wait continues. After a ``NoResponseError`` or
an ``UnavailableError`` the outcome of the request is unknown: the API may have carried it out.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from typing import Any

from airflow_provider_fireworks.client.text import hide_queries, one_line

# As captured: "global--h200-count for account X, in use: 14, quota: 16, requesting: 4". A limit on requests may be
# called a quota as well, but says nothing of what is in use.
_QUOTA = re.compile(
    r"\bin use: \d+.*\bquota: \d+|(?=.*\bquota\b)(?=.*\b(?:gpu|accelerator)s?\b)", re.IGNORECASE
)

_CODE_NAMES = {
    1: "CANCELLED",
    2: "UNKNOWN",
    3: "INVALID_ARGUMENT",
    4: "DEADLINE_EXCEEDED",
    5: "NOT_FOUND",
    6: "ALREADY_EXISTS",
    7: "PERMISSION_DENIED",
    8: "RESOURCE_EXHAUSTED",
    9: "FAILED_PRECONDITION",
    10: "ABORTED",
    11: "OUT_OF_RANGE",
    12: "UNIMPLEMENTED",
    13: "INTERNAL",
    14: "UNAVAILABLE",
    15: "DATA_LOSS",
    16: "UNAUTHENTICATED",
}


class ApiError(Exception):
    """
    A request failed.

    :ivar message: what went wrong, in the API's words if it has responded; one line.
    :ivar request: the method and path of the request.
    :ivar status: the HTTP status, ``None`` without a response.
    :ivar code: the API's own code by name (``"FAILED_PRECONDITION"``), ``None`` unless the API itself has responded.
    :ivar request_id: the API's id of the request, ``None`` if it gave none.
    :ivar retry_after: seconds (at most 60) for which the API asks to wait, ``None`` if it does not.
    :ivar misdirected: whether the Base URL plainly leads elsewhere: a redirect, a web page in place of JSON, a name
        that does not resolve, a certificate of another name.
    """

    is_transient = False
    """Whether the error says nothing about the resource, so that a wait continues."""
    outcome_unknown = False
    """Whether the API may have carried out the request nevertheless."""

    # Keyword arguments with defaults, so that pickle can rebuild it from args and __dict__.
    def __init__(
        self,
        message: str,
        *,
        request: str = "",
        status: int | None = None,
        code: str | None = None,
        request_id: str | None = None,
        retry_after: float | None = None,
        misdirected: bool = False,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.request = request
        self.status = status
        self.code = code
        self.request_id = request_id
        self.retry_after = retry_after
        self.misdirected = misdirected

    @property
    def is_response(self) -> bool:
        """Whether the API itself has responded, in one of its own envelopes."""
        return self.code is not None

    def add(self, sentence: str) -> None:
        """Append a sentence to the message."""
        self.message = f"{self.message.rstrip('.')}. {sentence}"
        self.args = (self.message,)

    def hide(self, hide_key: Callable[[str], str]) -> None:
        """
        Remove the key from everything that came from outside.

        :param hide_key: returns a text without the key.
        """
        self.message = hide_key(self.message)
        self.code = hide_key(self.code) if self.code else None
        self.request_id = hide_key(self.request_id) if self.request_id else None
        self.args = (self.message,)

    def __str__(self) -> str:
        response = " ".join(str(part) for part in (self.status and f"HTTP {self.status}", self.code) if part)
        shown = f"{response}: {self.message}" if response else self.message
        shown = f"{self.request}: {shown}" if self.request else shown
        return shown + (f" (request id {self.request_id})" if self.request_id else "")


class ConnectError(ApiError):
    """The connection failed (refused, DNS, TLS, proxy), so nothing was sent."""

    is_transient = True


class NoResponseError(ApiError):
    """
    The request was sent, but no readable response arrived in time.

    Sending a read again is safe. After a write, read the resource first: the write may have been carried out.
    """

    is_transient = True
    outcome_unknown = True


class UnavailableError(ApiError):
    """
    The API is unavailable, or something else has responded in its place.

    408, 499, 5xx, or a 401, 403, 404 or redirect that is not the API's own, such as the page of a proxy.
    """

    is_transient = True
    outcome_unknown = True


class RateLimitedError(ApiError):
    """429: a rate limit was exceeded, so the request was not carried out."""

    is_transient = True


class QuotaExceededError(ApiError):
    """The account's quota has no GPUs left (429, 400 or 403). Retrying soon does not help."""


class AccessDeniedError(ApiError):
    """401 or 403 in the API's own words: the key is wrong, revoked, or lacks a permission."""


class NotFoundError(ApiError):
    """404 in the API's own words."""


class RefusedError(ApiError):
    """Any other 4xx: the API refuses to carry out the request."""


def error_from_response(
    request: str, status: int, headers: Mapping[str, str], body: bytes, *, retry_after: float | None = None
) -> ApiError:
    """
    Return the exception for a response that is not a success.

    :param request: the method and path of the request.
    :param status: the HTTP status: 300 or more.
    :param headers: by lower-case name.
    :param body: any bytes, not necessarily the API's JSON.
    :param retry_after: seconds for which the headers ask to wait.
    """
    envelope = _parse_envelope(body)
    message, code, request_id = envelope or (excerpt(status, headers, body), None, None)
    return _class_of(status, message if envelope is not None else None)(
        message,
        request=request,
        status=status,
        code=code,
        request_id=request_id or one_line(headers.get("x-request-id", "")) or None,
        retry_after=retry_after,
        misdirected=envelope is None and (status < 400 or status in (401, 403, 404)),
    )


def excerpt(status: int, headers: Mapping[str, str], body: bytes) -> str:
    """Describe in one line what responded in place of the API: a redirect, a page by its title, or its first words."""
    if 300 <= status < 400:
        location = hide_queries(one_line(headers.get("location", "nowhere")))
        return f"redirected to {location}, which is not followed"
    text = body[:4096].decode("utf-8", "replace") + ("…" if len(body) > 4096 else "")
    title = re.search(r"<title[^>]*>(.*?)</title>", text, re.IGNORECASE | re.DOTALL)
    kind = "HTML page" if title or "<html" in text.lower() else "not JSON"
    words = one_line(title.group(1) if title else re.sub(r"<[^>]*>", " ", text), limit=200)
    return f"unexpected response ({kind}: {hide_queries(words) or 'empty'})"


def _class_of(status: int, own_words: str | None) -> type[ApiError]:
    if own_words and status in (400, 403, 429) and _QUOTA.search(own_words):
        return QuotaExceededError
    if status == 429:
        return RateLimitedError
    if status < 400 or status in (408, 499) or status >= 500:
        return UnavailableError
    if status in (401, 403):
        return AccessDeniedError if own_words else UnavailableError
    if status == 404:
        return NotFoundError if own_words else UnavailableError
    return RefusedError


def _parse_envelope(body: bytes) -> tuple[str, str | None, str | None] | None:
    """Return message, code and request id from either of the API's two JSON envelopes, ``None`` for anything else."""
    try:
        parsed: Any = json.loads(body)
    except (ValueError, RecursionError):
        return None
    if not isinstance(parsed, dict):
        return None
    request_id = parsed.get("request_id")
    nested = parsed.get("error")
    error: dict[str, Any] = nested if isinstance(nested, dict) else parsed
    if not isinstance(error.get("message"), str) or "code" not in error:
        return None
    code = error["code"]
    name = _CODE_NAMES.get(code, str(code)) if isinstance(code, int) else code
    return (
        one_line(error["message"]) or "(no message)",
        one_line(name) if name else None,
        one_line(request_id) if request_id else None,
    )
