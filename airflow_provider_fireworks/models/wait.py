"""The waits for a model: until it is ready at a precision, and until its upload is validated."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, ClassVar

from pydantic import Field, PrivateAttr

from airflow_provider_fireworks.client import api
from airflow_provider_fireworks.client.errors import ApiError, NotFoundError, RefusedError
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


_LANDING = ("FAILED_PRECONDITION", "ABORTED")
"""Codes of a refusal to validate that may mean that the API does not have all files yet."""


class UploadWait(ResourceWait):
    """
    A wait until the API has validated an uploaded model and shows it as READY.

    Each poll requests the validation and then reads the model, since the response to an earlier request may be lost.

    :ivar trust_remote_code: whether the validation may trust the checkpoint's own code.
    :ivar refusal: the message of the last refusal, if that may mean that the API does not have all files yet.
    :ivar refused_since: seconds since the epoch at which the API first refused with this message.
    """

    resource: ClassVar[str] = "model"

    model: ModelName
    trust_remote_code: bool = False
    refusal: str = ""
    refused_since: float = 0.0

    _validation: Verdict | None = PrivateAttr(default=None)
    """The verdict on the validation, if the model is read next."""

    @property
    def subject(self) -> str:
        """The model's id."""
        return self.model.id

    @property
    def goal(self) -> str:
        """What is waited for."""
        return f"{self.model} to be validated"

    @property
    def is_mid_poll(self) -> bool:
        """Whether the API has responded to the request to validate, and the model is to be read next."""
        return self._validation is not None

    def next_request(self) -> api.Request[Any]:
        """Return the request that validates the upload, or the one that reads the model."""
        if self.until is Until.RESPONSE or self._validation is not None:
            return api.get_model(self.model)
        return api.validate_upload(self.model, trust_remote_code=self.trust_remote_code)

    def _judge(self, result: Any, now: float) -> Verdict:
        if self.until is Until.RESPONSE:
            return Verdict(Outcome.READY, "the API responds again")
        validation, self._validation = self._validation, None
        if validation is None:
            warnings = f", with warnings: {'; '.join(result)}" if result else ""
            return self._read_next(Verdict(Outcome.PENDING, f"it is validated{warnings}"))
        return _judge_uploaded(result, validation)

    def _judge_error(self, error: ApiError, now: float) -> Verdict:
        validation, self._validation = self._validation, None
        if self.until is Until.RESPONSE:
            if isinstance(error, NotFoundError):
                return Verdict(Outcome.READY, "the API responds again")
        elif isinstance(error, NotFoundError):
            return Verdict(Outcome.FAILED, f"it was deleted: {error}")
        elif isinstance(error, RefusedError) and validation is None:
            is_landing = error.code in _LANDING or error.status == 409
            outcome = Outcome.PENDING if is_landing and not self._is_lasting(error, now) else Outcome.REFUSED
            return self._read_next(Verdict(outcome, f"it is not validated: {error}"))
        return super()._judge_error(error, now)

    def _is_lasting(self, refusal: RefusedError, now: float) -> bool:
        """Whether the API has refused with the same message for longer than it may take to see all files."""
        if refusal.message != self.refusal:
            self.refusal, self.refused_since = refusal.message, now
        return now - self.refused_since >= self.timing.validation_lag

    def _read_next(self, validation: Verdict) -> Verdict:
        self._validation = validation
        return Verdict(Outcome.PENDING, validation.reason)


def _judge_uploaded(model: Model, validation: Verdict) -> Verdict:
    """Judge a model that was read right after a request to validate it."""
    if model.state == "READY":
        warned = f"; {validation.reason}" if "warnings" in validation.reason else ""
        return Verdict(Outcome.READY, f"its state is READY{warned}")
    if model.state == "FAILED":
        return Verdict(
            Outcome.FAILED,
            f"its state is FAILED, with the status {model.status or 'OK'}; {validation.reason}",
        )
    return replace(validation, reason=f"{validation.reason}; its state is {model.state or 'unset'}")
