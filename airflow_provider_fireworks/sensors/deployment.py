"""The sensor that waits until a deployment is ready."""

from __future__ import annotations

import random
from collections.abc import Sequence
from datetime import timedelta
from functools import cached_property
from typing import TYPE_CHECKING, Any

from airflow.providers.common.compat.sdk import conf

from airflow_provider_fireworks.arguments import DeploymentReadyArguments
from airflow_provider_fireworks.deployments.wait import DeploymentWait
from airflow_provider_fireworks.exceptions import FireworksDeploymentNotReady, FireworksInvalidEvent
from airflow_provider_fireworks.links import FireworksDeploymentLink
from airflow_provider_fireworks.polling import Until
from airflow_provider_fireworks.sensors.base import FireworksSensor
from airflow_provider_fireworks.task import with_termination_message
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

    The wait fails if the deployment failed, was deleted, or had no capacity for ``capacity_timeout``; with
    ``soft_fail`` or ``never_fail`` the task is skipped instead, in every mode. A rejected API key fails at once and is
    never skipped.

    Returns ``{"deployment": "accounts/…/deployments/…", "inference_model": "accounts/…"}``; both are XComs too. The
    latter is the ``model`` of inference requests: with ``wait_for_inference``, the name that has answered.

    Example::

        FireworksDeploymentReadySensor(task_id="up", deployment=deploy.output["deployment"], deferrable=True)

    :param deployment: id or full resource name.
    :param wait_for_inference: wait until inference answers, ``POST /inference/v1/chat/completions``, whatever the state
        says. Once a replica may be there, each poll requests one token, which wakes a deployment that is scaled to
        zero, is billed, and counts as recent traffic when the deployment is deleted.
    :param capacity_timeout: seconds that Fireworks may have no GPUs for the deployment; ``None`` for as long as the
        sensor waits. In ``mode="reschedule"`` they count from the first poll. Nothing is deleted.
    :param deferrable: wait in the triggerer.
    :param poke_interval: seconds between two polls.
    :param timeout: seconds until the wait fails.
    :param account_id: the account of a bare deployment id, instead of the connection's.
    :param fireworks_conn_id: the Airflow connection; ``None`` reads ``FIREWORKS_API_KEY`` and the like.
    :raises FireworksInvalidArgument: if an argument is invalid; nothing was sent.
    :raises FireworksAccessDenied: if the API rejects the key, or the account may not do this; not retried.
    :raises FireworksNotFound: if the deployment does not exist; not retried.
    :raises FireworksDeploymentNotReady: if the deployment failed, or was deleted; not retried.
    :raises FireworksCapacityUnavailable: if Fireworks has had no GPUs for ``capacity_timeout``; retried.
    :raises AirflowSensorTimeout: with what was waited for and what was last seen; not retried.
    """

    template_fields: Sequence[str] = (
        "deployment",
        "wait_for_inference",
        "capacity_timeout",
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
        capacity_timeout: float | None = None,
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
        self.capacity_timeout = capacity_timeout
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
        # Each poke of this mode is a new process, which has not seen the earlier ones.
        is_rescheduled = self.reschedule and not self._arguments.deferrable
        return DeploymentWait(
            deployment=name,
            until=until,
            capacity_timeout=self._arguments.capacity_timeout,
            no_capacity_since=common["began"] if is_rescheduled else None,
            names_model=not (is_rescheduled and until is Until.INFERENCE) or random.random() < 0.5,
            **common,
        )

    def _with_details(self, wait: DeploymentWait, verdict: Verdict) -> Verdict:
        return with_termination_message(verdict, wait.deployment, self)

    def _success(self, wait: DeploymentWait, verdict: Verdict) -> dict[str, Any]:
        if verdict.inference_model is None:
            raise FireworksInvalidEvent.because("it has no inference_model")
        self.log.info("%s is ready: %s.", wait.deployment, verdict.reason)
        return {"deployment": str(wait.deployment), "inference_model": verdict.inference_model}
