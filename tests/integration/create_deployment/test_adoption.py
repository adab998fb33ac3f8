"""Deployments that the create operator adopts, undeletes or replaces: those of earlier tries and of earlier runs."""

from __future__ import annotations

import pytest

from airflow_provider_fireworks import exceptions
from airflow_provider_fireworks.deployments.ownership import Owner
from airflow_provider_fireworks.hooks.fireworks import FireworksHook
from tests.integration.conftest import TaskInstance, run_task
from tests.integration.creating import (
    NAME,
    OWNER,
    UNKNOWN_OUTCOMES,
    costs_nothing,
    count_changes,
    count_creates,
    create_by_hand,
    fault_id,
    make_task,
    second_try,
    shown,
)

BEFORE_OR_AFTER = pytest.mark.parametrize("after_work", [False, True], ids=["before", "after"])


# ---- an earlier try's


def test_create_retry_adopts_deployment(emulator, create):
    emulator.configure(deploy_duration=0.3)
    create(wait_for_completion=False)
    assert create(second_try()) == {"deployment": NAME}
    assert create(second_try()) == {"deployment": NAME}
    assert (count_creates(emulator), count_changes(emulator)) == (1, 0)


def test_create_adopts_its_deployment_if_first_read_is_404(emulator, create):
    create_by_hand(emulator, description=OWNER.description)
    emulator.fault("status", status=404, method="GET", path="/deployments/")
    create()
    assert (count_creates(emulator), count_changes(emulator), emulator.creations) == (1, 0, [])


# ---- an earlier run's


@pytest.mark.parametrize("runs", [{"first": "success"}, {"first": "failed"}, {}], ids=str)
def test_create_adopts_deployment_of_earlier_run(emulator, create, runs):
    create(TaskInstance(run_id="first"), deployment_id="shared")
    emulator.clear()
    second = TaskInstance(run_id="second", runs=runs)
    assert create(second, deployment_id="shared") == {"deployment": "accounts/demo/deployments/shared"}
    signed = Owner.from_description(shown(emulator, "shared")["description"])
    assert signed == Owner.from_context({"ti": second})
    assert (count_creates(emulator), count_changes(emulator)) == (0, 1)


@BEFORE_OR_AFTER
def test_create_adopts_over_lost_response(emulator, create, after_work):
    create(TaskInstance(run_id="first"), deployment_id="shared")
    emulator.fault("drop", method="PATCH", after_work=after_work)
    create(TaskInstance(run_id="second"), deployment_id="shared")
    assert Owner.from_description(shown(emulator, "shared")["description"]).run_id == "second"


@pytest.mark.parametrize("deferrable", [False, True], ids=["worker", "deferrable"])
def test_create_that_fails_keeps_what_earlier_run_created(emulator, deferrable):
    emulator.configure(deploy_duration=60)
    run_task(lambda: make_task(deployment_id="kept", wait_for_completion=False), TaskInstance(run_id="first"))
    later = TaskInstance(run_id="second", runs={"first": "success", "second": "running"})
    for try_number in (1, 2):
        later.try_number = try_number
        with pytest.raises(exceptions.FireworksTimeout):
            run_task(lambda: make_task(deployment_id="kept", timeout=0.3, deferrable=deferrable), later)
    assert shown(emulator, "kept")["state"] == "CREATING"
    assert emulator.count("DELETE") == 0


def test_create_deletes_what_it_undeleted_but_could_not_sign(emulator, create):
    create(TaskInstance(run_id="first"), deployment_id="shared")
    FireworksHook().delete_deployment("shared")
    emulator.fault("status", status=400, method="PATCH")
    with pytest.raises(exceptions.FireworksRefused):
        create(TaskInstance(run_id="second"), deployment_id="shared")
    assert costs_nothing(emulator)


# ---- softly deleted


