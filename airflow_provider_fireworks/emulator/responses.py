"""The API's answers: JSON, its error envelopes, and the plain text of paths that it does not know."""

from __future__ import annotations

import json
import uuid
from dataclasses import dataclass, field
from typing import Any

#: Name of an error: its number in the body, its HTTP status.
CODES: dict[str, tuple[int, int]] = {
    "CANCELLED": (1, 499),
    "UNKNOWN": (2, 500),
    "INVALID_ARGUMENT": (3, 400),
    "DEADLINE_EXCEEDED": (4, 504),
    "NOT_FOUND": (5, 404),
    "ALREADY_EXISTS": (6, 409),
    "PERMISSION_DENIED": (7, 403),
    "RESOURCE_EXHAUSTED": (8, 429),
    "FAILED_PRECONDITION": (9, 400),
    "ABORTED": (10, 409),
    "OUT_OF_RANGE": (11, 400),
    "UNIMPLEMENTED": (12, 501),
    "INTERNAL": (13, 500),
    "UNAVAILABLE": (14, 503),
    "DATA_LOSS": (15, 500),
    "UNAUTHENTICATED": (16, 401),
}

# Where several codes share a status, the one that a client most often meets there.
_USUAL = ("INVALID_ARGUMENT", "ABORTED", "INTERNAL")
_BY_STATUS = {status: number for number, status in CODES.values()} | {
    CODES[name][1]: CODES[name][0] for name in _USUAL
}


@dataclass(frozen=True)
class Response:
    """What goes over the wire: an HTTP status, a body, headers."""

    status: int
    body: bytes
    content_type: str = "application/json"
    headers: dict[str, str] = field(default_factory=dict)


class ErrorResponse(Exception):
    """
    A refusal in the API's own words. Its name is a key of :data:`CODES`.

    :param status: an HTTP status other than that of the name.
    """

    def __init__(self, name: str, message: str, *, status: int | None = None) -> None:
        super().__init__(f"{name}: {message}")
        self.name = name
        self.message = message
        self.status = status

    def answer(self) -> Response:
        number, status = CODES[self.name]
        return envelope(self.status or status, self.message, code=number)


def as_json(value: Any, status: int = 200, **headers: str) -> Response:
    """Return JSON as the API writes it, header names with ``_`` for ``-``."""
    text = json.dumps(value, separators=(",", ":"), ensure_ascii=False)
    # Half a surrogate pair, which UTF-8 cannot have, becomes the escape that it was sent as.
    body = text.encode(errors="backslashreplace")
    return Response(status, body, headers={name.replace("_", "-"): text for name, text in headers.items()})


def as_text(status: int, text: str) -> Response:
    return Response(status, text.encode(), "text/plain; charset=utf-8")


def envelope(status: int, message: str, *, code: int | None = None) -> Response:
    """Return an error in the envelope of the API's resources, by default with the status' own code."""
    number = code if code is not None else _BY_STATUS.get(status, CODES["UNKNOWN"][0])
    return as_json({"code": number, "message": message, "details": []}, status)


def inference_error(status: int, code: str, message: str) -> Response:
    """Return an error of the inference API, whose envelope is another one again."""
    return as_json({"error": {"message": message, "code": code, "type": "error", "param": None}}, status)


def unauthorized(status: int) -> Response:
    """Return what answers a missing or wrong key: another envelope than that of the resources."""
    error = {
        "message": "The API key you provided is invalid.",
        "param": None,
        "code": "UNAUTHORIZED",
        "type": "error",
    }
    return as_json({"error": error, "request_id": str(uuid.uuid4())}, status)


def not_found() -> ErrorResponse:
    return ErrorResponse("NOT_FOUND", "resource not found")
