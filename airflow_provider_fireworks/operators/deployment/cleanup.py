"""Running a removal in a worker."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, Protocol

from airflow_provider_fireworks.client.calls import Call
from airflow_provider_fireworks.client.errors import GatewayError
from airflow_provider_fireworks.removal import Pause

if TYPE_CHECKING:
    from airflow_provider_fireworks.removal import Removed, Steps


class Gateway(Protocol):
    """What makes calls: the hook, or a gateway of its own."""

    def send(self, call: Call[Any], *, attempts: int) -> Any:
        """Make a call."""


def run(steps: Steps, gateway: Gateway, log: Any) -> Removed:
    """
    Take the steps of a removal that does not ask Airflow.

    :param log: the task's, for what goes wrong on the way.
    """
    reply: Any = None
    while True:
        try:
            step = steps.send(reply)
        except StopIteration as end:
            removed: Removed = end.value
            return removed
        reply = None
        if isinstance(step, Pause):
            time.sleep(step.seconds)
        elif isinstance(step, Call):
            try:
                reply = gateway.send(step, attempts=1)
            except GatewayError as error:
                log.warning("%s", error)
                reply = error
