"""Faults to order: answers that are none of the API's, or that never come."""

from __future__ import annotations

import re
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from airflow_provider_fireworks.emulator.options import header_text

Kind = Literal[
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

_STATUS: dict[str, int] = {
    "status": 503,
    "html": 502,
    "text": 502,
    "truncate": 200,
    "redirect": 307,
    "huge": 200,
}
_DELAY: dict[str, float] = {"slow": 1, "hang": 3600, "trickle": 1}


class Fault(BaseModel):
    """
    What is to go wrong, with which requests, and how often.

    ``status`` answers in the API's own envelope; ``html`` and ``text`` as a proxy or a firewall would;
    ``drop`` closes the connection without an answer; ``truncate`` closes it in the middle of the body;
    ``slow`` and ``hang`` carry the request out, but late (a client that has left by then gets nothing done);
    ``redirect`` points elsewhere; ``huge`` answers with a JSON object of ``size`` bytes.

    The others carry the request out and answer well, but not as expected: ``trickle`` sends a byte at a time;
    ``gzip`` compresses, asked to or not; ``wrong_type`` calls its JSON an HTML page; ``endless`` says of a list
    that there is another page, with the same ``nextPageToken`` each time.
    """

    model_config = ConfigDict(extra="forbid")

    kind: Kind
    times: int = Field(
        default=1, ge=-1, description="How many requests it happens to; -1: until it is cleared."
    )
    method: str | None = Field(default=None, description="Only requests of this method. Unset: any.")
    path: str | None = Field(
        default=None,
        description="Only where path?query has this in it, as a substring or a regular expression.",
    )
    status: int | None = Field(
        default=None,
        ge=200,
        le=599,
        description="HTTP status. Unset: 503, for html and text 502, for redirect 307, for huge 200.",
    )
    code: int | None = Field(
        default=None, description="Code in the API's envelope. Unset: the one that fits the status."
    )
    message: str | None = Field(
        default=None, description="Message, or the page's text. Unset: a fitting one."
    )
    retry_after: str | None = Field(default=None, description="Retry-After header: seconds or an HTTP date.")
    delay: float = Field(
        default=0,
        ge=0,
        allow_inf_nan=False,
        description="Seconds until it happens, for trickle between two bytes. Unset: 1 for slow and trickle, "
        "3600 for hang.",
    )
    size: int = Field(default=100_000_000, ge=20, description="Bytes of the body of huge.")
    location: str | None = Field(default=None, description="Where a redirect points to.")
    after_work: bool = Field(
        default=False, description="Whether the request is carried out before the fault happens."
    )

    @field_validator("path")
    @classmethod
    def _compiles(cls, value: str | None) -> str | None:
        if value is not None:
            try:
                re.compile(value)
            except re.error as error:
                raise ValueError(
                    f"neither a plain part of a path nor a regular expression: {error}"
                ) from error
        return value

    @field_validator("retry_after", mode="before")
    @classmethod
    def _header(cls, value: object) -> object:
        return header_text(value)

    @model_validator(mode="before")
    @classmethod
    def _defaults(cls, data: Any) -> Any:
        if not isinstance(data, dict):
            return data
        kind = str(data.get("kind"))
        defaults = {"status": _STATUS.get(kind), "delay": _DELAY.get(kind, 0)}
        given = {name: value for name, value in data.items() if value is not None}
        return {**defaults, **given}

    @model_validator(mode="after")
    def _complete(self) -> Fault:
        if (self.kind == "redirect") != (self.location is not None):
            raise ValueError("a redirect needs a location, and nothing else has one")
        if self.times == 0:
            raise ValueError("times is 0: it would never happen")
        return self

    def meets(self, method: str, target: str) -> bool:
        """
        Whether a request is one that this happens to.

        :param target: the path, with ``?`` and the query if there is one.
        """
        if self.method is not None and self.method.upper() != method:
            return False
        return self.path is None or self.path in target or re.search(self.path, target) is not None


class Faults:
    """The faults that wait for their request. The first that fits is taken, and counted down."""

    def __init__(self) -> None:
        self._waiting: list[Fault] = []

    def add(self, fault: Fault) -> None:
        # A copy: counting down must not change what the caller holds.
        self._waiting.append(fault.model_copy())

    def take(self, method: str, target: str) -> Fault | None:
        for fault in self._waiting:
            if fault.meets(method, target):
                if fault.times > 0:
                    fault.times -= 1
                if fault.times == 0:
                    self._waiting.remove(fault)
                return fault
        return None

    def clear(self) -> None:
        self._waiting.clear()

    def waiting(self) -> list[Fault]:
        return [fault.model_copy() for fault in self._waiting]
