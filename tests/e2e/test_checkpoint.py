"""The example ``checkpoint_to_production``: from uploaded files to a router, with a table as the run's note."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from airflow_provider_fireworks.emulator import Emulator
    from local_airflow.components import LocalAirflow

DAG = "checkpoint_to_production"


def test_checkpoint_is_uploaded_measured_and_routed_to(
    airflow: LocalAirflow, emulator: Emulator, finish: Callable[..., None], tmp_path: Path
) -> None:
    emulator.configure(
        duration=1,
        deploy_duration=1,
        validation_duration=3,
        quality={"FP4": 0.8},
        speed={"FP4": 400, "FP8": 100},
    )
    (tmp_path / "config.json").write_text('{"model_type": "llama"}')
    for number in (1, 2):
        (tmp_path / f"model-0000{number}-of-00002.safetensors").write_bytes(b"w" * 3_000_000)

    run = airflow.trigger(DAG, {"source": tmp_path.as_uri(), "precisions": ["FP8", "FP4"]})
    finish(DAG, run, timeout=300)

    tasks = {task.name: task for task in airflow.api.task_instances(DAG, run)}
    assert {task.state for task in tasks.values()} == {"success"}
    measured = airflow.api.xcom(tasks["compare"])
    assert {precision: values["quality"] for precision, values in measured.items()} == {"FP8": 1, "FP4": 0.8}
    assert measured["FP4"]["tokens_per_second"] > measured["FP8"]["tokens_per_second"]

    note = airflow.api.note(DAG, run)
    assert note == airflow.api.xcom(tasks["report"])
    assert note.splitlines()[0] == "| precision | quality | time_to_first_token | tokens_per_second |"
    assert "| **FP8** | 1.0 |" in note
    assert "| FP4 | 0.8 |" in note

    model = airflow.api.xcom(tasks["upload"], "model")
    kept = f"accounts/demo/deployments/{model.rpartition('/')[2]}-fp8"
    assert emulator.deployments_left == [kept]
    assert emulator.router("my-router")["deployments"] == [kept]
    assert airflow.api.xcom(tasks["route"], "inference_model") == "accounts/demo/routers/my-router"
    uploads = emulator.uploads(model.rpartition("/")[2])
    assert sorted((file.name, file.size, file.result) for file in uploads) == [
        ("config.json", 23, "stored"),
        ("model-00001-of-00002.safetensors", 3_000_000, "stored"),
        ("model-00002-of-00002.safetensors", 3_000_000, "stored"),
    ]
    assert "validation early" not in emulator.counts
