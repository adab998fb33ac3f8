"""The operator that requests the preparation of a model."""

from __future__ import annotations

import time
from collections.abc import Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any

from airflow.providers.common.compat.sdk import conf

from airflow_provider_fireworks.arguments import PrepareArguments
from airflow_provider_fireworks.client import api
from airflow_provider_fireworks.client.errors import (
    AccessDeniedError,
    ApiError,
    QuotaExceededError,
    RefusedError,
)
from airflow_provider_fireworks.exceptions import (
    FireworksPreparationFailed,
    FireworksRefused,
    error_from_api,
)
from airflow_provider_fireworks.links import FireworksModelLink
from airflow_provider_fireworks.models.preparation import ModelPreparation, PrepareStep
from airflow_provider_fireworks.models.wait import ModelWait
from airflow_provider_fireworks.operators.base import WaitingOperator
from airflow_provider_fireworks.polling import Event, Outcome, Until, Verdict
from airflow_provider_fireworks.task import parse_resumed, show_precision
from airflow_provider_fireworks.triggers.model import FireworksModelReadyTrigger

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import Context


_ENDED_BY_DEADLINE = (PrepareStep.REQUEST, PrepareStep.PAUSE, PrepareStep.WAIT_UNTIL_IDLE)
"""``REQUEST`` as well: if responses are slow, a request whose outcome is unknown is sent again without a pause."""

_QUOTA_HINT = (
    "A preparation needs GPUs, 8 as far as is known: free some, set accelerator_count to fewer, or retry later, with "
    "retries and a long retry_delay."
)
_DENIED_HINT = (
    "Check the connection's API key. If it can read the model, the account is probably not entitled to prepare models: "
    "ask Fireworks."
)


