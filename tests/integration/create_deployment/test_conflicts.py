"""Deployments that the create operator must leave alone: somebody else's, and its own with other arguments."""

from __future__ import annotations

import pytest
from airflow.providers.common.compat.sdk import AirflowFailException

from airflow_provider_fireworks import exceptions
from airflow_provider_fireworks.deployments.ownership import Owner
from airflow_provider_fireworks.hooks.fireworks import FireworksHook
from tests.integration.conftest import TaskInstance
from tests.integration.creating import (
    OWNER,
    count_changes,
    count_creates,
    create_by_hand,
    second_try,
    shown,
)


def description_of(instance: TaskInstance) -> str:
    return Owner.from_context({"ti": instance}).description


FOREIGN = {
    "by hand": "Do not touch!",
    "another task": description_of(TaskInstance("other")),
    "another DAG": description_of(TaskInstance(dag_id="other_dag")),
}


@pytest.mark.parametrize("description", FOREIGN.values(), ids=FOREIGN)
@pytest.mark.parametrize("state", ["CREATING", "READY", "FAILED", "DELETING", "DELETED"])
def test_create_leaves_foreign_deployment_alone(emulator, create, description, state):
    emulator.configure(deploy_duration=600)
    create_by_hand(emulator, description=description)
    emulator.set_deployment(OWNER.deployment_id, state=state)
    before = shown(emulator)
    with pytest.raises(exceptions.FireworksDeploymentConflict, match="left alone") as failure:
        create(second_try())
    assert isinstance(failure.value, AirflowFailException)
    assert shown(emulator) == before
    assert (count_creates(emulator), count_changes(emulator)) == (0, 0)


@pytest.mark.parametrize("is_deleted", [False, True], ids=["existing", "deleted"])
def test_create_leaves_foreign_deployment_alone_if_read_is_404(emulator, create, is_deleted):
    emulator.configure(deleted_get="not_found")
    create_by_hand(emulator, description="Do not touch!")
    if is_deleted:
        FireworksHook().delete_deployment(OWNER.deployment_id)
        emulator.clear()
    else:
        emulator.fault("status", status=404, method="GET", path="/deployments/")
    with pytest.raises(exceptions.FireworksDeploymentConflict):
        create()
    assert (count_creates(emulator), count_changes(emulator)) == (1, 0)


def test_create_leaves_other_tasks_deployment_alone_and_names_it(emulator, create):
    create(TaskInstance("first"), deployment_id="shared")
    before = shown(emulator, "shared")
    emulator.clear()
    with pytest.raises(
        exceptions.FireworksDeploymentConflict,
        match=r"shared .*task first of DAG my_dag.* omit deployment_id",
    ):
        create(TaskInstance("second"), deployment_id="shared")
    assert shown(emulator, "shared") == before
    assert (count_creates(emulator), count_changes(emulator)) == (0, 0)


@pytest.mark.parametrize("state", ["queued", "running"])
def test_create_leaves_deployment_of_active_run_alone(emulator, create, state):
    create(TaskInstance(run_id="first"), deployment_id="shared")
    before = shown(emulator, "shared")
    emulator.clear()
    with pytest.raises(exceptions.FireworksDeploymentConflict, match="run first, which has not ended"):
        create(TaskInstance(run_id="second", runs={"first": state}), deployment_id="shared")
    assert shown(emulator, "shared") == before
    assert (count_creates(emulator), count_changes(emulator)) == (0, 0)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"precision": "FP8"}, "precision FP16 → FP8"),
        ({"model": "my-other-model", "precision": None}, "base_model .*my-model → .*my-other-model"),
    ],
    ids=str,
)
def test_create_leaves_its_deployment_of_other_arguments_alone(fp8_emulator, create, changed, message):
    create()
    before = shown(fp8_emulator)
    fp8_emulator.clear()
    with pytest.raises(exceptions.FireworksDeploymentConflict, match=message):
        create(second_try(), **changed)
    assert shown(fp8_emulator) == before
    assert (count_creates(fp8_emulator), count_changes(fp8_emulator)) == (0, 0)


def test_create_whose_id_stays_taken_times_out_and_says_so(emulator, create):
    emulator.fault("status", status=409, times=-1, method="POST", path="/deployments")
    with pytest.raises(exceptions.FireworksTimeout, match="its id is taken"):
        create(timeout=0.5)
    assert count_creates(emulator) < 12
    assert count_changes(emulator) == 0
