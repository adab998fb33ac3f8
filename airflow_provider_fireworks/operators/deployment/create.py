"""Creating a deployment, and waiting for it."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, NoReturn

from airflow.providers.common.compat.sdk import TaskDeferred, conf

from airflow_provider_fireworks.arguments import CreateArguments
from airflow_provider_fireworks.changes import digest_of
from airflow_provider_fireworks.client import calls
from airflow_provider_fireworks.client.errors import GatewayError, NotFoundError, RefusedError
from airflow_provider_fireworks.client.names import parse_deployment, parse_model
from airflow_provider_fireworks.client.shapes import Deployment
from airflow_provider_fireworks.creation import Creation, Owner, Step
from airflow_provider_fireworks.exceptions import (
    FireworksBadConnection,
    FireworksDeploymentConflict,
    FireworksDeploymentFailed,
    FireworksError,
    FireworksInvalidArgument,
    FireworksModelNotReady,
    add_to_message,
    error_of_gateway,
)
from airflow_provider_fireworks.identity import Identity
from airflow_provider_fireworks.links.deployment import FireworksDeploymentLink
from airflow_provider_fireworks.links.model import FireworksDeployedModelLink
from airflow_provider_fireworks.operators.base import WaitingOperator, show_precision
from airflow_provider_fireworks.operators.deployment import cleanup
from airflow_provider_fireworks.readiness.model import listed_precisions, proven
from airflow_provider_fireworks.removal import MONEY, remove
from airflow_provider_fireworks.runs import RUNNING, RunState, is_over, run_state, state_in_worker
from airflow_provider_fireworks.triggers.deployment import FireworksDeploymentReadyTrigger
from airflow_provider_fireworks.verdict import Outcome, Verdict
from airflow_provider_fireworks.watch import DeploymentWatch, Until, Watch

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import Context


CLEAN_UP_FOR = 60.0
"""Seconds for which a task that fails tries to delete what it has made, while the gateway does not answer."""
CLEAN_UP_WHEN_KILLED_FOR = 3.0
"""The same for one that is killed: SIGKILL follows five seconds after the first signal …"""
KILL_TIMEOUT = 1.5
"""… and so no call waits for longer than these seconds, to connect and for an answer."""

_TOLD = {
    "name",
    "base_model",
    "precision",
    "accelerator_type",
    "accelerator_count",
    "deployment_shape",
    "min_replica_count",
    "max_replica_count",
}


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

    A task that fails deletes the deployment that it created, and so does one that is killed, unless another try or
    another task of the run may still use it. What could not be deleted is named in the exception;
    ``FireworksSweepDeploymentsOperator`` finds it once the run is over.

    :param prepared: the whole result of the prepare operator or of the model sensor, ``ready.output``, instead of
        ``model`` and ``precision``; one of the two ways is needed.
    :param model: id or full resource name of the base model.
    :param precision: as the API spells it (``"FP8"``); left out, the API chooses.
    :param deployment_id: another id than the task's own. It is then the same in every run, and a later run takes
        over what an earlier one, which is over, has left.
    :param accelerator_type: as the gateway spells it (``"NVIDIA_H100_80GB"``); this or a shape is needed.
    :param accelerator_count: accelerators per replica; left out, the gateway chooses.
    :param deployment_shape: a shape, instead of accelerators. It has its own precision, which must be the one
        asked for, if any; ``"default"`` lets the gateway choose.
    :param min_replica_count: replicas, 0 if left out.
    :param max_replica_count: replicas; left out, the gateway chooses.
    :param display_name: at most 63 characters; made of DAG and task if left out.
    :param extra_spec: further fields of the deployment, as the gateway spells them (``autoscalingPolicy``).
    :param wait_for_completion: wait until it is READY.
    :param wait_for_inference: wait until inference answers, which it may do minutes later. That is asked for a
        token at each look, which wakes the deployment, is billed, and counts as traffic when it is to be deleted.
    :param delete_on_failure: delete it for good if this task fails. One that it adopted from an earlier run stays.
    :param delete_on_kill: delete it softly if this task is killed while it runs or, from Airflow 3.3 on, while it is
        deferred; ``None`` means as ``delete_on_failure``. The task then asks Airflow for its own state. It deletes
        only after ``failed``, ``skipped`` (``dagrun_timeout``, ``fail_fast``), ``upstream_failed`` and ``removed``,
        or if the run was deleted; a task that is marked as a success or cleared keeps its deployment. A worker that
        is shut down keeps it for the next try, or, if no retry is left, does as ``delete_on_failure`` says.
    :param validate_only: let the gateway judge the request, and create nothing (``validateOnly``).
    :param deferrable: wait in the triggerer.
    :param poll_interval: seconds between two looks.
    :param timeout: seconds until it gives up, and deletes it.
    :param account_id: the account that it is made in, instead of the connection's.
    :param fireworks_conn_id: the Airflow connection; ``None`` takes ``FIREWORKS_API_KEY`` and its like.
    :raises FireworksInvalidArgument: for arguments that make no sense; nothing was sent.
    :raises FireworksModelNotReady: the gateway does not name the precision; not retried.
    :raises FireworksDeploymentConflict, FireworksAccessDenied, FireworksNotFound, FireworksRefused,
        FireworksBadConnection: not retried.
    :raises FireworksQuotaExceeded, FireworksDeploymentFailed, FireworksTimeout: retried, as the task's ``retries`` say.
    """

    template_fields: Sequence[str] = (
        "prepared",
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
        "wait_for_inference",
        "delete_on_failure",
        "delete_on_kill",
        "validate_only",
        "deferrable",
        "poll_interval",
        "timeout",
        "account_id",
        "fireworks_conn_id",
    )
    operator_extra_links = (FireworksDeployedModelLink(), FireworksDeploymentLink())
    ui_color = "#ffe9d6"

    def __init__(
        self,
        *,
        prepared: dict[str, Any] | None = None,
        model: str | None = None,
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
        wait_for_inference: bool = False,
        delete_on_failure: bool = True,
        delete_on_kill: bool | None = None,
        validate_only: bool = False,
        deferrable: bool = conf.getboolean("operators", "default_deferrable", fallback=False),
        poll_interval: float = 15,
        timeout: float = 3600,
        account_id: str | None = None,
        fireworks_conn_id: str | None = "fireworks_default",
        **kwargs: Any,
    ) -> None:
        kwargs.setdefault("multiple_outputs", True)
        super().__init__(**kwargs)
        self.prepared = prepared
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
        self.wait_for_inference = wait_for_inference
        self.delete_on_failure = delete_on_failure
        self.delete_on_kill = delete_on_kill
        self.validate_only = validate_only
        self.deferrable = deferrable
        self.poll_interval = poll_interval
        self.timeout = timeout
        self.account_id = account_id
        self.fireworks_conn_id = fireworks_conn_id
        CreateArguments.check_literals(**self._rendered())
        self._creation: Creation | None = None
        self._at_work = False
        self._killed = False

    def _enter(self, context: Context) -> None:
        self._ti = context["ti"]
        self._identity = Identity.of(context)

    @cached_property
    def _arguments(self) -> CreateArguments:
        return CreateArguments.check(**self._rendered())

    def execute(self, context: Context) -> dict[str, Any]:
        """Look, make what is not there, and wait for it."""
        self._enter(context)
        try:
            show_precision(context, self._arguments.precision)
            if not self._arguments.validate_only:
                self._push_names()
            creation = self._begin()
        except BaseException as error:
            if self._ti.try_number > 1 and str(self.validate_only) != "True":
                deployment = self.deployment_id or self._identity.deployment_id
                add_to_message(
                    error, f"{deployment} may exist, created by an earlier try of this task: {MONEY}."
                )
            raise
        if self._arguments.validate_only:
            return self._validate(creation)
        if self.hook.known_account is None:
            self._push(creation.deployment, creation.inference_model)
        with self._leaving_nothing_behind(creation):
            return self._go_on(creation)

    def resume_execution(self, next_method: str, next_kwargs: dict[str, Any] | None, context: Context) -> Any:
        """Resume as any task does; but where no trigger has ended the wait, nothing is left behind either."""
        self._enter(context)
        try:
            show_precision(context, self._arguments.precision)
            return super().resume_execution(next_method, next_kwargs, context)
        except TaskDeferred:
            raise
        except BaseException as error:
            if self._creation is None and (problem := self._clean_up_unseen()):
                add_to_message(error, problem)
            raise

    def on_kill(self) -> None:
        """
        End the task where it stands.

        Airflow calls this in the handler of SIGTERM, in the middle of whatever the task does, and would carry on with
        the task afterwards, which could then still create a deployment. Nothing may be asked of Airflow from here:
        the signal may have interrupted a request to it, whose lock is then held for ever.
        """
        self._killed = True
        if self._at_work:
            self._heed_kill()

    def _heed_kill(self) -> None:
        if self._killed:
            raise FireworksError("This task was killed.")

    def _begin(self, *, within: float | None = None) -> Creation:
        """Return where the task stands at its start. To find an account out may take a request, and so patience."""
        deployment_id = self._arguments.deployment_id or self._identity.deployment_id
        creation = Creation(
            deployment=deployment_id,
            base_model=self._arguments.model,
            deadline=time.time() + (self._time_limit.seconds if within is None else within),
            delete_on_failure=self._arguments.delete_on_failure,
            delete_on_kill=self._arguments.deletes_on_kill,
            # An earlier try may have been killed right after it had made one.
            ours=self._ti.try_number > 1,
        )

        def names() -> dict[str, str]:
            return {
                "deployment": str(self.hook.deployment_name(deployment_id)),
                "base_model": str(self.hook.base_model_name(self._arguments.model)),
            }

        watch = self._watch(Until.ANSWER, creation)
        found = self._patiently(names, watch, deployment_id, lambda verdict: self._fail(creation, verdict))
        return creation.model_copy(update=found)

    def _resumed(self, carried: dict[str, Any]) -> Creation:
        return Creation.model_validate(carried)

    def _resume(self, context: Context, creation: Creation, verdict: Verdict) -> dict[str, Any]:
        with self._leaving_nothing_behind(creation):
            if self._ended(creation, verdict):
                return self._result(creation)
            return self._go_on(creation)

    def _go_on(self, creation: Creation) -> dict[str, Any]:
        while True:
            self._heed_kill()
            step = creation.step
            if step is Step.THERE:
                until = Until.SERVING if self._arguments.wait_for_inference else Until.READY
                waits = self._arguments.wait_for_completion or until is Until.SERVING
                if not waits and creation.uncertain:
                    # The tasks that follow must find it, if only to delete it.
                    creation.look_again()
                    continue
                self.log.info("%s: %s.", creation.deployment, creation.note)
                if not waits or (until is Until.READY and creation.ready):
                    return self._result(creation)
                if self._ended(creation, self._wait(self._watch(until, creation), creation)):
                    return self._result(creation)
            elif step is Step.CONFLICT:
                if not creation.own_conflict:
                    # A task that deletes whatever this one pushed must leave the other's deployment alone.
                    self._push(None, None)
                other_id = " Or leave deployment_id out." if self._arguments.deployment_id else ""
                raise FireworksDeploymentConflict(
                    f"{creation.deployment} is there already and is left alone: {creation.note}. "
                    f"{FireworksDeploymentConflict.what_to_do}{other_id}"
                )
            elif step is Step.FAILED:
                self._fail(creation, Verdict(Outcome.FAILED, creation.note))
            elif step is Step.PAUSE:
                self._pause(creation)
            else:
                try:
                    self._do(step, creation)
                except GatewayError as error:
                    self._over(error, creation)

    def _do(self, step: Step, creation: Creation) -> None:
        """Make the calls of a step, and take in what comes of them."""
        if step is Step.LOOK:
            self._look(creation)
        elif step is Step.CHECK_MODEL:
            self._check_model(creation)
            shape_and_precision = bool(self._arguments.deployment_shape and self._arguments.precision)
            creation.model_is_ready(check_shape=shape_and_precision)
        elif step is Step.CHECK_SHAPE:
            self._check_shape(creation)
        elif step is Step.CREATE:
            self._create(creation)
        elif step is Step.UNDELETE:
            self.log.info("%s Undeleting %s.", creation.note, creation.deployment)
            self._heed_kill()
            creation.sending(time.time())
            self._undelete(creation)
        elif step is Step.REMOVE:
            self.log.info("%s Deleting %s for good.", creation.note, creation.deployment)
            self._remove(creation)
        elif step is Step.UPDATE:
            self.log.info("%s Updating %s.", creation.note, creation.deployment)
            description = self._signature(creation, kept=creation.kept).description
            self.hook.update_deployment(creation.deployment, description=description, **creation.updates)
            creation.changed("It was updated.")

    def _over(self, error: GatewayError, creation: Creation) -> None:
        """Take in a call that failed: fail with it, or go on as soon as the gateway answers again."""
        sent = creation.step in (Step.CREATE, Step.UNDELETE)
        if sent and error.blip and error.may_have_acted:
            creation.lost(error)
            self.log.warning("%s", creation.note)
            if not error.retry_after:
                return
            # The look that is to follow has to wait.
        elif sent:
            creation.not_made()
        creation.look_again()
        if not error.blip:
            raise error_of_gateway(error, f"{creation.deployment}: {error}") from None
        self._ended(creation, self._after_blip(error, self._watch(Until.ANSWER, creation), creation))

    def _look(self, creation: Creation) -> None:
        found: Deployment | None = None
        try:
            found = self.hook.get_deployment(creation.deployment)
        except NotFoundError:
            if creation.taken:
                # A gateway may show what is softly deleted in its list alone.
                account = creation.deployment.split("/")[1]
                listed = self.hook.list_deployments(account_id=account, show_deleted=True)
                found = next((each for each in listed if each.name == creation.deployment), None)
        owner, whose = self._owner_of(found)
        creation.look(found, owner, self._spec(creation), now=time.time(), whose=whose)

    def _owner_of(self, found: Deployment | None) -> tuple[Owner, str]:
        """Return whose a deployment is, also in words."""
        mine = self._identity
        signed = Identity.of_description(found.description if found else None)
        if signed is None:
            return Owner.OTHER, "something else than a task of this provider"
        if signed == mine:
            return Owner.THIS_TASK, str(signed)
        if not signed.same_task(mine):
            return Owner.OTHER, str(signed)
        if run_state(self._ti, signed.dag_id, signed.run_id) is RunState.GOING:
            return Owner.OTHER, f"{signed}, which is still going on"
        return Owner.EARLIER_RUN, str(signed)

    def _check_model(self, creation: Creation) -> None:
        """Fail unless the model can be deployed at the precision, as far as the gateway tells."""
        model = self.hook.send(calls.get_model(parse_model(creation.base_model, account=None)))
        precision = self._arguments.precision
        if model.state == "UPLOADING":
            raise FireworksModelNotReady(
                f"{creation.base_model} is still being uploaded. A FireworksModelReadySensor waits for it."
            )
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
        try:
            self._plan(creation)
        except RefusedError as error:
            if error.status != 409:
                raise
            creation.id_taken()
        else:
            creation.shape_fits()

    def _create(self, creation: Creation) -> None:
        self.log.info("Creating %s, which serves %s.", creation.deployment, creation.base_model)
        self._heed_kill()
        creation.sending(time.time())
        spec = {**self._spec(creation), "description": self._signature(creation).description}
        try:
            made = self.hook.create_deployment(creation.deployment, spec)
        except RefusedError as error:
            if error.status != 409:
                raise
            self.log.info("%s", error)
            creation.not_made()
            creation.id_taken()
        else:
            creation.was_accepted()
            self.log.info("It is made, its state is %s.", made.state)

    def _undelete(self, creation: Creation) -> None:
        try:
            self.hook.undelete_deployment(creation.deployment)
        except NotFoundError:
            # Its time was over since the look. Now its id is free.
            creation.not_made()
            creation.changed("It is gone for good, and cannot be brought back.")
        else:
            creation.brought_back()

    def _remove(self, creation: Creation) -> None:
        try:
            self.hook.delete_deployment(creation.deployment, hard=True, ignore_checks=True)
        except NotFoundError:
            self.log.info("It is gone already.")
        creation.changed("It was deleted.")

    def _plan(self, creation: Creation) -> Deployment:
        """
        Return what would be created.

        :raises FireworksInvalidArgument: for a shape that is not for the precision that was asked for.
        """
        spec = self._spec(creation)
        planned = self.hook.create_deployment(creation.deployment, spec, validate_only=True)
        precision = self._arguments.precision
        if self._arguments.deployment_shape and precision and planned.precision != precision:
            raise FireworksInvalidArgument(
                f"deployment_shape: {self._arguments.deployment_shape} is for {planned.precision or 'no precision'}, "
                f"not for {precision} as asked for. Without precision, the shape's own is taken."
            )
        return planned

    def _validate(self, creation: Creation) -> dict[str, Any]:
        def plan() -> Deployment:
            self._check_model(creation)
            return self._plan(creation)

        watch = self._watch(Until.ANSWER, creation)
        planned = self._patiently(
            plan, watch, creation.deployment, lambda verdict: self._fail(creation, verdict)
        )
        self.log.info(
            "Nothing is created, since validate_only is set. The gateway would create %s: %s",
            creation.deployment,
            # No more of it: extra_spec may hold secrets.
            planned.model_dump_json(by_alias=True, exclude_none=True, include=_TOLD),
        )
        # One of this id may be somebody's: a task that deletes what this one returns must not find it.
        return {"deployment": None}

    def _pause(self, creation: Creation) -> None:
        if time.time() >= creation.deadline:
            self._fail(creation, Verdict(Outcome.TIMEOUT, creation.note))
        self._note(creation.note)
        time.sleep(creation.pause(self._arguments.poll_interval, time.time()))

    def _push_names(self) -> None:
        """
        Push the names before any request, so that a task which deletes the deployment knows it whatever happens.

        Where the account has to be looked up, these are bare ids, replaced as soon as it is known.
        """
        model = self._arguments.model
        deployment = self._arguments.deployment_id or self._identity.deployment_id
        with suppress(FireworksBadConnection):
            if self.hook.known_account is not None:
                model = str(self.hook.base_model_name(model))
                deployment = str(self.hook.deployment_name(deployment))
        self._push(deployment, f"{model}#{deployment}")

    def _push(self, deployment: str | None, inference_model: str | None) -> None:
        self._ti.xcom_push(key="deployment", value=deployment)
        self._ti.xcom_push(key="inference_model", value=inference_model)

    def _result(self, creation: Creation) -> dict[str, Any]:
        return {"deployment": creation.deployment}

    def _ended(self, creation: Creation, verdict: Verdict) -> bool:
        """Take in how a wait has ended; return whether the task is done with it, or raise where it has failed."""
        if verdict.outcome is Outcome.NOT_FOUND and creation.uncertain:
            # It has never come to show: a look decides.
            creation.look_again()
            return False
        if verdict.outcome is Outcome.FAILED:
            creation.settled()
        if verdict.outcome is not Outcome.READY:
            self._fail(creation, verdict)
        if creation.step is not Step.THERE:
            return False
        self.log.info("%s: %s.", creation.deployment, verdict.reason)
        return True

    def _fail(self, creation: Creation, verdict: Verdict) -> NoReturn:
        raise self._error_of(verdict, creation.deployment, failed=FireworksDeploymentFailed)

    def _watch(self, until: Until, creation: Creation) -> DeploymentWatch:
        return DeploymentWatch(
            deployment=creation.deployment,
            known=creation.ours and not creation.uncertain,
            appears_by=creation.appears_by,
            until=until,
            answered=self._has_answered,
            deadline=creation.deadline,
            poll_interval=self._arguments.poll_interval,
        )

    def _trigger(self, watch: Watch, carry: dict[str, Any]) -> FireworksDeploymentReadyTrigger:
        deletes = self._arguments.deletes_on_kill and not carry.get("kept")
        return FireworksDeploymentReadyTrigger(
            fireworks_conn_id=self._arguments.fireworks_conn_id,
            watch=watch.as_arguments(),
            carry=carry,
            delete_on_kill=self._identity.description if deletes else None,
        )

    def _spec(self, creation: Creation) -> dict[str, Any]:
        return self._arguments.spec(
            base_model=creation.base_model,
            display_name=f"{self.dag_id} {self.task_id}"[:63],
        )

    def _signature(self, creation: Creation, *, kept: bool = False) -> Identity:
        """Return the identity with what else the signature of the deployment says."""
        named = self._arguments.deployment_id is not None
        return replace(self._identity, kept=kept, named=named, digest=digest_of(self._spec(creation)))

    @contextmanager
    def _leaving_nothing_behind(self, creation: Creation) -> Iterator[None]:
        """Delete what this task has made if the block fails, since Airflow skips a teardown whose setup has failed."""
        self._creation = creation
        try:
            self._at_work = True
            yield
            self._at_work = False
        except TaskDeferred:
            self._at_work = False
            raise
        except BaseException as error:
            self._at_work = False
            if problem := self._clean_up(creation):
                add_to_message(error, problem)
            raise

    def _clean_up(self, creation: Creation) -> str | None:
        """
        Delete what this task created, unless it is to be kept. Raises nothing: the task's own error comes first.

        :returns: a sentence for the task's error where a deployment may be left.
        """
        if not creation.ours:
            return None
        if creation.kept:
            return f"{creation.deployment} is kept, as it was there before this task: {MONEY}."
        if not self._killed:
            if creation.delete_on_failure:
                return self._remove_own(creation)
            return f"{creation.deployment} is kept, as delete_on_failure says: {MONEY}."
        # Before anything else, since SIGKILL can follow at any moment.
        self.log.error("This task was killed. Unless it gets to delete %s, %s.", creation.deployment, MONEY)
        state = state_in_worker(self._ti, self._identity)
        if state == RUNNING:
            # Nobody acted on the task: its process is ended, by an eviction or a shutdown.
            if self._ti.try_number <= self._ti.max_tries:
                return f"{creation.deployment} is kept for the next try, which adopts it."
            delete = creation.delete_on_failure
        else:
            delete = creation.delete_on_kill and state is not None and is_over(state)
        if delete:
            return self._remove_own(creation)
        why = "Airflow did not say whether it will still be used" if state is None else f"the task is {state}"
        return f"{creation.deployment} is kept, since {why}: {MONEY}."

    def _remove_own(self, creation: Creation) -> str | None:
        self.log.warning("Deleting %s, since this task failed.", creation.deployment)
        problem = ""
        # A time limit of Airflow's may end the first attempt half way.
        for seconds in (CLEAN_UP_WHEN_KILLED_FOR if self._killed else CLEAN_UP_FOR, CLEAN_UP_WHEN_KILLED_FOR):
            try:
                steps = remove(
                    parse_deployment(creation.deployment, account=None),
                    is_own=lambda found: creation.is_own(found, self._identity),
                    # Softly where a person has a say, who may yet want it back.
                    hard=not self._killed,
                    unread="delete if denied" if creation.accepted else "keep",
                    insist=True,
                    may_yet_appear=creation.uncertain,
                    seconds=seconds,
                )
                gateway = self.hook.hurried(timeout=KILL_TIMEOUT) if self._killed else self.hook
                removed = cleanup.run(steps, gateway, self.log)
            except BaseException as error:
                problem = (
                    f"{creation.deployment} was not deleted and {MONEY}: {error or type(error).__name__}."
                )
                self.log.error("%s", problem)
                if isinstance(error, Exception):
                    break
            else:
                if removed.status != "left":
                    self.log.info("%s", removed.note)
                    return None
                self.log.error("%s", removed.note)
                return removed.note
        return problem

    def _clean_up_unseen(self) -> str | None:
        """Clean up where a deferral has not brought back how far the task had come."""
        try:
            creation = self._begin(within=CLEAN_UP_FOR)
        except Exception as error:
            deployment = self.deployment_id or self._identity.deployment_id
            problem = f"{deployment} was not deleted and {MONEY}: {error}"
            self.log.error("%s", problem)
            return problem
        creation.ours = creation.uncertain = True
        return self._clean_up(creation)
