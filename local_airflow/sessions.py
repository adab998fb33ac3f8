"""
End processes together with all that they started.

Every component of Airflow is started in a session of its own. A task's process leaves its parent's process
group, so that signals to the group miss it; the session it cannot leave unnoticed.

Run as a script, this is the watcher: it reads ``+ID`` and ``-ID`` lines of sessions begun and ended, and
``/FOLDER`` lines. When its standard input closes, in whatever way its parent has gone, it ends the sessions that
are left and removes the folders.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any

import psutil

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator
    from pathlib import Path


@contextmanager
def signals_held(*, drop: bool) -> Iterator[None]:
    """
    Hold back the signals that a person ends programs with, in the block.

    :param drop: forget them after it, else let them take effect then.
    """
    came: list[int] = []
    before: dict[int, Any] = {}
    with suppress(ValueError):  # Not in the main thread: then they do not come in here either.
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            before[number] = signal.signal(number, lambda number, frame: came.append(number))
    try:
        yield
    finally:
        for held, handler in before.items():
            signal.signal(held, handler)
    if came and not drop:
        signal.raise_signal(came[0])


class Watcher:
    """A process that ends sessions when this process has gone without ending them itself."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[bytes] | None = None

    def add(self, session: int) -> None:
        """Look after a session."""
        self._tell(f"+{session}")

    def discard(self, session: int) -> None:
        """Look after a session no more."""
        self._tell(f"-{session}")

    def remove_at_the_end(self, folder: Path) -> None:
        """Remove a folder when all sessions have ended."""
        self._tell(str(folder.resolve()))

    def close(self) -> None:
        """Let it do what is left to be done, and end."""
        if self._process is not None:
            self._process.communicate()
            self._process = None

    def _tell(self, line: str) -> None:
        if self._process is None:
            self._process = subprocess.Popen(
                [sys.executable, __file__], stdin=subprocess.PIPE, start_new_session=True
            )
        if self._process.stdin is not None:
            self._process.stdin.write(f"{line}\n".encode())
            self._process.stdin.flush()


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
    # A frozen process handles no SIGTERM.
    thaw(sessions)
    if not _gone(sessions, grace):
        kill(sessions)


def freeze(sessions: Collection[int]) -> None:
    """Stop all processes of these sessions until :func:`thaw`, by SIGSTOP."""
    for process in members(sessions):
        with suppress(psutil.Error):
            process.suspend()


def thaw(sessions: Collection[int]) -> None:
    """Continue all processes of these sessions."""
    for process in members(sessions):
        with suppress(psutil.Error):
            process.resume()


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
    folders: list[str] = []
    for line in map(str.rstrip, sys.stdin):
        if line.startswith("/"):
            folders.append(line)
        else:
            (sessions.add if line.startswith("+") else sessions.discard)(int(line[1:]))
    end(sessions, grace=5)
    for folder in folders:
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    watch()
