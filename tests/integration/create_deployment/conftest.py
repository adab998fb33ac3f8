"""Fixtures for the tests of ``FireworksCreateDeploymentOperator``. The emulator's records say what happened."""

from __future__ import annotations

from typing import Any

import pytest

from tests.integration.conftest import TaskInstance, run_task
from tests.integration.creating import make_task
from tests.timing import use_timing


@pytest.fixture(autouse=True)
def _quicker_retries(monkeypatch: pytest.MonkeyPatch) -> None:
    use_timing(monkeypatch, first_retry_delay=0.05)


@pytest.fixture(params=[False, True], ids=["worker", "deferrable"])
def create(request: pytest.FixtureRequest) -> Any:
    """Runs a create task to its end, in both ways of waiting."""

    def run(instance: TaskInstance | None = None, **arguments: Any) -> dict[str, Any]:
        return run_task(lambda: make_task(deferrable=request.param, **arguments), instance)

    return run


@pytest.fixture
def fp8_emulator(emulator: Any) -> Any:
    """An emulated API whose ``my-model`` is ready at FP16 and FP8."""
    emulator.set_model("my-model", supportedPrecisions=["FP16", "FP8"])
    return emulator
