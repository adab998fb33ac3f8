"""``FireworksSweepDeploymentsOperator`` in an Airflow with invented runs; the emulator's records say what happened."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import AirflowFailException

from airflow_provider_fireworks import exceptions
from airflow_provider_fireworks.client import api
from airflow_provider_fireworks.deployments.ownership import Owner
from airflow_provider_fireworks.hooks.fireworks import FireworksHook
from airflow_provider_fireworks.operators.deployment import FireworksSweepDeploymentsOperator
from tests.integration import conftest
from tests.integration.conftest import MODEL, run_task
from tests.integration.creating import fault_id, make_task
from tests.timing import use_timing

AIRFLOW = "http://airflow.example"
RUNS = {
    ("serving", "ended"): "success",
    ("serving", "failed"): "failed",
    ("serving", "running"): "running",
    ("serving", "queued"): "queued",
    ("other_dag", "running"): "success",
}
SPEC = {"baseModel": MODEL, "acceleratorType": "NVIDIA_H100_80GB"}


class TaskInstance(conftest.TaskInstance):
    """A task instance of an Airflow that knows these runs."""

    def __init__(self, task_id: str = "sweep", run_id: str = "sweeping", **arguments: Any) -> None:
        super().__init__(task_id, run_id, **arguments)
        self.queried_runs: list[tuple[str, str]] = []

    def get_dr_count(
        self,
        dag_id: str,
        logical_dates: Any = None,
        run_ids: list[str] | None = None,
        states: list[str] | None = None,
    ) -> int:
        (run_id,) = run_ids or [""]
        self.queried_runs.append((dag_id, run_id))
        state = RUNS.get((dag_id, run_id))
        return int(state is not None and (states is None or state in states))


@pytest.fixture(autouse=True)
def _airflow(emulator: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW__API__BASE_URL", AIRFLOW)
    emulator.configure(deploy_duration=0)
    use_timing(monkeypatch, first_retry_delay=0.01)


def owner(run_id: str = "ended", dag_id: str = "serving", **fields: Any) -> Owner:
    return replace(Owner(dag_id, run_id, "deploy", airflow=AIRFLOW), **fields)


def deploy(deployment: str, created_by: Owner | str | None = None) -> str:
    """Create a deployment with this owner, by default one whose run has ended; return its name."""
    created_by = owner() if created_by is None else created_by
    description = created_by.description if isinstance(created_by, Owner) else created_by
    return FireworksHook().create_deployment(deployment, {**SPEC, "description": description}).name


def sweep(instance: TaskInstance | None = None, **arguments: Any) -> list[dict[str, Any]]:
    result = run_task(
        lambda: FireworksSweepDeploymentsOperator(task_id="sweep", **arguments), instance or TaskInstance()
    )
    assert set(result) == {"orphaned"}
    return result["orphaned"]


def ids(found: list[dict[str, Any]]) -> list[str]:
    return sorted(each["deployment"].rpartition("/")[2] for each in found)


# ---- what is orphaned

ORPHANED = {
    "a run that ended": (owner("ended"), "ended"),
    "a run that failed": (owner("failed"), "ended"),
    "a deleted run": (owner("gone"), "unknown"),
    "a deleted DAG": (owner("running", "deleted_dag"), "unknown"),
    "another DAG's run of that id": (owner("running", "other_dag"), "ended"),
    "a mapped task": (owner("ended", map_index=3), "ended"),
}
NOT_ORPHANED = {
    "a running run": owner("running"),
    "a queued run": owner("queued"),
    "no description": "",
    "a person's note": "mine, do not touch",
    "a person's note, like a signature": "Created by Apache Airflow: by hand",
    "another Airflow": owner("ended", airflow="http://other.example"),
    "an Airflow without a URL": owner("ended", airflow=""),
}


@pytest.mark.parametrize("delete", [False, True], ids=["list", "delete"])
@pytest.mark.parametrize(("created_by", "run"), ORPHANED.values(), ids=ORPHANED)
def test_sweep_finds_orphaned_deployment(emulator, created_by, run, delete):
    name = deploy("d", created_by)
    assert sweep(delete=delete) == [
        {
            "deployment": name,
            "state": "READY",
            "dag_id": created_by.dag_id,
            "run_id": created_by.run_id,
            "task_id": "deploy",
            "map_index": created_by.map_index,
            "loop_index": created_by.loop_index,
            "run": run,
            "kept": False,
            "deleted": delete,
        }
    ]
    assert emulator.deployments_left == ([] if delete else [name])
    assert emulator.count("DELETE") == delete


@pytest.mark.parametrize("created_by", NOT_ORPHANED.values(), ids=NOT_ORPHANED)
def test_sweep_leaves_other_deployment_alone(emulator, created_by):
    name = deploy("d", created_by)
    assert sweep(delete=True, ignore_checks=True) == []
    assert emulator.deployments_left == [name]
    assert emulator.count("DELETE") == 0


@pytest.mark.parametrize("state", ["CREATING", "UPDATING", "FAILED", "STATE_UNSPECIFIED", "SOMETHING_NEW"])
def test_sweep_finds_deployment_in_any_state(emulator, state):
    deploy("d")
    emulator.set_deployment("d", state=state)
    (found,) = sweep()
    assert found["state"] == state


@pytest.mark.parametrize("state", ["DELETING", "DELETED"])
def test_sweep_skips_deleted_deployment(emulator, state):
    deploy("d")
    emulator.set_deployment("d", state=state)
    assert sweep(delete=True) == []


def test_sweep_without_deployments_finds_none(emulator):
    assert sweep(delete=True) == []


def test_sweep_reads_all_pages(emulator):
    for number in range(205):
        deploy(f"d-{number}")
    assert len(sweep()) == 205


def test_sweep_asks_airflow_once_per_run(emulator):
    for number in range(5):
        deploy(f"d-{number}", owner(map_index=number))
    instance = TaskInstance()
    assert len(sweep(instance)) == 5
    assert set(instance.queried_runs) == {("serving", "ended")}
    # One for active runs of that id, one for any.
    assert len(instance.queried_runs) <= 2


def test_sweep_ignores_description_that_no_task_can_have_written(emulator):
    deploy("d")
    deploy("e", owner().description.replace('"map_index":-1', '"map_index":1e999'))
    assert ids(sweep()) == ["d"]


def test_sweep_finds_what_a_create_task_left_after_its_run(emulator, monkeypatch):
    def create(run_id: str) -> str:
        instance = TaskInstance("deploy", run_id, dag_id="serving")
        return run_task(lambda: make_task(wait_for_completion=False), instance)["deployment"]

    ended, running = create("ended"), create("running")
    assert [each["deployment"] for each in sweep(delete=True)] == [ended]
    assert emulator.deployments_left == [running]
    monkeypatch.setitem(RUNS, ("serving", "running"), "failed")
    assert [each["deployment"] for each in sweep(delete=True)] == [running]
    assert emulator.deployments_left == []


# ---- arguments


def test_sweep_deletes_softly(emulator):
    deploy("d")
    sweep(delete="True")
    assert emulator.requests[-1].query == {}
    assert emulator.deployment("d")["state"] == "DELETED"


def test_sweep_leaves_deployment_with_traffic_unless_checks_are_ignored(emulator):
    name = deploy("d")
    deploy("e")
    FireworksHook().send(api.request_inference(f"{MODEL}#{name}"))
    found = {each["deployment"].rpartition("/")[2]: each["deleted"] for each in sweep(delete=True)}
    assert found == {"d": False, "e": True}
    assert emulator.deployments_left == [name]
    assert [each["deleted"] for each in sweep(delete=True, ignore_checks=True)] == [True]
    assert emulator.requests[-1].query == {"ignoreChecks": "true"}
    assert emulator.deployments_left == []


@pytest.mark.parametrize("keep", ["d", ["d"], ["accounts/demo/deployments/d"], ["x", "d"]], ids=str)
def test_sweep_neither_lists_nor_deletes_what_keep_names(emulator, keep):
    name = deploy("d")
    deploy("e")
    assert ids(sweep(delete=True, keep=keep)) == ["e"]
    assert emulator.deployments_left == [name]


@pytest.mark.parametrize("mark", ["named", "kept"])
def test_sweep_deletes_what_is_meant_to_stay_only_with_include_kept(emulator, mark):
    name = deploy("meant-to-stay", owner(**{mark: True}))
    deploy("d")
    assert {each["deployment"]: (each["kept"], each["deleted"]) for each in sweep(delete=True)} == {
        name: (True, False),
        "accounts/demo/deployments/d": (False, True),
    }
    assert emulator.deployments_left == [name]
    (found,) = sweep(delete=True, include_kept=True)
    assert (found["kept"], found["deleted"]) == (True, True)
    assert emulator.deployments_left == []


def test_sweep_of_other_account_leaves_own_alone(emulator):
    emulator.configure(accounts=["demo", "second"])
    kept = deploy("d")
    FireworksHook(account_id="second").create_deployment("d", {**SPEC, "description": owner().description})
    found = sweep(delete=True, account_id="second")
    assert [each["deployment"] for each in found] == ["accounts/second/deployments/d"]
    assert emulator.deployments_left == [kept]


# ---- changes between listing and deleting


def test_sweep_leaves_deployment_alone_that_another_run_adopts(emulator):
    deploy("d")
    adopted = owner("running", kept=True).description

    class AdoptedMeanwhile(TaskInstance):
        def get_dr_count(self, *arguments: Any, **more: Any) -> int:
            emulator.set_deployment("d", description=adopted)
            return super().get_dr_count(*arguments, **more)

    assert sweep(AdoptedMeanwhile(), delete=True) == []
    assert emulator.count("DELETE") == 0


def test_sweep_leaves_deployment_of_cleared_run_alone(emulator, monkeypatch):
    deploy("d")

    class ClearedMeanwhile(TaskInstance):
        def get_dr_count(self, *arguments: Any, **more: Any) -> int:
            # The first two queries are those of the listing.
            if len(self.queried_runs) == 2:
                monkeypatch.setitem(RUNS, ("serving", "ended"), "running")
            return super().get_dr_count(*arguments, **more)

    assert sweep(ClearedMeanwhile(), delete=True) == []
    assert emulator.count("DELETE") == 0


def test_sweep_counts_deployment_as_deleted_that_somebody_deletes(emulator):
    deploy("d")
    emulator.fault("status", status=404, method="DELETE", after_work=True)
    assert [each["deleted"] for each in sweep(delete=True)] == [True]


# ---- errors


@pytest.mark.parametrize(
    "fault",
    [{"kind": "status", "status": 503}, {"kind": "drop"}, {"kind": "html", "status": 403}],
    ids=fault_id,
)
def test_sweep_continues_after_failed_deletion_and_fails_at_the_end(emulator, fault):
    for name in ("a", "b", "c"):
        deploy(name)
    emulator.fault(**fault, method="DELETE", path="/deployments/b", times=-1)
    with pytest.raises(
        exceptions.FireworksError,
        match=r"1 deployments could not be deleted\. .*/b was not deleted and IT MAY COST MONEY",
    ) as failure:
        sweep(delete=True)
    assert not isinstance(failure.value, AirflowFailException)
    assert not {"accounts/demo/deployments/a", "accounts/demo/deployments/c"} & set(emulator.deployments_left)
    emulator.clear_faults()
    sweep(delete=True)
    assert emulator.deployments_left == []


@pytest.mark.parametrize(
    ("ignore_checks", "code"), [(False, 3), (True, 9)], ids=["not traffic", "checks are ignored"]
)
def test_sweep_fails_if_deletion_is_refused_for_other_reason(emulator, ignore_checks, code):
    deploy("a")
    deploy("b")
    emulator.fault(
        "status", status=400, code=code, method="DELETE", path="/deployments/a", message="locked by an admin"
    )
    with pytest.raises(exceptions.FireworksError, match=r"/a: .*locked by an admin"):
        sweep(delete=True, ignore_checks=ignore_checks)
    assert emulator.deployments_left == ["accounts/demo/deployments/a"]


def test_sweep_lists_over_transient_errors(emulator):
    deploy("d")
    emulator.fault("status", status=503, method="GET", times=2, retry_after="0")
    assert ids(sweep()) == ["d"]


@pytest.mark.parametrize("fault", [{"kind": "status", "status": 503}, {"kind": "drop"}], ids=fault_id)
def test_sweep_that_cannot_list_can_be_retried(emulator, fault):
    emulator.fault(**fault, method="GET", times=-1)
    with pytest.raises(exceptions.FireworksError, match="cannot be listed") as failure:
        sweep()
    assert not isinstance(failure.value, AirflowFailException)


def test_sweep_with_wrong_key_fails_at_once_without_showing_it(emulator):
    deploy("d")
    emulator.revoke_key()
    emulator.clear()
    with pytest.raises(exceptions.FireworksAccessDenied, match="cannot be listed") as failure:
        sweep(delete=True)
    assert isinstance(failure.value, AirflowFailException)
    assert emulator.api_key not in repr(failure.value)
    assert len(emulator.requests) == 1


# ---- invalid arguments; which ones are invalid is in tests/unit/test_arguments.py


def test_sweep_rejects_invalid_literal_when_dag_is_parsed():
    with pytest.raises(exceptions.FireworksInvalidArgument, match="keep"):
        FireworksSweepDeploymentsOperator(task_id="sweep", keep=["d", "a b"])


@pytest.mark.parametrize(("argument", "rendered"), [("keep", ["None"]), ("delete", "perhaps")])
def test_sweep_rejects_invalid_rendering_before_any_request(emulator, argument, rendered):
    task = FireworksSweepDeploymentsOperator(task_id="sweep")
    setattr(task, argument, rendered)
    with pytest.raises(exceptions.FireworksInvalidArgument, match=argument):
        task.execute({"ti": TaskInstance()})
    assert emulator.requests == []
