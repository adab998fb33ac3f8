"""The sensor that waits until a deployment is ready."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from functools import cached_property
from typing import TYPE_CHECKING, Any

from airflow.providers.common.compat.sdk import conf

from airflow_provider_fireworks.arguments import DeploymentReadyArguments
from airflow_provider_fireworks.deployments.wait import DeploymentWait
from airflow_provider_fireworks.exceptions import FireworksDeploymentNotReady
from airflow_provider_fireworks.links import FireworksDeploymentLink
from airflow_provider_fireworks.polling import Until
from airflow_provider_fireworks.sensors.base import FireworksSensor
from airflow_provider_fireworks.triggers.deployment import FireworksDeploymentReadyTrigger

if TYPE_CHECKING:
    from airflow_provider_fireworks.client.names import DeploymentName
    from airflow_provider_fireworks.polling import Verdict


class FireworksDeploymentReadySensor(FireworksSensor):
    """
    Wait until a deployment is ready: ``GET /v1/accounts/{account}/deployments/{deployment}``.

    A deployment that is scaled to zero is ready. READY does not mean that inference answers already, which can take
    minutes more: ``wait_for_inference`` waits for that as well. The first poll is in the worker, so a task whose
    deployment is ready already is not deferred. Transient errors never end the wait.

    The wait fails if the deployment failed or was deleted; with ``soft_fail`` or ``never_fail`` the task is skipped
    instead, in every mode. A rejected API key fails at once and is never skipped.

    Returns ``{"deployment": "accounts/…/deployments/…"}``, which is an XCom too.

    Example::

        FireworksDeploymentReadySensor(task_id="up", deployment=deploy.output["deployment"], deferrable=True)

    :param deployment: id or full resource name.
    :param wait_for_inference: wait until inference answers, ``POST /inference/v1/chat/completions``. Each poll then
        requests one token, which wakes a deployment that is scaled to zero, is billed, and counts as recent traffic
        when the deployment is deleted.
    :param deferrable: wait in the triggerer.
    :param poke_interval: seconds between two polls.
    :param timeout: seconds until the wait fails.
    :param account_id: the account of a bare deployment id, instead of the connection's.
    :param fireworks_conn_id: the Airflow connection; ``None`` reads ``FIREWORKS_API_KEY`` and the like.
    :raises FireworksInvalidArgument: if an argument is invalid; nothing was sent.
    :raises FireworksAccessDenied, FireworksNotFound, FireworksDeploymentNotReady: not retried.
    :raises AirflowSensorTimeout: with what was waited for and what was last seen; not retried.
    """

    template_fields: Sequence[str] = (
        "deployment",
        "wait_for_inference",
        "deferrable",
        "account_id",
        "fireworks_conn_id",
    )
    operator_extra_links = (FireworksDeploymentLink(),)
    ui_color = "#d9e7ff"
    failure_class = FireworksDeploymentNotReady
    wait_class = DeploymentWait
    trigger_class = FireworksDeploymentReadyTrigger
    not_found_hint = (
        "Clear the task that creates it, with everything downstream; if you chose the id, check it."
    )

    def __init__(
        self,
        *,
        deployment: str,
        wait_for_inference: bool = False,
        deferrable: bool = conf.getboolean("operators", "default_deferrable", fallback=False),
        poke_interval: timedelta | float = 15,
        timeout: timedelta | float | None = 3600,
        account_id: str | None = None,
        fireworks_conn_id: str | None = "fireworks_default",
        **kwargs: Any,
    ) -> None:
        kwargs.setdefault("multiple_outputs", True)
        super().__init__(poke_interval=poke_interval, timeout=timeout, **kwargs)
        self.deployment = deployment
        self.wait_for_inference = wait_for_inference
        self.deferrable = deferrable
        self.account_id = account_id
        self.fireworks_conn_id = fireworks_conn_id
        self._check_literals(DeploymentReadyArguments)

    @cached_property
    def _arguments(self) -> DeploymentReadyArguments:
        return DeploymentReadyArguments.check(**self._given())

    @property
    def _resource(self) -> str:
        return self._arguments.deployment

    def _full_name(self) -> DeploymentName:
        return self.hook.deployment_name(self._arguments.deployment)

    def _new_wait(self, name: DeploymentName, **common: Any) -> DeploymentWait:
        until = Until.INFERENCE if self._arguments.wait_for_inference else Until.READY
        return DeploymentWait(deployment=name, until=until, **common)

    def _success(self, wait: DeploymentWait, verdict: Verdict) -> dict[str, Any]:
        self.log.info("%s is ready: %s.", wait.deployment, verdict.reason)
        return {"deployment": str(wait.deployment)}
