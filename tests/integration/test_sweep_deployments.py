"""Finding what was left behind, in an Airflow that is made up, with the API's own record as the proof."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import AirflowFailException

from airflow_provider_fireworks import exceptions
from airflow_provider_fireworks.client import api
from airflow_provider_fireworks.deployments.ownership import Owner
from airflow_provider_fireworks.hooks.fireworks import FireworksHook
from airflow_provider_fireworks.operators.deployment import (
    FireworksCreateDeploymentOperator,
    FireworksSweepDeploymentsOperator,
)
from tests.integration import conftest
from tests.integration.conftest import MODEL, run_task
from tests.timing import use_timing

HERE = "http://airflow.example"
RUNS = {
    ("serving", "ended"): "success",
    ("serving", "failed"): "failed",
    ("serving", "running"): "running",
    ("serving", "queued"): "queued",
    ("other_dag", "running"): "success",
}


class TaskInstance(conftest.TaskInstance):
    """One in an Airflow that knows these runs."""

    try_number = 1

    def __init__(self, task_id: str = "sweep", run_id: str = "sweeping", map_index: int = -1) -> None:
        super().__init__(task_id, run_id, map_index)
        self.asked: list[tuple[str, str]] = []

    def get_dr_count(
        self,
        dag_id: str,
        logical_dates: Any = None,
        run_ids: list[str] | None = None,
        states: list[str] | None = None,
    ) -> int:
        (run_id,) = run_ids or [""]
        self.asked.append((dag_id, run_id))
        state = RUNS.get((dag_id, run_id))
        return int(state is not None and (states is None or state in states))


@pytest.fixture(autouse=True)
def _here(emulator: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW__API__BASE_URL", HERE)
    emulator.configure(deploy_duration=0)


@pytest.fixture(autouse=True)
def _quick_retries(monkeypatch: pytest.MonkeyPatch) -> None:
    use_timing(monkeypatch, first_retry_delay=0.01)


def made_by(run_id: str, dag_id: str = "serving", **fields: Any) -> Owner:
    return replace(Owner(dag_id, run_id, "deploy", airflow=HERE), **fields)


def deploy(deployment: str, by: Owner | str | None) -> str:
    description = by.description if isinstance(by, Owner) else by
    spec = {"baseModel": MODEL, "acceleratorType": "NVIDIA_H100_80GB"}
    if description is not None:
        spec["description"] = description
    return FireworksHook().create_deployment(deployment, spec).name


def sweep(instance: TaskInstance | None = None, **arguments: Any) -> list[dict[str, Any]]:
    result = run_task(
        lambda: FireworksSweepDeploymentsOperator(task_id="sweep", **arguments), instance or TaskInstance()
    )
    assert set(result) == {"orphaned"}
    return result["orphaned"]


def ids(found: list[dict[str, Any]]) -> list[str]:
    return sorted(each["deployment"].rpartition("/")[2] for each in found)


FOUND = {
    # Whose it is: (who has signed it, what is said of the run)
    "of a run that ended": (made_by("ended"), "ended"),
    "of a run that failed": (made_by("failed"), "ended"),
    "of a run that is no more": (made_by("gone"), "unknown"),
    "of a dag that is no more": (made_by("running", "deleted_dag"), "unknown"),
    "of another dag's run": (made_by("running", "other_dag"), "ended"),
    "of a mapped task": (made_by("ended", map_index=3), "ended"),
}
LEFT_ALONE = {
    # Whose it is: who has signed it
    "of a run that goes on": made_by("running"),
    "of a run that is queued": made_by("queued"),
    "a person's": None,
    "a person's, with a note": "mine, do not touch",
    "a person's, that looks like ours": "Created by Apache Airflow: by hand",
    "of another Airflow": made_by("ended", airflow="http://other.example"),
    "of an Airflow without a URL": made_by("ended", airflow=""),
}


@pytest.mark.parametrize("delete", [False, True], ids=["list", "delete"])
@pytest.mark.parametrize(("by", "run"), FOUND.values(), ids=FOUND)
def test_what_is_found(emulator, by, run, delete):
    name = deploy("d", by)
    assert sweep(delete=delete) == [
        {
            "deployment": name,
            "state": "READY",
            "dag_id": by.dag_id,
            "run_id": by.run_id,
            "task_id": "deploy",
            "map_index": by.map_index,
            "loop_index": by.loop_index,
            "run": run,
            "kept": False,
            "deleted": delete,
        }
    ]
    assert emulator.deployments_left == ([] if delete else [name])


@pytest.mark.parametrize("by", LEFT_ALONE.values(), ids=LEFT_ALONE)
def test_what_is_left_alone(emulator, by):
    name = deploy("d", by)
    assert sweep(delete=True, ignore_checks=True) == []
    assert emulator.deployments_left == [name]
    assert emulator.count("DELETE") == 0


@pytest.mark.parametrize("state", ["CREATING", "UPDATING", "FAILED", "STATE_UNSPECIFIED", "SOMETHING_NEW"])
def test_what_is_left_behind_in_any_state_is_found(emulator, state):
    deploy("d", made_by("ended"))
    emulator.set_deployment("d", state=state)
    (found,) = sweep()
    assert found["state"] == state


@pytest.mark.parametrize("state", ["DELETING", "DELETED"])
def test_what_is_being_deleted_is_not(emulator, state):
    deploy("d", made_by("ended"))
    emulator.set_deployment("d", state=state)
    assert sweep(delete=True) == []


def test_nothing_left_behind_is_fine(emulator):
    assert sweep(delete=True) == []


def test_by_default_they_are_only_listed(emulator):
    deploy("d", made_by("ended"))
    assert [each["deleted"] for each in sweep()] == [False]
    assert {request.method for request in emulator.requests} == {"GET", "POST"}
    assert emulator.count("DELETE") == 0


def test_they_are_deleted_softly(emulator):
    deploy("d", made_by("ended"))
    sweep(delete="True")
    assert emulator.requests[-1].query == {}
    assert emulator.deployment("d")["state"] == "DELETED"


def test_airflow_is_asked_once_for_a_run(emulator):
    for number in range(5):
        deploy(f"d-{number}", made_by("ended", map_index=number))
    instance = TaskInstance()
    assert len(sweep(instance)) == 5
    assert set(instance.asked) == {("serving", "ended")}
    assert len(instance.asked) <= 2


def test_all_pages_are_swept(emulator):
    for number in range(205):
        deploy(f"d-{number}", made_by("ended"))
    assert len(sweep()) == 205


def test_what_served_lately_is_left_for_the_next_time(emulator):
    name = deploy("d", made_by("ended"))
    deploy("e", made_by("ended"))
    FireworksHook().send(api.ask_deployment(f"{MODEL}#{name}"))
    found = {each["deployment"].rpartition("/")[2]: each["deleted"] for each in sweep(delete=True)}
    assert found == {"d": False, "e": True}
    assert emulator.deployments_left == [name]
    assert [each["deleted"] for each in sweep(delete=True, ignore_checks=True)] == [True]
    assert emulator.requests[-1].query == {"ignoreChecks": "true"}
    assert emulator.deployments_left == []


@pytest.mark.parametrize("keep", ["d", ["d"], ["accounts/demo/deployments/d"], ["x", "d"]], ids=str)
def test_what_is_to_be_kept_is_kept(emulator, keep):
    name = deploy("d", made_by("ended"))
    deploy("e", made_by("ended"))
    assert ids(sweep(delete=True, keep=keep)) == ["e"]
    assert emulator.deployments_left == [name]


FAILING = [
    {"kind": "status", "status": 503},
    {"kind": "drop"},
    {"kind": "html", "status": 403},
]


@pytest.mark.parametrize("fault", FAILING, ids=lambda fault: " ".join(map(str, fault.values())))
def test_one_that_cannot_be_deleted_does_not_stop_the_others_and_fails_at_the_end(emulator, fault):
    for name in ("a", "b", "c"):
        deploy(name, made_by("ended"))
    emulator.fault(**fault, method="DELETE", path="/deployments/b", times=-1)
    with pytest.raises(
        exceptions.FireworksError,
        match=r"1 deployments could not be deleted\. .*/b was not deleted and IT MAY COST MONEY",
    ) as failure:
        sweep(delete=True)
    assert not isinstance(failure.value, AirflowFailException), "it would not be retried"
    assert not {"accounts/demo/deployments/a", "accounts/demo/deployments/c"} & set(emulator.deployments_left)
    emulator.clear_faults()
    sweep(delete=True)
    assert emulator.deployments_left == []


def test_a_refusal_for_another_reason_is_a_failure_where_the_checks_are_ignored(emulator):
    deploy("a", made_by("ended"))
    deploy("b", made_by("ended"))
    emulator.fault("status", status=400, method="DELETE", path="/deployments/a")
    with pytest.raises(exceptions.FireworksError, match=r"/a: .*400"):
        sweep(delete=True, ignore_checks=True)
    assert emulator.deployments_left == ["accounts/demo/deployments/a"]


def test_a_refusal_that_has_nothing_to_do_with_traffic_is_a_failure(emulator):
    deploy("d", made_by("ended"))
    emulator.fault("status", status=400, method="DELETE", message="locked by an administrator")
    with pytest.raises(exceptions.FireworksError, match="locked by an administrator"):
        sweep(delete=True)


def test_what_another_run_has_taken_over_meanwhile_is_left_alone(emulator):
    deploy("d", made_by("ended"))
    later = made_by("running", kept=True).description

    class Slow(TaskInstance):
        def get_dr_count(self, *arguments: Any, **more: Any) -> int:
            emulator.set_deployment("d", description=later)
            return super().get_dr_count(*arguments, **more)

    # It is not orphaned any more.
    assert sweep(Slow(), delete=True) == []
    assert emulator.count("DELETE") == 0


def test_sweep_leaves_alone_what_a_cleared_run_uses_again(emulator, monkeypatch):
    deploy("d", made_by("ended"))

    class Cleared(TaskInstance):
        questions = 0

        def get_dr_count(self, *arguments: Any, **more: Any) -> int:
            self.questions += 1
            if self.questions == 3:
                monkeypatch.setitem(RUNS, ("serving", "ended"), "running")
            return super().get_dr_count(*arguments, **more)

    assert sweep(Cleared(), delete=True) == []
    assert emulator.count("DELETE") == 0


def test_one_that_is_gone_meanwhile_counts_as_deleted(emulator):
    deploy("d", made_by("ended"))
    emulator.fault("status", status=404, method="DELETE", after_work=True)
    assert [each["deleted"] for each in sweep(delete=True)] == [True]


def test_a_key_that_is_refused_fails_at_once(emulator):
    deploy("d", made_by("ended"))
    emulator.revoke_key()
    emulator.clear()
    with pytest.raises(exceptions.FireworksAccessDenied, match="cannot be listed") as failure:
        sweep(delete=True)
    assert isinstance(failure.value, AirflowFailException)
    assert emulator.api_key not in repr(failure.value)
    assert len(emulator.requests) == 1


def test_a_blip_while_listing_is_waited_out(emulator):
    deploy("d", made_by("ended"))
    emulator.fault("status", status=503, method="GET", times=2, retry_after="0")
    assert ids(sweep()) == ["d"]


@pytest.mark.parametrize("fault", [{"kind": "status", "status": 503}, {"kind": "drop"}], ids=str)
def test_a_list_that_cannot_be_had_now_can_be_retried(emulator, fault):
    emulator.fault(**fault, method="GET", times=-1)
    with pytest.raises(exceptions.FireworksError, match="cannot be listed") as failure:
        sweep()
    assert not isinstance(failure.value, AirflowFailException), "it would not be retried"


def test_another_account_can_be_swept(emulator):
    emulator.configure(accounts=["demo", "second"])
    kept = deploy("d", made_by("ended"))
    spec = {"baseModel": MODEL, "acceleratorType": "NVIDIA_H100_80GB"}
    FireworksHook(account_id="second").create_deployment(
        "d", {**spec, "description": made_by("ended").description}
    )
    found = sweep(delete=True, account_id="second")
    assert [each["deployment"] for each in found] == ["accounts/second/deployments/d"]
    assert emulator.deployments_left == [kept]


def test_what_a_task_has_made_is_found_once_its_run_is_over(emulator, monkeypatch):
    def create(run_id: str) -> str:
        instance = TaskInstance("deploy", run_id)
        instance.dag_id = "serving"
        return run_task(
            lambda: FireworksCreateDeploymentOperator(
                task_id="deploy",
                model="my-model",
                accelerator_type="NVIDIA_H100_80GB",
                wait_for_completion=False,
            ),
            instance,
        )["deployment"]

    over, going = create("ended"), create("running")
    assert [each["deployment"] for each in sweep(delete=True)] == [over]
    assert emulator.deployments_left == [going]
    monkeypatch.setitem(RUNS, ("serving", "running"), "failed")
    assert [each["deployment"] for each in sweep(delete=True)] == [going]
    assert emulator.deployments_left == []


@pytest.mark.parametrize("mark", ["named", "kept"])
def test_sweep_lists_what_is_meant_to_stay_and_deletes_it_only_if_asked(emulator, mark):
    name = deploy("meant-to-stay", made_by("ended", **{mark: True}))
    deploy("d", made_by("ended"))
    assert {each["deployment"]: (each["kept"], each["deleted"]) for each in sweep(delete=True)} == {
        name: (True, False),
        "accounts/demo/deployments/d": (False, True),
    }
    assert emulator.deployments_left == [name]
    (found,) = sweep(delete=True, include_kept=True)
    assert (found["kept"], found["deleted"]) == (True, True)
    assert emulator.deployments_left == []


def test_a_description_that_nobody_can_have_signed_does_not_stop_the_sweep(emulator):
    deploy("d", made_by("ended"))
    deploy("e", made_by("ended").description.replace('"map_index":-1', '"map_index":1e999'))
    assert ids(sweep()) == ["d"]


@pytest.mark.parametrize("keep", ["a b", ["d", "a b"], [MODEL]], ids=str)
def test_bad_literals_are_refused_when_the_dag_is_parsed(keep):
    with pytest.raises(exceptions.FireworksInvalidArgument, match="is no deployment"):
        FireworksSweepDeploymentsOperator(task_id="sweep", keep=keep)


@pytest.mark.parametrize(
    ("field", "rendered"), [("keep", ["None"]), ("keep", None), ("delete", "perhaps"), ("ignore_checks", "x")]
)
def test_a_bad_rendering_is_refused_before_anything_is_sent(emulator, field, rendered):
    task = FireworksSweepDeploymentsOperator(task_id="sweep")
    setattr(task, field, rendered)
    with pytest.raises(exceptions.FireworksInvalidArgument):
        task.execute({"ti": TaskInstance()})
    assert emulator.requests == []
