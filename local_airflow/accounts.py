"""The account that the demo deploys in: of the emulator, or of the user at Fireworks."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from airflow_provider_fireworks.client import api
from airflow_provider_fireworks.client.config import ClientConfig, InvalidConfigError
from airflow_provider_fireworks.client.errors import ApiError
from airflow_provider_fireworks.client.names import InvalidNameError, ModelName
from airflow_provider_fireworks.client.sync_client import SyncClient, make_session
from airflow_provider_fireworks.deployments.ownership import Owner
from local_airflow.options import UsageError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from airflow_provider_fireworks.client.resources import Deployment
    from airflow_provider_fireworks.emulator import Emulator

_DEPLOYMENTS_PAGE = "https://app.fireworks.ai/dashboard/deployments"


class EmulatedAccount:
    """The emulator's account."""

    def __init__(self, emulator: Emulator) -> None:
        self.emulator = emulator
        self.connection = emulator.connection

    def deployments_left(self) -> list[str]:
        """Return the names of the deployments that are not deleted."""
        return self.emulator.deployments_left

    def summary(self, left: Sequence[str]) -> str:
        """Return the last lines of the demo's output."""
        names = "".join(f"\n  {name}" for name in left)
        note = " (emulated, so they cost nothing)" if left else ""
        return (
            f"GPU-seconds used: {self.emulator.gpu_seconds:.0f}\ndeployments left: {len(left)}{note}{names}"
        )


class FireworksAccount:
    """
    An account at Fireworks.

    :param connection: Airflow connection as JSON.
    :raises ApiError: if the API rejects the key, or cannot be reached.
    """

    emulator = None

    def __init__(self, connection: str) -> None:
        self.connection = connection
        parts = json.loads(connection)
        config = ClientConfig.make(
            host=parts.get("host"), api_key=parts["password"], account=parts.get("login")
        )
        self._client = SyncClient(config, make_session(config))
        self._accounts = [config.account or ""]
        if not config.account:
            self._accounts = [each.account_id for each in self._client.send_all(api.list_accounts())]
        self._before = {each.name for each in self._deployments()}

    def deployments_left(self) -> list[str]:
        """
        Return the names of the deployments that tasks created since this object was made and that are not deleted.

        If they cannot be listed, the reason is returned as the only name.
        """
        try:
            found = self._deployments()
        except ApiError as error:
            return [f"unknown: {error}"]
        return [
            str(each.name)
            for each in found
            if each.name not in self._before
            and each.state not in ("DELETING", "DELETED")
            and Owner.from_description(each.description) is not None
        ]

    def summary(self, left: Sequence[str]) -> str:
        """Return the last lines of the demo's output."""
        if not left:
            return "deployments left: 0"
        names = "".join(f"\n  {name}" for name in left)
        return (
            f"deployments left: {len(left)}. THEY COST MONEY until you delete them, with firectl or at "
            f"{_DEPLOYMENTS_PAGE}:{names}"
        )

    def _deployments(self) -> list[Deployment]:
        return [
            each
            for account in self._accounts
            for each in self._client.send_all(api.list_deployments(account))
        ]


def fireworks_connection(model: str, env: Mapping[str, str]) -> str:
    """
    Check the name of a model and the connection in the environment, and return the connection as JSON.

    :raises UsageError: if one of them is invalid.
    """
    values = {
        "login": env.get("FIREWORKS_ACCOUNT_ID"),
        "password": env.get("FIREWORKS_API_KEY"),
        "host": env.get("FIREWORKS_BASE_URL"),
    }
    try:
        ModelName.account_in(model)
        ClientConfig.make(host=values["host"], api_key=values["password"], account=values["login"])
    except InvalidNameError as error:
        raise UsageError(f"MODEL: {error}") from error
    except InvalidConfigError as error:
        raise UsageError(f"FIREWORKS_API_KEY, FIREWORKS_ACCOUNT_ID or FIREWORKS_BASE_URL: {error}") from error
    return json.dumps({"conn_type": "fireworks", **{name: value for name, value in values.items() if value}})
