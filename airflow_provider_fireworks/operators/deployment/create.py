"""The operator that creates a deployment, and waits for it."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

from airflow.providers.common.compat.sdk import TaskDeferred, conf
from pydantic import BaseModel

from airflow_provider_fireworks.airflow_state import RunState, run_state
from airflow_provider_fireworks.arguments import CreateArguments
from airflow_provider_fireworks.client.errors import ApiError, NotFoundError, RefusedError
from airflow_provider_fireworks.client.resources import Deployment
from airflow_provider_fireworks.deployments.changes import digest_of
from airflow_provider_fireworks.deployments.creation import CreateStep, DeploymentCreation
from airflow_provider_fireworks.deployments.ownership import Owner, Ownership
from airflow_provider_fireworks.deployments.removal import MONEY
from airflow_provider_fireworks.deployments.wait import DeploymentWait
from airflow_provider_fireworks.exceptions import (
    FireworksBadConnection,
    FireworksDeploymentConflict,
    FireworksDeploymentFailed,
    FireworksError,
    FireworksInvalidArgument,
    FireworksModelNotReady,
    add_to_message,
    error_from_api,
)
from airflow_provider_fireworks.links import FireworksDeployedModelLink, FireworksDeploymentLink
from airflow_provider_fireworks.models.readiness import confirmed_precision, listed_precisions
from airflow_provider_fireworks.operators.base import WaitingOperator
from airflow_provider_fireworks.operators.deployment.cleanup import CleanUp
from airflow_provider_fireworks.polling import Event, Outcome, Until, Verdict, Wait
from airflow_provider_fireworks.task import parse_resumed, show_precision, with_termination_message
from airflow_provider_fireworks.triggers.base import FireworksTrigger
from airflow_provider_fireworks.triggers.deployment import FireworksDeploymentReadyTrigger

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import Context

_LOGGED_FIELDS = {
    "name",
    "base_model",
    "precision",
    "accelerator_type",
    "accelerator_count",
    "deployment_shape",
    "min_replica_count",
    "max_replica_count",
}
"""Of a deployment that would be created. Not all of them: ``extra_spec`` may hold secrets."""


_WANTS_SHAPE = re.compile(r"deployment[ _]?shape|without a shape|shapeless", re.IGNORECASE)
"""Words of an API that refuses a deployment without a shape. Its real words are not known."""


class FireworksCreateDeploymentOperator(WaitingOperator):
    """
    Deploy a model at a precision: ``POST /v1/accounts/{account}/deployments``. **A deployment costs money.**

    The operator first reads the deployment, then checks whether the model is ready at the precision, and only then
    creates it. The id is made from DAG, run, task and map index, so a retry, a cleared task or a task whose response
    was lost adopts the same deployment. One that was deleted softly is undeleted, one that failed is created again.
    A deployment with this id that somebody else created is left alone: ``FireworksDeploymentConflict``.

    Without ``min_replica_count`` the deployment may scale to zero, and then costs nothing.

    Returns ``{"deployment": "accounts/…/deployments/…"}``, the argument of
    :class:`~airflow_provider_fireworks.sensors.deployment.FireworksDeploymentReadySensor`. It is an XCom too, and so is
    ``inference_model``, the ``model`` of an inference request.

    A task that fails deletes the deployment that it created, and so does one that is killed, unless another try or
    another task of the run may still use it. If that does not work, the exception names the deployment, and
    ``FireworksSweepDeploymentsOperator`` finds it once the run is over.

    Example::

        deploy = FireworksCreateDeploymentOperator(
            task_id="deploy", prepared=ready.output, accelerator_type="NVIDIA_H100_80GB"
        )

    :param prepared: the whole result of the prepare operator or of the model sensor, ``ready.output``, instead of
        ``model`` and ``precision``.
    :param model: id or full resource name of the base model.
    :param precision: as the API spells it (``"FP8"``); without it, the API chooses.
    :param deployment_id: another id than the task's own. It is the same in every run, so a later run adopts the
        deployment of an earlier one that is over.
    :param accelerator_type: as the API spells it (``"NVIDIA_H100_80GB"``). This or a shape is required.
    :param accelerator_count: accelerators per replica; without it, the API chooses.
    :param deployment_shape: a shape, instead of accelerators; ``"default"`` lets the API choose. A shape has its own
        precision, which must be the requested one, if any.
    :param min_replica_count: replicas, 0 by default.
    :param max_replica_count: replicas; without it, the API chooses.
    :param display_name: at most 63 characters; made from DAG and task by default.
    :param tags: tags of the deployment, by key. Their keys begin with ``custom/``, which is added where it is missing.
        If they are given (``{}`` is enough), ``custom/airflow-dag``, ``-run`` and ``-task`` are added. They are set
        when the deployment is created, and not updated later.
    :param extra_spec: further fields of the deployment, as the API spells them (``autoscalingPolicy``).
    :param accept_shapeless_risk: consent to a deployment without a shape, if the API asks for it.
    :param wait_for_completion: wait until the deployment is READY.
    :param wait_for_inference: wait until inference answers, whatever the state says; it can take minutes more. Once a
        replica may be there, each poll requests a token, which wakes the deployment, is billed, and counts as recent
        traffic when it is deleted. The XCom ``inference_model`` is then the name that has answered.
    :param capacity_timeout: seconds that Fireworks may have no GPUs for the deployment, before the task fails and
        deletes it; ``None`` for as long as the task waits.
    :param delete_on_failure: if this task fails, delete the deployment for good, unless it was adopted from an earlier
        run.
    :param delete_on_kill: if this task is killed while it runs or, from Airflow 3.3 on, while it is deferred, delete
        the deployment softly; ``None`` means the same as ``delete_on_failure``. The task first asks Airflow for its own
        state. It deletes only after ``failed``, ``skipped`` (``dagrun_timeout``, ``fail_fast``), ``upstream_failed``
        and ``removed``, or if the run was deleted. A task that is marked as success or cleared keeps its deployment. A
        worker that is shut down keeps it for the next try, or, without one, does as ``delete_on_failure`` says.
    :param validate_only: ask the API to check the request, and create nothing.
    :param deferrable: wait in the triggerer.
    :param poll_interval: seconds between two polls.
    :param timeout: seconds until the task fails, and deletes the deployment.
    :param account_id: the account to create it in, instead of the connection's.
    :param fireworks_conn_id: the Airflow connection; ``None`` reads ``FIREWORKS_API_KEY`` and the like.
    :raises FireworksInvalidArgument: if an argument is invalid; nothing was sent.
    :raises FireworksModelNotReady: if the API does not list the precision; not retried.
    :raises FireworksDeploymentConflict: if the id is taken by somebody else's deployment, or one with other arguments;
        not retried.
    :raises FireworksAccessDenied: if the API rejects the key, or the account may not do this; not retried.
    :raises FireworksNotFound: if the model or the shape does not exist; not retried.
    :raises FireworksRefused: if the API refuses the request for another reason; not retried.
    :raises FireworksBadConnection: if the connection cannot be used; not retried.
    :raises FireworksQuotaExceeded: if the account's quota has no GPUs left; retried.
    :raises FireworksCapacityUnavailable: if Fireworks has had no GPUs for ``capacity_timeout``; retried.
    :raises FireworksDeploymentFailed: if the deployment failed, or was deleted during the wait; retried.
    :raises FireworksTimeout: if the time is over; retried.
    """

    template_fields: Sequence[str] = ("prepared", *CreateArguments.model_fields)
    operator_extra_links = (FireworksDeployedModelLink(), FireworksDeploymentLink())
    ui_color = "#ffe9d6"
    failure_class = FireworksDeploymentFailed
    trigger_class = FireworksDeploymentReadyTrigger

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
        tags: dict[str, str] | None = None,
        extra_spec: dict[str, Any] | None = None,
        accept_shapeless_risk: bool = False,
        wait_for_completion: bool = True,
        wait_for_inference: bool = False,
        capacity_timeout: float | None = None,
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
        self.tags = tags
        self.extra_spec = extra_spec
        self.accept_shapeless_risk = accept_shapeless_risk
        self.wait_for_completion = wait_for_completion
        self.wait_for_inference = wait_for_inference
        self.capacity_timeout = capacity_timeout
        self.delete_on_failure = delete_on_failure
        self.delete_on_kill = delete_on_kill
        self.validate_only = validate_only
        self.deferrable = deferrable
        self.poll_interval = poll_interval
        self.timeout = timeout
        self.account_id = account_id
        self.fireworks_conn_id = fireworks_conn_id
        self._check_literals(CreateArguments)
        self._creation: DeploymentCreation | None = None
        self._kill_may_raise = False
        self._killed = False

    @cached_property
    def _arguments(self) -> CreateArguments:
        return CreateArguments.check(**self._given())

    # ---- called by Airflow

    def execute(self, context: Context) -> dict[str, Any]:
        """Create the deployment unless it exists, and wait for it."""
        self._set_context(context)
        try:
            show_precision(context, self._arguments.precision)
            if not self._arguments.validate_only:
                self._push_names_early()
            creation = self._begin()
        except BaseException as error:
            # Not from self._arguments, which may be what is invalid.
            creates = str(self.validate_only) != "True"
            if creates and self._ti.try_number > 1:
                deployment = self.deployment_id or self._owner.deployment_id
                add_to_message(
                    error, f"{deployment} may exist, created by an earlier try of this task: {MONEY}."
                )
            raise
        if self._arguments.validate_only:
            return self._validate(creation)
        if self.hook.known_account is None:
            self._push_names(str(creation.deployment), creation.inference_model)
        with self._cleaning_up(creation):
            return self._run(creation)

    def resume_execution(self, next_method: str, next_kwargs: dict[str, Any] | None, context: Context) -> Any:
        """Resume as any task does, and also clean up if the wait ended without an event, as by a timeout."""
        self._set_context(context)
        try:
            show_precision(context, self._arguments.precision)
            return super().resume_execution(next_method, next_kwargs, context)
        except TaskDeferred:
            raise
        except BaseException as error:
            if self._creation is None and (problem := self._clean_up_without_state()):
                add_to_message(error, problem)
            raise

    def on_kill(self) -> None:
        """
        Stop the task where it is.

        Airflow calls this in its handler of SIGTERM, in the middle of whatever the task does, and would then continue
        the task, which could still create a deployment. Nothing may be asked of Airflow from here: the signal may have
        interrupted a request to it, whose lock is then held forever.
        """
        self._killed = True
        if self._kill_may_raise:
            self._stop_if_killed()

    # ---- the steps

    def _resume(self, context: Context, event: Event) -> dict[str, Any]:
        creation = parse_resumed(DeploymentCreation, {**event.resume_state, "timing": self.timing})
        with self._cleaning_up(creation):
            if self._after_wait(creation, event.verdict):
                return self._result(creation)
            return self._run(creation)

    def _run(self, creation: DeploymentCreation) -> dict[str, Any]:
        while True:
            self._stop_if_killed()
            try:
                if self._take_step(creation):
                    return self._result(creation)
            except ApiError as error:
                self._take_in_error(error, creation)

    def _take_step(self, creation: DeploymentCreation) -> bool:
        """Take the next step; return whether the task is done."""
        match creation.step:
            case CreateStep.READ:
                self._read(creation)
            case CreateStep.CHECK_MODEL:
                self._check_model(creation)
                creation.on_checked()
            case CreateStep.CHECK_SHAPE:
                self._check_shape(creation)
            case CreateStep.CREATE:
                self._create(creation)
            case CreateStep.UNDELETE:
                self._undelete(creation)
            case CreateStep.REPLACE:
                self._replace(creation)
            case CreateStep.UPDATE:
                self._update(creation)
            case CreateStep.PAUSE:
                self._pause(creation)
            case CreateStep.EXISTS | CreateStep.READY:
                return self._wait_if_asked(creation)
            case CreateStep.FAILED:
                raise self._failure(creation, Verdict(Outcome.FAILED, creation.note))
            case CreateStep.CONFLICT | CreateStep.CHANGED:
                raise self._conflict(creation)
        return False

    def _read(self, creation: DeploymentCreation) -> None:
        found: Deployment | None = None
        try:
            found = self.hook.get_deployment(creation.deployment)
        except NotFoundError:
            if creation.id_taken:
                # The API may show a softly deleted deployment in its list only.
                listed = self.hook.list_deployments(account_id=creation.deployment.account, show_deleted=True)
                found = next((each for each in listed if each.name == str(creation.deployment)), None)
        ownership, whose = self._ownership_of(found)
        creation.on_read(found, ownership, self._spec(creation), now=time.time(), whose=whose)

    def _ownership_of(self, found: Deployment | None) -> tuple[Ownership, str]:
        """Return whose a deployment is, also in words."""
        signed = Owner.from_description(found.description if found else None)
        if signed is None:
            return Ownership.OTHER, "something else than a task of this provider"
        if signed == self._owner:
            return Ownership.THIS_TASK, str(signed)
        if not signed.same_task(self._owner):
            return Ownership.OTHER, str(signed)
        if run_state(self._ti, signed.dag_id, signed.run_id) is RunState.ACTIVE:
            return Ownership.OTHER, f"{signed}, which has not ended"
        return Ownership.EARLIER_RUN, str(signed)

    def _check_model(self, creation: DeploymentCreation) -> None:
        """Fail unless the model can be deployed at the precision, as far as the API says."""
        name = creation.base_model
        model = self.hook.get_model(name)
        precision = self._arguments.precision
        if model.state == "UPLOADING":
            raise FireworksModelNotReady(
                f"{name} is still being uploaded. A FireworksModelReadySensor waits for it."
            )
        if precision is None or confirmed_precision(model, precision):
            return
        if model.lists_precisions:
            listed = ", ".join(listed_precisions(model))
            raise FireworksModelNotReady(
                f"{name} is not ready at {precision}: the API lists {listed}, its state is {model.state}. "
                "Prepare it first: FireworksPrepareModelOperator, then FireworksModelReadySensor."
            )
        self.log.info(
            "The API lists no precisions for %s, so only creating a deployment tells whether it is ready at %s.",
            name,
            precision,
        )

    def _check_shape(self, creation: DeploymentCreation) -> None:
        if self._arguments.deployment_shape and self._arguments.precision:
            try:
                self._plan(creation)
            except RefusedError as error:
                if error.status != 409:
                    raise
                creation.on_id_taken()
                return
        creation.on_checked()

    def _create(self, creation: DeploymentCreation) -> None:
        self.log.info("Creating %s with the model %s.", creation.deployment, creation.base_model)
        self._stop_if_killed()
        creation.before_request(time.time())
        try:
            created = self._send_create(creation, description=self._signature(creation).description)
        except RefusedError as error:
            if error.status != 409:
                raise
            self.log.info("%s", error)
            creation.on_not_carried_out()
            creation.on_id_taken()
        else:
            creation.on_created()
            self.log.info("It was created, its state is %s.", created.state)

    def _send_create(
        self, creation: DeploymentCreation, *, validate_only: bool = False, **more: Any
    ) -> Deployment:
        """Request the deployment, with further fields that do not count as changed arguments."""
        # Not in the digest of the arguments, since the tags name the run.
        if tags := self._arguments.annotations(self._owner):
            more["annotations"] = tags
        try:
            return self.hook.create_deployment(
                creation.deployment,
                {**self._spec(creation), **more},
                validate_only=validate_only,
                accept_shapeless_risk=self._arguments.accept_shapeless_risk,
            )
        except RefusedError as error:
            wants_shape = error.status != 409 and _WANTS_SHAPE.search(error.message)
            may_be_why = not (self._arguments.deployment_shape or self._arguments.accept_shapeless_risk)
            if wants_shape and may_be_why:
                error.add(self._shape_hint(creation))
            raise

    def _shape_hint(self, creation: DeploymentCreation) -> str:
        """Return what to do if the API refuses a deployment without a shape."""
        precision = self._arguments.precision
        at = f" at {precision}" if precision else ""
        try:
            found = self.hook.match_deployment_shapes(creation.base_model)
        except ApiError as error:
            listed = f"they could not be read: {error}"
        else:
            shapes = [each.snapshot for each in found if each.snapshot is not None]
            names = [shape.name for shape in shapes if precision in (None, shape.precision)]
            listed = ", ".join(names) or "the API has none"
        return (
            "This API wants a deployment_shape instead of accelerators. "
            f"Shapes for {creation.base_model}{at}: {listed}. Or set accept_shapeless_risk=True"
        )

    def _undelete(self, creation: DeploymentCreation) -> None:
        self.log.info("%s: %s. Undeleting it.", creation.deployment, creation.note)
        self._stop_if_killed()
        creation.before_request(time.time())
        try:
            self.hook.undelete_deployment(creation.deployment)
        except NotFoundError:
            creation.on_not_carried_out()
            creation.pause("it has expired since it was read, and cannot be undeleted")
        else:
            creation.on_undeleted()

    def _replace(self, creation: DeploymentCreation) -> None:
        self.log.info("%s: %s. Deleting it for good.", creation.deployment, creation.note)
        with suppress(NotFoundError):
            self.hook.delete_deployment(creation.deployment, hard=True, ignore_checks=True)
        creation.pause("it was deleted")

    def _update(self, creation: DeploymentCreation) -> None:
        self.log.info("%s: %s. Updating it.", creation.deployment, creation.note)
        description = self._signature(creation, kept=creation.must_stay).description
        self.hook.update_deployment(creation.deployment, description=description, **creation.updates)
        creation.pause("it was updated")

    def _pause(self, creation: DeploymentCreation) -> None:
        if time.time() >= creation.deadline:
            raise self._error_from(
                Verdict(Outcome.TIMEOUT, f"last seen: {creation.note}"), str(creation.deployment)
            )
        self._log_pause(f"{creation.deployment}: {creation.note}")
        time.sleep(creation.begin_pause(self._arguments.poll_interval, time.time()))

    def _wait_if_asked(self, creation: DeploymentCreation) -> bool:
        until = Until.INFERENCE if self._arguments.wait_for_inference else Until.READY
        waits = self._arguments.wait_for_completion or self._arguments.wait_for_inference
        if not waits and creation.unanswered:
            # The tasks that follow must find it, if only to delete it.
            creation.read_again()
            return False
        self.log.info("%s: %s.", creation.deployment, creation.note)
        if not waits or (until is Until.READY and creation.step is CreateStep.READY):
            return True
        return self._after_wait(creation, self._wait(self._new_wait(until, creation), creation))

    def _after_wait(self, creation: DeploymentCreation, verdict: Verdict) -> bool:
        """Take in how a wait has ended; return whether the task is done.

        :raises FireworksError: if the wait did not end well.
        """
        if verdict.outcome is Outcome.NOT_FOUND and creation.unanswered:
            # It has never become visible. The next read decides.
            creation.read_again()
            return False
        if verdict.outcome is Outcome.FAILED:
            creation.unanswered = 0
        if verdict.outcome is not Outcome.READY:
            raise self._failure(creation, verdict)
        if creation.step not in (CreateStep.EXISTS, CreateStep.READY):
            return False
        if self._arguments.wait_for_inference:
            self._push_names(str(creation.deployment), verdict.inference_model)
        self.log.info("%s: %s.", creation.deployment, verdict.reason)
        return True

    def _failure(self, creation: DeploymentCreation, verdict: Verdict) -> BaseException:
        explained = with_termination_message(verdict, creation.deployment, self)
        return self._error_from(explained, str(creation.deployment))

    def _take_in_error(self, error: ApiError, creation: DeploymentCreation) -> None:
        """Take in a request that failed: raise its error, or continue when the API responds again."""
        if creation.step in (CreateStep.CREATE, CreateStep.UNDELETE):
            if error.is_transient and error.outcome_unknown:
                creation.on_unknown_outcome(error)
                self.log.warning("%s: %s", creation.deployment, creation.note)
                if not error.retry_after:
                    # Read at once. Otherwise the API has asked for a pause before any request.
                    return
            else:
                creation.on_not_carried_out()
        creation.read_again()
        if not error.is_transient:
            raise error_from_api(error, f"{creation.deployment}: {error}") from None
        wait = self._new_wait(Until.RESPONSE, creation)
        self._after_wait(creation, self._wait_after_error(error, wait, creation))

    def _result(self, creation: DeploymentCreation) -> dict[str, Any]:
        return {"deployment": str(creation.deployment)}

    def _conflict(self, creation: DeploymentCreation) -> FireworksDeploymentConflict:
        if creation.step is CreateStep.CONFLICT:
            # A task that deletes whatever this one pushed must leave somebody else's deployment alone.
            self._push_names(None, None)
        other_id = " Or omit deployment_id." if self._arguments.deployment_id else ""
        return FireworksDeploymentConflict(
            f"{creation.deployment} exists already and is left alone: {creation.note}. "
            f"{FireworksDeploymentConflict.hint}{other_id}"
        )

    # ---- validate_only

    def _validate(self, creation: DeploymentCreation) -> dict[str, Any]:
        def plan() -> Deployment:
            self._check_model(creation)
            return self._plan(creation)

        name = str(creation.deployment)
        planned = self._send_patiently(plan, self._response_wait(name, creation.deadline), name)
        self.log.info(
            "Nothing is created, because validate_only is set. The API would create %s: %s",
            name,
            planned.model_dump_json(by_alias=True, exclude_none=True, include=_LOGGED_FIELDS),
        )
        # A task that deletes what this one returns must not find a deployment that somebody else has under this id.
        return {"deployment": None}

    def _plan(self, creation: DeploymentCreation) -> Deployment:
        """
        Return what would be created.

        :raises FireworksInvalidArgument: if the shape is not for the requested precision.
        """
        shape, precision = self._arguments.deployment_shape, self._arguments.precision
        planned = self._send_create(creation, validate_only=True)
        if shape and precision and planned.precision != precision:
            raise FireworksInvalidArgument(
                f"deployment_shape: {shape} is for {planned.precision or 'no precision'}, not for {precision}. "
                "Omit precision to use the shape's own."
            )
        return planned

    # ---- names and arguments

    def _set_context(self, context: Context) -> None:
        self._ti = context["ti"]
        self._owner = Owner.from_context(context)

    def _begin(self, *, within: float | None = None) -> DeploymentCreation:
        """
        Return the state of a task that has not done anything yet. Looking the account up may take a request.

        :param within: seconds, instead of the task's own time limit.
        """
        deployment = self._arguments.deployment_id or self._owner.deployment_id
        deadline = time.time() + (self._time_limit.seconds if within is None else within)
        name, base_model = self._send_patiently(
            lambda: (
                self.hook.deployment_name(deployment),
                self.hook.base_model_name(self._arguments.model),
            ),
            self._response_wait(deployment, deadline),
            deployment,
        )
        return DeploymentCreation(
            deployment=name,
            base_model=base_model,
            deadline=deadline,
            # An earlier try may have been killed right after it had created one.
            may_exist=self._ti.try_number > 1,
            delete_on_failure=self._arguments.delete_on_failure,
            delete_on_kill=self._arguments.deletes_on_kill,
            timing=self.timing,
        )

    def _push_names_early(self) -> None:
        """
        Push the names before any request, so that a task which deletes the deployment knows it whatever happens.

        If the account has to be looked up, these are bare ids, replaced as soon as it is known.
        """
        model = self._arguments.model
        deployment = self._arguments.deployment_id or self._owner.deployment_id
        with suppress(FireworksBadConnection):
            if self.hook.known_account is not None:
                model = str(self.hook.base_model_name(model))
                deployment = str(self.hook.deployment_name(deployment))
        self._push_names(deployment, f"{model}#{deployment}")

    def _push_names(self, deployment: str | None, inference_model: str | None) -> None:
        self._ti.xcom_push(key="deployment", value=deployment)
        self._ti.xcom_push(key="inference_model", value=inference_model)

    def _spec(self, creation: DeploymentCreation) -> dict[str, Any]:
        return self._arguments.spec(
            base_model=str(creation.base_model), display_name=f"{self.dag_id} {self.task_id}"[:63]
        )

    def _signature(self, creation: DeploymentCreation, *, kept: bool = False) -> Owner:
        """Return the owner with the rest of what the signature says."""
        named = self._arguments.deployment_id is not None
        return replace(self._owner, kept=kept, named=named, digest=digest_of(self._spec(creation)))

    def _new_wait(self, until: Until, creation: DeploymentCreation) -> DeploymentWait:
        return DeploymentWait(
            deployment=creation.deployment,
            known=creation.may_exist and not creation.unanswered,
            visible_by=creation.visible_by,
            until=until,
            has_responded=self._has_responded,
            deadline=creation.deadline,
            poll_interval=self._arguments.poll_interval,
            capacity_timeout=self._arguments.capacity_timeout,
            timing=self.timing,
        )

    def _trigger(self, wait: Wait, state: BaseModel | None = None, **arguments: Any) -> FireworksTrigger:
        if isinstance(state, DeploymentCreation) and state.delete_on_kill and not state.must_stay:
            arguments["owner_signature"] = self._owner.description
        return super()._trigger(wait, state, **arguments)

    # ---- failing

    def _stop_if_killed(self) -> None:
        if self._killed:
            raise FireworksError("This task was killed.")

    @contextmanager
    def _cleaning_up(self, creation: DeploymentCreation) -> Iterator[None]:
        """Delete what this task has created if the block fails: Airflow skips a teardown whose setup has failed."""
        self._creation = creation
        try:
            self._kill_may_raise = True
            yield
            self._kill_may_raise = False
        except TaskDeferred:
            self._kill_may_raise = False
            raise
        except BaseException as error:
            self._kill_may_raise = False
            if problem := self._clean_up(creation):
                add_to_message(error, problem)
            raise

    def _clean_up(self, creation: DeploymentCreation) -> str | None:
        return CleanUp(
            creation=creation,
            owner=self._owner,
            get_hook=lambda: self.hook,
            ti=self._ti,
            log=self.log,
            timing=self.timing,
            killed=self._killed,
        ).run()

    def _clean_up_without_state(self) -> str | None:
        """Clean up if a deferral has not brought back the resume state."""
        try:
            creation = self._begin(within=self.timing.cleanup_timeout)
        except Exception as error:
            deployment = self.deployment_id or self._owner.deployment_id
            problem = f"{deployment} was not deleted and {MONEY}: {error}"
            self.log.error("%s", problem)
            return problem
        creation.may_exist, creation.unanswered = True, 1
        return self._clean_up(creation)
