"""The demo reports the deployments that are left in the account that it used."""

from __future__ import annotations

import pytest

from airflow_provider_fireworks.client import api
from airflow_provider_fireworks.client.config import ClientConfig
from airflow_provider_fireworks.client.names import DeploymentName
from airflow_provider_fireworks.client.sync_client import SyncClient, make_session
from airflow_provider_fireworks.deployments.ownership import Owner
from airflow_provider_fireworks.emulator import Emulator
from local_airflow.accounts import FireworksAccount, fireworks_connection
from local_airflow.options import UsageError

KEY = {"FIREWORKS_API_KEY": "fw_x"}


def deploy(emulator: Emulator, deployment_id: str, description: str) -> None:
    config = ClientConfig.make(host=emulator.url, api_key=emulator.api_key)
    model = "accounts/demo/models/my-model"
    spec = {"baseModel": model, "acceleratorType": "NVIDIA_H100_80GB", "description": description}
    name = DeploymentName.parse(deployment_id, account="demo")
    SyncClient(config, make_session(config)).send(api.create_deployment(name, spec))


def test_fireworks_account_names_deployments_that_tasks_left() -> None:
    signature = Owner("deploy_fan_out", "run", "serve.deploy", 0).description
    with Emulator() as emulator:
        deploy(emulator, "earlier", signature)
        account = FireworksAccount(emulator.connection)
        deploy(emulator, "left", signature)
        deploy(emulator, "not-signed", "Created by hand.")

        assert account.deployments_left() == ["accounts/demo/deployments/left"]
        summary = account.summary(account.deployments_left())
        assert "deployments left: 1. THEY COST MONEY" in summary
        assert summary.endswith("\n  accounts/demo/deployments/left")

        emulator.set_deployment("left", state="DELETED")
        assert account.summary(account.deployments_left()) == "deployments left: 0"


@pytest.mark.parametrize(
    ("model", "env", "message"),
    [
        ("My Model", KEY, "MODEL: Invalid model id 'My Model'"),
        ("my-model", {**KEY, "FIREWORKS_BASE_URL": "http://example.com"}, "FIREWORKS_BASE_URL: "),
        ("my-model", {**KEY, "FIREWORKS_ACCOUNT_ID": "My Account"}, "FIREWORKS_ACCOUNT_ID or "),
        ("my-model", {"FIREWORKS_API_KEY": "fw x"}, "FIREWORKS_API_KEY, "),
    ],
)
def test_fireworks_connection_rejects_invalid_values(model: str, env: dict[str, str], message: str) -> None:
    with pytest.raises(UsageError) as rejected:
        fireworks_connection(model, env)
    assert message in str(rejected.value)
    assert "fw x" not in str(rejected.value)