@pytest.mark.parametrize("deleted_get", ["deleted", "not_found"])
def test_create_undeletes_its_deployment(emulator, create, deleted_get):
    emulator.configure(deleted_get=deleted_get)
    create_by_hand(emulator, description=OWNER.description)
    FireworksHook().delete_deployment(OWNER.deployment_id)
    emulator.clear()
    assert create(second_try()) == {"deployment": NAME}
    assert shown(emulator)["state"] == "READY"
    assert (emulator.count("POST", ":undelete"), emulator.count("DELETE"), emulator.creations) == (1, 0, [])


@BEFORE_OR_AFTER
@pytest.mark.parametrize("fault", UNKNOWN_OUTCOMES[:2], ids=fault_id)
def test_create_undeletes_over_lost_response(emulator, create, fault, after_work):
    create_by_hand(emulator, description=OWNER.description)
    FireworksHook().delete_deployment(OWNER.deployment_id)
    emulator.fault(**fault, method="POST", path=":undelete", after_work=after_work)
    create(second_try())
    assert shown(emulator)["state"] == "READY"
    assert emulator.creations == []


def test_create_replaces_deleted_deployment_of_other_arguments(fp8_emulator, create):
    create_by_hand(fp8_emulator, description=OWNER.description, precision="FP8")
    FireworksHook().delete_deployment(OWNER.deployment_id)
    create(second_try())
    assert shown(fp8_emulator)["precision"] == "FP16"
    assert len(fp8_emulator.creations) == 1


def test_create_without_quota_to_undelete_leaves_it_to_retry(emulator, create):
    create_by_hand(emulator, description=OWNER.description)
    FireworksHook().delete_deployment(OWNER.deployment_id)
    emulator.configure(gpu_quota=0)
    with pytest.raises(exceptions.FireworksQuotaExceeded):
        create(second_try())
    assert shown(emulator)["state"] == "DELETED"
    emulator.configure(gpu_quota=1)
    create(second_try())
    assert shown(emulator)["state"] == "READY"


# ---- being deleted


@pytest.mark.parametrize(
    ("hard", "created", "undeleted"), [(False, 0, 1), (True, 1, 0)], ids=["softly", "for good"]
)
def test_create_waits_until_its_deployment_is_deleted(emulator, create, hard, created, undeleted):
    emulator.configure(delete_duration=0.2)
    create_by_hand(emulator, description=OWNER.description)
    FireworksHook().delete_deployment(OWNER.deployment_id, hard=hard)
    create(second_try())
    assert shown(emulator)["state"] == "READY"
    assert (len(emulator.creations), emulator.count("POST", ":undelete")) == (created, undeleted)


def test_create_times_out_while_its_deployment_is_deleted(emulator, create):
    create_by_hand(emulator, description=OWNER.description)
    emulator.set_deployment(OWNER.deployment_id, state="DELETING")
    with pytest.raises(exceptions.FireworksTimeout, match="being deleted"):
        create(second_try(), timeout=0.4)
    assert count_creates(emulator) == 0


# ---- failed


@pytest.mark.parametrize("waits", [False, True], ids=["not waiting", "waiting"])
def test_create_replaces_its_failed_deployment(emulator, create, waits):
    create_by_hand(emulator, description=OWNER.description)
    emulator.set_deployment(OWNER.deployment_id, state="FAILED")
    create(second_try(), wait_for_completion=waits)
    (delete,) = [request for request in emulator.requests if request.method == "DELETE"]
    assert delete.query["hard"] == "true"
    assert len(emulator.creations) == 1
    assert shown(emulator)["state"] == ("READY" if waits else "CREATING")


@BEFORE_OR_AFTER
def test_create_replaces_failed_deployment_over_lost_response(emulator, create, after_work):
    create_by_hand(emulator, description=OWNER.description)
    emulator.set_deployment(OWNER.deployment_id, state="FAILED")
    emulator.fault("drop", method="DELETE", after_work=after_work)
    create(second_try())
    assert len(emulator.creations) == 1
