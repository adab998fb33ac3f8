"""Scaling a deployment."""

from __future__ import annotations

import time
from collections.abc import Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any, NoReturn

from airflow.providers.common.compat.sdk import conf

from airflow_provider_fireworks.arguments import ScaleArguments
from airflow_provider_fireworks.exceptions import FireworksDeploymentFailed
from airflow_provider_fireworks.links.deployment import FireworksDeploymentLink
from airflow_provider_fireworks.operators.base import WaitingOperator
from airflow_provider_fireworks.triggers.deployment import FireworksDeploymentReadyTrigger
from airflow_provider_fireworks.verdict import Outcome, Verdict
from airflow_provider_fireworks.watch import DeploymentWatch, Until, Watch

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import Context


class FireworksScaleDeploymentOperator(WaitingOperator):
    """
    Scale a deployment, to zero and back: ``PATCH /v1/accounts/{account}/deployments/{deployment}:scale``.

    It is asked for once, and again only where no answer came back, which does no harm.

    Returns ``{"deployment": "accounts/…/deployments/…"}``, which is an XCom too.

    :param deployment: id or full resource name.
    :param replica_count: replicas, 0 or more. What the gateway's autoscaler makes of them later is its own affair.
    :param wait_for_completion: wait until it is READY with that many replicas, or more; for 0, with none.
    :param deferrable: wait in the triggerer.
    :param poll_interval: seconds between two looks.
    :param timeout: seconds until it gives up.
    :param account_id: the account of a deployment id, instead of the connection's.
    :param fireworks_conn_id: the Airflow connection; ``None`` takes ``FIREWORKS_API_KEY`` and its like.
    :raises FireworksInvalidArgument: for arguments that make no sense; nothing was sent.
    :raises FireworksAccessDenied, FireworksNotFound, FireworksRefused: not retried.
    :raises FireworksQuotaExceeded, FireworksDeploymentFailed, FireworksTimeout: retried, as the task's ``retries`` say.
    """

    template_fields: Sequence[str] = (
        "deployment",
        "replica_count",
        "wait_for_completion",
        "deferrable",
        "poll_interval",
        "timeout",
        "account_id",
        "fireworks_conn_id",
    )
    operator_extra_links = (FireworksDeploymentLink(),)
    ui_color = "#ffe9d6"

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
        ScaleArguments.check_literals(**self._rendered())

    @cached_property
    def _arguments(self) -> ScaleArguments:
        return ScaleArguments.check(**self._rendered())

    def execute(self, context: Context) -> dict[str, Any]:
        """Ask for the replicas, and wait for them if told to."""
        watch = DeploymentWatch(
            deployment=self._arguments.deployment,
            until=Until.ANSWER,
            deadline=time.time() + self._time_limit.seconds,
            poll_interval=self._arguments.poll_interval,
        )

        def scale() -> str:
            name = str(self.hook.deployment_name(self._arguments.deployment))
            self.hook.scale_deployment(name, self._arguments.replica_count)
            return name

        name = self._patiently(scale, watch, self._arguments.deployment, self._fail)
        self.log.info("%s is to have %d replicas.", name, self._arguments.replica_count)
        context["ti"].xcom_push(key="deployment", value=name)
        if not self._arguments.wait_for_completion:
            return {"deployment": name}
        wait = watch.model_copy(
            update={
                "deployment": name,
                "until": Until.READY,
                "replica_count": self._arguments.replica_count,
                "known": True,
            }
        )
        return self._resume(context, wait, self._wait(wait, wait))

    def _resumed(self, carried: dict[str, Any]) -> DeploymentWatch:
        return DeploymentWatch.model_validate(carried)

    def _resume(self, context: Context, wait: DeploymentWatch, verdict: Verdict) -> dict[str, Any]:
        if verdict.outcome is not Outcome.READY:
            self._fail(verdict)
        self.log.info("%s: %s.", wait.deployment, verdict.reason)
        return {"deployment": wait.deployment}

    def _trigger(self, watch: Watch, carry: dict[str, Any]) -> FireworksDeploymentReadyTrigger:
        return FireworksDeploymentReadyTrigger(
            fireworks_conn_id=self._arguments.fireworks_conn_id, watch=watch.as_arguments(), carry=carry
        )

    def _fail(self, verdict: Verdict) -> NoReturn:
        what = f"{self._arguments.deployment} with {self._arguments.replica_count} replicas"
        raise self._error_of(verdict, what, failed=FireworksDeploymentFailed)
