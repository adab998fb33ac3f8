"""Waiting for a deployment in the triggerer."""

from __future__ import annotations

import asyncio
import logging
import time
from contextlib import suppress
from contextvars import Context
from typing import Any

from airflow_provider_fireworks.airflow_state import task_state_in_triggerer
from airflow_provider_fireworks.client.errors import ApiError, NoResponseError
from airflow_provider_fireworks.client.names import DeploymentName
from airflow_provider_fireworks.deployments.ownership import Owner
from airflow_provider_fireworks.deployments.removal import (
    MONEY,
    GetTaskState,
    RemovalResult,
    RemovalSteps,
    Sleep,
    remove,
)
from airflow_provider_fireworks.deployments.wait import DeploymentWait
from airflow_provider_fireworks.triggers.base import FireworksTrigger

_log = logging.getLogger(__name__)

_deletions: set[asyncio.Task[None]] = set()
"""Deletions in progress. The event loop itself holds only weak references to its tasks."""


class FireworksDeploymentReadyTrigger(FireworksTrigger):
    """
    Poll a deployment until it is ready: ``GET /v1/accounts/{account}/deployments/{deployment}``.

    Waiting for inference, it also requests a token, ``POST /inference/v1/chat/completions``.

    :param owner_signature: the signature of the task that created the deployment. If that task is killed and nothing
        will use the deployment any more, it is deleted (Airflow 3.3 and later). ``None`` deletes nothing. What the task
        did not create, or adopted from an earlier run, is never deleted.
    """

    def __init__(
        self,
        *,
        fireworks_conn_id: str | None,
        wait: dict[str, Any],
        resume_state: dict[str, Any] | None = None,
        owner_signature: str | None = None,
    ) -> None:
        super().__init__(fireworks_conn_id=fireworks_conn_id, wait=wait, resume_state=resume_state)
        self.owner_signature = owner_signature

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """Return the class path and the arguments, as Airflow stores them."""
        path, arguments = super().serialize()
        return path, {**arguments, "owner_signature": self.owner_signature}

    def make_wait(self) -> DeploymentWait:
        """Return the wait for the deployment."""
        return DeploymentWait(**self.wait, timing=self.timing)

    async def on_kill(self) -> None:
        """
        Delete the deployment if neither its task nor another task of the run will use it.

        Airflow calls this when a person marks or clears the task. Before 3.4 it also does so after it has given the
        trigger to another triggerer, and when that one has ended the wait. Only the state of the task tells which.
        """
        owner = Owner.from_description(self.owner_signature)
        if owner is None:
            return
        deletion = asyncio.create_task(self._delete_in_time(owner))
        _deletions.add(deletion)
        deletion.add_done_callback(_deletions.discard)
        while not deletion.done():
            # Airflow 3.3 cancels this coroutine again every second. Only a triggerer that shuts down cancels the
            # deletion itself.
            with suppress(asyncio.CancelledError):
                await asyncio.shield(deletion)

    async def _delete_in_time(self, owner: Owner) -> None:
        name = self.make_wait().deployment
        limit = self.timing.trigger_cleanup_timeout
        try:
            result = await asyncio.wait_for(self._delete(name, owner), limit)
        except asyncio.TimeoutError:
            result = _not_deleted(name, f"that took longer than {limit:.0f} s")
        except asyncio.CancelledError:
            self._report(owner, _not_deleted(name, "the triggerer is shutting down"))
            raise
        except Exception as error:
            result = _not_deleted(name, f"{error or type(error).__name__}")
        self._report(owner, result)

    async def _delete(self, name: DeploymentName, owner: Owner) -> RemovalResult:
        from airflow_provider_fireworks.hooks.fireworks import FireworksHook

        wait = self.make_wait()
        steps: RemovalSteps = remove(
            name,
            may_delete=lambda found: owner.created(found.description),
            may_be_invisible=not wait.known and time.time() < (wait.visible_by or 0.0),
            insist=True,
            check_task=True,
            # Shorter than the overall limit, so that the result says which request failed last.
            timeout=self.timing.trigger_cleanup_timeout - self.timing.trigger_request_timeout,
            timing=self.timing,
        )
        limit = self.timing.trigger_request_timeout
        reply: Any = None
        async with FireworksHook.shared_async_client(self.fireworks_conn_id) as client:
            while True:
                try:
                    step = steps.send(reply)
                except StopIteration as end:
                    result: RemovalResult = end.value
                    return result
                if isinstance(step, Sleep):
                    await asyncio.sleep(step.seconds)
                    reply = None
                elif isinstance(step, GetTaskState):
                    reply = await task_state_in_triggerer(owner)
                else:
                    try:
                        reply = await asyncio.wait_for(client.send(step), limit)
                    except asyncio.TimeoutError:
                        reply = NoResponseError(f"no response within {limit:.0f} s", request=str(step))
                    except ApiError as error:
                        reply = error
                    if isinstance(reply, ApiError):
                        self.log.warning("%s", reply)

    def _report(self, owner: Owner, result: RemovalResult) -> None:
        level = logging.ERROR if result.status == "left" else logging.INFO
        self.log.log(level, "%s", result.note)
        # Airflow may have closed the task's log by now. In an empty context nothing ties the line to the trigger, so
        # it reaches the triggerer's own log.
        Context().run(_log.log, level, "%s: %s", owner, result.note)


def _not_deleted(name: DeploymentName, why: str) -> RemovalResult:
    return RemovalResult("left", f"{name} was not deleted and {MONEY}: {why.rstrip('.')}.")
