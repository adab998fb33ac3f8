"""A short chaos run, and chaos runs that are ended early."""

from __future__ import annotations

import re
import signal
from typing import TYPE_CHECKING

import pytest

from local_airflow.postgres import find_programs
from local_airflow.server import ServerMissingError

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Callable
    from pathlib import Path

pytestmark = pytest.mark.e2e


@pytest.fixture
def chaos(folder: Path, start: Callable[..., subprocess.Popen[str]]) -> Callable[..., subprocess.Popen[str]]:
    """Start a chaos run."""
    try:
        find_programs()
    except ServerMissingError as error:
        pytest.skip(str(error))
    return lambda *arguments: start("tests.chaos.run", "--home", str(folder / "home"), *arguments)


def test_short_run_with_kill_and_freeze_finds_no_violation(
    chaos: Callable[..., subprocess.Popen[str]], leftovers: Callable[[], list[str]]
) -> None:
    # With this seed the deployments of the first run take 15 s. A triggerer that waits for one is frozen for 7 to 8 s,
    # and a triggerer is killed 10 s later, or 10 s earlier if no task is deferred yet when the freeze is due.
    process = chaos(
        "--seed", "5831", "--kills", "1", "--freezes", "1", "--minutes", "1", "--concurrent-runs", "1"
    )
    output, _ = process.communicate(timeout=900)

    assert process.returncode == 0, output
    assert "Traceback" not in output
    summary = re.fullmatch(
        r"seed \d+: 2 faults \(\d+ workers, \d+ triggerers, \d+ schedulers killed, "
        r"1 triggerers frozen, (\d+) waits reassigned\) in \d+ min, "
        r"(\d+) runs \((\d+) succeeded, \d+ failed\), "
        r"(\d+) deployments created \(\d+ of them again after one that failed\), "
        r"0 deleted while in use, 0 duplicates, 0 orphaned, 0 succeeded without being READY",
        output.splitlines()[-1],
    )
    assert summary is not None, output
    reassigned, runs, succeeded, deployments = map(int, summary.groups())
    # Otherwise the freeze tested nothing.
    assert reassigned >= 1
    assert succeeded == runs >= 1
    assert deployments == 4 * runs
    assert leftovers() == []


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGKILL, -signal.SIGKILL)])
def test_chaos_run_ended_by_signal_leaves_no_process_or_folder(
    chaos: Callable[..., subprocess.Popen[str]],
    end_early: Callable[..., str],
    number: signal.Signals,
    code: int,
) -> None:
    end_early(chaos(), number, code)
