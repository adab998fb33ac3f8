"""Fixtures for the tests of ``FireworksUploadModelOperator``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.integration.conftest import TaskInstance, run_task
from tests.integration.uploading import CHECKPOINT, Run, make_task, write
from tests.timing import use_timing


@pytest.fixture(autouse=True)
def _quicker(monkeypatch: pytest.MonkeyPatch) -> None:
    use_timing(
        monkeypatch,
        first_retry_delay=0.05,
        upload_check_interval=0.05,
        upload_log_interval=0.1,
        read_timeout=5.0,
    )


@pytest.fixture
def source(tmp_path: Path) -> str:
    """The folder of a checkpoint."""
    return write(tmp_path / "checkpoint", CHECKPOINT)


@pytest.fixture(params=[False, True], ids=["worker", "deferrable"])
def run(request: pytest.FixtureRequest) -> Run:
    """Runs an upload task to its end, in both ways of waiting."""

    def run(source: str, instance: TaskInstance | None = None, **arguments: Any) -> dict[str, Any]:
        return run_task(
            lambda: make_task(source, deferrable=request.param, **arguments),
            instance or TaskInstance("upload"),
        )

    return run
