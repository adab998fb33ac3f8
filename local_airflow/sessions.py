"""
End processes together with all that they started.

Every component of Airflow is started in a session of its own. A task's process leaves its parent's process
group, so that signals to the group miss it; the session it cannot leave unnoticed.

Run as a script, this is the watcher: it reads ``+ID`` and ``-ID`` lines of sessions begun and ended, and when
its standard input closes, in whatever way its parent has gone, it ends those that are left.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from contextlib import suppress
from typing import TYPE_CHECKING

import psutil

if TYPE_CHECKING:
    from collections.abc import Callable, Collection


def members(sessions: Collection[int]) -> list[psutil.Process]:
    """Return the living processes of these sessions."""
    found = []
    for pid in psutil.pids():
        with suppress(OSError, psutil.Error):
            if os.getsid(pid) in sessions:
                process = psutil.Process(pid)
                if process.status() != psutil.STATUS_ZOMBIE:
                    found.append(process)
    return found


def end(sessions: Collection[int], *, grace: float) -> None:
    """
    Ask these sessions to end, and kill what is left of them.

    :param grace: seconds between asking and killing.
    """
    for session in sessions:
        with suppress(OSError):
            os.killpg(session, signal.SIGTERM)
    if not _gone(sessions, grace):
        kill(sessions)


def kill(sessions: Collection[int]) -> None:
    """Kill these sessions without asking."""

    def strike() -> None:
        for process in members(sessions):
            with suppress(psutil.Error):
                process.kill()

    # More than once: what is being forked meanwhile is not in the first list.
    _gone(sessions, 5, strike)


def _gone(sessions: Collection[int], seconds: float, meanwhile: Callable[[], None] = lambda: None) -> bool:
    deadline = time.monotonic() + seconds
    while members(sessions):
        if time.monotonic() > deadline:
            return False
        meanwhile()
        time.sleep(0.1)
    return True


def watch() -> None:
    """Be the watcher."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    sessions: set[int] = set()
    for line in sys.stdin:
        (sessions.add if line.startswith("+") else sessions.discard)(int(line[1:]))
    end(sessions, grace=5)


if __name__ == "__main__":
    watch()
