"""Waiting for a model in the triggerer."""

from __future__ import annotations

from airflow_provider_fireworks.models.wait import ModelWait, UploadWait
from airflow_provider_fireworks.triggers.base import FireworksTrigger


class FireworksModelReadyTrigger(FireworksTrigger):
    """Poll a model until it is ready at its precision: ``GET /v1/accounts/{account}/models/{model}``."""

    def make_wait(self) -> ModelWait:
        """Return the wait for the model."""
        return ModelWait(**self.wait, timing=self.timing)


class FireworksModelUploadTrigger(FireworksTrigger):
    """
    Poll an uploaded model until it is validated and READY.

    ``GET /v1/accounts/{account}/models/{model}:validateUpload``, then ``GET /v1/accounts/{account}/models/{model}``.
    """

    def make_wait(self) -> UploadWait:
        """Return the wait for the model."""
        return UploadWait(**self.wait, timing=self.timing)
