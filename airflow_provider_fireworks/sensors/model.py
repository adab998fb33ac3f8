"""Waiting until a model is ready."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from functools import cached_property
from typing import TYPE_CHECKING, Any

from airflow.providers.common.compat.sdk import conf

from airflow_provider_fireworks.arguments.model import ModelArguments, check_literals
from airflow_provider_fireworks.exceptions import (
    FireworksInvalidArgument,
    FireworksInvalidEvent,
    FireworksModelNotReady,
)
from airflow_provider_fireworks.links.model import FireworksModelLink
from airflow_provider_fireworks.sensors.base import FireworksSensor
from airflow_provider_fireworks.triggers.model import FireworksModelReadyTrigger

if TYPE_CHECKING:
    from airflow_provider_fireworks.readiness.model import Baseline
    from airflow_provider_fireworks.verdict import Verdict
    from airflow_provider_fireworks.watch import ModelWatch, Watch


class FireworksModelReadySensor(FireworksSensor):
    """
    Wait until a model is ready at a precision, or at each of several, with one request a look.

    Returns ``{"model": "accounts/…/models/…", "precision": "FP8"}`` with the precision that is ready (for
    several, a list), the arguments of what deploys it; every key is an XCom too. It reads the model,
    ``GET /v1/accounts/{account}/models/{model}``, and nothing else. The first look is the worker's, so what is
    ready is not deferred.

    A failed preparation and a model that is gone end the wait; ``soft_fail`` and ``never_fail`` then skip, in
    every mode. A key that is refused fails at once and is never skipped. While the gateway does not answer the
    wait goes on, until its ``timeout`` (``AirflowSensorTimeout``).

    :param model: id or full resource name.
    :param precision: as the gateway spells it (``"FP8"``); or a list, a gate for all of them.
    :param baseline: as ``FireworksPrepareModelOperator`` returned it. Without one, only the gateway's naming the
        precision makes it ready.
    :param accept_precisions: others that satisfy the wait for one precision as well.
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
        model: str,
        precision: str | Sequence[str],
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
        check_literals(
            model=model,
            precision=precision,
            accept_precisions=accept_precisions,
            allow_unknown_precision=allow_unknown_precision,
        )
        self.model = model
        self.precision = precision
        self.baseline = baseline
        self.accept_precisions = accept_precisions
        self.allow_unknown_precision = allow_unknown_precision
        self.require_confirmation = require_confirmation
        self.deferrable = deferrable
        self.account_id = account_id
        self.fireworks_conn_id = fireworks_conn_id

    @cached_property
    def _arguments(self) -> ModelArguments:
        rendered = {name: getattr(self, name) for name in self.template_fields if name != "baseline"}
        return ModelArguments.check(**rendered, poll_interval=self.poke_interval, timeout=self.timeout)

    def _begin(self, **common: Any) -> ModelWatch:
        from airflow_provider_fireworks.watch import ModelWatch

        return ModelWatch(
            model=self._arguments.model,
            precisions=self._arguments.precision,
            accept=self._arguments.accept_precisions,
            require_confirmation=self._arguments.require_confirmation,
            baseline=self._checked_baseline(),
            **common,
        )

    def _checked_baseline(self) -> Baseline | None:
        from airflow_provider_fireworks.readiness.model import Baseline

        try:
            return None if self.baseline is None else Baseline.model_validate(self.baseline)
        except ValueError:
            raise FireworksInvalidArgument(
                f"baseline: {self.baseline!r} is none. Pass on what the prepare task returned, as it is: "
                'baseline=prepare.output["baseline"]'
            ) from None

    def _full_name(self, name: str) -> str:
        return str(self.hook.model_name(name))

    def _trigger(self, watch: dict[str, Any]) -> FireworksModelReadyTrigger:
        return FireworksModelReadyTrigger(
            fireworks_conn_id=self._arguments.fireworks_conn_id, watch=watch, carry=watch
        )

    def _resumed(self, carried: dict[str, Any]) -> ModelWatch:
        from airflow_provider_fireworks.watch import ModelWatch

        return ModelWatch.model_validate(carried)

    def _success(self, watch: Watch, verdict: Verdict) -> dict[str, Any]:
        allowed = {*self._arguments.precision, *self._arguments.accept_precisions}
        if len(verdict.precisions) != len(self._arguments.precision) or not allowed.issuperset(
            verdict.precisions
        ):
            raise FireworksInvalidEvent.because(
                f"{', '.join(verdict.precisions) or 'nothing'} was not waited for"
            )
        model = getattr(watch, watch.resource)
        log = self.log.warning if verdict.inferred else self.log.info
        log("%s is ready at %s: %s.", model, ", ".join(verdict.precisions), verdict.reason)
        several = isinstance(self.precision, (list, tuple))
        return {
            "model": model,
            "precision": list(verdict.precisions) if several else verdict.precisions[0],
        }
