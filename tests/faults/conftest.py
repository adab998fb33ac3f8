"""
The fault matrix: every call, in every way of waiting, over every fault, against an emulated API over HTTP.

``make faults`` runs all of it and prints the table; ``make test`` runs a slice. See ``docs/faults.md``.
"""

from __future__ import annotations

import os
from dataclasses import astuple
from typing import Any

import pytest

from airflow_provider_fireworks.emulator import Emulator
from tests.faults.cases import LEFT_OUT
from tests.faults.cell import Row, lines

# Autouse, like that of the tests it is written for.
from tests.integration.conftest import _quick as _quick
from tests.timing import use_timing

ALL = os.environ.get("FAULTS") == "all"
"""Whether the whole matrix is run."""


@pytest.fixture(autouse=True)
def _quicker(_quick: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """Shorten the pauses further; there are many cells."""
    use_timing(
        monkeypatch,
        first_retry_delay=0.03,
        min_retry_delay=0.03,
        max_retry_after=0.3,
        min_poll_delay=0.03,
        max_poll_backoff=0.06,
        visibility_lag=0.1,
        min_pause=0.03,
        max_pause=0.06,
        cleanup_timeout=0.2,
    )
    for name in [name for name in os.environ if name.lower().endswith("_proxy")]:
        monkeypatch.delenv(name)


_ROW = "cell of the fault matrix"


@pytest.fixture
def emulator(monkeypatch: pytest.MonkeyPatch) -> Any:
    """An emulated API, which calls what is in ``heard`` with each request once that is answered."""
    heard: list[Any] = []
    options = {"duration": 0.1, "deploy_duration": 0.05, "scale_duration": 0.05}
    with Emulator(**options, log=lambda request: [hear(request) for hear in heard]) as emulator:
        monkeypatch.setenv("AIRFLOW_CONN_FIREWORKS_DEFAULT", emulator.connection)
        emulator.heard = heard
        yield emulator


@pytest.fixture
def table(request: pytest.FixtureRequest) -> Any:
    """Take a row for the table. It goes with the test's report, which may come from another process."""
    number = request.session.items.index(request.node)
    return lambda row: request.node.user_properties.append((_ROW, (number, *astuple(row))))


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Keep to the slice, unless all is asked for."""
    if ALL:
        return
    dropped = [item for item in items if item.get_closest_marker("whole_matrix")]
    if dropped:
        config.hook.pytest_deselected(items=dropped)
        items[:] = [item for item in items if item not in dropped]


def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    """Print the table; of a slice, only with ``-v``."""
    reports = [report for reports in terminalreporter.stats.values() for report in reports]
    told = [report.user_properties for report in reports if getattr(report, "when", None) == "call"]
    rows = [
        Row(*row)
        for _, *row in sorted(row for properties in told for name, row in properties if name == _ROW)
    ]
    if not rows:
        return
    duplicates = sum(row.duplicates or 0 for row in rows)
    otherwise = sum(row.seen != row.expected for row in rows)
    terminalreporter.section("fault matrix")
    if ALL or config.option.verbose > 0:
        for line in lines(rows):
            terminalreporter.write_line(line)
        terminalreporter.write_line("")
        terminalreporter.write_line("Left out:")
        for each in LEFT_OUT.values():
            terminalreporter.write_line(f"  {each.what}: {each.why}")
    terminalreporter.write_line(
        f"{len(rows)} cells{'' if ALL else ', a slice of it: make faults runs all'}; verdicts other than expected: "
        f"{otherwise}; requests: {sum(row.requests for row in rows)}; longest pause: "
        f"{max(row.longest_pause for row in rows):.2f} s; duplicates: {duplicates}"
    )
