from __future__ import annotations

import json

import pytest
from pydantic import ValidationError

from airflow_provider_fireworks.client.errors import (
    AccessDeniedError,
    ConnectError,
    NoResponseError,
    NotFoundError,
    QuotaExceededError,
    RateLimitedError,
    RefusedError,
    UnavailableError,
)
from airflow_provider_fireworks.client.resources import Deployment, ReplicaStats, Status
from airflow_provider_fireworks.deployments.wait import DeploymentWait
from airflow_provider_fireworks.polling import Outcome, Until

NAME = "accounts/demo/deployments/d"
MODEL = "accounts/demo/models/my-model"
NOW = 1_750_000_000.0
NOT_FOUND = NotFoundError("resource not found", status=404)
SCALING_UP = UnavailableError("scaling up from zero", status=503, code="DEPLOYMENT_SCALING_UP")
NO_CHAT = RefusedError("this model has no chat completions", status=400)
NO_QUOTA = QuotaExceededError("no GPUs left", status=429)
DENIED = AccessDeniedError("bad key", status=403)
TRANSIENT = [
    ConnectError("refused"),
    NoResponseError("cut off"),
    UnavailableError("bad gateway", status=502),
    RateLimitedError("slow down", status=429),
]


def new_wait(**fields) -> DeploymentWait:
    return DeploymentWait(**{"deployment": NAME, "deadline": NOW + 3600, "poll_interval": 15} | fields)


def resumed(wait: DeploymentWait) -> DeploymentWait:
    """Return the wait as it continues elsewhere."""
    return DeploymentWait.model_validate(json.loads(json.dumps(wait.to_arguments())))


def deployment(state: str | None = "READY", ready: int | None = 1, **fields) -> Deployment:
    stats = ReplicaStats(ready_replica_count=ready)
    return Deployment(**{"name": NAME, "base_model": MODEL, "state": state, "replica_stats": stats} | fields)


NO_CAPACITY = deployment("CREATING", ready=0, status=Status(code="RESOURCE_EXHAUSTED", message="no GPUs"))


@pytest.mark.parametrize("until", [Until.READY, Until.INFERENCE, Until.RESPONSE])
def test_deployment_wait_reads_deployment_first(until):
    request = new_wait(until=until).next_request()
    assert str(request) == f"GET /v1/{NAME}"
    assert not request.writes


# What is read: (the result, outcome until ready, until inference answers, until there is a response)
POLLS = {
    "READY": (deployment(), "ready", "mid-poll", "ready"),
    "scaled to zero": (deployment(ready=0), "ready", "mid-poll", "ready"),
    "CREATING": (deployment("CREATING", ready=0), "pending", "pending", "ready"),
    "CREATING, may serve": (deployment("CREATING"), "pending", "mid-poll", "ready"),
    "UPDATING": (deployment("UPDATING", ready=0), "pending", "pending", "ready"),
    "unknown state": (deployment("NEW", ready=0), "pending", "pending", "ready"),
    "no state": (deployment(None, ready=0), "pending", "pending", "ready"),
    "no capacity": (NO_CAPACITY, "pending", "pending", "ready"),
    "FAILED": (deployment("FAILED"), "failed", "failed", "ready"),
    "DELETING": (deployment("DELETING"), "failed", "failed", "ready"),
    "DELETED": (deployment("DELETED"), "failed", "failed", "ready"),
    "404": (NOT_FOUND, "not_found", "not_found", "ready"),
    "403": (DENIED, *["access_denied"] * 3),
    "400": (RefusedError("no", status=400), *["refused"] * 3),
    "no quota": (NO_QUOTA, *["refused"] * 3),
    **{type(error).__name__: (error, *["pending"] * 3) for error in TRANSIENT},
}


@pytest.mark.parametrize(("result", "ready", "inference", "response"), POLLS.values(), ids=POLLS)
def test_deployment_wait_judges_first_poll(result, ready, inference, response):
    for until, expected in (("ready", ready), ("inference", inference), ("response", response)):
        wait = new_wait(until=until)
        verdict = wait.observe(result, NOW)
        assert verdict.outcome.value == ("pending" if expected == "mid-poll" else expected), until
        assert wait.is_mid_poll is (expected == "mid-poll")
        if isinstance(result, Exception) and until != "response":
            assert str(result) in verdict.reason


