from __future__ import annotations

import json
import re

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
from airflow_provider_fireworks.models.wait import ModelWait, UploadWait
from airflow_provider_fireworks.polling import Outcome
from airflow_provider_fireworks.timing import DEFAULT_TIMING
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


# ---- until an upload is validated

LANDING = RefusedError("config.json not found", status=400, code="FAILED_PRECONDITION")
INVALID = RefusedError("unsupported architecture", status=400, code="INVALID_ARGUMENT")


def new_upload_wait(**fields) -> UploadWait:
    return UploadWait(**{"model": NAME, "deadline": NOW + 7200, "poll_interval": 30} | fields)


# What validation returns, what is read then: the outcome, and a part of its reason.
UPLOADED = {
    "validated": ([], model("READY"), "ready", "its state is READY"),
    "validated with warnings": (["odd", "old"], model("READY"), "ready", "with warnings: odd; old"),
    "not READY yet": ([], model("UPLOADING"), "pending", "it is validated; its state is UPLOADING"),
    "no state": ([], model(None), "pending", "its state is unset"),
    "landing": (LANDING, model("UPLOADING"), "pending", "not validated: .*config.json not found"),
    "landing, 409": (RefusedError("busy", status=409), model("UPLOADING"), "pending", "busy"),
    "invalid": (INVALID, model("UPLOADING"), "refused", "unsupported architecture"),
    "validated before": (INVALID, model("READY"), "ready", "its state is READY"),
    "validated before, landing": (LANDING, model("READY"), "ready", "its state is READY"),
    "FAILED": (INVALID, model("FAILED", status=ERROR), "failed", "INTERNAL: no GPU; .*unsupported"),
    "deleted": ([], NOT_FOUND, "failed", "it was deleted"),
    "denied": ([], AccessDeniedError("bad key", status=401), "access_denied", "bad key"),
    "unavailable": ([], TRANSIENT, "pending", "bad gateway"),
}


@pytest.mark.parametrize(("validation", "read", "outcome", "reason"), UPLOADED.values(), ids=UPLOADED)
def test_upload_wait_judges_validation_and_model(validation, read, outcome, reason):
    wait = new_upload_wait()
    assert str(wait.next_request()) == f"GET /v1/{NAME}:validateUpload"
    assert wait.observe(validation, NOW).outcome is Outcome.PENDING
    assert wait.is_mid_poll
    assert wait.next_delay(NOW) == 0
    assert str(wait.next_request()) == f"GET /v1/{NAME}"
    verdict = wait.observe(read, NOW)
    assert verdict.outcome.value == outcome
    assert re.search(reason, verdict.reason)
    assert not wait.is_mid_poll
    assert wait.next_delay(NOW) >= 30


@pytest.mark.parametrize(
    ("error", "outcome"),
    [
        (TRANSIENT, "pending"),
        (NOT_FOUND, "failed"),
        (AccessDeniedError("bad key", status=403), "access_denied"),
    ],
)
def test_upload_wait_reads_no_model_after_other_errors_of_validation(error, outcome):
    wait = new_upload_wait()
    assert wait.observe(error, NOW).outcome.value == outcome
    assert not wait.is_mid_poll


def validation_outcome(wait: UploadWait, error: RefusedError, at: float) -> str:
    """Let the wait poll once, and return what it concludes about a model that is UPLOADING."""
    wait.observe(error, NOW + at)
    return wait.observe(model("UPLOADING"), NOW + at).outcome.value


def test_upload_wait_is_refused_if_validation_is_in_the_same_words_for_long():
    lag = DEFAULT_TIMING.validation_lag
    wait = new_upload_wait()
    assert validation_outcome(wait, LANDING, 0) == "pending"
    wait.observe(TRANSIENT, NOW + lag - 2)
    assert validation_outcome(wait, LANDING, lag - 1) == "pending"
    elsewhere = UploadWait.model_validate(json.loads(json.dumps(wait.to_arguments())))
    assert validation_outcome(elsewhere, LANDING, lag) == "refused"


def test_upload_wait_continues_while_the_words_of_the_api_change():
    lag = DEFAULT_TIMING.validation_lag
    wait = new_upload_wait()
    other = RefusedError("model.safetensors not found", status=400, code="FAILED_PRECONDITION")
    for at, error in ((0, LANDING), (lag, other), (2 * lag - 1, other), (2 * lag, LANDING)):
        assert validation_outcome(wait, error, at) == "pending"


def test_upload_wait_continues_elsewhere():
    wait = UploadWait.model_validate(
        json.loads(json.dumps(new_upload_wait(trust_remote_code=True).to_arguments()))
    )
    assert wait.next_request().query == {"trustRemoteCode": "true"}


@pytest.mark.parametrize("result", [model("UPLOADING"), NOT_FOUND], ids=["model", "404"])
def test_upload_wait_for_a_response_never_validates(result):
    wait = new_upload_wait(until="response")
    assert str(wait.next_request()) == f"GET /v1/{NAME}"
    assert wait.observe(result, NOW).outcome is Outcome.READY


def test_upload_wait_times_out_with_what_was_seen():
    wait = new_upload_wait(deadline=NOW)
    wait.observe(LANDING, NOW)
    verdict = wait.observe(model("UPLOADING"), NOW)
    assert verdict.outcome is Outcome.TIMEOUT
    assert "config.json not found" in verdict.reason
