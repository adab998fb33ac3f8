"""A cell of the fault matrix: how it is run, its row in the table, and what every cell must comply with."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import astuple, dataclass
from itertools import pairwise
from typing import Any

from airflow_provider_fireworks.hooks.fireworks import FireworksHook
from tests.faults.scenarios import Scenario

TIMEOUT = 20.0
"""Timeout of a task that should succeed, or be refused."""
SHORT_TIMEOUT = 0.25
"""Timeout of a task whose fault lasts."""
PATIENCE = 0.3
"""Seconds after which a response that hangs or trickles is given up; 60 and 120 in production."""
BUSY = 5.0
"""Seconds that a busy machine may add."""
BURST = 10
"""Requests that may follow each other without a delay: reads before and after a write, and the clean-up."""
JITTER = 1.1
"""Delays are up to a tenth longer."""

HEAD = ("request", "way", "fault", "expected", "result", "requests", "longest delay", "duplicates")


@dataclass
class Row:
    """A cell's row in the table."""

    request: str
    way: str
    fault: str
    expected: str
    result: str = "–"
    requests: int = 0
    longest_delay: float = 0.0
    duplicates: int | None = None

    def run(self, scenario: Scenario, timeout: float) -> None:
        """Run the task, and note its result."""
        self.error: Exception | None = None
        began = time.monotonic()
        try:
            result = scenario.run(self.way, timeout)
        except Exception as error:
            self.result, self.error = type(error).__name__, error
        else:
            self.result = result if self.way == "trigger" else "success"
        self.lasted = time.monotonic() - began

    def measure(self, scenario: Scenario, emulator: Any, times: Sequence[float]) -> None:
        """
        Note what the emulator has recorded.

        :param times: when the task sent a request or tried to, in seconds since the epoch.
        """
        self.requests = len(emulator.requests)
        self.longest_delay = max(delays(times), default=0.0)
        if scenario.can_duplicate:
            executed = {"prepare": emulator.preparations, "create": emulator.creations}
            self.duplicates = max(len(executed.get(scenario.request, emulator.routers)) - 1, 0)

    def check(self, times: Sequence[float], *, longest_request: float = 0.0) -> None:
        """Assert what every cell must comply with."""
        timing = FireworksHook.timing
        assert self.result == self.expected, f"{self.result}, not {self.expected}: {self.error}"
        assert not self.duplicates, f"{self.duplicates} duplicates"
        if times:
            at_most = BURST + (times[-1] - times[0]) / timing.min_poll_delay
            assert len(times) <= at_most, f"{len(times)} requests, more than the delays between them allow"
        longest = max(timing.max_poll_backoff, timing.max_retry_after) * JITTER
        assert self.longest_delay <= longest + longest_request + BUSY, (
            f"a delay of {self.longest_delay:.1f} s"
        )


def delays(times: Sequence[float]) -> list[float]:
    return [later - earlier for earlier, later in pairwise(times)]


def lines(rows: Sequence[Row]) -> list[str]:
    """Return the lines of the table."""
    table = [HEAD, *(tuple(map(_cell, astuple(row))) for row in rows)]
    widths = [max(len(line[column]) for line in table) for column in range(len(HEAD))]
    return [
        "  ".join(text.ljust(width) for text, width in zip(line, widths, strict=True)).rstrip()
        for line in table
    ]


def _cell(value: object) -> str:
    if value is None:
        return "–"
    return f"{value:.2f}" if isinstance(value, float) else str(value)
