"""Fixtures for the tests of ``temporary_deployment``."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any, Protocol

import pytest

from tests.integration.dag_runs import new_dag, run_dag, states


class Ends(Protocol):
    """The type of the fixture ``ends``."""

    def __call__(
        self, state: str, others: dict[str, str] | None = None, *, created: int = 1, left: int = 0
    ) -> AbstractContextManager[None]: ...


@pytest.fixture
def ends(emulator: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Ends:
    """
    Returns a context that a DAG is defined in, which is then run, and checked.

    Its arguments are the state of the run, the states of all tasks that do not succeed, how many deployments are
    created, and how many are left.
    """

    @contextmanager
    def ends(
        state: str, others: dict[str, str] | None = None, *, created: int = 1, left: int = 0
    ) -> Iterator[None]:
        with new_dag() as dag:
            yield
        run = run_dag(dag, tmp_path, monkeypatch)
        found = {task_id: state for task_id, state in states(run).items() if state != "success"}
        assert found == (others or {})
        assert run.state == state
        assert len(emulator.creations) == created
        assert len(emulator.deployments_left) == left

    return ends
