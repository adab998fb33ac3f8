"""
Every exception that a task of this provider can end with, chosen for what Airflow does with it.

What is a :class:`FireworksFinalError` is not retried; anything else is, as the task's ``retries`` say. Those in
:data:`NEVER_SKIPPED` fail a sensor even with ``soft_fail`` or ``never_fail``. A sensor that runs out of time
raises Airflow's own ``AirflowSensorTimeout``. The table is in ``docs/errors.md``.

The exceptions of :class:`~airflow_provider_fireworks.hooks.fireworks.FireworksHook` itself, which know nothing
of Airflow, can be imported from here as well.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from airflow.providers.common.compat.sdk import (
    AirflowException,
    AirflowFailException,
    AirflowTaskTimeout,
)

from airflow_provider_fireworks.client.errors import (
    AccessDeniedError as AccessDeniedError,
    AnswerLostError as AnswerLostError,
    GatewayError as GatewayError,
    NotFoundError as NotFoundError,
    QuotaExceededError as QuotaExceededError,
    RateLimitedError as RateLimitedError,
    RefusedError as RefusedError,
    UnavailableError as UnavailableError,
    UnreachableError as UnreachableError,
    one_line,
    sentence,
)

if TYPE_CHECKING:
    from airflow_provider_fireworks.verdict import Verdict


_MESSAGE_LIMIT = 4000
"""Characters of a message: it may hold several of the gateway's, and what a template was rendered to."""


class FireworksError(AirflowException):
    """Anything that a task of this provider fails with. Retried, unless it is final."""

    what_to_do: ClassVar[str] = "A retry may mend it."
    """One sentence, at the end of the message wherever that does not say more."""

    def __init__(self, message: object = "") -> None:
        super().__init__(one_line(message, limit=_MESSAGE_LIMIT))


class FireworksFinalError(FireworksError, AirflowFailException):
    """What another try cannot mend: the task fails at once, whatever its ``retries``."""


class FireworksInvalidArgument(FireworksFinalError, ValueError):
    """An argument that makes no sense (a misspelt precision, a model id that is none); nothing was sent."""

    what_to_do = "Correct the DAG."


class FireworksBadConnection(FireworksFinalError):
    """The Airflow connection cannot be used: no key, plain http to elsewhere, no or several accounts."""

    what_to_do = "Correct the connection; its Test button says what is wrong."


class FireworksUnreachable(FireworksError):
    """The Fireworks API is not at the Base URL: something else answers, or its name does not resolve."""

    what_to_do = "Check the connection's Base URL, and whether a proxy or a firewall is answering instead."


class FireworksAccessDenied(FireworksFinalError):
    """The gateway refuses the key (401 or 403 in its own words)."""

    what_to_do = "Check the API key of the connection, and whether it may do this."


class FireworksNotFound(FireworksFinalError):
    """The gateway knows no such model, or no such deployment."""

    what_to_do = "Check the id, its account, and the account of the connection."


class FireworksRefused(FireworksFinalError):
    """The gateway will not do what was asked, for a reason of its own."""

    what_to_do = "The gateway says why; asking again is no use."


class FireworksPreparationFailed(FireworksError):
    """The preparation failed, or ended without its precision. The operator's: a retry prepares again."""

    what_to_do = "A retry asks for the preparation anew."


class FireworksModelNotReady(FireworksFinalError):
    """
    The model is not ready at a precision, and neither looking nor deploying again is of use.

    A sensor's: the preparation failed, or ended without its precision. An operator's: it is to be deployed.
    """

    what_to_do = "Clear the task that prepares it, with all downstream of it."


class FireworksDeploymentFailed(FireworksError):
    """The deployment failed, or was deleted while it was waited for. The operator's: a retry makes it anew."""

    what_to_do = "A retry makes it anew."


class FireworksDeploymentNotReady(FireworksFinalError):
    """The deployment that a sensor waits for failed, or was deleted; looking again is no use."""

    what_to_do = "Clear the task that creates it, with all downstream of it."


class FireworksDeploymentConflict(FireworksFinalError):
    """The id is taken, by a deployment that is not this task's or is another than was asked for: untouched."""

    what_to_do = "Wait for it with FireworksDeploymentReadySensor, or delete it."


