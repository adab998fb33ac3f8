"""
Exceptions that a task of this provider can end with::

    AirflowException
    └── FireworksError                    retried, unless it is final
        ├── FireworksUnreachable
        ├── FireworksPreparationFailed
        ├── FireworksUploadFailed
        ├── FireworksDeploymentFailed
        ├── FireworksQuotaExceeded
        ├── FireworksCapacityUnavailable
        ├── FireworksTimeout
        ├── FireworksInvalidEvent
        └── FireworksFinalError           never retried: also an AirflowFailException
            ├── FireworksInvalidArgument  also a ValueError
            ├── FireworksBadConnection
            ├── FireworksAccessDenied
            ├── FireworksNotFound
            ├── FireworksRefused
            ├── FireworksModelConflict
            ├── FireworksModelNotReady
            ├── FireworksDeploymentNotReady
            ├── FireworksDeploymentConflict
            └── FireworksRouterConflict

A sensor that times out raises Airflow's own ``AirflowSensorTimeout``. The exceptions in :data:`NEVER_SKIPPED` fail a
sensor even with ``soft_fail`` or ``never_fail``. What to do about each is in ``docs/errors.md``.

The exceptions that the hook raises for failed requests, such as :class:`ApiError`, can be imported from here as well.
"""

from __future__ import annotations

from typing import ClassVar

from airflow.providers.common.compat.sdk import (
    AirflowException,
    AirflowFailException,
    AirflowTaskTimeout,
)

from airflow_provider_fireworks.client.errors import (
    AccessDeniedError as AccessDeniedError,
    ApiError as ApiError,
    ConnectError as ConnectError,
    NoResponseError as NoResponseError,
    NotFoundError as NotFoundError,
    QuotaExceededError as QuotaExceededError,
    RateLimitedError as RateLimitedError,
    RefusedError as RefusedError,
    UnavailableError as UnavailableError,
)
from airflow_provider_fireworks.client.text import one_line, sentence
from airflow_provider_fireworks.polling import Outcome, Verdict

_MESSAGE_LIMIT = 4000
"""Characters of a message, which may quote several messages of the API, or a rendered template."""


class FireworksError(AirflowException):
    """Any failure of a task of this provider. Retried, unless it is final."""

    hint: ClassVar[str] = "Retrying may help."
    """The advice at the end of the message."""

    def __init__(self, message: object = "") -> None:
        super().__init__(one_line(message, limit=_MESSAGE_LIMIT))


class FireworksFinalError(FireworksError, AirflowFailException):
    """Retrying does not help, so the task fails at once, regardless of its ``retries``."""


class FireworksInvalidArgument(FireworksFinalError, ValueError):
    """An argument is invalid, such as a misspelt precision. Nothing was sent."""

    hint = "Correct the DAG."


class FireworksBadConnection(FireworksFinalError):
    """The connection cannot be used: no key, plain http to another machine, or no account to use."""

    hint = "Correct the connection; its Test button says what is wrong."


class FireworksUnreachable(FireworksError):
    """The Fireworks API is not at the Base URL: something else responds, or its name does not resolve."""

    hint = "Check the connection's Base URL, and whether a proxy or a firewall is answering instead."


class FireworksAccessDenied(FireworksFinalError):
    """The API rejects the key: 401 or 403, in its own words."""

    hint = "Check the connection's API key, and whether it has permission for this resource."


class FireworksNotFound(FireworksFinalError):
    """The model, the deployment or the router does not exist."""

    hint = "Check the id, its account, and the account of the connection."


class FireworksRefused(FireworksFinalError):
    """The API refuses the request, and says why."""

    hint = "The API says why; retrying will not help."


class FireworksPreparationFailed(FireworksError):
    """The preparation failed or ended without its precision. Raised by the operator; a retry prepares again."""

    hint = "A retry requests the preparation again."


class FireworksUploadFailed(FireworksError):
    """A file could not be read or has changed, or the model failed or was deleted. A retry uploads all files again."""

    hint = "A retry uploads all files again."


class FireworksModelConflict(FireworksFinalError):
    """The id is taken by somebody else's model, or by one with other files. That one is left alone."""

    hint = "Use another id, for example with the run in it, or delete that model with the hook."


class FireworksModelNotReady(FireworksFinalError):
    """
    The model is not ready at the precision, and neither polling nor deploying again helps.

    Raised by the sensor if the preparation failed or ended without its precision, and by the create operator if the API
    does not list the precision.
    """

    hint = "Clear the task that prepares it, with everything downstream."


class FireworksDeploymentFailed(FireworksError):
    """The deployment failed or was deleted during the wait. Raised by the operators; a retry creates it again."""

    hint = "A retry creates it again."


class FireworksDeploymentNotReady(FireworksFinalError):
    """
    The deployment failed or was deleted, and polling again does not help.

    Raised by the sensor, and by the route operator for a deployment that does not serve yet either.
    """

    hint = "Clear the task that creates it, with everything downstream."


