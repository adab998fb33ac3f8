"""Uploads in a run of a whole DAG, with the XComs of Airflow."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from airflow.sdk import task

from airflow_provider_fireworks.hooks.fireworks import FireworksHook
from tests.integration.dag_runs import new_dag, run_dag, states
from tests.integration.uploading import create_by_hand, exists, make_task


def run_with_clean_up(source: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """Run an upload and a task that deletes whatever it pushed; return their states."""
    folder.mkdir()
    with new_dag() as dag:
        upload = make_task(source)

        @task(trigger_rule="all_done")
        def clean_up(model: Any) -> None:
            if model:
                FireworksHook().delete_model(model)

        clean_up(upload.output["model"])
    return states(run_dag(dag, folder, monkeypatch))


def test_clean_up_after_conflict_leaves_model_alone(emulator, source, tmp_path, monkeypatch):
    create_by_hand(emulator, description="a model")
    ended = run_with_clean_up(source, tmp_path / "dags", monkeypatch)
    assert ended == {"upload": "failed", "clean_up": "success"}
    assert exists(emulator)


def test_failed_upload_deletes_its_model(emulator, source, tmp_path, monkeypatch):
    emulator.configure(validation_outcome="invalid")
    ended = run_with_clean_up(source, tmp_path / "dags", monkeypatch)
    assert ended["upload"] == "failed"
    # The clean-up finds nothing left to delete.
    assert emulator.count("DELETE") == 2
    assert not exists(emulator)


def test_clean_up_after_upload_deletes_model(emulator, source, tmp_path, monkeypatch):
    ended = run_with_clean_up(source, tmp_path / "dags", monkeypatch)
    assert ended == {"upload": "success", "clean_up": "success"}
    assert emulator.count("DELETE") == 1
    assert not exists(emulator)
