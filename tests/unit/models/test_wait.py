from __future__ import annotations

import json

import pytest
from pydantic import ValidationError

from airflow_provider_fireworks.client.errors import (
    AccessDeniedError,
    NotFoundError,
    RefusedError,
    UnavailableError,
)
from airflow_provider_fireworks.client.resources import Status
from airflow_provider_fireworks.models.readiness import IDLE_POLLS, Baseline
from airflow_provider_fireworks.models.wait import ModelWait
from airflow_provider_fireworks.polling import Outcome
from tests.unit.models.examples import EMPTY_LISTS, ERROR, LISTS, OK, model

NAME = "accounts/demo/models/my-model"
NOW = 1_750_000_000.0
LISTED = model(supported_precisions=["FP8"])
TRANSIENT = UnavailableError("bad gateway", status=502)
NOT_FOUND = NotFoundError("resource not found", status=404)
REQUESTED = Baseline.of(model()).after_request("accepted", NOW)


def new_wait(**fields) -> ModelWait:
    return ModelWait(
        **{"model": NAME, "precision": "FP8", "deadline": NOW + 7200, "poll_interval": 30} | fields
    )


def resumed(wait: ModelWait) -> ModelWait:
    """Return the wait as it continues elsewhere."""
    return ModelWait.model_validate(json.loads(json.dumps(wait.to_arguments())))


def test_model_wait_reads_model():
    request = new_wait().next_request()
    assert str(request) == f"GET /v1/{NAME}"
    assert not request.writes


# What is read: (the result, outcome until ready, until idle, until there is a response)
POLLS = {
    "listed": (LISTED, "ready", "ready", "ready"),
    "not listed": (model(**LISTS), "pending", "ready", "ready"),
    "PREPARING": (model("PREPARING", **LISTS), "pending", "pending", "ready"),
    "PREPARING, listed": (model("PREPARING", supported_precisions=["FP8"]), "ready", "ready", "ready"),
    "UPLOADING": (model("UPLOADING"), "pending", "pending", "ready"),
    "UPLOADING, listed": (model("UPLOADING", supported_precisions=["FP8"]), "pending", "pending", "ready"),
    "unknown state": (model("NEW", **LISTS), "pending", "pending", "ready"),
    "no state": (model(None, **LISTS), "pending", "pending", "ready"),
    "no lists": (model(), "failed", "pending", "ready"),
    "FAILED": (model("FAILED", **LISTS), "failed", "ready", "ready"),
    "401": (AccessDeniedError("bad key", status=401), *["access_denied"] * 3),
    "404": (NOT_FOUND, *["not_found"] * 3),
    "400": (RefusedError("bad request", status=400), *["refused"] * 3),
    "502": (TRANSIENT, *["pending"] * 3),
}


@pytest.mark.parametrize(("result", "ready", "idle", "response"), POLLS.values(), ids=POLLS)
def test_model_wait_judges_first_poll(result, ready, idle, response):
    for until, expected in (("ready", ready), ("idle", idle), ("response", response)):
        verdict = new_wait(until=until).observe(result, NOW)
        assert verdict.outcome.value == expected, until
        assert verdict.precision == ("FP8" if (until, expected) == ("ready", "ready") else None)


@pytest.mark.parametrize("baseline", [Baseline.of(model()), None], ids=["baseline", "polled before"])
def test_model_wait_fails_if_model_seen_before_is_deleted(baseline):
    wait = new_wait(baseline=baseline)
    if baseline is None:
        wait.observe(model(**LISTS), NOW)
    verdict = wait.observe(NOT_FOUND, NOW)
    assert verdict.outcome is Outcome.FAILED
    assert "deleted" in verdict.reason
    assert "resource not found" in verdict.reason


