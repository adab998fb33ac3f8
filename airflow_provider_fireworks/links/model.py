"""From a task to its model in the Fireworks console."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow_provider_fireworks.client.names import InvalidNameError, parse_model
from airflow_provider_fireworks.links.base import CONSOLE, FireworksLink

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import BaseOperator


class FireworksModelLink(FireworksLink):
    """The model's page, of the XCom ``model``."""

    name = "Model in Fireworks"
    xcom = "model"

    def get_link(self, operator: BaseOperator, *, ti_key: Any) -> str:
        """Return the address, ``""`` as long as the model's full name is not known."""
        model = self.pushed(ti_key, self.xcom) or ""
        try:
            name = parse_model(model.partition("#")[0], account=None)
        except InvalidNameError:
            return ""
        return f"{CONSOLE}/models/{name.account}/{name.model}"


class FireworksDeployedModelLink(FireworksModelLink):
    """
    The page of the model in the XCom ``inference_model``.

    To try one XCom after the other would leave an error in the task's log, since Airflow logs each that is not there.
    """

    xcom = "inference_model"
