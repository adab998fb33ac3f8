"""
One wait, as sensors, operators and triggers share it: what a poll concluded, and when to poll again.

A wait sends nothing and never sleeps. Its caller sends :meth:`ResourceWait.next_request`, passes the result to
:meth:`Wait.observe`, and sleeps for :meth:`Wait.next_delay`. The waits for models, deployments and routers are in
``wait.py`` of ``models/``, ``deployments/`` and ``routers/``.
"""

from __future__ import annotations

import random
import re
import time
from abc import ABC, abstractmethod
from datetime import timedelta
from enum import Enum
from typing import Annotated, Any, ClassVar

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, PrivateAttr, field_validator
from pydantic.dataclasses import dataclass

from airflow_provider_fireworks.client.api import Request
from airflow_provider_fireworks.client.errors import (
    AccessDeniedError,
    ApiError,
    NotFoundError,
    RateLimitedError,
)
from airflow_provider_fireworks.client.retries import backoff
from airflow_provider_fireworks.client.text import one_line, sentence
from airflow_provider_fireworks.timing import DEFAULT_TIMING, Timing

_JITTER = 0.1
"""Delays are up to this fraction longer, so that waits which began together spread out."""
_QUIET_POLLS = 10
"""Polls without a change after which a line is logged again, but not before ``Timing.log_interval``."""
_LINE_LENGTH = 160
_REASON_LENGTH = 2000
_REQUEST_ID = re.compile(r" \(request id [^)]*\)")


class Outcome(str, Enum):
    """What a poll concluded. All but ``PENDING`` end the wait."""

    PENDING = "pending"
    READY = "ready"
    FAILED = "failed"
    TIMEOUT = "timeout"
    ACCESS_DENIED = "access_denied"
    NOT_FOUND = "not_found"
    REFUSED = "refused"
    NO_CAPACITY = "no_capacity"
    """Fireworks has had no GPUs for the deployment for longer than its task waits for them."""
    CONFLICT = "conflict"
    """Somebody else has changed the router during the wait."""
    BAD_CONNECTION = "bad_connection"
    UNREACHABLE = "unreachable"
    """What answers at the Base URL is not the Fireworks API."""


@dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class Verdict:
    """
    The outcome of a poll, and why.

    :ivar reason: for the log and the exception.
    :ivar precision: the precision at which the model is ready, ``None`` unless it is.
    :ivar inferred: the model is ready because of what changed, not because the API lists the precision.
    :ivar nothing_seen: it is inferred although nothing was seen to change, which is worth a warning.
    :ivar can_prepare_again: another prepare request may succeed.
    :ivar inference_model: the ``model`` of inference requests to the deployment that is ready.
    """

    outcome: Outcome
    reason: Annotated[str, AfterValidator(lambda reason: one_line(reason, limit=_REASON_LENGTH))]
    precision: str | None = None
    inferred: bool = False
    nothing_seen: bool = False
    can_prepare_again: bool = False
    inference_model: str | None = None

    @property
    def is_terminal(self) -> bool:
        """Whether the wait is over."""
        return self.outcome is not Outcome.PENDING


class Event(BaseModel):
    """
    The payload of a trigger's event, plain JSON.

    :ivar wait: the arguments of the wait that has ended, as the task gave them to the trigger.
    :ivar resume_state: what the task needs to resume, as it gave it to the trigger.
    """

    model_config = ConfigDict(extra="forbid")

    verdict: Verdict
    wait: dict[str, Any]
    resume_state: dict[str, Any]

    @field_validator("verdict")
    @classmethod
    def _check_verdict(cls, verdict: Verdict) -> Verdict:
        if not verdict.is_terminal:
            raise ValueError("the wait is not over")
        return verdict


class Until(str, Enum):
    """What ends a wait."""

    READY = "ready"
    """The model is ready at its precision, or the deployment or the router is ready."""
    IDLE = "idle"
    """The model is not being prepared any more, whatever the result."""
    INFERENCE = "inference"
    """The deployment is ready, and inference answers."""
    RESPONSE = "response"
    """The API responds again."""