class FireworksQuotaExceeded(FireworksError):
    """The account's quota has no GPUs left for it. Retried, as some may be free again by then."""

    what_to_do = "Free GPUs, have the quota raised, or retry later: set retries and a long retry_delay."


class FireworksTimeout(FireworksError):
    """The operator's ``timeout`` is over: what was waited for, how long, and what was last seen."""

    what_to_do = (
        "It may need a longer timeout; if the gateway never answered, check Base URL, network and proxy; after 429, "
        "raise the interval."
    )


class FireworksInvalidEvent(FireworksError):
    """A trigger has sent what is no verdict on what was waited for."""

    what_to_do = "Workers and triggerers need the same version of this package."

    @classmethod
    def because(cls, reason: object) -> FireworksInvalidEvent:
        """Return one that says what is wrong with the event."""
        return cls(_advised(f"The trigger's event makes no sense: {reason}", cls.what_to_do))


NEVER_SKIPPED = (
    FireworksInvalidArgument,
    FireworksBadConnection,
    FireworksUnreachable,
    FireworksAccessDenied,
    FireworksRefused,
    FireworksInvalidEvent,
)
"""What fails a sensor even with ``soft_fail`` or ``never_fail``: nothing that waiting was meant to find out."""

SENSOR_TIMED_OUT = (
    "Clear the task to go on waiting; it may need a longer timeout. If the gateway never answered, check Base URL, "
    "network and proxy; after 429, raise the interval."
)
"""What to do about Airflow's own ``AirflowSensorTimeout``."""

EXECUTION_TIMED_OUT = "A retry starts a new wait; raise execution_timeout if that is too short."
"""What to do about Airflow's own ``AirflowTaskTimeout``, which also ends a deferred wait."""

_ENDS: dict[str, type[FireworksError]] = {
    "access_denied": FireworksAccessDenied,
    "not_found": FireworksNotFound,
    "refused": FireworksRefused,
    "bad_connection": FireworksBadConnection,
    "unreachable": FireworksUnreachable,
}

_OF_GATEWAY: dict[type[GatewayError], type[FireworksError]] = {
    QuotaExceededError: FireworksQuotaExceeded,
    AccessDeniedError: FireworksAccessDenied,
    NotFoundError: FireworksNotFound,
}


def error_of_verdict(
    verdict: Verdict,
    message: str,
    *,
    failed: type[FireworksError],
    timeout: type[BaseException],
    not_found: str = FireworksNotFound.what_to_do,
) -> BaseException:
    """
    Return what a task raises for a wait that did not end well.

    :param verdict: of any outcome but pending and ready.
    :param message: for people: what was waited for, and why it ended.
    :param failed: raised where what was waited for will never be.
    :param timeout: raised where time is over.
    :param not_found: what to do if there is no such resource.
    """
    kind = {**_ENDS, "failed": failed, "timeout": timeout}[verdict.outcome.value]
    if kind is FireworksNotFound:
        return kind(_advised(message, not_found))
    own = EXECUTION_TIMED_OUT if kind is AirflowTaskTimeout else SENSOR_TIMED_OUT
    return kind(_advised(message, getattr(kind, "what_to_do", own)))


def error_of_gateway(error: GatewayError, message: str) -> FireworksError:
    """
    Return what a task raises for a call that failed, and that it will not wait for any longer.

    :param error: what came of it; for a blip, the task may be retried.
    :param message: for people: what could not be done, and why.
    """
    raised = next(
        (raised for kind, raised in _OF_GATEWAY.items() if isinstance(error, kind)),
        FireworksRefused if isinstance(error, RefusedError) else FireworksError,
    )
    if error.misdirected:
        raised = FireworksUnreachable
    return raised(_advised(message, raised.what_to_do))


def add_to_message(error: BaseException, sentence: str) -> None:
    """Append a sentence to an exception's message, so that an alert which quotes the message quotes it too."""
    error.args = (f"{error} {sentence}".strip(), *error.args[1:])


def _advised(message: str, what_to_do: str) -> str:
    return f"{sentence(message, limit=_MESSAGE_LIMIT - len(what_to_do) - 2)} {what_to_do}"
