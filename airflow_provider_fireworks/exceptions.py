"""
Every exception that a task of this provider can end with, chosen for what Airflow does with it.

What is a :class:`FireworksFinalError` is not retried; anything else is, as the task's ``retries`` say. Those in
:data:`NEVER_SKIPPED` fail a sensor even with ``soft_fail`` or ``never_fail``. A sensor that runs out of time
raises Airflow's own ``AirflowSensorTimeout``. The table is in ``docs/errors.md``.

The exceptions of :class:`~airflow_provider_fireworks.hooks.fireworks.FireworksHook` itself, which know nothing
of Airflow, can be imported from here as well.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from airflow.providers.common.compat.sdk import (
    AirflowException,
    AirflowFailException,
    AirflowSensorTimeout,
)

from airflow_provider_fireworks.gateway.errors import (
    AccessDeniedError as AccessDeniedError,
    AnswerLostError as AnswerLostError,
    GatewayError as GatewayError,
    NotFoundError as NotFoundError,
    RateLimitedError as RateLimitedError,
    RefusedError as RefusedError,
    UnavailableError as UnavailableError,
    UnreachableError as UnreachableError,
)

if TYPE_CHECKING:
    from airflow_provider_fireworks.verdict import Verdict


class FireworksError(AirflowException):
    """Anything that a task of this provider fails with. Retried, unless it is final."""


class FireworksFinalError(FireworksError, AirflowFailException):
    """What another try cannot mend: the task fails at once, whatever its ``retries``."""


class FireworksInvalidArgument(FireworksFinalError, ValueError):
    """An argument that makes no sense (a misspelt precision, a model id that is none); nothing was sent."""


class FireworksBadConnection(FireworksFinalError):
    """The Airflow connection cannot be used: no key, plain http to elsewhere, no or several accounts."""


class FireworksAccessDenied(FireworksFinalError):
    """The gateway refuses the key (401 or 403 in its own words)."""


class FireworksNotFound(FireworksFinalError):
    """The gateway knows no such model."""


class FireworksRefused(FireworksFinalError):
    """The gateway will not do what was asked, for a reason of its own."""


class FireworksPreparationFailed(FireworksError):
    """The preparation failed, or ended without its precision. The operator's: a retry prepares again."""


class FireworksModelNotReady(FireworksFinalError):
    """The preparation that a sensor waits for failed, or ended without its precision; looking again is no use."""


class FireworksTimeout(FireworksError):
    """The operator's ``timeout`` is over: what was waited for, how long, and what was last seen."""


class FireworksInvalidEvent(FireworksError):
    """A trigger has sent what is no verdict on the model that was waited for."""


NEVER_SKIPPED = (
    FireworksInvalidArgument,
    FireworksBadConnection,
    FireworksAccessDenied,
    FireworksRefused,
    FireworksInvalidEvent,
)
"""What fails a sensor even with ``soft_fail`` or ``never_fail``: nothing that waiting was meant to find out."""

_ENDS: dict[str, tuple[type[AirflowException], type[AirflowException]]] = {
    "failed": (FireworksPreparationFailed, FireworksModelNotReady),
    "timeout": (FireworksTimeout, AirflowSensorTimeout),
    "access_denied": (FireworksAccessDenied, FireworksAccessDenied),
    "not_found": (FireworksNotFound, FireworksNotFound),
    "refused": (FireworksRefused, FireworksRefused),
    "bad_connection": (FireworksBadConnection, FireworksBadConnection),
}


def error_of_verdict(verdict: Verdict, message: str, *, sensor: bool) -> AirflowException:
    """
    Return what a task raises for a wait that did not end well.

    :param verdict: of any outcome but pending and ready.
    :param message: for people: what was waited for, and why it ended.
    :param sensor: whether a sensor waited, or an operator.
    """
    return _ENDS[verdict.outcome.value][sensor](message)
