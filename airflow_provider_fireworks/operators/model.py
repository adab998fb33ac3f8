"""Asking for the preparation of a model."""

from __future__ import annotations

import time
from collections.abc import Sequence
from datetime import timedelta
from functools import cached_property
from typing import TYPE_CHECKING, Any

from airflow.providers.common.compat.sdk import BaseOperator, conf

from airflow_provider_fireworks.arguments import ModelArguments, check_literals
from airflow_provider_fireworks.triggers.model import DEFERRAL_SLACK, FireworksModelReadyTrigger

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import Context

    from airflow_provider_fireworks.gateway.shapes import Model
    from airflow_provider_fireworks.hooks.fireworks import FireworksHook
    from airflow_provider_fireworks.preparation import Preparation
    from airflow_provider_fireworks.verdict import Verdict
    from airflow_provider_fireworks.watch import Until, Watch


class FireworksPrepareModelOperator(BaseOperator):
    """
    Prepare a model for a precision, so that it can be deployed at it.

    The model is read first, and where the gateway names the precision already, nothing is asked for. Otherwise
    it is: ``POST /v1/accounts/{account}/models/{model}:prepare``, also while something else is being prepared,
    since the gateway decides. If it refuses for that, the task waits its turn. After an answer that was lost
    it looks what became of the request before it would make it again. A retry or a cleared task adopts what is
    there.

    Returns ``{"model": "accounts/…/models/…", "precision": "FP8", "baseline": {…}}``, the arguments of
    :class:`~airflow_provider_fireworks.sensors.model.FireworksModelReadySensor`; every key is an XCom too.

    :param model: id or full resource name.
    :param precision: one, as the gateway spells it (``"FP8"``); to prepare for several, map over it.
    :param accept_precisions: others that are just as good: where one is there already, nothing is asked for.
    :param allow_unknown_precision: pass a precision that is newer than this package.
    :param wait_for_completion: wait in this task until the model is ready. If the preparation ends without its
        precision, it is asked for once more.
    :param require_proof: with ``wait_for_completion``, fail where readiness could only be inferred, because the
        gateway lists no precisions.
    :param deferrable: wait in the triggerer.
    :param poll_interval: seconds between two looks.
    :param timeout: seconds for waiting its turn and, where asked for, for completion.
    :param account_id: the account of a model id, instead of the connection's.
    :param fireworks_conn_id: the Airflow connection; ``None`` takes ``FIREWORKS_API_KEY`` and its like.
    :raises FireworksInvalidArgument: for a misspelt precision or a model that is none; nothing was sent.
    :raises FireworksAccessDenied, FireworksNotFound, FireworksRefused: at once, in the gateway's words.
    :raises FireworksPreparationFailed: retried, as the task's ``retries`` say.
    :raises FireworksTimeout: retried likewise.
    """

    template_fields: Sequence[str] = (
        "model",
        "precision",
        "accept_precisions",
        "allow_unknown_precision",
        "wait_for_completion",
        "require_proof",
        "deferrable",
        "poll_interval",
        "timeout",
        "account_id",
        "fireworks_conn_id",
    )
    ui_color = "#e9e1ff"

    def __init__(
        self,
        *,
        model: str,
        precision: str,
        accept_precisions: Sequence[str] = (),
        allow_unknown_precision: bool = False,
        wait_for_completion: bool = False,
        require_proof: bool = False,
        deferrable: bool = conf.getboolean("operators", "default_deferrable", fallback=False),
        poll_interval: float = 30,
        timeout: float = 7200,
        account_id: str | None = None,
        fireworks_conn_id: str | None = "fireworks_default",
        **kwargs: Any,
    ) -> None:
        kwargs.setdefault("multiple_outputs", True)
        super().__init__(**kwargs)
        check_literals(
            model=model,
            precision=precision,
            accept_precisions=accept_precisions,
            allow_unknown_precision=allow_unknown_precision,
        )
        self.model = model
        self.precision = precision
        self.accept_precisions = accept_precisions
        self.allow_unknown_precision = allow_unknown_precision
        self.wait_for_completion = wait_for_completion
        self.require_proof = require_proof
        self.deferrable = deferrable
        self.poll_interval = poll_interval
        self.timeout = timeout
        self.account_id = account_id
        self.fireworks_conn_id = fireworks_conn_id

    @cached_property
    def hook(self) -> FireworksHook:
        """The connection to the gateway."""
        from airflow_provider_fireworks.hooks.fireworks import FireworksHook

        return FireworksHook(self._arguments.fireworks_conn_id, account_id=self._arguments.account_id)

    @cached_property
    def _arguments(self) -> ModelArguments:
        return ModelArguments.check(**{name: getattr(self, name) for name in self.template_fields})

    def execute(self, context: Context) -> dict[str, Any]:
        """Look, ask, and wait where there is something to wait for."""
        from airflow_provider_fireworks.exceptions import FireworksInvalidArgument
        from airflow_provider_fireworks.preparation import Preparation

        if len(self._arguments.precision) > 1:
            raise FireworksInvalidArgument(
                "precision: one a task; for several, map over them: .partial(…).expand(precision=[…])"
            )
        preparation = Preparation(model=self._arguments.model, deadline=time.time() + self._arguments.timeout)
        preparation.model = self._full_name(preparation)
        return self._go_on(preparation)

    def execute_complete(self, context: Context, event: Any = None) -> dict[str, Any]:
        """
        Go on after a deferral.

        :param event: the trigger's verdict, and where the task stood when it was deferred.
        """
        from airflow_provider_fireworks.exceptions import FireworksInvalidEvent
        from airflow_provider_fireworks.preparation import Preparation
        from airflow_provider_fireworks.verdict import Verdict

        try:
            verdict, carried = Verdict.of_event(event)
            preparation = Preparation.model_validate(carried)
        except ValueError as error:
            raise FireworksInvalidEvent(f"The trigger's event makes no sense: {error}.") from None
        self._settle(preparation, verdict)
        return self._go_on(preparation)

    def _go_on(self, preparation: Preparation) -> dict[str, Any]:
        from airflow_provider_fireworks.exceptions import FireworksRefused
        from airflow_provider_fireworks.preparation import Step
        from airflow_provider_fireworks.verdict import Outcome, Verdict
        from airflow_provider_fireworks.watch import Until

        precision = self._arguments.precision[0]
        while True:
            step = preparation.step
            if step is Step.LOOK:
                model = self._look(preparation)
                if model is not None:
                    preparation.look(model, precision, self._arguments.accept_precisions, time.time())
            elif step is Step.POST:
                self._post(preparation, precision)
            elif step in (Step.PAUSE, Step.WAIT_TURN) and time.time() >= preparation.deadline:
                self._settle(preparation, Verdict(Outcome.TIMEOUT, f"last seen: {preparation.note}"))
            elif step is Step.PAUSE:
                self.log.info("%s Looking again.", preparation.note)
                time.sleep(preparation.pause(self._arguments.poll_interval))
            elif step is Step.WAIT_TURN:
                self.log.info("%s Waiting for its turn.", preparation.note)
                self._wait(Until.TURN, preparation)
            elif step is Step.REFUSED:
                raise FireworksRefused(f"{preparation.model} at {precision}: {preparation.note}")
            elif step is Step.POSTED and self._arguments.wait_for_completion:
                self._wait(Until.READY, preparation)
            else:
                return self._result(preparation)

    def _full_name(self, preparation: Preparation) -> str:
        """Return the model's full name. To find its account out may take a request, and so patience."""
        from airflow_provider_fireworks.gateway.errors import GatewayError
        from airflow_provider_fireworks.watch import Until

        watch = self._watch(Until.ANSWER, preparation)
        while True:
            try:
                return str(self.hook.model_name(self._arguments.model))
            except GatewayError as error:
                verdict = watch.see(error, time.time())
            if verdict.ends:
                self._settle(preparation, verdict)
            self.log.warning("%s", verdict.reason)
            time.sleep(watch.pause(time.time()))

    def _look(self, preparation: Preparation) -> Model | None:
        """Return the model, or ``None`` after a blip that outlasted the hook's own attempts and a wait."""
        from airflow_provider_fireworks.gateway.errors import GatewayError
        from airflow_provider_fireworks.watch import Until

        try:
            return self.hook.get_model(preparation.model)
        except GatewayError as error:
            self._over_blip(error, Until.ANSWER, preparation)
        return None

    def _post(self, preparation: Preparation, precision: str) -> None:
        from airflow_provider_fireworks.gateway.errors import GatewayError, RefusedError
        from airflow_provider_fireworks.watch import Until

        self.log.info("Asking for the preparation of %s for %s.", preparation.model, precision)
        at = time.time()
        try:
            self.hook.prepare_model(
                preparation.model, precision, allow_unknown_precision=self._arguments.allow_unknown_precision
            )
        except RefusedError as error:
            preparation.refused(error, at)
        except GatewayError as error:
            if error.blip and error.may_have_acted:
                preparation.lost(error, at)
            else:
                preparation.look_again()
                self._over_blip(error, Until.ANSWER, preparation)
        else:
            preparation.accepted(at)
            self.log.info("The gateway has accepted it. No way to cancel it is known.")

    def _over_blip(self, error: Any, until: Until, preparation: Preparation) -> None:
        """Wait until the gateway answers again, or fail at once with what waiting cannot mend."""
        watch = self._watch(until, preparation)
        verdict = watch.see(error, time.time())
        if verdict.ends:
            self._settle(preparation, verdict)
        self.log.warning("%s", error)
        self._wait(until, preparation, watch)

    def _wait(self, until: Until, preparation: Preparation, watch: Watch | None = None) -> None:
        from airflow_provider_fireworks.gateway.errors import GatewayError

        watch = watch or self._watch(until, preparation)
        now = time.time()
        if self._arguments.deferrable:
            self.defer(
                trigger=FireworksModelReadyTrigger(
                    fireworks_conn_id=self._arguments.fireworks_conn_id,
                    watch=watch.as_arguments(),
                    carry=preparation.model_dump(mode="json", exclude_defaults=True),
                ),
                method_name="execute_complete",
                timeout=timedelta(seconds=max(watch.deadline - now, 0) + DEFERRAL_SLACK),
            )
        while True:
            time.sleep(watch.pause(time.time()))
            reading: Model | GatewayError
            try:
                reading = self.hook.get_model(preparation.model, attempts=1)
            except GatewayError as error:
                reading = error
            verdict = watch.see(reading, time.time())
            if verdict.ends:
                return self._settle(preparation, verdict)
            self.log.info("%s", watch.still_waiting(verdict, time.time()))

    def _watch(self, until: Until, preparation: Preparation) -> Watch:
        from airflow_provider_fireworks.watch import Watch

        return Watch(
            model=preparation.model,
            precisions=self._arguments.precision,
            accept=self._arguments.accept_precisions,
            require_proof=self._arguments.require_proof,
            baseline=preparation.baseline,
            until=until,
            deadline=preparation.deadline,
            poll_interval=self._arguments.poll_interval,
        )

    def _settle(self, preparation: Preparation, verdict: Verdict) -> None:
        """Take in how a wait has ended; raise where that is the task's end as well."""
        from airflow_provider_fireworks.exceptions import error_of_verdict
        from airflow_provider_fireworks.verdict import Outcome

        if verdict.outcome is Outcome.READY:
            preparation.waited(verdict)
            if verdict.inferred:
                self.log.warning(
                    "%s is ready at %s, %s.", preparation.model, verdict.precisions[0], verdict.reason
                )
            return
        if verdict.may_post_again and preparation.post_again():
            self.log.warning("%s: %s. Asking for it once more.", preparation.model, verdict.reason)
            return
        waited = self._arguments.timeout - max(preparation.deadline - time.time(), 0)
        raise error_of_verdict(
            verdict,
            f"{preparation.model} at {self._arguments.precision[0]}, after {waited:.0f} s: {verdict.reason}",
            sensor=False,
        )

    def _result(self, preparation: Preparation) -> dict[str, Any]:
        precision = preparation.precision or self._arguments.precision[0]
        if preparation.precision:
            self.log.info("%s is ready at %s.", preparation.model, precision)
        baseline = preparation.baseline.model_dump(mode="json") if preparation.baseline else None
        return {"model": preparation.model, "precision": precision, "baseline": baseline}
