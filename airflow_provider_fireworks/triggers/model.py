"""Waiting for a model in the triggerer."""

from __future__ import annotations

from airflow_provider_fireworks.triggers.base import FireworksTrigger
from airflow_provider_fireworks.watch import ModelWatch


class FireworksModelReadyTrigger(FireworksTrigger):
    """Look at a model until it is ready at its precisions: ``GET /v1/accounts/{account}/models/{model}``."""

    def make_watch(self) -> ModelWatch:
        """Return the wait for the model."""
        return ModelWatch.model_validate(self.watch)
