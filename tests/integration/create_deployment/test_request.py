"""What the create operator sends, and what it waits for."""

from __future__ import annotations

import json
from types import SimpleNamespace
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import AirflowFailException

from airflow_provider_fireworks import exceptions
from airflow_provider_fireworks.client.names import check_id
from airflow_provider_fireworks.client.precision import Precision
from airflow_provider_fireworks.deployments.ownership import Owner
from tests.integration.conftest import MODEL, TaskInstance
from tests.integration.creating import (
    NAME,
    OWNER,
    SPEC,
    count_changes,
    count_creates,
    make_task,
    shown,
)


def posts(emulator: Any) -> list[Any]:
    return [request for request in emulator.requests if request.method == "POST"]


def test_create_sends_one_request_and_waits_until_ready(emulator, create):
    instance = TaskInstance()
    assert create(instance) == {"deployment": NAME}
    assert instance.xcoms == {"deployment": NAME, "inference_model": f"{MODEL}#{NAME}"}
    assert shown(emulator)["state"] == "READY"
    assert [each.deployment for each in emulator.creations] == [OWNER.deployment_id]
    (post,) = posts(emulator)
    assert post.query == {"deploymentId": OWNER.deployment_id}
    assert Owner.from_description(post.body.pop("description")) == OWNER
    assert post.body.pop("displayName").endswith(" deploy")
    assert post.body == SPEC


def test_create_sends_every_argument(emulator, create):
    create(
        wait_for_completion=False,
        precision=Precision.FP16,
        accelerator_count=2,
        min_replica_count=1,
        max_replica_count=3,
        display_name="mine",
        deployment_id="my-id",
        extra_spec={"autoscalingPolicy": {"scaleToZeroWindow": "300s"}},
    )
    created = shown(emulator, "my-id")
    assert (created["precision"], created["acceleratorCount"]) == ("FP16", 2)
    assert (created["minReplicaCount"], created["maxReplicaCount"]) == (1, 3)
    assert created["displayName"] == "mine"
    assert created["autoscalingPolicy"]["scaleToZeroWindow"] == "300s"
    assert Owner.from_description(created["description"]) == OWNER


def test_create_sends_rendered_numbers_as_numbers(emulator, create):
    create(wait_for_completion=False, min_replica_count="1", max_replica_count="2", timeout="600")
    (post,) = posts(emulator)
    assert (post.body["minReplicaCount"], post.body["maxReplicaCount"]) == (1, 2)


def test_create_without_precision_sends_none(emulator, create):
    create(precision=None)
    (post,) = posts(emulator)
    assert "precision" not in post.body


# ---- waiting


def test_create_without_waiting_returns_while_creating(emulator, create):
    emulator.configure(deploy_duration=60)
    instance = TaskInstance()
    assert create(instance, wait_for_completion=False) == {"deployment": NAME}
    assert instance.xcoms["inference_model"] == f"{MODEL}#{NAME}"
    assert shown(emulator)["state"] == "CREATING"


@pytest.mark.parametrize("at_zero", [False, True], ids=["with a replica", "scaled to zero"])
def test_create_waits_for_inference(emulator, create, at_zero):
    emulator.configure(serving_lag=0.2, start_at_zero=at_zero)
    create(wait_for_inference=True)
    assert [request.status for request in emulator.requests if "chat" in request.path][-1] == 200
    assert emulator.count("POST", "chat") > 1


def test_create_requests_inference_in_last_poll_before_timeout(emulator, create):
    assert create(wait_for_inference=True, poll_interval=5, timeout=0.5) == {"deployment": NAME}


def test_create_takes_deployment_scaled_to_zero_as_ready(emulator, create):
    emulator.configure(start_at_zero=True)
    create()
    assert (shown(emulator)["replicaCount"], emulator.gpu_seconds) == (0, 0)


# ---- the account


def test_create_looks_up_account_and_deploys_public_model(emulator, create, monkeypatch):
    connection = json.loads(emulator.connection)
    del connection["login"]
    monkeypatch.setenv("AIRFLOW_CONN_FIREWORKS_DEFAULT", json.dumps(connection))
    public = "accounts/fireworks/models/yi-6b"
    assert create(model=public, wait_for_completion=False)["deployment"] == NAME
    assert shown(emulator)["baseModel"] == public


