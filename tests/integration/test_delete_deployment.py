"""Deleting deployments by name, with the emulator's own record as the proof."""

from __future__ import annotations

from threading import Timer
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import AirflowFailException
from airflow.providers.standard.operators.empty import EmptyOperator
from airflow.sdk import DAG

from airflow_provider_fireworks import exceptions
from airflow_provider_fireworks.client import api
from airflow_provider_fireworks.deployments.ownership import Owner
from airflow_provider_fireworks.hooks.fireworks import FireworksHook
from airflow_provider_fireworks.operators.deployment import (
    FireworksCreateDeploymentOperator,
    FireworksDeleteDeploymentOperator,
)
from tests.integration import conftest
from tests.integration.conftest import MODEL, run_task
from tests.timing import use_timing

NAME = "accounts/demo/deployments/d"
SPEC = {"baseModel": MODEL, "acceleratorType": "NVIDIA_H100_80GB"}
KEY_ERROR = (
    "Until.RESPONSE takes a 404 for an end that is READY, and _patiently fails with it: KeyError: 'ready'"
)


class TaskInstance(conftest.TaskInstance):
    """One of a first try, in an Airflow where nothing else runs."""

    try_number = 1

    def get_dr_count(self, dag_id: str, **how: Any) -> int:
        return 0


@pytest.fixture(autouse=True)
def _at_once(emulator: Any) -> None:
    emulator.configure(deploy_duration=0)


@pytest.fixture(autouse=True)
def _quick_retries(monkeypatch: pytest.MonkeyPatch) -> None:
    use_timing(monkeypatch, first_retry_delay=0.01)


@pytest.fixture
def deployed(emulator: Any) -> Any:
    """An API with the deployment ``d``, of which nothing was asked yet."""
    FireworksHook().create_deployment("d", SPEC)
    emulator.clear()
    return emulator


def delete(**arguments: Any) -> list[str]:
    arguments = {"timeout": 10, **arguments}
    result = run_task(
        lambda: FireworksDeleteDeploymentOperator(task_id="remove", **arguments), TaskInstance("remove")
    )
    assert set(result) == {"deleted"}
    return result["deleted"]


def serve_something() -> None:
    FireworksHook().send(api.ask_deployment(f"{MODEL}#{NAME}"))


# ---- named


@pytest.mark.parametrize("deployment", ["d", NAME])
def test_what_is_named_is_deleted(deployed, deployment):
    assert delete(deployment=deployment) == [NAME]
    assert [(request.method, request.query) for request in deployed.requests] == [("GET", {}), ("DELETE", {})]
    assert deployed.deployment("d")["state"] == "DELETED"
    assert deployed.deployments_left == []


def test_for_good(deployed):
    assert delete(deployment="d", hard=True) == [NAME]
    assert deployed.deployments == []
    FireworksHook().create_deployment("d", SPEC)


@pytest.mark.parametrize("shown", ["deleted", "not_found"])
def test_what_is_deleted_already_is_a_success(deployed, shown):
    deployed.configure(deleted_get=shown)
    FireworksHook().delete_deployment("d")
    assert delete(deployment="d") == []
    assert deployed.deployments_left == []


def test_delete_for_good_frees_id_of_softly_deleted_deployment(deployed: Any) -> None:
    FireworksHook().delete_deployment("d")
    assert delete(deployment="d") == []
    assert delete(deployment="d", hard=True) == [NAME]
    FireworksHook().create_deployment("d", SPEC)
    assert deployed.deployments_left == [NAME]


def test_what_never_was_is_a_success(emulator):
    assert delete(deployment="none") == []


@pytest.mark.parametrize("state", ["DELETING", "DELETED"])
@pytest.mark.parametrize("status", [400, 409])
def test_what_is_being_deleted_is_a_success_though_it_is_refused(deployed, state, status):
    deployed.set_deployment("d", state=state)
    deployed.fault("status", status=status, method="DELETE")
    assert delete(deployment="d") == []


def test_what_is_being_deleted_is_a_success(deployed):
    deployed.configure(delete_duration=60)
    assert delete(deployment="d") == [NAME]
    delete(deployment="d")
    assert deployed.deployment("d")["state"] == "DELETING"


def test_what_served_lately_is_refused_with_a_hint(deployed):
    serve_something()
    with pytest.raises(
        exceptions.FireworksRefused, match=r"FAILED_PRECONDITION.*If it has served.*ignore_checks=True"
    ) as refusal:
        delete(deployment="d")
    assert isinstance(refusal.value, AirflowFailException)
    assert NAME in str(refusal.value)
    assert deployed.deployments_left == [NAME]
    assert delete(deployment="d", ignore_checks=True) == [NAME]
    assert deployed.requests[-1].query == {"ignoreChecks": "true"}


