"""
Deleting one deployment: picks the next step from the last response. Sends nothing and never sleeps.

The clean-up of a task that fails, a trigger whose task was killed, the delete operator and the sweep follow the same
steps. They differ in what they may delete, and in how they send, sleep and ask Airflow.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Generator
from dataclasses import dataclass
from typing import Any, Literal

from airflow_provider_fireworks.client import api
from airflow_provider_fireworks.client.errors import (
    AccessDeniedError,
    ApiError,
    NotFoundError,
    RefusedError,
)
from airflow_provider_fireworks.client.names import DeploymentName
from airflow_provider_fireworks.client.resources import Deployment
from airflow_provider_fireworks.client.retries import backoff
from airflow_provider_fireworks.deployments.ownership import is_over
from airflow_provider_fireworks.timing import DEFAULT_TIMING, Timing

MONEY = "IT MAY COST MONEY"


@dataclass(frozen=True)
class RemovalResult:
    """
    How a removal ended.

    :ivar status: ``deleted``; ``gone`` if it did not exist any more; ``kept`` if it is not the caller's to delete, or
        may still be used; ``left`` if it should have been deleted and was not, which somebody must be alerted to.
    :ivar note: a sentence about the deployment, for a log or an exception.
    :ivar error: why it is left, if a request failed.
    """

    status: Literal["deleted", "gone", "spared", "left"]
    note: str
    error: ApiError | None = None


@dataclass(frozen=True)
class Sleep:
    """A step: sleep for so many seconds."""

    seconds: float


@dataclass(frozen=True)
class GetTaskState:
    """A step: ask Airflow for the state of the task that created the deployment; ``None`` if it does not say."""


RemovalSteps = Generator["api.Request[Any] | Sleep | GetTaskState", Any, RemovalResult]
"""Yields the next step, is sent its result (for a request that failed, the error), and returns how it ended."""


def remove(
    name: DeploymentName,
    *,
    timeout: float,
    may_delete: Callable[[Deployment], bool] = lambda found: True,
    ignore_checks: Callable[[Deployment | None], bool] = lambda found: True,
    hard: bool = False,
    purge: bool = False,
    unread: Literal["keep", "delete if denied", "delete"] = "keep",
    may_be_invisible: bool = False,
    insist: bool = False,
    check_task: bool = False,
    timing: Timing = DEFAULT_TIMING,
    now: Callable[[], float] = time.monotonic,
) -> RemovalSteps:
    """
    Read the deployment, and delete it if it is the caller's to delete.

    :param timeout: seconds for which to try again over transient errors.
    :param may_delete: whether the deployment that was read may be deleted.
    :param ignore_checks: whether to skip the API's check that it has not served recently; called with ``None`` if the
        deployment could not be read.
    :param hard: delete it for good.
    :param purge: with ``hard``, also if it was deleted softly, to free its id.
    :param unread: what to do if it cannot be read. ``delete if denied``: the caller knows that it created it, and may
        only lack the permission to read it; ``delete``: the caller was given its name.
    :param may_be_invisible: whether it may have been created just now, so that a 404 proves nothing.
    :param insist: if deleting is refused, try again, softly: the refusal may pass.
    :param check_task: ask Airflow before each ``DELETE`` whether the task, or one after it, will still use it.
    :param now: a clock, in seconds.
    """
    deleted = RemovalResult("deleted", f"{name} was deleted.")
    began = now()
    failures = 0
    refused: RefusedError | None = None
    may_be_deleted = False
    while True:
        reply = yield api.get_deployment(name)
        found = reply if isinstance(reply, Deployment) else None
        if found is not None:
            may_be_invisible = False
            if not may_delete(found):
                return RemovalResult("spared", f"Not deleting {name}: it does not belong to this task.")
            purges = found.state == "DELETED" and hard and purge and refused is None
            if found.state in ("DELETING", "DELETED") and not purges:
                return deleted if may_be_deleted else RemovalResult("gone", f"{name} was deleted already.")
        elif isinstance(reply, NotFoundError) and may_be_deleted:
            return deleted
        elif isinstance(reply, NotFoundError) and refused is not None:
            return RemovalResult("gone", f"{name} does not exist any more.")
        if refused is not None and not insist:
            return _left(name, str(refused), refused)
        denied = isinstance(reply, AccessDeniedError)
        by_name = unread == "delete" and (denied or isinstance(reply, NotFoundError))
        if found is not None or by_name or (denied and unread == "delete if denied"):
            if check_task:
                state = yield GetTaskState()
                if state is None:
                    return _left(name, "Airflow did not say whether it will still be used")
                if not is_over(state):
                    return RemovalResult("spared", f"Not deleting {name}: the state of its task is {state}.")
            reply = yield api.delete_deployment(name, hard=hard, ignore_checks=ignore_checks(found))
            if not isinstance(reply, ApiError):
                return deleted
            if isinstance(reply, NotFoundError) and not may_be_invisible:
                return (
                    deleted if may_be_deleted else RemovalResult("gone", f"{name} does not exist any more.")
                )
            may_be_deleted = may_be_deleted or reply.outcome_unknown
        waited = now() - began
        if isinstance(reply, NotFoundError):
            if not may_be_invisible:
                return RemovalResult("gone", f"{name} does not exist.")
            if waited >= min(timeout, timing.visibility_lag):
                return _left(name, "it does not exist, but it was being created and may still appear")
        elif not (reply.is_transient or isinstance(reply, RefusedError)) or waited >= timeout:
            return _left(name, str(reply), reply)
        if isinstance(reply, RefusedError):
            # The API may refuse only to delete it for good; deleted softly, it costs nothing either. Or it is being
            # deleted, which the next read shows.
            refused, hard = reply, hard and not insist
        failures += 1
        delay = backoff(
            reply,
            failures,
            first=timing.first_retry_delay,
            longest=timing.max_delete_delay,
            jitter=random.random(),
        )
        yield Sleep(max(min(max(delay, timing.min_delete_delay), timeout - waited), 0.0))


def _left(name: DeploymentName, why: str, error: ApiError | None = None) -> RemovalResult:
    return RemovalResult(
        "left",
        f"{name} was not deleted and {MONEY}: {why.rstrip('.')}. Delete it, or let FireworksSweepDeploymentsOperator "
        "find it.",
        error,
    )
