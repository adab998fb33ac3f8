"""The example DAGs through ``dag.test()``, which runs triggers in line; its outcome is the run's state."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import airflow
import pytest

from airflow_provider_fireworks.deployments.ownership import Owner
from airflow_provider_fireworks.polling import Wait

EXAMPLES = Path(__file__).parents[2] / "example_dags"


@pytest.fixture(scope="module", autouse=True)
def _database() -> None:
    subprocess.run(
        [sys.executable, "-m", "airflow", "db", "migrate"], check=True, capture_output=True, timeout=180
    )


@pytest.fixture(autouse=True)
def _quick_polls(monkeypatch: pytest.MonkeyPatch) -> None:
    """The examples poll as often as suits the real API."""
    monkeypatch.setattr(Wait, "next_delay", lambda self, now: 0.5)


def dag_of(name: str) -> Any:
    try:
        from airflow.dag_processing.dagbag import DagBag
    except ImportError:  # Airflow 3.0 and 3.1
        from airflow.models.dagbag import DagBag

    bag = DagBag(str(EXAMPLES / f"{name}.py"))
    assert bag.import_errors == {}
    (dag,) = bag.dags.values()
    if airflow.__version__ in ("3.0.0", "3.0.1"):
        pytest.skip("dag.test() came with Airflow 3.0.2")
    return dag


def states(run: Any) -> dict[str, str]:
    return {
        f"{ti.task_id}[{ti.map_index}]" if ti.map_index >= 0 else ti.task_id: str(ti.state)
        for ti in run.get_task_instances()
    }


def test_every_example_is_run_here():
    here = {"prepare_and_wait", "prepare_fan_out", "prepare_scheduled", "deploy_fan_out", "sweep_deployments"}
    assert {file.stem for file in EXAMPLES.glob("*.py")} == here


@pytest.mark.parametrize(
    "name", ["prepare_and_wait", "prepare_fan_out", "prepare_scheduled", "deploy_fan_out"]
)
def test_what_prepares_asks_once_for_each(emulator, name):
    emulator.configure(duration=1.5, deploy_duration=1)
    run = dag_of(name).test()
    assert run.state == "success", states(run)
    wanted = {(p.model, p.precision) for p in emulator.preparations}
    assert len(wanted) == len(emulator.preparations) > 0
    for model, precision in wanted:
        assert precision in emulator.model(model)["supportedPrecisions"]
    assert emulator.deployments_left == []


def test_a_preparation_that_fails_deploys_nothing(emulator):
    emulator.configure(outcome="failed_state")
    run = dag_of("deploy_fan_out").test(run_conf={"precisions": ["FP8"]})
    assert run.state == "failed"
    assert states(run) == {
        "precisions": "success",
        "serve.prepare[0]": "success",
        "serve.ready[0]": "failed",
        **{
            f"serve.{task}[0]": "upstream_failed" for task in ("deploy", "up", "smoke_test", "done", "remove")
        },
    }
    assert emulator.creations == []


def test_a_deployment_that_cannot_be_removed_fails_the_run(emulator):
    emulator.set_model("my-model", supportedPrecisions=["FP16", "FP8"])
    emulator.configure(deploy_duration=0.5)
    emulator.fault("status", status=403, method="DELETE", times=-1)
    run = dag_of("deploy_fan_out").test(run_conf={"precisions": ["FP8"]})
    assert run.state == "failed"
    assert states(run)["serve.remove[0]"] == "failed"
    assert states(run)["serve.smoke_test[0]"] == "success"
    assert len(emulator.deployments_left) == 1


def test_the_sweep_fails_as_long_as_something_is_left(emulator, monkeypatch):
    emulator.set_model("my-model", supportedPrecisions=["FP16", "FP8"])
    by = Owner("gone", "an earlier run", "deploy")
    _deploy(emulator, by.deployment_id, by.description)
    _deploy(emulator, "kept", Owner("gone", "an earlier run", "other").description)
    _deploy(emulator, "somebodys", "Made by hand.")

    listed = dag_of("sweep_deployments").test(run_conf={"keep": ["kept"]})
    assert listed.state == "failed"
    assert len(emulator.deployments_left) == 3

    deleted = dag_of("sweep_deployments").test(run_conf={"keep": ["kept"], "delete": True})
    assert deleted.state == "success", states(deleted)
    assert {name.rpartition("/")[2] for name in emulator.deployments_left} == {"kept", "somebodys"}


def _deploy(emulator: Any, deployment_id: str, description: str) -> None:
    from airflow_provider_fireworks.hooks.fireworks import FireworksHook

    spec = {"baseModel": "accounts/demo/models/my-model", "acceleratorType": "NVIDIA_H100_80GB"}
    FireworksHook().create_deployment(deployment_id, {**spec, "precision": "FP8", "description": description})


def test_a_misspelt_precision_in_a_template_fails_the_task_and_sends_nothing(emulator):
    dag = dag_of("prepare_fan_out")
    run = dag.test(run_conf={"model": "my-model", "precisions": ["FP9"]})
    assert run.state == "failed"
    assert emulator.requests == []
