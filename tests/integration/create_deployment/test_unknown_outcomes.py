"""Transient errors, lost responses and deployments that are visible late: the create operator never creates two."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest

from airflow_provider_fireworks import exceptions
from airflow_provider_fireworks.hooks.fireworks import FireworksHook
from tests.integration.conftest import TaskInstance, run_task
from tests.integration.creating import (
    NAME,
    OWNER,
    UNKNOWN_OUTCOMES,
    act_when,
    costs_nothing,
    count_changes,
    count_creates,
    fault_id,
    make_task,
    shown,
)

# ---- transient errors


@pytest.mark.parametrize("path", ["/deployments/", "/models/", ""])
def test_create_continues_over_transient_errors_of_reads(emulator, create, path):
    emulator.fault("status", times=5, method="GET", path=path)
    create()
    assert len(emulator.creations) == 1


def test_create_waits_out_rate_limit(emulator, create):
    emulator.fault("status", status=429, times=4, method="POST", path="/deployments")
    create()
    assert len(emulator.creations) == 1


@pytest.mark.parametrize("path", ["/deployments/", "/models/"])
def test_create_whose_reads_never_succeed_times_out(emulator, create, path):
    emulator.fault("status", times=-1, method="GET", path=path)
    with pytest.raises(exceptions.FireworksTimeout):
        create(timeout=0.5)
    assert count_creates(emulator) == 0


@pytest.mark.parametrize("fault", [UNKNOWN_OUTCOMES[1], {"kind": "html", "status": 403}], ids=fault_id)
def test_create_without_response_times_out(emulator, create, fault):
    emulator.fault(**fault, times=-1, method="POST", path="/deployments")
    # Clears the fault after too many requests, so that the test ends in any case.
    with (
        act_when(lambda: count_creates(emulator) > 40, emulator.clear_faults),
        pytest.raises(exceptions.FireworksTimeout),
    ):
        create(timeout=0.6)
    assert count_creates(emulator) < 20
    assert emulator.creations == []


# ---- lost responses


@pytest.mark.parametrize(
    ("after_work", "lag"),
    [(False, 0), (True, 0), (True, 0.2)],
    ids=["before", "after", "after, visible late"],
)
@pytest.mark.parametrize("fault", UNKNOWN_OUTCOMES, ids=fault_id)
def test_create_after_lost_response_creates_one(emulator, create, fault, after_work, lag):
    emulator.configure(create_lag=lag)
    emulator.fault(**fault, method="POST", path="/deployments", after_work=after_work)
    assert create() == {"deployment": NAME}
    assert len(emulator.creations) == 1
    assert emulator.deployments_left == [NAME]
    assert count_changes(emulator) == 0


def test_create_after_lost_response_ignores_other_spelling(emulator, create):
    emulator.fault("drop", method="POST", path="/deployments", after_work=True)
    with act_when(
        lambda: emulator.creations,
        lambda: emulator.set_deployment(OWNER.deployment_id, precision="FP16_V2"),
    ):
        create()
    assert shown(emulator)["state"] == "READY"
    assert len(emulator.creations) == 1


def test_create_by_two_workers_at_once_creates_one(emulator):
    emulator.fault("slow", times=2, method="GET", path="/models/", delay=0.2)
    with ThreadPoolExecutor(2) as pool:
        results = list(pool.map(lambda _: make_task().execute({"ti": TaskInstance()}), range(2)))
    assert results == [{"deployment": NAME}] * 2
    assert (count_creates(emulator), len(emulator.creations)) == (2, 1)


# ---- visible late


def test_create_waits_until_deployment_is_visible(emulator, create):
    emulator.configure(create_lag=0.2)
    create()
    assert count_creates(emulator) == len(emulator.creations) == 1


def test_create_without_waiting_returns_only_when_visible(emulator, create):
    emulator.configure(create_lag=0.3, deploy_duration=60)
    result = create(wait_for_completion=False)
    assert FireworksHook().get_deployment(result["deployment"]).state == "CREATING"
    assert count_creates(emulator) == len(emulator.creations) == 1


@pytest.mark.parametrize("waits", [False, True], ids=["not waiting", "waiting"])
def test_create_of_deployment_never_visible_fails_and_cleans_up(emulator, create, waits):
    emulator.configure(create_lag=1.0)
    with pytest.raises(exceptions.FireworksDeploymentFailed, match="has not shown it"):
        create(wait_for_completion=waits)
    assert count_creates(emulator) == 1
    assert costs_nothing(emulator)


@pytest.mark.parametrize("method", ["DELETE", "PATCH"])
def test_create_paces_writes_that_have_no_effect(emulator, create, method):
    run_task(lambda: make_task(deployment_id="kept"), TaskInstance(run_id="first"))
    later = TaskInstance(run_id="second", runs={"first": "failed", "second": "running"})
    if method == "DELETE":
        emulator.set_deployment("kept", state="FAILED")
    # A success of the API's that changes nothing.
    emulator.fault("status", status=200, method=method, times=-1)
    with pytest.raises(exceptions.FireworksError):
        create(later, timeout=0.5, deployment_id="kept")
    assert emulator.count(method) < 30
