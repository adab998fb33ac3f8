from __future__ import annotations

import pytest
from hypothesis import given, strategies as st

from airflow_provider_fireworks.client.resources import Deployment, ReplicaStats, Status
from airflow_provider_fireworks.deployments.readiness import judge_deployment
from airflow_provider_fireworks.polling import Outcome

PENDING, READY, FAILED = Outcome.PENDING, Outcome.READY, Outcome.FAILED
BAD = Status(code="INTERNAL", message="no capacity")
GONE = ["DELETING", "DELETED"]
ON_ITS_WAY = ["CREATING", "UPDATING", "STATE_UNSPECIFIED", "SOMETHING_NEW", "ready", "", None]


def deployment(state: str | None = "READY", **fields) -> Deployment:
    return Deployment(state=state, **fields)


def with_ready(count: int | None, **stages: int) -> ReplicaStats:
    return ReplicaStats(ready_replica_count=count, **stages)


@pytest.mark.parametrize("replica_count", [None, 0, 1], ids=lambda count: f"wanted {count}")
@pytest.mark.parametrize("replicas", [None, 0, 1], ids=lambda count: f"has {count}")
@pytest.mark.parametrize("status", [None, Status(code="OK"), BAD], ids=["unset", "OK", "bad"])
@pytest.mark.parametrize(
    ("state", "outcome"),
    [
        *((state, FAILED) for state in [*GONE, "FAILED"]),
        *((state, PENDING) for state in ON_ITS_WAY),
    ],
)
def test_any_state_but_ready_decides_alone(state, outcome, status, replicas, replica_count):
    read = deployment(state, status=status, replica_stats=with_ready(replicas), replica_count=replicas)
    assert judge_deployment(read, replica_count=replica_count).outcome is outcome


ROWS = {
    # READY with: (replicas in the stats, replicaCount, wanted, outcome)
    "any number": (2, 2, None, READY),
    "none, and any number will do": (0, 0, None, READY),
    "none is told, and any number will do": (None, None, None, READY),
    "fewer": (1, 2, 2, PENDING),
    "none yet": (0, 1, 1, PENDING),
    "none at all": (0, 0, 1, PENDING),
    "just as many": (2, 2, 2, READY),
    "more, by the autoscaler": (3, 3, 2, READY),
    "none is told, and some are wanted": (None, None, 2, READY),
    "without stats, fewer": (None, 1, 2, PENDING),
    "without stats, as many": (None, 2, 2, READY),
    "to zero, some are ready": (1, 1, 0, PENDING),
    "to zero, none is ready but one is there": (0, 1, 0, PENDING),
    "to zero, none is ready and replicaCount unset": (0, None, 0, READY),
    "to zero, none is there": (0, 0, 0, READY),
    "to zero, without stats some are there": (None, 1, 0, PENDING),
    "to zero, without stats none is there": (None, 0, 0, READY),
    "to zero, none is told": (None, None, 0, READY),
}


@pytest.mark.parametrize("status", [None, BAD], ids=["status unset", "status bad"])
@pytest.mark.parametrize(("ready", "replicas", "wanted", "outcome"), ROWS.values(), ids=ROWS)
def test_a_ready_one_is_judged_by_its_replicas(ready, replicas, wanted, outcome, status):
    read = deployment(replica_stats=with_ready(ready), replica_count=replicas, status=status)
    assert judge_deployment(read, replica_count=wanted).outcome is outcome


@pytest.mark.parametrize("wanted", [None, 0, 1])
def test_a_404_means_deleted(wanted):
    verdict = judge_deployment(None, replica_count=wanted)
    assert verdict.outcome is FAILED
    assert "deleted" in verdict.reason


REASONS = {
    "deleted": (deployment("DELETED"), None, "its state is DELETED: it was deleted while it was waited for"),
    "failed": (
        deployment("FAILED", status=BAD),
        None,
        "its state is FAILED, with the status INTERNAL: no capacity",
    ),
    "failed, with no status": (deployment("FAILED"), None, "its state is FAILED, with the status OK"),
    "unset": (deployment(None), None, "its state is unset"),
    "empty": (deployment(""), None, "its state is unset"),
    "never heard of": (deployment("NEW"), None, "its state is NEW"),
    "on its way": (
        deployment("CREATING", replica_stats=with_ready(0, downloading_model_replica_count=2)),
        None,
        "its state is CREATING (replicas: 2 downloading the model)",
    ),
    "too few": (
        deployment(replica_stats=with_ready(1, initializing_replica_count=1)),
        2,
        "its state is READY (replicas: 1 initializing, 1 ready), not with 2 yet",
    ),
    "at zero": (deployment(replica_count=0), None, "scaled to zero: the first request wakes it"),
    "ready": (deployment(replica_stats=with_ready(1)), None, "its state is READY (replicas: 1 ready)"),
}


@pytest.mark.parametrize(("read", "wanted", "told"), REASONS.values(), ids=REASONS)
def test_the_reason_says_what_was_read(read, wanted, told):
    assert judge_deployment(read, replica_count=wanted).reason.endswith(told)


def test_replicas_on_their_way_are_not_told_as_scaled_to_zero():
    read = deployment(replica_stats=with_ready(0, initializing_replica_count=1), replica_count=1)
    assert "scaled to zero" not in judge_deployment(read).reason


@given(
    state=st.none() | st.text() | st.sampled_from(["READY", "FAILED", "DELETED", *filter(None, ON_ITS_WAY)]),
    ready=st.none() | st.integers(0, 5),
    replicas=st.none() | st.integers(0, 5),
    wanted=st.none() | st.integers(0, 5),
)
def test_only_ready_is_ready_and_only_what_is_gone_has_failed(state, ready, replicas, wanted):
    read = deployment(state, replica_stats=with_ready(ready), replica_count=replicas)
    verdict = judge_deployment(read, replica_count=wanted)
    assert verdict.reason
    assert (verdict.outcome is FAILED) is (state in [*GONE, "FAILED"])
    if verdict.outcome is READY:
        assert state == "READY"
