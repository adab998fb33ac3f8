"""Responses of the emulated API: JSON, its error envelopes, and plain text for unknown paths."""

from __future__ import annotations

import json
import uuid
from collections.abc import Sequence
from dataclasses import dataclass, field
from html import escape
from typing import Any

#: The number in the body and the HTTP status of each error code.
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

# If several codes share a status, the one that clients usually see.
_USUAL = ("INVALID_ARGUMENT", "ABORTED", "INTERNAL")
_BY_STATUS = {status: number for number, status in CODES.values()} | {
    CODES[name][1]: CODES[name][0] for name in _USUAL
}


@dataclass(frozen=True)
class Response:
    """
    An HTTP response.

    :ivar pauses: if it is not empty, the body is sent in as many parts: for each its length, and the seconds before it.
    """

    status: int
    body: bytes
    content_type: str = "application/json"
    headers: dict[str, str] = field(default_factory=dict)
    pauses: Sequence[tuple[int, float]] = ()


class ErrorResponse(Exception):
    """
    Raised to refuse a request with an error of the API.

    :param code: a key of :data:`CODES`.
    :param status: HTTP status, if not the one of the code.
    """

    def __init__(self, code: str, message: str, *, status: int | None = None) -> None:
        super().__init__(f"{code}: {message}")
        self.code = code
        self.message = message
        self.status = status

    def response(self) -> Response:
        number, status = CODES[self.code]
        return envelope(self.status or status, self.message, code=number)


def quota_exceeded(
    accelerator_type: str, account: str, *, in_use: int, quota: int, requesting: int, status: int
) -> ErrorResponse:
    """Return the error for a request of more GPUs than the quota allows."""
    name = quota_name(accelerator_type)
    message = f"{name} for account {account}, in use: {in_use}, quota: {quota}, requesting: {requesting}"
    return ErrorResponse("RESOURCE_EXHAUSTED", message, status=status)


def quota_name(accelerator_type: str) -> str:
    """Return the id of a GPU quota: ``global--h100-count`` for ``NVIDIA_H100_80GB``, as in captured errors."""
    return f"global--{accelerator_type.split('_')[1].lower()}-count"


def not_found() -> ErrorResponse:
    return ErrorResponse("NOT_FOUND", "resource not found")


def as_json(value: Any, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    text = json.dumps(value, separators=(",", ":"), ensure_ascii=False)
    # UTF-8 cannot encode half a surrogate pair: it is sent as an escape, as it was received.
    return Response(status, text.encode(errors="backslashreplace"), headers=headers or {})


def as_text(status: int, text: str) -> Response:
    return Response(status, text.encode(), "text/plain; charset=utf-8")


def envelope(status: int, message: str, *, code: int | None = None) -> Response:
    """Return an error in the envelope of the control plane. The default code is the usual one of the status."""
    number = code if code is not None else _BY_STATUS.get(status, CODES["UNKNOWN"][0])
    return as_json({"code": number, "message": message, "details": []}, status)


def inference_error(status: int, code: str, message: str) -> Response:
    """Return an error in the envelope of the inference API."""
    return as_json({"error": {"message": message, "code": code, "type": "error", "param": None}}, status)


def store_error(status: int, code: str, message: str, details: str = "") -> Response:
    """Return an error in the envelope of the object store that receives uploads."""
    parts = {"Code": code, "Message": message, **({"Details": details} if details else {})}
    text = "".join(f"<{name}>{escape(value)}</{name}>" for name, value in parts.items())
    body = f"<?xml version='1.0' encoding='UTF-8'?><Error>{text}</Error>"
    return Response(status, body.encode(), "application/xml; charset=UTF-8")


def unauthorized(status: int) -> Response:
    """Return the response to a missing or wrong API key, which has yet another envelope."""
    error = {
        "message": "The API key you provided is invalid.",
        "param": None,
        "code": "UNAUTHORIZED",
        "type": "error",
    }
    return as_json({"error": error, "request_id": str(uuid.uuid4())}, status)
