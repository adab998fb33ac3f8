"""The faults, what they mean, and the result of a task that the docs promise for each."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum, auto
from typing import Any

from tests.faults.scenarios import Scenario


class Meaning(Enum):
    """What a response says about the request."""

    SUCCESS = auto()
    """In an unusual form."""
    TRANSIENT = auto()
    DENIED = auto()
    NOT_FOUND = auto()
    REFUSED = auto()
    NO_QUOTA = auto()
    ENDLESS_LIST = auto()


class Frequency(Enum):
    """How often a fault occurs."""

    TEMPORARY = "a few times"
    LASTING = "always"
    ONCE = "once"


@dataclass(frozen=True)
class Case:
    """
    A fault of the emulator.

    :ivar fields: of ``Emulator.fault``, except for the requests and how many of them.
    :ivar may_execute: whether a write may have been carried out all the same, so that both are tried.
    :ivar lasting: whether it is also tried without an end, as one of each kind is.
    :ivar min_delay: seconds for which the client is asked to wait.
    """

    name: str
    fields: Mapping[str, Any]
    meaning: Meaning = Meaning.TRANSIENT
    may_execute: bool = False
    lasting: bool = False
    min_delay: float = 0.0


def _status(status: int, **fields: Any) -> dict[str, Any]:
    return {"kind": "status", "status": status, **fields}


_QUOTA = "global--h100-count for account demo, in use: 14, quota: 16, requesting: 4"

CASES = [
    Case("drop", {"kind": "drop"}, may_execute=True, lasting=True),
    Case("truncate", {"kind": "truncate"}, may_execute=True, lasting=True),
    Case("hang", {"kind": "hang"}, may_execute=True, lasting=True),
    # Each byte comes in time, and the complete response does not.
    Case("trickle", {"kind": "trickle", "delay": 0.2}, may_execute=True, lasting=True),
    Case("100 MB", {"kind": "huge"}, may_execute=True, lasting=True),
    Case("408", _status(408)),
    Case("500", _status(500), may_execute=True),
    Case("502", _status(502)),
    Case("503", _status(503), may_execute=True, lasting=True),
    Case("504", _status(504)),
    Case("503, Retry-After", _status(503, retry_after="0.2"), min_delay=0.2),
    Case("429", _status(429), lasting=True),
    Case("429, Retry-After", _status(429, retry_after="0.2"), min_delay=0.2),
    # Limited by Timing.max_retry_after, which is 0.3 s here.
    Case("429, Retry-After a day", _status(429, retry_after="86400"), min_delay=0.3),
    Case("HTML 200", {"kind": "html", "status": 200}, may_execute=True),
    Case("HTML 403", {"kind": "html", "status": 403}, lasting=True),
    Case("HTML 404", {"kind": "html", "status": 404}),
    Case("HTML 502", {"kind": "html"}, may_execute=True),
    Case("text 200, no JSON", {"kind": "text", "status": 200}, may_execute=True, lasting=True),
    Case("text 502", {"kind": "text"}),
    Case("redirect", {"kind": "redirect", "location": "http://127.0.0.1:9/"}, lasting=True),
    Case("slow", {"kind": "slow", "delay": 0.1}, Meaning.SUCCESS),
    Case("gzip", {"kind": "gzip"}, Meaning.SUCCESS),
    Case("wrong content type", {"kind": "wrong_type"}, Meaning.SUCCESS),
    Case("trickle, at once", {"kind": "trickle", "delay": 0.0}, Meaning.SUCCESS),
    Case("endless pages", {"kind": "endless"}, Meaning.ENDLESS_LIST),
    Case("401", _status(401), Meaning.DENIED),
    Case("403", _status(403), Meaning.DENIED),
    Case("404", _status(404), Meaning.NOT_FOUND),
    Case("400", _status(400), Meaning.REFUSED),
    Case("429, quota", _status(429, message=_QUOTA), Meaning.NO_QUOTA),
]

FINAL = {
    Meaning.DENIED: "FireworksAccessDenied",
    Meaning.NOT_FOUND: "FireworksNotFound",
    Meaning.REFUSED: "FireworksRefused",
    Meaning.NO_QUOTA: "FireworksQuotaExceeded",
}
"""The exception after a response that is final."""

FINAL_FOR = {
    # A resource that was seen before was deleted.
    ("prepare", Meaning.NOT_FOUND): "FireworksPreparationFailed",
    ("prepare: polls", Meaning.NOT_FOUND): "FireworksPreparationFailed",
    ("scale: polls", Meaning.NOT_FOUND): "FireworksDeploymentFailed",
    ("delete", Meaning.NOT_FOUND): "success",
    ("delete router", Meaning.NOT_FOUND): "success",
    ("upload: validation", Meaning.NOT_FOUND): "FireworksUploadFailed",
    # The URL may have expired.
    ("upload: file", Meaning.DENIED): "success",
    ("upload: file", Meaning.NOT_FOUND): "success",
    ("upload: file", Meaning.REFUSED): "success",
}
"""The exceptions to that, by request."""

FOUND_BY_READING = (
    "prepare",
    "create",
    "delete",
    "route: create",
    "route: update",
    "delete router",
    "upload: create",
)
"""Requests after which the task reads what has become of them, so that a lost response does not matter."""

MISDIRECTED = {
    "HTML 403",
    "text 200, no JSON",
    "redirect",
    "DNS: no such name",
    "TLS: certificate not trusted",
}
"""Faults after which something other than the API seems to respond."""

TRIGGER_OUTCOMES = {
    "success": "ready",
    "AirflowSensorTimeout": "timeout",
    "FireworksAccessDenied": "access_denied",
    "FireworksNotFound": "not_found",
    "FireworksRefused": "refused",
}
"""The outcome that a trigger sends, by what a sensor does then."""


def expected(request: str, way: str, case: Case, frequency: Frequency, *, after_effect: bool) -> str:
    """
    Return what the docs promise: ``success``, the name of an exception, or the outcome that a trigger sends.

    :param request: as ``Scenario.request``.
    :param way: as in ``scenarios.WAYS``.
    :param after_effect: whether the request is carried out before the fault occurs.
    """
    if case.meaning is Meaning.ENDLESS_LIST:
        result = "FireworksError"
    elif frequency is Frequency.ONCE and case.meaning in FINAL:
        result = FINAL_FOR.get((request, case.meaning), FINAL[case.meaning])
    elif frequency is not Frequency.LASTING or case.meaning is Meaning.SUCCESS:
        result = "success"
    elif after_effect and request in FOUND_BY_READING:
        # The next read finds the result.
        result = "success"
    elif request == "list":
        result = "FireworksUnreachable" if case.name in MISDIRECTED else "FireworksError"
    else:
        result = "AirflowSensorTimeout" if request.startswith("get ") else "FireworksTimeout"
    return TRIGGER_OUTCOMES[result] if way == "trigger" else result


@dataclass(frozen=True)
class LeftOut:
    """Combinations that are not tried, and why."""

    cells: str
    reason: str


LEFT_OUT = {
    "trigger": LeftOut(
        "trigger: all requests but get",
        "a trigger only reads; the polls of a deferred operator, which its trigger sends, are in deferrable",
    ),
    "reschedule": LeftOut("reschedule: all requests but get", "only sensors can be rescheduled"),
    "deferrable": LeftOut(
        "deferrable: delete, delete router, list, upload: file",
        "these tasks, or that part of one, do not defer",
    ),
    "read": LeftOut("after the effect: every read", "a read has no effect"),
    "not executed": LeftOut(
        "after the effect: 408, 502, 504, 429, redirect, HTML 403 and 404, text 502",
        "after a 429 nothing was done; a redirect, 403 and 404 come from a proxy in front of the API; the others "
        "repeat 500 and 503",
    ),
    "executed": LeftOut(
        "before the effect: trickle of a write", "the response is that of a request that was executed"
    ),
    "empty": LeftOut("upload: file, trickle", "the response has no body that could trickle"),
    "create": LeftOut(
        "create and route, their reads; upload, its first read and its URLs: 404",
        "before the create it means that there is none, right after it that it is not visible",
    ),
    "no GPUs": LeftOut("429, quota: all requests but create and scale", "only these need GPUs"),
    "inference": LeftOut(
        "the inference request of wait_for_inference",
        "its responses have other meanings, which tests/integration covers",
    ),
    "no list": LeftOut("endless pages: all requests but list", "only a list has pages"),
    "network": LeftOut(
        "names, connections, TLS, proxies and clock: the reads of operators; connection back after 0.3 s and clock: "
        "list",
        "these faults begin with the first request; the list does not wait, so a moment is too long for it, and the "
        "clock does not matter",
    ),
    "state": LeftOut(
        "409",
        "it is about the resource, not about the connection; tests/integration covers all of its meanings",
    ),
}


def reason_left_out(scenario: Scenario, way: str, case: Case, *, after_effect: bool) -> str | None:
    """Return the key in :data:`LEFT_OUT` of a combination that is not tried, ``None`` if it is tried."""
    request = scenario.request
    if way not in scenario.ways:
        return way
    if after_effect and scenario.reads:
        return "read"
    if after_effect and not case.may_execute:
        return "not executed"
    if case.name == "trickle" and not scenario.reads and not after_effect:
        return "executed"
    if case.name == "trickle" and request == "upload: file":
        return "empty"
    is_about_new = request in ("upload: first read", "upload: URLs") or (
        request.partition(":")[0] in ("create", "route") and scenario.reads
    )
    if is_about_new and case.meaning is Meaning.NOT_FOUND:
        return "create"
    if case.meaning is Meaning.NO_QUOTA and request not in ("create", "scale"):
        return "no GPUs"
    if case.meaning is Meaning.ENDLESS_LIST and request != "list":
        return "no list"
    return None
