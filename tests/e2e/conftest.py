"""One Airflow and one emulator for all end-to-end tests."""

from __future__ import annotations

import base64
import json
import secrets
import shutil
import socket
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from airflow_provider_fireworks.client import api
from airflow_provider_fireworks.client.config import ClientConfig
from airflow_provider_fireworks.client.names import DeploymentName
from airflow_provider_fireworks.client.sync_client import SyncClient, make_session
from airflow_provider_fireworks.emulator import Emulator
from local_airflow.components import LocalAirflow
from tests.e2e.search import files, find
from tests.programs import CHECKOUT, end_early, folder, leftovers, start

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

__all__ = ["end_early", "folder", "leftovers", "start"]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    here = Path(__file__).parent
    for item in items:
        if here in item.path.parents:
            item.add_marker(pytest.mark.e2e)


@pytest.fixture(scope="session")
def dags(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the example DAGs, and the DAGs of these tests but for those of an Airflow of their own."""
    folder = tmp_path_factory.mktemp("dags")
    for source in (CHECKOUT / "example_dags", Path(__file__).parent / "dags"):
        for file in source.glob("*.py"):
            assert not (folder / file.name).exists()
            shutil.copy(file, folder)
    return folder


@pytest.fixture(scope="session")
def session_emulator() -> Iterator[Emulator]:
    with Emulator(api_key=f"fw_right_{secrets.token_hex(16)}") as emulator:
        yield emulator


@pytest.fixture(scope="session")
def statsd() -> Iterator[socket.socket]:
    """The socket that Airflow sends its metrics to."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server:
        server.bind(("127.0.0.1", 0))
        server.setblocking(False)
        yield server


@pytest.fixture(scope="session")
def wrong_key() -> str:
    """A key that the API rejects. Like the right one, it must not appear in any file."""
    return f"fw_wrong_{secrets.token_hex(16)}"


@pytest.fixture(scope="session")
def fernet_key() -> str:
    """The key that Airflow encrypts connections with in its database."""
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
    """A whole Airflow, with a connection ``fireworks_default`` to the emulator."""
    connection = json.loads(session_emulator.connection)
    env = {
        "AIRFLOW__CORE__FERNET_KEY": fernet_key,
        # The search for keys must find them in compressed data, too.
        "AIRFLOW__CORE__COMPRESS_SERIALIZED_DAGS": "True",
        # After a triggerer was killed, another one takes over its triggers. Airflow's default are 30 s.
        "AIRFLOW__TRIGGERER__JOB_HEARTBEAT_SEC": "1",
        "AIRFLOW__TRIGGERER__TRIGGERER_HEALTH_CHECK_THRESHOLD": "8",
        "AIRFLOW_CONN_FIREWORKS_OF_ENVIRONMENT": session_emulator.connection,
        "AIRFLOW__METRICS__STATSD_ON": "True",
        "AIRFLOW__METRICS__STATSD_HOST": "127.0.0.1",
        "AIRFLOW__METRICS__STATSD_PORT": str(statsd.getsockname()[1]),
        # Other metrics would fill the socket while no test reads it.
        "AIRFLOW__METRICS__METRICS_ALLOW_LIST": r"^fireworks\.",
    }
    home = tmp_path_factory.mktemp("airflow")
    with LocalAirflow(home, dags, env=env, parallelism=8, stop_timeout=1) as airflow:
        airflow.api.add_connection("fireworks_default", connection)
        airflow.api.add_connection("fireworks_wrong_key", connection | {"password": wrong_key})
        yield airflow


@pytest.fixture
def emulator(airflow: LocalAirflow, session_emulator: Emulator, wrong_key: str) -> Iterator[Emulator]:
    """
    The emulator as at its start, for one test.

    After each test, no key may be in any file of Airflow.
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
def finish(airflow: LocalAirflow) -> Callable[..., None]:
    """Wait for the end of a DAG run, and check its state."""

    def wait(dag_id: str, run_id: str, expected: str = "success", timeout: float = 180) -> None:
        state = airflow.wait(dag_id, run_id, timeout=timeout)
        assert state == expected, f"the state of the run is {state}:\n{airflow.api.describe(dag_id, run_id)}"

    return wait
