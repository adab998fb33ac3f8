"""The create operator with changed arguments, in a retry, after a clear, and in a later run; and what it pushes."""

from __future__ import annotations

from typing import Any

import pytest

from airflow_provider_fireworks import exceptions
from airflow_provider_fireworks.deployments.ownership import Owner
from airflow_provider_fireworks.hooks.fireworks import FireworksHook
from tests.integration.conftest import MODEL, TaskInstance, run_task
from tests.integration.creating import (
    NAME,
    OWNER,
    count_changes,
    create_by_hand,
    make_task,
    second_try,
    shown,
)


def create(instance: TaskInstance | None = None, **arguments: Any) -> dict[str, Any]:
    return run_task(lambda: make_task(**arguments), instance)


def updates(emulator: Any) -> list[dict[str, Any]]:
    """Return the bodies of all requests that update a deployment."""
    return [request.body for request in emulator.requests if request.method == "PATCH"]


@pytest.mark.parametrize("deferrable", [False, True])
def test_changed_limits_scaling_and_name_are_updated_in_place(emulator, deferrable, caplog, capsys):
    create(max_replica_count=1)
    policy = {"autoscalingPolicy": {"scaleToZeroWindow": "600s"}}
    changed = {"max_replica_count": 4, "display_name": "mine", "extra_spec": policy, "deferrable": deferrable}
    assert create(second_try(), **changed) == {"deployment": NAME}
    found = shown(emulator)
    assert (found["maxReplicaCount"], found["displayName"]) == (4, "mine")
    assert found["autoscalingPolicy"]["scaleToZeroWindow"] == "600s"
    assert Owner.from_description(found["description"]) == OWNER
    assert "max_replica_count 1 → 4" in caplog.text + capsys.readouterr().out
    assert len(emulator.creations) == len(updates(emulator)) == 1
    # Nothing has changed since.
    assert create(second_try(), **changed) == {"deployment": NAME}
    assert len(updates(emulator)) == 1


def test_change_that_cannot_be_updated_is_a_conflict_that_names_it(emulator):
    create(accelerator_count=1)
    before = shown(emulator)
    instance = second_try()
    words = r"may cost money, but these arguments have changed and cannot be updated: accelerator_count 1 → 2"
    with pytest.raises(exceptions.FireworksDeploymentConflict, match=words) as failure:
        create(instance, accelerator_count=2, max_replica_count=4)
    assert "max_replica_count" not in str(failure.value)
    assert shown(emulator) == before
    assert count_changes(emulator) == 0
    # It is the task's own deployment, so a task downstream may delete it.
    assert instance.xcoms["deployment"] == NAME


@pytest.mark.parametrize("deferrable", [False, True])
def test_refused_update_keeps_deployment_with_given_id(emulator, deferrable):
    named = {"deployment_id": "stays"}
    create(**named)
    emulator.fault("status", status=400, code=9, method="PATCH", times=-1)
    with pytest.raises(exceptions.FireworksRefused, match="is kept, because it existed before") as failure:
        create(second_try(), **named, max_replica_count=3, deferrable=deferrable)
    assert "IT MAY COST MONEY" in str(failure.value)
    assert emulator.deployments_left == ["accounts/demo/deployments/stays"]
    assert emulator.count("DELETE") == 0


def test_field_edited_by_hand_is_not_updated(emulator):
    create(max_replica_count=2)
    emulator.set_deployment(OWNER.deployment_id, minReplicaCount=3, maxReplicaCount=8)
    create(second_try(), max_replica_count=2, display_name="mine")
    found = shown(emulator)
    assert (found["displayName"], found["minReplicaCount"], found["maxReplicaCount"]) == ("mine", 3, 8)


def test_changed_deployment_of_this_run_still_creating_is_replaced(emulator):
    emulator.configure(deploy_duration=0.5)
    create(accelerator_count=1, wait_for_completion=False)
    assert create(second_try(), accelerator_count=2) == {"deployment": NAME}
    assert shown(emulator)["acceleratorCount"] == 2
    assert (len(emulator.creations), emulator.deployments_left) == (2, [NAME])