class FireworksDeploymentConflict(FireworksFinalError):
    """The id is taken by somebody else's deployment, or by one with other arguments. That one is left alone."""

    hint = "Wait for it with FireworksDeploymentReadySensor, or delete it."


class FireworksRouterConflict(FireworksFinalError):
    """The router belongs to somebody else, has been changed since, or was generated by Fireworks. It is left alone."""

    hint = "Choose another router id, or take it over with adopt=True."


class FireworksQuotaExceeded(FireworksError):
    """The account's quota has no GPUs left. Retried, as some may be free again."""

    hint = "Free GPUs, have the quota raised, or retry later: set retries and a long retry_delay."


class FireworksCapacityUnavailable(FireworksError):
    """Fireworks has had no GPUs for the deployment for as long as ``capacity_timeout`` allows. Retried."""

    hint = "Retry later, with retries and a long retry_delay, or use other accelerators or another region."


class FireworksTimeout(FireworksError):
    """The operator timed out. The message says what it waited for, and what it saw last."""

    hint = (
        "A longer timeout may help. If the API never responded, check Base URL, network and proxy; after 429, raise "
        "the poll interval."
    )


class FireworksInvalidEvent(FireworksError):
    """The event of a trigger is not a verdict on what was waited for."""

    hint = "Workers and triggerers need the same version of this package."

    @classmethod
    def because(cls, reason: object) -> FireworksInvalidEvent:
        """Return an exception that says what is wrong with the event."""
        return cls(_with_hint(f"The trigger's event is invalid: {reason}", cls.hint))


NEVER_SKIPPED = (
    FireworksInvalidArgument,
    FireworksBadConnection,
    FireworksUnreachable,
    FireworksAccessDenied,
    FireworksRefused,
    FireworksInvalidEvent,
)
"""Fail a sensor even with ``soft_fail`` or ``never_fail``: they say nothing about what the sensor waits for."""

SENSOR_TIMEOUT_HINT = (
    "Clear the task to continue the wait; a longer timeout may help. If the API never responded, check Base URL, "
    "network and proxy; after 429, raise the poke interval."
)
"""The hint of Airflow's own ``AirflowSensorTimeout``."""

EXECUTION_TIMEOUT_HINT = "A retry starts a new wait; raise execution_timeout if that is too short."
"""The hint of Airflow's own ``AirflowTaskTimeout``, which also ends a deferred wait."""

_BY_OUTCOME: dict[Outcome, type[FireworksError]] = {
    Outcome.ACCESS_DENIED: FireworksAccessDenied,
    Outcome.NOT_FOUND: FireworksNotFound,
    Outcome.REFUSED: FireworksRefused,
    Outcome.NO_CAPACITY: FireworksCapacityUnavailable,
    Outcome.CONFLICT: FireworksRouterConflict,
    Outcome.BAD_CONNECTION: FireworksBadConnection,
    Outcome.UNREACHABLE: FireworksUnreachable,
}

_BY_API_ERROR: dict[type[ApiError], type[FireworksError]] = {
    QuotaExceededError: FireworksQuotaExceeded,
    AccessDeniedError: FireworksAccessDenied,
    NotFoundError: FireworksNotFound,
    RefusedError: FireworksRefused,
}


def error_from_verdict(
    verdict: Verdict,
    message: str,
    *,
    failed: type[FireworksError],
    timeout: type[BaseException],
    not_found: str = FireworksNotFound.hint,
) -> BaseException:
    """
    Return the exception that a task raises for a wait that did not succeed.

    :param verdict: terminal, and not ready.
    :param message: what was waited for, and why the wait ended.
    :param failed: the exception if the resource never will be ready.
    :param timeout: the exception if the wait timed out.
    :param not_found: the hint if the resource does not exist.
    """
    kind = {**_BY_OUTCOME, Outcome.FAILED: failed, Outcome.TIMEOUT: timeout}[verdict.outcome]
    if kind is FireworksNotFound:
        return kind(_with_hint(message, not_found))
    timeout_hint = EXECUTION_TIMEOUT_HINT if kind is AirflowTaskTimeout else SENSOR_TIMEOUT_HINT
    return kind(_with_hint(message, getattr(kind, "hint", timeout_hint)))


def error_from_api(error: ApiError, message: str, *, hint: str | None = None) -> FireworksError:
    """
    Return the exception that a task raises for a failed request that it does not send again.

    :param message: what failed, and why.
    :param hint: instead of the exception's own.
    """
    kind = next((kind for each, kind in _BY_API_ERROR.items() if isinstance(error, each)), FireworksError)
    if error.misdirected:
        kind = FireworksUnreachable
    return kind(_with_hint(message, hint or kind.hint))


def add_to_message(error: BaseException, sentence: str) -> None:
    """Append a sentence to an exception's message, so that alerts show it too."""
    error.args = (f"{error} {sentence}".strip(), *error.args[1:])


def _with_hint(message: str, hint: str) -> str:
    return f"{sentence(message, limit=_MESSAGE_LIMIT - len(hint) - 2)} {hint}"
