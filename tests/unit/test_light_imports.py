"""What importing each part of the package loads: parsing a DAG file must stay cheap, and the client free of Airflow."""

from __future__ import annotations

import pkgutil
import subprocess
import sys

import pytest

from airflow_provider_fireworks import client, deployments, models, routers

TRANSPORTS = {"requests", "httpx"}
OURS = "airflow_provider_fireworks"
SENDERS = {f"{OURS}.hooks.fireworks", f"{OURS}.client.sync_client", f"{OURS}.client.async_client"}
# deadline is a part of sync_client, which uploads uses, and shared_client of async_client.
OF_TRANSPORTS = {
    f"{OURS}.client.{name}"
    for name in ("sync_client", "deadline", "uploads", "async_client", "shared_client")
}
# What reads the folder of an upload.
FILE_SYSTEMS = {"fsspec", "upath", "airflow.sdk.io", f"{OURS}.storage"}
# What any DAG file has loaded already. It includes httpx, but neither requests nor our clients.
AIRFLOW = """
from airflow.providers.common.compat.sdk import DAG, BaseOperator, BaseSensorOperator, Stats, conf
from airflow.providers.standard.operators.empty import EmptyOperator
"""


def newly_loaded(statement: str, *, after: str = "") -> set[str]:
    """Return the modules that a statement loads in a new process that has executed ``after``."""
    code = f"""
import sys
{after}
loaded = set(sys.modules)
{statement}
print(*sorted(set(sys.modules) - loaded), sep="\\n", file=sys.__stdout__)
"""
    command = [sys.executable, "-W", "ignore", "-c", code]
    return set(subprocess.run(command, capture_output=True, text=True, check=True).stdout.split())


def packages(loaded: set[str]) -> set[str]:
    return {module.partition(".")[0] for module in loaded}


def modules_of(package: object) -> list[str]:
    return [each.name for each in pkgutil.iter_modules(package.__path__, f"{package.__name__}.")]


@pytest.mark.parametrize(
    ("module", "transport"), [("sync_client", "requests"), ("async_client", "httpx")], ids=str
)
def test_newly_loaded_finds_the_transport_of_a_client(module, transport):
    loaded = newly_loaded(f"import {OURS}.client.{module}")
    assert {transport, f"{OURS}.client.{module}"} <= loaded


@pytest.mark.parametrize(
    ("module", "name"),
    [
        ("operators.model", "FireworksPrepareModelOperator"),
        ("operators.model", "FireworksUploadModelOperator"),
        ("operators.deployment", "FireworksCreateDeploymentOperator"),
        ("operators.router", "FireworksRouteOperator"),
        ("sensors.model", "FireworksModelReadySensor"),
        ("sensors.deployment", "FireworksDeploymentReadySensor"),
        ("triggers.model", "FireworksModelReadyTrigger"),
        ("triggers.deployment", "FireworksDeploymentReadyTrigger"),
        ("triggers.router", "FireworksRouterReadyTrigger"),
    ],
)
def test_dag_file_loads_neither_hook_nor_transport(module, name):
    loaded = newly_loaded(
        f"from {OURS}.{module} import {name}",
        after=AIRFLOW,
    )
    assert f"{OURS}.{module}" in loaded
    assert not loaded & (TRANSPORTS | SENDERS | FILE_SYSTEMS)


def test_provider_info_loads_nothing_else():
    loaded = newly_loaded(f"from {OURS}.get_provider_info import get_provider_info; get_provider_info()")
    assert packages(loaded) - sys.stdlib_module_names == {OURS}
    assert {name for name in loaded if name.startswith(f"{OURS}.")} == {f"{OURS}.get_provider_info"}


def test_client_loads_neither_airflow_nor_a_transport():
    loaded = newly_loaded(f"import {OURS}.client")
    assert f"{OURS}.client.errors" in loaded
    assert not packages(loaded) & {"airflow", *TRANSPORTS}


@pytest.mark.parametrize("module", modules_of(client))
def test_module_of_the_client_does_not_load_airflow(module):
    loaded = newly_loaded(f"import {module}")
    assert module in loaded
    assert "airflow" not in packages(loaded)
    if module not in OF_TRANSPORTS:
        assert not loaded & TRANSPORTS


@pytest.mark.parametrize(
    "module", [*modules_of(models), *modules_of(deployments), *modules_of(routers), f"{OURS}.polling"]
)
def test_decision_loads_no_transport(module):
    loaded = newly_loaded(f"import {module}", after=AIRFLOW)
    assert module in loaded
    assert not loaded & (TRANSPORTS | SENDERS | FILE_SYSTEMS)
