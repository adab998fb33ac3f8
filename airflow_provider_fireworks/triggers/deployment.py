"""Waiting for a deployment in the triggerer."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Any

from airflow_provider_fireworks.triggers.base import FireworksTrigger

if TYPE_CHECKING:
    from airflow_provider_fireworks.watch import DeploymentWatch

# Airflow gives it 30 seconds: [triggerer] on_kill_timeout.
_KILL_ATTEMPTS = 9
_CALL_TIMEOUT = 5
_LONGEST_PAUSE = 3


class FireworksDeploymentReadyTrigger(FireworksTrigger):
    """
    Look at a deployment until it is ready: ``GET /v1/accounts/{account}/deployments/{deployment}``.

    Waiting for it to serve, it also asks it for a token, ``POST /inference/v1/chat/completions``.

    :param delete_on_kill: the description of a deployment that is to be deleted when a person marks its task or
        clears it, which Airflow tells a trigger from 3.3 on. One with another description is left alone.
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
        from airflow_provider_fireworks.watch import DeploymentWatch

        return DeploymentWatch.model_validate(self.watch)

    async def on_kill(self) -> None:
        """Delete the deployment, if that was asked for. Airflow calls it once, at a person's word."""
        from airflow_provider_fireworks.exceptions import FireworksBadConnection
        from airflow_provider_fireworks.gateway import calls
        from airflow_provider_fireworks.gateway.errors import GatewayError, NotFoundError
        from airflow_provider_fireworks.gateway.names import parse_deployment
        from airflow_provider_fireworks.hooks.fireworks import triggerer_gateway

        if self.delete_on_kill is None:
            return
        watch = self.make_watch()
        name = parse_deployment(watch.deployment, account=None)
        async with triggerer_gateway(self.fireworks_conn_id) as gateway:
            for attempt in range(1, _KILL_ATTEMPTS + 1):
                try:
                    found = await asyncio.wait_for(gateway.send(calls.get_deployment(name)), _CALL_TIMEOUT)
                    if found.description != self.delete_on_kill or found.state in ("DELETING", "DELETED"):
                        return
                    delete = calls.delete_deployment(name, ignore_checks=True)
                    await asyncio.wait_for(gateway.send(delete), _CALL_TIMEOUT)
                    self.log.info("Its task was killed: %s is deleted.", name)
                    return
                except asyncio.TimeoutError:
                    self.log.warning("No answer within %d s.", _CALL_TIMEOUT)
                except NotFoundError as error:
                    if watch.known or time.time() >= (watch.appears_by or 0.0):
                        return
                    self.log.warning("%s", error)
                except FireworksBadConnection as error:
                    self.log.error("%s", error)
                    break
                except GatewayError as error:
                    self.log.warning("%s", error)
                    if not error.blip:
                        break
                await asyncio.sleep(min(attempt, _LONGEST_PAUSE))
        self.log.error("Its task was killed, but %s could not be deleted: IT MAY COST MONEY.", name)
