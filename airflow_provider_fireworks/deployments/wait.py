"""A wait for a deployment."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, ClassVar

from pydantic import PrivateAttr

from airflow_provider_fireworks.client import api
from airflow_provider_fireworks.client.errors import ApiError, NotFoundError, QuotaExceededError, RefusedError
from airflow_provider_fireworks.client.names import DeploymentName
from airflow_provider_fireworks.client.resources import Deployment
from airflow_provider_fireworks.deployments.readiness import judge_deployment
from airflow_provider_fireworks.polling import Outcome, ResourceWait, Until, Verdict


class DeploymentWait(ResourceWait):
    """
    A wait for a deployment.

    :ivar replica_count: the requested replicas; ``None`` accepts any number.
    :ivar known: whether it has been read before, so that a 404 means that it was deleted.
    :ivar visible_by: seconds since the epoch until which a 404 means that it is not visible yet.
    """

    resource: ClassVar[str] = "deployment"

    deployment: DeploymentName
    replica_count: int | None = None
    known: bool = False
    visible_by: float | None = None

    _ready: Deployment | None = PrivateAttr(default=None)

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
        """Whether the deployment is ready, and inference is to be requested next."""
        return self._ready is not None

    def next_request(self) -> api.Request[Any]:
        """Return the request that reads the deployment or, once it is ready, one for inference."""
        if self._ready is not None:
            return api.request_inference(f"{self._ready.base_model}#{self.deployment}")
        return api.get_deployment(self.deployment)

    def _judge(self, result: Deployment, now: float) -> Verdict:
        if self._ready is not None:
            self._ready = None
            return Verdict(Outcome.READY, "inference answers")
        self.known = True
        if self.until is Until.RESPONSE:
            return Verdict(Outcome.READY, "the API responds again")
        verdict = judge_deployment(result, replica_count=self.replica_count)
        if self.until is Until.INFERENCE and verdict.outcome is Outcome.READY:
            self._ready = result
            return Verdict(Outcome.PENDING, f"{verdict.reason}; requesting inference")
        return verdict

    def _judge_error(self, error: ApiError, now: float) -> Verdict:
        if self._ready is not None:
            self._ready = None
            # It takes inference a while to know a new deployment, and to wake one that is scaled to zero.
            if isinstance(error, NotFoundError) or error.code == "DEPLOYMENT_SCALING_UP":
                return Verdict(
                    Outcome.PENDING, f"its state is READY, but inference does not answer yet: {error}"
                )
            if isinstance(error, QuotaExceededError):
                return Verdict(Outcome.PENDING, f"its state is READY, but it cannot scale up yet: {error}")
            if isinstance(error, RefusedError):
                advice = "For a model without chat completions, wait without wait_for_inference"
                return Verdict(Outcome.REFUSED, f"{error}. {advice}")
        elif isinstance(error, NotFoundError):
            if self.until is Until.RESPONSE:
                return Verdict(Outcome.READY, "the API responds again")
            if self.known:
                deleted = judge_deployment(None)
                return replace(deleted, reason=f"{deleted.reason}: {error}")
            if now < (self.visible_by or 0.0):
                return Verdict(Outcome.PENDING, f"it was created just now and is not visible yet: {error}")
        return super()._judge_error(error, now)
