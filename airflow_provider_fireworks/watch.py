"""One wait: what was seen, what to make of it, and when to look again. It neither reads nor sleeps."""

from __future__ import annotations

import random
import re
import time
from abc import ABC, abstractmethod
from dataclasses import replace
from datetime import timedelta
from enum import Enum
from typing import Any, ClassVar

from pydantic import BaseModel, ConfigDict, Field, PrivateAttr

from airflow_provider_fireworks import metrics
from airflow_provider_fireworks.client import calls
from airflow_provider_fireworks.client.errors import (
    AccessDeniedError,
    GatewayError,
    NotFoundError,
    QuotaExceededError,
    RateLimitedError,
    RefusedError,
    sentence,
)
from airflow_provider_fireworks.client.names import parse_deployment, parse_model
from airflow_provider_fireworks.client.retrying import LONGEST_RETRY_AFTER, backoff
from airflow_provider_fireworks.client.shapes import Deployment, Model
from airflow_provider_fireworks.readiness import deployment as deployments
from airflow_provider_fireworks.readiness.model import Baseline, Memory, is_being_prepared, judge, proven
from airflow_provider_fireworks.verdict import Outcome, Verdict

SHORTEST_PAUSE = 1.0
"""Seconds between two looks, whatever interval was asked for."""
LONGEST_BACKOFF = 60.0
"""Seconds that the pauses grow to while the gateway does not answer."""
JITTER = 0.1
"""Up to this part longer are the pauses, so that waits which began together do not go on so."""


MISDIRECTED_FOR = 300.0
"""Seconds for which a Base URL that plainly leads elsewhere is borne, until the API has answered once."""
QUIET_SECONDS = 300.0
"""Seconds, and …"""
QUIET_POLLS = 10
"""… polls for which a wait logs nothing while what it sees does not change."""

_LINE = 160
_REQUEST_ID = re.compile(r" \(request id [^)]*\)")


class Until(str, Enum):
    """What is waited for."""

    READY = "ready"
    """The model at its precision, or the deployment, is ready, or never will be."""
    TURN = "turn"
    """Nothing is being prepared any more, whatever became of it."""
    SERVING = "serving"
    """The deployment is ready, and inference answers."""
    ANSWER = "answer"
    """The gateway answers again."""


