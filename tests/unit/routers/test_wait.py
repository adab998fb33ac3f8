from __future__ import annotations

import json
from typing import Any

import pytest

from airflow_provider_fireworks.client.errors import AccessDeniedError, NotFoundError, UnavailableError
from airflow_provider_fireworks.client.resources import Router, Status
from airflow_provider_fireworks.polling import Outcome
from airflow_provider_fireworks.routers.wait import RouterWait

NAME = "accounts/demo/routers/r"
A, B = (f"accounts/demo/deployments/{name}" for name in "ab")
MARK = "airflow 0123456789ab"
ROUTE = {"router": NAME, "deployments": [A], "strategy": "evenLoad", "mark": MARK}
NOW = 1_750_000_000.0
NOT_FOUND = NotFoundError("resource not found", status=404)


def new_wait(**fields: Any) -> RouterWait:
    given = {"route": ROUTE, "visible_by": NOW + 30, "deadline": NOW + 600, "poll_interval": 5}
    return RouterWait(**given | fields)


def router(state: str | None = "READY", deployment: str = A, **fields: Any) -> Router:
    return Router(
        **{"state": state, "deployments": [deployment], "display_name": MARK, "even_load": {}} | fields
    )


def test_router_wait_polls_the_router():
    request = new_wait().next_request()
    assert str(request) == f"GET /v1/{NAME}"
    assert not request.writes
    assert new_wait().goal == f"{NAME} to be ready"


def test_router_wait_continues_elsewhere():
    wait = new_wait()
    assert RouterWait.model_validate(json.loads(json.dumps(wait.to_arguments()))) == wait


@pytest.mark.parametrize(
    ("found", "outcome", "reason"),
    [
        (router(), Outcome.READY, "its state is READY"),
        (router("UPDATING"), Outcome.PENDING, "its state is UPDATING"),
        (router("CREATING"), Outcome.PENDING, "its state is CREATING"),
        (router("NEW"), Outcome.PENDING, "its state is NEW"),
        (router(None), Outcome.PENDING, "its state is unset"),
        (
            router("UPDATING", status=Status(code="INTERNAL", message="no")),
            Outcome.PENDING,
            "with the status INTERNAL: no",
        ),
        (router("DELETING"), Outcome.FAILED, "it was deleted while it was waited for"),
        (router(display_name="renamed"), Outcome.READY, "its state is READY"),
        (router("READY", B), Outcome.PENDING, "its state is READY, but it routes to b"),
        (router("UPDATING", B), Outcome.PENDING, "its state is UPDATING, but it routes to b"),
    ],
)
def test_verdict_follows_from_the_router(found, outcome, reason):
    verdict = new_wait().observe(found, NOW)
    assert verdict.outcome is outcome
    assert reason in verdict.reason


@pytest.mark.parametrize(
    ("found", "after", "outcome"),
    [
        (router("READY", B), 29, Outcome.PENDING),
        (router("READY", B), 31, Outcome.CONFLICT),
        (router("READY", B, display_name="renamed"), 31, Outcome.CONFLICT),
        (router("UPDATING", B), 31, Outcome.PENDING),
        (router("READY", A), 31, Outcome.READY),
    ],
)
def test_router_that_was_changed_by_another_run_is_a_conflict(found, after, outcome):
    verdict = new_wait().observe(found, NOW + after)
    assert verdict.outcome is outcome
    if outcome is Outcome.CONFLICT:
        assert verdict.reason.endswith("READY, but it routes to b: another run or task has changed it since")


def test_router_that_is_not_found_may_be_invisible_at_first():
    wait = new_wait()
    assert wait.observe(NOT_FOUND, NOW + 29).outcome is Outcome.PENDING
    assert wait.observe(NOT_FOUND, NOW + 31).outcome is Outcome.FAILED


def test_transient_error_is_pending_and_refusal_is_final():
    assert new_wait().observe(UnavailableError("x", status=503), NOW).outcome is Outcome.PENDING
    assert new_wait().observe(AccessDeniedError("x", status=403), NOW).outcome is Outcome.ACCESS_DENIED


def test_wait_times_out_with_what_was_last_seen():
    verdict = new_wait().observe(router("UPDATING"), NOW + 600)
    assert (verdict.outcome, verdict.reason) == (Outcome.TIMEOUT, "last seen: its state is UPDATING")
