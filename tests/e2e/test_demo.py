from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from airflow_provider_fireworks.client import api
from airflow_provider_fireworks.client.config import ClientConfig
from airflow_provider_fireworks.client.names import DeploymentName
from airflow_provider_fireworks.client.sync_client import SyncClient, make_session
from airflow_provider_fireworks.deployments.ownership import Owner
from airflow_provider_fireworks.emulator import Emulator
from local_airflow import LocalAirflow, LocalAirflowError
from local_airflow.demo import RealAccount

if TYPE_CHECKING:
    from collections.abc import Callable

CHECKOUT = Path(__file__).parents[2]


def demo(*arguments: str, **env: str) -> subprocess.Popen[str]:
    ours = {"FIREWORKS_API_KEY", "FIREWORKS_ACCOUNT_ID", "FIREWORKS_BASE_URL", "MODEL", "PRECISIONS"}
    ours |= {"SPEND", "ACCELERATOR", "KEEP", "FAIL", "FAIL_DEPLOY", "PORT"}
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
    process = demo("--precisions", "FP4", "--fail-deploy", "FP4", "--duration", "1", "--home", str(tmp_path))
    told, _ = process.communicate(timeout=240)

    assert process.returncode == 1, told
    assert "The run failed" in told
    assert "up FP4 failed" in told
    assert "its state is FAILED" in told
    assert "1 × deployment created" in told
    assert "FP4    remove: done" in told
    assert "GPU-seconds used: 1\ndeployments left: 0" in told
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


def test_demo_says_which_port_it_uses_if_8080_is_taken(tmp_path: Path) -> None:
    lines = []
    with socket.socket() as usual:
        # Where this fails, something else has taken it.
        with suppress(OSError):
            usual.bind(("127.0.0.1", 8080))
            usual.listen()
        process = demo("--home", str(tmp_path))
        assert process.stdout is not None
        for line in process.stdout:
            lines.append(line)
            if "Port 8080" in line or "Healthy" in line:
                break
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=30)

    assert re.search(r"Port 8080 is taken\. Using port \d+ ", lines[-1]), lines


def test_a_model_without_a_key_is_refused(tmp_path: Path) -> None:
    process = demo("--home", str(tmp_path), MODEL="my-own-model")
    told, _ = process.communicate(timeout=30)

    assert process.returncode == 2
    assert "FIREWORKS_API_KEY" in told
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("spend", ["", "0", "no", "1"])
def test_no_money_is_spent_that_nobody_has_agreed_to(tmp_path: Path, spend: str) -> None:
    process = demo("--home", str(tmp_path), MODEL="my-own-model", FIREWORKS_API_KEY="fw_x", SPEND=spend)
    told, _ = process.communicate(timeout=30)

    assert process.returncode == 2
    assert "COSTS MONEY" in told
    assert "SPEND=yes" in told
    assert list(tmp_path.iterdir()) == []


def test_what_is_to_fail_must_be_among_the_precisions(tmp_path: Path) -> None:
    process = demo("--home", str(tmp_path), FAIL="NF4")
    told, _ = process.communicate(timeout=30)

    assert process.returncode == 2
    assert "FAIL names NF4, which is not among PRECISIONS" in told


def test_at_fireworks_itself_it_names_what_is_left() -> None:
    signed = Owner("deploy_fan_out", "run", "serve.deploy", 0).description
    with Emulator() as emulator:
        deploy(emulator, "earlier", signed)
        account = RealAccount(emulator.connection)
        deploy(emulator, "left", signed)
        deploy(emulator, "somebodys-own", "Made by hand.")

        assert account.left() == ["accounts/demo/deployments/left"]
        assert "deployments left: 1. THEY COST MONEY" in account.told(account.left())
        assert account.told(account.left()).endswith("\n  accounts/demo/deployments/left")

        emulator.set_deployment("left", state="DELETED")
        assert account.told(account.left()) == "deployments left: 0"


def deploy(emulator: Emulator, deployment_id: str, description: str) -> None:
    config = ClientConfig.make(host=emulator.url, api_key=emulator.api_key)
    model = "accounts/demo/models/my-model"
    spec = {"baseModel": model, "acceleratorType": "NVIDIA_H100_80GB", "description": description}
    name = DeploymentName.parse(deployment_id, account="demo")
    SyncClient(config, make_session(config)).send(api.create_deployment(name, spec))


def test_a_component_that_ends_is_named_with_the_end_of_its_log(tmp_path: Path) -> None:
    env = {"AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": f"sqlite:///{tmp_path}/no-such-folder/airflow.db"}
    with (
        pytest.raises(LocalAirflowError, match=r"db-migrate ended with exit code 1[\s\S]*unable to open"),
        LocalAirflow(tmp_path / "home", tmp_path, env=env),
    ):
        pytest.fail("it cannot have started")
