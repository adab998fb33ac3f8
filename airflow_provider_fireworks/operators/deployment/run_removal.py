"""Deleting a deployment in a worker: sends the requests of a removal, and sleeps between them."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, Protocol

from airflow_provider_fireworks.client.api import Request
from airflow_provider_fireworks.client.errors import ApiError
from airflow_provider_fireworks.deployments.removal import Sleep

if TYPE_CHECKING:
    from airflow_provider_fireworks.deployments.removal import RemovalResult, RemovalSteps


class Sender(Protocol):
    """The hook, or a client."""

    def send(self, request: Request[Any], *, attempts: int) -> Any:
        """Send a request."""


def run_removal(steps: RemovalSteps, sender: Sender, log: Any) -> RemovalResult:
    """
    Run a removal that does not ask for the state of a task.

    :param log: the task's, for failed requests.
    """
    reply: Any = None
    while True:
        try:
            step = steps.send(reply)
        except StopIteration as end:
            result: RemovalResult = end.value
            return result
        reply = None
        if isinstance(step, Sleep):
            time.sleep(step.seconds)
        elif isinstance(step, Request):
            try:
                reply = sender.send(step, attempts=1)
            except ApiError as error:
                log.warning("%s", error)
                reply = error
