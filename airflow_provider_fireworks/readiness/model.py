"""
Whether a model is ready at a precision: one decision, asked by the sensor, the operator and the trigger alike.

The gateway hands out no operation for a preparation, so readiness is told from the model alone: by **proof**,
where the gateway speaks of the precision itself, or, where it leaves its lists of precisions out, by
**inference** from what has changed since the ``POST``. The rows stand in ``docs/readiness.md``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Literal

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, TypeAdapter

from airflow_provider_fireworks.client.shapes import Model, Status
from airflow_provider_fireworks.verdict import Outcome, Verdict

START_GRACE = 300.0
"""Seconds that a preparation may take to begin, before a model on which nothing moves is judged."""
LAGGING_POLLS = 3
"""Looks at a model that is back to READY, during which its lists of precisions may lag behind."""

_TIME: TypeAdapter[datetime] = TypeAdapter(AwareDatetime)


class Baseline(BaseModel):
    """
    A model as it was right before the ``POST``, and what became of that ``POST``.

    It travels in XCom and in a trigger's arguments. Whether something is news is told by comparing with it;
    its clock time is for durations only.

    :ivar state: as read, ``""`` where unset.
    :ivar posted: ``accepted``; ``already`` where the gateway said that there is nothing to do; ``None`` where
        no ``POST`` was needed.
    :ivar posted_at: seconds since the epoch, ``None`` where no ``POST`` was made.
    """

    model_config = ConfigDict(extra="ignore")

    state: str = ""
    status: Status | None = None
    update_time: str | None = None
    calibrated: bool | None = None
    precisions: list[str] = Field(default_factory=list)
    posted: Literal["accepted", "already"] | None = None
    posted_at: float | None = None

    @classmethod
    def of(cls, model: Model) -> Baseline:
        """Take one of a model that was just read."""
        return cls(
            state=model.state or "",
            status=model.status,
            update_time=model.update_time,
            calibrated=model.calibrated,
            precisions=listed_precisions(model),
        )

    def after(self, posted: Literal["accepted", "already"], at: float) -> Baseline:
        """Return it with the outcome of the ``POST`` and its time, in seconds since the epoch."""
        return self.model_copy(update={"posted": posted, "posted_at": at})


@dataclass(frozen=True)
class Memory:
    """
    What earlier looks at the model have shown. A bonus: without it no verdict is wrong, only later.

    :ivar looked: whether the model has been seen at all.
    :ivar was_ready: whether it has been READY, at the baseline or since.
    :ivar away: whether it was not READY when last seen.
    :ivar left_ready: whether it was seen to leave READY.
    :ivar was_busy: whether it was seen in preparation.
    :ivar back_at: seconds since the epoch when it was first seen READY again.
    :ivar looks_back: how often it was seen READY since.
    :ivar first_status: the status at the first look.
    """

    looked: bool = False
    was_ready: bool = False
    away: bool = False
    left_ready: bool = False
    was_busy: bool = False
    back_at: float | None = None
    looks_back: int = 0
    first_status: Status | None = None

    @classmethod
    def since(cls, baseline: Baseline | None) -> Memory:
        """Begin with what the baseline tells."""
        if baseline is None:
            return cls()
        ready = baseline.state == "READY"
        return cls(looked=True, was_ready=ready, away=not ready, first_status=baseline.status)

    def seeing(self, model: Model, now: float) -> Memory:
        """Return what is known after one more look, made at ``now`` (seconds since the epoch)."""
        seen = self if self.looked else replace(self, looked=True, first_status=model.status)
        if model.state != "READY":
            return replace(
                seen,
                away=True,
                left_ready=seen.left_ready or seen.was_ready,
                was_busy=seen.was_busy or is_being_prepared(model),
                back_at=None,
                looks_back=0,
            )
        if seen.away:
            return replace(seen, away=False, was_ready=True, back_at=now, looks_back=1)
        return replace(
            seen, was_ready=True, looks_back=seen.looks_back + 1 if seen.back_at is not None else 0
        )


def is_being_prepared(model: Model) -> bool:
    """Whether something is going on with the model; which precision it is for, the gateway does not say."""
    return model.state not in ("READY", "FAILED")


def proven(model: Model, precision: str, accept: Sequence[str] = ()) -> tuple[str, str] | None:
    """
    Return the precision that the gateway speaks of itself, with the field that does; ``None`` without proof.

    :param precision: the one that is waited for.
    :param accept: others that satisfy the wait, looked for after it.
    """
    details = model.base_model_details
    for candidate in (precision, *accept):
        if candidate in (model.supported_precisions or ()):
            return candidate, "supportedPrecisions"
        if model.calibrated and candidate in (model.supported_precisions_with_calibration or ()):
            return candidate, "supportedPrecisionsWithCalibration"
        if details is not None and candidate == details.default_precision:
            return candidate, "baseModelDetails.defaultPrecision"
    return None


def judge(
    model: Model | None,
    precision: str,
    *,
    baseline: Baseline | None,
    memory: Memory,
    now: float,
    accept: Sequence[str] = (),
    require_confirmation: bool = False,
) -> Verdict:
    """
    Return whether a model is ready at a precision, still pending, or never will be, and why.

    :param model: as read now, ``None`` where the gateway says that there is none.
    :param precision: what is waited for.
    :param baseline: the model before the ``POST``; without one only proof makes it ready.
    :param memory: of earlier looks, this one included.
    :param now: seconds since the epoch.
    :param accept: precisions that satisfy the wait as well.
    :param require_confirmation: fail where readiness could only be inferred.
    """
    if model is None:
        return _failed("the model was deleted while it was waited for")
    state = model.state or "unset"
    if state == "UPLOADING":
        return _pending("it is still being uploaded")
    if proof := proven(model, precision, accept):
        return Verdict(Outcome.READY, f"the gateway names {proof[0]} in {proof[1]}", precision=proof[0])
    status = model.status or Status()
    if state == "FAILED" and (memory.was_busy or _is_news(model, baseline)):
        return _failed(f"its state is FAILED, with the status {status}")
    if is_being_prepared(model) and not (baseline is None and model.omits_precisions):
        return _pending(f"its state is {state}")
    if status.bad and (memory.left_ready or _differs(status, _status_before(baseline, memory))):
        return _failed(f"its status has turned to {status}")
    posted_at = baseline.posted_at if baseline is not None and baseline.posted else None
    if baseline is None and not model.lists_precisions:
        return _failed(
            f"its state is {state}, and the API lists no precisions: without a baseline it could only time out. Pass "
            "the result of the prepare operator: prepared=prepare.output"
        )
    if baseline is None or posted_at is None:
        return _pending(
            f"its state is {state}, and the API does not list {precision}; was it prepared for it?"
        )

    may_infer = not model.lists_precisions and state == "READY"
    if may_infer and model.calibrated and not baseline.calibrated:
        return _inferred("it has become calibrated since", precision, require_confirmation)
    if may_infer and memory.left_ready and not status.bad:
        return _inferred("it was seen in preparation and is READY again", precision, require_confirmation)
    if model.lists_precisions and memory.left_ready and memory.looks_back >= LAGGING_POLLS:
        return Verdict(
            Outcome.FAILED,
            f"a preparation has finished without {precision}: the gateway names {', '.join(listed_precisions(model))}. "
            "It has to be prepared again",
            may_post_again=True,
        )
    back_at = memory.back_at or _changed_at(model, baseline) or posted_at
    grace_left = START_GRACE - (now - max(posted_at, min(back_at, now)))
    if grace_left > 0:
        return _pending(
            f"its state is {state} and {precision} is not listed; a preparation may take {START_GRACE:.0f} s to begin"
        )
    if may_infer and not status.bad:
        return _inferred(
            f"nothing has moved for {START_GRACE:.0f} s and its status is OK", precision, require_confirmation
        )
    return Verdict(
        Outcome.FAILED,
        f"the gateway has not begun to prepare it for {precision} in {START_GRACE:.0f} s; its state is {state}, "
        f"its status {status}",
        may_post_again=True,
    )


def _pending(reason: str) -> Verdict:
    return Verdict(Outcome.PENDING, reason)


def _failed(reason: str) -> Verdict:
    return Verdict(Outcome.FAILED, reason)


def _inferred(why: str, precision: str, require_confirmation: bool) -> Verdict:
    reason = f"inferred, since the gateway lists no precisions: {why}"
    if require_confirmation:
        return _failed(
            f"require_confirmation is set, and its readiness at {precision} could only be {reason}"
        )
    return Verdict(Outcome.READY, reason, precision=precision, inferred=True)


def listed_precisions(model: Model) -> list[str]:
    """Return all precisions that the gateway names for a model."""
    return [*(model.supported_precisions or ()), *(model.supported_precisions_with_calibration or ())]


def _is_news(model: Model, baseline: Baseline | None) -> bool:
    return baseline is None or (
        model.state != baseline.state
        or model.update_time != baseline.update_time
        or _differs(model.status, baseline.status)
    )


def _changed_at(model: Model, baseline: Baseline) -> float | None:
    """When the model last changed since the baseline, by the gateway's clock: a stand-in for a memory that was lost."""
    if not model.update_time or model.update_time == baseline.update_time:
        return None
    try:
        return _TIME.validate_python(model.update_time).timestamp()
    except ValueError:
        return None


def _status_before(baseline: Baseline | None, memory: Memory) -> Status | None:
    return baseline.status if baseline is not None else memory.first_status


def _differs(one: Status | None, other: Status | None) -> bool:
    one, other = one or Status(), other or Status()
    return (one.code or "OK", one.message or "") != (other.code or "OK", other.message or "")
