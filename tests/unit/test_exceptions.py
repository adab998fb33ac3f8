"""The exceptions that tasks end with: what Airflow does with each, and which failure raises which."""

from __future__ import annotations

import pickle
import re
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import (
    AirflowException,
    AirflowFailException,
    AirflowSensorTimeout,
    AirflowTaskTimeout,
)

from airflow_provider_fireworks import exceptions
from airflow_provider_fireworks.client import errors
from airflow_provider_fireworks.exceptions import (
    EXECUTION_TIMEOUT_HINT,
    NEVER_SKIPPED,
    SENSOR_TIMEOUT_HINT,
    FireworksAccessDenied,
    FireworksBadConnection,
    FireworksCapacityUnavailable,
    FireworksDeploymentConflict,
    FireworksDeploymentFailed,
    FireworksDeploymentNotReady,
    FireworksError,
    FireworksFinalError,
    FireworksInvalidArgument,
    FireworksInvalidEvent,
    FireworksModelConflict,
    FireworksModelNotReady,
    FireworksNotFound,
    FireworksPreparationFailed,
    FireworksQuotaExceeded,
    FireworksRefused,
    FireworksRouterConflict,
    FireworksTimeout,
    FireworksUnreachable,
    FireworksUploadFailed,
    add_to_message,
    error_from_api,
    error_from_verdict,
)
from airflow_provider_fireworks.polling import Outcome, Verdict

# exception: (retried, skipped by soft_fail and never_fail)
TABLE = {
    FireworksInvalidArgument: (False, False),
    FireworksBadConnection: (False, False),
    FireworksUnreachable: (True, False),
    FireworksAccessDenied: (False, False),
    FireworksRefused: (False, False),
    FireworksNotFound: (False, True),
    FireworksModelNotReady: (False, True),
    FireworksPreparationFailed: (True, True),
    FireworksDeploymentNotReady: (False, True),
    FireworksDeploymentFailed: (True, True),
    FireworksDeploymentConflict: (False, True),
    FireworksModelConflict: (False, True),
    FireworksUploadFailed: (True, True),
    FireworksRouterConflict: (False, True),
    FireworksQuotaExceeded: (True, True),
    FireworksCapacityUnavailable: (True, True),
    FireworksTimeout: (True, True),
    FireworksInvalidEvent: (True, False),
}
BY_OUTCOME = {
    Outcome.FAILED: FireworksPreparationFailed,
    Outcome.TIMEOUT: FireworksTimeout,
    Outcome.ACCESS_DENIED: FireworksAccessDenied,
    Outcome.NOT_FOUND: FireworksNotFound,
    Outcome.REFUSED: FireworksRefused,
    Outcome.NO_CAPACITY: FireworksCapacityUnavailable,
    Outcome.CONFLICT: FireworksRouterConflict,
    Outcome.BAD_CONNECTION: FireworksBadConnection,
    Outcome.UNREACHABLE: FireworksUnreachable,
}


def error_for(outcome: Outcome, message: str = "waited for m", **options: Any) -> BaseException:
    options = {"failed": FireworksPreparationFailed, "timeout": FireworksTimeout} | options
    return error_from_verdict(Verdict(outcome, "r"), message, **options)


def name_of(value: Any) -> str:
    return getattr(value, "__name__", None) or str(value)


@pytest.mark.parametrize(("kind", "retried", "skipped"), [(k, *row) for k, row in TABLE.items()], ids=name_of)
def test_exception_is_retried_and_skipped_as_in_the_table(kind, retried, skipped):
    assert issubclass(kind, AirflowException)
    assert issubclass(kind, AirflowFailException) is not retried
    assert issubclass(kind, NEVER_SKIPPED) is not skipped


def test_table_has_every_exception_of_a_task():
    bases = {FireworksError, FireworksFinalError}
    found = {
        value
        for value in vars(exceptions).values()
        if isinstance(value, type) and issubclass(value, FireworksError)
    }
    assert found - bases == TABLE.keys()


@pytest.mark.parametrize("kind", TABLE, ids=name_of)
def test_exception_has_a_hint_of_its_own(kind):
    assert re.fullmatch(r"[A-Z][^.]+\.( [A-Z][^.]+\.)?", vars(kind)["hint"])


