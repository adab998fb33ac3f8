"""
Deleting one deployment: picks the next request from the last response. Does no I/O.

The clean-up of a task that fails, a trigger whose task was killed, the delete operator and the sweep take the same
steps. They differ in what they may delete, and in how they send, sleep and ask Airflow.
"""

from __future__ import annotations

import random
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
from airflow_provider_fireworks.client.retrying import backoff
from airflow_provider_fireworks.client.shapes import Deployment
from airflow_provider_fireworks.runs import is_over

FIRST_PAUSE = 1.0
"""Seconds between two attempts at least …"""
LONGEST_PAUSE = 8.0
"""… and at most, unless the API asks for more."""

MONEY = "IT MAY COST MONEY"


@dataclass(frozen=True)
class Removed:
    """
    The end of a removal.

    :ivar status: ``deleted``; ``gone``, if it did not exist any more; ``kept``, if it is not this task's to delete or
        may still be used; ``left``, if it should have been deleted and was not: a person must know.
    :ivar note: a sentence about the deployment, for a log or an exception.
    :ivar error: why it is left, if a request failed.
    """

    status: Literal["deleted", "gone", "kept", "left"]
    note: str
    error: GatewayError | None = None


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
    seconds: float,
    is_own: Callable[[Deployment], bool] = lambda found: True,
    ignore_checks: Callable[[Deployment | None], bool] = lambda found: True,
    hard: bool = False,
    purge: bool = False,
    unread: Literal["keep", "delete if denied", "delete"] = "keep",
    may_yet_appear: bool = False,
    insist: bool = False,
    ask_airflow: bool = False,
    now: Callable[[], float] = time.monotonic,
) -> Steps:
    """
    Read the deployment, and delete it if it is the caller's to delete.

    :param seconds: for how long to try again over transient errors.
    :param is_own: whether the deployment that was read may be deleted.
    :param ignore_checks: whether to skip the API's check that it has not served lately; called with ``None`` if the
        deployment could not be read.
    :param hard: delete it for good.
    :param purge: with ``hard``, also if it was deleted softly, so that its id is free again.
    :param unread: what to do if it cannot be read. ``delete if denied``: the caller knows that it created it, and may
        only not read it; ``delete``: the caller was given its name.
    :param may_yet_appear: whether it may have been created and not be visible yet, so that a 404 proves nothing.
    :param insist: try again if deleting is refused, softly then: the refusal may pass.
    :param ask_airflow: ask before each ``DELETE`` whether the task, or one after it, will still use it.
    :param now: a clock, in seconds.
    """
    deleted = Removed("deleted", f"{name} was deleted.")
    began = now()
    failures = 0
    refused: RefusedError | None = None
    may_be_deleted = False
    while True:
        reply = yield calls.get_deployment(name)
        found = reply if isinstance(reply, Deployment) else None
        if found is not None:
            may_yet_appear = False
            if not is_own(found):
                return Removed("kept", f"Not deleting {name}: it does not belong to this task.")
            purges = found.state == "DELETED" and hard and purge and refused is None
            if found.state in ("DELETING", "DELETED") and not purges:
                return deleted if may_be_deleted else Removed("gone", f"{name} was deleted already.")
        elif isinstance(reply, NotFoundError) and may_be_deleted:
            return deleted
        elif isinstance(reply, NotFoundError) and refused is not None:
            return Removed("gone", f"{name} does not exist any more.")
        if refused is not None and not insist:
            return _left(name, str(refused), refused)
        denied = isinstance(reply, AccessDeniedError)
        blindly = unread == "delete" and (denied or isinstance(reply, NotFoundError))
        if found is not None or blindly or (denied and unread == "delete if denied"):
            if ask_airflow:
                state = yield AskAirflow()
                if state is None:
                    return _left(name, "Airflow did not say whether it will still be used")
                if not is_over(state):
                    return Removed("kept", f"Not deleting {name}: its task is {state}.")
            reply = yield calls.delete_deployment(name, hard=hard, ignore_checks=ignore_checks(found))
            if not isinstance(reply, GatewayError):
                return deleted
            if isinstance(reply, NotFoundError) and not may_yet_appear:
                return deleted if may_be_deleted else Removed("gone", f"{name} does not exist any more.")
            may_be_deleted = may_be_deleted or reply.may_have_acted
        waited = now() - began
        if isinstance(reply, NotFoundError):
            if not may_yet_appear:
                return Removed("gone", f"{name} does not exist.")
            if waited >= min(seconds, creation.START_LAG):
                return _left(name, "it does not exist, but its creation was under way and it may yet appear")
        elif not (reply.blip or isinstance(reply, RefusedError)) or waited >= seconds:
            return _left(name, str(reply), reply)
        if isinstance(reply, RefusedError):
            # It may have been one of deleting for good: deleted softly, a deployment costs nothing either. What is
            # refused because it is being deleted is told by the next read.
            refused, hard = reply, hard and not insist
        failures += 1
        pause = backoff(reply, failures, longest=LONGEST_PAUSE, jitter=random.random())
        yield Pause(max(min(max(pause, FIRST_PAUSE), seconds - waited), 0.0))


def _left(name: DeploymentName, why: str, error: GatewayError | None = None) -> Removed:
    return Removed(
        "left",
        f"{name} was not deleted and {MONEY}: {why.rstrip('.')}. Delete it, or let FireworksSweepDeploymentsOperator "
        "find it.",
        error,
    )