class FireworksPrepareModelOperator(WaitingOperator):
    """
    Prepare a model for a precision, so that it can be deployed at this precision.

    The task reads the model first, and requests nothing if the API lists the precision already. Otherwise it requests
    the preparation, ``POST /v1/accounts/{account}/models/{model}:prepare``. If another preparation of the model is in
    progress, so that the API refuses, or could drop the request unnoticed, the task waits for that to end. If the
    outcome of the request is unknown, the task reads the model before it sends the request again.

    On an API that lists no precisions, the task then polls for up to 30 seconds until the preparation begins. One
    mapped task of a run requests at a time (``max_active_tis_per_dagrun=1`` by default; pass it to ``.partial()``).
    **There it also requests a model again that is prepared already**: see ``docs/preparing.md`` for scheduled runs.

    Returns ``{"model": "accounts/…/models/…", "precision": "FP8", "baseline": {…}}``.
    :class:`~airflow_provider_fireworks.sensors.model.FireworksModelReadySensor` takes the result whole, as
    ``prepared=prepare.output``. Every key is an XCom too.

    Example::

        prepare = FireworksPrepareModelOperator.partial(
            task_id="prepare", model="my-model", max_active_tis_per_dagrun=1
        ).expand(precision=["FP8", "FP4"])

    :param model: id or full resource name.
    :param precision: as the API spells it (``"FP8"``). To prepare for several, map over them.
    :param accept_precisions: precisions to accept instead: if the API lists one of them, nothing is requested.
    :param allow_unknown_precision: accept a precision that is newer than this package.
    :param accelerator_count: GPUs to prepare it with; without it, the API chooses (8, as far as is known). Older
        versions of the API refuse the request with this argument.
    :param wait_for_completion: wait in this task until the model is ready. If the preparation ends without its
        precision, it is requested once more.
    :param require_confirmation: with ``wait_for_completion``, fail if readiness can only be inferred, because the API
        lists no precisions.
    :param deferrable: wait in the triggerer.
    :param poll_interval: seconds between two polls.
    :param timeout: seconds until the task fails, whether it waits for another preparation or for its own.
    :param account_id: the account of a bare model id, instead of the connection's.
    :param fireworks_conn_id: the Airflow connection; ``None`` reads ``FIREWORKS_API_KEY`` and the like.
    :param max_active_tis_per_dagrun: Airflow's own, with another default. For a mapped task, Airflow reads it from
        ``.partial()`` only.
    :raises FireworksInvalidArgument: if an argument is invalid; nothing was sent.
    :raises FireworksAccessDenied: if the API rejects the key, or the account may not do this; not retried.
    :raises FireworksNotFound: if the model does not exist; not retried.
    :raises FireworksRefused: if the API refuses the request for another reason; not retried.
    :raises FireworksPreparationFailed: if the preparation failed, or ended without the precision; retried.
    :raises FireworksQuotaExceeded: if the account's quota has no GPUs left; retried.
    :raises FireworksTimeout: if the time is over; retried.
    """

    template_fields: Sequence[str] = tuple(PrepareArguments.model_fields)
    operator_extra_links = (FireworksModelLink(),)
    ui_color = "#e9e1ff"
    failure_class = FireworksPreparationFailed
    trigger_class = FireworksModelReadyTrigger

    def __init__(
        self,
        *,
        model: str,
        precision: str,
        accept_precisions: Sequence[str] = (),
        allow_unknown_precision: bool = False,
        accelerator_count: int | None = None,
        wait_for_completion: bool = False,
        require_confirmation: bool = False,
        deferrable: bool = conf.getboolean("operators", "default_deferrable", fallback=False),
        poll_interval: float = 30,
        timeout: float = 7200,
        account_id: str | None = None,
        fireworks_conn_id: str | None = "fireworks_default",
        max_active_tis_per_dagrun: int | None = 1,
        **kwargs: Any,
    ) -> None:
        kwargs.setdefault("multiple_outputs", True)
        super().__init__(max_active_tis_per_dagrun=max_active_tis_per_dagrun, **kwargs)
        self.model = model
        self.precision = precision
        self.accept_precisions = accept_precisions
        self.allow_unknown_precision = allow_unknown_precision
        self.accelerator_count = accelerator_count
        self.wait_for_completion = wait_for_completion
        self.require_confirmation = require_confirmation
        self.deferrable = deferrable
        self.poll_interval = poll_interval
        self.timeout = timeout
        self.account_id = account_id
        self.fireworks_conn_id = fireworks_conn_id
        self._check_literals(PrepareArguments)

    @cached_property
    def _arguments(self) -> PrepareArguments:
        return PrepareArguments.check(**self._given())

    def execute(self, context: Context) -> dict[str, Any]:
        """Read the model, request the preparation unless the precision is listed, and wait if asked to."""
        show_precision(context, self._arguments.precision)
        deadline = time.time() + self._time_limit.seconds
        name = self._send_patiently(
            lambda: self.hook.model_name(self._arguments.model),
            self._response_wait(self._arguments.model, deadline),
            f"{self._arguments.model} at {self._arguments.precision}",
        )
        # For the link, which the UI shows while the task waits.
        context["ti"].xcom_push(key="model", value=str(name))
        return self._run(ModelPreparation(model=name, deadline=deadline, timing=self.timing))

    def _resume(self, context: Context, event: Event) -> dict[str, Any]:
        show_precision(context, self._arguments.precision)
        preparation = parse_resumed(ModelPreparation, {**event.resume_state, "timing": self.timing})
        self._take_in(preparation, event.verdict)
        return self._run(preparation)

    def _run(self, preparation: ModelPreparation) -> dict[str, Any]:
        while True:
            step = preparation.step
            if step in _ENDED_BY_DEADLINE and time.time() >= preparation.deadline:
                seen = preparation.note or "nothing was requested yet"
                raise self._error_from(
                    Verdict(Outcome.TIMEOUT, f"last seen: {seen}"), self._what(preparation)
                )
            if step is PrepareStep.READ:
                self._read(preparation)
            elif step is PrepareStep.REQUEST:
                self._request(preparation)
            elif step in (PrepareStep.PAUSE, PrepareStep.WATCH_BEGIN):
                self._log_pause(f"{preparation.model}: {preparation.note}")
                time.sleep(preparation.begin_pause(self._arguments.poll_interval))
            elif step is PrepareStep.WAIT_UNTIL_IDLE:
                self.log.info("%s: %s. Waiting until it is idle.", preparation.model, preparation.note)
                self._take_in(preparation, self._wait(self._new_wait(Until.IDLE, preparation), preparation))
            elif step is PrepareStep.REFUSED:
                what = self._what(preparation)
                raise FireworksRefused(f"{what}: {preparation.note}. {FireworksRefused.hint}")
            elif step is PrepareStep.REQUESTED and self._arguments.wait_for_completion:
                self._take_in(preparation, self._wait(self._new_wait(Until.READY, preparation), preparation))
            else:
                return self._result(preparation)

    def _read(self, preparation: ModelPreparation) -> None:
        try:
            model = self.hook.get_model(preparation.model)
        except ApiError as error:
            if error.is_transient and preparation.on_failed_read(time.time()):
                self.log.warning("%s", error)
                time.sleep(error.retry_after or 0)
            else:
                self._take_in_error(preparation, error)
        else:
            arguments = self._arguments
            preparation.on_read(model, arguments.precision, arguments.accept_precisions, time.time())
            if preparation.step is PrepareStep.READY:
                self.log.info("%s is ready at %s: the API lists it.", model.name, preparation.ready_precision)

    def _request(self, preparation: ModelPreparation) -> None:
        precision = self._arguments.precision
        self.log.info("Requesting the preparation of %s for %s.", preparation.model, precision)
        at = time.time()
        count = self._arguments.accelerator_count
        try:
            # Not hook.prepare_model(), which checks the precision again.
            self.hook.send(api.prepare_model(preparation.model, precision, accelerator_count=count))
        except RefusedError as error:
            preparation.on_refused(error, at)
        except (QuotaExceededError, AccessDeniedError) as error:
            hint = _QUOTA_HINT if isinstance(error, QuotaExceededError) else _DENIED_HINT
            raise error_from_api(error, f"{self._what(preparation)}: {error}", hint=hint) from None
        except ApiError as error:
            if error.is_transient and error.outcome_unknown:
                # The model is read next, and from this process: see on_failed_read().
                preparation.on_unknown_outcome(error, at)
                time.sleep(error.retry_after or 0)
            else:
                preparation.read_again()
                self._take_in_error(preparation, error)
        else:
            preparation.on_accepted(at)
            self.log.info("The API has accepted the request.")

    def _take_in_error(self, preparation: ModelPreparation, error: ApiError) -> None:
        wait = self._new_wait(Until.RESPONSE, preparation)
        self._take_in(preparation, self._wait_after_error(error, wait, preparation))

    def _take_in(self, preparation: ModelPreparation, verdict: Verdict) -> None:
        """Take in how a wait has ended, or raise its error."""
        if verdict.outcome is Outcome.READY:
            preparation.on_waited(verdict)
            if verdict.precision:
                log = self.log.warning if verdict.nothing_seen else self.log.info
                log("%s is ready at %s: %s.", preparation.model, verdict.precision, verdict.reason)
            return
        if verdict.can_prepare_again and preparation.request_again():
            self.log.warning("%s: %s. Requesting it once more.", preparation.model, verdict.reason)
            return
        raise self._error_from(verdict, self._what(preparation))

    def _new_wait(self, until: Until, preparation: ModelPreparation) -> ModelWait:
        return ModelWait(
            model=preparation.model,
            precision=self._arguments.precision,
            accept=self._arguments.accept_precisions,
            require_confirmation=self._arguments.require_confirmation,
            baseline=preparation.baseline,
            history=preparation.history,
            until=until,
            has_responded=self._has_responded,
            deadline=preparation.deadline,
            poll_interval=self._arguments.poll_interval,
            timing=self.timing,
        )

    def _what(self, preparation: ModelPreparation) -> str:
        return f"{preparation.model} at {self._arguments.precision}"

    def _result(self, preparation: ModelPreparation) -> dict[str, Any]:
        precision = preparation.ready_precision or self._arguments.precision
        baseline = preparation.baseline.model_dump(mode="json") if preparation.baseline else None
        return {"model": str(preparation.model), "precision": precision, "baseline": baseline}
