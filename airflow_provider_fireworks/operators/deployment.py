"""Creating deployments, scaling them, deleting them, and finding those that were left behind."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any, NoReturn

from airflow.providers.common.compat.sdk import TaskDeferred, conf

from airflow_provider_fireworks.arguments.deployment import (
    CreateArguments,
    DeleteArguments,
    ScaleArguments,
    SweepArguments,
    check_create_literals,
    check_deployment_literals,
    check_scale_literals,
    check_which,
)
from airflow_provider_fireworks.exceptions import (
    FireworksDeploymentConflict,
    FireworksDeploymentFailed,
    FireworksError,
    FireworksInvalidArgument,
    FireworksModelNotReady,
    FireworksRefused,
    FireworksTimeout,
    error_of_gateway,
    error_of_verdict,
)
from airflow_provider_fireworks.links.deployment import FireworksDeploymentLink
from airflow_provider_fireworks.links.model import FireworksModelLink
from airflow_provider_fireworks.operators.base import FireworksOperator, WaitingOperator
from airflow_provider_fireworks.triggers.deployment import FireworksDeploymentReadyTrigger

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import Context

    from airflow_provider_fireworks.creation import Creation, Owner
    from airflow_provider_fireworks.gateway.errors import GatewayError
    from airflow_provider_fireworks.gateway.shapes import Deployment
    from airflow_provider_fireworks.identity import Identity
    from airflow_provider_fireworks.verdict import Verdict
    from airflow_provider_fireworks.watch import DeploymentWatch, Until, Watch

CLEAN_UP_FOR = 60.0
"""Seconds for which a task that fails tries to delete what it has made, while the gateway does not answer."""
START_LAG = 30.0
"""Seconds of these for which a deployment whose creation went unanswered may yet appear."""
KILL_TIMEOUT = 1.5
"""Seconds for one call while the worker is being killed: SIGKILL follows five seconds after the first signal."""


class FireworksCreateDeploymentOperator(WaitingOperator):
    """
    Deploy a model at a precision: ``POST /v1/accounts/{account}/deployments``. **A deployment costs money.**

    It is looked for first, then whether the model is ready at the precision; only then it is made. Its id comes
    from DAG, run, task and map index, so a retry, a cleared task or a lost answer finds the same deployment and
    takes it over; a softly deleted one is brought back, one that failed is made anew. A deployment of that id
    that another task or a person has made is left alone: ``FireworksDeploymentConflict``.

    Unless replicas are asked for, its minimum is zero: it costs nothing once it has scaled itself to zero.

    Returns ``{"deployment": "accounts/…/deployments/…"}``, the argument of
    :class:`~airflow_provider_fireworks.sensors.deployment.FireworksDeploymentReadySensor`; every key is an XCom
    too, and so is ``inference_model``, by which inference is asked.

    A task that fails deletes the deployment that it has made. One that is killed does so only with
    ``delete_on_kill``; ``FireworksSweepDeploymentsOperator`` finds what was left behind.

    :param model: id or full resource name of the base model.
    :param precision: as the gateway spells it (``"FP8"``); left out, the gateway chooses.
    :param deployment_id: another id than the task's own. It is then the same in every run.
    :param accelerator_type: as the gateway spells it (``"NVIDIA_H100_80GB"``); this or a shape is needed.
    :param accelerator_count: accelerators per replica; left out, the gateway chooses.
    :param deployment_shape: a shape, instead of accelerators. It has its own precision, which must be the one
        asked for, if any; ``"default"`` lets the gateway choose.
    :param min_replica_count: replicas, 0 if left out.
    :param max_replica_count: replicas; left out, the gateway chooses.
    :param display_name: at most 63 characters; made of DAG and task if left out.
    :param extra_spec: further fields of the deployment, as the gateway spells them (``autoscalingPolicy``).
    :param wait_for_completion: wait until it is READY.
    :param wait_for_serving: wait until inference answers, which it may do minutes later. That is asked for a
        token at each look, which wakes the deployment, is billed, and counts as traffic when it is to be deleted.
    :param delete_on_failure: delete it for good if this task fails, by whatever but being killed.
    :param delete_on_kill: delete it if this task is killed, also where it is marked as a success while it runs.
        While it is deferred, Airflow tells of this from 3.3 on only.
    :param dry_run: let the gateway judge the request, and create nothing (``validateOnly``).
    :param deferrable: wait in the triggerer.
    :param poll_interval: seconds between two looks.
    :param timeout: seconds until it gives up, and deletes it.
    :param account_id: the account that it is made in, instead of the connection's.
    :param fireworks_conn_id: the Airflow connection; ``None`` takes ``FIREWORKS_API_KEY`` and its like.
    :raises FireworksInvalidArgument: for arguments that make no sense; nothing was sent.
    :raises FireworksModelNotReady: the gateway does not name the precision; not retried.
    :raises FireworksDeploymentConflict, FireworksAccessDenied, FireworksNotFound, FireworksRefused: not retried.
    :raises FireworksQuotaExceeded, FireworksDeploymentFailed, FireworksTimeout: retried, as the task's ``retries`` say.
    """

    template_fields: Sequence[str] = (
        "model",
        "precision",
        "deployment_id",
        "accelerator_type",
        "accelerator_count",
        "deployment_shape",
        "min_replica_count",
        "max_replica_count",
        "display_name",
        "extra_spec",
        "wait_for_completion",
        "wait_for_serving",
        "delete_on_failure",
        "delete_on_kill",
        "validate_only",
        "deferrable",
        "poll_interval",
        "timeout",
        "account_id",
        "fireworks_conn_id",
    )
    operator_extra_links = (FireworksModelLink(), FireworksDeploymentLink())
    ui_color = "#ffe9d6"

    def __init__(
        self,
        *,
        model: str,
        precision: str | None = None,
        deployment_id: str | None = None,
        accelerator_type: str | None = None,
        accelerator_count: int | None = None,
        deployment_shape: str | None = None,
        min_replica_count: int | None = None,
        max_replica_count: int | None = None,
        display_name: str | None = None,
        extra_spec: dict[str, Any] | None = None,
        wait_for_completion: bool = True,
        wait_for_serving: bool = False,
        delete_on_failure: bool = True,
        delete_on_kill: bool = False,
        dry_run: bool = False,
        deferrable: bool = conf.getboolean("operators", "default_deferrable", fallback=False),
        poll_interval: float = 15,
        timeout: float = 3600,
        account_id: str | None = None,
        fireworks_conn_id: str | None = "fireworks_default",
        **kwargs: Any,
    ) -> None:
        kwargs.setdefault("multiple_outputs", True)
        super().__init__(**kwargs)
        check_create_literals(
            model=model,
            precision=precision,
            deployment_id=deployment_id,
            accelerator_type=accelerator_type,
            accelerator_count=accelerator_count,
            deployment_shape=deployment_shape,
            min_replica_count=min_replica_count,
            max_replica_count=max_replica_count,
            display_name=display_name,
            extra_spec=extra_spec,
        )
        self.model = model
        self.precision = precision
        self.deployment_id = deployment_id
        self.accelerator_type = accelerator_type
        self.accelerator_count = accelerator_count
        self.deployment_shape = deployment_shape
        self.min_replica_count = min_replica_count
        self.max_replica_count = max_replica_count
        self.display_name = display_name
        self.extra_spec = extra_spec
        self.wait_for_completion = wait_for_completion
        self.wait_for_serving = wait_for_serving
        self.delete_on_failure = delete_on_failure
        self.delete_on_kill = delete_on_kill
        # BaseOperator has a method of the argument's name.
        self.validate_only = dry_run
        self.deferrable = deferrable
        self.poll_interval = poll_interval
        self.timeout = timeout
        self.account_id = account_id
        self.fireworks_conn_id = fireworks_conn_id
        self._creation: Creation | None = None
        self._identity: Identity | None = None
        self._killed = False

    @cached_property
    def _arguments(self) -> CreateArguments:
        return CreateArguments.check(**self._rendered())

    def execute(self, context: Context) -> dict[str, Any]:
        """Look, make what is not there, and wait for it."""
        creation = self._begin(context)
        if self._arguments.validate_only:
            return self._validate(creation)
        with self._leaving_nothing_behind(creation):
            return self._go_on(context, creation)

    def resume_execution(self, next_method: str, next_kwargs: dict[str, Any] | None, context: Context) -> Any:
        """Resume as any task does; but where no trigger has ended the wait, nothing is left behind either."""
        try:
            return super().resume_execution(next_method, next_kwargs, context)
        except TaskDeferred:
            raise
        except BaseException:
            if self._creation is None:
                creation = self._begin(context)
                creation.ours = creation.uncertain = True
                with self._leaving_nothing_behind(creation):
                    raise
            raise

    def on_kill(self) -> None:
        """Delete the deployment if that was asked for. Airflow calls it from a signal handler, and goes on here."""
        self._killed = True
        creation = self._creation
        if creation is None or not creation.ours or not self._arguments.delete_on_kill:
            return
        self.log.info("This task is being killed: deleting %s.", creation.deployment)
        self._delete_own(creation, hard=False, seconds=0, timeout=KILL_TIMEOUT)

    def _begin(self, context: Context) -> Creation:
        """Return where the task stands at its start. To find an account out may take a request, and so patience."""
        from airflow_provider_fireworks.creation import Creation
        from airflow_provider_fireworks.identity import Identity
        from airflow_provider_fireworks.watch import Until

        self._identity = Identity.of(context["ti"])
        deadline = time.time() + self._arguments.timeout
        deployment_id = self._arguments.deployment_id or self._identity.deployment_id
        creation = Creation(
            deployment=deployment_id,
            base_model=self._arguments.model,
            deadline=deadline,
            # An earlier try may have been killed right after it had made one.
            ours=context["ti"].try_number > 1,
        )

        def names() -> dict[str, str]:
            return {
                "deployment": str(self.hook.deployment_name(deployment_id)),
                "base_model": str(self.hook.base_model_name(self._arguments.model)),
            }

        watch = self._watch(Until.ANSWER, creation)
        found = self._patiently(names, watch, lambda verdict: self._fail(creation, verdict))
        return creation.model_copy(update=found)

    def _resumed(self, carried: dict[str, Any]) -> Creation:
        from airflow_provider_fireworks.creation import Creation

        return Creation.model_validate(carried)

    def _resume(self, context: Context, creation: Creation, verdict: Verdict) -> dict[str, Any]:
        from airflow_provider_fireworks.identity import Identity

        self._identity = Identity.of(context["ti"])
        with self._leaving_nothing_behind(creation):
            if self._ended(creation, verdict):
                return self._result(creation)
            return self._go_on(context, creation)

    def _go_on(self, context: Context, creation: Creation) -> dict[str, Any]:
        from airflow_provider_fireworks.creation import Step
        from airflow_provider_fireworks.gateway.errors import GatewayError
        from airflow_provider_fireworks.watch import Until

        while True:
            step = creation.step
            if self._killed and self._arguments.delete_on_kill:
                raise FireworksError(f"{creation.deployment}: this task was killed.")
            if step is Step.THERE:
                self._announce(context, creation)
                until = Until.SERVING if self._arguments.wait_for_serving else Until.READY
                if until is Until.READY and (creation.ready or not self._arguments.wait_for_completion):
                    return self._result(creation)
                if self._ended(creation, self._wait(self._watch(until, creation), creation)):
                    return self._result(creation)
            elif step is Step.CONFLICT:
                raise self._conflict(creation)
            elif step is Step.FAILED:
                raise FireworksDeploymentFailed(f"{creation.deployment}: {creation.note}")
            elif step is Step.PAUSE:
                self._pause(creation)
            else:
                try:
                    self._do(step, context, creation)
                except GatewayError as error:
                    self._over(error, creation)

    def _do(self, step: Any, context: Context, creation: Creation) -> None:
        from airflow_provider_fireworks.creation import Step
        from airflow_provider_fireworks.gateway.errors import NotFoundError

        if step is Step.LOOK:
            found = self._find(creation)
            creation.look(found, self._owner_of(context, found), self._arguments.precision)
        elif step is Step.CHECK_MODEL:
            self._check_model(creation)
            creation.model_is_ready()
        elif step is Step.CREATE:
            self._create(creation)
        elif step is Step.UNDELETE:
            self.log.info("%s Undeleting %s.", creation.note, creation.deployment)
            creation.sending(time.time())
            self.hook.undelete_deployment(creation.deployment)
            creation.brought_back()
        elif step is Step.REMOVE:
            self.log.info("%s Deleting %s for good.", creation.note, creation.deployment)
            try:
                self.hook.delete_deployment(creation.deployment, hard=True, ignore_checks=True)
            except NotFoundError:
                self.log.info("It is gone already.")
            creation.look_again()
        elif step is Step.SIGN:
            self.log.info("%s Taking %s over.", creation.note, creation.deployment)
            self.hook.update_deployment(creation.deployment, description=self._signature)
            creation.look_again()

    def _create(self, creation: Creation) -> None:
        from airflow_provider_fireworks.gateway.errors import RefusedError

        if self._arguments.deployment_shape and self._arguments.precision:
            self._check_shape(creation)
        self.log.info("Creating %s, which serves %s.", creation.deployment, creation.base_model)
        creation.sending(time.time())
        try:
            made = self.hook.create_deployment(creation.deployment, self._spec(creation))
        except RefusedError as error:
            if error.status != 409:
                raise
            self.log.info("%s", error)
            creation.id_taken()
        else:
            creation.accepted()
            self.log.info("It is made, its state is %s.", made.state)

    def _over(self, error: GatewayError, creation: Creation) -> None:
        """Take in a call that failed: fail with it, or go on as soon as the gateway answers again."""
        from airflow_provider_fireworks.creation import Step
        from airflow_provider_fireworks.watch import Until

        sent = creation.step in (Step.CREATE, Step.UNDELETE)
        if sent and error.blip and error.may_have_acted:
            creation.lost(error)
        elif sent:
            creation.not_made()
        else:
            creation.look_again()
        if not error.blip:
            raise error_of_gateway(error, f"{creation.deployment}: {error}") from None
        if not (sent and error.may_have_acted):
            self._ended(creation, self._after_blip(error, self._watch(Until.ANSWER, creation), creation))
        else:
            self.log.warning("%s", creation.note)

    def _find(self, creation: Creation) -> Deployment | None:
        from airflow_provider_fireworks.gateway.errors import NotFoundError

        try:
            return self.hook.get_deployment(creation.deployment)
        except NotFoundError:
            if not creation.taken:
                return None
        # Taken and not there: a gateway may show what is softly deleted in its list alone.
        account = creation.deployment.split("/")[1]
        listed = self.hook.list_deployments(account_id=account, show_deleted=True)
        return next((each for each in listed if each.name == creation.deployment), None)

    def _owner_of(self, context: Context, found: Deployment | None) -> Owner:
        from airflow_provider_fireworks.creation import Owner
        from airflow_provider_fireworks.identity import Identity
        from airflow_provider_fireworks.runs import RunState, run_state

        signed = Identity.of_description(found.description if found else None)
        if signed is None or self._identity is None or not signed.same_task(self._identity):
            return Owner.OTHER
        if signed == self._identity:
            return Owner.THIS_TASK
        going = run_state(context["ti"], signed.dag_id, signed.run_id) is RunState.GOING
        return Owner.OTHER if going else Owner.EARLIER_RUN

    def _check_model(self, creation: Creation) -> None:
        from airflow_provider_fireworks.readiness.model import listed_precisions, proven

        model = self.hook.send(self._model_call(creation))
        precision = self._arguments.precision
        if model.state == "UPLOADING":
            raise FireworksModelNotReady(f"{creation.base_model} is still being uploaded.")
        if precision is None or proven(model, precision):
            return
        if model.lists_precisions:
            named = ", ".join(listed_precisions(model))
            raise FireworksModelNotReady(
                f"{creation.base_model} is not ready at {precision}: the gateway names {named}, its state is "
                f"{model.state}. Prepare it first: FireworksPrepareModelOperator, then FireworksModelReadySensor."
            )
        self.log.info(
            "The gateway lists no precisions for %s, so only it can tell whether it is ready at %s.",
            creation.base_model,
            precision,
        )

    def _check_shape(self, creation: Creation) -> None:
        """Refuse a shape that has another precision than was asked for, before it costs anything."""
        planned = self.hook.create_deployment(creation.deployment, self._spec(creation), validate_only=True)
        if planned.precision not in (None, "", "PRECISION_UNSPECIFIED", self._arguments.precision):
            raise FireworksInvalidArgument(
                f"deployment_shape: {self._arguments.deployment_shape} is for {planned.precision}, "
                f"not for {self._arguments.precision} as asked for"
            )

    def _validate(self, creation: Creation) -> dict[str, Any]:
        from airflow_provider_fireworks.gateway.errors import GatewayError

        try:
            self._check_model(creation)
            planned = self.hook.create_deployment(
                creation.deployment, self._spec(creation), validate_only=True
            )
        except GatewayError as error:
            raise error_of_gateway(error, f"{creation.deployment}: {error}") from None
        self.log.info(
            "Nothing is created, since this is a dry run. The gateway would create %s: %s",
            creation.deployment,
            planned.model_dump_json(by_alias=True, exclude_none=True),
        )
        return {"deployment": creation.deployment}

    def _pause(self, creation: Creation) -> None:
        if time.time() >= creation.deadline:
            raise FireworksTimeout(
                f"{creation.deployment}, after {self._arguments.timeout:.0f} s: {creation.note}"
            )
        self.log.info("%s Looking again.", creation.note)
        time.sleep(creation.pause(self._arguments.poll_interval))

    def _conflict(self, creation: Creation) -> FireworksError:
        return FireworksDeploymentConflict(
            f"{creation.deployment} is there already and is left alone: {creation.note}. Wait for it with "
            "FireworksDeploymentReadySensor, delete it, or let this task have an id of its own, without deployment_id."
        )

    def _announce(self, context: Context, creation: Creation) -> None:
        self.log.info("%s: %s.", creation.deployment, creation.note)
        # At once, for the links, and for whatever is to know of it even if this task never ends.
        context["ti"].xcom_push(key="deployment", value=creation.deployment)
        context["ti"].xcom_push(key="inference_model", value=creation.inference_model)

    def _result(self, creation: Creation) -> dict[str, Any]:
        return {"deployment": creation.deployment}

    def _ended(self, creation: Creation, verdict: Verdict) -> bool:
        """Take in how a wait has ended; return whether the task is done with it, or raise where it has failed."""
        from airflow_provider_fireworks.creation import Step
        from airflow_provider_fireworks.verdict import Outcome

        if verdict.outcome is not Outcome.READY:
            self._fail(creation, verdict)
        if creation.step is not Step.THERE:
            return False
        self.log.info("%s: %s.", creation.deployment, verdict.reason)
        return True

    def _fail(self, creation: Creation, verdict: Verdict) -> NoReturn:
        waited = self._arguments.timeout - max(creation.deadline - time.time(), 0)
        raise error_of_verdict(
            verdict,
            f"{creation.deployment}, after {waited:.0f} s: {verdict.reason}",
            failed=FireworksDeploymentFailed,
            timeout=FireworksTimeout,
        )

    def _watch(self, until: Until, creation: Creation) -> DeploymentWatch:
        from airflow_provider_fireworks.watch import DeploymentWatch

        return DeploymentWatch(
            deployment=creation.deployment,
            known=creation.ours and not creation.uncertain,
            appears_by=creation.made_at + START_LAG if creation.made_at else None,
            until=until,
            deadline=creation.deadline,
            poll_interval=self._arguments.poll_interval,
        )

    def _trigger(self, watch: Watch, carry: dict[str, Any]) -> FireworksDeploymentReadyTrigger:
        return FireworksDeploymentReadyTrigger(
            fireworks_conn_id=self._arguments.fireworks_conn_id,
            watch=watch.as_arguments(),
            carry=carry,
            delete_on_kill=self._signature if self._arguments.delete_on_kill else None,
        )

    def _spec(self, creation: Creation) -> dict[str, Any]:
        return self._arguments.spec(
            base_model=creation.base_model,
            display_name=f"{self.dag_id} {self.task_id}"[:63],
            description=self._signature,
        )

    def _model_call(self, creation: Creation) -> Any:
        from airflow_provider_fireworks.gateway import calls
        from airflow_provider_fireworks.gateway.names import parse_model

        return calls.get_model(parse_model(creation.base_model, account=None))

    @property
    def _signature(self) -> str:
        if self._identity is None:
            raise RuntimeError("the task has not begun")
        return self._identity.description

    @contextmanager
    def _leaving_nothing_behind(self, creation: Creation) -> Iterator[None]:
        """Delete what this task has made if the block fails, since Airflow skips a teardown whose setup has failed."""
        self._creation = creation
        try:
            yield
        except TaskDeferred:
            raise
        except BaseException:
            wanted = self._arguments.delete_on_kill if self._killed else self._arguments.delete_on_failure
            if wanted and creation.ours:
                self.log.warning("This task has failed: deleting %s.", creation.deployment)
                self._delete_own(creation, hard=not self._killed, seconds=0 if self._killed else CLEAN_UP_FOR)
            raise

    def _delete_own(
        self, creation: Creation, *, hard: bool, seconds: float, timeout: float | None = None
    ) -> None:
        """
        Delete the deployment if it is this task's; say loudly where that cannot be done.

        :param seconds: for how long to try, while the gateway does not answer or the deployment may yet appear.
        :param timeout: seconds for each call, where it has to be quick.
        """
        from airflow_provider_fireworks.gateway import calls
        from airflow_provider_fireworks.gateway.errors import GatewayError, NotFoundError
        from airflow_provider_fireworks.gateway.names import parse_deployment

        gateway = self.hook.for_signal_handler(timeout=timeout) if timeout else self.hook
        name = parse_deployment(creation.deployment, account=None)
        begun = time.monotonic()
        pause = 1.0
        while True:
            left = begun + seconds - time.monotonic()
            try:
                found = gateway.send(calls.get_deployment(name), attempts=1)
                if found.description != self._signature:
                    self.log.info("%s is not this task's (any more), and is left alone.", name)
                elif found.state not in ("DELETING", "DELETED"):
                    gateway.send(calls.delete_deployment(name, hard=hard, ignore_checks=True), attempts=1)
                    self.log.info("%s is deleted.", name)
                return
            except NotFoundError:
                if not creation.uncertain or left < seconds - START_LAG:
                    self.log.info("There is no %s (any more).", name)
                    return
            except GatewayError as error:
                self.log.warning("%s", error)
                if not error.blip or left <= 0:
                    break
            if left <= 0:
                return
            time.sleep(min(pause, max(left, 0.0)))
            pause = min(pause * 2, 8.0)
        self.log.error(
            "%s could not be deleted. IT MAY COST MONEY: delete it by hand, or let FireworksSweepDeploymentsOperator "
            "find it.",
            name,
        )


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
        check_scale_literals(deployment, replica_count)
        self.deployment = deployment
        self.replica_count = replica_count
        self.wait_for_completion = wait_for_completion
        self.deferrable = deferrable
        self.poll_interval = poll_interval
        self.timeout = timeout
        self.account_id = account_id
        self.fireworks_conn_id = fireworks_conn_id

    @cached_property
    def _arguments(self) -> ScaleArguments:
        return ScaleArguments.check(**self._rendered())

    def execute(self, context: Context) -> dict[str, Any]:
        """Ask for the replicas, and wait for them if told to."""
        from airflow_provider_fireworks.watch import DeploymentWatch, Until

        watch = DeploymentWatch(
            deployment=self._arguments.deployment,
            until=Until.ANSWER,
            deadline=time.time() + self._arguments.timeout,
            poll_interval=self._arguments.poll_interval,
        )

        def scale() -> str:
            name = str(self.hook.deployment_name(self._arguments.deployment))
            self.hook.scale_deployment(name, self._arguments.replica_count)
            return name

        name = self._patiently(scale, watch, self._fail)
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
        from airflow_provider_fireworks.watch import DeploymentWatch

        return DeploymentWatch.model_validate(carried)

    def _resume(self, context: Context, wait: DeploymentWatch, verdict: Verdict) -> dict[str, Any]:
        from airflow_provider_fireworks.verdict import Outcome

        if verdict.outcome is not Outcome.READY:
            self._fail(verdict)
        self.log.info("%s: %s.", wait.deployment, verdict.reason)
        return {"deployment": wait.deployment}

    def _trigger(self, watch: Watch, carry: dict[str, Any]) -> FireworksDeploymentReadyTrigger:
        return FireworksDeploymentReadyTrigger(
            fireworks_conn_id=self._arguments.fireworks_conn_id, watch=watch.as_arguments(), carry=carry
        )

    def _fail(self, verdict: Verdict) -> NoReturn:
        raise error_of_verdict(
            verdict,
            f"{self._arguments.deployment} with {self._arguments.replica_count} replicas: {verdict.reason}",
            failed=FireworksDeploymentFailed,
            timeout=FireworksTimeout,
        )


class FireworksDeleteDeploymentOperator(FireworksOperator):
    """
    Delete a deployment: ``DELETE /v1/accounts/{account}/deployments/{deployment}``. One that is gone is a success.

    It is named, or found by the task that created it in this run, whether or not that task ever got to tell its
    name: ``FireworksDeleteDeploymentOperator(task_id="remove", created_by="deploy").as_teardown(setups=deploy)``.
    A deployment that was made by anything else is then left alone. While the gateway does not answer it goes on
    trying.

    Returns ``{"deleted": ["accounts/…/deployments/…"]}``, which is an XCom too.

    :param deployment: id or full resource name; this or ``created_by``.
    :param created_by: id of the task that created it, as written in the DAG file: inside of a task group without
        the group's. Mapped alike, each deletes its own; not mapped, it deletes all that a mapped task has created.
    :param hard: for good. Otherwise its id stays taken for some days, and it can be undeleted.
    :param ignore_checks: also if it has served within the last hour, which the gateway refuses otherwise.
    :param timeout: seconds for which it tries, while the gateway does not answer.
    :param account_id: the account of a deployment id, instead of the connection's.
    :param fireworks_conn_id: the Airflow connection; ``None`` takes ``FIREWORKS_API_KEY`` and its like.
    :raises FireworksInvalidArgument: for arguments that make no sense; nothing was sent.
    :raises FireworksRefused: the gateway's reason; not retried.
    :raises FireworksTimeout: retried, as the task's ``retries`` say.
    """

    template_fields: Sequence[str] = (
        "deployment",
        "created_by",
        "hard",
        "ignore_checks",
        "timeout",
        "account_id",
        "fireworks_conn_id",
    )
    ui_color = "#f3f3f3"

    def __init__(
        self,
        *,
        deployment: str | None = None,
        created_by: str | None = None,
        hard: bool = False,
        ignore_checks: bool = False,
        timeout: float = 600,
        account_id: str | None = None,
        fireworks_conn_id: str | None = "fireworks_default",
        **kwargs: Any,
    ) -> None:
        kwargs.setdefault("multiple_outputs", True)
        super().__init__(**kwargs)
        check_which(deployment, created_by)
        self.deployment = deployment
        self.created_by = created_by
        self.hard = hard
        self.ignore_checks = ignore_checks
        self.timeout = timeout
        self.account_id = account_id
        self.fireworks_conn_id = fireworks_conn_id

    @cached_property
    def _arguments(self) -> DeleteArguments:
        return DeleteArguments.check(**self._rendered())

    def execute(self, context: Context) -> dict[str, Any]:
        """Find what is to be deleted, and delete it."""
        from airflow_provider_fireworks.watch import DeploymentWatch, Until

        watch = DeploymentWatch(
            deployment=self._arguments.deployment or f"what {self._arguments.created_by} has created",
            until=Until.ANSWER,
            deadline=time.time() + self._arguments.timeout,
            poll_interval=0,
        )
        names = self._patiently(lambda: self._which(context), watch, self._fail)
        return {
            "deleted": [
                name for name in names if self._patiently(partial(self._delete, name), watch, self._fail)
            ]
        }

    def _which(self, context: Context) -> list[str]:
        """Return the full names of what is to be deleted."""
        from airflow_provider_fireworks.gateway.errors import NotFoundError
        from airflow_provider_fireworks.identity import Identity

        if self._arguments.deployment is not None:
            return [str(self.hook.deployment_name(self._arguments.deployment))]
        creator = self._creator()
        mine = Identity.of(context["ti"])
        mapped = creator.is_mapped or creator.get_closest_mapped_task_group() is not None
        signed = replace(mine, task_id=creator.task_id, map_index=mine.map_index if mapped else -1)
        all_of_them = mapped and mine.map_index < 0
        if all_of_them or creator.is_mapped or getattr(creator, "deployment_id", None) is not None:
            return [
                each.name
                for each in self.hook.list_deployments()
                if (made_by := Identity.of_description(each.description)) is not None
                and signed == (replace(made_by, map_index=-1) if all_of_them else made_by)
            ]
        name = str(self.hook.deployment_name(signed.deployment_id))
        try:
            found = self.hook.get_deployment(name)
        except NotFoundError:
            # Deleted all the same: what was only just made may not show yet.
            return [name]
        if found.description == signed.description:
            return [name]
        self.log.warning("%s was not made by %s, and is left alone.", name, signed)
        return []

    def _creator(self) -> Any:
        """Return the task that ``created_by`` names, looked for in this task's group first, and then further out."""
        tasks = self.dag.task_dict
        groups = self.task_id.split(".")[:-1]
        for depth in range(len(groups), -1, -1):
            task_id = ".".join([*groups[:depth], self._arguments.created_by or ""])
            if task_id in tasks:
                return tasks[task_id]
        raise FireworksInvalidArgument(
            f"created_by: there is no task {self._arguments.created_by!r} in the DAG; "
            f"there are {', '.join(sorted(tasks))}"
        )

    def _delete(self, name: str) -> bool:
        """Delete one; return whether there was anything to delete."""
        from airflow_provider_fireworks.gateway.errors import NotFoundError, RefusedError

        try:
            self.hook.delete_deployment(
                name, hard=self._arguments.hard, ignore_checks=self._arguments.ignore_checks
            )
        except NotFoundError:
            self.log.info("%s is gone already.", name)
            return False
        except RefusedError as error:
            if self.hook.get_deployment(name).state in ("DELETING", "DELETED"):
                self.log.info("%s is deleted already.", name)
                return False
            hint = (
                ""
                if self._arguments.ignore_checks
                else " If it has served within the last hour, ignore_checks=True deletes it nevertheless."
            )
            raise FireworksRefused(f"{name} was not deleted: {error}.{hint}") from None
        self.log.info("%s is deleted.", name)
        return True

    def _fail(self, verdict: Verdict) -> NoReturn:
        which = self._arguments.deployment or f"What {self._arguments.created_by} has created"
        raise error_of_verdict(
            verdict,
            f"{which} could not be deleted and may cost money: {verdict.reason}",
            failed=FireworksDeploymentFailed,
            timeout=FireworksTimeout,
        )


