from __future__ import annotations

import importlib
import subprocess
import sys

import pytest

from airflow_provider_fireworks import client


def newly_loaded(before: str, then: str) -> set[str]:
    """Return the modules that ``then`` loads in a fresh process in which ``before`` has run already."""
    code = f"""
import sys
{before}
loaded = set(sys.modules)
{then}
print(*sorted(set(sys.modules) - loaded), sep="\\n", file=sys.__stdout__)
"""
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code], capture_output=True, text=True, check=True
    )
    return set(done.stdout.split())


def test_what_is_loaded_is_noticed():
    loaded = newly_loaded("", "import airflow_provider_fireworks.client.sync_client")
    assert {"requests", "airflow_provider_fireworks.client.sync_client"} <= loaded


@pytest.mark.parametrize(
    ("module", "name"),
    [
        ("operators.model", "FireworksPrepareModelOperator"),
        ("sensors.model", "FireworksModelReadySensor"),
        ("triggers.model", "FireworksModelReadyTrigger"),
        ("operators.deployment", "FireworksCreateDeploymentOperator"),
        ("operators.deployment", "FireworksDeleteDeploymentOperator"),
        ("operators.deployment", "temporary_deployment"),
        ("sensors.deployment", "FireworksDeploymentReadySensor"),
        ("triggers.deployment", "FireworksDeploymentReadyTrigger"),
    ],
)
def test_a_dag_file_loads_neither_a_transport_nor_the_hook(module, name):
    loaded = newly_loaded(
        "import airflow.sdk; from airflow.sdk import DAG, BaseOperator, BaseSensorOperator, task",
        f"from airflow_provider_fireworks.{module} import {name}",
    )
    assert f"airflow_provider_fireworks.{module}" in loaded
    assert not loaded & {
        "requests",
        "httpx",
        "airflow_provider_fireworks.hooks.fireworks",
        "airflow_provider_fireworks.client.sync_client",
        "airflow_provider_fireworks.client.async_client",
    }


def test_what_airflow_reads_at_its_start_loads_nothing_else():
    loaded = newly_loaded(
        "", "from airflow_provider_fireworks.get_provider_info import get_provider_info; get_provider_info()"
    )
    assert {name for name in loaded if "." not in name and name not in sys.stdlib_module_names} == {
        "airflow_provider_fireworks"
    }
    assert {name for name in loaded if name.startswith("airflow_provider_fireworks.")} == {
        "airflow_provider_fireworks.get_provider_info"
    }


@pytest.mark.parametrize("name", ["Precision", "ModelName", "ApiError"])
def test_plain_python_needs_no_pydantic(name):
    loaded = newly_loaded("", f"from airflow_provider_fireworks.client import {name}")
    assert not {module.split(".")[0] for module in loaded} & {
        "pydantic",
        "requests",
        "httpx",
        "airflow",
        "tenacity",
    }


def test_the_gateway_loads_what_is_asked_for_alone():
    loaded = newly_loaded("", "import airflow_provider_fireworks.client")
    assert {module for module in loaded if module.startswith("airflow_provider_fireworks.client")} == {
        "airflow_provider_fireworks.client"
    }
    loaded = newly_loaded("import airflow_provider_fireworks.client as client", "client.Precision")
    assert {module for module in loaded if module.startswith("airflow_provider_fireworks.")} == {
        "airflow_provider_fireworks.client.precision"
    }


@pytest.mark.parametrize("name", client.__all__)
def test_every_name_of_the_gateway_is_the_one_of_its_home(name):
    value = getattr(client, name)
    assert value is getattr(importlib.import_module(value.__module__), name)
    assert value.__module__.startswith("airflow_provider_fireworks.client.")


def test_a_name_that_the_gateway_has_not_is_an_attribute_error():
    with pytest.raises(AttributeError, match="has no attribute 'Modell'"):
        _ = client.Modell


def test_the_gateway_knows_nothing_of_airflow():
    homes = ["calls", "endpoint", "errors", "names", "precision", "retrying", "shapes", "triggerer", "worker"]
    loaded = newly_loaded("", "; ".join(f"import airflow_provider_fireworks.client.{home}" for home in homes))
    assert not {module for module in loaded if module.split(".")[0] == "airflow"}


@pytest.mark.parametrize(
    "module",
    [
        "changes",
        "creation",
        "identity",
        "preparation",
        "readiness.deployment",
        "readiness.model",
        "removal",
        "runs",
        "verdict",
        "wait",
    ],
)
def test_decisions_load_neither_airflow_nor_a_transport(module: str) -> None:
    loaded = newly_loaded("", f"import airflow_provider_fireworks.{module}")
    assert not {name.split(".")[0] for name in loaded} & {"airflow", "requests", "httpx", "tenacity"}