@pytest.mark.parametrize("change", [{}, {"max_replica_count": 3}], ids=["unchanged", "updated"])
def test_values_that_api_spells_differently_are_unchanged(emulator, change):
    arguments = {
        "precision": None,
        "deployment_shape": "default",
        "extra_spec": {"autoscalingPolicy": {"scaleToZeroWindow": "300s"}},
    }
    create(**arguments)
    emulator.set_deployment(
        OWNER.deployment_id,
        deploymentShape="accounts/fireworks/deploymentShapes/my-model-fp8",
        precision="FP8",
        autoscalingPolicy={"scaleToZeroWindow": "300.000s", "scaleUpWindow": "30s"},
    )
    assert create(second_try(), **arguments, **change) == {"deployment": NAME}
    assert len(updates(emulator)) == len(change)
    assert (len(emulator.creations), emulator.count("DELETE")) == (1, 0)


def test_signature_without_digest_compares_fields_of_both_sides(emulator):
    old = Owner(OWNER.dag_id, OWNER.run_id, OWNER.task_id, airflow=OWNER.airflow).description
    create_by_hand(emulator, description=old, acceleratorCount=1, maxReplicaCount=2)
    assert create(second_try()) == {"deployment": NAME}
    with pytest.raises(exceptions.FireworksDeploymentConflict, match="accelerator_count 1 → 2"):
        create(second_try(), accelerator_count=2)


def test_later_run_updates_deployment_with_given_id(emulator):
    runs = {OWNER.run_id: "success", "later": "running"}

    def create_later(**arguments: Any) -> None:
        create(
            TaskInstance(run_id="later", runs=runs), deployment_id="stays", max_replica_count=2, **arguments
        )

    create(deployment_id="stays", max_replica_count=1)
    create_later()
    found = shown(emulator, "stays")
    signed = Owner.from_description(found["description"])
    assert found["maxReplicaCount"] == 2
    assert (signed.run_id, signed.kept, signed.named) == ("later", True, True)
    assert len(updates(emulator)) == 1
    emulator.set_model("my-model", supportedPrecisions=["FP16", "FP8"])
    with pytest.raises(exceptions.FireworksDeploymentConflict, match="precision FP16 → FP8"):
        create_later(precision="FP8")


# ---- what is pushed, and when


class RecordingTaskInstance(TaskInstance):
    """Records every XCom that is pushed, with the number of requests sent before."""

    def __init__(self, emulator: Any) -> None:
        super().__init__()
        self.emulator = emulator
        self.pushed: list[tuple[int, str, Any]] = []

    def xcom_push(self, key: str, value: Any) -> None:
        super().xcom_push(key, value)
        self.pushed.append((len(self.emulator.requests), key, value))


def test_create_pushes_both_names_before_any_request(emulator):
    instance = RecordingTaskInstance(emulator)
    create(instance)
    assert instance.pushed == [
        (0, "deployment", NAME),
        (0, "inference_model", f"{MODEL}#{NAME}"),
    ]


def test_create_pushes_bare_ids_until_account_is_known(emulator, monkeypatch):
    connection = emulator.connection.replace('"login": "demo"', '"login": null')
    assert connection != emulator.connection
    monkeypatch.setenv("AIRFLOW_CONN_FIREWORKS_DEFAULT", connection)
    instance = RecordingTaskInstance(emulator)
    create(instance)
    assert instance.pushed == [
        (0, "deployment", OWNER.deployment_id),
        (0, "inference_model", f"my-model#{OWNER.deployment_id}"),
        (1, "deployment", NAME),
        (1, "inference_model", f"{MODEL}#{NAME}"),
    ]


def test_create_with_validate_only_pushes_nothing(emulator):
    instance = RecordingTaskInstance(emulator)
    create(instance, validate_only=True)
    assert instance.pushed == []


def test_create_takes_prepared_result_whole(emulator):
    emulator.set_model("my-model", supportedPrecisions=["FP16", "FP8"])
    create(prepared={"model": MODEL, "precision": "FP8"}, model=None, precision=None)
    assert shown(emulator)["precision"] == "FP8"
    assert FireworksHook().get_deployment(NAME).base_model == MODEL
