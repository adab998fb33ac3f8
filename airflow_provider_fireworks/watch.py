"""One wait for a model: what was seen, what to make of it, and when to look again. It neither reads nor sleeps."""

from __future__ import annotations

import random
from dataclasses import replace
from enum import Enum
from typing import Any

from pydantic import BaseModel, ConfigDict, PrivateAttr

from airflow_provider_fireworks.gateway.errors import AccessDeniedError, GatewayError, NotFoundError
from airflow_provider_fireworks.gateway.retrying import backoff
from airflow_provider_fireworks.gateway.shapes import Model
from airflow_provider_fireworks.readiness import Baseline, Memory, is_being_prepared, judge_all, proven
from airflow_provider_fireworks.verdict import Outcome, Verdict

SHORTEST_PAUSE = 1.0
"""Seconds between two looks, whatever interval was asked for."""
LONGEST_BACKOFF = 60.0
"""Seconds that the pauses grow to while the gateway does not answer."""
JITTER = 0.1
"""Up to this part longer are the pauses, so that waits which began together do not go on so."""


class Until(str, Enum):
    """What is waited for."""

    READY = "ready"
    """The precisions are ready, or never will be."""
    TURN = "turn"
    """Nothing is being prepared any more, whatever became of it."""
    ANSWER = "answer"
    """The gateway answers again."""


class Watch(BaseModel):
    """
    A wait, as the sensor, the operator and the trigger share it; its fields are a trigger's arguments.

    :ivar model: full resource name.
    :ivar precisions: what is waited for, all of them.
    :ivar accept: precisions that satisfy the wait as well.
    :ivar until: what ends it.
    :ivar deadline: seconds since the epoch.
    :ivar poll_interval: seconds between looks.
    :ivar growing: whether the interval doubles with every look (a sensor's ``exponential_backoff``).
    :ivar longest_interval: seconds that it grows to (a sensor's ``max_wait``).
    """

    model_config = ConfigDict(extra="forbid")

    model: str
    precisions: list[str]
    accept: list[str] = []
    require_proof: bool = False
    baseline: Baseline | None = None
    until: Until = Until.READY
    deadline: float
    poll_interval: float
    growing: bool = False
    longest_interval: float | None = None

    _memory: Memory = PrivateAttr(default_factory=Memory)
    _blip: GatewayError | None = PrivateAttr(default=None)
    _blips: int = PrivateAttr(default=0)
    _looks: int = PrivateAttr(default=0)
    _first: Model | None = PrivateAttr(default=None)

    def model_post_init(self, context: Any) -> None:
        """Begin with what the baseline tells."""
        self._memory = Memory.since(self.baseline)

    def as_arguments(self) -> dict[str, Any]:
        """
        Return the fields as plain JSON, to go on with this wait elsewhere.

        A wait without a baseline takes its own first look for one, so that a status which turns bad later is
        still told from one that was bad before.
        """
        baseline = self.baseline or (Baseline.of(self._first) if self._first else None)
        return self.model_copy(update={"baseline": baseline}).model_dump(mode="json", exclude_defaults=True)

    @property
    def wanted(self) -> str:
        """What is waited for, in words."""
        if self.until is Until.TURN:
            return f"{self.model} to be free for {', '.join(self.precisions)}"
        if self.until is Until.ANSWER:
            return f"an answer about {self.model}"
        return f"{self.model} to be ready at {', '.join(self.precisions)}"

    def see(self, reading: Model | GatewayError, now: float) -> Verdict:
        """
        Take in what a look has brought, and judge it.

        :param reading: the model, or how the call failed.
        :param now: seconds since the epoch.
        """
        verdict = self._judge(reading, now)
        self._looks += 1
        if not verdict.ends and now >= self.deadline:
            return Verdict(Outcome.TIMEOUT, f"last seen: {verdict.reason}")
        return verdict

    def pause(self, now: float) -> float:
        """Return the seconds until the next look, never beyond the deadline."""
        interval = self.poll_interval
        if self.growing:
            interval *= 2.0 ** min(max(self._looks - 1, 0), 32)
            interval = min(interval, self.longest_interval or interval)
        if self._blip is not None:
            interval = max(
                interval,
                backoff(self._blip, self._blips, longest=LONGEST_BACKOFF, jitter=random.random()),
            )
        interval = max(interval, SHORTEST_PAUSE) * (1 + JITTER * random.random())
        return max(min(interval, self.deadline - now), 0.0)

    def still_waiting(self, verdict: Verdict, now: float) -> str:
        """Return the line to log for a look that did not end the wait."""
        left = max(self.deadline - now, 0)
        return f"Waiting for {self.wanted}: {verdict.reason}. Giving up in {left:.0f} s."

    def _judge(self, reading: Model | GatewayError, now: float) -> Verdict:
        if isinstance(reading, GatewayError):
            return self._judge_error(reading, now)
        self._blip, self._blips = None, 0
        self._memory = self._memory.seeing(reading, now)
        self._first = self._first or reading
        if self.until is Until.ANSWER:
            return Verdict(Outcome.READY, "the gateway answers again")
        if self.until is Until.TURN:
            named = all(proven(reading, precision, self.accept) for precision in self.precisions)
            if named or not is_being_prepared(reading):
                return Verdict(Outcome.READY, f"its state is {reading.state}")
            return Verdict(Outcome.PENDING, f"its state is {reading.state or 'unset'}")
        return self._judge_model(reading, now)

    def _judge_model(self, model: Model | None, now: float) -> Verdict:
        return judge_all(
            model,
            self.precisions,
            baseline=self.baseline,
            memory=self._memory,
            now=now,
            accept=self.accept,
            require_proof=self.require_proof,
        )

    def _judge_error(self, error: GatewayError, now: float) -> Verdict:
        if error.blip:
            self._blip, self._blips = error, self._blips + 1
            return Verdict(Outcome.PENDING, f"{error}; asking again")
        if isinstance(error, NotFoundError) and self._memory.looked:
            deleted = self._judge_model(None, now)
            return replace(deleted, reason=f"{deleted.reason}: {error}")
        if isinstance(error, NotFoundError):
            return Verdict(Outcome.NOT_FOUND, str(error))
        denied = isinstance(error, AccessDeniedError)
        return Verdict(Outcome.ACCESS_DENIED if denied else Outcome.REFUSED, str(error))
