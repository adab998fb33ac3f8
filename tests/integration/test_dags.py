"""The example DAGs, run by ``dag.test()``, which runs triggers inline."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import airflow
import pytest

from airflow_provider_fireworks.deployments.ownership import Owner
from airflow_provider_fireworks.hooks.fireworks import FireworksHook
from airflow_provider_fireworks.polling import Wait
from tests.integration.creating import create_by_hand
from tests.integration.dag_runs import DagBag, states

EXAMPLES = Path(__file__).parents[2] / "example_dags"
PREPARING = ["prepare_and_wait", "prepare_fan_out", "prepare_scheduled", "deploy_fan_out"]


@pytest.fixture(scope="module", autouse=True)
def _database() -> None:
    subprocess.run(
        [sys.executable, "-m", "airflow", "db", "migrate"], check=True, capture_output=True, timeout=180
    )


@pytest.fixture(autouse=True)
def _quick_polls(monkeypatch: pytest.MonkeyPatch) -> None:
    """Shorten the poll intervals of the examples, which are for the real API."""
    monkeypatch.setattr(Wait, "next_delay", lambda self, now: 0.5)


def dag_of(name: str) -> Any:
    """Return the DAG of an example."""
    bag = DagBag(str(EXAMPLES / f"{name}.py"))
    assert bag.import_errors == {}
    (dag,) = bag.dags.values()
    if airflow.__version__ in ("3.0.0", "3.0.1"):
        pytest.skip("dag.test() came with Airflow 3.0.2")
    return dag


def test_every_example_is_tested_here():
    tested = {*PREPARING, "sweep_deployments", "checkpoint_to_production"}
    assert {file.stem for file in EXAMPLES.glob("*.py")} == tested


@pytest.mark.parametrize("name", PREPARING)
def test_example_requests_each_preparation_once(emulator, name):
    emulator.configure(duration=1.5, deploy_duration=1)
    run = dag_of(name).test()
    assert run.state == "success", states(run)
    requested = {(p.model, p.precision) for p in emulator.preparations}
    assert len(requested) == len(emulator.preparations) > 0
    for model, precision in requested:
        assert emulator.is_prepared(model, precision)
    assert emulator.deployments_left == []


def test_example_deploys_nothing_after_failed_preparation(emulator):
    emulator.configure(outcome="failed_state")
    run = dag_of("deploy_fan_out").test(run_conf={"precisions": ["FP8"]})
    assert run.state == "failed"
    skipped = ("deploy", "up", "smoke_test", "done", "remove")
    assert states(run) == {
        "precisions": "success",
        "serve.prepare[0]": "success",
        "serve.ready[0]": "failed",
        **{f"serve.{task}[0]": "upstream_failed" for task in skipped},
    }
    assert emulator.creations == []


def test_example_fails_if_deployment_cannot_be_deleted(emulator):
    emulator.set_model("my-model", supportedPrecisions=["FP16", "FP8"])
    emulator.configure(deploy_duration=0.5)
    emulator.fault("status", status=403, method="DELETE", times=-1)
    run = dag_of("deploy_fan_out").test(run_conf={"precisions": ["FP8"]})
    assert run.state == "failed"
    assert states(run)["serve.remove[0]"] == "failed"
    assert states(run)["serve.smoke_test[0]"] == "success"
    assert len(emulator.deployments_left) == 1


def test_sweep_example_fails_while_orphaned_deployment_is_left(emulator):
    orphaned = Owner("gone", "an earlier run", "deploy")
    kept = Owner("gone", "an earlier run", "other")
    create_by_hand(emulator, orphaned.deployment_id, description=orphaned.description)
    create_by_hand(emulator, "kept", description=kept.description)
    create_by_hand(emulator, "foreign", description="Made by hand.")

    listed = dag_of("sweep_deployments").test(run_conf={"keep": ["kept"]})
    assert listed.state == "failed"
    assert len(emulator.deployments_left) == 3

    deleted = dag_of("sweep_deployments").test(run_conf={"keep": ["kept"], "delete": True})
    assert deleted.state == "success", states(deleted)
    assert {name.rpartition("/")[2] for name in emulator.deployments_left} == {"kept", "foreign"}


def test_example_with_unknown_precision_fails_without_any_request(emulator):
    run = dag_of("prepare_fan_out").test(run_conf={"model": "my-model", "precisions": ["FP9"]})
    assert run.state == "failed"
    assert emulator.requests == []


@pytest.fixture
def produce(emulator, tmp_path):
    """Run the example ``checkpoint_to_production`` with a small checkpoint."""
    emulator.configure(
        duration=0.5, deploy_duration=0.5, quality={"FP4": 0.8}, speed={"FP4": 400, "FP8": 200, "BF16": 100}
    )
    (tmp_path / "config.json").write_text('{"model_type": "llama"}')
    (tmp_path / "model.safetensors").write_bytes(b"w" * 100_000)

    def run(**params: Any) -> Any:
        conf = {"source": tmp_path.as_uri(), "precisions": ["FP8", "FP4", "BF16"], **params}
        return dag_of("checkpoint_to_production").test(run_conf=conf)

    return run


def test_checkpoint_example_keeps_best_precision_and_replaces_it(emulator, produce):
    first = produce()
    assert first.state == "success", states(first)
    [kept] = emulator.deployments_left
    # FP4 is faster, but not good enough.
    assert kept.endswith("-fp8")
    assert emulator.router("my-router")["deployments"] == [kept]

    second = produce(required={"quality": 0.7})
    assert second.state == "success", states(second)
    [replacement] = emulator.deployments_left
    assert replacement.endswith("-fp4")
    assert emulator.router("my-router")["deployments"] == [replacement]


def test_checkpoint_example_changes_nothing_if_no_precision_is_good_enough(emulator, produce):
    run = produce(precisions=["FP4"])
    assert run.state == "failed"
    assert {name: state for name, state in states(run).items() if state != "success"} == {
        "choose": "failed",
        **dict.fromkeys(["deploy", "route", "unused", "delete_unused"], "upstream_failed"),
    }
    assert (emulator.deployments_left, emulator.routers) == ([], [])


def test_checkpoint_example_keeps_nothing_that_it_cannot_route_to(emulator, produce):
    create_by_hand(emulator, "by-hand")
    FireworksHook().create_router("foreign", {"deployments": ["accounts/demo/deployments/by-hand"]})
    run = produce(precisions=["FP8"], router="foreign")
    assert run.state == "failed"
    assert {name: state for name, state in states(run).items() if state != "success"} == {"route": "failed"}
    assert emulator.deployments_left == ["accounts/demo/deployments/by-hand"]


def test_checkpoint_example_deletes_what_an_earlier_run_could_not(emulator, produce):
    assert produce(precisions=["FP8"]).state == "success"
    [first] = emulator.deployments_left
    emulator.fault("status", status=403, method="DELETE", path=first, times=-1)
    run = produce(precisions=["FP8"])
    assert run.state == "failed"
    assert states(run)["delete_unused"] == "failed"
    assert len(emulator.deployments_left) == 2

    emulator.clear_faults()
    FireworksHook().create_router("generated", {"deployments": [first]})
    emulator.set_router("generated", autoGenerated=True)
    run = produce(precisions=["FP8"])
    assert run.state == "success", states(run)
    assert emulator.deployments_left == emulator.router("my-router")["deployments"]


def test_checkpoint_example_keeps_what_others_use_or_created(emulator, produce):
    assert produce(precisions=["FP8"]).state == "success"
    [first] = emulator.deployments_left
    FireworksHook().create_router("other", {"deployments": [first]})
    theirs = Owner("another_dag", "an earlier run", "deploy")
    create_by_hand(emulator, "theirs", description=theirs.description)
    create_by_hand(emulator, "by-hand")
    FireworksHook().update_router("my-router", deployments=["accounts/demo/deployments/by-hand"])

    run = produce(precisions=["FP8"])
    assert run.state == "success", states(run)
    [new] = emulator.router("my-router")["deployments"]
    kept = {f"accounts/demo/deployments/{name}" for name in ("theirs", "by-hand")}
    assert set(emulator.deployments_left) == {first, new, *kept}


def test_checkpoint_example_deploys_model_with_a_long_name(emulator, produce):
    run = produce(precisions=["FP8"], model="a-model-with-a-name-of-forty-five-characters-x")
    assert run.state == "success", states(run)
    [kept] = emulator.deployments_left
    assert kept.endswith("-fp8")
