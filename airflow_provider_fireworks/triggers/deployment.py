"""Waiting for a deployment in the triggerer."""

from __future__ import annotations

import asyncio
import logging
import time
from contextlib import suppress
from contextvars import Context
from typing import Any

from airflow_provider_fireworks.client.errors import AnswerLostError, GatewayError
from airflow_provider_fireworks.client.names import parse_deployment
from airflow_provider_fireworks.identity import Identity
from airflow_provider_fireworks.removal import MONEY, AskAirflow, Pause, Removed, Steps, remove
from airflow_provider_fireworks.runs import state_in_triggerer
from airflow_provider_fireworks.triggers.base import FireworksTrigger
from airflow_provider_fireworks.watch import DeploymentWatch

_log = logging.getLogger(__name__)

_DELETE_WITHIN = 25.0
"""Seconds for all of a deletion, as Airflow gives ``on_kill`` 30: ``[triggerer] on_kill_timeout``."""
_REQUEST_TIMEOUT = 5.0
"""Seconds for one request of it."""

_deletions: set[asyncio.Task[None]] = set()
"""Deletions under way. The event loop itself holds its tasks by weak references only."""


class FireworksDeploymentReadyTrigger(FireworksTrigger):
    """
    Poll a deployment until it is ready: ``GET /v1/accounts/{account}/deployments/{deployment}``.

    Waiting for inference, it also asks the deployment for a token, ``POST /inference/v1/chat/completions``.

    :param delete_on_kill: the signature of the task whose deployment is to be deleted when that task is killed and
        nothing will use it any more (Airflow 3.3 and later); ``None`` deletes nothing. A deployment that this task
        did not create, or adopted from an earlier run, is never deleted.
    """

    def __init__(
        self,
        *,
        fireworks_conn_id: str | None,
        watch: dict[str, Any],
        carry: dict[str, Any] | None = None,
        delete_on_kill: str | None = None,
    ) -> None:
        super().__init__(fireworks_conn_id=fireworks_conn_id, watch=watch, carry=carry)
        self.delete_on_kill = delete_on_kill

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """Return the class path and the arguments, as Airflow stores them."""
        path, arguments = super().serialize()
        return path, {**arguments, "delete_on_kill": self.delete_on_kill}

    def make_watch(self) -> DeploymentWatch:
        """Return the wait for the deployment."""
        return DeploymentWatch.model_validate(self.watch)

    async def on_kill(self) -> None:
        """
        Delete the deployment if its task will not use it any more, and no other task of the run will.

        Airflow calls this when a person marks or clears the task, but before 3.4 also when it has given the trigger
        to another triggerer, or when that one has ended the wait. Only the state of the task tells which it was.
        """
        owner = Identity.of_description(self.delete_on_kill)
        if owner is None:
            return
        deletion = asyncio.create_task(self._delete_within(owner))
        _deletions.add(deletion)
        deletion.add_done_callback(_deletions.discard)
        while not deletion.done():
            # Airflow 3.3 cancels this coroutine again every second. Only a triggerer that shuts down cancels the
            # deletion itself.
            with suppress(asyncio.CancelledError):
                await asyncio.shield(deletion)

    async def _delete_within(self, owner: Identity) -> None:
        name = self.make_watch().deployment
        try:
            removed = await asyncio.wait_for(self._delete(owner), _DELETE_WITHIN)
        except asyncio.TimeoutError:
            removed = _unfinished(name, f"that took longer than {_DELETE_WITHIN:.0f} s")
        except asyncio.CancelledError:
            self._report(owner, _unfinished(name, "the triggerer is shutting down"))
            raise
        except Exception as error:
            removed = _unfinished(name, f"{error or type(error).__name__}")
        self._report(owner, removed)

    async def _delete(self, owner: Identity) -> Removed:
        # Loads the transports, which a DAG file that names this class has no use for.
        from airflow_provider_fireworks.hooks.fireworks import triggerer_gateway

        watch = self.make_watch()
        steps: Steps = remove(
            parse_deployment(watch.deployment, account=None),
            is_own=lambda found: owner.created(found.description),
            may_yet_appear=not watch.known and time.time() < (watch.appears_by or 0.0),
            insist=True,
            ask_airflow=True,
            # Ends by itself rather than by the time limit, to say what went wrong last.
            seconds=_DELETE_WITHIN - _REQUEST_TIMEOUT,
        )
        reply: Any = None
        async with triggerer_gateway(self.fireworks_conn_id) as gateway:
            while True:
                try:
                    step = steps.send(reply)
                except StopIteration as end:
                    removed: Removed = end.value
                    return removed
                if isinstance(step, Pause):
                    await asyncio.sleep(step.seconds)
                    reply = None
                elif isinstance(step, AskAirflow):
                    reply = await state_in_triggerer(owner)
                else:
                    try:
                        reply = await asyncio.wait_for(gateway.send(step), _REQUEST_TIMEOUT)
                    except asyncio.TimeoutError:
                        reply = AnswerLostError(
                            f"no response within {_REQUEST_TIMEOUT:.0f} s", call=str(step)
                        )
                    except GatewayError as error:
                        reply = error
                    if isinstance(reply, GatewayError):
                        self.log.warning("%s", reply)

    def _report(self, owner: Identity, removed: Removed) -> None:
        level = logging.ERROR if removed.status == "left" else logging.INFO
        self.log.log(level, "%s", removed.note)
        # By then Airflow may have closed the task's log. In an empty context nothing ties the line to the trigger, and
        # it goes to the triggerer's own log.
        Context().run(_log.log, level, "%s: %s", owner, removed.note)


def _unfinished(name: str, why: str) -> Removed:
    return Removed("left", f"{name} was not deleted and {MONEY}: {why.rstrip('.')}.")
