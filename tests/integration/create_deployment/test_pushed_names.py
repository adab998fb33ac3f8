"""Which names the create operator pushes, and when: a task that deletes the deployment needs them in any case."""

from __future__ import annotations

from typing import Any

from tests.integration.conftest import MODEL, TaskInstance, run_task
from tests.integration.creating import NAME, OWNER, make_task


class RecordingTaskInstance(TaskInstance):
    """Records what is pushed, and after how many requests."""

    def __init__(self, emulator: Any) -> None:
        super().__init__()
        self.emulator = emulator
        self.pushed: list[tuple[int, str, Any]] = []

    def xcom_push(self, key: str, value: Any) -> None:
        super().xcom_push(key, value)
        self.pushed.append((len(self.emulator.requests), key, value))


def test_create_pushes_names_before_any_request(emulator):
    instance = RecordingTaskInstance(emulator)
    run_task(make_task, instance)
    assert instance.pushed == [
        (0, "deployment", NAME),
        (0, "inference_model", f"{MODEL}#{NAME}"),
    ]


def test_create_pushes_bare_ids_until_account_is_looked_up(emulator, monkeypatch):
    connection = emulator.connection.replace('"login": "demo"', '"login": null')
    assert connection != emulator.connection
    monkeypatch.setenv("AIRFLOW_CONN_FIREWORKS_DEFAULT", connection)
    instance = RecordingTaskInstance(emulator)
    run_task(make_task, instance)
    assert instance.pushed == [
        (0, "deployment", OWNER.deployment_id),
        (0, "inference_model", f"my-model#{OWNER.deployment_id}"),
        (1, "deployment", NAME),
        (1, "inference_model", f"{MODEL}#{NAME}"),
    ]


def test_create_with_validate_only_pushes_nothing(emulator):
    instance = RecordingTaskInstance(emulator)
    run_task(lambda: make_task(validate_only=True), instance)
    assert instance.pushed == []
