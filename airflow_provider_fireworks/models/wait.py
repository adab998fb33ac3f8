"""A wait for a model."""

from __future__ import annotations

from dataclasses import replace
from typing import ClassVar

from pydantic import Field, PrivateAttr

from airflow_provider_fireworks.client import api
from airflow_provider_fireworks.client.errors import ApiError, NotFoundError
from airflow_provider_fireworks.client.names import ModelName
from airflow_provider_fireworks.client.resources import Model
from airflow_provider_fireworks.models.readiness import (
    IDLE_POLLS,
    Baseline,
    PollHistory,
    confirmed_precision,
    is_being_prepared,
    judge_model,
)
from airflow_provider_fireworks.polling import Outcome, ResourceWait, Until, Verdict


class ModelWait(ResourceWait):
    """
    A wait for a model.

    :ivar precision: what is waited for.
    :ivar accept: precisions that satisfy the wait as well.
    :ivar require_confirmation: fail if readiness can only be inferred.
    :ivar history: what earlier polls have seen, those of a worker before it deferred included.
    """

    resource: ClassVar[str] = "model"

    model: ModelName
    precision: str
    accept: list[str] = Field(default_factory=list)
    require_confirmation: bool = False
    baseline: Baseline | None = None
    history: PollHistory = Field(default_factory=lambda fields: PollHistory.since(fields["baseline"]))

    _idle_polls: int = PrivateAttr(default=0)

    @property
    def subject(self) -> str:
        """The model's id and the precision."""
        return f"{self.model.id} at {self.precision}"

    @property
    def goal(self) -> str:
        """What a sensor waits for."""
        return f"{self.model} to be ready at {self.precision}"

    def next_request(self) -> api.Request[Model]:
        """Return the request that reads the model."""
        return api.get_model(self.model)

    def _judge(self, result: Model, now: float) -> Verdict:
        self.history = self.history.after_poll(result, now)
        if self.until is Until.RESPONSE:
            return Verdict(Outcome.READY, "the API responds again")
        if self.until is Until.IDLE:
            is_busy = is_being_prepared(result)
            self._idle_polls = 0 if is_busy else self._idle_polls + 1
            shown = f"its state is {result.state or 'unset'}"
            if confirmed_precision(result, self.precision, self.accept):
                return Verdict(Outcome.READY, shown)
            if is_busy or (not result.lists_precisions and self._idle_polls < IDLE_POLLS):
                return Verdict(Outcome.PENDING, shown)
            return Verdict(Outcome.READY, shown)
        return self._judge_readiness(result, now)

    def _judge_readiness(self, model: Model | None, now: float) -> Verdict:
        return judge_model(
            model,
            self.precision,
            baseline=self.baseline,
            history=self.history,
            now=now,
            accept=self.accept,
            require_confirmation=self.require_confirmation,
            timing=self.timing,
        )

    def _judge_error(self, error: ApiError, now: float) -> Verdict:
        if isinstance(error, NotFoundError) and self.history.has_polled:
            deleted = self._judge_readiness(None, now)
            return replace(deleted, reason=f"{deleted.reason}: {error}")
        return super()._judge_error(error, now)