def test_deployment_wait_judges_requested_replicas():
    wait = new_wait(replica_count=2)
    outcomes = [
        wait.observe(result, NOW).outcome
        for result in (deployment(), deployment("UPDATING", ready=2), deployment(ready=2))
    ]
    assert outcomes == [Outcome.PENDING, Outcome.PENDING, Outcome.READY]


# A 404: (fields of the wait, when, outcome, words of the reason)
MISSING = {
    "at first poll": ({}, NOW, Outcome.NOT_FOUND, "resource not found"),
    "known": ({"known": True}, NOW, Outcome.FAILED, "deleted"),
    "created just now": ({"visible_by": NOW + 30}, NOW, Outcome.PENDING, "is not visible yet"),
    "created earlier": ({"visible_by": NOW}, NOW, Outcome.NOT_FOUND, "resource not found"),
    "created just now, known": ({"known": True, "visible_by": NOW + 30}, NOW, Outcome.FAILED, "deleted"),
    "created just now, at deadline": (
        {"visible_by": NOW + 30, "deadline": NOW}, NOW, Outcome.TIMEOUT, "is not visible yet",
    ),
}  # fmt: skip


@pytest.mark.parametrize("until", ["ready", "inference"])
@pytest.mark.parametrize(("fields", "now", "outcome", "words"), MISSING.values(), ids=MISSING)
def test_deployment_wait_judges_404(fields, now, outcome, words, until):
    verdict = new_wait(until=until, **fields).observe(NOT_FOUND, now)
    assert verdict.outcome is outcome
    assert words in verdict.reason
    assert "resource not found" in verdict.reason


@pytest.mark.parametrize("fields", [{}, {"visible_by": NOW + 30}], ids=str)
def test_deployment_wait_knows_deployment_it_has_read(fields):
    wait = new_wait(**fields)
    wait.observe(TRANSIENT[0], NOW)
    assert not wait.known
    wait.observe(deployment("CREATING"), NOW)
    elsewhere = resumed(wait)
    for each in (wait, elsewhere):
        assert each.observe(NOT_FOUND, NOW).outcome is Outcome.FAILED


@pytest.mark.parametrize(
    ("fields", "goal"),
    [
        ({}, f"{NAME} to be ready"),
        ({"until": "inference"}, f"inference of {NAME} to answer"),
        ({"replica_count": 0}, f"{NAME} to be ready with 0 replicas"),
        ({"until": "response", "replica_count": 2}, f"a response about {NAME}"),
    ],
    ids=str,
)
def test_deployment_wait_names_its_goal_and_subject(fields, goal):
    wait = new_wait(**fields)
    assert wait.goal == goal
    verdict = wait.observe(TRANSIENT[2], NOW)
    assert wait.log_line(verdict, NOW + 3500) == "d: HTTP 502: bad gateway. 0:01:40 left."


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"until": "inference", "known": True, "replica_count": 0},
        {"visible_by": NOW + 30, "exponential": True},
    ],
    ids=str,
)
def test_deployment_wait_survives_json(fields):
    wait = new_wait(**fields)
    assert resumed(wait) == wait


def test_deployment_wait_with_bare_id_is_invalid():
    with pytest.raises(ValidationError, match="needs an account"):
        new_wait(deployment="d")


# ---- the second request of a poll, to inference


def mid_poll(**fields) -> DeploymentWait:
    wait = new_wait(until="inference", **fields)
    assert wait.observe(deployment(), NOW).outcome is Outcome.PENDING
    assert wait.is_mid_poll
    return wait


def is_delayed(wait: DeploymentWait, seconds: float) -> bool:
    return all(seconds <= wait.next_delay(NOW) <= seconds * 1.1 for _ in range(30))


def test_inference_of_ready_deployment_is_requested_at_once():
    wait = mid_poll()
    request = wait.next_request()
    assert str(request) == "POST /inference/v1/chat/completions"
    assert request.body["model"] == f"{MODEL}#{NAME}"
    assert request.body["max_tokens"] == 1
    assert wait.next_delay(NOW) == 0


