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
)

from airflow_provider_fireworks.gateway.errors import (
    AccessDeniedError as AccessDeniedError,
    AnswerLostError as AnswerLostError,
    GatewayError as GatewayError,
    NotFoundError as NotFoundError,
    QuotaExceededError as QuotaExceededError,
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
    """The gateway knows no such model, or no such deployment."""


class FireworksRefused(FireworksFinalError):
    """The gateway will not do what was asked, for a reason of its own."""


class FireworksPreparationFailed(FireworksError):
    """The preparation failed, or ended without its precision. The operator's: a retry prepares again."""


class FireworksModelNotReady(FireworksFinalError):
    """
    The model is not ready at a precision, and neither looking nor deploying again is of use.

    A sensor's: the preparation failed, or ended without its precision. An operator's: it is to be deployed.
    """


class FireworksDeploymentFailed(FireworksError):
    """The deployment failed, or was deleted while it was waited for. The operator's: a retry makes it anew."""


class FireworksDeploymentNotReady(FireworksFinalError):
    """The deployment that a sensor waits for failed, or was deleted; looking again is no use."""


class FireworksDeploymentConflict(FireworksFinalError):
    """The id is taken, by a deployment that is not this task's or is another than was asked for: untouched."""


class FireworksQuotaExceeded(FireworksError):
    """The account's quota has no GPUs left for it. Retried, as some may be free again by then."""


class FireworksTimeout(FireworksError):
    """The operator's ``timeout`` is over: what was waited for, how long, and what was last seen."""


class FireworksInvalidEvent(FireworksError):
    """A trigger has sent what is no verdict on what was waited for."""


NEVER_SKIPPED = (
    FireworksInvalidArgument,
    FireworksBadConnection,
    FireworksAccessDenied,
    FireworksRefused,
    FireworksInvalidEvent,
)
"""What fails a sensor even with ``soft_fail`` or ``never_fail``: nothing that waiting was meant to find out."""

_ENDS: dict[str, type[FireworksError]] = {
    "access_denied": FireworksAccessDenied,
    "not_found": FireworksNotFound,
    "refused": FireworksRefused,
    "bad_connection": FireworksBadConnection,
}


def error_of_verdict(
    verdict: Verdict,
    message: str,
    *,
    failed: type[FireworksError],
    timeout: type[AirflowException],
) -> AirflowException:
    """
    Return what a task raises for a wait that did not end well.

    :param verdict: of any outcome but pending and ready.
    :param message: for people: what was waited for, and why it ended.
    :param failed: raised where what was waited for will never be.
    :param timeout: raised where time is over.
    """
    ends = {**_ENDS, "failed": failed, "timeout": timeout}
    return ends[verdict.outcome.value](message)


def error_of_gateway(error: GatewayError, message: str) -> FireworksError:
    """
    Return what a task raises for a call that failed, and that it will not wait for any longer.

    :param error: what came of it; for a blip, the task may be retried.
    :param message: for people: what could not be done, and why.
    """
    for kind, raised in (
        (QuotaExceededError, FireworksQuotaExceeded),
        (AccessDeniedError, FireworksAccessDenied),
        (NotFoundError, FireworksNotFound),
    ):
        if isinstance(error, kind):
            return raised(message)
    return FireworksError(message) if error.blip else FireworksRefused(message)