class Wait(BaseModel, ABC):
    """
    One wait. Its fields can be written as JSON, so a wait that began in a worker continues in the triggerer.

    :ivar until: what ends it.
    :ivar began: seconds since the epoch.
    :ivar deadline: seconds since the epoch.
    :ivar poll_interval: seconds between two polls.
    :ivar exponential: whether the interval doubles with every poll (a sensor's ``exponential_backoff``).
    :ivar max_interval: seconds, the most that the interval grows to (a sensor's ``max_wait``).
    :ivar retry_not_before: seconds since the epoch; the API has asked for no request before.
    :ivar has_responded: whether the API has responded to this task before, with a success or one of its own errors.
    :ivar misdirected_since: seconds since the epoch; since then, something else has responded in its place.
    """

    # Parsing a DAG file imports this class and does not use it.
    model_config = ConfigDict(extra="forbid", defer_build=True)

    resource: ClassVar[str]
    """A tag of the metrics: ``model``, ``deployment``, ``router`` or ``api``."""

    until: Until = Until.READY
    began: float = Field(default_factory=time.time)
    deadline: float
    poll_interval: float
    exponential: bool = False
    max_interval: float | None = None
    retry_not_before: float | None = None
    has_responded: bool = False
    misdirected_since: float | None = None
    timing: Timing = Field(default=DEFAULT_TIMING, exclude=True)

    _last_error: ApiError | None = PrivateAttr(default=None)
    _failures: int = PrivateAttr(default=0)
    _polls: int = PrivateAttr(default=0)
    _logged: tuple[str, float, int] | None = PrivateAttr(default=None)

    @property
    @abstractmethod
    def subject(self) -> str:
        """The resource in a word or two, for log lines."""

    @property
    @abstractmethod
    def goal(self) -> str:
        """What is waited for, to be read after "Waited for"."""

    @property
    def is_mid_poll(self) -> bool:
        """Whether the poll has a second request, to be sent at once."""
        return False

    def to_arguments(self) -> dict[str, Any]:
        """Return the fields as plain JSON, to continue this wait elsewhere."""
        return self.model_dump(mode="json", exclude_defaults=True)

    def deferral_timeout(self, now: float) -> timedelta:
        """Return how long Airflow may defer the task for this wait: a little longer than the wait itself takes."""
        return timedelta(seconds=max(self.deadline - now, 0) + self.timing.deferral_slack)

    def observe(self, result: Any, now: float) -> Verdict:
        """
        Take in the result of the last request, and judge it.

        :param result: what was read, or the :class:`~airflow_provider_fireworks.client.ApiError` instead.
        :param now: seconds since the epoch.
        """
        if isinstance(result, ApiError):
            self.has_responded = self.has_responded or result.is_response
            verdict = self._judge_error(result, now)
        else:
            self._last_error, self._failures, self.retry_not_before = None, 0, None
            self.has_responded = True
            verdict = self._judge(result, now)
        if not self.is_mid_poll:
            self._polls += 1
            if not verdict.is_terminal and now >= self.deadline:
                verdict = Verdict(Outcome.TIMEOUT, f"last seen: {verdict.reason}")
        self._count(result, verdict, now)
        return verdict

    def next_delay(self, now: float) -> float:
        """Return the seconds until the next request, never beyond the deadline."""
        if self.is_mid_poll:
            return 0.0
        delay = self.poll_interval
        if self.exponential:
            delay *= 2.0 ** min(max(self._polls - 1, 0), 32)
            delay = min(delay, self.max_interval or delay)
        if self._last_error is not None:
            grown = backoff(
                self._last_error,
                self._failures,
                first=self.timing.first_retry_delay,
                longest=self.timing.max_poll_backoff,
                jitter=random.random(),
            )
            delay = max(delay, grown)
        if self.retry_not_before is not None:
            # It may come from another machine, whose clock must not make the delay longer than the API asked for.
            delay = max(delay, min(self.retry_not_before - now, self.timing.max_retry_after))
        if self.misdirected_since is not None:
            delay = min(delay, self.misdirected_since + self.timing.misdirected_timeout - now)
        delay = max(delay, self.timing.min_poll_delay) * (1 + _JITTER * random.random())
        return max(min(delay, self.deadline - now), 0.0)

    def log_line(self, verdict: Verdict, now: float) -> str | None:
        """
        Return the line to log after a poll that did not end the wait, ``None`` if there is nothing to log.

        A line is due if the reason has changed, or after ten more polls and five more minutes, whichever takes longer.
        """
        if self.is_mid_poll:
            return None
        seen = _REQUEST_ID.sub("", verdict.reason)
        if self._logged is not None:
            last_seen, at, polls = self._logged
            is_quiet = now - at < self.timing.log_interval or self._polls - polls < _QUIET_POLLS
            if seen == last_seen and is_quiet:
                return None
        self._logged = (seen, now, self._polls)
        left = timedelta(seconds=round(max(self.deadline - now, 0)))
        return f"{self.subject}: {sentence(verdict.reason, limit=_LINE_LENGTH)} {left} left."

    @abstractmethod
    def _judge(self, result: Any, now: float) -> Verdict:
        """Judge what was read."""

    def _judge_error(self, error: ApiError, now: float) -> Verdict:
        if error.is_transient:
            self._last_error, self._failures = error, self._failures + 1
            self.retry_not_before = now + error.retry_after if error.retry_after else None
            if self.has_responded or not error.misdirected:
                self.misdirected_since = None
            elif self.misdirected_since is None:
                self.misdirected_since = now
            elif now - self.misdirected_since >= self.timing.misdirected_timeout:
                limit = f"{self.timing.misdirected_timeout:.0f} s"
                return Verdict(Outcome.UNREACHABLE, f"no response from the Fireworks API in {limit}: {error}")
            return Verdict(Outcome.PENDING, str(error))
        if isinstance(error, NotFoundError):
            return Verdict(Outcome.NOT_FOUND, str(error))
        denied = isinstance(error, AccessDeniedError)
        return Verdict(Outcome.ACCESS_DENIED if denied else Outcome.REFUSED, str(error))

    def _count(self, result: Any, verdict: Verdict, now: float) -> None:
        """Count the poll, and the wait if it is over, with Airflow's ``Stats``: see ``docs/metrics.md``."""
        # Not at the top, as everything that only decides imports this module, and needs no Airflow.
        from airflow.providers.common.compat.sdk import Stats

        tags = {"resource": self.resource, "until": self.until.value}
        Stats.incr("fireworks.polls", tags=tags)
        if isinstance(result, RateLimitedError):
            Stats.incr("fireworks.throttled", tags=tags)
        # After a wait until the model is idle or the API responds, the task continues, unless the wait ended badly.
        is_last = self.until in (Until.READY, Until.INFERENCE) or verdict.outcome is not Outcome.READY
        if verdict.is_terminal and is_last:
            # Plain StatsD has no tags, so the outcome is in the name as well.
            Stats.incr(f"fireworks.waits_ended.{verdict.outcome.value}", tags=tags)
            duration = timedelta(seconds=max(now - self.began, 0.0))
            Stats.timing("fireworks.wait_duration", duration, tags={**tags, "verdict": verdict.outcome.value})


class ResourceWait(Wait):
    """A wait for a resource, which is polled until it is ready."""

    @abstractmethod
    def next_request(self) -> Request[Any]:
        """Return the request to send next."""


class ResponseWait(Wait):
    """
    A wait in a worker, which sends its own request until the API responds, for example to look up its account.

    :ivar about: the resource that the request is about, for log lines.
    """

    resource: ClassVar[str] = "api"

    about: str
    until: Until = Until.RESPONSE

    @property
    def subject(self) -> str:
        """The resource that the request is about."""
        return self.about

    @property
    def goal(self) -> str:
        """What is waited for."""
        return f"a response about {self.about}"

    def _judge(self, result: Any, now: float) -> Verdict:
        return Verdict(Outcome.READY, "the API responds")
