"""Waiting until a model is ready."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from functools import cached_property
from typing import TYPE_CHECKING, Any

from airflow.providers.common.compat.sdk import conf

from airflow_provider_fireworks.arguments import ModelReadyArguments
from airflow_provider_fireworks.exceptions import FireworksInvalidEvent, FireworksModelNotReady
from airflow_provider_fireworks.links.model import FireworksModelLink
from airflow_provider_fireworks.operators.base import show_precision
from airflow_provider_fireworks.sensors.base import FireworksSensor
from airflow_provider_fireworks.triggers.model import FireworksModelReadyTrigger
from airflow_provider_fireworks.watch import ModelWatch

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import Context

    from airflow_provider_fireworks.verdict import Verdict
    from airflow_provider_fireworks.watch import Watch


class FireworksModelReadySensor(FireworksSensor):
    """
    Wait until a model is ready at a precision.

    Returns ``{"model": "accounts/…/models/…", "precision": "FP8"}`` with the precision that is ready, which what
    deploys it takes whole, as ``prepared=ready.output``; every key is an XCom too. It reads the model,
    ``GET /v1/accounts/{account}/models/{model}``, and nothing else. The first look is the worker's, so what is
    ready is not deferred.

    A failed preparation and a model that is gone end the wait; ``soft_fail`` and ``never_fail`` then skip, in
    every mode. A key that is refused fails at once and is never skipped. While the gateway does not answer the
    wait goes on, until its ``timeout`` (``AirflowSensorTimeout``).

    :param prepared: the whole result of ``FireworksPrepareModelOperator``, ``prepare.output``, instead of the next
        three; one of the two ways is needed.
    :param model: id or full resource name.
    :param precision: one, as the API spells it (``"FP8"``); to wait for several, map over it.
    :param baseline: what ``FireworksPrepareModelOperator`` returned under this key. Without one, the sensor succeeds
        only if the API lists the precision, and fails at its first poll if the API lists none.
    :param accept_precisions: others that satisfy the wait as well.
    :param allow_unknown_precision: pass a precision that is newer than this package.
    :param require_confirmation: fail where readiness could only be inferred, because the gateway lists no precisions.
    :param deferrable: wait in the triggerer; all other arguments mean the same there.
    :param poke_interval: seconds between two looks.
    :param timeout: seconds until it gives up.
    :param account_id: the account of a model id, instead of the connection's.
    :param fireworks_conn_id: the Airflow connection; ``None`` takes ``FIREWORKS_API_KEY`` and its like.
    :raises FireworksInvalidArgument: for a misspelt precision or a model that is none; nothing was sent.
    :raises FireworksAccessDenied, FireworksNotFound, FireworksModelNotReady: not retried.
    :raises AirflowSensorTimeout: says what was waited for, how long, and what was last seen; not retried.
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
    failure = FireworksModelNotReady

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
        ModelReadyArguments.check_literals(**self._given())

    @cached_property
    def _arguments(self) -> ModelReadyArguments:
        return ModelReadyArguments.check(**self._given())

    def execute(self, context: Context) -> Any:
        """Wait, as any sensor does, under the label of the precision."""
        show_precision(context, self._arguments.precision)
        return super().execute(context)

    def execute_complete(self, context: Context, event: Any = None) -> dict[str, Any]:
        """End a deferred wait, under the same label."""
        show_precision(context, self._arguments.precision)
        return super().execute_complete(context, event)

    def _begin(self, **common: Any) -> ModelWatch:
        return ModelWatch(
            model=self._arguments.model,
            precision=self._arguments.precision,
            accept=self._arguments.accept_precisions,
            require_confirmation=self._arguments.require_confirmation,
            baseline=self._arguments.baseline,
            **common,
        )

    def _full_name(self, name: str) -> str:
        return str(self.hook.model_name(name))

    def _trigger(self, watch: dict[str, Any]) -> FireworksModelReadyTrigger:
        return FireworksModelReadyTrigger(
            fireworks_conn_id=self._arguments.fireworks_conn_id, watch=watch, carry=watch
        )

    def _resumed(self, carried: dict[str, Any]) -> ModelWatch:
        return ModelWatch.model_validate(carried)

    def _success(self, watch: Watch, verdict: Verdict) -> dict[str, Any]:
        if verdict.precision not in (self._arguments.precision, *self._arguments.accept_precisions):
            raise FireworksInvalidEvent.because(f"{verdict.precision} was not waited for")
        model = getattr(watch, watch.resource)
        log = self.log.warning if verdict.inferred else self.log.info
        log("%s is ready at %s: %s.", model, verdict.precision, verdict.reason)
        return {"model": model, "precision": verdict.precision}
