"""What a create task does with a deployment that it created with other arguments: in a retry, in a later run."""

from __future__ import annotations

from typing import Any

import pytest

from airflow_provider_fireworks import exceptions
from airflow_provider_fireworks.deployments.ownership import Owner
from tests.integration.conftest import TaskInstance, run_task
from tests.integration.creating import (
    NAME,
    OWNER,
    count_changes,
    create_by_hand,
    make_task,
    second_try,
    shown,
)

BOTH_WAYS = pytest.mark.parametrize("deferrable", [False, True], ids=["worker", "deferrable"])


def deploy(instance: TaskInstance | None = None, **arguments: Any) -> dict[str, Any]:
    return run_task(lambda: make_task(**arguments), instance)


def updates(emulator: Any) -> list[dict[str, Any]]:
    return [request.body for request in emulator.requests if request.method == "PATCH"]


# ---- updated in place


@BOTH_WAYS
def test_create_updates_changed_fields_once(emulator, deferrable, caplog, capsys):
    deploy(max_replica_count=1)
    changed = {
        "max_replica_count": 4,
        "display_name": "mine",
        "extra_spec": {"autoscalingPolicy": {"scaleToZeroWindow": "600s"}},
        "deferrable": deferrable,
    }
    assert deploy(second_try(), **changed) == {"deployment": NAME}
    updated = shown(emulator)
    assert (updated["maxReplicaCount"], updated["displayName"]) == (4, "mine")
    assert updated["autoscalingPolicy"]["scaleToZeroWindow"] == "600s"
    assert Owner.from_description(updated["description"]) == OWNER
    assert "max_replica_count 1 → 4" in caplog.text + capsys.readouterr().out
    assert len(emulator.creations) == len(updates(emulator)) == 1
    # Nothing has changed since.
    assert deploy(second_try(), **changed) == {"deployment": NAME}
    assert len(updates(emulator)) == 1


def test_create_does_not_update_fields_changed_by_hand(emulator):
    deploy(max_replica_count=2)
    emulator.set_deployment(OWNER.deployment_id, minReplicaCount=3, maxReplicaCount=8)
    deploy(second_try(), max_replica_count=2, display_name="mine")
    updated = shown(emulator)
    assert updated["displayName"] == "mine"
    assert (updated["minReplicaCount"], updated["maxReplicaCount"]) == (3, 8)


@pytest.mark.parametrize("change", [{}, {"max_replica_count": 3}], ids=["unchanged", "updated"])
def test_create_adopts_deployment_whose_fields_api_spells_otherwise(emulator, change):
    arguments = {
        "precision": None,
        "deployment_shape": "default",
        "extra_spec": {"autoscalingPolicy": {"scaleToZeroWindow": "300s"}},
    }
    deploy(**arguments)
    emulator.set_deployment(
        OWNER.deployment_id,
        deploymentShape="accounts/fireworks/deploymentShapes/my-model-fp8",
        precision="FP8",
        autoscalingPolicy={"scaleToZeroWindow": "300.000s", "scaleUpWindow": "30s"},
    )
    assert deploy(second_try(), **arguments, **change) == {"deployment": NAME}
    assert len(updates(emulator)) == len(change)
    assert (len(emulator.creations), emulator.count("DELETE")) == (1, 0)


@BOTH_WAYS
def test_create_whose_update_is_refused_keeps_named_deployment(emulator, deferrable):
    deploy(deployment_id="stays")
    emulator.fault("status", status=400, code=9, method="PATCH", times=-1)
    with pytest.raises(exceptions.FireworksRefused, match="is kept, because it existed before") as failure:
        deploy(second_try(), deployment_id="stays", max_replica_count=3, deferrable=deferrable)
    assert "IT MAY COST MONEY" in str(failure.value)
    assert emulator.deployments_left == ["accounts/demo/deployments/stays"]
    assert emulator.count("DELETE") == 0


# ---- conflicts and replacements


def test_create_conflict_names_only_fields_that_cannot_be_updated(emulator):
    deploy(accelerator_count=1)
    before = shown(emulator)
    message = (
        r"may cost money, but these arguments have changed and cannot be updated: accelerator_count 1 → 2"
    )
    with pytest.raises(exceptions.FireworksDeploymentConflict, match=message) as failure:
        deploy(second_try(), accelerator_count=2, max_replica_count=4)
    assert "max_replica_count" not in str(failure.value)
    assert shown(emulator) == before
    assert count_changes(emulator) == 0


def test_create_in_conflict_with_its_own_deployment_pushes_its_name(emulator):
    deploy(accelerator_count=1)
    instance = second_try()
    with pytest.raises(exceptions.FireworksDeploymentConflict):
        deploy(instance, accelerator_count=2)
    assert instance.xcoms["deployment"] == NAME


def test_create_replaces_its_deployment_if_not_ready_yet(emulator):
    emulator.configure(deploy_duration=0.5)
    deploy(accelerator_count=1, wait_for_completion=False)
    assert deploy(second_try(), accelerator_count=2) == {"deployment": NAME}
    assert shown(emulator)["acceleratorCount"] == 2
    assert (len(emulator.creations), emulator.deployments_left) == (2, [NAME])


def test_create_without_digest_compares_fields_set_on_both_sides(emulator):
    # An earlier version of this package signed without a digest.
    signature = Owner(OWNER.dag_id, OWNER.run_id, OWNER.task_id, airflow=OWNER.airflow).description
    create_by_hand(emulator, description=signature, acceleratorCount=1, maxReplicaCount=2)
    assert deploy(second_try()) == {"deployment": NAME}
    with pytest.raises(exceptions.FireworksDeploymentConflict, match="accelerator_count 1 → 2"):
        deploy(second_try(), accelerator_count=2)


# ---- a later run


def later_run() -> TaskInstance:
    """Return the task in a run after the one that created the deployment, which has ended."""
    return TaskInstance(run_id="later", runs={OWNER.run_id: "success", "later": "running"})


def test_create_in_later_run_updates_named_deployment(fp8_emulator):
    deploy(deployment_id="stays", max_replica_count=1)
    deploy(later_run(), deployment_id="stays", max_replica_count=2)
    updated = shown(fp8_emulator, "stays")
    signed = Owner.from_description(updated["description"])
    assert updated["maxReplicaCount"] == 2
    assert (signed.run_id, signed.kept, signed.named) == ("later", True, True)
    assert len(updates(fp8_emulator)) == 1
    with pytest.raises(exceptions.FireworksDeploymentConflict, match="precision FP16 → FP8"):
        deploy(later_run(), deployment_id="stays", max_replica_count=2, precision="FP8")