def test_model_wait_hands_its_fields_to_judge_model():
    accepted = model(supported_precisions=["FP8_V2"])
    assert new_wait(accept=["FP8_V2"]).observe(accepted, NOW).precision == "FP8_V2"
    late = NOW + 1000
    assert new_wait(baseline=REQUESTED).observe(model(), late).inferred
    required = new_wait(baseline=REQUESTED, require_confirmation=True)
    assert required.observe(model(), late).outcome is Outcome.FAILED


def test_model_wait_until_idle_ends_early_if_accepted_precision_is_listed():
    read = model("PREPARING", supported_precisions=["FP8_V2"])
    assert new_wait(until="idle").observe(read, NOW).outcome is Outcome.PENDING
    assert new_wait(until="idle", accept=["FP8_V2"]).observe(read, NOW).outcome is Outcome.READY


@pytest.mark.parametrize("fields", [{}, EMPTY_LISTS], ids=["no lists", "empty lists"])
@pytest.mark.parametrize("state", ["READY", "FAILED"])
def test_model_wait_until_idle_without_lists_takes_some_polls(fields, state):
    wait = new_wait(until="idle")
    reads = [state, state, "PREPARING", *[state] * IDLE_POLLS]
    outcomes = [wait.observe(model(each, **fields), NOW).outcome for each in reads]
    assert outcomes == [*[Outcome.PENDING] * (len(reads) - 1), Outcome.READY]


def test_model_wait_keeps_history_of_its_polls():
    wait = new_wait(baseline=REQUESTED)
    outcomes = [
        wait.observe(result, NOW + at).outcome
        for at, result in enumerate([model(), model("PREPARING"), TRANSIENT, model()])
    ]
    assert outcomes == [Outcome.PENDING, Outcome.PENDING, Outcome.PENDING, Outcome.READY]


def test_model_wait_names_its_goal_and_subject():
    wait = new_wait()
    assert wait.goal == f"{NAME} to be ready at FP8"
    verdict = wait.observe(TRANSIENT, NOW)
    assert wait.log_line(verdict, NOW + 3600) == "my-model at FP8: HTTP 502: bad gateway. 1:00:00 left."


# ---- over a deferral


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"until": "idle", "accept": ["FP8_V2"], "require_confirmation": True},
        {"exponential": True, "max_interval": 600.0, "precision": "FP4"},
        {"baseline": Baseline.of(model(status=ERROR)).after_request("accepted", NOW)},
    ],
    ids=["minimal", "idle", "exponential", "baseline"],
)
def test_model_wait_survives_json(fields):
    wait = new_wait(**fields)
    assert resumed(wait) == wait


def test_model_wait_keeps_given_baseline():
    wait = new_wait(baseline=REQUESTED)
    wait.observe(model("PREPARING"), NOW)
    assert resumed(wait).baseline == REQUESTED


def test_deferred_model_wait_notices_new_error():
    wait = new_wait()
    wait.observe(TRANSIENT, NOW)
    wait.observe(model(status=OK, **LISTS), NOW)
    wait.observe(model("PREPARING", **LISTS), NOW)
    elsewhere = resumed(wait)
    assert elsewhere.history == wait.history
    failed = elsewhere.observe(model(status=ERROR, **LISTS), NOW)
    assert failed.outcome is Outcome.FAILED
    assert "no GPU" in failed.reason


def test_deferred_model_wait_ignores_old_error():
    stale = model(status=Status(code="INTERNAL", message="old"), **LISTS)
    wait = new_wait()
    wait.observe(stale, NOW)
    elsewhere = resumed(wait)
    assert [elsewhere.observe(stale, NOW + at).outcome for at in (1, 1000)] == [Outcome.PENDING] * 2


def test_deferred_model_wait_infers_from_preparation_seen_before():
    wait = new_wait(baseline=REQUESTED)
    wait.observe(model("PREPARING"), NOW + 1)
    verdict = resumed(wait).observe(model(), NOW + 2)
    assert (verdict.outcome, verdict.inferred) == (Outcome.READY, True)


def test_model_wait_with_bare_id_is_invalid():
    with pytest.raises(ValidationError, match="needs an account"):
        new_wait(model="my-model")
