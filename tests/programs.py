"""Fixtures for tests of programs that start an Airflow and servers, and stop all of them at the end."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

import psutil
import pytest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

CHECKOUT = Path(__file__).parents[1]


def processes_in(folder: Path) -> list[str]:
    """Return the command lines of the running processes whose working directory is a folder or below it."""
    found = []
    for process in psutil.process_iter(["cwd", "cmdline", "status"]):
        info = process.info
        inside = Path(info["cwd"] or "/").is_relative_to(folder.resolve())
        if inside and info["status"] != psutil.STATUS_ZOMBIE:
            found.append(" ".join(info["cmdline"] or ["?"]))
    return found


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder for all files of a test, which PostgreSQL's user may enter if the tests run as root."""
    with tempfile.TemporaryDirectory() as made:
        Path(made).chmod(0o755)
        yield Path(made).resolve()


@pytest.fixture
def start(folder: Path) -> Callable[..., subprocess.Popen[str]]:
    """Start a Python module as a program, with its temporary files in the folder."""

    def run(module: str, *arguments: str) -> subprocess.Popen[str]:
        temporary = folder / "temporary"
        temporary.mkdir()
        return subprocess.Popen(
            [sys.executable, "-m", module, *arguments],
            cwd=CHECKOUT,
            env={**os.environ, "TMPDIR": str(temporary)},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            # A shell makes background processes ignore SIGINT, and Python would inherit that.
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
        )

    return run


@pytest.fixture
def leftovers(folder: Path) -> Callable[[], list[str]]:
    """Return the processes that run in the folder, and the folders of servers that were not removed."""
    temporary = folder / "temporary"
    return lambda: [*map(str, temporary.glob("local-airflow-*")), *processes_in(folder)]


@pytest.fixture
def end_early(leftovers: Callable[[], list[str]]) -> Callable[..., str]:
    """End a program as soon as Airflow's database is ready, check that nothing of it is left, return its output."""

    def end(process: subprocess.Popen[str], number: signal.Signals, code: int) -> str:
        assert process.stdout is not None
        output = ""
        for line in process.stdout:
            output += line
            if "Database ready" in line:
                break
        deadline = time.monotonic() + 10
        while len(leftovers()) < 2 and time.monotonic() < deadline:
            time.sleep(0.1)
        assert len(leftovers()) >= 2, output

        process.send_signal(number)
        output += process.communicate(timeout=60)[0]

        assert process.returncode == code, output
        assert "Traceback" not in output
        # After SIGKILL, the watchers clean up instead of the program.
        deadline = time.monotonic() + (30 if number == signal.SIGKILL else 0)
        while leftovers() and time.monotonic() < deadline:
            time.sleep(0.2)
        assert leftovers() == []
        return output

    return end
