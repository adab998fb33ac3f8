"""Faults: responses that go wrong on request."""

from __future__ import annotations

import re
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from airflow_provider_fireworks.emulator.options import header_text

FaultKind = Literal[
    "status",
    "html",
    "text",
    "drop",
    "truncate",
    "slow",
    "hang",
    "redirect",
    "trickle",
    "huge",
    "gzip",
    "wrong_type",
    "endless",
]

_DEFAULTS: dict[str, dict[str, float]] = {
    "status": {"status": 503},
    "html": {"status": 502},
    "text": {"status": 502},
    "truncate": {"status": 200},
    "redirect": {"status": 307},
    "huge": {"status": 200},
    "slow": {"delay": 1},
    "hang": {"delay": 3600},
    "trickle": {"delay": 1},
}


class Fault(BaseModel):
    """
    What goes wrong, for which requests, and how often.

    These kinds respond instead of the API, which does not execute the request unless ``after_work`` is set:
    ``status`` (an error in the API's envelope), ``html`` and ``text`` (as from a proxy or firewall),
    ``redirect``, ``huge`` (a JSON object of ``size`` bytes), ``drop`` (closes the connection without a response)
    and ``truncate`` (closes it in the middle of the body).

    ``slow`` and ``hang`` execute the request after ``delay`` seconds, unless the client has disconnected.
    The others execute the request and change the response: ``trickle`` (one byte every ``delay`` seconds),
    ``gzip`` (compressed), ``wrong_type`` (labelled ``text/html``) and ``endless`` (a list with the same
    ``nextPageToken`` each time).
    """

    model_config = ConfigDict(extra="forbid")

    kind: FaultKind
    times: int = Field(default=1, ge=-1, description="Number of requests; -1: all, until it is cleared.")
    method: str | None = Field(default=None, description="Only requests with this method. Unset: any.")
    path: str | None = Field(
        default=None,
        description="Only requests whose path?query contains this text or matches this regular expression.",
    )
    status: int | None = Field(
        default=None,
        ge=200,
        le=599,
        description="HTTP status. Unset: 503, for html and text 502, for redirect 307, for huge 200.",
    )
    code: int | None = Field(default=None, description="Code in the envelope. Unset: that of the status.")
    message: str | None = Field(default=None, description="Message, or text of the page. Unset: a default.")
    retry_after: str | None = Field(default=None, description="Retry-After header: seconds or an HTTP date.")
    delay: float = Field(
        default=0,
        ge=0,
        allow_inf_nan=False,
        description="Seconds before it happens; for trickle, between two bytes. Unset: 1 for slow and trickle, "
        "3600 for hang.",
    )
    size: int = Field(default=100_000_000, ge=20, description="Bytes in the body of huge.")
    location: str | None = Field(default=None, description="Target of a redirect.")
    after_work: bool = Field(default=False, description="Whether the request is executed first.")

    @field_validator("path")
    @classmethod
    def _check_pattern(cls, value: str | None) -> str | None:
        if value is not None:
            try:
                re.compile(value)
            except re.error as error:
                raise ValueError(f"invalid regular expression: {error}") from error
        return value

    @field_validator("retry_after", mode="before")
    @classmethod
    def _header(cls, value: object) -> object:
        return header_text(value)

    @model_validator(mode="before")
    @classmethod
    def _fill_defaults(cls, data: Any) -> Any:
        if not isinstance(data, dict):
            return data
        given = {name: value for name, value in data.items() if value is not None}
        return {**_DEFAULTS.get(str(data.get("kind")), {}), **given}

    @model_validator(mode="after")
    def _check(self) -> Fault:
        if (self.kind == "redirect") != (self.location is not None):
            raise ValueError("location is required for a redirect, and not allowed for other kinds")
        if self.times == 0:
            raise ValueError("times must not be 0")
        return self

    def applies_to(self, method: str, target: str) -> bool:
        """
        Return whether a request gets this fault.

        :param target: ``path`` or ``path?query``.
        """
        if self.method is not None and self.method.upper() != method:
            return False
        return self.path is None or self.path in target or re.search(self.path, target) is not None


class Faults:
    """The pending faults. A request takes the first one that applies to it."""

    def __init__(self) -> None:
        self._pending: list[Fault] = []

    def add(self, fault: Fault) -> None:
        # A copy, so that counting down does not change the caller's object.
        self._pending.append(fault.model_copy())

    def take(self, method: str, target: str) -> Fault | None:
        for fault in self._pending:
            if fault.applies_to(method, target):
                if fault.times > 0:
                    fault.times -= 1
                if fault.times == 0:
                    self._pending.remove(fault)
                return fault
        return None

    def clear(self) -> None:
        self._pending.clear()

    def pending(self) -> list[Fault]:
        return [fault.model_copy() for fault in self._pending]
