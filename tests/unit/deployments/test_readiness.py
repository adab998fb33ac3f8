"""The decision table of :func:`judge_deployment`."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, strategies as st

from airflow_provider_fireworks.client.resources import Deployment, ReplicaStats, Status
from airflow_provider_fireworks.deployments.readiness import judge_deployment
from airflow_provider_fireworks.polling import Outcome

PENDING, READY, FAILED = Outcome.PENDING, Outcome.READY, Outcome.FAILED
ERROR = Status(code="INTERNAL", message="no capacity")
DELETED = ["DELETING", "DELETED"]
NOT_READY = ["CREATING", "UPDATING", "STATE_UNSPECIFIED", "SOMETHING_NEW", "ready", "", None]


def deployment(state: str | None = "READY", **fields: Any) -> Deployment:
    return Deployment(state=state, **fields)


def stats(ready: int | None, **stages: int) -> ReplicaStats:
    return ReplicaStats(ready_replica_count=ready, **stages)


@pytest.mark.parametrize("replica_count", [None, 0, 1], ids=lambda count: f"requested {count}")
@pytest.mark.parametrize("replicas", [None, 0, 1], ids=lambda count: f"has {count}")
@pytest.mark.parametrize("status", [None, Status(code="OK"), ERROR], ids=["unset", "OK", "error"])
@pytest.mark.parametrize(
    ("state", "outcome"),
    [
        *((state, FAILED) for state in [*DELETED, "FAILED"]),
        *((state, PENDING) for state in NOT_READY),
    ],
)
def test_state_other_than_ready_decides_alone(state, outcome, status, replicas, replica_count):
    read = deployment(state, status=status, replica_stats=stats(replicas), replica_count=replicas)
    assert judge_deployment(read, replica_count=replica_count).outcome is outcome


ROWS: dict[str, tuple[int | None, int | None, int | None, Outcome]] = {
    # Of a READY deployment: ready replicas in the stats, replicaCount, the requested replicas → the outcome.
    "any number, some ready": (2, 2, None, READY),
    "any number, none ready": (0, 0, None, READY),
    "any number, no counts": (None, None, None, READY),
    "fewer": (1, 2, 2, PENDING),
    "none ready": (0, 1, 1, PENDING),
    "none": (0, 0, 1, PENDING),
    "as many": (2, 2, 2, READY),
    "more, by the autoscaler": (3, 3, 2, READY),
    "no counts": (None, None, 2, READY),
    "no stats, fewer": (None, 1, 2, PENDING),
    "no stats, as many": (None, 2, 2, READY),
    "to zero, one ready": (1, 1, 0, PENDING),
    "to zero, one not ready": (0, 1, 0, PENDING),
    "to zero, none ready, replicaCount unset": (0, None, 0, READY),
    "to zero, none": (0, 0, 0, READY),
    "to zero, no stats, one": (None, 1, 0, PENDING),
    "to zero, no stats, none": (None, 0, 0, READY),
    "to zero, no counts": (None, None, 0, READY),
}


@pytest.mark.parametrize("status", [None, ERROR], ids=["status unset", "status error"])
@pytest.mark.parametrize(("ready", "replicas", "requested", "outcome"), ROWS.values(), ids=ROWS)
def test_ready_deployment_is_judged_by_its_replicas(ready, replicas, requested, outcome, status):
    read = deployment(replica_stats=stats(ready), replica_count=replicas, status=status)
    assert judge_deployment(read, replica_count=requested).outcome is outcome


@pytest.mark.parametrize("requested", [None, 0, 1])
def test_missing_deployment_was_deleted(requested):
    verdict = judge_deployment(None, replica_count=requested)
    assert verdict.outcome is FAILED
    assert "deleted" in verdict.reason


REASONS = {
    "deleted": (deployment("DELETED"), None, "its state is DELETED: it was deleted while it was waited for"),
    "failed": (
        deployment("FAILED", status=ERROR),
        None,
        "its state is FAILED, with the status INTERNAL: no capacity",
    ),
    "failed, without a status": (deployment("FAILED"), None, "its state is FAILED, with the status OK"),
    "unset": (deployment(None), None, "its state is unset"),
    "empty": (deployment(""), None, "its state is unset"),
    "unknown": (deployment("NEW"), None, "its state is NEW"),
    "starting": (
        deployment("CREATING", replica_stats=stats(0, downloading_model_replica_count=2)),
        None,
        "its state is CREATING (replicas: 2 downloading the model)",
    ),
    "too few replicas": (
        deployment(replica_stats=stats(1, initializing_replica_count=1)),
        2,
        "its state is READY (replicas: 1 initializing, 1 ready), but not with 2 yet",
    ),
    "scaled to zero": (deployment(replica_count=0), None, "scaled to zero: the first request wakes it"),
    "ready": (deployment(replica_stats=stats(1)), None, "its state is READY (replicas: 1 ready)"),
}


@pytest.mark.parametrize(("read", "requested", "reason"), REASONS.values(), ids=REASONS)
def test_reason_says_what_was_read(read, requested, reason):
    assert judge_deployment(read, replica_count=requested).reason.endswith(reason)


def test_reason_with_starting_replica_is_not_scaled_to_zero():
    read = deployment(replica_stats=stats(0, initializing_replica_count=1), replica_count=1)
    assert "scaled to zero" not in judge_deployment(read).reason


@given(
    state=st.none() | st.text() | st.sampled_from(["READY", "FAILED", "DELETED", *filter(None, NOT_READY)]),
    ready=st.none() | st.integers(0, 5),
    replicas=st.none() | st.integers(0, 5),
    requested=st.none() | st.integers(0, 5),
)
def test_outcome_is_ready_or_failed_only_in_these_states(state, ready, replicas, requested):
    read = deployment(state, replica_stats=stats(ready), replica_count=replicas)
    verdict = judge_deployment(read, replica_count=requested)
    assert verdict.reason
    assert (verdict.outcome is FAILED) is (state in [*DELETED, "FAILED"])
    if verdict.outcome is READY:
        assert state == "READY"
