"""What goes wrong, and what a task is to make of it: data, with the rules that the docs give for all of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Any

from tests.faults.scenarios import Scenario


class Means(Enum):
    """What an answer says of what was asked for."""

    ALL = "it is the answer"
    NOTHING = "a transient error"
    DENIED = "the key is refused"
    MISSING = "there is no such thing"
    REFUSED = "it will not be done"
    NO_QUOTA = "no GPUs are left"
    ENDLESS = "there is more, and the same again"


class Lasts(Enum):
    """How often a fault happens."""

    PASSING = "a few times"
    LASTING = "always"
    ONCE = "once"


@dataclass(frozen=True)
class Case:
    """
    A fault of the emulator's.

    :ivar fields: as ``Emulator.fault`` takes them, all but how often and to what.
    :ivar may_act: whether a write may have been resume_state out nevertheless, so that it is tried both ways.
    :ivar lasting: whether it is also tried without an end; one of every kind is.
    :ivar at_least: seconds that the client is asked to stay away, and has to.
    """

    name: str
    fields: Mapping[str, Any]
    means: Means = Means.NOTHING
    may_act: bool = False
    lasting: bool = False
    at_least: float = 0.0


def _status(status: int, **more: Any) -> dict[str, Any]:
    return {"kind": "status", "status": status, **more}


_QUOTA = "global--h100-count for account demo, in use: 14, quota: 16, requesting: 4"

CASES = [
    Case("drop", {"kind": "drop"}, may_act=True, lasting=True),
    Case("truncate", {"kind": "truncate"}, may_act=True, lasting=True),
    Case("hang", {"kind": "hang"}, may_act=True, lasting=True),
    # Never silent for long, and not done in time: a byte a second, but shortened as all times are.
    Case("trickle", {"kind": "trickle", "delay": 0.2}, may_act=True, lasting=True),
    Case("100 MB", {"kind": "huge"}, may_act=True, lasting=True),
    Case("408", _status(408)),
    Case("500", _status(500), may_act=True),
    Case("502", _status(502)),
    Case("503", _status(503), may_act=True, lasting=True),
    Case("504", _status(504)),
    Case("503, Retry-After", _status(503, retry_after="0.2"), at_least=0.2),
    Case("429", _status(429), lasting=True),
    Case("429, Retry-After", _status(429, retry_after="0.2"), at_least=0.2),
    # As much as is honoured at once: MAX_RETRY_AFTER, here 0.3 s.
    Case("429, Retry-After a day", _status(429, retry_after="86400"), at_least=0.3),
    Case("HTML 200", {"kind": "html", "status": 200}, may_act=True),
    Case("HTML 403", {"kind": "html", "status": 403}, lasting=True),
    Case("HTML 404", {"kind": "html", "status": 404}),
    Case("HTML 502", {"kind": "html"}, may_act=True),
    Case("text 200, no JSON", {"kind": "text", "status": 200}, may_act=True, lasting=True),
    Case("text 502", {"kind": "text"}),
    Case("redirect", {"kind": "redirect", "location": "http://127.0.0.1:9/"}, lasting=True),
    Case("slow", {"kind": "slow", "delay": 0.1}, Means.ALL),
    Case("gzip", {"kind": "gzip"}, Means.ALL),
    Case("wrong content type", {"kind": "wrong_type"}, Means.ALL),
    Case("trickle, at once", {"kind": "trickle", "delay": 0.0}, Means.ALL),
    Case("endless pages", {"kind": "endless"}, Means.ENDLESS),
    Case("401", _status(401), Means.DENIED),
    Case("403", _status(403), Means.DENIED),
    Case("404", _status(404), Means.MISSING),
    Case("400", _status(400), Means.REFUSED),
    Case("429, quota", _status(429, message=_QUOTA), Means.NO_QUOTA),
]

FINAL = {
    Means.DENIED: "FireworksAccessDenied",
    Means.MISSING: "FireworksNotFound",
    Means.REFUSED: "FireworksRefused",
    Means.NO_QUOTA: "FireworksQuotaExceeded",
}

OTHERWISE = {
    # Of what was seen before, it says that it was deleted.
    ("prepare", Means.MISSING): "FireworksPreparationFailed",
    ("prepare, its looks", Means.MISSING): "FireworksPreparationFailed",
    ("scale, its looks", Means.MISSING): "FireworksDeploymentFailed",
    ("delete", Means.MISSING): "success",
}

ELSEWHERE = {
    "HTML 403",
    "text 200, no JSON",
    "redirect",
    "DNS: no such name",
    "TLS: certificate not trusted",
}
"""Names of cases that look as though something other than the API has answered."""

OUTCOMES = {
    "success": "ready",
    "AirflowSensorTimeout": "timeout",
    "FireworksAccessDenied": "access_denied",
    "FireworksNotFound": "not_found",
    "FireworksRefused": "refused",
}
"""What a trigger, which raises nothing, says instead."""


def expected(call: str, way: str, case: Case, lasts: Lasts, *, after_effect: bool) -> str:
    """
    Return the verdict that the docs promise: ``success``, the name of an exception, or a trigger's outcome.

    :param call: as ``Scenario.call``.
    :param way: ``worker``, ``reschedule``, ``deferrable`` or ``trigger``.
    :param after_effect: whether the call was resume_state out, and only its answer lost.
    """
    if case.means is Means.ENDLESS:
        verdict = "FireworksError"
    elif lasts is Lasts.ONCE and case.means in FINAL:
        verdict = OTHERWISE.get((call, case.means), FINAL[case.means])
    elif lasts is not Lasts.LASTING or case.means is Means.ALL:
        verdict = "success"
    elif after_effect and call in ("prepare", "create", "delete"):
        # A look finds it, or finds it gone.
        verdict = "success"
    elif call == "list":
        verdict = "FireworksUnreachable" if case.name in ELSEWHERE else "FireworksError"
    else:
        verdict = "AirflowSensorTimeout" if call.startswith("get ") else "FireworksTimeout"
    return OUTCOMES[verdict] if way == "trigger" else verdict


@dataclass(frozen=True)
class LeftOut:
    """Cells that mean nothing, and why."""

    what: str
    why: str


LEFT_OUT = {
    "no trigger": LeftOut(
        "trigger: everything but get",
        "a trigger only reads; the looks of a deferred operator are made by a trigger of its own, in deferrable",
    ),
    "no reschedule": LeftOut(
        "reschedule: everything but get", "only sensors can be rescheduled; Airflow's operators cannot"
    ),
    "no deferral": LeftOut(
        "deferrable: delete, list", "these tasks wait for nothing but an answer, in the worker"
    ),
    "no effect": LeftOut("after its effect: every read", "a read has no effect"),
    "cannot act": LeftOut(
        "after its effect: 408, 502, 504, 429, redirect, HTML 403 and 404, text 502",
        "429 says that nothing was done; a redirect, 403 and 404 come from what stands before the API; "
        "the others are 500 and 503 once more",
    ),
    "has acted": LeftOut(
        "before its effect: trickle of a write", "what comes is the answer to what was done"
    ),
    "a look is an answer": LeftOut(
        "create, its looks: 404",
        "before the create it means that there is none yet, and right after it that it does not show yet",
    ),
    "no GPUs asked for": LeftOut(
        "429, quota: everything but create and scale", "what asks for no GPUs is not refused any"
    ),
    "no chat": LeftOut(
        "the question of wait_for_inference",
        "a read by another name; its answers mean something else: tests/integration tries them",
    ),
    "no pages": LeftOut("endless pages: everything but list", "only a list has pages"),
    "no looks": LeftOut(
        "names, connections, TLS, proxies, clock: the looks of operators; back after 0.3 s, clock: list",
        "the way is gone from the first request on; a list does not wait, so that a moment is too long for it "
        "and the clock is nothing to it",
    ),
    "state": LeftOut(
        "409",
        "it speaks of what is asked for, not of the way there: tests/integration tries all of its meanings",
    ),
}


def left_out(scenario: Scenario, way: str, case: Case, *, after_effect: bool) -> str:
    """Return the key in :data:`LEFT_OUT` of a combination that means nothing, ``""`` of one that is a cell."""
    call = scenario.call
    if way not in scenario.ways:
        return {"trigger": "no trigger", "reschedule": "no reschedule", "deferrable": "no deferral"}[way]
    if after_effect and scenario.reads:
        return "no effect"
    if after_effect and not case.may_act:
        return "cannot act"
    if case.name == "trickle" and not scenario.reads and not after_effect:
        return "has acted"
    if call in ("create, first look", "create, its looks") and case.means is Means.MISSING:
        return "a look is an answer"
    if case.means is Means.NO_QUOTA and call not in ("create", "scale"):
        return "no GPUs asked for"
    if case.fields["kind"] == "endless" and call != "list":
        return "no pages"
    return ""
