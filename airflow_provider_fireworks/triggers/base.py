"""Waiting in the triggerer, where a wait costs no worker slot."""

from __future__ import annotations

import asyncio
import time
from abc import abstractmethod
from collections.abc import AsyncIterator
from typing import Any

from airflow.triggers.base import BaseTrigger, TriggerEvent

from airflow_provider_fireworks.client.errors import GatewayError
from airflow_provider_fireworks.exceptions import FireworksBadConnection
from airflow_provider_fireworks.verdict import Outcome, Verdict
from airflow_provider_fireworks.watch import Watch

FIRST_LOOK_AFTER = 6.0
"""
Seconds at least before the first look. The worker has just looked, and a trigger that fires within five seconds
of its task's deferral can fail the task (apache/airflow#71580).
"""

DEFERRAL_SLACK = 120.0
"""Seconds by which a deferral outlasts the deadline, so that the clean end of the wait comes first."""


class FireworksTrigger(BaseTrigger):
    """
    Look until what is waited for is ready, never will be, or the time is over. It only reads.

    Its one event is a verdict (``Verdict.as_event``). The deadline is an argument, so a wait that a restarted
    triggerer takes up again goes on as before; the key is not among them.

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

    @abstractmethod
    def make_watch(self) -> Watch:
        """Return the wait that :attr:`watch` describes."""

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Sleep, look and judge, until the wait is over."""
        from airflow_provider_fireworks.hooks.fireworks import triggerer_gateway

        watch = self.make_watch()
        shortest = min(FIRST_LOOK_AFTER, max(watch.deadline - time.time(), 0.0))
        async with triggerer_gateway(self.fireworks_conn_id) as gateway:
            while True:
                await asyncio.sleep(max(watch.pause(time.time()), shortest))
                shortest = 0.0
                reading: Any
                try:
                    reading = await gateway.send(watch.call())
                except GatewayError as error:
                    reading = error
                except FireworksBadConnection as error:
                    verdict = Verdict(Outcome.BAD_CONNECTION, str(error))
                    break
                verdict = watch.see(reading, time.time())
                if verdict.ends:
                    break
                if not watch.half_way and (line := watch.news(verdict, time.time())):
                    self.log.info("%s", line)
        yield TriggerEvent(verdict.as_event(self.carry))
