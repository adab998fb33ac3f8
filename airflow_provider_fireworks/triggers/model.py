"""Waiting for a model in the triggerer, where a wait costs no worker slot."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from typing import Any

from airflow.triggers.base import BaseTrigger, TriggerEvent

FIRST_LOOK_AFTER = 6.0
"""
Seconds at least before the first look. The worker has just looked, and a trigger that fires within five seconds
of its task's deferral can fail the task (apache/airflow#71580).
"""


DEFERRAL_SLACK = 120.0
"""Seconds by which a deferral outlasts the deadline, so that the clean end of the wait comes first."""


class FireworksModelReadyTrigger(BaseTrigger):
    """
    Look at a model until it is ready at its precisions, never will be, or the time is over. It only reads.

    Its one event is a verdict (``Verdict.as_event``). Deadline and baseline are arguments, so a wait that a
    restarted triggerer takes up again goes on as before; the key is not among them.

    :param fireworks_conn_id: the Airflow connection, ``None`` for the environment's.
    :param watch: the fields of a ``Watch``: what is waited for, until when, how often to look.
    :param carry: what the task needs when it resumes; handed back in the event, since ``dag.test()`` drops the
        ``kwargs`` of a deferral.
    """

    def __init__(
        self, *, fireworks_conn_id: str | None, watch: dict[str, Any], carry: dict[str, Any] | None = None
    ) -> None:
        super().__init__()
        self.fireworks_conn_id = fireworks_conn_id
        self.watch = watch
        self.carry = carry or {}

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """Return the class path and the arguments, as Airflow stores them."""
        return (
            f"{type(self).__module__}.{type(self).__qualname__}",
            {"fireworks_conn_id": self.fireworks_conn_id, "watch": self.watch, "carry": self.carry},
        )

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Sleep, look and judge, until the wait is over."""
        from airflow_provider_fireworks.exceptions import FireworksBadConnection
        from airflow_provider_fireworks.gateway import calls
        from airflow_provider_fireworks.gateway.errors import GatewayError
        from airflow_provider_fireworks.gateway.names import parse_model
        from airflow_provider_fireworks.gateway.shapes import Model
        from airflow_provider_fireworks.hooks.fireworks import triggerer_gateway
        from airflow_provider_fireworks.verdict import Outcome, Verdict
        from airflow_provider_fireworks.watch import Watch

        watch = Watch.model_validate(self.watch)
        call = calls.get_model(parse_model(watch.model, account=None))
        shortest = min(FIRST_LOOK_AFTER, max(watch.deadline - time.time(), 0.0))
        async with triggerer_gateway(self.fireworks_conn_id) as gateway:
            while True:
                await asyncio.sleep(max(watch.pause(time.time()), shortest))
                shortest = 0.0
                reading: Model | GatewayError
                try:
                    reading = await gateway.send(call)
                except GatewayError as error:
                    reading = error
                except FireworksBadConnection as error:
                    verdict = Verdict(Outcome.BAD_CONNECTION, str(error))
                    break
                verdict = watch.see(reading, time.time())
                if verdict.ends:
                    break
                self.log.info("%s", watch.still_waiting(verdict, time.time()))
        yield TriggerEvent(verdict.as_event(self.carry))
