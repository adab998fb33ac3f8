"""Deleting what a task has made when the task itself comes to a bad end."""

from __future__ import annotations

import time
from collections.abc import Collection
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from airflow_provider_fireworks.gateway.calls import Call

FIRST_PAUSE = 1.0
"""Seconds between two attempts, growing …"""
LONGEST_PAUSE = 8.0
"""… up to these."""


class Gateway(Protocol):
    """What makes calls: the hook, or a gateway of its own."""

    def send(self, call: Call[Any], *, attempts: int) -> Any:
        """Make a call."""


def delete_own(
    gateway: Gateway,
    deployment: str,
    signatures: Collection[str],
    *,
    hard: bool,
    may_yet_appear: bool,
    seconds: float,
    log: Any,
) -> None:
    """
    Delete a deployment if it is the task's; say loudly where that cannot be done.

    :param deployment: full resource name.
    :param signatures: the descriptions that are the task's.
    :param hard: for good.
    :param may_yet_appear: whether a 404 does not mean that there is none.
    :param seconds: for how long to try, while the gateway does not answer.
    :param log: the task's.
    """
    from airflow_provider_fireworks.creation import START_LAG
    from airflow_provider_fireworks.gateway import calls
    from airflow_provider_fireworks.gateway.errors import GatewayError, NotFoundError, RefusedError
    from airflow_provider_fireworks.gateway.names import parse_deployment

    name = parse_deployment(deployment, account=None)
    begun = time.monotonic()
    pause = FIRST_PAUSE
    while True:
        waited = time.monotonic() - begun
        try:
            found = gateway.send(calls.get_deployment(name), attempts=1)
            may_yet_appear = False
            if found.description not in signatures:
                log.info("%s is not this task's (any more), and is left alone.", name)
            elif found.state in ("DELETING", "DELETED"):
                log.info("%s is deleted already.", name)
            else:
                gateway.send(calls.delete_deployment(name, hard=hard, ignore_checks=True), attempts=1)
                log.info("%s is deleted.", name)
            return
        except NotFoundError:
            if not may_yet_appear:
                log.info("There is no %s (any more).", name)
                return
            if waited >= min(seconds, START_LAG):
                log.warning(
                    "There is no %s. Should it appear later, since its creation was under way, IT MAY COST MONEY: "
                    "FireworksSweepDeploymentsOperator finds it.",
                    name,
                )
                return
        except GatewayError as error:
            log.warning("%s", error)
            # A refusal may pass, too, or be one of deleting it for good; softly deleted it costs nothing either.
            hard = hard and not isinstance(error, RefusedError)
            if not (error.blip or isinstance(error, RefusedError)) or waited >= seconds:
                break
        time.sleep(min(pause, max(seconds - waited, 0.0)))
        pause = min(pause * 2, LONGEST_PAUSE)
    log.error(
        "%s could not be deleted. IT MAY COST MONEY: delete it by hand, or let FireworksSweepDeploymentsOperator "
        "find it.",
        name,
    )
