"""Deleting a deployment, named or found by the task that created it, with the gateway's own record as the proof."""

from __future__ import annotations

import copy
from threading import Timer
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import AirflowFailException
from airflow.sdk import DAG, task_group

from airflow_provider_fireworks import exceptions
from airflow_provider_fireworks.client import calls, retrying
from airflow_provider_fireworks.hooks.fireworks import FireworksHook
from airflow_provider_fireworks.identity import Identity
from airflow_provider_fireworks.operators.deployment import (
    FireworksCreateDeploymentOperator,
    FireworksDeleteDeploymentOperator,
)
from tests.integration import conftest
from tests.integration.conftest import MODEL, run_task

NAME = "accounts/demo/deployments/d"
SPEC = {"baseModel": MODEL, "acceleratorType": "NVIDIA_H100_80GB"}
KEY_ERROR = (
    "Until.ANSWER takes a 404 for an end that is READY, and _patiently fails with it: KeyError: 'ready'"
)


class TaskInstance(conftest.TaskInstance):
    """One of a first try, in an Airflow where nothing else runs."""

    try_number = 1

    def get_dr_count(self, dag_id: str, **how: Any) -> int:
        return 0


@pytest.fixture(autouse=True)
def _at_once(gateway: Any) -> None:
    gateway.configure(deploy_duration=0)


@pytest.fixture(autouse=True)
def _quick_retries(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retrying, "_FIRST_BACKOFF", 0.01)


@pytest.fixture
def deployed(gateway: Any) -> Any:
    """A gateway with the deployment ``d``, of which nothing was asked yet."""
    FireworksHook().create_deployment("d", SPEC)
    gateway.clear()
    return gateway


def delete(**arguments: Any) -> list[str]:
    arguments = {"timeout": 10, **arguments}
    result = run_task(
        lambda: FireworksDeleteDeploymentOperator(task_id="remove", **arguments), TaskInstance("remove")
    )
    assert set(result) == {"deleted"}
    return result["deleted"]


def serve_something() -> None:
    FireworksHook().send(calls.ask_deployment(f"{MODEL}#{NAME}"))


# ---- named


@pytest.mark.parametrize("deployment", ["d", NAME])
def test_what_is_named_is_deleted(deployed, deployment):
    assert delete(deployment=deployment) == [NAME]
    assert [(request.method, request.query) for request in deployed.requests] == [("DELETE", {})]
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


def test_what_never_was_is_a_success(gateway):
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
    delete(deployment="d", hard=hard)
    assert deployed.deployments_left == []
    assert deployed.count("DELETE") == 2


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
        exceptions.FireworksTimeout, match=r"d could not be deleted and may cost money: .*cannot be reached"
    ) as ending:
        delete(deployment="d", timeout=0.5)
    assert not isinstance(ending.value, AirflowFailException)


def test_a_wrong_key_fails_at_once(deployed):
    deployed.revoke_key()
    with pytest.raises(exceptions.FireworksAccessDenied, match="may cost money") as failure:
        delete(deployment="d")
    assert deployed.api_key not in repr(failure.value)
    assert len(deployed.requests) == 1


@pytest.mark.parametrize(
    "wrong", [{}, {"deployment": "d", "created_by": "deploy"}, {"deployment": "a b"}], ids=str
)
def test_bad_literals_are_refused_when_the_dag_is_parsed(wrong):
    with pytest.raises(exceptions.FireworksInvalidArgument):
        FireworksDeleteDeploymentOperator(task_id="remove", **wrong)


@pytest.mark.parametrize("rendered", ["None", "", "a b", MODEL])
def test_a_bad_rendering_is_refused_before_anything_is_sent(gateway, rendered):
    remove = FireworksDeleteDeploymentOperator(task_id="remove", deployment="{{ x }}")
    remove.deployment = rendered
    with pytest.raises(exceptions.FireworksInvalidArgument, match="is no deployment"):
        remove.execute({"ti": TaskInstance()})
    assert gateway.requests == []


# ---- found by the task that created it


def deploy(task_id: str = "deploy", **arguments: Any) -> FireworksCreateDeploymentOperator:
    arguments = {
        "model": "my-model",
        "accelerator_type": "NVIDIA_H100_80GB",
        "wait_for_completion": False,
        **arguments,
    }
    return FireworksCreateDeploymentOperator(task_id=task_id, **arguments)


def remove(task_id: str = "remove", created_by: str = "deploy", **arguments: Any) -> Any:
    return FireworksDeleteDeploymentOperator(
        task_id=task_id, created_by=created_by, **{"timeout": 10, **arguments}
    )


def run(dag: DAG, task_id: str, map_index: int = -1, run_id: str = "manual__1", **mapped: Any) -> Any:
    """Run one task instance of a DAG; what it is mapped over is given."""
    task: Any = dag.get_task(task_id)
    task = task.unmap(mapped) if task.is_mapped else copy.copy(task)
    instance = TaskInstance(task_id=task_id, run_id=run_id, map_index=map_index)
    return task.execute({"ti": instance})


