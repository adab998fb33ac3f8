"""A cell of the matrix: how it is run, what the table shows of it, and what all of them have to keep to."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import astuple, dataclass
from itertools import pairwise
from typing import Any

from airflow_provider_fireworks import polling
from airflow_provider_fireworks.client import retries
from tests.faults.scenarios import Scenario

TIMEOUT = 20.0
"""The task's timeout where it is to succeed, or to be refused."""
SHORT_TIMEOUT = 0.25
"""The task's timeout where the fault lasts."""
PATIENCE = 0.3
"""Seconds until an answer that hangs, or one that trickles, counts as lost; 60 and 120 in real life."""
BUSY = 5.0
"""Seconds by which a loaded machine may be late."""
STEPS = 10
"""Requests that may follow each other without a pause: looks before and after a write, and cleaning up."""

HEAD = ("call", "way", "fault", "verdict expected", "verdict seen", "requests", "longest pause", "duplicates")


@dataclass
class Row:
    """A cell, as the table shows it."""

    call: str
    way: str
    fault: str
    expected: str
    seen: str = "–"
    requests: int = 0
    longest_pause: float = 0.0
    duplicates: int | None = None

    def run(self, scenario: Scenario, timeout: float) -> None:
        """Run the task."""
        self.error: Exception | None = None
        began = time.monotonic()
        try:
            result = scenario.run(self.way, timeout)
        except Exception as error:
            self.seen, self.error = type(error).__name__, error
        else:
            self.seen = result if self.way == "trigger" else "success"
        self.lasted = time.monotonic() - began

    def measure(self, scenario: Scenario, emulator: Any, times: Sequence[float]) -> None:
        """
        Take in what the API has recorded.

        :param times: when the task has asked, or tried to, in seconds since the epoch.
        """
        self.requests = len(emulator.requests)
        self.longest_pause = max(pauses(times), default=0.0)
        if scenario.can_duplicate:
            made = emulator.preparations if scenario.call == "prepare" else emulator.creations
            self.duplicates = max(len(made) - 1, 0)

    def check(self, times: Sequence[float], *, longest_call: float = 0.0) -> None:
        """Hold it to what every cell has to keep to."""
        assert self.seen == self.expected, f"{self.seen}, not {self.expected}: {self.error}"
        assert not self.duplicates, f"{self.duplicates} made twice"
        if times:
            assert len(times) <= STEPS + (times[-1] - times[0]) / polling.SHORTEST_PAUSE, (
                f"it spins: {len(times)} requests"
            )
        longest = max(polling.LONGEST_BACKOFF, retries.MAX_RETRY_AFTER) * (1 + polling.JITTER)
        assert self.longest_pause <= longest + longest_call + BUSY, f"a pause of {self.longest_pause:.1f} s"


def pauses(times: Sequence[float]) -> list[float]:
    return [later - earlier for earlier, later in pairwise(times)]


def lines(rows: Sequence[Row]) -> list[str]:
    """Return the table."""
    shown = [HEAD, *(tuple(map(_shown, astuple(row))) for row in rows)]
    widths = [max(len(line[column]) for line in shown) for column in range(len(HEAD))]
    return [
        "  ".join(text.ljust(width) for text, width in zip(line, widths, strict=True)).rstrip()
        for line in shown
    ]


def _shown(value: object) -> str:
    if value is None:
        return "–"
    return f"{value:.2f}" if isinstance(value, float) else str(value)
