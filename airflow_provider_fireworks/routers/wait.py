"""A wait for a router."""

from __future__ import annotations

from typing import ClassVar

from airflow_provider_fireworks.client import api
from airflow_provider_fireworks.client.errors import ApiError, NotFoundError
from airflow_provider_fireworks.client.resources import Router, Status
from airflow_provider_fireworks.polling import Outcome, ResourceWait, Verdict
from airflow_provider_fireworks.routers.routing import Route, routes_to


class RouterWait(ResourceWait):
    """
    A wait for a router.

    :ivar route: what the router should be.
    :ivar visible_by: seconds since the epoch; before that, a read may not show the requested change yet.
    """

    resource: ClassVar[str] = "router"

    route: Route
    visible_by: float

    @property
    def subject(self) -> str:
        """The router's id."""
        return self.route.router.id

    @property
    def goal(self) -> str:
        """What is waited for."""
        return f"{self.route.router} to be ready"

    def next_request(self) -> api.Request[Router]:
        """Return the request that reads the router."""
        return api.get_router(self.route.router)

    def _judge(self, result: Router, now: float) -> Verdict:
        state = result.state or "unset"
        shown = f"its state is {state}"
        if state == "DELETING":
            return Verdict(Outcome.FAILED, f"{shown}: it was deleted while it was waited for")
        status = result.status or Status()
        if status.is_error:
            shown += f", with the status {status}"
        if self.route.changes(result):
            shown += f", but it routes to {routes_to(result)}"
            # While it is UPDATING, it may show the deployments from before the update.
            if state == "READY" and now >= self.visible_by:
                return Verdict(Outcome.CONFLICT, f"{shown}: another run or task has changed it since")
            return Verdict(Outcome.PENDING, shown)
        return Verdict(Outcome.READY if state == "READY" else Outcome.PENDING, shown)

    def _judge_error(self, error: ApiError, now: float) -> Verdict:
        if isinstance(error, NotFoundError):
            if now < self.visible_by:
                return Verdict(Outcome.PENDING, f"it was requested just now and is not visible yet: {error}")
            return Verdict(Outcome.FAILED, f"it was deleted while it was waited for: {error}")
        return super()._judge_error(error, now)
