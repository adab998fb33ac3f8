"""Waiting until a model is ready."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from functools import cached_property
from typing import TYPE_CHECKING, Any

from airflow.providers.common.compat.sdk import (
    AirflowException,
    AirflowSkipException,
    BaseSensorOperator,
    PokeReturnValue,
    conf,
)

from airflow_provider_fireworks.arguments import ModelArguments, check_literals
from airflow_provider_fireworks.exceptions import (
    NEVER_SKIPPED,
    FireworksInvalidArgument,
    FireworksInvalidEvent,
    error_of_verdict,
)
from airflow_provider_fireworks.triggers.model import DEFERRAL_SLACK, FireworksModelReadyTrigger

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from airflow.providers.common.compat.sdk import Context

    from airflow_provider_fireworks.gateway.errors import GatewayError
    from airflow_provider_fireworks.gateway.shapes import Model
    from airflow_provider_fireworks.hooks.fireworks import FireworksHook
    from airflow_provider_fireworks.readiness import Baseline
    from airflow_provider_fireworks.verdict import Verdict
    from airflow_provider_fireworks.watch import Watch


class FireworksModelReadySensor(BaseSensorOperator):
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
    :param require_proof: fail where readiness could only be inferred, because the gateway lists no precisions.
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
        "require_proof",
        "deferrable",
        "account_id",
        "fireworks_conn_id",
    )
    ui_color = "#d9e7ff"

    def __init__(
        self,
        *,
        model: str,
        precision: str | Sequence[str],
        baseline: dict[str, Any] | None = None,
        accept_precisions: Sequence[str] = (),
        allow_unknown_precision: bool = False,
        require_proof: bool = False,
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
        self.require_proof = require_proof
        self.deferrable = deferrable
        self.account_id = account_id
        self.fireworks_conn_id = fireworks_conn_id

    @cached_property
    def hook(self) -> FireworksHook:
        """The connection to the gateway."""
        from airflow_provider_fireworks.hooks.fireworks import FireworksHook

        return FireworksHook(self._arguments.fireworks_conn_id, account_id=self._arguments.account_id)

    @cached_property
    def _arguments(self) -> ModelArguments:
        rendered = {name: getattr(self, name) for name in self.template_fields if name != "baseline"}
        return ModelArguments.check(**rendered, poll_interval=self.poke_interval, timeout=self.timeout)

    def execute(self, context: Context) -> Any:
        """Poke until the wait is over; deferrable, until the first poke has found that there is one."""
        self._watch = self._begin(context)
        with _skipping_none_of(NEVER_SKIPPED):
            return super().execute(context)

    def poke(self, context: Context) -> PokeReturnValue:
        """Look once. Where the wait is not over, a deferrable sensor is deferred."""
        watch = self._watch
        verdict = watch.see(self._read(), time.time())
        if verdict.ends:
            return PokeReturnValue(is_done=True, xcom_value=self._result(watch, verdict))
        self.log.info("%s", watch.still_waiting(verdict, time.time()))
        # A trigger needs the full name. While the account cannot be found out, the worker goes on asking.
        if self._arguments.deferrable and "/" in watch.model:
            arguments = watch.as_arguments()
            self.defer(
                trigger=FireworksModelReadyTrigger(
                    fireworks_conn_id=self._arguments.fireworks_conn_id, watch=arguments, carry=arguments
                ),
                method_name="execute_complete",
                timeout=timedelta(seconds=max(watch.deadline - time.time(), 0) + DEFERRAL_SLACK),
            )
        return PokeReturnValue(is_done=False)

    def execute_complete(self, context: Context, event: Any = None) -> dict[str, Any]:
        """
        End a deferred wait.

        :param event: the trigger's verdict, and what it was a wait for.
        """
        from airflow_provider_fireworks.verdict import Verdict
        from airflow_provider_fireworks.watch import Watch

        try:
            verdict, carried = Verdict.of_event(event)
            watch = Watch.model_validate(carried)
        except ValueError as error:
            raise FireworksInvalidEvent(f"The trigger's event makes no sense: {error}.") from None
        return self._result(watch, verdict)

    def resume_execution(self, next_method: str, next_kwargs: dict[str, Any] | None, context: Context) -> Any:
        """Resume as any sensor does, but for what must not be skipped."""
        try:
            with _skipping_none_of(NEVER_SKIPPED):
                return super().resume_execution(next_method, next_kwargs, context)
        except AirflowException as error:
            # The sensors of Airflow 3.0 forget never_fail here.
            if not self.never_fail or isinstance(error, (AirflowSkipException, *NEVER_SKIPPED)):
                raise
            raise AirflowSkipException("Skipping due to never_fail is set to True.") from error

    def _get_next_poke_interval(
        self, started_at: datetime | float, run_duration: Callable[[], float], poke_count: int
    ) -> float:
        """Return the seconds until the next poke: Airflow's, but longer while the gateway does not answer."""
        asked = super()._get_next_poke_interval(started_at, run_duration, poke_count)
        return float(max(asked, self._watch.pause(time.time())))

    def _begin(self, context: Context) -> Watch:
        from airflow_provider_fireworks.watch import Watch

        # Rescheduled, every poke is a new process; the wait began with the first.
        first = context["ti"].get_first_reschedule_date(context) if self.reschedule else None
        return Watch(
            model=self._arguments.model,
            precisions=self._arguments.precision,
            accept=self._arguments.accept_precisions,
            require_proof=self._arguments.require_proof,
            baseline=self._checked_baseline(),
            deadline=(first.timestamp() if first else time.time()) + self.timeout,
            poll_interval=self.poke_interval,
            growing=self.exponential_backoff,
            longest_interval=self.max_wait.total_seconds() if self.max_wait else None,
        )

    def _checked_baseline(self) -> Baseline | None:
        from airflow_provider_fireworks.readiness import Baseline

        try:
            return None if self.baseline is None else Baseline.model_validate(self.baseline)
        except ValueError:
            raise FireworksInvalidArgument(
                f"baseline: {self.baseline!r} is none. Pass on what the prepare task returned, as it is: "
                'baseline=prepare.output["baseline"]'
            ) from None

    def _read(self) -> Model | GatewayError:
        from airflow_provider_fireworks.gateway.errors import GatewayError

        try:
            self._watch.model = str(self.hook.model_name(self._watch.model))
            return self.hook.get_model(self._watch.model, attempts=1)
        except GatewayError as error:
            return error

    def _result(self, watch: Watch, verdict: Verdict) -> dict[str, Any]:
        """Return the task's result, or raise what a wait that has ended badly is to end with."""
        from airflow_provider_fireworks.verdict import Outcome

        if verdict.outcome is not Outcome.READY:
            waited = time.time() - (watch.deadline - self.timeout)
            raise error_of_verdict(
                verdict, f"Waited {waited:.0f} s for {watch.wanted}: {verdict.reason}", sensor=True
            )
        allowed = {*self._arguments.precision, *self._arguments.accept_precisions}
        if len(verdict.precisions) != len(self._arguments.precision) or not allowed.issuperset(
            verdict.precisions
        ):
            raise FireworksInvalidEvent(
                f"The trigger's event makes no sense: {', '.join(verdict.precisions) or 'nothing'} was not waited for."
            )
        log = self.log.warning if verdict.inferred else self.log.info
        log("%s is ready at %s: %s.", watch.model, ", ".join(verdict.precisions), verdict.reason)
        several = isinstance(self.precision, (list, tuple))
        return {
            "model": watch.model,
            "precision": list(verdict.precisions) if several else verdict.precisions[0],
        }


@contextmanager
def _skipping_none_of(errors: tuple[type[BaseException], ...]) -> Iterator[None]:
    """Undo what Airflow's ``soft_fail`` and ``never_fail`` make of these."""
    try:
        yield
    except AirflowSkipException as skip:
        if isinstance(skip.__cause__, errors):
            raise skip.__cause__ from None
        raise
