"""A wait for a deployment."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, ClassVar

from pydantic import PrivateAttr

from airflow_provider_fireworks.client import api
from airflow_provider_fireworks.client.errors import ApiError, NotFoundError, QuotaExceededError, RefusedError
from airflow_provider_fireworks.client.names import DeploymentName
from airflow_provider_fireworks.client.resources import Deployment
from airflow_provider_fireworks.deployments.readiness import (
    judge_deployment,
    lacks_capacity,
    may_serve,
)
from airflow_provider_fireworks.polling import Outcome, ResourceWait, Until, Verdict


class DeploymentWait(ResourceWait):
    """
    A wait for a deployment.

    :ivar replica_count: the requested replicas; ``None`` accepts any number.
    :ivar known: whether it has been read before, so that a 404 means that it was deleted.
    :ivar visible_by: seconds since the epoch until which a 404 means that it is not visible yet.
    :ivar capacity_timeout: seconds that it may be without capacity; ``None`` for as long as the wait takes.
    :ivar no_capacity_since: seconds since the epoch; since then, Fireworks has had no GPUs for it.
    :ivar names_model: whether inference is asked for ``<model>#<deployment>`` next, and not for the deployment's name
        alone, which some accounts need.
    """

    resource: ClassVar[str] = "deployment"

    deployment: DeploymentName
    replica_count: int | None = None
    known: bool = False
    visible_by: float | None = None
    capacity_timeout: float | None = None
    no_capacity_since: float | None = None
    names_model: bool = True

    _base_model: str = PrivateAttr(default="")
    _before_inference: Verdict | None = PrivateAttr(default=None)
    """The verdict on the deployment, if inference is requested next."""

    @property
    def subject(self) -> str:
        """The deployment's id."""
        return self.deployment.id

    @property
    def goal(self) -> str:
        """What is waited for."""
        if self.until is Until.RESPONSE:
            return f"a response about {self.deployment}"
        if self.until is Until.INFERENCE:
            return f"inference of {self.deployment} to answer"
        replicas = "" if self.replica_count is None else f" with {self.replica_count} replicas"
        return f"{self.deployment} to be ready{replicas}"

    @property
    def is_mid_poll(self) -> bool:
        """Whether the deployment may serve, and inference is to be requested next."""
        return self._before_inference is not None

    def next_request(self) -> api.Request[Any]:
        """Return the request that reads the deployment or, once it may serve, one for inference."""
        if self._before_inference is not None:
            return api.request_inference(self._inference_model)
        return api.get_deployment(self.deployment)

    def next_delay(self, now: float) -> float:
        """Return the seconds until the next request, never beyond the deadline or ``capacity_timeout``."""
        delay = super().next_delay(now)
        if self.capacity_timeout is None or self.no_capacity_since is None or self._last_error is not None:
            return delay
        left = self.no_capacity_since + self.capacity_timeout - now
        return min(delay, left) if left > 0 else delay

    @property
    def _inference_model(self) -> str:
        names_model = self.names_model and self._base_model
        return f"{self._base_model}#{self.deployment}" if names_model else str(self.deployment)

    def _judge(self, result: Deployment, now: float) -> Verdict:
        if self._before_inference is not None:
            self._before_inference = None
            return Verdict(Outcome.READY, "inference answers", inference_model=self._inference_model)
        self.known = True
        if self.until is Until.RESPONSE:
            return Verdict(Outcome.READY, "the API responds again")
        self._base_model = result.base_model or ""
        verdict = self._judge_capacity(
            judge_deployment(result, replica_count=self.replica_count), result, now
        )
        serves_early = verdict.outcome is Outcome.PENDING and self.replica_count is None and may_serve(result)
        if self.until is Until.INFERENCE and (verdict.outcome is Outcome.READY or serves_early):
            self._before_inference = verdict
            return Verdict(Outcome.PENDING, f"{verdict.reason}; requesting inference")
        if verdict.outcome is Outcome.READY:
            return replace(verdict, inference_model=self._inference_model)
        return verdict

    def _judge_capacity(self, verdict: Verdict, deployment: Deployment, now: float) -> Verdict:
        """Return the verdict, or that it has been without capacity for too long."""
        if not lacks_capacity(deployment):
            self.no_capacity_since = None
            return verdict
        if self.no_capacity_since is None:
            self.no_capacity_since = now
        if self.capacity_timeout is None or now - self.no_capacity_since < self.capacity_timeout:
            return verdict
        over = f"it has no capacity, and capacity_timeout of {self.capacity_timeout:.0f} s is over"
        return Verdict(Outcome.NO_CAPACITY, f"{over}: {verdict.reason}")

    def _judge_inference_error(self, error: ApiError, before: Verdict) -> Verdict | None:
        """Judge a failed inference request; ``None`` for an error that says nothing about the deployment."""
        # It takes inference a while to know a new deployment, and to wake one that is scaled to zero.
        if isinstance(error, NotFoundError) or error.code == "DEPLOYMENT_SCALING_UP":
            self.names_model ^= isinstance(error, NotFoundError)
            return Verdict(Outcome.PENDING, f"{before.reason}, but inference does not answer yet: {error}")
        if isinstance(error, QuotaExceededError):
            return Verdict(Outcome.PENDING, f"{before.reason}, but it cannot scale up yet: {error}")
        if not error.is_transient and before.outcome is Outcome.PENDING:
            # Only an answer counts before the deployment is ready.
            return Verdict(Outcome.PENDING, f"{before.reason}, and inference does not answer: {error}")
        if isinstance(error, RefusedError):
            advice = "For a model without chat completions, wait without wait_for_inference"
            return Verdict(Outcome.REFUSED, f"{error}. {advice}")
        return None

    def _judge_error(self, error: ApiError, now: float) -> Verdict:
        if self._before_inference is not None:
            before, self._before_inference = self._before_inference, None
            if verdict := self._judge_inference_error(error, before):
                return verdict
        elif isinstance(error, NotFoundError):
            if self.until is Until.RESPONSE:
                return Verdict(Outcome.READY, "the API responds again")
            if self.known:
                deleted = judge_deployment(None)
                return replace(deleted, reason=f"{deleted.reason}: {error}")
            if now < (self.visible_by or 0.0):
                return Verdict(Outcome.PENDING, f"it was created just now and is not visible yet: {error}")
        return super()._judge_error(error, now)
