"""
How far one task has come in having a model prepared: what to do next, told from what the gateway has answered.

Nothing here reads, posts or sleeps; the operator does as :attr:`Preparation.step` says and tells what came of
it. It is kept over a deferral.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import Enum
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from airflow_provider_fireworks.client.errors import RefusedError
from airflow_provider_fireworks.client.shapes import Model
from airflow_provider_fireworks.readiness.model import Baseline, Memory, is_being_prepared, proven
from airflow_provider_fireworks.verdict import Verdict

START_LAG = 30.0
"""Seconds for which a preparation that has begun may not show yet."""
SHORTEST_PAUSE = 1.0
"""Seconds between two looks during that time …"""
LONGEST_PAUSE = 10.0
"""… and the most of them, however long the poll interval is."""

_MAY_BE_BUSY = ("FAILED_PRECONDITION", "ABORTED", "ALREADY_EXISTS")


class Step(str, Enum):
    """What a task does next."""

    LOOK = "look"
    POST = "post"
    PAUSE = "pause"
    WAIT_TURN = "wait_turn"
    POSTED = "posted"
    DONE = "done"
    REFUSED = "refused"


class Preparation(BaseModel):
    """
    Where a task stands.

    :ivar model: its full resource name.
    :ivar deadline: seconds since the epoch.
    :ivar step: what to do next.
    :ivar baseline: the model before the last ``POST``, with the outcome of that.
    :ivar memory: what looks at the model have shown since the baseline.
    :ivar precision: what is ready, once it is.
    :ivar note: why it stands so, for the log.
    :ivar lost_at: when the answer to a ``POST`` was lost, in seconds since the epoch; unset once that is settled.
    :ivar refused_at: when a ``POST`` was first refused while nothing was seen in preparation.
    :ivar refusal: the code of the last refusal, until a look has been taken after it.
    :ivar refusals: how many of them there were since.
    :ivar posts_left: how often a preparation that ended without its precision may still be asked for again.
    """

    model_config = ConfigDict(extra="forbid")

    model: str
    deadline: float
    step: Step = Step.LOOK
    baseline: Baseline | None = None
    memory: Memory = Field(default_factory=Memory)
    precision: str | None = None
    note: str = ""
    lost_at: float | None = None
    refused_at: float | None = None
    refusal: str | None = None
    refusals: int = 0
    posts_left: int = 1

    def look(self, model: Model, precision: str, accept: Sequence[str], now: float) -> None:
        """Take in the model as it is now; decides between all steps but ``LOOK``."""
        before = self.baseline
        if before is not None:
            self.memory = self.memory.seeing(model, now)
        if model.state != "UPLOADING" and (proof := proven(model, precision, accept)):
            self.precision, self.step = proof[0], Step.DONE
            if before is None or before.posted is None:
                self.baseline = Baseline.of(model)
        elif self.lost_at is not None and before is not None:
            self._look_after_loss(model, before, self.lost_at, now)
        elif self.refused_at is not None:
            self._look_after_refusal(model, self.refused_at, now)
        else:
            self._post_over(model)

    def accepted(self, at: float) -> None:
        """The gateway has taken the ``POST`` made at ``at``."""
        self._posted("accepted", at)

    def lost(self, error: Exception, at: float) -> None:
        """The answer to the ``POST`` made at ``at`` was lost, or a 5xx: only a look can tell what came of it."""
        self.lost_at, self.note, self.step = at, f"It may have worked nevertheless: {error}.", Step.LOOK

    def refused(self, error: RefusedError, at: float) -> None:
        """The ``POST`` made at ``at`` was refused; whether for good, a look must tell."""
        self.note, self.refusal, self.refusals = f"{error}.", error.code or "", self.refusals + 1
        self.refused_at = self.refused_at or at
        self.step = Step.LOOK if self.refusal in _MAY_BE_BUSY or error.status == 409 else Step.REFUSED

    def look_again(self) -> None:
        """The ``POST`` was not carried out."""
        self.step = Step.LOOK

    def waited(self, verdict: Verdict) -> None:
        """A wait has ended well: for its turn or an answer, which calls for a look, or for readiness."""
        if verdict.precision:
            self.precision, self.step = verdict.precision, Step.DONE
        else:
            self.step = Step.LOOK
            self.refusal = self.refused_at = None
            self.refusals = 0

    def post_again(self) -> bool:
        """The preparation has ended without its precision: whether to ask for it once more."""
        if not self.posts_left:
            return False
        self.posts_left -= 1
        self.baseline, self.memory, self.step = None, Memory(), Step.LOOK
        return True

    def pause(self, poll_interval: float) -> float:
        """Return the seconds of a ``PAUSE``, after which comes a look."""
        self.step = Step.LOOK
        return max(min(poll_interval, LONGEST_PAUSE), SHORTEST_PAUSE)

    def _look_after_loss(self, model: Model, before: Baseline, lost_at: float, now: float) -> None:
        if before.state == "READY" and model.state != "READY":
            self.note = f"Its state has turned to {model.state} since, so it did work."
            self._posted("accepted", lost_at)
        elif now - lost_at < START_LAG:
            self.step = Step.PAUSE
        elif is_being_prepared(model):
            # Something was in preparation before already: only when it is over, the precision tells.
            self.step = Step.WAIT_TURN
        else:
            self.lost_at = None
            self._post_over(model)

    def _look_after_refusal(self, model: Model, refused_at: float, now: float) -> None:
        if is_being_prepared(model):
            self.step = Step.WAIT_TURN
        elif self.refusal is None:
            self._post_over(model)
        elif self.refusals < 2 or now - refused_at < START_LAG:
            # What it was refused for may have ended in between, or not show yet.
            self.refusal = None
            self.step = Step.PAUSE
        elif self.refusal == "ALREADY_EXISTS":
            self._posted("already", refused_at)
        else:
            self.note += " Nothing was seen in preparation meanwhile, so it is final."
            self.step = Step.REFUSED

    def _post_over(self, model: Model) -> None:
        self.baseline, self.step = Baseline.of(model), Step.POST
        self.memory = Memory.since(self.baseline)

    def _posted(self, outcome: Literal["accepted", "already"], at: float) -> None:
        if self.baseline is not None:
            self.baseline = self.baseline.after(outcome, at)
        self.lost_at = self.refusal = self.refused_at = None
        self.refusals = 0
        self.step = Step.POSTED