# What inference answers: (the result, outcome, words of the reason)
INFERENCE = {
    "success": (None, Outcome.READY, "inference answers"),
    "404": (NOT_FOUND, Outcome.PENDING, "inference does not answer yet"),
    "scaling up": (SCALING_UP, Outcome.PENDING, "DEPLOYMENT_SCALING_UP"),
    "no quota": (NO_QUOTA, Outcome.PENDING, "it cannot scale up yet"),
    "400": (NO_CHAT, Outcome.REFUSED, "without wait_for_inference"),
    "405": (RefusedError("no", status=405), Outcome.REFUSED, "without wait_for_inference"),
    "403": (DENIED, Outcome.ACCESS_DENIED, "bad key"),
    **{type(error).__name__: (error, Outcome.PENDING, error.message) for error in TRANSIENT},
}


@pytest.mark.parametrize(("result", "outcome", "words"), INFERENCE.values(), ids=INFERENCE)
def test_inference_response_is_judged_and_followed_by_read(result, outcome, words):
    wait = mid_poll()
    verdict = wait.observe(result, NOW)
    assert verdict.outcome is outcome
    assert words in verdict.reason
    assert not wait.is_mid_poll
    assert wait.next_request().method == "GET"


@pytest.mark.parametrize("result", [NOT_FOUND, SCALING_UP, NO_QUOTA], ids=["404", "scaling up", "no quota"])
def test_inference_not_answering_yet_does_not_back_off(result):
    wait = mid_poll(poll_interval=5)
    for _ in range(8):
        wait.observe(result, NOW)
        assert is_delayed(wait, 5)
        wait.observe(deployment(), NOW)
        assert wait.is_mid_poll


def test_inference_404_does_not_mean_deleted():
    wait = mid_poll(known=True)
    assert wait.observe(NOT_FOUND, NOW).outcome is Outcome.PENDING
    assert wait.observe(NOT_FOUND, NOW).outcome is Outcome.FAILED


def test_inference_rate_limit_delays_next_poll():
    wait = mid_poll(poll_interval=1)
    wait.observe(RateLimitedError("slow down", retry_after=40), NOW)
    assert is_delayed(wait, 40)


# A deployment that is not READY may serve, but for these.
NOT_SERVING = {
    "no ready replica": deployment("CREATING", ready=0),
    "no ready replica, UPDATING": deployment("UPDATING", ready=0),
    "no ready replica, unknown state": deployment("NEW", ready=0),
    "number of ready replicas unset": deployment("CREATING", ready=None),
    "no capacity": NO_CAPACITY,
    "no capacity, no counts": deployment("CREATING", replica_stats=None, status=NO_CAPACITY.status),
}


@pytest.mark.parametrize("read", NOT_SERVING.values(), ids=NOT_SERVING)
def test_inference_is_not_requested_before_replica_may_be_there(read):
    wait = new_wait(until="inference")
    wait.observe(read, NOW)
    assert not wait.is_mid_poll


@pytest.mark.parametrize("state", ["CREATING", "UPDATING", "NEW", None])
@pytest.mark.parametrize("stats", [ReplicaStats(ready_replica_count=1), None], ids=["counted", "not counted"])
def test_inference_that_answers_is_readiness_whatever_the_state(state, stats):
    wait = new_wait(until="inference")
    wait.observe(deployment(state, replica_stats=stats), NOW)
    assert wait.is_mid_poll
    assert wait.observe(None, NOW).outcome is Outcome.READY


@pytest.mark.parametrize("result", [NOT_FOUND, SCALING_UP, NO_QUOTA, NO_CHAT, DENIED, *TRANSIENT], ids=str)
def test_inference_that_does_not_answer_before_ready_is_pending(result):
    wait = new_wait(until="inference")
    wait.observe(deployment("CREATING"), NOW)
    verdict = wait.observe(result, NOW)
    assert verdict.outcome is Outcome.PENDING
    assert result.message in verdict.reason
    assert wait.next_request().method == "GET"


def test_inference_is_asked_for_the_two_names_in_turn():
    wait = mid_poll()
    asked = []
    for _ in range(3):
        asked.append(wait.next_request().body["model"])
        wait.observe(NOT_FOUND, NOW)
        wait.observe(deployment(), NOW)
    assert asked == [f"{MODEL}#{NAME}", NAME, f"{MODEL}#{NAME}"]
    verdict = wait.observe(None, NOW)
    assert (verdict.outcome, verdict.inference_model) == (Outcome.READY, NAME)


def test_inference_keeps_its_name_over_other_errors():
    wait = mid_poll()
    for result in (SCALING_UP, NO_QUOTA, TRANSIENT[2]):
        wait.observe(result, NOW)
        wait.observe(deployment(), NOW)
        assert wait.next_request().body["model"] == f"{MODEL}#{NAME}"


