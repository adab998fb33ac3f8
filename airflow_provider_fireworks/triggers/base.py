"""Waiting in the triggerer, which takes no worker slot."""

from __future__ import annotations

import time
from abc import abstractmethod
from collections.abc import AsyncIterator
from typing import Any, ClassVar

from airflow.triggers.base import BaseTrigger, TriggerEvent

from airflow_provider_fireworks.exceptions import FireworksBadConnection
from airflow_provider_fireworks.polling import Event, Outcome, ResourceWait, Verdict
from airflow_provider_fireworks.timing import DEFAULT_TIMING, Timing


class FireworksTrigger(BaseTrigger):
    """
    The base class of all triggers. Poll until the wait is over; polling only reads.

    The deadline is an argument, so a wait continues unchanged in another triggerer. The API key is not an argument.

    :param fireworks_conn_id: the Airflow connection; ``None`` reads ``FIREWORKS_API_KEY`` and the like.
    :param wait: the fields of a :class:`~airflow_provider_fireworks.polling.ResourceWait`.
    :param resume_state: what the task needs to resume. It comes back in the event, because ``dag.test()`` drops the
        ``kwargs`` of a deferral.
    """

    timing: ClassVar[Timing] = DEFAULT_TIMING

    def __init__(
        self,
        *,
        fireworks_conn_id: str | None,
        wait: dict[str, Any],
        resume_state: dict[str, Any] | None = None,
    ) -> None:
        super().__init__()
        self.fireworks_conn_id = fireworks_conn_id
        self.wait = wait
        self.resume_state = resume_state or {}

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """Return the class path and the arguments, as Airflow stores them."""
        return (
            f"{type(self).__module__}.{type(self).__qualname__}",
            {
                "fireworks_conn_id": self.fireworks_conn_id,
                "wait": self.wait,
                "resume_state": self.resume_state,
            },
        )

    @abstractmethod
    def make_wait(self) -> ResourceWait:
        """Return the wait that the argument describes."""

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Poll until the wait is over, then yield its one event, with the verdict."""
        # Not at the top, as a DAG file that imports an operator imports this module and needs no hook.
        from airflow_provider_fireworks.hooks.fireworks import FireworksHook

        wait = self.make_wait()
        min_delay = min(self.timing.first_trigger_delay, max(wait.deadline - time.time(), 0.0))
        async with FireworksHook.shared_async_client(self.fireworks_conn_id) as client:
            poller = client.poller(self.log.info)
            while True:
                await poller.sleep(max(wait.next_delay(time.time() - poller.age), min_delay))
                min_delay = 0.0
                left = max(wait.deadline - time.time(), 0.0)
                try:
                    result = await poller.poll(
                        wait.next_request(), timeout=left + self.timing.last_poll_timeout
                    )
                except FireworksBadConnection as error:
                    verdict = Verdict(Outcome.BAD_CONNECTION, str(error))
                    break
                verdict = wait.observe(result, time.time() - poller.age)
                if verdict.is_terminal:
                    break
                if line := wait.log_line(verdict, time.time()):
                    self.log.info("%s", line)
        event = Event(verdict=verdict, wait=self.wait, resume_state=self.resume_state)
        yield TriggerEvent(event.model_dump(mode="json"))
