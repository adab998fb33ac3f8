"""
Deleting one deployment: picks the next request from the last response. Does no I/O.

A worker that cleans up and a trigger whose task was killed run the same steps. They differ only in how they send,
sleep and ask Airflow.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Generator
from dataclasses import dataclass
from typing import Any, Literal

from airflow_provider_fireworks import creation
from airflow_provider_fireworks.client import calls
from airflow_provider_fireworks.client.errors import (
    AccessDeniedError,
    GatewayError,
    NotFoundError,
    RefusedError,
)
from airflow_provider_fireworks.client.names import DeploymentName
from airflow_provider_fireworks.client.shapes import Deployment
from airflow_provider_fireworks.runs import is_over

FIRST_PAUSE = 1.0
"""Seconds between two attempts, doubled each time …"""
LONGEST_PAUSE = 8.0
"""… up to these."""

MONEY = "IT MAY COST MONEY"


@dataclass(frozen=True)
class Removed:
    """
    The end of a removal.

    :ivar status: ``deleted``; ``gone``, if it did not exist any more; ``kept``, if it is not this task's to delete or
        may still be used; ``left``, if it should have been deleted and was not: a person must know.
    :ivar note: a sentence about the deployment, for a log or an exception.
    """

    status: Literal["deleted", "gone", "kept", "left"]
    note: str


@dataclass(frozen=True)
class Pause:
    """Sleep for so many seconds, then go on."""

    seconds: float


@dataclass(frozen=True)
class AskAirflow:
    """Ask Airflow for the state of the task that created the deployment; reply with it, ``None`` for no answer."""


Steps = Generator["calls.Call[Any] | Pause | AskAirflow", Any, Removed]
"""Yields what to do next and is sent the result or, of a request, the error. Returns how it ended."""


def remove(
    name: DeploymentName,
    *,
    is_own: Callable[[Deployment], bool],
    seconds: float,
    hard: bool = False,
    accepted: bool = False,
    may_yet_appear: bool = False,
    ask_airflow: bool = False,
    now: Callable[[], float] = time.monotonic,
) -> Steps:
    """
    Read the deployment, and delete it if it is the task's own.

    :param is_own: whether the deployment that was read is the task's to delete.
    :param seconds: for how long to try again over transient errors.
    :param hard: delete it for good; softly where that is refused.
    :param accepted: whether the API accepted its creation in this try. Then it is deleted by name where the API key
        may not read it.
    :param may_yet_appear: whether it may have been created and not be visible yet, so that a 404 proves nothing.
    :param ask_airflow: ask before each ``DELETE`` whether the task, or one after it, will still use it.
    :param now: a clock, in seconds.
    """
    began = now()
    pause = FIRST_PAUSE
    while True:
        reply = yield calls.get_deployment(name)
        if isinstance(reply, Deployment):
            may_yet_appear = False
            if not is_own(reply):
                return Removed("kept", f"Not deleting {name}: it does not belong to this task.")
            if reply.state in ("DELETING", "DELETED"):
                return Removed("gone", f"{name} was deleted already.")
        if isinstance(reply, Deployment) or (accepted and isinstance(reply, AccessDeniedError)):
            if ask_airflow:
                state = yield AskAirflow()
                if state is None:
                    return _left(name, "Airflow did not say whether it will still be used")
                if not is_over(state):
                    return Removed("kept", f"Not deleting {name}: its task is {state}.")
            reply = yield calls.delete_deployment(name, hard=hard, ignore_checks=True)
            if not isinstance(reply, GatewayError):
                return Removed("deleted", f"{name} was deleted.")
            if isinstance(reply, NotFoundError):
                return Removed("gone", f"{name} does not exist any more.")
        waited = now() - began
        if isinstance(reply, NotFoundError):
            if not may_yet_appear:
                return Removed("gone", f"{name} does not exist.")
            if waited >= min(seconds, creation.START_LAG):
                return _left(name, "it does not exist, but its creation was under way and it may yet appear")
        elif not (reply.blip or isinstance(reply, RefusedError)) or waited >= seconds:
            return _left(name, str(reply))
        # A refusal may pass. If it was one of deleting for good: deleted softly, a deployment costs nothing either.
        hard = hard and not isinstance(reply, RefusedError)
        yield Pause(min(pause, max(seconds - waited, 0.0)))
        pause = min(pause * 2, LONGEST_PAUSE)


def _left(name: DeploymentName, why: str) -> Removed:
    return Removed(
        "left",
        f"{name} was not deleted and {MONEY}: {why.rstrip('.')}. Delete it, or let FireworksSweepDeploymentsOperator "
        "find it.",
    )