def created(dag: DAG, task_id: str, map_index: int = -1, run_id: str = "manual__1", **mapped: Any) -> str:
    return run(dag, task_id, map_index, run_id, **mapped)["deployment"]


def my_dag() -> DAG:
    return DAG("my_dag", schedule=None)


def test_in_a_dag(gateway):
    with my_dag() as dag:
        remove().as_teardown(setups=deploy())
    name = created(dag, "deploy")
    other_run = created(dag, "deploy", run_id="manual__2")
    assert run(dag, "remove") == {"deleted": [name]}
    assert gateway.deployments_left == [other_run]
    assert run(dag, "remove", run_id="manual__2") == {"deleted": [other_run]}
    assert gateway.deployments_left == []


def test_nothing_was_created(gateway):
    with my_dag() as dag:
        deploy(), remove()
    assert run(dag, "remove") == {"deleted": []}


def test_what_does_not_show_yet_is_deleted_once_it_does(gateway):
    with my_dag() as dag:
        deploy(), remove()
    name = created(dag, "deploy")
    gateway.fault("status", status=404, method="GET", path="/deployments/")
    assert run(dag, "remove") == {"deleted": [name]}
    assert gateway.deployments_left == []


def test_in_a_task_group_it_is_named_as_it_is_written_there(gateway):
    with my_dag() as dag:

        @task_group
        def serve() -> None:
            deploy() >> remove()

        serve()
        deploy("deploy")
    outside, inside = created(dag, "deploy"), created(dag, "serve.deploy")
    assert run(dag, "serve.remove") == {"deleted": [inside]}
    assert gateway.deployments_left == [outside]


@pytest.mark.parametrize("created_by", ["deploy", "inner.deploy", "outer.inner.deploy"])
def test_in_nested_groups_it_is_looked_for_from_the_inside_out(gateway, created_by):
    with my_dag() as dag:

        @task_group
        def outer() -> None:
            @task_group
            def inner() -> None:
                deploy()
                remove(created_by=created_by)

            inner()
            deploy()

        outer()
    further_out, name = created(dag, "outer.deploy"), created(dag, "outer.inner.deploy")
    assert run(dag, "outer.inner.remove") == {"deleted": [name]}
    assert gateway.deployments_left == [further_out]


def test_a_task_further_out_can_be_named(gateway):
    with my_dag() as dag:

        @task_group
        def outer() -> None:
            @task_group
            def inner() -> None:
                remove()

            deploy() >> inner()

        outer()
    name = created(dag, "outer.deploy")
    assert run(dag, "outer.inner.remove") == {"deleted": [name]}


def test_in_a_mapped_group_each_deletes_its_own(gateway):
    with my_dag() as dag:

        @task_group
        def serve(precision: str) -> None:
            deploy() >> remove()

        serve.expand(precision=["FP8", "FP4", "NF4"])
    names = [created(dag, "serve.deploy", index) for index in range(3)]
    assert len(set(names)) == 3
    assert run(dag, "serve.remove", 1) == {"deleted": [names[1]]}
    assert sorted(gateway.deployments_left) == sorted([names[0], names[2]])
    assert run(dag, "serve.remove", 0) == {"deleted": [names[0]]}
    assert run(dag, "serve.remove", 2) == {"deleted": [names[2]]}
    assert gateway.deployments_left == []


def test_unmapped_it_deletes_all_that_a_mapped_task_created(gateway):
    with my_dag() as dag:
        deploying = FireworksCreateDeploymentOperator.partial(
            task_id="deploy", accelerator_type="NVIDIA_H100_80GB", wait_for_completion=False
        ).expand(model=["my-model", "my-other-model"])
        deploying >> remove()
    names = [
        created(dag, "deploy", index, model=model)
        for index, model in enumerate(["my-model", "my-other-model"])
    ]
    other_run = created(dag, "deploy", 0, run_id="manual__2", model="my-model")
    assert sorted(run(dag, "remove")["deleted"]) == sorted(names)
    assert gateway.deployments_left == [other_run]


def test_unmapped_it_deletes_all_that_a_mapped_group_created(gateway):
    with my_dag() as dag:

        @task_group
        def serve(precision: str) -> None:
            deploy()

        serve.expand(precision=["FP8", "FP4"]) >> remove(created_by="serve.deploy")
    names = [created(dag, "serve.deploy", index) for index in range(2)]
    assert sorted(run(dag, "remove")["deleted"]) == sorted(names)
    assert gateway.deployments_left == []


def test_mapped_alike_each_deletes_its_own(gateway):
    with my_dag() as dag:
        deploying = FireworksCreateDeploymentOperator.partial(
            task_id="deploy", accelerator_type="NVIDIA_H100_80GB", wait_for_completion=False
        ).expand(model=["my-model", "my-other-model"])
        removing = FireworksDeleteDeploymentOperator.partial(
            task_id="remove", created_by="deploy", timeout=10
        )
        deploying >> removing.expand(hard=[True, False])
    first = created(dag, "deploy", 0, model="my-model")
    second = created(dag, "deploy", 1, model="my-other-model")
    assert run(dag, "remove", 1, hard=False) == {"deleted": [second]}
    assert gateway.deployments_left == [first]


