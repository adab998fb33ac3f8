"""One Airflow and one emulated API for all end-to-end tests."""

from __future__ import annotations

import base64
import json
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

import psutil
import pytest

from airflow_provider_fireworks.client import api
from airflow_provider_fireworks.client.config import ClientConfig
from airflow_provider_fireworks.client.names import DeploymentName
from airflow_provider_fireworks.client.sync_client import SyncClient, make_session
from airflow_provider_fireworks.emulator import Emulator
from local_airflow import LocalAirflow
from tests.e2e.search import files, find

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

CHECKOUT = Path(__file__).parents[2]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    here = Path(__file__).parent
    for item in items:
        if here in item.path.parents:
            item.add_marker(pytest.mark.e2e)


@pytest.fixture(scope="session")
def dags(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the example DAGs and those of these tests."""
    folder = tmp_path_factory.mktemp("dags")
    for source in (CHECKOUT / "example_dags", Path(__file__).parent / "dags"):
        for file in source.glob("*.py"):
            shutil.copy(file, folder)
    return folder


@pytest.fixture(scope="session")
def session_emulator() -> Iterator[Emulator]:
    with Emulator(api_key=f"fw_right_{secrets.token_hex(16)}") as emulator:
        yield emulator


@pytest.fixture(scope="session")
def statsd() -> Iterator[socket.socket]:
    """Where Airflow sends its metrics."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server:
        server.bind(("127.0.0.1", 0))
        server.setblocking(False)
        yield server


@pytest.fixture(scope="session")
def wrong_key() -> str:
    """A key that is refused. Like the one that is accepted, it must turn up nowhere."""
    return f"fw_wrong_{secrets.token_hex(16)}"


@pytest.fixture(scope="session")
def fernet_key() -> str:
    """What Airflow encrypts with in its database."""
    return base64.urlsafe_b64encode(secrets.token_bytes(32)).decode()


@pytest.fixture(scope="session")
def airflow(
    tmp_path_factory: pytest.TempPathFactory,
    dags: Path,
    session_emulator: Emulator,
    wrong_key: str,
    fernet_key: str,
    statsd: socket.socket,
) -> Iterator[LocalAirflow]:
    """A whole Airflow. Its connection ``fireworks_default`` leads to the emulated API."""
    connection = json.loads(session_emulator.connection)
    env = {
        "AIRFLOW__CORE__FERNET_KEY": fernet_key,
        # So that it is seen to be searched there as well.
        "AIRFLOW__CORE__COMPRESS_SERIALIZED_DAGS": "True",
        "AIRFLOW_CONN_FIREWORKS_OF_ENVIRONMENT": session_emulator.connection,
        "AIRFLOW__METRICS__STATSD_ON": "True",
        "AIRFLOW__METRICS__STATSD_HOST": "127.0.0.1",
        "AIRFLOW__METRICS__STATSD_PORT": str(statsd.getsockname()[1]),
        # The others would fill the socket while nobody reads it.
        "AIRFLOW__METRICS__METRICS_ALLOW_LIST": r"^fireworks\.",
    }
    with LocalAirflow(tmp_path_factory.mktemp("airflow"), dags, env=env, parallelism=8) as airflow:
        airflow.api.add_connection("fireworks_default", connection)
        airflow.api.add_connection("fireworks_wrong_key", connection | {"password": wrong_key})
        yield airflow


@pytest.fixture
def emulator(airflow: LocalAirflow, session_emulator: Emulator, wrong_key: str) -> Iterator[Emulator]:
    """
    The emulated API as at its start, for one test.

    Whatever the test has let Airflow do, no key may be found in any file of it afterwards.
    """
    session_emulator.reset()
    yield session_emulator
    places = files(airflow.home)
    leaks = [*find(session_emulator.api_key, places), *find(wrong_key, places)]
    assert not leaks, f"a key is in {leaks}"


@pytest.fixture
def deploy_by_hand(emulator: Emulator) -> Callable[[str, str], None]:
    """Create a deployment without a task, with this id and this description."""

    def deploy(deployment_id: str, description: str) -> None:
        config = ClientConfig.make(host=emulator.url, api_key=emulator.api_key)
        spec = {
            "baseModel": "accounts/demo/models/my-model",
            "acceleratorType": "NVIDIA_H100_80GB",
            "description": description,
        }
        name = DeploymentName.parse(deployment_id, account=emulator.account_id)
        SyncClient(config, make_session(config)).send(api.create_deployment(name, spec))

    return deploy


@pytest.fixture
def finish(airflow: LocalAirflow) -> Callable[..., str]:
    """Wait for the end of a run of a DAG, and check that it is the one that is expected."""

    def wait(dag_id: str, run_id: str, expected: str = "success", timeout: float = 180) -> None:
        state = airflow.wait(dag_id, run_id, timeout=timeout)
        assert state == expected, f"the run {state}:\n{airflow.api.describe(dag_id, run_id)}"

    return wait


@pytest.fixture
def processes_in() -> Callable[[Path], list[str]]:
    """Return the command lines of the living processes whose working directory is a folder, or below it."""

    def look(folder: Path) -> list[str]:
        found = []
        for process in psutil.process_iter(["cwd", "cmdline", "status"]):
            info = process.info
            inside = Path(info["cwd"] or "/").is_relative_to(folder.resolve())
            if inside and info["status"] != psutil.STATUS_ZOMBIE:
                found.append(" ".join(info["cmdline"] or ["?"]))
        return found

    return look


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder for all that is written, which PostgreSQL's user can get to where these tests run as root."""
    with tempfile.TemporaryDirectory() as made:
        Path(made).chmod(0o755)
        yield Path(made).resolve()


@pytest.fixture
def start(folder: Path) -> Callable[..., subprocess.Popen[str]]:
    """Start a module of Python's, with its temporary files in the folder."""

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
            # A shell has what it runs in the background ignore this, and Python would leave it at that.
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
        )

    return run


@pytest.fixture
def left(folder: Path, processes_in: Callable[[Path], list[str]]) -> Callable[[], list[str]]:
    """Return the processes at work below the folder, and the servers' own folders that are still there."""
    temporary = folder / "temporary"
    return lambda: [*map(str, temporary.glob("local-airflow-*")), *processes_in(folder)]


@pytest.fixture
def end_early(left: Callable[[], list[str]]) -> Callable[..., None]:
    """End a program as soon as it has made Airflow's database, and check that nothing of it is left."""

    def end(process: subprocess.Popen[str], number: signal.Signals, code: int) -> None:
        assert process.stdout is not None
        told = ""
        for line in process.stdout:
            told += line
            if "Database ready" in line:
                break
        assert len(left()) > 1, told

        process.send_signal(number)
        told += process.communicate(timeout=60)[0]

        assert process.returncode == code, told
        assert "Traceback" not in told
        # Killed, it cannot clean up itself: that is the watchers' work then.
        deadline = time.monotonic() + (30 if number == signal.SIGKILL else 0)
        while left() and time.monotonic() < deadline:
            time.sleep(0.2)
        assert left() == []

    return end
