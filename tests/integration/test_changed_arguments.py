"""What a task makes of a deployment that it created with other arguments: in a retry, after a clear, in a later run."""

from __future__ import annotations

from typing import Any

import pytest

from airflow_provider_fireworks import exceptions
from airflow_provider_fireworks.deployments.ownership import Owner
from airflow_provider_fireworks.hooks.fireworks import FireworksHook
from tests.integration.conftest import MODEL, TaskInstance, run_task
from tests.integration.creating import MINE, NAME, again, make, payload, task, touched


def deploy(instance: TaskInstance | None = None, **arguments: Any) -> dict[str, Any]:
    return run_task(lambda: task(**arguments), instance)


def updates(emulator: Any) -> list[dict[str, Any]]:
    return [request.body for request in emulator.requests if request.method == "PATCH"]


@pytest.mark.parametrize("deferrable", [False, True])
def test_create_updates_replica_limits_scaling_and_name_in_place(emulator, deferrable, caplog, capsys):
    deploy(max_replica_count=1)
    policy = {"autoscalingPolicy": {"scaleToZeroWindow": "600s"}}
    changed = {"max_replica_count": 4, "display_name": "mine", "extra_spec": policy, "deferrable": deferrable}
    assert deploy(again(), **changed) == {"deployment": NAME}
    made = payload(emulator)
    assert (made["maxReplicaCount"], made["displayName"]) == (4, "mine")
    assert made["autoscalingPolicy"]["scaleToZeroWindow"] == "600s"
    assert Owner.from_description(made["description"]) == MINE
    assert "max_replica_count 1 → 4" in caplog.text + capsys.readouterr().out
    assert len(emulator.creations) == len(updates(emulator)) == 1
    # Nothing has changed since.
    assert deploy(again(), **changed) == {"deployment": NAME}
    assert len(updates(emulator)) == 1


def test_create_conflicts_over_a_change_that_cannot_be_updated_and_names_it(emulator):
    deploy(accelerator_count=1)
    before = payload(emulator)
    told = r"may cost money, but these arguments have changed and cannot be updated: accelerator_count 1 → 2"
    with pytest.raises(exceptions.FireworksDeploymentConflict, match=told) as failure:
        deploy(again(), accelerator_count=2, max_replica_count=4)
    assert "max_replica_count" not in str(failure.value)
    assert payload(emulator) == before
    assert touched(emulator) == 0


@pytest.mark.parametrize("deferrable", [False, True])
def test_create_whose_update_is_refused_keeps_a_named_deployment(emulator, deferrable):
    named = {"deployment_id": "stays"}
    deploy(**named)
    emulator.fault("status", status=400, code=9, method="PATCH", times=-1)
    with pytest.raises(exceptions.FireworksRefused, match="is kept, as it was there before") as failure:
        deploy(again(), **named, max_replica_count=3, deferrable=deferrable)
    assert "IT MAY COST MONEY" in str(failure.value)
    assert emulator.deployments_left == ["accounts/demo/deployments/stays"]
    assert emulator.count("DELETE") == 0


def test_create_in_conflict_with_its_own_still_passes_its_name_on(emulator):
    deploy(accelerator_count=1)
    instance = again()
    with pytest.raises(exceptions.FireworksDeploymentConflict):
        deploy(instance, accelerator_count=2)
    assert instance.xcoms["deployment"] == NAME


def test_create_updates_no_field_that_was_not_edited(emulator):
    deploy(max_replica_count=2)
    # By hand, in the console.
    emulator.set_deployment(MINE.deployment_id, minReplicaCount=3, maxReplicaCount=8)
    deploy(again(), max_replica_count=2, display_name="mine")
    made = payload(emulator)
    assert (made["displayName"], made["minReplicaCount"], made["maxReplicaCount"]) == ("mine", 3, 8)


def test_create_replaces_one_of_this_run_that_is_still_creating(emulator):
    emulator.configure(deploy_duration=0.5)
    deploy(accelerator_count=1, wait_for_completion=False)
    assert deploy(again(), accelerator_count=2) == {"deployment": NAME}
    assert payload(emulator)["acceleratorCount"] == 2
    assert (len(emulator.creations), emulator.deployments_left) == (2, [NAME])