def test_create_in_account_of_account_id(emulator, create):
    emulator.configure(accounts=["demo", "other"])
    created = create(account_id="other", model=MODEL, wait_for_completion=False)["deployment"]
    assert created == f"accounts/other/deployments/{OWNER.deployment_id}"
    assert emulator.deployments_left == [created]


# ---- the model


@pytest.mark.usefixtures("lists")
def test_create_fails_if_model_is_not_ready_at_precision(emulator, create):
    with pytest.raises(
        exceptions.FireworksModelNotReady, match=r"not ready at FP8.*FP16.*Prepare it"
    ) as failure:
        create(precision="FP8")
    assert isinstance(failure.value, AirflowFailException)
    assert count_creates(emulator) == 0


def test_create_fails_if_model_is_being_uploaded(emulator, create):
    with pytest.raises(exceptions.FireworksModelNotReady, match="uploaded"):
        create(model="my-uploading-model")
    assert count_creates(emulator) == 0


def test_create_fails_if_model_does_not_exist(emulator, create):
    with pytest.raises(exceptions.FireworksNotFound, match="HTTP 404"):
        create(model="no-such-model")
    assert count_creates(emulator) == 0


@pytest.mark.parametrize("lists", ["empty", "absent"])
def test_create_without_precision_lists_leaves_check_to_api(emulator, create, lists):
    emulator.configure(precision_lists=lists)
    with pytest.raises(exceptions.FireworksRefused, match="not prepared for precision FP8"):
        create(precision="FP8")
    assert (count_creates(emulator), count_changes(emulator), emulator.creations) == (1, 0, [])
    emulator.set_model("my-model", supportedPrecisions=["FP16", "FP8"])
    create(precision="FP8")
    assert shown(emulator)["precision"] == "FP8"


# ---- the id


@pytest.mark.parametrize(
    "instance",
    [
        TaskInstance(dag_id="Übung.für_Ä", task_id="group.Deploy_It"),
        TaskInstance(dag_id="x" * 250, task_id="y" * 250),
        TaskInstance(dag_id="日本", task_id="部署"),
        TaskInstance(dag_id="-", task_id="_"),
    ],
    ids=["umlauts", "longest", "no latin letters", "no letters"],
)
def test_create_makes_valid_id_from_any_airflow_ids(emulator, create, instance):
    result = create(instance, wait_for_completion=False)
    assert check_id(result["deployment"].rpartition("/")[2], "id")
    signed = Owner.from_description(emulator.deployments[0]["description"])
    assert signed == Owner.from_context({"ti": instance})


def test_create_has_one_id_per_task_instance_in_all_tries(emulator, create):
    instances = [
        TaskInstance(),
        TaskInstance(dag_id="my"),
        TaskInstance(run_id="manual__2"),
        TaskInstance("dag_deploy"),
        TaskInstance("deploy2"),
        TaskInstance(map_index=0),
        TaskInstance(map_index=1),
        TaskInstance(dag_id="my_dag_deploy"),
    ]
    first = [create(each, wait_for_completion=False)["deployment"] for each in instances]
    for each in instances:
        each.try_number += 1
    assert [create(each, wait_for_completion=False)["deployment"] for each in instances] == first
    assert len(set(first)) == len(emulator.creations) == len(instances)


def test_create_in_task_loop_has_one_id_per_iteration(emulator):
    # The third is the first iteration again, cleared.
    loops = [SimpleNamespace(index=index) for index in (0, 1, 0)]
    names = [
        make_task(wait_for_completion=False).execute({"ti": TaskInstance(try_number=number), "loop": loop})[
            "deployment"
        ]
        for number, loop in enumerate(loops, 1)
    ]
    assert names[0] == names[2] != names[1]
    assert sorted(emulator.deployments_left) == sorted(names[:2])
    assert len(emulator.creations) == 2


@pytest.mark.parametrize("names", ["with_model", "deployment"])
def test_create_pushes_the_name_that_inference_answers_to(emulator, create, names):
    emulator.configure(inference_names=names)
    instance = TaskInstance()
    create(instance, wait_for_inference=True)
    answers = {"with_model": f"{MODEL}#{NAME}", "deployment": NAME}[names]
    assert instance.xcoms == {"deployment": NAME, "inference_model": answers}
