"""Asking for the preparation of a model."""

from __future__ import annotations

import time
from collections.abc import Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any

from airflow.providers.common.compat.sdk import conf

from airflow_provider_fireworks.arguments import PrepareArguments
from airflow_provider_fireworks.client.errors import GatewayError, RefusedError
from airflow_provider_fireworks.exceptions import (
    FireworksPreparationFailed,
    FireworksRefused,
)
from airflow_provider_fireworks.links.model import FireworksModelLink
from airflow_provider_fireworks.operators.base import WaitingOperator, show_precision
from airflow_provider_fireworks.preparation import Preparation, Step
from airflow_provider_fireworks.triggers.model import FireworksModelReadyTrigger
from airflow_provider_fireworks.verdict import Outcome, Verdict
from airflow_provider_fireworks.watch import ModelWatch, Until, Watch

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import Context


class FireworksPrepareModelOperator(WaitingOperator):
    """
    Prepare a model for a precision, so that it can be deployed at it.

    The model is read first, and where the gateway names the precision already, nothing is asked for. Otherwise
    it is: ``POST /v1/accounts/{account}/models/{model}:prepare``, also while something else is being prepared,
    since the gateway decides. If it refuses for that, the task waits its turn. After an answer that was lost
    it looks what became of the request before it would make it again. A retry or a cleared task adopts what is
    there.

    Returns ``{"model": "accounts/…/models/…", "precision": "FP8", "baseline": {…}}``, which
    :class:`~airflow_provider_fireworks.sensors.model.FireworksModelReadySensor` takes whole, as
    ``prepared=prepare.output``; every key is an XCom too.

    :param model: id or full resource name.
    :param precision: one, as the gateway spells it (``"FP8"``); to prepare for several, map over it.
    :param accept_precisions: others that are just as good: where one is there already, nothing is asked for.
    :param allow_unknown_precision: pass a precision that is newer than this package.
    :param wait_for_completion: wait in this task until the model is ready. If the preparation ends without its
        precision, it is asked for once more.
    :param require_confirmation: with ``wait_for_completion``, fail where readiness could only be inferred, because the
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
        "require_confirmation",
        "deferrable",
        "poll_interval",
        "timeout",
        "account_id",
        "fireworks_conn_id",
    )
    operator_extra_links = (FireworksModelLink(),)
    ui_color = "#e9e1ff"

    def __init__(
        self,
        *,
        model: str,
        precision: str,
        accept_precisions: Sequence[str] = (),
        allow_unknown_precision: bool = False,
        wait_for_completion: bool = False,
        require_confirmation: bool = False,
        deferrable: bool = conf.getboolean("operators", "default_deferrable", fallback=False),
        poll_interval: float = 30,
        timeout: float = 7200,
        account_id: str | None = None,
        fireworks_conn_id: str | None = "fireworks_default",
        **kwargs: Any,
    ) -> None:
        kwargs.setdefault("multiple_outputs", True)
        super().__init__(**kwargs)
        self.model = model
        self.precision = precision
        self.accept_precisions = accept_precisions
        self.allow_unknown_precision = allow_unknown_precision
        self.wait_for_completion = wait_for_completion
        self.require_confirmation = require_confirmation
        self.deferrable = deferrable
        self.poll_interval = poll_interval
        self.timeout = timeout
        self.account_id = account_id
        self.fireworks_conn_id = fireworks_conn_id
        PrepareArguments.check_literals(**self._rendered())

    @cached_property
    def _arguments(self) -> PrepareArguments:
        return PrepareArguments.check(**self._rendered())

    def execute(self, context: Context) -> dict[str, Any]:
        """Look, ask, and wait where there is something to wait for."""
        show_precision(context, self._arguments.precision)
        preparation = Preparation(
            model=self._arguments.model, deadline=time.time() + self._time_limit.seconds
        )
        # To find the account of a bare id out may take a request, and so patience.
        preparation.model = str(
            self._patiently(
                lambda: self.hook.model_name(self._arguments.model),
                self._watch(Until.ANSWER, preparation),
                self._arguments.model,
                lambda verdict: self._settle(preparation, verdict),
            )
        )
        # For the link, which is wanted while the task waits.
        context["ti"].xcom_push(key="model", value=preparation.model)
        return self._go_on(preparation)

    def _resumed(self, carried: dict[str, Any]) -> Preparation:
        return Preparation.model_validate(carried)

    def _resume(self, context: Context, preparation: Preparation, verdict: Verdict) -> dict[str, Any]:
        show_precision(context, self._arguments.precision)
        self._settle(preparation, verdict)
        return self._go_on(preparation)

    def _go_on(self, preparation: Preparation) -> dict[str, Any]:
        precision = self._arguments.precision
        while True:
            step = preparation.step
            if step is Step.LOOK:
                self._look(preparation, precision)
            elif step in (Step.POST, Step.PAUSE, Step.WAIT_TURN) and time.time() >= preparation.deadline:
                # POST as well: one whose answers are lost only after START_LAG is made again without a pause.
                seen = preparation.note or "nothing was asked for yet."
                self._settle(preparation, Verdict(Outcome.TIMEOUT, f"last seen: {seen}"))
            elif step is Step.POST:
                self._post(preparation, precision)
            elif step is Step.PAUSE:
                self._note(preparation.note)
                time.sleep(preparation.pause(self._arguments.poll_interval))
            elif step is Step.WAIT_TURN:
                self.log.info("%s Waiting for its turn.", preparation.note)
                self._wait_until(Until.TURN, preparation)
            elif step is Step.REFUSED:
                raise FireworksRefused(
                    f"{preparation.model} at {precision}: {preparation.note} {FireworksRefused.what_to_do}"
                )
            elif step is Step.POSTED and self._arguments.wait_for_completion:
                self._wait_until(Until.READY, preparation)
            else:
                return self._result(preparation)

    def _look(self, preparation: Preparation, precision: str) -> None:
        try:
            model = self.hook.get_model(preparation.model)
        except GatewayError as error:
            # It has outlasted the hook's own attempts.
            watch = self._watch(Until.ANSWER, preparation)
            self._settle(preparation, self._after_blip(error, watch, preparation))
        else:
            preparation.look(model, precision, self._arguments.accept_precisions, time.time())

    def _post(self, preparation: Preparation, precision: str) -> None:
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
                if not error.retry_after:
                    return
                # The look that is to follow has to wait.
            else:
                preparation.look_again()
            watch = self._watch(Until.ANSWER, preparation)
            self._settle(preparation, self._after_blip(error, watch, preparation))
        else:
            preparation.accepted(at)
            self.log.info("The gateway has accepted it. No way to cancel it is known.")

    def _wait_until(self, until: Until, preparation: Preparation) -> None:
        self._settle(preparation, self._wait(self._watch(until, preparation), preparation))

    def _watch(self, until: Until, preparation: Preparation) -> ModelWatch:
        return ModelWatch(
            model=preparation.model,
            precision=self._arguments.precision,
            accept=self._arguments.accept_precisions,
            require_confirmation=self._arguments.require_confirmation,
            baseline=preparation.baseline,
            memory=preparation.memory,
            until=until,
            answered=self._has_answered,
            deadline=preparation.deadline,
            poll_interval=self._arguments.poll_interval,
        )

    def _trigger(self, watch: Watch, carry: dict[str, Any]) -> FireworksModelReadyTrigger:
        return FireworksModelReadyTrigger(
            fireworks_conn_id=self._arguments.fireworks_conn_id, watch=watch.as_arguments(), carry=carry
        )

    def _settle(self, preparation: Preparation, verdict: Verdict) -> None:
        """Take in how a wait has ended; raise where that is the task's end as well."""
        if verdict.outcome is Outcome.READY:
            preparation.waited(verdict)
            if verdict.inferred:
                self.log.warning(
                    "%s is ready at %s, %s.", preparation.model, verdict.precision, verdict.reason
                )
            return
        if verdict.may_post_again and preparation.post_again():
            self.log.warning("%s: %s. Asking for it once more.", preparation.model, verdict.reason)
            return
        raise self._error_of(
            verdict,
            f"{preparation.model} at {self._arguments.precision}",
            failed=FireworksPreparationFailed,
        )

    def _result(self, preparation: Preparation) -> dict[str, Any]:
        precision = preparation.precision or self._arguments.precision
        if preparation.precision:
            self.log.info("%s is ready at %s.", preparation.model, precision)
        baseline = preparation.baseline.model_dump(mode="json") if preparation.baseline else None
        return {"model": preparation.model, "precision": precision, "baseline": baseline}
