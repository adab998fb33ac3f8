"""Waiting until a deployment is ready."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from functools import cached_property
from typing import TYPE_CHECKING, Any

from airflow.providers.common.compat.sdk import conf

from airflow_provider_fireworks.arguments import DeploymentReadyArguments
from airflow_provider_fireworks.exceptions import FireworksDeploymentNotReady
from airflow_provider_fireworks.links.deployment import FireworksDeploymentLink
from airflow_provider_fireworks.sensors.base import FireworksSensor
from airflow_provider_fireworks.triggers.deployment import FireworksDeploymentReadyTrigger
from airflow_provider_fireworks.watch import DeploymentWatch, Until

if TYPE_CHECKING:
    from airflow_provider_fireworks.verdict import Verdict
    from airflow_provider_fireworks.watch import Watch


class FireworksDeploymentReadySensor(FireworksSensor):
    """
    Wait until a deployment is ready: ``GET /v1/accounts/{account}/deployments/{deployment}``.

    One that is scaled to zero is ready. READY is no proof that inference answers: minutes can lie between the
    two, and ``wait_for_inference`` waits for these too. It asks the deployment for a token at each look, which
    wakes it from zero replicas, is billed, and counts as traffic when it is to be deleted.

    Returns ``{"deployment": "accounts/…/deployments/…"}``, which is an XCom too. The first look is the worker's,
    so what is ready is not deferred. A deployment that failed or was deleted ends the wait; ``soft_fail`` and
    ``never_fail`` then skip, in every mode. A key that is refused is never skipped.

    :param deployment: id or full resource name.
    :param wait_for_inference: wait until inference answers, ``POST /inference/v1/chat/completions``.
    :param deferrable: wait in the triggerer; all other arguments mean the same there.
    :param poke_interval: seconds between two looks.
    :param timeout: seconds until it gives up.
    :param account_id: the account of a deployment id, instead of the connection's.
    :param fireworks_conn_id: the Airflow connection; ``None`` takes ``FIREWORKS_API_KEY`` and its like.
    :raises FireworksInvalidArgument: for a deployment that is none; nothing was sent.
    :raises FireworksAccessDenied, FireworksNotFound, FireworksDeploymentNotReady: not retried.
    :raises AirflowSensorTimeout: says what was waited for, how long, and what was last seen; not retried.
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
    failure = FireworksDeploymentNotReady
    not_found_hint = (
        "Clear the task that creates it, with all downstream of it; if its id was given by hand, check that."
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
        DeploymentReadyArguments.check_literals(**self._given())

    @cached_property
    def _arguments(self) -> DeploymentReadyArguments:
        return DeploymentReadyArguments.check(**self._given())

    def _begin(self, **common: Any) -> DeploymentWatch:
        until = Until.SERVING if self._arguments.wait_for_inference else Until.READY
        return DeploymentWatch(deployment=self._arguments.deployment, until=until, **common)

    def _full_name(self, name: str) -> str:
        return str(self.hook.deployment_name(name))

    def _trigger(self, watch: dict[str, Any]) -> FireworksDeploymentReadyTrigger:
        return FireworksDeploymentReadyTrigger(
            fireworks_conn_id=self._arguments.fireworks_conn_id, watch=watch, carry=watch
        )

    def _resumed(self, carried: dict[str, Any]) -> DeploymentWatch:
        return DeploymentWatch.model_validate(carried)

    def _success(self, watch: Watch, verdict: Verdict) -> dict[str, Any]:
        deployment = getattr(watch, watch.resource)
        self.log.info("%s is ready: %s.", deployment, verdict.reason)
        return {"deployment": deployment}
