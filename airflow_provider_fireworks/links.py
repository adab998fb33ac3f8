"""Links from a task to its model or deployment in the Fireworks console."""

from __future__ import annotations

from abc import abstractmethod
from typing import TYPE_CHECKING, Any

from airflow.providers.common.compat.sdk import BaseOperatorLink, XCom

from airflow_provider_fireworks.client.names import DeploymentName, InvalidNameError, ModelName

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import BaseOperator

CONSOLE = "https://app.fireworks.ai"
"""Its paths are not documented. They are those that the vendor's SDK prints."""


class FireworksLink(BaseOperatorLink):
    """
    A link made from an XCom of the task, so that it exists while the task is deferred.

    Airflow asks for it in the worker, whenever a task ends there or is deferred.
    """

    xcom: str
    """The key of the XCom. Each class has one only, as Airflow logs an error for every XCom that does not exist."""

    def get_link(self, operator: BaseOperator, *, ti_key: Any) -> str:
        """Return the address; ``""`` until the task has pushed a full resource name."""
        value = XCom.get_value(ti_key=ti_key, key=self.xcom)
        try:
            return self.address(value) if isinstance(value, str) else ""
        except InvalidNameError:
            return ""

    @abstractmethod
    def address(self, value: str) -> str:
        """
        Return the address for the value of the XCom.

        :raises InvalidNameError: for anything but a full resource name.
        """


class FireworksModelLink(FireworksLink):
    """The page of the model in the XCom ``model``."""

    name = "Model in Fireworks"
    xcom = "model"

    def address(self, value: str) -> str:
        """Return the address of the model's page."""
        name = ModelName.parse(value.partition("#")[0])
        return f"{CONSOLE}/models/{name.account}/{name.id}"


class FireworksDeployedModelLink(FireworksModelLink):
    """The page of the model in the XCom ``inference_model``."""

    xcom = "inference_model"


class FireworksDeploymentLink(FireworksLink):
    """The page of the deployment in the XCom ``deployment``."""

    name = "Deployment in Fireworks"
    xcom = "deployment"

    def address(self, value: str) -> str:
        """Return the address of the deployment's page."""
        return f"{CONSOLE}/dashboard/deployments/{DeploymentName.parse(value).id}"
