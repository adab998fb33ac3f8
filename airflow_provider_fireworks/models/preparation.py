"""State machine for preparing one model: picks the next step from the last response. Does no I/O."""

from __future__ import annotations

import re
from collections.abc import Sequence
from enum import Enum
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from airflow_provider_fireworks.client.errors import RefusedError
from airflow_provider_fireworks.client.names import ModelName
from airflow_provider_fireworks.client.resources import Model
from airflow_provider_fireworks.models.readiness import (
    Baseline,
    PollHistory,
    confirmed_precision,
    is_being_prepared,
)
from airflow_provider_fireworks.polling import Verdict
from airflow_provider_fireworks.timing import DEFAULT_TIMING, Timing

_MAY_BE_BUSY = ("FAILED_PRECONDITION", "ABORTED", "ALREADY_EXISTS")
"""Codes of a refusal that may mean that another preparation is in progress."""
_ALREADY_PREPARED = re.compile(r"\balready (been )?(prepared|available|supported)\b", re.IGNORECASE)


class PrepareStep(str, Enum):
    """What the operator does next."""

    READ = "read"
    REQUEST = "request"
    PAUSE = "pause"
    WATCH_BEGIN = "watch_begin"
    """Pause until the model is read again, to see whether the preparation has begun."""
    WAIT_UNTIL_IDLE = "wait_until_idle"
    REQUESTED = "requested"
    """The preparation is under way."""
    READY = "ready"
    REFUSED = "refused"


