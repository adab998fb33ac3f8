"""
The fault matrix: every request, in every way of waiting, with every fault, over HTTP against the emulator.

``make faults`` runs all of it and prints the table; ``make test`` runs a part. See ``docs/faults.md``.
"""

from __future__ import annotations

import os
from dataclasses import astuple
from typing import Any

import pytest

from airflow_provider_fireworks.emulator import Emulator
from tests.faults.cases import LEFT_OUT
from tests.faults.cell import Row, lines

# An autouse fixture.
from tests.integration.conftest import _quick as _quick
from tests.timing import use_timing

RUN_ALL = os.environ.get("FAULTS") == "all"
"""Whether the whole matrix runs."""
_ROW = "row of the fault matrix"


@pytest.fixture(autouse=True)
def _quicker(_quick: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """Shorten the delays further, as there are many cells, and use no proxy of the environment."""
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


@pytest.fixture
def emulator(monkeypatch: pytest.MonkeyPatch) -> Any:
    """An emulated API, which calls its ``listeners`` with each request that has ended."""
    listeners: list[Any] = []
    options = {"duration": 0.1, "deploy_duration": 0.05, "scale_duration": 0.05, "router_duration": 0.05}
    with Emulator(**options, log=lambda request: [each(request) for each in listeners]) as emulator:
        monkeypatch.setenv("AIRFLOW_CONN_FIREWORKS_DEFAULT", emulator.connection)
        emulator.listeners = listeners
        yield emulator


@pytest.fixture
def table(request: pytest.FixtureRequest) -> Any:
    """Add a row to the table. It travels in the test's report, which may come from another process."""
    number = request.session.items.index(request.node)
    return lambda row: request.node.user_properties.append((_ROW, (number, *astuple(row))))


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Deselect the cells that only the whole matrix has."""
    if RUN_ALL:
        return
    dropped = [item for item in items if item.get_closest_marker("whole_matrix")]
    if dropped:
        config.hook.pytest_deselected(items=dropped)
        items[:] = [item for item in items if item not in dropped]


def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    """Print the table; for a part of the matrix only with ``-v``."""
    reports = [report for reports in terminalreporter.stats.values() for report in reports]
    properties = [report.user_properties for report in reports if getattr(report, "when", None) == "call"]
    rows = [Row(*row) for _, *row in sorted(row for each in properties for name, row in each if name == _ROW)]
    if not rows:
        return
    terminalreporter.section("fault matrix")
    if RUN_ALL or config.option.verbose > 0:
        for line in lines(rows):
            terminalreporter.write_line(line)
        terminalreporter.write_line("")
        terminalreporter.write_line("Left out:")
        for each in LEFT_OUT.values():
            terminalreporter.write_line(f"  {each.cells}: {each.reason}")
    terminalreporter.write_line(
        f"{len(rows)} cells{'' if RUN_ALL else ' (make faults runs all)'}; unexpected results: "
        f"{sum(row.result != row.expected for row in rows)}; requests: {sum(row.requests for row in rows)}; "
        f"longest delay: {max(row.longest_delay for row in rows):.2f} s; "
        f"duplicates: {sum(row.duplicates or 0 for row in rows)}"
    )