@pytest.mark.parametrize("change", [{}, {"max_replica_count": 3}], ids=["unchanged", "updated"])
def test_create_adopts_what_the_api_spells_another_way(emulator, change):
    shape = "accounts/fireworks/deploymentShapes/my-model-fp8"
    asked = {
        "precision": None,
        "deployment_shape": "default",
        "extra_spec": {"autoscalingPolicy": {"scaleToZeroWindow": "300s"}},
    }
    deploy(**asked)
    emulator.set_deployment(
        MINE.deployment_id,
        deploymentShape=shape,
        precision="FP8",
        autoscalingPolicy={"scaleToZeroWindow": "300.000s", "scaleUpWindow": "30s"},
    )
    assert deploy(again(), **asked, **change) == {"deployment": NAME}
    assert len(updates(emulator)) == len(change)
    assert (len(emulator.creations), emulator.count("DELETE")) == (1, 0)


def test_create_without_a_digest_compares_what_both_sides_have(emulator):
    old = Owner(MINE.dag_id, MINE.run_id, MINE.task_id, airflow=MINE.airflow).description
    make(emulator, description=old, acceleratorCount=1, maxReplicaCount=2)
    assert deploy(again()) == {"deployment": NAME}
    with pytest.raises(exceptions.FireworksDeploymentConflict, match="accelerator_count 1 → 2"):
        deploy(again(), accelerator_count=2)


class Later(TaskInstance):
    """A run after the one that created the deployment, which is over."""

    def __init__(self) -> None:
        super().__init__(run_id="later", runs={MINE.run_id: "success", "later": "running"})


def test_create_in_a_later_run_updates_a_named_deployment_by_editing_the_dag(emulator):
    named = {"deployment_id": "stays"}
    deploy(**named, max_replica_count=1)
    deploy(Later(), **named, max_replica_count=2)
    made = payload(emulator, "stays")
    signed = Owner.from_description(made["description"])
    assert made["maxReplicaCount"] == 2
    assert (signed.run_id, signed.kept, signed.named) == ("later", True, True)
    assert len(updates(emulator)) == 1
    emulator.set_model("my-model", supportedPrecisions=["FP16", "FP8"])
    with pytest.raises(exceptions.FireworksDeploymentConflict, match="precision FP16 → FP8"):
        deploy(Later(), **named, max_replica_count=2, precision="FP8")


# What is pushed, and when


class Recording(TaskInstance):
    """Remembers what was pushed, and after how many requests."""

    def __init__(self, emulator: Any) -> None:
        super().__init__()
        self.emulator = emulator
        self.pushed: list[tuple[int, str, Any]] = []

    def xcom_push(self, key: str, value: Any) -> None:
        super().xcom_push(key, value)
        self.pushed.append((len(self.emulator.requests), key, value))


def test_create_pushes_both_names_before_any_request(emulator):
    instance = Recording(emulator)
    deploy(instance)
    assert instance.pushed == [
        (0, "deployment", NAME),
        (0, "inference_model", f"{MODEL}#{NAME}"),
    ]


def test_create_pushes_bare_ids_first_if_the_account_is_not_known(emulator, monkeypatch):
    connection = emulator.connection.replace('"login": "demo"', '"login": null')
    assert connection != emulator.connection
    monkeypatch.setenv("AIRFLOW_CONN_FIREWORKS_DEFAULT", connection)
    instance = Recording(emulator)
    deploy(instance)
    assert instance.pushed == [
        (0, "deployment", MINE.deployment_id),
        (0, "inference_model", f"my-model#{MINE.deployment_id}"),
        (1, "deployment", NAME),
        (1, "inference_model", f"{MODEL}#{NAME}"),
    ]


def test_create_with_validate_only_pushes_nothing(emulator):
    instance = Recording(emulator)
    deploy(instance, validate_only=True)
    assert instance.pushed == []


def test_create_takes_what_was_prepared_whole(emulator):
    emulator.set_model("my-model", supportedPrecisions=["FP16", "FP8"])
    deploy(prepared={"model": MODEL, "precision": "FP8"}, model=None, precision=None)
    assert payload(emulator)["precision"] == "FP8"
    assert FireworksHook().get_deployment(NAME).base_model == MODEL