def test_there_is_no_hint_where_it_was_heeded(deployed):
    deployed.fault("status", status=400, method="DELETE")
    with pytest.raises(exceptions.FireworksRefused) as refusal:
        delete(deployment="d", ignore_checks=True)
    assert "ignore_checks" not in str(refusal.value)


def test_what_is_gone_by_the_look_after_a_refusal_is_a_success(deployed):
    deployed.fault("status", status=400, method="DELETE", after_work=True)
    assert delete(deployment="d", hard=True) == []


LOST = [
    {"kind": "drop"},
    {"kind": "drop", "after_work": True},
    {"kind": "truncate", "after_work": True},
    {"kind": "status", "status": 503},
    {"kind": "status", "status": 500, "after_work": True},
    {"kind": "html", "status": 502, "after_work": True},
    {"kind": "html", "status": 404},
    {"kind": "status", "status": 429, "retry_after": "0"},
]


@pytest.mark.parametrize("hard", [False, True], ids=["softly", "for good"])
@pytest.mark.parametrize("fault", LOST, ids=lambda fault: " ".join(map(str, fault.values())))
def test_a_lost_answer_is_asked_for_again(deployed, fault, hard):
    deployed.fault(**fault, method="DELETE")
    assert delete(deployment="d", hard=hard) == [NAME]
    assert deployed.deployments_left == []
    # What was resume_state out all the same is not requested again.
    assert deployed.count("DELETE") == (1 if fault.get("after_work") else 2)


def test_a_gateway_that_is_away_for_a_while_is_waited_for(deployed):
    deployed.stop()
    back = Timer(0.4, deployed.start)
    back.start()
    assert delete(deployment="d") == [NAME]
    back.join()
    assert deployed.deployments_left == []


def test_a_gateway_that_stays_away_is_told_to_cost_money(deployed):
    deployed.stop()
    with pytest.raises(
        exceptions.FireworksTimeout, match=r"d was not deleted and IT MAY COST MONEY: .*cannot be reached"
    ) as ending:
        delete(deployment="d", timeout=0.5)
    assert not isinstance(ending.value, AirflowFailException)


def test_a_wrong_key_fails_at_once(deployed):
    deployed.revoke_key()
    with pytest.raises(exceptions.FireworksAccessDenied, match="IT MAY COST MONEY") as failure:
        delete(deployment="d")
    assert deployed.api_key not in repr(failure.value)
    assert [request.method for request in deployed.requests] == ["GET", "DELETE"]


@pytest.mark.parametrize(
    "wrong", [{"deployment": ""}, {"deployment": ["d", "a b"]}, {"deployment": "a b"}], ids=str
)
def test_bad_literals_are_refused_when_the_dag_is_parsed(wrong):
    with pytest.raises(exceptions.FireworksInvalidArgument):
        FireworksDeleteDeploymentOperator(task_id="remove", **wrong)


@pytest.mark.parametrize("rendered", ["None", "", "a b", MODEL])
def test_a_bad_rendering_is_refused_before_anything_is_sent(emulator, rendered):
    remove = FireworksDeleteDeploymentOperator(task_id="remove", deployment="{{ x }}")
    remove.deployment = rendered
    with pytest.raises(exceptions.FireworksInvalidArgument, match="is no deployment"):
        remove.execute({"ti": TaskInstance()})
    assert emulator.requests == []


# ---- none, one or several


def test_delete_without_a_name_succeeds_with_a_warning(emulator, caplog, capsys):
    with DAG("my_dag", schedule=None):
        deploy = EmptyOperator(task_id="deploy")
        remove = FireworksDeleteDeploymentOperator(task_id="remove", deployment=None)
        deploy >> remove
    assert remove.execute({"ti": TaskInstance("remove")}) == {"deleted": []}
    said = caplog.text + capsys.readouterr().out
    assert "no deployment was named by the tasks upstream (deploy)" in said
    assert "FireworksSweepDeploymentsOperator finds it" in said
    assert emulator.requests == []


@pytest.mark.parametrize("several", [list, tuple, iter, lambda names: (name for name in names)])
def test_delete_takes_any_iterable_of_names(emulator, several):
    for name in ("a", "b"):
        FireworksHook().create_deployment(name, SPEC)
    # A mapped task that failed has pushed None.
    names = ["a", None, "accounts/demo/deployments/b", "gone-already"]
    remove = FireworksDeleteDeploymentOperator(task_id="remove", deployment=None, timeout=10)
    remove.deployment = several(names)
    deleted = remove.execute({"ti": TaskInstance("remove")})["deleted"]
    assert deleted == ["accounts/demo/deployments/a", "accounts/demo/deployments/b"]
    assert emulator.deployments_left == []