class Watch(BaseModel, ABC):
    """
    A wait, as sensors, operators and triggers share it; its fields are a trigger's arguments.

    Whoever waits makes the call it names, tells it what came of that, and sleeps for as long as it says.

    :ivar until: what ends it.
    :ivar began: seconds since the epoch.
    :ivar deadline: seconds since the epoch.
    :ivar poll_interval: seconds between looks.
    :ivar growing: whether the interval doubles with every look (a sensor's ``exponential_backoff``).
    :ivar longest_interval: seconds that it grows to (a sensor's ``max_wait``).
    :ivar quiet_until: seconds since the epoch until which the gateway has asked to be left alone.
    :ivar answered: whether the API has answered this task before: a success, or one of its own errors.
    :ivar misdirected_since: seconds since the epoch since when something else has answered instead.
    """

    model_config = ConfigDict(extra="forbid")

    resource: ClassVar[str]
    """What is waited for: the field that names it, the XCom that links are made of, and a tag of metrics."""

    until: Until = Until.READY
    began: float = Field(default_factory=time.time)
    deadline: float
    poll_interval: float
    growing: bool = False
    longest_interval: float | None = None
    quiet_until: float | None = None
    answered: bool = False
    misdirected_since: float | None = None

    _blip: GatewayError | None = PrivateAttr(default=None)
    _blips: int = PrivateAttr(default=0)
    _looks: int = PrivateAttr(default=0)
    _logged: tuple[str, float, int] | None = PrivateAttr(default=None)

    @property
    @abstractmethod
    def subject(self) -> str:
        """What is waited for, in a word or two: the resource's id, and what it is to be ready at."""

    @property
    @abstractmethod
    def wanted(self) -> str:
        """What is waited for, in words."""

    @abstractmethod
    def call(self) -> calls.Call[Any]:
        """Return the call to make next."""

    @property
    def half_way(self) -> bool:
        """Whether the look has a second part, to be made at once."""
        return False

    def as_arguments(self) -> dict[str, Any]:
        """Return the fields as plain JSON, to go on with this wait elsewhere."""
        return self.model_dump(mode="json", exclude_defaults=True)

    def see(self, reading: Any, now: float) -> Verdict:
        """
        Take in what a look has brought, and judge it.

        :param reading: the call's result, or how it failed.
        :param now: seconds since the epoch.
        """
        if isinstance(reading, GatewayError):
            self.answered = self.answered or reading.is_response
            verdict = self._judge_error(reading, now)
        else:
            self._blip, self._blips, self.quiet_until = None, 0, None
            self.answered = True
            verdict = self._judge(reading, now)
        if not self.half_way:
            self._looks += 1
            if not verdict.ends and now >= self.deadline:
                verdict = Verdict(Outcome.TIMEOUT, f"last seen: {verdict.reason}")
        self._count(reading, verdict, now)
        return verdict

    def pause(self, now: float) -> float:
        """Return the seconds until the next look, never beyond the deadline."""
        if self.half_way:
            return 0.0
        interval = self.poll_interval
        if self.growing:
            interval *= 2.0 ** min(max(self._looks - 1, 0), 32)
            interval = min(interval, self.longest_interval or interval)
        if self._blip is not None:
            interval = max(
                interval,
                backoff(self._blip, self._blips, longest=LONGEST_BACKOFF, jitter=random.random()),
            )
        if self.quiet_until is not None:
            # Of a look before a deferral. No longer than that can have been asked for, whatever the clock says.
            interval = max(interval, min(self.quiet_until - now, LONGEST_RETRY_AFTER))
        if self.misdirected_since is not None:
            interval = min(interval, self.misdirected_since + MISDIRECTED_FOR - now)
        interval = max(interval, SHORTEST_PAUSE) * (1 + JITTER * random.random())
        return max(min(interval, self.deadline - now), 0.0)

    def news(self, verdict: Verdict, now: float) -> str | None:
        """
        Return the line to log for a poll that did not end the wait.

        ``None`` if it would say nothing new: what is seen has not changed, and less than :data:`QUIET_SECONDS` or
        :data:`QUIET_POLLS` have passed since the last line.
        """
        seen = _REQUEST_ID.sub("", verdict.reason)
        if self._logged is not None:
            last_seen, at, polls = self._logged
            if seen == last_seen and (now - at < QUIET_SECONDS or self._looks - polls < QUIET_POLLS):
                return None
        self._logged = (seen, now, self._looks)
        left = timedelta(seconds=round(max(self.deadline - now, 0)))
        return f"{self.subject}: {sentence(verdict.reason, limit=_LINE)} {left} left."

    def _count(self, reading: Any, verdict: Verdict, now: float) -> None:
        tags = {"resource": self.resource, "until": self.until.value}
        metrics.count_poll(tags, throttled=isinstance(reading, RateLimitedError))
        # After the other waits, if they end well, the task goes on with its own.
        to_be_ready = self.until in (Until.READY, Until.SERVING)
        if verdict.ends and (to_be_ready or verdict.outcome is not Outcome.READY):
            metrics.count_end(tags, verdict=verdict.outcome.value, seconds=max(now - self.began, 0.0))

    @abstractmethod
    def _judge(self, reading: Any, now: float) -> Verdict:
        """Judge a call's result."""

    def _judge_error(self, error: GatewayError, now: float) -> Verdict:
        if error.blip:
            self._blip, self._blips = error, self._blips + 1
            self.quiet_until = now + error.retry_after if error.retry_after else None
            if self.answered or not error.misdirected:
                self.misdirected_since = None
            elif self.misdirected_since is None:
                self.misdirected_since = now
            elif now - self.misdirected_since >= MISDIRECTED_FOR:
                return Verdict(
                    Outcome.UNREACHABLE,
                    f"no response of the Fireworks API in {MISDIRECTED_FOR:.0f} s: {error}",
                )
            return Verdict(Outcome.PENDING, str(error))
        if isinstance(error, NotFoundError):
            return Verdict(Outcome.NOT_FOUND, str(error))
        denied = isinstance(error, AccessDeniedError)
        return Verdict(Outcome.ACCESS_DENIED if denied else Outcome.REFUSED, str(error))


