"""``FireworksDeleteDeploymentOperator``; the emulator's records say what happened."""

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
from airflow_provider_fireworks.operators.deployment import FireworksDeleteDeploymentOperator
from tests.integration.conftest import MODEL, TaskInstance, run_task
from tests.integration.creating import fault_id, make_task
from tests.timing import use_timing

NAME = "accounts/demo/deployments/d"
SPEC = {"baseModel": MODEL, "acceleratorType": "NVIDIA_H100_80GB"}


@pytest.fixture(autouse=True)
def _quick(emulator: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    emulator.configure(deploy_duration=0)
    use_timing(monkeypatch, first_retry_delay=0.01)


@pytest.fixture
def deployed(emulator: Any) -> Any:
    """An API with the deployment ``d``, and no records of requests yet."""
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


def request_inference() -> None:
    FireworksHook().send(api.request_inference(f"{MODEL}#{NAME}"))


# ---- one name


@pytest.mark.parametrize("deployment", ["d", NAME])
def test_delete_deletes_softly_by_id_or_name(deployed, deployment):
    assert delete(deployment=deployment) == [NAME]
    assert [(request.method, request.query) for request in deployed.requests] == [("GET", {}), ("DELETE", {})]
    assert deployed.deployment("d")["state"] == "DELETED"
    assert deployed.deployments_left == []


def test_delete_hard_frees_id(deployed):
    assert delete(deployment="d", hard=True) == [NAME]
    assert deployed.deployments == []
    FireworksHook().create_deployment("d", SPEC)


def test_delete_hard_frees_id_of_softly_deleted_deployment(deployed):
    FireworksHook().delete_deployment("d")
    assert delete(deployment="d") == []
    assert delete(deployment="d", hard=True) == [NAME]
    FireworksHook().create_deployment("d", SPEC)
    assert deployed.deployments_left == [NAME]


# ---- deleted already


@pytest.mark.parametrize("deleted_get", ["deleted", "not_found"])
def test_delete_of_deleted_deployment_succeeds(deployed, deleted_get):
    deployed.configure(deleted_get=deleted_get)
    FireworksHook().delete_deployment("d")
    assert delete(deployment="d") == []
    assert deployed.deployments_left == []


def test_delete_of_unknown_deployment_succeeds(emulator):
    assert delete(deployment="none") == []


@pytest.mark.parametrize("state", ["DELETING", "DELETED"])
@pytest.mark.parametrize("status", [400, 409])
def test_delete_refused_because_already_deleted_succeeds(deployed, state, status):
    deployed.set_deployment("d", state=state)
    deployed.fault("status", status=status, method="DELETE")
    assert delete(deployment="d") == []


def test_delete_does_not_wait_until_deployment_is_deleted(deployed):
    deployed.configure(delete_duration=60)
    assert delete(deployment="d") == [NAME]
    assert delete(deployment="d") == []
    assert deployed.deployment("d")["state"] == "DELETING"


def test_delete_refused_though_carried_out_succeeds(deployed):
    deployed.fault("status", status=400, method="DELETE", after_work=True)
    assert delete(deployment="d", hard=True) == []


# ---- errors


@pytest.mark.parametrize("hard", [False, True], ids=["softly", "for good"])
@pytest.mark.parametrize(
    "fault",
    [
        {"kind": "drop"},
        {"kind": "drop", "after_work": True},
        {"kind": "truncate", "after_work": True},
        {"kind": "status", "status": 503},
        {"kind": "status", "status": 500, "after_work": True},
        {"kind": "html", "status": 502, "after_work": True},
        {"kind": "html", "status": 404},
        {"kind": "status", "status": 429, "retry_after": "0"},
    ],
    ids=fault_id,
)
def test_delete_continues_over_transient_error(deployed, fault, hard):
    deployed.fault(**fault, method="DELETE")
    assert delete(deployment="d", hard=hard) == [NAME]
    assert deployed.deployments_left == []
    # A request that was carried out despite its error is not sent again.
    assert deployed.count("DELETE") == (1 if fault.get("after_work") else 2)


def test_delete_waits_until_api_is_back(deployed):
    deployed.stop()
    back = Timer(0.4, deployed.start)
    back.start()
    assert delete(deployment="d") == [NAME]
    back.join()
    assert deployed.deployments_left == []


def test_delete_without_api_times_out_and_names_what_is_left(deployed):
    deployed.stop()
    with pytest.raises(
        exceptions.FireworksTimeout, match=r"d was not deleted and IT MAY COST MONEY: .*cannot be reached"
    ) as failure:
        delete(deployment="d", timeout=0.5)
    assert not isinstance(failure.value, AirflowFailException)


def test_delete_with_wrong_key_fails_at_once_without_showing_it(deployed):
    deployed.revoke_key()
    with pytest.raises(exceptions.FireworksAccessDenied, match="IT MAY COST MONEY") as failure:
        delete(deployment="d")
    assert deployed.api_key not in repr(failure.value)
    assert [request.method for request in deployed.requests] == ["GET", "DELETE"]


# ---- invalid arguments; which ones are invalid is in tests/unit/test_arguments.py


def test_delete_rejects_invalid_literal_when_dag_is_parsed():
    with pytest.raises(exceptions.FireworksInvalidArgument):
        FireworksDeleteDeploymentOperator(task_id="remove", deployment=["d", "a b"])


@pytest.mark.parametrize("rendered", ["None", MODEL])
def test_delete_rejects_invalid_rendering_before_any_request(emulator, rendered):
    remove = FireworksDeleteDeploymentOperator(task_id="remove", deployment="{{ x }}")
    remove.deployment = rendered
    with pytest.raises(exceptions.FireworksInvalidArgument, match="deployment"):
        remove.execute({"ti": TaskInstance("remove")})
    assert emulator.requests == []


# ---- no name, several names


def test_delete_without_name_succeeds_with_warning(emulator, caplog, capsys):
    with DAG("my_dag", schedule=None):
        deploy = EmptyOperator(task_id="deploy")
        remove = FireworksDeleteDeploymentOperator(task_id="remove", deployment=None)
        deploy >> remove
    assert remove.execute({"ti": TaskInstance("remove")}) == {"deleted": []}
    logged = caplog.text + capsys.readouterr().out
    assert "no deployment was named by the tasks upstream (deploy)" in logged
    assert "FireworksSweepDeploymentsOperator finds it" in logged
    assert emulator.requests == []


@pytest.mark.parametrize("several", [list, tuple, iter, lambda names: (name for name in names)])
def test_delete_accepts_any_iterable_of_names(emulator, several):
    for name in ("a", "b"):
        FireworksHook().create_deployment(name, SPEC)
    # A mapped task that failed has pushed None.
    names = ["a", None, "accounts/demo/deployments/b", "gone-already"]
    remove = FireworksDeleteDeploymentOperator(task_id="remove", deployment=None, timeout=10)
    remove.deployment = several(names)
    deleted = remove.execute({"ti": TaskInstance("remove")})["deleted"]
    assert deleted == ["accounts/demo/deployments/a", "accounts/demo/deployments/b"]
    assert emulator.deployments_left == []


def test_delete_of_several_continues_after_refusal(emulator):
    for name in ("a", "b"):
        FireworksHook().create_deployment(name, SPEC)
    emulator.fault("status", status=400, code=9, method="DELETE", path="deployments/a", times=-1)
    with pytest.raises(
        exceptions.FireworksRefused, match="deployments/a was not deleted and IT MAY COST MONEY"
    ):
        delete(deployment=["a", "b"])
    assert emulator.deployments_left == ["accounts/demo/deployments/a"]


def test_delete_of_several_names_those_it_did_not_reach(emulator):
    for name in ("a", "b"):
        FireworksHook().create_deployment(name, SPEC)
    remove = FireworksDeleteDeploymentOperator(
        task_id="remove", deployment=["a", "accounts/other/deployments/x", "b"], account_id="demo", timeout=10
    )
    with pytest.raises(exceptions.FireworksInvalidArgument, match=r"Not deleted: .*x, b: IT MAY COST MONEY"):
        remove.execute({"ti": TaskInstance("remove")})
    assert emulator.deployments_left == ["accounts/demo/deployments/b"]


# ---- recent traffic


def description(run_id: str, **marks: Any) -> str:
    return Owner("my_dag", run_id, "deploy", **marks).description


def test_delete_after_traffic_is_refused_unless_checks_are_ignored(deployed):
    request_inference()
    with pytest.raises(
        exceptions.FireworksRefused, match=r"FAILED_PRECONDITION.*If it has served.*ignore_checks=True"
    ) as refusal:
        delete(deployment="d")
    assert isinstance(refusal.value, AirflowFailException)
    assert NAME in str(refusal.value)
    assert deployed.deployments_left == [NAME]
    assert delete(deployment="d", ignore_checks=True) == [NAME]
    assert deployed.requests[-1].query == {"ignoreChecks": "true"}


def test_delete_refused_with_ignore_checks_does_not_suggest_it(deployed):
    deployed.fault("status", status=400, method="DELETE")
    with pytest.raises(exceptions.FireworksRefused) as refusal:
        delete(deployment="d", ignore_checks=True)
    assert "ignore_checks" not in str(refusal.value)


@pytest.mark.parametrize(
    ("description", "ignores_checks"),
    [
        (description("manual__1"), True),
        (description("manual__1", map_index=3), True),
        (description("manual__1", kept=True), False),
        (description("manual__2"), False),
        ("Created by hand.", False),
    ],
    ids=["this run's", "mapped", "adopted", "another run's", "by hand"],
)
def test_delete_ignores_checks_for_what_its_run_created(emulator, description, ignores_checks):
    FireworksHook().create_deployment("d", {**SPEC, "description": description})
    request_inference()
    if ignores_checks:
        assert delete(deployment="d") == [NAME]
    else:
        with pytest.raises(exceptions.FireworksRefused, match="ignore_checks=True deletes it all the same"):
            delete(deployment="d")
        assert emulator.deployments_left == [NAME]


def test_delete_that_may_not_read_does_not_ignore_checks(emulator):
    FireworksHook().create_deployment("d", {**SPEC, "description": description("manual__1")})
    emulator.fault("status", status=403, code=7, method="GET", path="/deployments/", times=-1)
    assert delete(deployment="d") == [NAME]
    assert [request.query for request in emulator.requests if request.method == "DELETE"] == [{}]


# ---- together with other tasks


def test_delete_leaves_deployment_adopted_by_active_run_alone(emulator, caplog, capsys):
    FireworksHook().create_deployment("d", {**SPEC, "description": description("another")})
    instance = TaskInstance("remove", runs={"another": "running"})

    def remove(**arguments: Any) -> list[str]:
        return FireworksDeleteDeploymentOperator(
            task_id="remove", deployment="d", timeout=10, **arguments
        ).execute({"ti": instance})["deleted"]

    assert remove() == []
    assert emulator.deployments_left == [NAME]
    assert "run another, which has not ended" in caplog.text + capsys.readouterr().out
    assert remove(ignore_checks=True) == [NAME]


def test_delete_after_create_conflict_leaves_deployment_alone(emulator):
    FireworksHook().create_deployment("shared", {**SPEC, "description": "Do not touch!"})
    instance = TaskInstance()
    with pytest.raises(exceptions.FireworksDeploymentConflict):
        make_task(deployment_id="shared").execute({"ti": instance})
    assert instance.xcoms == {"deployment": None, "inference_model": None}
    assert delete(deployment=instance.xcoms["deployment"]) == []
    assert emulator.count("DELETE") == 0
    assert len(emulator.deployments_left) == 1


def test_delete_knows_name_of_create_that_failed_at_its_first_read(emulator):
    instance = TaskInstance()
    emulator.fault("status", status=403, code=7, method="GET", path="/deployments/", times=-1)
    with pytest.raises(exceptions.FireworksAccessDenied):
        make_task(delete_on_failure=False).execute({"ti": instance})
    emulator.clear_faults()
    assert instance.xcoms["deployment"].startswith("accounts/demo/deployments/my-dag-deploy-")
    assert delete(deployment=instance.xcoms["deployment"]) == []
