"""
End processes together with all processes that they started.

Every component of Airflow runs in a session of its own. Signals to its process group would miss tasks, as the process
of a task leaves its parent's group; it does not leave the session.

Run as a script, this module is the watcher. It reads a line ``+ID`` for each session that starts, ``-ID`` for each that
ended, and ``/FOLDER`` for each temporary folder. When its standard input closes, however its parent ended, it ends the
remaining sessions and removes the folders.
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
    Hold back SIGINT, SIGTERM and SIGHUP inside the block.

    :param drop: ignore the signals that arrived; otherwise they take effect after the block.
    """
    received: list[int] = []
    handlers: dict[int, Any] = {}
    with suppress(ValueError):  # Raised in other threads than the main one, which get no signals anyway.
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            handlers[number] = signal.signal(number, lambda number, frame: received.append(number))
    try:
        yield
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)
    if received and not drop:
        signal.raise_signal(received[0])


class Watcher:
    """A process that ends sessions if this process ends without ending them itself."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[bytes] | None = None

    def add(self, session: int) -> None:
        """End a session if this process ends."""
        self._send(f"+{session}")

    def discard(self, session: int) -> None:
        """Forget a session, which has ended."""
        self._send(f"-{session}")

    def remove_at_exit(self, folder: Path) -> None:
        """Remove a folder once all sessions have ended."""
        self._send(str(folder.resolve()))

    def close(self) -> None:
        """End the remaining sessions, remove the folders, and wait for that."""
        if self._process is not None:
            self._process.communicate()
            self._process = None

    def _send(self, line: str) -> None:
        if self._process is None:
            self._process = subprocess.Popen(
                [sys.executable, __file__], stdin=subprocess.PIPE, start_new_session=True
            )
        if self._process.stdin is not None:
            self._process.stdin.write(f"{line}\n".encode())
            self._process.stdin.flush()


def members(sessions: Collection[int]) -> list[psutil.Process]:
    """Return the running processes of these sessions."""
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
    Send SIGTERM to these sessions, and SIGKILL to the processes that remain.

    :param grace: seconds between the two.
    """
    for session in sessions:
        with suppress(OSError):
            os.killpg(session, signal.SIGTERM)
    # A frozen process does not handle SIGTERM.
    thaw(sessions)
    if not _wait_for_end(sessions, grace):
        kill(sessions)


def freeze(sessions: Collection[int]) -> None:
    """Stop all processes of these sessions with SIGSTOP, until :func:`thaw`."""
    for process in members(sessions):
        with suppress(psutil.Error):
            process.suspend()


def thaw(sessions: Collection[int]) -> None:
    """Continue all processes of these sessions."""
    for process in members(sessions):
        with suppress(psutil.Error):
            process.resume()


def kill(sessions: Collection[int]) -> None:
    """Send SIGKILL to all processes of these sessions."""

    def kill_members() -> None:
        for process in members(sessions):
            with suppress(psutil.Error):
                process.kill()

    # Repeatedly, as a process that is forked meanwhile is not in the first list.
    _wait_for_end(sessions, 5, kill_members)


def _wait_for_end(
    sessions: Collection[int], seconds: float, meanwhile: Callable[[], None] = lambda: None
) -> bool:
    """Wait until these sessions have no processes, and return whether that happened in time."""
    deadline = time.monotonic() + seconds
    while members(sessions):
        if time.monotonic() > deadline:
            return False
        meanwhile()
        time.sleep(0.1)
    return True


def watch() -> None:
    """Run the watcher."""
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