# ---- no capacity


def test_wait_quotes_missing_capacity_and_waits_for_it():
    wait = new_wait()
    verdict = wait.observe(NO_CAPACITY, NOW)
    assert verdict.outcome is Outcome.PENDING
    assert "RESOURCE_EXHAUSTED: no GPUs" in wait.log_line(verdict, NOW)
    late = wait.observe(NO_CAPACITY, NOW + 3600)
    assert late.outcome is Outcome.TIMEOUT
    assert "RESOURCE_EXHAUSTED: no GPUs" in late.reason


@pytest.mark.parametrize("until", ["ready", "inference"])
def test_wait_ends_after_capacity_timeout(until):
    wait = new_wait(until=until, capacity_timeout=100)
    assert wait.observe(NO_CAPACITY, NOW).outcome is Outcome.PENDING
    assert wait.next_delay(NOW + 95) == 5
    assert resumed(wait).observe(NO_CAPACITY, NOW + 99).outcome is Outcome.PENDING
    verdict = resumed(wait).observe(NO_CAPACITY, NOW + 100)
    assert verdict.outcome is Outcome.NO_CAPACITY
    assert "it has no capacity, and capacity_timeout of 100 s is over" in verdict.reason
    assert "RESOURCE_EXHAUSTED" in verdict.reason


def test_errors_after_capacity_timeout_back_off_as_ever():
    wait = new_wait(capacity_timeout=100)
    wait.observe(NO_CAPACITY, NOW)
    for error in (RateLimitedError("slow down", retry_after=40), UnavailableError("bad gateway", status=502)):
        wait.observe(error, NOW + 200)
        assert wait.next_delay(NOW + 200) >= 15
    assert wait.observe(NO_CAPACITY, NOW + 300).outcome is Outcome.NO_CAPACITY


def test_ready_replica_means_capacity_whatever_the_status():
    wait = new_wait(capacity_timeout=0, until="inference")
    wait.observe(deployment("CREATING", ready=1, status=NO_CAPACITY.status), NOW)
    assert wait.is_mid_poll


def test_inference_name_without_a_base_model_is_the_deployments():
    verdict = new_wait().observe(deployment(base_model=None), NOW)
    assert verdict.inference_model == NAME


def test_capacity_timeout_begins_again_after_capacity_was_there():
    wait = new_wait(capacity_timeout=100)
    reads = [(NO_CAPACITY, 0), (deployment("CREATING"), 90), (NO_CAPACITY, 110), (NO_CAPACITY, 209)]
    assert {wait.observe(read, NOW + at).outcome for read, at in reads} == {Outcome.PENDING}
    assert wait.observe(NO_CAPACITY, NOW + 210).outcome is Outcome.NO_CAPACITY


def test_inference_is_not_requested_before_replicas_are_ready():
    wait = new_wait(until="inference", replica_count=2)
    wait.observe(deployment(ready=1), NOW)
    assert not wait.is_mid_poll
    wait.observe(deployment(ready=2), NOW)
    assert wait.is_mid_poll


def test_inference_that_never_answers_ends_at_deadline():
    timeout = mid_poll().observe(NOT_FOUND, NOW + 3600)
    assert timeout.outcome is Outcome.TIMEOUT
    assert "inference does not answer yet" in timeout.reason


def test_inference_is_requested_once_more_after_deadline():
    wait = new_wait(until="inference")
    assert wait.observe(deployment(), NOW + 9999).outcome is Outcome.PENDING
    assert wait.observe(None, NOW + 9999).outcome is Outcome.READY


def test_mid_poll_logs_nothing():
    wait = new_wait(until="inference")
    assert wait.log_line(wait.observe(deployment(), NOW), NOW) is None
    assert "does not answer yet" in wait.log_line(wait.observe(NOT_FOUND, NOW), NOW)


def test_exponential_delay_counts_two_requests_as_one_poll():
    wait = new_wait(until="inference", exponential=True, poll_interval=10)
    for seconds in (10, 20, 40):
        wait.observe(deployment(), NOW)
        wait.observe(NOT_FOUND, NOW)
        assert is_delayed(wait, seconds)


def test_wait_resumed_mid_poll_reads_first():
    elsewhere = resumed(mid_poll())
    assert not elsewhere.is_mid_poll
    assert elsewhere.next_request().method == "GET"
