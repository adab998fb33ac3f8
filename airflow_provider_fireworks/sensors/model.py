"""The sensor that waits until a model is ready."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from functools import cached_property
from typing import TYPE_CHECKING, Any

from airflow.providers.common.compat.sdk import conf

from airflow_provider_fireworks.arguments import ModelReadyArguments
from airflow_provider_fireworks.exceptions import FireworksInvalidEvent, FireworksModelNotReady
from airflow_provider_fireworks.links import FireworksModelLink
from airflow_provider_fireworks.models.wait import ModelWait
from airflow_provider_fireworks.sensors.base import FireworksSensor
from airflow_provider_fireworks.task import show_precision
from airflow_provider_fireworks.triggers.model import FireworksModelReadyTrigger

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import Context

    from airflow_provider_fireworks.client.names import ModelName
    from airflow_provider_fireworks.polling import Verdict


class FireworksModelReadySensor(FireworksSensor):
    """
    Wait until a model is ready at a precision.

    The sensor polls the model, ``GET /v1/accounts/{account}/models/{model}``. The first poll is in the worker, so a
    task whose model is ready already is not deferred. Transient errors never end the wait.

    The wait fails if the preparation failed or the model was deleted; with ``soft_fail`` or ``never_fail`` the task is
    skipped instead, in every mode. A rejected API key fails at once and is never skipped.

    Returns ``{"model": "accounts/…/models/…", "precision": "FP8"}``, with the precision that is ready. The create
    operator and ``temporary_deployment`` take this result whole, as ``prepared=ready.output``. Every key is an XCom
    too.

    Example::

        prepare = FireworksPrepareModelOperator(task_id="prepare", model="my-model", precision="FP8")
        ready = FireworksModelReadySensor(task_id="ready", prepared=prepare.output, deferrable=True)

    :param prepared: the whole result of ``FireworksPrepareModelOperator``, ``prepare.output``. It replaces the next
        three arguments.
    :param model: id or full resource name.
    :param precision: as the API spells it (``"FP8"``). To wait for several, map over them.
    :param baseline: what ``FireworksPrepareModelOperator`` returned under this key. Without it the sensor cannot tell
        whether the model changed, so it succeeds only if the API lists the precision, and fails at its first poll if
        the API lists none.
    :param accept_precisions: precisions that satisfy the wait as well.
    :param allow_unknown_precision: accept a precision that is newer than this package.
    :param require_confirmation: fail if readiness can only be inferred, because the API lists no precisions.
    :param deferrable: wait in the triggerer.
    :param poke_interval: seconds between two polls.
    :param timeout: seconds until the wait fails.
    :param account_id: the account of a bare model id, instead of the connection's.
    :param fireworks_conn_id: the Airflow connection; ``None`` reads ``FIREWORKS_API_KEY`` and the like.
    :raises FireworksInvalidArgument: if an argument is invalid; nothing was sent.
    :raises FireworksAccessDenied: if the API rejects the key, or the account may not do this; not retried.
    :raises FireworksNotFound: if the model does not exist; not retried.
    :raises FireworksModelNotReady: if the preparation failed, or ended without the precision; not retried.
    :raises AirflowSensorTimeout: with what was waited for and what was last seen; not retried.
    """

    template_fields: Sequence[str] = (
        "prepared",
        "model",
        "precision",
        "baseline",
        "accept_precisions",
        "allow_unknown_precision",
        "require_confirmation",
        "deferrable",
        "account_id",
        "fireworks_conn_id",
    )
    operator_extra_links = (FireworksModelLink(),)
    ui_color = "#d9e7ff"
    failure_class = FireworksModelNotReady
    wait_class = ModelWait
    trigger_class = FireworksModelReadyTrigger

    def __init__(
        self,
        *,
        prepared: dict[str, Any] | None = None,
        model: str | None = None,
        precision: str | None = None,
        baseline: dict[str, Any] | None = None,
        accept_precisions: Sequence[str] = (),
        allow_unknown_precision: bool = False,
        require_confirmation: bool = False,
        deferrable: bool = conf.getboolean("operators", "default_deferrable", fallback=False),
        poke_interval: timedelta | float = 30,
        timeout: timedelta | float | None = 7200,
        account_id: str | None = None,
        fireworks_conn_id: str | None = "fireworks_default",
        **kwargs: Any,
    ) -> None:
        kwargs.setdefault("multiple_outputs", True)
        super().__init__(poke_interval=poke_interval, timeout=timeout, **kwargs)
        self.prepared = prepared
        self.model = model
        self.precision = precision
        self.baseline = baseline
        self.accept_precisions = accept_precisions
        self.allow_unknown_precision = allow_unknown_precision
        self.require_confirmation = require_confirmation
        self.deferrable = deferrable
        self.account_id = account_id
        self.fireworks_conn_id = fireworks_conn_id
        self._check_literals(ModelReadyArguments)

    @cached_property
    def _arguments(self) -> ModelReadyArguments:
        return ModelReadyArguments.check(**self._given())

    def execute(self, context: Context) -> Any:
        """Label the task with its precision, and wait as any sensor does."""
        show_precision(context, self._arguments.precision)
        return super().execute(context)

    def execute_complete(self, context: Context, event: Any = None) -> dict[str, Any]:
        """Label the task again, and end the deferred wait."""
        show_precision(context, self._arguments.precision)
        return super().execute_complete(context, event)

    @property
    def _resource(self) -> str:
        return self._arguments.model

    def _full_name(self) -> ModelName:
        return self.hook.model_name(self._arguments.model)

    def _new_wait(self, name: ModelName, **common: Any) -> ModelWait:
        return ModelWait(
            model=name,
            precision=self._arguments.precision,
            accept=self._arguments.accept_precisions,
            require_confirmation=self._arguments.require_confirmation,
            baseline=self._arguments.baseline,
            **common,
        )

    def _success(self, wait: ModelWait, verdict: Verdict) -> dict[str, Any]:
        if verdict.precision not in (self._arguments.precision, *self._arguments.accept_precisions):
            raise FireworksInvalidEvent.because(f"{verdict.precision} was not waited for")
        log = self.log.warning if verdict.nothing_seen else self.log.info
        log("%s is ready at %s: %s.", wait.model, verdict.precision, verdict.reason)
        return {"model": str(wait.model), "precision": verdict.precision}
