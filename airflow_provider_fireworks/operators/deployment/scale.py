"""The operator that scales a deployment."""

from __future__ import annotations

import time
from collections.abc import Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any

from airflow.providers.common.compat.sdk import conf

from airflow_provider_fireworks.arguments import ScaleArguments
from airflow_provider_fireworks.deployments.wait import DeploymentWait
from airflow_provider_fireworks.exceptions import FireworksDeploymentFailed
from airflow_provider_fireworks.links import FireworksDeploymentLink
from airflow_provider_fireworks.operators.base import WaitingOperator
from airflow_provider_fireworks.polling import Event, Outcome, Verdict
from airflow_provider_fireworks.task import parse_resumed, with_termination_message
from airflow_provider_fireworks.triggers.deployment import FireworksDeploymentReadyTrigger

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import Context

    from airflow_provider_fireworks.client.names import DeploymentName


class FireworksScaleDeploymentOperator(WaitingOperator):
    """
    Scale a deployment, to zero and back: ``PATCH /v1/accounts/{account}/deployments/{deployment}:scale``.

    Scaling twice does no harm, so the request is sent again after a transient error.

    Returns ``{"deployment": "accounts/…/deployments/…"}``, which is an XCom too.

    Example::

        FireworksScaleDeploymentOperator(task_id="stop", deployment="my-deployment", replica_count=0)

    :param deployment: id or full resource name.
    :param replica_count: replicas, 0 or more. The API's autoscaler may change their number later.
    :param wait_for_completion: wait until the deployment is READY with that many replicas, or more; for 0, with none.
    :param deferrable: wait in the triggerer.
    :param poll_interval: seconds between two polls.
    :param timeout: seconds until the task fails.
    :param account_id: the account of a bare deployment id, instead of the connection's.
    :param fireworks_conn_id: the Airflow connection; ``None`` reads ``FIREWORKS_API_KEY`` and the like.
    :raises FireworksInvalidArgument: if an argument is invalid; nothing was sent.
    :raises FireworksAccessDenied: if the API rejects the key, or the account may not do this; not retried.
    :raises FireworksNotFound: if the deployment does not exist; not retried.
    :raises FireworksRefused: if the API refuses the request for another reason; not retried.
    :raises FireworksQuotaExceeded: if the account's quota has no GPUs left; retried.
    :raises FireworksDeploymentFailed: if the deployment failed, or was deleted during the wait; retried.
    :raises FireworksTimeout: if the time is over; retried.
    """

    template_fields: Sequence[str] = tuple(ScaleArguments.model_fields)
    operator_extra_links = (FireworksDeploymentLink(),)
    ui_color = "#ffe9d6"
    failure_class = FireworksDeploymentFailed
    trigger_class = FireworksDeploymentReadyTrigger

    def __init__(
        self,
        *,
        deployment: str,
        replica_count: int,
        wait_for_completion: bool = False,
        deferrable: bool = conf.getboolean("operators", "default_deferrable", fallback=False),
        poll_interval: float = 15,
        timeout: float = 3600,
        account_id: str | None = None,
        fireworks_conn_id: str | None = "fireworks_default",
        **kwargs: Any,
    ) -> None:
        kwargs.setdefault("multiple_outputs", True)
        super().__init__(**kwargs)
        self.deployment = deployment
        self.replica_count = replica_count
        self.wait_for_completion = wait_for_completion
        self.deferrable = deferrable
        self.poll_interval = poll_interval
        self.timeout = timeout
        self.account_id = account_id
        self.fireworks_conn_id = fireworks_conn_id
        self._check_literals(ScaleArguments)

    @cached_property
    def _arguments(self) -> ScaleArguments:
        return ScaleArguments.check(**self._given())

    def execute(self, context: Context) -> dict[str, Any]:
        """Scale, and wait for the replicas if asked to."""
        deadline = time.time() + self._time_limit.seconds
        replica_count = self._arguments.replica_count

        def scale() -> DeploymentName:
            name = self.hook.deployment_name(self._arguments.deployment)
            self.hook.scale_deployment(name, replica_count)
            return name

        name = self._send_patiently(
            scale, self._response_wait(self._arguments.deployment, deadline), self._what
        )
        self.log.info("Scaling %s to %d replicas.", name, replica_count)
        context["ti"].xcom_push(key="deployment", value=str(name))
        if not self._arguments.wait_for_completion:
            return {"deployment": str(name)}
        wait = DeploymentWait(
            deployment=name,
            replica_count=replica_count,
            known=True,
            has_responded=True,
            deadline=deadline,
            poll_interval=self._arguments.poll_interval,
            timing=self.timing,
        )
        return self._result(name, self._wait(wait))

    def _resume(self, context: Context, event: Event) -> dict[str, Any]:
        return self._result(parse_resumed(DeploymentWait, event.wait).deployment, event.verdict)

    def _result(self, name: DeploymentName, verdict: Verdict) -> dict[str, Any]:
        if verdict.outcome is not Outcome.READY:
            raise self._error_from(with_termination_message(verdict, name, self), self._what)
        self.log.info("%s: %s.", name, verdict.reason)
        return {"deployment": str(name)}

    @property
    def _what(self) -> str:
        return f"{self._arguments.deployment} with {self._arguments.replica_count} replicas"
