from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from local_airflow import LocalAirflow, LocalAirflowError

if TYPE_CHECKING:
    from collections.abc import Callable

CHECKOUT = Path(__file__).parents[2]


def demo(*arguments: str, **env: str) -> subprocess.Popen[str]:
    ours = {"FIREWORKS_API_KEY", "MODEL", "PRECISIONS", "KEEP", "FAIL", "PORT"}
    return subprocess.Popen(
        [sys.executable, "-m", "local_airflow.demo", *arguments],
        cwd=CHECKOUT,
        env={**{name: value for name, value in os.environ.items() if name not in ours}, **env},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def test_it_fails_if_the_run_fails_and_says_why(
    tmp_path: Path, processes_in: Callable[[Path], list[str]]
) -> None:
    process = demo("--precisions", "FP4", "--fail", "FP4", "--duration", "1", "--home", str(tmp_path))
    told, _ = process.communicate(timeout=180)

    assert process.returncode == 1, told
    assert "The run failed" in told
    assert "ready FP4 failed" in told
    assert "preparing the model at FP4 failed" in told
    assert "1 × prepare accepted" in told
    assert "Traceback" not in told
    assert processes_in(tmp_path) == []


@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 130), (signal.SIGKILL, -signal.SIGKILL)]
)
def test_nothing_is_left_running_when_it_is_ended(
    tmp_path: Path, processes_in: Callable[[Path], list[str]], number: signal.Signals, code: int
) -> None:
    process = demo("--home", str(tmp_path))
    assert process.stdout is not None
    told = ""
    for line in process.stdout:
        told += line
        if "Database ready" in line:
            break
    deadline = time.monotonic() + 10
    while not processes_in(tmp_path) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert processes_in(tmp_path), told

    process.send_signal(number)
    told += process.communicate(timeout=30)[0]

    assert process.returncode == code, told
    assert ("Interrupted" in told) == (number != signal.SIGKILL)
    assert "Traceback" not in told
    # Killed, it cannot clean up itself: that is the watcher's work then.
    deadline = time.monotonic() + (20 if number == signal.SIGKILL else 0)
    while processes_in(tmp_path) and time.monotonic() < deadline:
        time.sleep(0.2)
    assert processes_in(tmp_path) == []


def test_a_model_without_a_key_is_refused(tmp_path: Path) -> None:
    process = demo("--home", str(tmp_path), MODEL="my-own-model")
    told, _ = process.communicate(timeout=30)

    assert process.returncode == 2
    assert "FIREWORKS_API_KEY" in told
    assert list(tmp_path.iterdir()) == []


def test_a_component_that_ends_is_named_with_the_end_of_its_log(tmp_path: Path) -> None:
    env = {"AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": f"sqlite:///{tmp_path}/no-such-folder/airflow.db"}
    with (
        pytest.raises(LocalAirflowError, match=r"db-migrate ended with exit code 1[\s\S]*unable to open"),
        LocalAirflow(tmp_path / "home", tmp_path, env=env),
    ):
        pytest.fail("it cannot have started")
