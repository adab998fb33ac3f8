"""``make demo``: its output, its exit code, and what is left when it is ended."""

from __future__ import annotations

import re
import signal
import socket
from contextlib import suppress
from typing import TYPE_CHECKING

import pytest

from local_airflow.components import LocalAirflow, LocalAirflowError

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Callable
    from pathlib import Path

VARIABLES = ("DAG", "PRECISIONS", "MODEL", "SPEND", "ACCELERATOR", "KEEP", "FAIL", "FAIL_DEPLOY", "PORT")


@pytest.fixture
def demo(
    folder: Path, start: Callable[..., subprocess.Popen[str]], monkeypatch: pytest.MonkeyPatch
) -> Callable[..., subprocess.Popen[str]]:
    """Start the demo, without options from the environment."""
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)
    return lambda *arguments: start("local_airflow.demo", "--home", str(folder / "home"), *arguments)


def test_demo_with_failed_deployment_shows_why_and_exits_with_1(
    demo: Callable[..., subprocess.Popen[str]], leftovers: Callable[[], list[str]]
) -> None:
    process = demo("--precisions", "FP4", "--fail-deploy", "FP4", "--duration", "1")
    output, _ = process.communicate(timeout=240)

    assert process.returncode == 1, output
    assert "The run failed" in output
    assert "up FP4 failed" in output
    assert "its state is FAILED" in output
    assert re.search(r"^Requests to the API: .*1 × DELETE deployment, \d+ × GET deployment,", output, re.M)
    assert "Preparations started: 1. Deployments created: 1." in output
    assert "FP4    remove: done" in output
    assert "GPU-seconds used: 1\ndeployments left: 0" in output
    assert "Traceback" not in output
    assert leftovers() == []


def test_demo_runs_any_example(
    demo: Callable[..., subprocess.Popen[str]], leftovers: Callable[[], list[str]]
) -> None:
    process = demo("--dag", "prepare_fan_out", "--precisions", "FP8", "--duration", "1")
    output, _ = process.communicate(timeout=240)

    assert process.returncode == 0, output
    assert re.search(r"^ *\d+ s  prepare\[0\]: done$", output, re.M)
    assert re.search(r"^ *\d+ s  report: done$", output, re.M)
    assert "Preparations started: 1. Deployments created: 0." in output
    assert leftovers() == []


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_demo_ended_by_signal_leaves_no_process(
    demo: Callable[..., subprocess.Popen[str]],
    end_early: Callable[..., str],
    number: signal.Signals,
) -> None:
    assert "Interrupted" in end_early(demo(), number, 130)


def test_demo_uses_another_port_if_8080_is_taken(demo: Callable[..., subprocess.Popen[str]]) -> None:
    lines = []
    with socket.socket() as taken:
        # If this fails, another program uses the port.
        with suppress(OSError):
            taken.bind(("127.0.0.1", 8080))
            taken.listen()
        process = demo()
        assert process.stdout is not None
        for line in process.stdout:
            lines.append(line)
            if "Port 8080" in line or "Healthy" in line:
                break
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=30)

    assert re.search(r"Port 8080 is taken\. Using port \d+ ", lines[-1]), lines


def test_component_that_ends_is_reported_with_its_last_log_lines(tmp_path: Path) -> None:
    env = {"AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": f"sqlite:///{tmp_path}/no-such-folder/airflow.db"}
    with (
        pytest.raises(LocalAirflowError, match=r"db-migrate ended with exit code 1[\s\S]*unable to open"),
        LocalAirflow(tmp_path / "home", tmp_path, env=env),
    ):
        pytest.fail("it cannot have started")
