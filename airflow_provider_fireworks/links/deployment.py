"""From a task to its deployment in the Fireworks console."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow_provider_fireworks.client.names import InvalidNameError, parse_deployment
from airflow_provider_fireworks.links.base import CONSOLE, FireworksLink

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import BaseOperator


class FireworksDeploymentLink(FireworksLink):
    """The deployment's page, of the XCom ``deployment``."""

    name = "Deployment in Fireworks"

    def get_link(self, operator: BaseOperator, *, ti_key: Any) -> str:
        """Return the address, ``""`` as long as there is no deployment."""
        try:
            name = parse_deployment(self.pushed(ti_key, "deployment"), account=None)
        except InvalidNameError:
            return ""
        return f"{CONSOLE}/dashboard/deployments/{name.deployment}"
