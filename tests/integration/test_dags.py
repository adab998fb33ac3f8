"""The example DAGs through ``dag.test()``, which runs triggers in line; its outcome is the run's state."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from airflow_provider_fireworks.watch import Watch

EXAMPLES = sorted((Path(__file__).parents[2] / "example_dags").glob("*.py"))


@pytest.fixture(scope="module", autouse=True)
def _database() -> None:
    subprocess.run(
        [sys.executable, "-m", "airflow", "db", "migrate"], check=True, capture_output=True, timeout=180
    )


@pytest.fixture(autouse=True)
def _quick_polls(monkeypatch: pytest.MonkeyPatch) -> None:
    """The examples poll as often as suits the real gateway."""
    monkeypatch.setattr(Watch, "pause", lambda self, now: 0.5)


def dag_of(file: Path) -> Any:
    try:
        from airflow.dag_processing.dagbag import DagBag
    except ImportError:  # Airflow 3.0 and 3.1
        from airflow.models.dagbag import DagBag

    bag = DagBag(str(file))
    assert bag.import_errors == {}
    (dag,) = bag.dags.values()
    return dag


@pytest.mark.parametrize("file", EXAMPLES, ids=lambda file: file.stem)
def test_every_example_runs_to_its_end(gateway, file):
    gateway.configure(duration=1.5)
    run = dag_of(file).test()
    assert run.state == "success", [(ti.task_id, ti.map_index, ti.state) for ti in run.get_task_instances()]
    wanted = {(p.model, p.precision) for p in gateway.preparations}
    assert len(wanted) == len(gateway.preparations) > 0
    for model, precision in wanted:
        assert precision in gateway.model(model)["supportedPrecisions"]


def test_a_run_that_fails_is_told_as_failed(gateway):
    gateway.configure(outcome="failed_state")
    run = dag_of(EXAMPLES[0].with_name("prepare_one_precision.py")).test()
    assert run.state == "failed"
    states = {ti.task_id: ti.state for ti in run.get_task_instances()}
    assert states == {"prepare": "success", "ready": "failed", "deploy": "upstream_failed"}


def test_a_misspelt_precision_in_a_template_fails_the_task_and_sends_nothing(gateway):
    dag = dag_of(EXAMPLES[0].with_name("prepare_fan_out.py"))
    run = dag.test(run_conf={"model": "my-model", "precisions": ["FP9"]})
    assert run.state == "failed"
    assert gateway.requests == []
