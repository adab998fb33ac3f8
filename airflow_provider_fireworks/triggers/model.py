"""The trigger that waits until a model is ready."""

from __future__ import annotations

from airflow_provider_fireworks.models.wait import ModelWait
from airflow_provider_fireworks.triggers.base import FireworksTrigger


class FireworksModelReadyTrigger(FireworksTrigger):
    """Poll a model until it is ready at its precision: ``GET /v1/accounts/{account}/models/{model}``."""

    def make_wait(self) -> ModelWait:
        """Return the wait for the model."""
        return ModelWait(**self.wait, timing=self.timing)
