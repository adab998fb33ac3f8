"""The label of a mapped task in Airflow's grid: its precision, unless the DAG sets another one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from airflow.sdk import DAG, task_group

from airflow_provider_fireworks.operators.deployment import (
    FireworksCreateDeploymentOperator,
    temporary_deployment,
)
from airflow_provider_fireworks.operators.model import FireworksPrepareModelOperator
from airflow_provider_fireworks.sensors.model import FireworksModelReadySensor
from tests.integration.creating import H100
from tests.integration.dag_runs import new_dag, run_dag

BOTH = ["FP8", "FP4"]


def labels(dag: DAG, folder: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, list[str | None]]:
    """Run a DAG, and return the labels of each task by its id, in the order of the map index."""
    run = run_dag(dag, folder, monkeypatch)
    assert run.state == "success"
    shown: dict[str, list[str | None]] = {}
    for ti in sorted(run.get_task_instances(), key=lambda ti: ti.map_index):
        shown.setdefault(ti.task_id, []).append(ti.rendered_map_index)
    return shown


@pytest.mark.parametrize("deferrable", [False, True])
def test_tasks_in_mapped_group_show_their_precision(
    deferrable: bool, emulator: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    @task_group
    def serve(precision: str) -> None:
        prepare = FireworksPrepareModelOperator(
            task_id="prepare",
            model="my-model",
            precision=precision,
            wait_for_completion=True,
            deferrable=deferrable,
            poll_interval=0.1,
        )
        ready = FireworksModelReadySensor(
            task_id="ready", prepared=prepare.output, deferrable=deferrable, poke_interval=0.1
        )
        with temporary_deployment(
            prepared=ready.output, accelerator_type=H100, deferrable=deferrable, poll_interval=0.1
        ):
            pass

    with new_dag() as dag:
        serve.expand(precision=BOTH)
    shown = labels(dag, tmp_path, monkeypatch)
    for task_id in ("prepare", "ready", "deploy"):
        assert shown[f"serve.{task_id}"] == BOTH


def test_mapped_operators_show_their_precision(
    emulator: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with new_dag() as dag:
        prepare = FireworksPrepareModelOperator.partial(
            task_id="prepare", model="my-model", poll_interval=0.1
        ).expand(precision=BOTH)
        ready = FireworksModelReadySensor.partial(task_id="ready", poke_interval=0.1).expand(
            prepared=prepare.output
        )
        FireworksCreateDeploymentOperator.partial(
            task_id="deploy", accelerator_type=H100, poll_interval=0.1
        ).expand(prepared=ready.output)
    assert labels(dag, tmp_path, monkeypatch) == dict.fromkeys(("prepare", "ready", "deploy"), BOTH)


def test_map_index_template_of_dag_replaces_precision(
    emulator: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with new_dag() as dag:
        prepare = FireworksPrepareModelOperator.partial(
            task_id="prepare",
            model="my-model",
            poll_interval=0.1,
            map_index_template="to {{ task.precision }}",
        ).expand(precision=BOTH)
        FireworksModelReadySensor.partial(
            task_id="ready",
            poke_interval=0.1,
            deferrable=True,
            map_index_template="wait for {{ task.prepared['precision'] }}",
        ).expand(prepared=prepare.output)
    assert labels(dag, tmp_path, monkeypatch) == {
        "prepare": ["to FP8", "to FP4"],
        "ready": ["wait for FP8", "wait for FP4"],
    }


def test_task_that_is_not_mapped_has_no_label(
    emulator: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with new_dag() as dag:
        FireworksPrepareModelOperator(task_id="prepare", model="my-model", precision="FP8", poll_interval=0.1)
    assert labels(dag, tmp_path, monkeypatch) == {"prepare": [None]}


def test_mapped_task_that_fails_shows_its_precision(
    emulator: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    emulator.fault("status", status=403, method="POST", times=-1)
    with new_dag() as dag:
        FireworksPrepareModelOperator.partial(task_id="prepare", model="my-model", poll_interval=0.1).expand(
            precision=BOTH
        )
    run = run_dag(dag, tmp_path, monkeypatch)
    assert run.state == "failed"
    assert {ti.rendered_map_index for ti in run.get_task_instances()} == {*BOTH}
