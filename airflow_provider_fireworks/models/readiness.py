"""
Whether a model is ready at a precision: one decision, which the sensor, the operator and the trigger share.

A prepare request returns no operation to follow, so readiness has to be read from the model. It is **confirmed** if the
API lists the precision. If the API lists no precisions at all, readiness is **inferred** from what has changed since
the request. The decision table is in ``docs/readiness.md``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Literal

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, TypeAdapter

from airflow_provider_fireworks.client.resources import Model, Status
from airflow_provider_fireworks.polling import Outcome, Verdict
from airflow_provider_fireworks.timing import DEFAULT_TIMING, Timing

IDLE_POLLS = 3
"""
Polls of an idle model, on an API that lists no precisions, before another preparation is requested. Whoever waits for
the one that has ended polls at about the same interval, and would take the next one for it.
"""
LAGGING_POLLS = 3
"""Polls of a model that is READY again, during which its lists of precisions may lag behind its state."""

_TIME: TypeAdapter[datetime] = TypeAdapter(AwareDatetime)


class Baseline(BaseModel):
    """
    A model right before the prepare request, and the outcome of the request.

    The baseline is an XCom, and an argument of triggers. Whether the model has changed is found by comparing it with
    the baseline. Clock times are for durations only.

    :ivar state: as read, ``""`` if unset.
    :ivar precisions: what the API listed, for whoever reads the XCom.
    :ivar posted: ``accepted``; ``already`` if the API kept responding ``ALREADY_EXISTS``; ``None`` if no request was
        needed.
    :ivar posted_at: seconds since the epoch, ``None`` if no request was sent.
    :ivar began: whether the preparation was seen to begin after the request.
    """

    model_config = ConfigDict(extra="ignore")

    state: str = ""
    status: Status | None = None
    update_time: str | None = None
    calibrated: bool | None = None
    precisions: list[str] = Field(default_factory=list)
    posted: Literal["accepted", "already"] | None = None
    posted_at: float | None = None
    began: bool = False

    @classmethod
    def of(cls, model: Model) -> Baseline:
        """Return the baseline of a model that was just read."""
        return cls(
            state=model.state or "",
            status=model.status,
            update_time=model.update_time,
            calibrated=model.calibrated,
            precisions=listed_precisions(model),
        )

    def after_request(
        self, posted: Literal["accepted", "already"], at: float, *, began: bool = False
    ) -> Baseline:
        """Return the baseline with the outcome of the prepare request and its time, in seconds since the epoch."""
        return self.model_copy(update={"posted": posted, "posted_at": at, "began": began})

    def has_begun(self, model: Model) -> bool:
        """Whether the model, read after an accepted request, shows that the preparation has begun."""
        return model.state != self.state or bool(model.calibrated and not self.calibrated)


@dataclass(frozen=True)
class PollHistory:
    """
    What earlier polls of a model have seen. Without it, as after a reschedule, a verdict comes later, but is not wrong.

    :ivar has_polled: whether the model has been read at all.
    :ivar was_ready: whether it has been READY, in the baseline or since.
    :ivar is_away: whether it was in another state than READY in the last poll.
    :ivar left_ready: whether it was seen to leave READY.
    :ivar was_preparing: whether it was seen in preparation.
    :ivar ready_again_at: seconds since the epoch when it was first seen READY again.
    :ivar polls_ready_again: how often it was seen READY since then.
    :ivar first_status: its status in the first poll.
    """

    has_polled: bool = False
    was_ready: bool = False
    is_away: bool = False
    left_ready: bool = False
    was_preparing: bool = False
    ready_again_at: float | None = None
    polls_ready_again: int = 0
    first_status: Status | None = None

    @classmethod
    def since(cls, baseline: Baseline | None) -> PollHistory:
        """Start with what the baseline says."""
        if baseline is None:
            return cls()
        ready, began = baseline.state == "READY", baseline.began
        return cls(
            has_polled=True,
            was_ready=ready,
            is_away=began or not ready,
            left_ready=began and ready,
            was_preparing=began,
            first_status=baseline.status,
        )

    def after_poll(self, model: Model, now: float) -> PollHistory:
        """Return the history after one more poll, at ``now`` (seconds since the epoch)."""
        seen = self if self.has_polled else replace(self, has_polled=True, first_status=model.status)
        if model.state != "READY":
            return replace(
                seen,
                is_away=True,
                left_ready=seen.left_ready or seen.was_ready,
                was_preparing=seen.was_preparing or is_being_prepared(model),
                ready_again_at=None,
                polls_ready_again=0,
            )
        if seen.is_away:
            return replace(seen, is_away=False, was_ready=True, ready_again_at=now, polls_ready_again=1)
        polls = seen.polls_ready_again + 1 if seen.ready_again_at is not None else 0
        return replace(seen, was_ready=True, polls_ready_again=polls)


def is_being_prepared(model: Model) -> bool:
    """Whether something is in progress on the model. The API does not say for which precision."""
    return model.state not in ("READY", "FAILED")


def listed_precisions(model: Model) -> list[str]:
    """Return all precisions that the API lists for a model."""
    return [*(model.supported_precisions or ()), *(model.supported_precisions_with_calibration or ())]


def confirmed_precision(model: Model, precision: str, accept: Sequence[str] = ()) -> tuple[str, str] | None:
    """
    Return the precision that the API confirms, and the field that does; ``None`` if there is no such precision.

    A model that is still being uploaded cannot be used at any precision, whatever the API lists.

    :param precision: what is waited for.
    :param accept: precisions that satisfy the wait as well, in order of preference.
    """
    if model.state == "UPLOADING":
        return None
    details = model.base_model_details
    for candidate in (precision, *accept):
        if candidate in (model.supported_precisions or ()):
            return candidate, "supportedPrecisions"
        if model.calibrated and candidate in (model.supported_precisions_with_calibration or ()):
            return candidate, "supportedPrecisionsWithCalibration"
        if details is not None and candidate == details.default_precision:
            return candidate, "baseModelDetails.defaultPrecision"
    return None


def judge_model(
    model: Model | None,
    precision: str,
    *,
    baseline: Baseline | None,
    history: PollHistory,
    now: float,
    accept: Sequence[str] = (),
    require_confirmation: bool = False,
    timing: Timing = DEFAULT_TIMING,
) -> Verdict:
    """
    Return whether a model is ready at a precision, still pending, or never will be, and why.

    :param model: as read now, ``None`` if it does not exist any more.
    :param precision: what is waited for.
    :param baseline: the model before the prepare request; without one, readiness cannot be inferred.
    :param history: of all polls, this one included.
    :param now: seconds since the epoch.
    :param accept: precisions that satisfy the wait as well.
    :param require_confirmation: fail if readiness can only be inferred.
    :param timing: for how long a preparation may take to begin.
    """
    if model is None:
        return _failed("the model was deleted while it was waited for")
    state = model.state or "unset"
    if state == "UPLOADING":
        return _pending("it is still being uploaded")
    if confirmed := confirmed_precision(model, precision, accept):
        return Verdict(
            Outcome.READY, f"the API lists {confirmed[0]} in {confirmed[1]}", precision=confirmed[0]
        )
    status = model.status or Status()
    # A model that was FAILED before the request says nothing about this preparation.
    if state == "FAILED" and (history.was_preparing or _has_changed(model, baseline)):
        return _failed(f"its state is FAILED, with the status {status}")
    # With neither a baseline nor lists, nothing would show how the preparation ended, so that fails below.
    if is_being_prepared(model) and not (baseline is None and model.omits_precisions):
        return _pending(f"its state is {state}")
    # A healthy model may carry the error of an earlier operation, so only a new one counts.
    status_before = baseline.status if baseline is not None else history.first_status
    is_new = _differs(status, status_before)
    posted_at = baseline.posted_at if baseline is not None and baseline.posted else None
    may_infer = posted_at is not None and not model.lists_precisions and state == "READY"
    # Only a preparation calibrates a model.
    became_calibrated = bool(may_infer and baseline and model.calibrated and not baseline.calibrated)
    was_failed = baseline is not None and baseline.state == "FAILED"
    has_run = history.left_ready or (was_failed and history.was_preparing)
    if status.is_error and (is_new or (has_run and not became_calibrated)):
        if status.is_aborted:
            return _failed(f"somebody stopped its preparation, its status is {status}")
        when = "has changed to" if is_new else "is still, after a preparation has ended,"
        return _failed(f"its status {when} {status}")
    if baseline is None and not model.lists_precisions:
        return _failed(
            f"its state is {state}, and the API lists no precisions: without a baseline it could only time out. Pass "
            "the result of the prepare operator: prepared=prepare.output"
        )
    if baseline is None or posted_at is None:
        return _pending(
            f"its state is {state}, and the API does not list {precision}; was it prepared for it?"
        )

    if became_calibrated:
        return _inferred("it has become calibrated since", precision, require_confirmation)
    if may_infer and has_run and not status.is_error:
        return _inferred("it was in preparation and is READY again", precision, require_confirmation)
    # The API may have dropped the request while it prepared for another precision.
    if model.lists_precisions and has_run and history.polls_ready_again >= LAGGING_POLLS:
        return _failed(
            f"a preparation has finished without {precision}: the API lists {', '.join(listed_precisions(model))}. "
            "It has to be prepared again",
            can_prepare_again=True,
        )
    start = timing.preparation_start
    unchanged_since = history.ready_again_at or _changed_at(model, baseline) or posted_at
    # The API's clock may be ahead or behind.
    if now - max(posted_at, min(unchanged_since, now)) < start:
        return _pending(
            f"its state is {state} and {precision} is not listed; a preparation may take {start:.0f} s to begin"
        )
    if may_infer and not status.is_error:
        return _inferred(
            f"nothing has changed for {start:.0f} s and its status is OK, so it was most likely prepared before",
            precision,
            require_confirmation,
            nothing_seen=True,
        )
    return _failed(
        f"its preparation for {precision} has not begun within {start:.0f} s: state {state}, status {status}",
        can_prepare_again=True,
    )


def _pending(reason: str) -> Verdict:
    return Verdict(Outcome.PENDING, reason)


def _failed(reason: str, *, can_prepare_again: bool = False) -> Verdict:
    return Verdict(Outcome.FAILED, reason, can_prepare_again=can_prepare_again)


def _inferred(why: str, precision: str, require_confirmation: bool, *, nothing_seen: bool = False) -> Verdict:
    reason = f"inferred, since the API lists no precisions: {why}"
    if require_confirmation:
        return _failed(
            f"require_confirmation is set, and its readiness at {precision} could only be {reason}"
        )
    return Verdict(Outcome.READY, reason, precision=precision, inferred=True, nothing_seen=nothing_seen)


def _has_changed(model: Model, baseline: Baseline | None) -> bool:
    return baseline is None or (
        model.state != baseline.state
        or model.update_time != baseline.update_time
        or _differs(model.status, baseline.status)
    )


def _changed_at(model: Model, baseline: Baseline) -> float | None:
    """Return when the model last changed since the baseline, by the API's clock: a stand-in for a lost history."""
    if not model.update_time or model.update_time == baseline.update_time:
        return None
    try:
        return _TIME.validate_python(model.update_time).timestamp()
    except ValueError:
        return None


def _differs(one: Status | None, other: Status | None) -> bool:
    one, other = one or Status(), other or Status()
    return (one.code or "OK", one.message or "") != (other.code or "OK", other.message or "")