class FireworksSweepDeploymentsOperator(FireworksOperator):
    """
    Find the deployments that tasks have made in runs which are over, and delete them if told to.

    They are told by the description that
    :class:`FireworksCreateDeploymentOperator` gives them: ``GET /v1/accounts/{account}/deployments``. What people
    or another Airflow have made is left alone, and so is what belongs to a run that goes on.
    **A deployment that is meant to outlive its run is found as well**: name it in ``keep``.

    Returns ``{"left_behind": [{"deployment", "state", "dag_id", "run_id", "task_id", "map_index", "run", "deleted"},
    …]}``, where ``run`` is ``ended``, or ``unknown`` if Airflow has no such run any more. It is an XCom too.

    :param delete: delete them, softly; else they are only listed.
    :param keep: ids or full resource names of deployments that are to stay.
    :param ignore_checks: also those that have served within the last hour. By default the gateway refuses to
        delete these; they are listed, and left for the next time.
    :param account_id: the account to sweep, instead of the connection's.
    :param fireworks_conn_id: the Airflow connection; ``None`` takes ``FIREWORKS_API_KEY`` and its like.
    :raises FireworksError: if any of them could not be deleted for another reason, after all have been tried.
    """

    template_fields: Sequence[str] = ("delete", "keep", "ignore_checks", "account_id", "fireworks_conn_id")
    ui_color = "#f3f3f3"

    def __init__(
        self,
        *,
        delete: bool = False,
        keep: Sequence[str] = (),
        ignore_checks: bool = False,
        account_id: str | None = None,
        fireworks_conn_id: str | None = "fireworks_default",
        **kwargs: Any,
    ) -> None:
        kwargs.setdefault("multiple_outputs", True)
        super().__init__(**kwargs)
        for each in keep if isinstance(keep, (list, tuple)) else [keep]:
            check_deployment_literals(each)
        self.delete = delete
        self.keep = keep
        self.ignore_checks = ignore_checks
        self.account_id = account_id
        self.fireworks_conn_id = fireworks_conn_id

    @cached_property
    def _arguments(self) -> SweepArguments:
        return SweepArguments.check(**self._rendered())

    def execute(self, context: Context) -> dict[str, Any]:
        """List, ask Airflow for the runs, and delete."""
        from airflow_provider_fireworks.gateway.errors import GatewayError

        try:
            found = self._left_behind(context)
        except GatewayError as error:
            raise error_of_gateway(error, f"The deployments cannot be listed: {error}") from None
        failures = []
        for each in found:
            told = f"{each['deployment']} ({each['state']}), made by task {each['task_id']} of DAG {each['dag_id']}"
            self.log.warning("%s: its run %s is %s.", told, each["run_id"], each["run"])
            if self._arguments.delete:
                try:
                    each["deleted"] = self._delete(each["deployment"])
                except GatewayError as error:
                    self.log.error("%s could not be deleted: %s", each["deployment"], error)
                    failures.append(f"{each['deployment']}: {error}")
        deleted = sum(each["deleted"] for each in found)
        self.log.info("%d deployments were left behind, %d of them are deleted now.", len(found), deleted)
        if failures:
            raise FireworksError(
                f"{len(failures)} deployments could not be deleted and may cost money: {'; '.join(failures)}"
            )
        return {"left_behind": found}

    def _left_behind(self, context: Context) -> list[dict[str, Any]]:
        from airflow_provider_fireworks.identity import Identity
        from airflow_provider_fireworks.runs import RunState, run_state

        here = Identity.of(context["ti"]).airflow
        keep = {str(self.hook.deployment_name(each)) for each in self._arguments.keep}
        runs: dict[tuple[str, str], RunState] = {}
        found = []
        for each in self.hook.list_deployments():
            made_by = Identity.of_description(each.description)
            if made_by is None or made_by.airflow != here or each.name in keep:
                continue
            if each.state in ("DELETING", "DELETED"):
                continue
            run = (made_by.dag_id, made_by.run_id)
            if run not in runs:
                runs[run] = run_state(context["ti"], *run)
            if runs[run] is RunState.GOING:
                continue
            found.append(
                {
                    "deployment": each.name,
                    "state": each.state,
                    "dag_id": made_by.dag_id,
                    "run_id": made_by.run_id,
                    "task_id": made_by.task_id,
                    "map_index": made_by.map_index,
                    "run": runs[run].value,
                    "deleted": False,
                }
            )
        return found

    def _delete(self, name: str) -> bool:
        from airflow_provider_fireworks.gateway.errors import NotFoundError, RefusedError

        try:
            self.hook.delete_deployment(name, ignore_checks=self._arguments.ignore_checks)
        except NotFoundError:
            return True
        except RefusedError as error:
            if self._arguments.ignore_checks:
                raise
            self.log.warning("%s is left for the next time: %s", name, error)
            return False
        return True
