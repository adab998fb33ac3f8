"""Everything that can come of a call but its result: one tree, made from every kind of bad answer there is."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from typing import Any

_MESSAGE_LIMIT = 500

# As captured: "global--h200-count for account X, in use: 14, quota: 16, requesting: 4". A limit of requests
# may be called a quota as well, but does not count what is in use.
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


class GatewayError(Exception):
    """
    A call that did not come to its result.

    :ivar message: what went wrong, in the gateway's words where it had any; one line.
    :ivar call: the call, as verb and path.
    :ivar status: the HTTP status, ``None`` where no answer came.
    :ivar code: the gateway's own code by name (``"FAILED_PRECONDITION"``), ``None`` where it named none.
    :ivar request_id: the gateway's id of the request, ``None`` where it gave none.
    :ivar retry_after: seconds (at most 60) that the gateway asks to be left alone for, ``None`` if it does not.
    :ivar misdirected: whether the Base URL plainly leads elsewhere: a redirect, a web page in place of JSON, a name
        that does not resolve, a certificate that does not fit.
    """

    blip = False
    """Whether it says nothing of the resource, so that a wait goes on over it."""
    may_have_acted = False
    """Whether the gateway may have carried the call out nevertheless."""

    # Keyword arguments with defaults, so that pickle can rebuild it from args and __dict__.
    def __init__(
        self,
        message: str,
        *,
        call: str = "",
        status: int | None = None,
        code: str | None = None,
        request_id: str | None = None,
        retry_after: float | None = None,
        misdirected: bool = False,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.call = call
        self.status = status
        self.code = code
        self.request_id = request_id
        self.retry_after = retry_after
        self.misdirected = misdirected

    @property
    def is_response(self) -> bool:
        """Whether the API itself said so, in one of its own envelopes."""
        return self.code is not None

    def hide(self, hider: Callable[[str], str]) -> None:
        """Pass all that the gateway said through ``hider``, which takes the key out of it."""
        self.message = hider(self.message)
        self.code = hider(self.code) if self.code else None
        self.request_id = hider(self.request_id) if self.request_id else None
        self.args = (self.message,)

    def __str__(self) -> str:
        answer = " ".join(str(part) for part in (self.status and f"HTTP {self.status}", self.code) if part)
        shown = f"{answer}: {self.message}" if answer else self.message
        shown = f"{self.call}: {shown}" if self.call else shown
        return shown + (f" (request id {self.request_id})" if self.request_id else "")


class UnreachableError(GatewayError):
    """No connection came about, so nothing was sent: a refused connection, DNS, TLS, a proxy."""

    blip = True


class AnswerLostError(GatewayError):
    """
    The call was sent and no readable answer came back, or none in time: the gateway may have acted on it.

    Who only asks tries again, a few times or until its wait is over; who has changed something looks first.
    """

    blip = True
    may_have_acted = True


class UnavailableError(GatewayError):
    """408, 5xx, or a 401, 403, 404 or redirect that is not the gateway's own: something in between, or a blip."""

    blip = True
    may_have_acted = True


class RateLimitedError(GatewayError):
    """429: not carried out, by a rate limit or a quota."""

    blip = True


class QuotaExceededError(GatewayError):
    """No GPUs are left in the account's quota (429, 400 or 403): nothing that asking again soon would mend."""


class AccessDeniedError(GatewayError):
    """401 or 403 in the gateway's own words: the key is wrong, revoked, or may not do this."""


class NotFoundError(GatewayError):
    """404 in the gateway's own words."""


class RefusedError(GatewayError):
    """Any other 4xx: the gateway will not do this (now)."""


def error_of(
    call: str, status: int, headers: Mapping[str, str], body: bytes, *, retry_after: float | None = None
) -> GatewayError:
    """
    Make the exception of an answer that is no success.

    :param call: the call, as verb and path.
    :param status: the HTTP status, 300 or more.
    :param headers: the answer's headers, by lower-case name.
    :param body: the answer's body, of any kind.
    :param retry_after: seconds that the headers ask to wait.
    """
    envelope = _envelope(body)
    message, code, request_id = envelope or (excerpt(status, headers, body), None, None)
    return _class_of(status, message if envelope is not None else None)(
        message,
        call=call,
        status=status,
        code=code,
        request_id=request_id or one_line(headers.get("x-request-id", "")) or None,
        retry_after=retry_after,
        misdirected=envelope is None and (status < 400 or status in (401, 403, 404)),
    )


def one_line(text: object, *, limit: int = _MESSAGE_LIMIT) -> str:
    """
    Return a text as one printable line, so that nobody else's words can forge a line of a log or colour it.

    :param limit: characters, beyond which it is cut.
    """
    whole = str(text)
    if len(whole) <= limit and whole.isprintable() and " " not in whole:
        return whole
    # Four times over, since what is folded does not count. All of a huge text would take its time.
    kept = "".join(letter if letter.isprintable() else " " for letter in whole[: 4 * limit])
    folded = " ".join(kept.split())
    cut = len(folded) > limit or len(whole) > 4 * limit
    return folded[: limit - 1] + "…" if cut else folded


def sentence(text: object, *, limit: int = _MESSAGE_LIMIT) -> str:
    """Return a text as one line that ends as a sentence does, whatever it ended with."""
    line = one_line(text, limit=limit).rstrip(". ")
    return line if line.endswith(("?", "!", "…")) else f"{line}."


def _class_of(status: int, own_words: str | None) -> type[GatewayError]:
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


def _envelope(body: bytes) -> tuple[str, str | None, str | None] | None:
    """Return (message, code, request id) of the gateway's two JSON envelopes, ``None`` for anything else."""
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


def excerpt(status: int, headers: Mapping[str, str], body: bytes) -> str:
    """Say in a line what answered in place of the API: where a redirect leads, a page's title, the first words."""
    if 300 <= status < 400:
        return f"redirected to {one_line(headers.get('location', 'nowhere'))}, which is not followed"
    text = body[:4096].decode("utf-8", "replace") + ("…" if len(body) > 4096 else "")
    title = re.search(r"<title[^>]*>(.*?)</title>", text, re.IGNORECASE | re.DOTALL)
    kind = "HTML page" if title or "<html" in text.lower() else "not JSON"
    excerpt = one_line(title.group(1) if title else re.sub(r"<[^>]*>", " ", text), limit=200)
    return f"unexpected response ({kind}: {excerpt or 'empty'})"