@pytest.mark.parametrize("kind", TABLE, ids=name_of)
def test_exception_survives_pickling(kind):
    copy = pickle.loads(pickle.dumps(kind("the message")))
    assert (type(copy), str(copy)) == (kind, "the message")


def test_invalid_argument_is_a_value_error():
    assert issubclass(FireworksInvalidArgument, ValueError)


@pytest.mark.parametrize(
    "name",
    [
        name
        for name, value in vars(errors).items()
        if isinstance(value, type) and issubclass(value, errors.ApiError)
    ],
)
def test_api_error_can_be_imported_and_is_not_one_of_airflow(name):
    kind = getattr(exceptions, name)
    assert kind is getattr(errors, name)
    assert not issubclass(kind, AirflowException)


# Waits


def test_every_outcome_but_pending_and_ready_has_an_exception():
    assert BY_OUTCOME.keys() == set(Outcome) - {Outcome.PENDING, Outcome.READY}


@pytest.mark.parametrize("outcome", BY_OUTCOME)
def test_verdict_raises_its_exception_with_its_hint(outcome):
    error = error_for(outcome)
    assert type(error) is BY_OUTCOME[outcome]
    assert str(error) == f"waited for m. {BY_OUTCOME[outcome].hint}"


@pytest.mark.parametrize(
    ("kind", "hint"),
    [(AirflowSensorTimeout, SENSOR_TIMEOUT_HINT), (AirflowTaskTimeout, EXECUTION_TIMEOUT_HINT)],
    ids=name_of,
)
def test_timeout_of_airflow_has_a_hint_too(kind, hint):
    error = error_for(Outcome.TIMEOUT, "waited for m.", timeout=kind)
    assert (type(error), str(error)) == (kind, f"waited for m. {hint}")


def test_not_found_takes_another_hint():
    error = error_for(Outcome.NOT_FOUND, not_found="Check it.")
    assert (type(error), str(error)) == (FireworksNotFound, "waited for m. Check it.")


@pytest.mark.parametrize("outcome", [Outcome.PENDING, Outcome.READY])
def test_verdict_that_is_no_failure_is_a_key_error(outcome):
    with pytest.raises(KeyError):
        error_for(outcome)


def test_invalid_event_says_why():
    error = FireworksInvalidEvent.because("no verdict")
    assert str(error) == f"The trigger's event is invalid: no verdict. {FireworksInvalidEvent.hint}"


# Failed requests


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (errors.QuotaExceededError("in use: 16, quota: 16", status=429), FireworksQuotaExceeded),
        (errors.AccessDeniedError("bad key", status=403), FireworksAccessDenied),
        (errors.NotFoundError("resource not found", status=404), FireworksNotFound),
        (errors.RefusedError("bad request", status=400), FireworksRefused),
        (errors.UnavailableError("down", status=503), FireworksError),
        (errors.UnavailableError("an HTML page", status=404, misdirected=True), FireworksUnreachable),
        (errors.ApiError("the list does not end"), FireworksError),
    ],
    ids=name_of,
)
def test_failed_request_raises_its_exception_with_its_hint(error, kind):
    raised = error_from_api(error, "could not be done")
    assert type(raised) is kind
    assert str(raised) == f"could not be done. {kind.hint}"


# Messages


@pytest.mark.parametrize("outcome", BY_OUTCOME)
def test_message_is_one_printable_line_that_ends_with_the_hint(outcome):
    error = error_for(outcome, "waited\n\x1b[31m\ud800" + "x" * 1_000_000, timeout=AirflowSensorTimeout)
    hint = getattr(error, "hint", SENSOR_TIMEOUT_HINT)
    assert str(error).isprintable()
    assert len(str(error)) <= 4000
    assert str(error).endswith(f"x… {hint}")


def test_message_with_a_rendered_template_is_one_printable_line():
    message = str(FireworksInvalidArgument("model: a\r\nb\x1b[31m" + "x" * 1_000_000))
    assert message.startswith("model: a b [31mx")
    assert message.isprintable()
    assert len(message) <= 4000


@pytest.mark.parametrize(
    "error", [FireworksTimeout("It failed."), KeyError("It failed."), OSError()], ids=repr
)
def test_add_to_message_keeps_what_the_exception_said(error):
    before = str(error)
    add_to_message(error, "d may exist.")
    assert "d may exist." in str(error)
    assert before.strip("'") in str(error)