class ModelWatch(Watch):
    """
    A wait for a model.

    :ivar model: full resource name.
    :ivar precision: what is waited for.
    :ivar accept: precisions that satisfy the wait as well.
    :ivar memory: what earlier looks at the model have shown, those of a worker before it deferred included.
    """

    resource: ClassVar[str] = "model"

    model: str
    precision: str
    accept: list[str] = []
    require_confirmation: bool = False
    baseline: Baseline | None = None
    memory: Memory = Field(default_factory=lambda fields: Memory.since(fields["baseline"]))

    @property
    def subject(self) -> str:
        """The model's id and the precision."""
        return f"{self.model.rpartition('/')[2]} at {self.precision}"

    @property
    def wanted(self) -> str:
        """What is waited for, in words."""
        if self.until is Until.TURN:
            return f"{self.model} to be free for {self.precision}"
        if self.until is Until.ANSWER:
            return f"an answer about {self.model}"
        return f"{self.model} to be ready at {self.precision}"

    def call(self) -> calls.Call[Model]:
        """Return the call that reads the model."""
        return calls.get_model(parse_model(self.model, account=None))

    def _judge(self, reading: Model, now: float) -> Verdict:
        self.memory = self.memory.seeing(reading, now)
        if self.until is Until.ANSWER:
            return Verdict(Outcome.READY, "the gateway answers again")
        if self.until is Until.TURN:
            named = reading.state != "UPLOADING" and proven(reading, self.precision, self.accept)
            if named or not is_being_prepared(reading):
                return Verdict(Outcome.READY, f"its state is {reading.state}")
            return Verdict(Outcome.PENDING, f"its state is {reading.state or 'unset'}")
        return self._judge_model(reading, now)

    def _judge_model(self, model: Model | None, now: float) -> Verdict:
        return judge(
            model,
            self.precision,
            baseline=self.baseline,
            memory=self.memory,
            now=now,
            accept=self.accept,
            require_confirmation=self.require_confirmation,
        )

    def _judge_error(self, error: GatewayError, now: float) -> Verdict:
        if isinstance(error, NotFoundError) and self.memory.looked:
            deleted = self._judge_model(None, now)
            return replace(deleted, reason=f"{deleted.reason}: {error}")
        return super()._judge_error(error, now)


class DeploymentWatch(Watch):
    """
    A wait for a deployment.

    :ivar deployment: full resource name.
    :ivar replica_count: replicas that it is to have come to; ``None`` takes any number of them.
    :ivar known: whether it has been seen, so that a 404 means that it was deleted.
    :ivar appears_by: seconds since the epoch until which a 404 means that it does not show yet.
    """

    resource: ClassVar[str] = "deployment"

    deployment: str
    replica_count: int | None = None
    known: bool = False
    appears_by: float | None = None

    _ready: Deployment | None = PrivateAttr(default=None)

    @property
    def subject(self) -> str:
        """The deployment's id."""
        return self.deployment.rpartition("/")[2]

    @property
    def wanted(self) -> str:
        """What is waited for, in words."""
        if self.until is Until.ANSWER:
            return f"an answer about {self.deployment}"
        replicas = "" if self.replica_count is None else f" with {self.replica_count} replicas"
        return f"{self.deployment} to be {self.until.value}{replicas}"

    @property
    def half_way(self) -> bool:
        """Whether inference is to be asked next."""
        return self._ready is not None

    def call(self) -> calls.Call[Any]:
        """Return the call that reads the deployment, or asks it something once that has said it is ready."""
        if self._ready is not None:
            return calls.ask_deployment(f"{self._ready.base_model}#{self.deployment}")
        return calls.get_deployment(parse_deployment(self.deployment, account=None))

    def _judge(self, reading: Deployment | None, now: float) -> Verdict:
        if self._ready is not None:
            self._ready = None
            return Verdict(Outcome.READY, "inference answers")
        self.known = True
        if self.until is Until.ANSWER:
            return Verdict(Outcome.READY, "the gateway answers again")
        verdict = deployments.judge(reading, replica_count=self.replica_count)
        if self.until is Until.SERVING and verdict.outcome is Outcome.READY:
            self._ready = reading
            return Verdict(Outcome.PENDING, f"{verdict.reason}; asking it something")
        return verdict

    def _judge_error(self, error: GatewayError, now: float) -> Verdict:
        asked, self._ready = self._ready is not None, None
        if asked and (isinstance(error, NotFoundError) or error.code == "DEPLOYMENT_SCALING_UP"):
            return Verdict(Outcome.PENDING, f"its state is READY, but inference does not answer yet: {error}")
        if asked and isinstance(error, QuotaExceededError):
            return Verdict(Outcome.PENDING, f"its state is READY, but it cannot be woken yet: {error}")
        if asked and isinstance(error, RefusedError):
            return Verdict(
                Outcome.REFUSED,
                f"{error}. A model that takes no chat can only be waited for until it is READY, without "
                "wait_for_inference",
            )
        if isinstance(error, NotFoundError) and self.until is Until.ANSWER:
            return Verdict(Outcome.READY, "the gateway answers again")
        if isinstance(error, NotFoundError) and not self.known and now < (self.appears_by or 0.0):
            return Verdict(Outcome.PENDING, f"it was made just now and does not show yet: {error}")
        if isinstance(error, NotFoundError) and self.known:
            deleted = deployments.judge(None)
            return replace(deleted, reason=f"{deleted.reason}: {error}")
        return super()._judge_error(error, now)
