"""
Decides what to do next for a router to be as a task wants it, from one read of it. Does no I/O.

No state is kept between two reads. The task chooses the id of a router, so it cannot create it twice, and an update
that is sent twice does no harm. After a request whose outcome is unknown, the next read shows whether it was carried
out.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict

from airflow_provider_fireworks.client.names import DeploymentName, RouterName
from airflow_provider_fireworks.client.resources import Deployment, Router
from airflow_provider_fireworks.deployments.ownership import Owner

_MARK = "airflow "
_MARK_DIGITS = 12


class RouteStep(str, Enum):
    """What the operator does next."""

    CREATE = "create"
    UPDATE = "update"
    PAUSE = "pause"
    """It is being deleted, or an earlier update is in progress."""
    WAIT = "wait"
    """It is as wanted, and not ready yet."""
    READY = "ready"
    CONFLICT = "conflict"


@dataclass(frozen=True)
class RouteDecision:
    """
    The next step for a router.

    :ivar note: why this step is next, as a clause about the router, for logs and errors.
    :ivar fields: what to send, as the API spells it.
    """

    step: RouteStep
    note: str
    fields: dict[str, Any] = field(default_factory=dict)


class Route(BaseModel):
    """
    What a task wants a router to be.

    :ivar strategy: how traffic is split, as the API spells it. The API can weight deployments only by their replicas.
    :ivar mark: the owner, as the router's display name.
    """

    # Parsing a DAG file imports this class and does not use it.
    model_config = ConfigDict(extra="forbid", defer_build=True)

    router: RouterName
    deployments: list[DeploymentName]
    strategy: Literal["weightedRandom", "evenLoad"]
    mark: str

    @property
    def spec(self) -> dict[str, Any]:
        """The router's fields, as the API spells them."""
        return {"displayName": self.mark, "deployments": self._wanted, self.strategy: {}}

    @property
    def _wanted(self) -> list[str]:
        return [str(deployment) for deployment in self.deployments]

    def changes(self, found: Router) -> dict[str, Any]:
        """
        Return the fields in which a router differs from what is wanted, apart from its owner.

        The order of deployments has no meaning. A strategy that the API does not show counts as the one wanted.
        """
        changes: dict[str, Any] = {}
        if sorted(found.deployments or []) != sorted(self._wanted):
            changes["deployments"] = self._wanted
        # With one deployment there is nothing to split.
        if found.strategy not in (None, self.strategy) and len(self.deployments) > 1:
            changes[self.strategy] = {}
        return changes

    def next_step(self, found: Router | None, *, adopt: bool) -> RouteDecision:
        """
        Return what to do next.

        :param found: the router as it was read just now; ``None`` if it does not exist.
        :param adopt: adopt it if it has another owner.
        """
        if found is None:
            return RouteDecision(RouteStep.CREATE, "it does not exist", self.spec)
        if found.auto_generated:
            return RouteDecision(RouteStep.CONFLICT, AUTO_GENERATED)
        if found.display_name != self.mark and not adopt:
            return RouteDecision(RouteStep.CONFLICT, f"it belongs to {_owner_of(found)}")
        state = found.state or "unset"
        shown = f"its state is {state}"
        if state == "DELETING":
            return RouteDecision(RouteStep.PAUSE, shown)
        changes = {} if found.display_name == self.mark else {"displayName": self.mark}
        changes |= self.changes(found)
        if not changes:
            return RouteDecision(RouteStep.READY if state == "READY" else RouteStep.WAIT, shown)
        if state in ("CREATING", "UPDATING"):
            return RouteDecision(RouteStep.PAUSE, f"{shown}, and it routes to {routes_to(found)}")
        return RouteDecision(RouteStep.UPDATE, f"it routes to {routes_to(found)}", changes)


AUTO_GENERATED = "Fireworks generated it for a deployment, so it can be neither updated nor deleted"


def mark_of(owner: Owner) -> str:
    """
    Return the mark of an owner: 12 hexadecimal digits of Airflow's URL, DAG and task.

    A display name has no room for more. The run is not part of it, as a router outlives the runs that update it.
    """
    # None of them contains a NUL, so no two tasks make the same text.
    text = "\x00".join((owner.airflow, owner.dag_id, owner.task_id))
    return _MARK + hashlib.sha256(text.encode()).hexdigest()[:_MARK_DIGITS]


def routes_to(router: Router) -> str:
    """Return the ids of a router's deployments, for a log or an error."""
    return ", ".join(name.rpartition("/")[2] for name in router.deployments or []) or "nothing"


def why_not_routable(deployment: Deployment) -> str | None:
    """
    Return why no requests should be routed to a deployment, ``None`` if it serves.

    A deployment that is UPDATING serves: replicas are being added or removed, perhaps by the autoscaler.
    """
    state = deployment.state or "unset"
    return None if state in ("READY", "UPDATING") else f"its state is {state}"


def why_weights_do_not_fit(weights: Sequence[int], deployments: Sequence[Deployment]) -> str | None:
    """
    Return why traffic would not be split by the weights, ``None`` if it would, or if the API shows no replica counts.

    :param deployments: in the order of their weights.
    """
    counts = [deployment.ready_replicas for deployment in deployments]
    known = [count for count in counts if count is not None]
    if len(known) < len(counts) or _reduced(known) == _reduced(weights):
        return None
    shown = ", ".join(
        f"{each.name.rpartition('/')[2]} has {count}" for each, count in zip(deployments, known, strict=True)
    )
    wanted = ":".join(map(str, _reduced(weights)))
    return f"traffic is split by the number of ready replicas, which must be {wanted}, but {shown}"


def _reduced(numbers: Iterable[int]) -> list[int]:
    listed = list(numbers)
    divisor = math.gcd(*listed) or 1
    return [number // divisor for number in listed]


def _owner_of(found: Router) -> str:
    name = found.display_name or ""
    if name.startswith(_MARK):
        return f"another task of this provider (its display name is {name!r})"
    return f"something else than this task (its display name is {name!r})"