class ModelPreparation(BaseModel):
    """
    How far a task has come in preparing a model. It is the task's resume state.

    :ivar deadline: seconds since the epoch.
    :ivar step: what to do next.
    :ivar baseline: the model before the last prepare request, with the outcome of that.
    :ivar history: what polls have seen since the baseline.
    :ivar ready_precision: the precision at which the model is ready, once it is.
    :ivar note: why this step is next, as a clause about the model, for logs and errors.
    :ivar unknown_since: seconds since the epoch; when the request was sent whose outcome is unknown.
    :ivar refused_at: seconds since the epoch; when a request was first refused with no preparation in progress.
    :ivar refusal: the code of the last refusal, until the model has been read after it.
    :ivar refusals: the number of refusals since ``refused_at``.
    :ivar requests_left: how often a preparation that ended without its precision may be requested again.
    """

    # Parsing a DAG file imports this class and does not use it.
    model_config = ConfigDict(extra="forbid", defer_build=True)

    model: ModelName
    deadline: float
    step: PrepareStep = PrepareStep.READ
    baseline: Baseline | None = None
    history: PollHistory = Field(default_factory=PollHistory)
    ready_precision: str | None = None
    note: str = ""
    unknown_since: float | None = None
    refused_at: float | None = None
    refusal: str | None = None
    refusals: int = 0
    requests_left: int = 1
    timing: Timing = Field(default=DEFAULT_TIMING, exclude=True)

    def on_read(self, model: Model, precision: str, accept: Sequence[str], now: float) -> None:
        """Take in the model as it is now, and pick the next step."""
        before = self.baseline
        if before is not None:
            self.history = self.history.after_poll(model, now)
        confirmed = confirmed_precision(model, precision, accept)
        if confirmed:
            self.ready_precision, self.step = confirmed[0], PrepareStep.READY
            if before is None or before.posted is None:
                self.baseline = Baseline.of(model)
        elif before is not None and before.posted_at is not None:
            self._watch_begin(model, before, before.posted_at, now)
        elif self.unknown_since is not None and before is not None:
            self._resolve_unknown_outcome(model, before, self.unknown_since, now)
        elif self.refused_at is not None:
            self._resolve_refusal(model, self.refused_at, now)
        else:
            self._request_from(model)

    def on_accepted(self, at: float) -> None:
        """Take in that the API accepted the request sent at ``at``."""
        self._set_requested("accepted", at)

    def on_unknown_outcome(self, error: Exception, at: float) -> None:
        """Take in that the outcome of the request sent at ``at`` is unknown: only the model can tell."""
        self.unknown_since = at
        self.note = f"the API may have carried out the request all the same: {error}"
        self.step = PrepareStep.READ

    def on_refused(self, error: RefusedError, at: float) -> None:
        """Take in that the request sent at ``at`` was refused; the model tells whether that is final."""
        # Whether the API says so under another code is not known.
        says_prepared = _ALREADY_PREPARED.search(error.message)
        self.refusal = "ALREADY_EXISTS" if says_prepared else error.code or ""
        self.note, self.refusals = str(error), self.refusals + 1
        self.refused_at = self.refused_at or at
        may_be_busy = self.refusal in _MAY_BE_BUSY or error.status == 409
        self.step = PrepareStep.READ if may_be_busy else PrepareStep.REFUSED

    def on_waited(self, verdict: Verdict) -> None:
        """Take in that a wait has ended well."""
        if verdict.precision:
            self.ready_precision, self.step = verdict.precision, PrepareStep.READY
        else:
            self.step = PrepareStep.READ
            self.refusal = self.refused_at = None
            self.refusals = 0

    def request_again(self) -> bool:
        """Start over after a preparation that ended without its precision; ``False`` if that was done already."""
        if not self.requests_left:
            return False
        self.requests_left -= 1
        self.baseline, self.history, self.step = None, PollHistory(), PrepareStep.READ
        return True

    def on_failed_read(self, now: float) -> bool:
        """
        Take in that the model could not be read; return whether to read it again from the same process.

        Until a request is visible, no other task should send one, and a deferred task would make room for that.
        """
        sent_at = self.unknown_since or (self.baseline and self.baseline.posted_at)
        if not sent_at or now - sent_at >= self.timing.visibility_lag:
            return False
        self.note, self.step = "it could not be read after the request", PrepareStep.WATCH_BEGIN
        return True

    def read_again(self) -> None:
        """Read the model next."""
        self.step = PrepareStep.READ

    def begin_pause(self, poll_interval: float) -> float:
        """Return the seconds to pause, after which the model is read again."""
        self.step = PrepareStep.READ
        return self.timing.pause(poll_interval)

    def _watch_begin(self, model: Model, before: Baseline, posted_at: float, now: float) -> None:
        """Continue once the preparation has begun, so that nobody requests another one of this model before."""
        if before.has_begun(model):
            self.baseline = before.after_request("accepted", posted_at, began=True)
            self.step = PrepareStep.REQUESTED
        elif now - posted_at >= self.timing.visibility_lag or now >= self.deadline:
            self.step = PrepareStep.REQUESTED
        else:
            self.note = "the API has accepted the request, and the preparation has not begun yet"
            self.step = PrepareStep.WATCH_BEGIN

    def _resolve_unknown_outcome(
        self, model: Model, before: Baseline, unknown_since: float, now: float
    ) -> None:
        if before.state == "READY" and before.has_begun(model):
            self._set_requested("accepted", unknown_since, began=True)
        elif now - unknown_since < self.timing.visibility_lag:
            self.step = PrepareStep.PAUSE
        elif is_being_prepared(model):
            # It was in preparation before the request, too. Only the precisions at its end tell what became of it.
            self.step = PrepareStep.WAIT_UNTIL_IDLE
        else:
            self.unknown_since = None
            self._request_from(model)

    def _resolve_refusal(self, model: Model, refused_at: float, now: float) -> None:
        if is_being_prepared(model):
            self.step = PrepareStep.WAIT_UNTIL_IDLE
        elif self.refusal is None:
            self._request_from(model)
        elif self.refusals < 2 or now - refused_at < self.timing.visibility_lag:
            # The preparation for which it was refused may have ended since, or may not be visible yet.
            self.refusal = None
            self.step = PrepareStep.PAUSE
        elif self.refusal == "ALREADY_EXISTS":
            self._set_requested("already", refused_at)
        else:
            self.note += "; no preparation was in progress meanwhile, so the refusal is final"
            self.step = PrepareStep.REFUSED

    def _request_from(self, model: Model) -> None:
        self.baseline, self.step = Baseline.of(model), PrepareStep.REQUEST
        self.history = PollHistory.since(self.baseline)
        if is_being_prepared(model) and not model.lists_precisions:
            # The API may drop the request meanwhile, and without lists the end of the other preparation would look
            # like the end of this one.
            self.note = f"its state is {model.state or 'unset'}, so another preparation is in progress"
            self.step = PrepareStep.WAIT_UNTIL_IDLE

    def _set_requested(
        self, outcome: Literal["accepted", "already"], at: float, *, began: bool = False
    ) -> None:
        if self.baseline is not None:
            self.baseline = self.baseline.after_request(outcome, at, began=began)
        self.unknown_since = self.refusal = self.refused_at = None
        self.refusals = 0
        # If the API lists precisions, they show what became of this request whatever else is requested meanwhile.
        has_lists = self.baseline is not None and bool(self.baseline.precisions)
        is_watched = outcome == "accepted" and not began and not has_lists
        self.step = PrepareStep.READ if is_watched else PrepareStep.REQUESTED
