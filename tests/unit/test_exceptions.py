from __future__ import annotations

import pickle
import re

import pytest
from airflow.providers.common.compat.sdk import (
    AirflowException,
    AirflowFailException,
    AirflowSensorTimeout,
)

from airflow_provider_fireworks import exceptions
from airflow_provider_fireworks.client import errors
from airflow_provider_fireworks.exceptions import (
    NEVER_SKIPPED,
    FireworksAccessDenied,
    FireworksBadConnection,
    FireworksDeploymentConflict,
    FireworksDeploymentFailed,
    FireworksDeploymentNotReady,
    FireworksError,
    FireworksFinalError,
    FireworksInvalidArgument,
    FireworksInvalidEvent,
    FireworksModelNotReady,
    FireworksNotFound,
    FireworksPreparationFailed,
    FireworksQuotaExceeded,
    FireworksRefused,
    FireworksTimeout,
    FireworksUnreachable,
    error_from_api,
    error_from_verdict,
)
from airflow_provider_fireworks.polling import Outcome, Verdict

BAD_ENDS = [outcome for outcome in Outcome if outcome not in (Outcome.PENDING, Outcome.READY)]
TABLE = [
    # exception, retried, skipped where a sensor may be
    (FireworksInvalidArgument, False, False),
    (FireworksBadConnection, False, False),
    (FireworksUnreachable, True, False),
    (FireworksAccessDenied, False, False),
    (FireworksRefused, False, False),
    (FireworksNotFound, False, True),
    (FireworksModelNotReady, False, True),
    (FireworksPreparationFailed, True, True),
    (FireworksDeploymentNotReady, False, True),
    (FireworksDeploymentFailed, True, True),
    (FireworksDeploymentConflict, False, True),
    (FireworksQuotaExceeded, True, True),
    (FireworksTimeout, True, True),
    (FireworksInvalidEvent, True, False),
    (AirflowSensorTimeout, False, True),
]
OF_VERDICTS = {
    Outcome.FAILED: FireworksPreparationFailed,
    Outcome.TIMEOUT: FireworksTimeout,
    Outcome.ACCESS_DENIED: FireworksAccessDenied,
    Outcome.NOT_FOUND: FireworksNotFound,
    Outcome.REFUSED: FireworksRefused,
    Outcome.BAD_CONNECTION: FireworksBadConnection,
    Outcome.UNREACHABLE: FireworksUnreachable,
}


def raised(outcome: Outcome) -> AirflowException:
    ends = {"failed": FireworksPreparationFailed, "timeout": FireworksTimeout}
    return error_from_verdict(Verdict(outcome, "r"), "waited in vain", **ends)


@pytest.mark.parametrize(
    ("kind", "retried", "skipped"), TABLE, ids=lambda value: getattr(value, "__name__", value)
)
def test_what_airflow_does_with_each(kind, retried, skipped):
    final = issubclass(kind, (AirflowFailException, AirflowSensorTimeout))
    assert final is not retried
    assert issubclass(kind, NEVER_SKIPPED) is not skipped
    assert issubclass(kind, AirflowException)


def test_the_table_has_every_exception_of_a_task():
    all_of_them = {
        value
        for value in vars(exceptions).values()
        if isinstance(value, type) and issubclass(value, FireworksError)
    }
    in_table = {kind for kind, _, _ in TABLE}
    assert all_of_them - {FireworksError, FireworksFinalError} == in_table - {AirflowSensorTimeout}


@pytest.mark.parametrize("outcome", BAD_ENDS)
def test_every_bad_end_of_a_wait_has_an_exception(outcome):
    assert type(raised(outcome)) is OF_VERDICTS[outcome]
    assert str(raised(outcome)) == f"waited in vain. {OF_VERDICTS[outcome].hint}"


def test_a_sensor_that_ran_out_of_time_says_what_to_do_too():
    ends = {"failed": FireworksModelNotReady, "timeout": AirflowSensorTimeout}
    assert str(error_from_verdict(Verdict(Outcome.TIMEOUT, "r"), "waited in vain.", **ends)) == (
        f"waited in vain. {exceptions.SENSOR_TIMED_OUT}"
    )


@pytest.mark.parametrize(
    "kind", sorted({kind for kind, _, _ in TABLE} - {AirflowSensorTimeout}, key=lambda kind: kind.__name__)
)
def test_each_has_one_sentence_of_its_own_on_what_to_do(kind):
    assert re.fullmatch(r"[A-Z][^.]+\.", kind.hint)
    assert "hint" in vars(kind)


@pytest.mark.parametrize("outcome", [Outcome.PENDING, Outcome.READY])
def test_what_is_no_bad_end_has_none(outcome):
    with pytest.raises(KeyError):
        raised(outcome)


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (
            errors.QuotaExceededError("in use: 16, quota: 16, requesting: 4", status=429),
            FireworksQuotaExceeded,
        ),
        (errors.AccessDeniedError("bad key", status=403), FireworksAccessDenied),
        (errors.NotFoundError("resource not found", status=404), FireworksNotFound),
        (errors.RefusedError("bad request", status=400), FireworksRefused),
        (errors.ApiError("the list does not end"), FireworksError),
    ],
)
def test_a_call_that_is_refused_has_an_exception(error, kind):
    told = error_from_api(error, "could not be done")
    assert type(told) is kind
    assert str(told) == f"could not be done. {kind.hint}"


def test_an_invalid_argument_is_a_value_error():
    assert issubclass(FireworksInvalidArgument, ValueError)


@pytest.mark.parametrize("kind", [kind for kind, _, _ in TABLE], ids=lambda kind: kind.__name__)
def test_each_survives_being_pickled(kind):
    same = pickle.loads(pickle.dumps(kind("told")))
    assert (type(same), str(same)) == (kind, "told")


@pytest.mark.parametrize(
    "name",
    [
        name
        for name, value in vars(errors).items()
        if isinstance(value, type) and issubclass(value, errors.ApiError)
    ],
)
def test_those_of_the_hook_can_be_imported_from_here_and_know_nothing_of_airflow(name):
    kind = getattr(exceptions, name)
    assert kind is getattr(errors, name)
    assert not issubclass(kind, AirflowException)


@pytest.mark.parametrize("outcome", BAD_ENDS)
def test_a_message_is_one_printable_line_that_ends_with_what_to_do(outcome):
    ends = {"failed": FireworksPreparationFailed, "timeout": AirflowSensorTimeout}
    told = str(error_from_verdict(Verdict(outcome, "r"), "waited\n\x1b[31m\ud800" + "x" * 1_000_000, **ends))
    assert told.isprintable()
    assert len(told) <= 4000
    assert re.search(r"x… [A-Z].+\.$", told)


def test_what_a_template_was_rendered_to_makes_no_second_line_either():
    told = str(FireworksInvalidArgument("model: a\r\nb\x1b[31m" + "x" * 1_000_000))
    assert told.startswith("model: a b [31mx")
    assert told.isprintable()
    assert len(told) <= 4000
