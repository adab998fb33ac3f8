"""The trigger that waits until a router is ready."""

from __future__ import annotations

from airflow_provider_fireworks.routers.wait import RouterWait
from airflow_provider_fireworks.triggers.base import FireworksTrigger


class FireworksRouterReadyTrigger(FireworksTrigger):
    """Poll a router until it is ready: ``GET /v1/accounts/{account}/routers/{router}``."""

    def make_wait(self) -> RouterWait:
        """Return the wait for the router."""
        return RouterWait(**self.wait, timing=self.timing)
