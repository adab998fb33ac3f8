"""Helpers for tests of the sensors."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import Timer
from typing import Any

MODES: dict[str, dict[str, Any]] = {
    "poke": {"mode": "poke"},
    "reschedule": {"mode": "reschedule"},
    "deferrable": {"deferrable": True},
}

SKIPS: list[dict[str, Any]] = [{}, {"soft_fail": True}, {"never_fail": True}]
"""Arguments that make a sensor skip its task in place of failing it; the first one does not."""

TRANSIENT_FAULTS: list[dict[str, Any]] = [
    {"kind": "status", "status": 503},
    {"kind": "status", "status": 429, "retry_after": "0"},
    {"kind": "html", "status": 502},
    {"kind": "html", "status": 403},
    {"kind": "html", "status": 404},
    {"kind": "html", "status": 200},
    {"kind": "truncate"},
    {"kind": "drop"},
    {"kind": "redirect", "location": "https://example.com/"},
]
"""Faults that say nothing about the resource."""


@contextmanager
def act_later(act: Callable[[], Any], seconds: float = 0.3) -> Iterator[None]:
    """Act in another thread after some time, while the block runs."""
    timer = Timer(seconds, act)
    timer.start()
    try:
        yield
    finally:
        timer.join()