def test_delete_that_is_refused_does_not_keep_the_others(emulator):
    for name in ("a", "b"):
        FireworksHook().create_deployment(name, SPEC)
    emulator.fault("status", status=400, code=9, method="DELETE", path="deployments/a", times=-1)
    with pytest.raises(
        exceptions.FireworksRefused, match=r"deployments/a was not deleted and IT MAY COST MONEY"
    ):
        delete(deployment=["a", "b"])
    assert emulator.deployments_left == ["accounts/demo/deployments/a"]


# ---- recent traffic


def owned_by(run_id: str, **marks: Any) -> str:
    return Owner("my_dag", run_id, "deploy", **marks).description


@pytest.mark.parametrize(
    ("description", "skips"),
    [
        (owned_by("manual__1"), True),
        (owned_by("manual__1", map_index=3), True),
        (owned_by("manual__1", kept=True), False),
        (owned_by("manual__2"), False),
        ("Made by hand.", False),
    ],
    ids=["this run's", "mapped", "adopted", "another run's", "a person's"],
)
def test_delete_skips_the_traffic_check_only_for_what_this_run_created(emulator, description, skips):
    FireworksHook().create_deployment("d", {**SPEC, "description": description})
    serve_something()
    if skips:
        assert delete(deployment="d") == [NAME]
    else:
        with pytest.raises(exceptions.FireworksRefused, match="ignore_checks=True deletes it all the same"):
            delete(deployment="d")
    assert delete(deployment="d", ignore_checks=True) == ([] if skips else [NAME])


def test_delete_leaves_alone_what_another_running_run_has_adopted(emulator, caplog, capsys):
    FireworksHook().create_deployment("d", {**SPEC, "description": owned_by("another")})

    class Running(conftest.TaskInstance):
        def __init__(self) -> None:
            super().__init__("remove", runs={"another": "running"})

    def remove(**arguments: Any) -> list[str]:
        return FireworksDeleteDeploymentOperator(
            task_id="remove", deployment="d", timeout=10, **arguments
        ).execute({"ti": Running()})["deleted"]

    assert remove() == []
    assert emulator.deployments_left == [NAME]
    assert "run another, which has not ended" in caplog.text + capsys.readouterr().out
    assert remove(ignore_checks=True) == [NAME]


def test_delete_that_is_ended_in_the_middle_names_what_is_not_deleted(emulator):
    for name in ("a", "b"):
        FireworksHook().create_deployment(name, SPEC)
    remove = FireworksDeleteDeploymentOperator(
        task_id="remove", deployment=["a", "accounts/other/deployments/x", "b"], account_id="demo", timeout=10
    )
    with pytest.raises(exceptions.FireworksInvalidArgument, match=r"Not deleted: .*x, b: IT MAY COST MONEY"):
        remove.execute({"ti": TaskInstance("remove")})
    assert emulator.deployments_left == ["accounts/demo/deployments/b"]


def test_delete_that_may_not_read_leaves_the_traffic_check_on(emulator):
    FireworksHook().create_deployment("d", {**SPEC, "description": owned_by("manual__1")})
    emulator.fault("status", status=403, code=7, method="GET", path="/deployments/", times=-1)
    assert delete(deployment="d") == [NAME]
    assert [request.query for request in emulator.requests if request.method == "DELETE"] == [{}]


# ---- after the task that creates it


def test_delete_that_always_runs_leaves_a_conflicting_deployment_alone(emulator):
    FireworksHook().create_deployment("shared", {**SPEC, "description": "Do not touch!"})
    instance = TaskInstance("deploy")
    create = FireworksCreateDeploymentOperator(
        task_id="deploy", model="my-model", accelerator_type="NVIDIA_H100_80GB", deployment_id="shared"
    )
    with pytest.raises(exceptions.FireworksDeploymentConflict):
        create.execute({"ti": instance})
    assert instance.xcoms == {"deployment": None, "inference_model": None}
    assert delete(deployment=instance.xcoms["deployment"]) == []
    assert emulator.count("DELETE") == 0
    assert len(emulator.deployments_left) == 1


def test_delete_finds_by_name_what_a_create_left_that_ended_in_the_middle(emulator):
    instance = TaskInstance("deploy")
    create = FireworksCreateDeploymentOperator(
        task_id="deploy", model="my-model", accelerator_type="NVIDIA_H100_80GB", delete_on_failure=False
    )
    emulator.fault("status", status=403, code=7, method="GET", path="/deployments/", times=-1)
    with pytest.raises(exceptions.FireworksAccessDenied):
        create.execute({"ti": instance})
    emulator.clear_faults()
    assert instance.xcoms["deployment"].startswith("accounts/demo/deployments/my-dag-deploy-")
    assert delete(deployment=instance.xcoms["deployment"]) == []