@pytest.mark.parametrize(
    ("argument", "values"),
    [("account_id", ["demo", "other"]), ("fireworks_conn_id", ["fireworks_default", "other"])],
)
def test_a_creator_mapped_over_where_it_creates_is_refused_in_words(gateway, argument, values):
    with my_dag() as dag:
        (
            FireworksCreateDeploymentOperator.partial(
                task_id="deploy", model="my-model", accelerator_type="NVIDIA_H100_80GB"
            ).expand(**{argument: values})
            >> remove()
        )
    with pytest.raises(
        exceptions.FireworksInvalidArgument, match="mapped over fireworks_conn_id or account_id"
    ):
        run(dag, "remove")
    assert gateway.count("DELETE") == 0


def test_an_id_of_its_own_is_found_in_the_list(gateway):
    with my_dag() as dag:
        deploy(deployment_id="mine") >> remove()
    assert created(dag, "deploy") == "accounts/demo/deployments/mine"
    FireworksHook().create_deployment("a-persons", SPEC)
    assert run(dag, "remove") == {"deleted": ["accounts/demo/deployments/mine"]}
    assert gateway.deployments_left == ["accounts/demo/deployments/a-persons"]


def test_an_id_that_only_a_rendering_knew_is_found_too(gateway):
    with my_dag() as dag:
        creating = deploy(deployment_id="{{ ds_nodash }}")
        creating >> remove()
    rendered = copy.copy(creating)
    rendered.deployment_id = "20260101"
    rendered.execute({"ti": TaskInstance("deploy")})
    assert run(dag, "remove") == {"deleted": ["accounts/demo/deployments/20260101"]}


@pytest.mark.parametrize("description", ["", "mine", Identity("my_dag", "manual__2", "deploy").description])
def test_what_another_has_made_under_that_name_is_left_alone(gateway, description):
    with my_dag() as dag:
        deploy(), remove()
    name = Identity("my_dag", "manual__1", "deploy").deployment_id
    FireworksHook().create_deployment(name, {**SPEC, "description": description})
    assert run(dag, "remove") == {"deleted": []}
    assert gateway.deployments_left == [f"accounts/demo/deployments/{name}"]
    assert gateway.count("DELETE") == 0


@pytest.mark.parametrize("created_by", ["deplyo", "", "serve"])
def test_a_task_that_there_is_not_is_said_with_those_that_there_are(gateway, created_by):
    with my_dag() as dag:

        @task_group
        def serve() -> None:
            deploy()
            remove(created_by=created_by)

        serve()
    with pytest.raises(
        exceptions.FireworksInvalidArgument,
        match=rf"created_by: no task '{created_by}' of this DAG creates a deployment; those that do: serve.deploy",
    ):
        run(dag, "serve.remove")
    assert gateway.requests == []


@pytest.mark.parametrize("mapped", [False, True], ids=["by name", "by list"])
def test_the_gateway_is_asked_patiently(gateway, mapped):
    with my_dag() as dag:
        deploy(deployment_id="mine" if mapped else None) >> remove()
    name = created(dag, "deploy")
    gateway.fault("status", status=503, method="GET", times=4, retry_after="0")
    gateway.fault("drop", method="DELETE", after_work=False)
    assert run(dag, "remove") == {"deleted": [name]}
    assert gateway.deployments_left == []


def test_a_gateway_that_stays_away_says_whose_deployment_is_left(gateway):
    with my_dag() as dag:
        deploy(), remove(timeout=0.4)
    created(dag, "deploy")
    gateway.stop()
    with pytest.raises(
        exceptions.FireworksTimeout, match="What deploy has created could not be deleted and may cost money"
    ):
        run(dag, "remove")


def test_it_looks_where_the_creator_has_created(gateway):
    gateway.configure(accounts=["demo", "second"])
    with my_dag() as dag:
        deploy(account_id="second", model=MODEL), remove()
    name = created(dag, "deploy")
    assert run(dag, "remove") == {"deleted": [name]}
    assert gateway.deployments_left == []


def test_one_that_is_refused_does_not_keep_the_others(gateway):
    with my_dag() as dag:

        @task_group
        def serve(precision: str) -> None:
            deploy()

        serve.expand(precision=["FP8", "FP4"]) >> remove(created_by="serve.deploy")
    refused, other = sorted(created(dag, "serve.deploy", index) for index in range(2))
    FireworksHook().send(calls.ask_deployment(f"{MODEL}#{refused}"))
    with pytest.raises(exceptions.FireworksRefused, match=refused):
        run(dag, "remove")
    assert other not in gateway.deployments_left
