"""The operator that creates deployments, in a worker and deferred, with the API's own record as the proof."""

from __future__ import annotations

import json
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from types import SimpleNamespace
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import AirflowFailException, AirflowTaskTimeout

from airflow_provider_fireworks import exceptions
from airflow_provider_fireworks.client import api
from airflow_provider_fireworks.client.names import check_id
from airflow_provider_fireworks.client.precision import Precision
from airflow_provider_fireworks.deployments.ownership import Owner
from airflow_provider_fireworks.hooks.fireworks import FireworksHook
from airflow_provider_fireworks.operators.deployment import (
    create as create_module,
)
from tests.integration.conftest import MODEL, TaskInstance, fire, run_task
from tests.integration.creating import (
    H100,
    MINE,
    NAME,
    SPEC,
    again,
    costs_nothing,
    defer,
    gone,
    interrupted,
    make,
    meanwhile,
    payload,
    posts,
    task,
    touched,
)
from tests.timing import use_timing

LOST = [
    {"kind": "drop"},
    {"kind": "status", "status": 503},
    {"kind": "html", "status": 502},
    {"kind": "truncate"},
]


@pytest.fixture(autouse=True)
def _quicker(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pauses that no constant of the package names are shortened as well."""
    use_timing(monkeypatch, first_retry_delay=0.05)


def told(fault: dict[str, Any]) -> str:
    return " ".join(str(value) for value in fault.values())


@pytest.fixture(params=[False, True], ids=["worker", "deferrable"])
def create(request: pytest.FixtureRequest) -> Any:
    def run(instance: TaskInstance | None = None, **arguments: Any) -> dict[str, Any]:
        return run_task(lambda: task(deferrable=request.param, **arguments), instance)

    return run


# What is created


def test_creates_once_and_waits(emulator, create):
    instance = TaskInstance()
    assert create(instance) == {"deployment": NAME}
    assert instance.xcoms == {"deployment": NAME, "inference_model": f"{MODEL}#{NAME}"}
    assert payload(emulator)["state"] == "READY"
    assert [each.deployment for each in emulator.creations] == [MINE.deployment_id]
    (post,) = [request for request in emulator.requests if request.method == "POST"]
    assert post.query == {"deploymentId": MINE.deployment_id}
    assert Owner.from_description(post.body.pop("description")) == MINE
    assert post.body.pop("displayName").endswith(" deploy")
    assert post.body == SPEC


def test_every_argument_reaches_the_gateway(emulator, create):
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
    made = payload(emulator, "my-id")
    assert (made["precision"], made["acceleratorCount"], made["displayName"]) == ("FP16", 2, "mine")
    assert (made["minReplicaCount"], made["maxReplicaCount"]) == (1, 3)
    assert made["autoscalingPolicy"]["scaleToZeroWindow"] == "300s"
    assert Owner.from_description(made["description"]) == MINE


def test_numbers_may_come_from_templates(emulator, create):
    create(wait_for_completion=False, min_replica_count="1", max_replica_count="2", timeout="600")
    assert (payload(emulator)["minReplicaCount"], payload(emulator)["maxReplicaCount"]) == (1, 2)


def test_without_a_precision_the_gateway_chooses(emulator, create):
    create(precision=None)
    assert [request.body.get("precision") for request in emulator.requests if request.method == "POST"] == [
        None
    ]


def test_need_not_wait(emulator, create):
    emulator.configure(deploy_duration=60)
    instance = TaskInstance()
    assert create(instance, wait_for_completion=False) == {"deployment": NAME}
    assert instance.xcoms["inference_model"] == f"{MODEL}#{NAME}"
    assert payload(emulator)["state"] == "CREATING"


@pytest.mark.parametrize("at_zero", [False, True], ids=["", "start at zero"])
def test_waits_for_serving(emulator, create, at_zero):
    emulator.configure(serving_lag=0.2, start_at_zero=at_zero)
    create(wait_for_inference=True)
    assert [request.status for request in emulator.requests if "chat" in request.path][-1] == 200
    assert emulator.count("POST", "chat") > 1


def test_scaled_to_zero_is_ready(emulator, create):
    emulator.configure(start_at_zero=True)
    create()
    assert (payload(emulator)["replicaCount"], emulator.gpu_seconds) == (0, 0)


def test_finds_the_account_out_and_another_accounts_model(emulator, create, monkeypatch):
    connection = json.loads(emulator.connection)
    del connection["login"]
    monkeypatch.setenv("AIRFLOW_CONN_FIREWORKS_DEFAULT", json.dumps(connection))
    public = "accounts/fireworks/models/yi-6b"
    assert create(model=public, wait_for_completion=False)["deployment"] == NAME
    assert payload(emulator)["baseModel"] == public


# The model


def test_a_model_that_is_not_ready_at_the_precision_is_not_deployed(emulator, create):
    with pytest.raises(
        exceptions.FireworksModelNotReady, match=r"not ready at FP8.*FP16.*Prepare it"
    ) as failure:
        create(precision="FP8")
    assert isinstance(failure.value, AirflowFailException)
    assert posts(emulator) == 0


def test_a_model_that_is_being_uploaded_is_not_deployed(emulator, create):
    with pytest.raises(exceptions.FireworksModelNotReady, match="uploaded"):
        create(model="my-uploading-model")
    assert posts(emulator) == 0


def test_an_unknown_model_is_not_deployed(emulator, create):
    with pytest.raises(exceptions.FireworksNotFound, match="HTTP 404"):
        create(model="no-such-model")
    assert posts(emulator) == 0


@pytest.mark.parametrize("lists", ["empty", "absent"])
def test_where_no_precisions_are_listed_the_gateway_decides(emulator, create, lists):
    emulator.configure(precision_lists=lists)
    with pytest.raises(exceptions.FireworksRefused, match="not prepared for precision FP8"):
        create(precision="FP8")
    assert (posts(emulator), touched(emulator), emulator.creations) == (1, 0, [])
    emulator.set_model("my-model", supportedPrecisions=["FP16", "FP8"])
    create(precision="FP8")
    assert payload(emulator)["precision"] == "FP8"


# The id

ODD = [
    TaskInstance(dag_id="Übung.für_Ä", task_id="group.Deploy_It"),
    TaskInstance(dag_id="x" * 250, task_id="y" * 250),
    TaskInstance(dag_id="日本", task_id="部署"),
    TaskInstance(dag_id="-", task_id="_"),
]


@pytest.mark.parametrize(
    "instance", ODD, ids=lambda instance: f"{instance.dag_id[:9]} {instance.task_id[:9]}"
)
def test_odd_ids_make_an_id_that_the_gateway_takes(emulator, create, instance):
    result = create(instance, wait_for_completion=False)
    assert check_id(result["deployment"].rpartition("/")[2], "id")
    assert Owner.from_description(emulator.deployments[0]["description"]) == Owner.from_context(
        {"ti": instance}
    )


def test_every_task_instance_has_an_id_of_its_own_and_keeps_it(emulator, create):
    instances = [
        *(
            TaskInstance(),
            TaskInstance(dag_id="my"),
            TaskInstance(run_id="manual__2"),
            TaskInstance("dag_deploy"),
        ),
        *(TaskInstance("deploy2"), TaskInstance(map_index=0), TaskInstance(map_index=1)),
        TaskInstance(dag_id="my_dag_deploy", task_id="deploy"),
    ]
    first = [create(each, wait_for_completion=False)["deployment"] for each in instances]
    for each in instances:
        each.try_number += 1
    assert [create(each, wait_for_completion=False)["deployment"] for each in instances] == first
    assert len(set(first)) == len(emulator.creations) == len(instances)


# Tries, and answers that are lost


@pytest.mark.parametrize(
    ("after_work", "lag"), [(False, 0), (True, 0), (True, 0.2)], ids=["before", "after", "after, create lag"]
)
@pytest.mark.parametrize("fault", LOST, ids=told)
def test_a_lost_answer_makes_no_second_deployment(emulator, create, fault, after_work, lag):
    emulator.configure(create_lag=lag)
    emulator.fault(**fault, method="POST", path="/deployments", after_work=after_work)
    assert create() == {"deployment": NAME}
    assert len(emulator.creations) == 1
    assert emulator.deployments_left == [NAME]
    assert touched(emulator) == 0


def test_a_create_lag_alone_does_no_harm(emulator, create):
    emulator.configure(create_lag=0.2)
    create()
    assert posts(emulator) == len(emulator.creations) == 1


def test_a_rate_limit_is_waited_out(emulator, create):
    emulator.fault("status", status=429, times=4, method="POST", path="/deployments")
    create()
    assert len(emulator.creations) == 1


@pytest.mark.parametrize("path", ["/deployments/", "/models/", ""])
def test_reading_goes_on_over_blips(emulator, create, path):
    emulator.fault("status", times=5, method="GET", path=path)
    create()
    assert len(emulator.creations) == 1


@pytest.mark.parametrize("fault", [LOST[1], {"kind": "html", "status": 403}], ids=told)
def test_a_create_that_never_gets_an_answer_ends_with_the_timeout(emulator, create, fault):
    emulator.fault(**fault, times=-1, method="POST", path="/deployments")
    # Whatever the task does: the test is to end.
    with (
        meanwhile(lambda: posts(emulator) > 40, emulator.clear_faults),
        pytest.raises(exceptions.FireworksTimeout),
    ):
        create(timeout=0.6)
    assert posts(emulator) < 20
    assert emulator.creations == []


def test_a_shape_that_is_never_checked_ends_with_the_timeout(prepared, create):
    prepared.fault("status", times=-1, method="POST", path="validateOnly")
    with (
        meanwhile(lambda: posts(prepared) > 15, prepared.clear_faults),
        pytest.raises(exceptions.FireworksTimeout),
    ):
        create(deployment_shape=SHAPE, precision="FP8", timeout=0.5)
    assert prepared.creations == []


@pytest.mark.parametrize("path", ["/deployments/", "/models/"])
def test_what_can_never_be_read_ends_with_the_timeout(emulator, create, path):
    emulator.fault("status", times=-1, method="GET", path=path)
    with pytest.raises(exceptions.FireworksTimeout):
        create(timeout=0.5)
    assert posts(emulator) == 0


def test_two_workers_with_one_task_instance_make_one_deployment(emulator):
    emulator.fault("slow", times=2, method="GET", path="/models/", delay=0.2)
    with ThreadPoolExecutor(2) as pool:
        results = list(pool.map(lambda _: task().execute({"ti": TaskInstance()}), range(2)))
    assert results == [{"deployment": NAME}] * 2
    assert (posts(emulator), len(emulator.creations)) == (2, 1)


def test_another_try_takes_over_what_an_earlier_one_has_made(emulator, create):
    emulator.configure(deploy_duration=0.3)
    create(wait_for_completion=False)
    assert create(again()) == {"deployment": NAME}
    assert create(again()) == {"deployment": NAME}
    assert (posts(emulator), touched(emulator)) == (1, 0)


# An id that is taken


@pytest.fixture(params=["by hand", "another task", "another DAG"])
def foreign(request: pytest.FixtureRequest) -> str:
    """The description of a deployment that is not the task's."""
    others = {"another task": TaskInstance("other"), "another DAG": TaskInstance(dag_id="other_dag")}
    other = others.get(request.param)
    return Owner.from_context({"ti": other}).description if other else "Do not touch!"


@pytest.mark.parametrize("state", ["CREATING", "READY", "FAILED", "DELETING", "DELETED"])
def test_a_foreign_deployment_is_never_touched(emulator, create, foreign, state):
    emulator.configure(deploy_duration=600)
    make(emulator, description=foreign)
    emulator.set_deployment(MINE.deployment_id, state=state)
    before = payload(emulator)
    with pytest.raises(exceptions.FireworksDeploymentConflict, match="left alone") as failure:
        create(again())
    assert isinstance(failure.value, AirflowFailException)
    assert payload(emulator) == before
    assert (posts(emulator), touched(emulator)) == (0, 0)


@pytest.mark.parametrize("deleted", [False, True], ids=["there", "deleted"])
def test_a_foreign_deployment_that_a_look_does_not_show_is_never_touched(emulator, create, deleted):
    emulator.configure(deleted_get="not_found")
    make(emulator, description="Do not touch!")
    if deleted:
        FireworksHook().delete_deployment(MINE.deployment_id)
        emulator.clear()
    else:
        emulator.fault("status", status=404, method="GET", path="/deployments/")
    with pytest.raises(exceptions.FireworksDeploymentConflict):
        create()
    assert (posts(emulator), touched(emulator)) == (1, 0)


def test_an_own_deployment_that_a_look_does_not_show_is_taken_over(emulator, create):
    make(emulator, description=MINE.description)
    emulator.fault("status", status=404, method="GET", path="/deployments/")
    create()
    assert (posts(emulator), touched(emulator), emulator.creations) == (1, 0, [])


def test_two_tasks_with_one_id_do_not_share_it(emulator, create):
    create(TaskInstance("first"), deployment_id="shared")
    before = payload(emulator, "shared")
    emulator.clear()
    with pytest.raises(exceptions.FireworksDeploymentConflict, match="shared"):
        create(TaskInstance("second"), deployment_id="shared")
    assert payload(emulator, "shared") == before
    assert (posts(emulator), touched(emulator)) == (0, 0)


def test_a_conflict_says_whose_the_deployment_is(emulator, create):
    create(TaskInstance("first"), deployment_id="shared")
    with pytest.raises(exceptions.FireworksDeploymentConflict, match="task first of DAG my_dag"):
        create(TaskInstance("second"), deployment_id="shared")


@pytest.mark.parametrize("state", ["queued", "running"])
def test_what_another_run_uses_is_left_alone(emulator, create, state):
    create(TaskInstance(run_id="first"), deployment_id="shared")
    before = payload(emulator, "shared")
    emulator.clear()
    with pytest.raises(exceptions.FireworksDeploymentConflict):
        create(TaskInstance(run_id="second", runs={"first": state}), deployment_id="shared")
    assert payload(emulator, "shared") == before
    assert (posts(emulator), touched(emulator)) == (0, 0)


@pytest.mark.parametrize("runs", [{"first": "success"}, {"first": "failed"}, {}], ids=str)
def test_what_an_earlier_run_has_left_is_taken_over(emulator, create, runs):
    create(TaskInstance(run_id="first"), deployment_id="shared")
    emulator.clear()
    second = TaskInstance(run_id="second", runs=runs)
    assert create(second, deployment_id="shared") == {"deployment": "accounts/demo/deployments/shared"}
    assert Owner.from_description(payload(emulator, "shared")["description"]) == Owner.from_context(
        {"ti": second}
    )
    assert (posts(emulator), touched(emulator)) == (0, 1)


@pytest.mark.parametrize("after_work", [False, True], ids=["before", "after"])
def test_taking_over_goes_on_over_a_blip(emulator, create, after_work):
    create(TaskInstance(run_id="first"), deployment_id="shared")
    emulator.fault("drop", method="PATCH", after_work=after_work)
    create(TaskInstance(run_id="second"), deployment_id="shared")
    assert Owner.from_description(payload(emulator, "shared")["description"]).run_id == "second"


def test_what_was_brought_back_and_could_not_be_signed_is_not_left(emulator, create):
    create(TaskInstance(run_id="first"), deployment_id="shared")
    FireworksHook().delete_deployment("shared")
    emulator.fault("status", status=400, method="PATCH")
    with pytest.raises(exceptions.FireworksRefused):
        create(TaskInstance(run_id="second"), deployment_id="shared")
    assert costs_nothing(emulator)


def test_an_id_that_stays_taken_is_tried_until_the_timeout(emulator, create):
    emulator.fault("status", status=409, times=-1, method="POST", path="/deployments")
    with pytest.raises(exceptions.FireworksTimeout):
        create(timeout=0.5)
    assert posts(emulator) < 12
    assert touched(emulator) == 0


def test_the_timeout_says_that_the_id_is_taken(emulator, create):
    emulator.fault("status", status=409, times=-1, method="POST", path="/deployments")
    with pytest.raises(exceptions.FireworksTimeout, match=r"taken|ALREADY_EXISTS"):
        create(timeout=0.3)


@pytest.mark.parametrize(
    ("other", "told"),
    [
        ({"precision": "FP8"}, "precision FP16 → FP8"),
        ({"model": "my-other-model", "precision": None}, "base_model .*my-model → .*my-other-model"),
    ],
    ids=str,
)
def test_an_own_deployment_of_something_else_is_left_alone(emulator, create, other, told):
    emulator.set_model("my-model", supportedPrecisions=["FP16", "FP8"])
    create()
    before = payload(emulator)
    emulator.clear()
    with pytest.raises(exceptions.FireworksDeploymentConflict, match=told):
        create(again(), **other)
    assert payload(emulator) == before
    assert (posts(emulator), touched(emulator)) == (0, 0)


# Own ones, as earlier tries have left them


@pytest.mark.parametrize("shown", ["deleted", "not_found"])
def test_an_own_deleted_deployment_is_brought_back(emulator, create, shown):
    emulator.configure(deleted_get=shown)
    make(emulator, description=MINE.description)
    FireworksHook().delete_deployment(MINE.deployment_id)
    emulator.clear()
    assert create(again()) == {"deployment": NAME}
    assert payload(emulator)["state"] == "READY"
    assert (emulator.count("POST", ":undelete"), emulator.count("DELETE"), emulator.creations) == (1, 0, [])


@pytest.mark.parametrize("after_work", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("fault", LOST[:2], ids=told)
def test_bringing_back_goes_on_over_a_lost_answer(emulator, create, fault, after_work):
    make(emulator, description=MINE.description)
    FireworksHook().delete_deployment(MINE.deployment_id)
    emulator.fault(**fault, method="POST", path=":undelete", after_work=after_work)
    create(again())
    assert payload(emulator)["state"] == "READY"
    assert emulator.creations == []


def test_an_own_deleted_one_of_something_else_is_made_anew(emulator, create):
    emulator.set_model("my-model", supportedPrecisions=["FP16", "FP8"])
    make(emulator, description=MINE.description, precision="FP8")
    FireworksHook().delete_deployment(MINE.deployment_id)
    create(again())
    assert payload(emulator)["precision"] == "FP16"
    assert len(emulator.creations) == 1


@pytest.mark.parametrize("waiting", [False, True], ids=["", "waits"])
def test_an_own_failed_deployment_is_made_anew(emulator, create, waiting):
    make(emulator, description=MINE.description)
    emulator.set_deployment(MINE.deployment_id, state="FAILED")
    create(again(), wait_for_completion=waiting)
    (delete,) = [request for request in emulator.requests if request.method == "DELETE"]
    assert delete.query["hard"] == "true"
    assert len(emulator.creations) == 1
    assert payload(emulator)["state"] == ("READY" if waiting else "CREATING")


@pytest.mark.parametrize("after_work", [False, True], ids=["before", "after"])
def test_making_anew_goes_on_over_blips(emulator, create, after_work):
    make(emulator, description=MINE.description)
    emulator.set_deployment(MINE.deployment_id, state="FAILED")
    emulator.fault("drop", method="DELETE", after_work=after_work)
    create(again())
    assert len(emulator.creations) == 1


@pytest.mark.parametrize("hard", [False, True], ids=["softly", "for good"])
def test_an_own_deployment_that_is_being_deleted_is_waited_for(emulator, create, hard):
    emulator.configure(delete_duration=0.2)
    make(emulator, description=MINE.description)
    FireworksHook().delete_deployment(MINE.deployment_id, hard=hard)
    create(again())
    assert payload(emulator)["state"] == "READY"
    assert (len(emulator.creations), emulator.count("POST", ":undelete")) == ((1, 0) if hard else (0, 1))


def test_a_deletion_that_does_not_end_is_waited_for_until_the_timeout(emulator, create):
    make(emulator, description=MINE.description)
    emulator.set_deployment(MINE.deployment_id, state="DELETING")
    with pytest.raises(exceptions.FireworksTimeout, match="being deleted"):
        create(again(), timeout=0.4)
    assert posts(emulator) == 0


# Quota


@pytest.mark.parametrize("status", [429, 400, 403])
def test_a_quota_is_told_asked_once_and_left_to_a_retry(emulator, create, status):
    emulator.configure(gpu_quota=0, quota_status=status)
    with pytest.raises(
        exceptions.FireworksQuotaExceeded, match=r"in use: 0, quota: 0, requesting: 1"
    ) as failure:
        create()
    assert not isinstance(failure.value, AirflowFailException)
    assert (posts(emulator), touched(emulator), emulator.creations) == (1, 0, [])
    emulator.configure(gpu_quota=1)
    assert create(again()) == {"deployment": NAME}
    assert len(emulator.creations) == 1


def test_a_quota_that_forbids_bringing_back_is_left_to_a_retry(emulator, create):
    make(emulator, description=MINE.description)
    FireworksHook().delete_deployment(MINE.deployment_id)
    emulator.configure(gpu_quota=0)
    with pytest.raises(exceptions.FireworksQuotaExceeded):
        create(again())
    assert payload(emulator)["state"] == "DELETED"
    emulator.configure(gpu_quota=1)
    create(again())
    assert payload(emulator)["state"] == "READY"


# Waits that end badly


def test_a_deployment_that_fails_is_removed_and_made_anew_by_a_retry(emulator, create):
    emulator.configure(deploy_outcome="failed")
    with pytest.raises(
        exceptions.FireworksDeploymentFailed, match=r"INTERNAL.*no capacity for 1 x 1"
    ) as failure:
        create()
    assert not isinstance(failure.value, AirflowFailException)
    assert gone(emulator)
    emulator.configure(deploy_outcome="ok")
    emulator.clear()
    create(again())
    assert len(emulator.creations) == 1


def test_a_deployment_that_fails_can_be_kept(emulator, create):
    emulator.configure(deploy_outcome="failed")
    with pytest.raises(exceptions.FireworksDeploymentFailed):
        create(delete_on_failure=False)
    assert payload(emulator)["state"] == "FAILED"
    assert touched(emulator) == 0
    emulator.configure(deploy_outcome="ok")
    emulator.clear()
    create(again(), delete_on_failure=False)
    assert (len(emulator.creations), emulator.count("DELETE")) == (1, 1)


def test_one_that_failed_behind_a_lost_answer_is_removed(emulator, create):
    emulator.configure(deploy_outcome="failed", deploy_duration=0)
    emulator.fault("drop", method="POST", path="/deployments", after_work=True)
    with pytest.raises(exceptions.FireworksDeploymentFailed, match="no capacity"):
        create()
    assert gone(emulator)
    assert len(emulator.creations) == 1


@pytest.mark.parametrize("hard", [False, True], ids=["softly", "for good"])
def test_one_that_somebody_deletes_fails_the_task_and_comes_back_with_a_retry(emulator, create, hard):
    emulator.configure(deploy_duration=60)
    with (
        meanwhile(
            lambda: emulator.creations and emulator.count("GET", "/deployments/") > 1,
            lambda: FireworksHook().delete_deployment(MINE.deployment_id, hard=hard),
        ),
        pytest.raises(exceptions.FireworksDeploymentFailed, match="deleted while it was waited for"),
    ):
        create()
    assert costs_nothing(emulator)
    emulator.configure(deploy_duration=0.2)
    create(again())
    assert payload(emulator)["state"] == "READY"
    assert len(emulator.creations) == (2 if hard else 1)


def test_what_follows_finds_it_even_where_it_does_not_show_at_once(emulator, create):
    emulator.configure(create_lag=0.3, deploy_duration=60)
    result = create(wait_for_completion=False)
    assert FireworksHook().get_deployment(result["deployment"]).state == "CREATING"
    assert len(emulator.creations) == 1
    assert posts(emulator) == 1


@pytest.mark.parametrize("waits", [False, True], ids=["", "waiting"])
def test_one_that_is_accepted_and_does_not_show_is_not_asked_for_again_and_not_left(emulator, create, waits):
    emulator.configure(create_lag=1.0)
    with pytest.raises(exceptions.FireworksDeploymentFailed, match="has not shown it"):
        create(wait_for_completion=waits)
    assert posts(emulator) == 1
    assert costs_nothing(emulator)


def test_what_this_try_has_made_is_not_abandoned_for_another_spelling(emulator, create):
    emulator.fault("drop", method="POST", path="/deployments", after_work=True)
    with meanwhile(
        lambda: emulator.creations,
        lambda: emulator.set_deployment(MINE.deployment_id, precision="FP16_V2"),
    ):
        create()
    assert payload(emulator)["state"] == "READY"
    assert len(emulator.creations) == 1


@pytest.mark.parametrize("step", ["DELETE", "PATCH"])
def test_a_write_that_does_not_show_makes_no_tight_loop(emulator, create, step):
    arguments: dict[str, Any] = {"timeout": 0.5, "deployment_id": "kept"}
    run_task(lambda: task(deployment_id="kept"), TaskInstance(run_id="run_1"))
    later = TaskInstance(run_id="run_2", runs={"run_1": "failed", "run_2": "running"})
    if step == "DELETE":
        emulator.set_deployment("kept", state="FAILED")
        # It never happens; the answer is that of the API.
    emulator.fault("status", status=200, method=step, times=-1)
    with pytest.raises(exceptions.FireworksError):
        create(later, **arguments)
    assert emulator.count(step) < 30


def test_the_error_of_a_task_is_not_replaced_by_one_of_the_clean_up(emulator, monkeypatch, capsys):
    emulator.configure(deploy_duration=60)
    failing = task(timeout=0.3)
    monkeypatch.setattr(create_module, "remove", lambda *_, **__: 1 / 0)
    with pytest.raises(exceptions.FireworksTimeout, match=f"{NAME} was not deleted and IT MAY COST MONEY"):
        failing.execute({"ti": TaskInstance()})
    assert "IT MAY COST MONEY" in capsys.readouterr().out


@pytest.mark.parametrize("deferrable", [False, True], ids=["worker", "deferrable"])
def test_a_run_that_fails_does_not_delete_what_an_earlier_one_has_kept(emulator, deferrable):
    emulator.configure(deploy_duration=60)
    arguments = {"deployment_id": "kept", "wait_for_completion": False}
    run_task(lambda: task(**arguments), TaskInstance(run_id="run_1"))
    later = TaskInstance(run_id="run_2", runs={"run_1": "success", "run_2": "running"})
    waiting = {"deployment_id": "kept", "timeout": 0.3, "deferrable": deferrable}
    for number in (1, 2):
        later.try_number = number
        with pytest.raises(exceptions.FireworksTimeout):
            run_task(lambda: task(**waiting), later)
    assert payload(emulator, "kept")["state"] == "CREATING"
    assert emulator.count("DELETE") == 0


def test_the_timeout_says_what_was_last_seen_and_leaves_nothing(emulator, create):
    emulator.configure(deploy_duration=60)
    with pytest.raises(
        exceptions.FireworksTimeout, match=r"timeout of 1 s is over, last seen: its state is CREATING"
    ) as failure:
        create(timeout=0.6)
    assert NAME in str(failure.value)
    assert not isinstance(failure.value, AirflowFailException)
    assert costs_nothing(emulator)
    assert gone(emulator)


def test_what_is_too_late_can_be_kept(emulator, create):
    emulator.configure(deploy_duration=60)
    with pytest.raises(exceptions.FireworksTimeout, match="IT MAY COST MONEY") as failure:
        create(timeout=0.4, delete_on_failure=False)
    assert f"{NAME} is kept" in str(failure.value)
    assert emulator.deployments_left == [NAME]
    assert touched(emulator) == 0


def test_one_that_does_not_serve_in_time_is_not_left(emulator, create):
    emulator.configure(serving_lag=60)
    with pytest.raises(exceptions.FireworksTimeout, match="READY"):
        create(wait_for_inference=True, timeout=0.6)
    assert costs_nothing(emulator)


def test_the_last_look_before_the_timeout_asks_inference_too(emulator, create):
    assert create(wait_for_inference=True, poll_interval=5, timeout=0.5) == {"deployment": NAME}


def test_a_model_that_takes_no_chat_is_told_and_not_left(emulator, create):
    emulator.fault("status", status=400, method="POST", path="chat")
    with pytest.raises(exceptions.FireworksRefused, match="without wait_for_inference"):
        create(wait_for_inference=True)
    assert costs_nothing(emulator)


def test_one_that_was_signed_by_another_meanwhile_is_left_alone(emulator, create):
    emulator.configure(deploy_duration=60)
    with (
        meanwhile(
            lambda: emulator.creations,
            lambda: emulator.set_deployment(MINE.deployment_id, description="Mine now!"),
        ),
        pytest.raises(exceptions.FireworksTimeout),
    ):
        create(timeout=0.3)
    assert emulator.deployments_left == [NAME]
    assert touched(emulator) == 0


def test_what_was_seen_and_is_gone_is_not_waited_for(emulator, monkeypatch):
    use_timing(monkeypatch, visibility_lag=1.2)
    emulator.configure(deploy_duration=60)
    with (
        meanwhile(
            lambda: emulator.creations and emulator.count("GET", "/deployments/") > 1,
            lambda: emulator.remove_deployment(MINE.deployment_id),
        ),
        pytest.raises(exceptions.FireworksDeploymentFailed),
    ):
        task().execute({"ti": TaskInstance()})
    assert time.time() - emulator.creations[0].at < 1.1


def test_a_key_that_is_revoked_ends_the_wait_and_what_is_left_is_told(emulator, create, caplog, capsys):
    emulator.configure(deploy_duration=60)
    with (
        meanwhile(lambda: emulator.count("GET", "/deployments/") > 1, emulator.revoke_key),
        pytest.raises(exceptions.FireworksAccessDenied) as failure,
    ):
        create()
    assert emulator.api_key not in repr(failure.value)
    logged = caplog.text + capsys.readouterr().out
    for words in (str(failure.value), logged):
        assert f"{NAME} was not deleted and IT MAY COST MONEY" in words
        assert emulator.api_key not in words


HOW = {
    "waiting": {},
    "deferred": {"deferrable": True},
    "not waiting": {"wait_for_completion": False},
}


@pytest.mark.parametrize("how", HOW.values(), ids=HOW)
def test_create_deletes_by_name_what_it_may_no_longer_read(emulator, how):
    emulator.configure(deploy_duration=60, create_lag=0.05 if "wait_for_completion" in how else 0)

    def deny() -> None:
        emulator.fault("status", status=403, code=7, method="GET", path="/deployments/", times=-1)

    with (
        meanwhile(lambda: emulator.creations, deny),
        pytest.raises(exceptions.FireworksAccessDenied) as failure,
    ):
        run_task(lambda: task(**how))
    assert emulator.count("DELETE") == 1
    assert costs_nothing(emulator)
    assert "COST MONEY" not in str(failure.value)


def test_create_that_may_neither_read_nor_delete_names_what_is_left(emulator, create):
    emulator.configure(deploy_duration=60)

    def deny() -> None:
        emulator.fault("status", status=403, code=7, times=-1)

    with (
        meanwhile(lambda: emulator.creations, deny),
        pytest.raises(exceptions.FireworksAccessDenied) as failure,
    ):
        create()
    assert f"{NAME} was not deleted and IT MAY COST MONEY" in str(failure.value)
    assert emulator.deployments_left == [NAME]


@pytest.mark.parametrize("path", ["/deployments/", "/accounts"])
def test_retry_that_may_not_read_deletes_nothing_blindly_and_names_what_may_exist(
    emulator, create, path, monkeypatch
):
    emulator.configure(deploy_duration=60)
    create(wait_for_completion=False)
    connection = json.loads(emulator.connection)
    if path == "/accounts":
        del connection["login"]
    monkeypatch.setenv("AIRFLOW_CONN_FIREWORKS_DEFAULT", json.dumps(connection))
    emulator.fault("status", status=403, code=7, method="GET", path=path, times=-1)
    with pytest.raises(exceptions.FireworksAccessDenied, match="IT MAY COST MONEY") as failure:
        create(again())
    assert MINE.deployment_id in str(failure.value)
    assert emulator.count("DELETE") == 0
    assert emulator.deployments_left == [NAME]


@pytest.mark.parametrize("after_work", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("fault", LOST[:2], ids=told)
def test_the_clean_up_goes_on_over_blips(emulator, create, fault, after_work):
    emulator.configure(deploy_outcome="never", deploy_duration=0)
    emulator.fault(**fault, method="DELETE", after_work=after_work)
    with pytest.raises(exceptions.FireworksTimeout):
        create(timeout=0.2)
    assert costs_nothing(emulator)


def test_the_clean_up_goes_on_over_a_refusal(emulator, create):
    emulator.configure(deploy_duration=60)
    emulator.fault("status", status=409, method="DELETE")
    with pytest.raises(exceptions.FireworksTimeout):
        create(timeout=0.3)
    assert costs_nothing(emulator)


def test_the_clean_up_goes_on_over_blips_of_its_look(emulator, create):
    emulator.configure(deploy_duration=60)
    with (
        meanwhile(
            lambda: emulator.count("GET", "/deployments/") > 1,
            lambda: emulator.fault("status", times=6, method="GET", path="/deployments/"),
        ),
        pytest.raises(exceptions.FireworksTimeout),
    ):
        create(timeout=0.5)
    assert costs_nothing(emulator)


@pytest.mark.parametrize("kind", ["drop", "status"])
def test_what_shows_up_late_is_cleaned_up_as_well(emulator, create, kind):
    emulator.configure(create_lag=0.5)
    emulator.fault(kind, method="POST", path="/deployments", after_work=True)
    with pytest.raises(exceptions.FireworksTimeout):
        create(timeout=0.3)
    assert len(emulator.creations) == 1
    assert costs_nothing(emulator)


def test_what_shows_up_late_is_cleaned_up_after_a_refusal_as_well(emulator, create):
    # Longer than it is looked for before the second request.
    emulator.configure(create_lag=0.9)
    emulator.fault("drop", method="POST", path="/deployments", after_work=True)
    emulator.fault("status", status=400, method="POST", path="/deployments")
    with pytest.raises(exceptions.FireworksRefused):
        create()
    assert len(emulator.creations) == 1
    assert costs_nothing(emulator)


# Deferrals that end otherwise than by a verdict


@pytest.mark.parametrize("error", ["Trigger timeout", "Trigger failure", "Unknown"])
@pytest.mark.parametrize("kept", [False, True], ids=["", "kept"])
def test_a_deferral_that_no_trigger_has_ended_leaves_nothing(emulator, error, kept):
    emulator.configure(deploy_duration=60)
    defer(lambda: task(deferrable=True))
    resumed = task(deferrable=True, delete_on_failure=not kept)
    with pytest.raises(Exception, match=error) as failure:
        resumed.resume_execution("__fail__", {"error": error}, {"ti": TaskInstance()})
    assert "Deferral" in type(failure.value).__name__
    assert gone(emulator) is not kept
    assert kept or costs_nothing(emulator)


def test_traffic_does_not_hinder_the_clean_up(emulator):
    emulator.configure(deploy_duration=0)
    defer(lambda: task(deferrable=True))
    FireworksHook().send(api.ask_deployment(f"{MODEL}#{NAME}"))
    with pytest.raises(Exception, match="Trigger failure"):
        task(deferrable=True).resume_execution(
            "__fail__", {"error": "Trigger failure"}, {"ti": TaskInstance()}
        )
    assert costs_nothing(emulator)


def test_a_deferral_that_no_trigger_has_ended_leaves_what_is_foreign(emulator):
    make(emulator, description="Do not touch!")
    with pytest.raises(Exception, match="Trigger failure"):
        task(deferrable=True).resume_execution(
            "__fail__", {"error": "Trigger failure"}, {"ti": TaskInstance()}
        )
    assert emulator.deployments_left == [NAME]
    assert touched(emulator) == 0


@pytest.mark.parametrize(
    "event",
    [
        *(None, {}, "ready", {"resume_state": {}}),
        {"resume_state": {}, "verdict": {"outcome": "ready", "reason": ""}},
        {"resume_state": {"deployment": NAME}, "verdict": {"outcome": "pending", "reason": ""}},
    ],
    ids=str,
)
def test_an_event_that_makes_no_sense_leaves_nothing(emulator, event):
    emulator.configure(deploy_duration=60)
    defer(lambda: task(deferrable=True))
    with pytest.raises(exceptions.FireworksInvalidEvent):
        task(deferrable=True).resume_execution("execute_complete", {"event": event}, {"ti": TaskInstance()})
    assert costs_nothing(emulator)


def test_a_connection_that_is_gone_when_the_trigger_looks_fails_the_task(emulator, monkeypatch):
    emulator.configure(deploy_duration=60)
    deferral = defer(lambda: task(deferrable=True))
    monkeypatch.delenv("AIRFLOW_CONN_FIREWORKS_DEFAULT")
    event = fire(*deferral.trigger.serialize())
    monkeypatch.setenv("AIRFLOW_CONN_FIREWORKS_DEFAULT", emulator.connection)
    with pytest.raises(exceptions.FireworksBadConnection):
        task(deferrable=True).resume_execution("execute_complete", {"event": event}, {"ti": TaskInstance()})
    assert costs_nothing(emulator)


def test_the_key_is_not_in_what_is_stored_of_a_deferral(emulator):
    emulator.configure(deploy_duration=60)
    deferral = defer(lambda: task(deferrable=True, delete_on_kill=True))
    path, stored = deferral.trigger.serialize()
    assert path.endswith("triggers.deployment.FireworksDeploymentReadyTrigger")
    assert emulator.api_key not in json.dumps(stored)
    assert stored["wait"]["deadline"] == pytest.approx(time.time() + 20, abs=5)
    assert stored["delete_on_kill"] == MINE.description
    assert deferral.timeout.total_seconds() > 20


# Being stopped in the middle


class Stop:
    """Airflow's timeout of an execution, raised wherever the task is."""

    def __call__(self) -> None:
        raise AirflowTaskTimeout("stopped")


@pytest.mark.parametrize("kept", [False, True], ids=["", "kept"])
def test_an_execution_timeout_while_waiting_leaves_nothing(emulator, kept):
    emulator.configure(deploy_duration=60)
    with (
        interrupted(lambda: emulator.count("GET", "/deployments/") > 1, Stop()),
        pytest.raises(AirflowTaskTimeout),
    ):
        task(delete_on_failure=not kept).execute({"ti": TaskInstance()})
    assert gone(emulator) is not kept
    assert kept or costs_nothing(emulator)


def test_deferred_create_ends_by_execution_timeout_and_deletes_what_it_created(emulator):
    emulator.configure(deploy_duration=60)
    with pytest.raises(AirflowTaskTimeout, match=r"execution_timeout of 1 s is over, last seen: .*CREATING"):
        run_task(lambda: task(deferrable=True, timeout=600, execution_timeout=timedelta(seconds=0.6)))
    assert costs_nothing(emulator)


def test_create_in_a_task_loop_has_a_deployment_for_each_iteration(emulator, create):
    loops = [SimpleNamespace(index=index) for index in (0, 1, 0)]
    names = [
        task(wait_for_completion=False).execute({"ti": TaskInstance(try_number=number), "loop": loop})[
            "deployment"
        ]
        for number, loop in enumerate(loops, 1)
    ]
    # The third is the first one, cleared.
    assert names[0] == names[2] != names[1]
    assert sorted(emulator.deployments_left) == sorted(names[:2])
    assert len(emulator.creations) == 2


def test_an_execution_timeout_while_creating_leaves_nothing(emulator):
    emulator.configure(deploy_duration=60)
    emulator.fault("slow", method="POST", path="/deployments", after_work=True, delay=3)
    with interrupted(lambda: emulator.creations, Stop()), pytest.raises(AirflowTaskTimeout):
        task().execute({"ti": TaskInstance()})
    assert len(emulator.creations) == 1
    assert costs_nothing(emulator)


def test_an_execution_timeout_while_creating_leaves_nothing_that_shows_up_late(emulator):
    emulator.configure(deploy_duration=60, create_lag=0.4)
    emulator.fault("slow", method="POST", path="/deployments", after_work=True, delay=3)
    with interrupted(lambda: emulator.creations, Stop()), pytest.raises(AirflowTaskTimeout):
        task().execute({"ti": TaskInstance()})
    assert costs_nothing(emulator)


# Dry runs


def test_a_dry_run_creates_nothing(emulator, create):
    assert create(validate_only=True) == {"deployment": None}
    (post,) = [request for request in emulator.requests if request.method == "POST"]
    assert post.query["validateOnly"] == "true"
    assert (emulator.creations, emulator.deployments) == ([], [])


def test_a_dry_run_tells_the_quota(emulator, create):
    emulator.configure(gpu_quota=0)
    with pytest.raises(exceptions.FireworksQuotaExceeded, match="requesting: 1"):
        create(validate_only=True)
    assert posts(emulator) == 1


def test_a_dry_run_tells_that_the_model_is_not_ready(emulator, create):
    with pytest.raises(exceptions.FireworksModelNotReady):
        create(validate_only=True, precision="FP8")
    assert posts(emulator) == 0


def test_a_dry_run_tells_that_the_shape_has_another_precision(emulator, create):
    emulator.set_model("my-model", supportedPrecisions=["FP16", "FP8"])
    with pytest.raises(exceptions.FireworksInvalidArgument, match="is for FP8"):
        create(validate_only=True, deployment_shape="accounts/demo/deploymentShapes/my-shape")


def test_a_dry_run_goes_on_over_blips_or_can_be_retried(emulator, create):
    emulator.fault("status", times=5, method="POST", path="/deployments")
    failure = None
    try:
        create(validate_only=True)
    except exceptions.FireworksError as error:
        failure = error
    assert not isinstance(failure, AirflowFailException)
    assert emulator.creations == []


# Shapes

SHAPE = "accounts/demo/deploymentShapes/my-shape"
FULL_SHAPE = "accounts/demo/deploymentShapes/my-full-shape"


@pytest.fixture
def prepared(emulator: Any) -> Any:
    """The API, with a model that is ready at FP8 too."""
    emulator.set_model("my-model", supportedPrecisions=["FP16", "FP8"])
    return emulator


def test_a_shape_of_another_precision_is_refused_before_it_costs_anything(prepared, create):
    with pytest.raises(exceptions.FireworksInvalidArgument, match=r"is for FP8, not for FP16"):
        create(deployment_shape=SHAPE, precision="FP16")
    assert (prepared.creations, prepared.gpu_seconds) == ([], 0)
    assert [
        request.query.get("validateOnly") for request in prepared.requests if request.method == "POST"
    ] == ["true"]


@pytest.mark.parametrize("exclusive", [True, False])
def test_a_shape_of_the_precision_is_deployed(prepared, create, exclusive):
    prepared.configure(shape_exclusive=exclusive)
    create(deployment_shape=SHAPE, precision="FP8")
    assert payload(prepared)["precision"] == "FP8"
    assert payload(prepared)["deploymentShape"].startswith(SHAPE)
    assert len(prepared.creations) == 1


def test_a_shape_needs_no_precision(prepared, create):
    create(deployment_shape="default", precision=None)
    assert len(prepared.creations) == 1


def test_a_shape_that_leaves_the_model_at_its_own_precision_is_no_fp8(prepared, create):
    with pytest.raises(exceptions.FireworksInvalidArgument):
        create(deployment_shape=FULL_SHAPE, precision="FP8")
    assert prepared.creations == []


@pytest.mark.parametrize(
    ("after_work", "lag"),
    [(False, 0), (True, 0), (True, 0.2)],
    ids=["before", "after", "after, create lag"],
)
def test_with_a_shape_a_lost_answer_makes_no_second_deployment(prepared, create, after_work, lag):
    prepared.configure(create_lag=lag)
    prepared.fault("drop", method="POST", path="/deployments[?]deploymentId=[^&]*$", after_work=after_work)
    create(deployment_shape=SHAPE, precision="FP8")
    assert len(prepared.creations) == 1
    assert prepared.deployments_left == [NAME]


def test_with_a_shape_nothing_is_left_after_a_lost_answer(prepared, create):
    prepared.configure(create_lag=0.4)
    prepared.fault("drop", method="POST", path="/deployments[?]deploymentId=[^&]*$", after_work=True)
    with pytest.raises(exceptions.FireworksError):
        create(deployment_shape=SHAPE, precision="FP8", timeout=0.3)
    assert costs_nothing(prepared)


@pytest.mark.parametrize("shown", ["deleted", "not_found"])
def test_with_a_shape_an_own_deleted_deployment_is_brought_back(prepared, create, shown):
    prepared.configure(deleted_get=shown)
    create(deployment_shape=SHAPE, precision="FP8")
    FireworksHook().delete_deployment(MINE.deployment_id)
    create(again(), deployment_shape=SHAPE, precision="FP8")
    assert payload(prepared)["state"] == "READY"
    assert len(prepared.creations) == 1


# Arguments that make no sense

WRONG = [
    ({"model": "../other"}, "is no model"),
    ({"model": "my-model?x=1"}, "is no model"),
    ({"model": "accounts/demo/deployments/x"}, "is no model"),
    ({"precision": "fp8"}, "FP8"),
    ({"precision": "PRECISION_UNSPECIFIED"}, "no precision"),
    ({"deployment_id": "My_Id"}, "deployment_id"),
    ({"deployment_id": "-edge"}, "deployment_id"),
    ({"deployment_id": "x" * 64}, "deployment_id"),
    ({"deployment_id": NAME}, "deployment_id"),
    ({"accelerator_type": None}, "accelerator_type or deployment_shape"),
    ({"deployment_shape": "default", "accelerator_type": H100}, "deployment_shape cannot be combined with"),
    ({"deployment_shape": "default", "accelerator_count": 1}, "deployment_shape cannot be combined with"),
    ({"accelerator_count": 0}, "accelerator_count"),
    ({"min_replica_count": -1}, "min_replica_count"),
    ({"min_replica_count": 1.5}, "min_replica_count"),
    ({"min_replica_count": "few"}, "min_replica_count"),
    ({"max_replica_count": -1}, "max_replica_count"),
    ({"min_replica_count": 2, "max_replica_count": 1}, "min_replica_count is 2"),
    ({"display_name": "x" * 64}, "display_name"),
    ({"extra_spec": {"precision": "FP8"}}, "extra_spec: precision"),
    ({"extra_spec": {"baseModel": "x"}}, "extra_spec: baseModel"),
    ({"extra_spec": {"minReplicaCount": 1}}, "extra_spec: minReplicaCount"),
    ({"extra_spec": {"description": "x"}}, "extra_spec: description"),
    ({"extra_spec": {"deploymentId": "x"}}, "extra_spec: deploymentId"),
]
LATER = [
    ({"model": None}, "model"),
    ({"model": "my model"}, "is no model id"),
    ({"precision": ["FP16", "FP8"]}, "precision"),
    ({"accelerator_type": ""}, "accelerator_type"),
    ({"extra_spec": ["autoscalingPolicy"]}, "extra_spec"),
    ({"extra_spec": "{}"}, "extra_spec"),
    ({"wait_for_completion": "perhaps"}, "wait_for_completion"),
    ({"delete_on_failure": "perhaps"}, "delete_on_failure"),
    ({"display_name": 5}, "display_name"),
    ({"validate_only": "perhaps"}, "validate_only"),
    ({"poll_interval": -1}, "poll_interval"),
    ({"timeout": "soon"}, "timeout"),
]


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        *WRONG,
        ({"display_name": 5}, "display_name"),
    ],
    ids=str,
)
def test_bad_literals_are_refused_when_the_dag_is_parsed(emulator, wrong, told):
    with pytest.raises(exceptions.FireworksInvalidArgument, match=told):
        task(**wrong)
    assert emulator.requests == []


@pytest.mark.parametrize(("wrong", "told"), [*WRONG, *LATER], ids=str)
def test_bad_renderings_are_refused_before_anything_is_sent(emulator, wrong, told):
    rendered = task()
    if "deployment_shape" in wrong:
        rendered.accelerator_type = None
    for name, value in wrong.items():
        setattr(rendered, name, value)
    with pytest.raises(exceptions.FireworksInvalidArgument, match=told) as failure:
        rendered.execute({"ti": TaskInstance()})
    assert isinstance(failure.value, AirflowFailException)
    assert emulator.requests == []


def test_templates_are_not_judged_when_the_dag_is_parsed(emulator):
    template = "{{ params.x }}"
    task(
        model=template,
        precision=template,
        deployment_id=template,
        accelerator_type=template,
        accelerator_count=template,
        min_replica_count=template,
        max_replica_count=1,
        display_name=template * 9,
        extra_spec={"autoscalingPolicy": template},
    )


def test_another_account_can_be_named(emulator, create):
    emulator.configure(accounts=["demo", "other"])
    made = create(account_id="other", model=MODEL, wait_for_completion=False)["deployment"]
    assert made == f"accounts/other/deployments/{MINE.deployment_id}"
    assert emulator.deployments_left == [made]


# The key


def test_a_wrong_key_fails_at_once_and_is_not_shown(emulator, create):
    emulator.revoke_key()
    with pytest.raises(exceptions.FireworksAccessDenied, match="API key") as failure:
        create()
    assert isinstance(failure.value, AirflowFailException)
    shown = repr(failure.value) + repr(failure.value.__dict__) + repr(failure.value.__context__)
    assert emulator.api_key not in shown
    assert len(emulator.requests) == 1


def test_a_key_that_the_gateway_echoes_is_taken_out(emulator, create, caplog, capsys):
    emulator.fault("status", status=400, message=f"bad key {emulator.api_key}", method="POST")
    with pytest.raises(exceptions.FireworksRefused, match=r"bad key \*\*\*") as failure:
        create()
    shown = repr(failure.value) + repr(failure.value.__context__) + caplog.text + capsys.readouterr().out
    assert emulator.api_key not in shown
