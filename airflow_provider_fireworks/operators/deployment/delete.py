"""The operator that deletes deployments."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any

from airflow_provider_fireworks.airflow_state import RunState, run_state
from airflow_provider_fireworks.arguments import DeleteArguments
from airflow_provider_fireworks.client.errors import RefusedError
from airflow_provider_fireworks.deployments.ownership import Owner
from airflow_provider_fireworks.deployments.removal import MONEY, RemovalResult, remove
from airflow_provider_fireworks.exceptions import (
    FireworksRefused,
    FireworksTimeout,
    add_to_message,
    error_from_api,
)
from airflow_provider_fireworks.operators.base import FireworksOperator
from airflow_provider_fireworks.operators.deployment.run_removal import run_removal
from airflow_provider_fireworks.polling import ResponseWait

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import Context

    from airflow_provider_fireworks.client.names import DeploymentName
    from airflow_provider_fireworks.client.resources import Deployment
    from airflow_provider_fireworks.exceptions import FireworksError


class FireworksDeleteDeploymentOperator(FireworksOperator):
    """
    Delete deployments: ``DELETE /v1/accounts/{account}/deployments/{deployment}``.

    Succeeds if a deployment no longer exists. Over transient errors it tries until ``timeout``.

    Returns ``{"deleted": ["accounts/…/deployments/…"]}``, those that existed; it is an XCom too.

    Example::

        FireworksDeleteDeploymentOperator(task_id="remove", deployment=deploy.output["deployment"])

    :param deployment: id or full resource name, or any number of them: one task deletes all that a mapped task created,
        with ``deployment=deploy.output["deployment"]``. ``None``, which is what a task has pushed that never ran or
        that ended in a conflict, deletes nothing and logs a warning.
    :param hard: delete for good. Otherwise the id stays taken for some days, and the deployment can be undeleted.
    :param ignore_checks: also delete what has served within the last hour, which the API refuses otherwise. ``None``
        does so for what this DAG run itself created, since a smoke test is traffic, but not for what it adopted from
        an earlier run. Unless this is ``True``, what belongs to another run that has not ended is left alone.
    :param timeout: seconds for which it tries to delete all of them.
    :param account_id: the account of a bare deployment id, instead of the connection's.
    :param fireworks_conn_id: the Airflow connection; ``None`` reads ``FIREWORKS_API_KEY`` and the like.
    :raises FireworksInvalidArgument: if a name is invalid; nothing was sent.
    :raises FireworksRefused: if the API refuses the request for another reason; not retried.
    :raises FireworksAccessDenied: if the API rejects the key, or the account may not do this; not retried.
    :raises FireworksTimeout: if the time is over; retried.
    :raises FireworksUnreachable: if something else than the Fireworks API is at the Base URL; retried.
    """

    template_fields: Sequence[str] = tuple(DeleteArguments.model_fields)
    ui_color = "#f3f3f3"

    def __init__(
        self,
        *,
        deployment: str | Iterable[str | None] | None,
        hard: bool = False,
        ignore_checks: bool | None = None,
        timeout: float = 600,
        account_id: str | None = None,
        fireworks_conn_id: str | None = "fireworks_default",
        **kwargs: Any,
    ) -> None:
        kwargs.setdefault("multiple_outputs", True)
        super().__init__(**kwargs)
        self.deployment = deployment
        self.hard = hard
        self.ignore_checks = ignore_checks
        self.timeout = timeout
        self.account_id = account_id
        self.fireworks_conn_id = fireworks_conn_id
        self._check_literals(DeleteArguments)

    @cached_property
    def _arguments(self) -> DeleteArguments:
        return DeleteArguments.check(**self._given())

    def execute(self, context: Context) -> dict[str, Any]:
        """Delete all, and fail at the end if any could not be deleted."""
        if not self._arguments.deployment:
            self.log.warning(
                "Nothing to delete: no deployment was named by the tasks upstream (%s). "
                "If one was created all the same, FireworksSweepDeploymentsOperator finds it.",
                ", ".join(sorted(self.upstream_task_ids)) or "none",
            )
            return {"deleted": []}
        deadline = time.time() + self._arguments.timeout
        me = Owner.from_context(context)
        pending = list(self._arguments.deployment)
        deleted: list[str] = []
        left: list[RemovalResult] = []
        try:
            while pending:
                name = self._full_name(pending[0], deadline)
                result = self._remove(name, context, me, deadline)
                pending.pop(0)
                if result.status == "left":
                    left.append(result)
                if result.status == "deleted":
                    deleted.append(str(name))
        except BaseException as error:
            notes = " ".join(result.note for result in left)
            add_to_message(error, f"Not deleted: {', '.join(pending)}: {MONEY}. {notes}".strip())
            raise
        if left:
            raise self._error(left)
        return {"deleted": deleted}

    def _full_name(self, deployment: str, deadline: float) -> DeploymentName:
        """Return the full name; looking the account up may take a request, and patience."""
        return self._send_patiently(
            lambda: self.hook.deployment_name(deployment),
            ResponseWait(about=deployment, deadline=deadline, poll_interval=0, timing=self.timing),
            f"{deployment} was not deleted and {MONEY}",
        )

    def _remove(self, name: DeploymentName, context: Context, me: Owner, deadline: float) -> RemovalResult:
        steps = remove(
            name,
            timeout=max(deadline - time.time(), 0.0),
            may_delete=lambda found: not self._in_use_elsewhere(found, context["ti"], me),
            ignore_checks=lambda found: self._skips_checks(found, me),
            hard=self._arguments.hard,
            purge=True,
            unread="delete",
            timing=self.timing,
        )
        result = run_removal(steps, self.hook, self.log)
        # The error that the task ends with could not hold the notes of many.
        (self.log.error if result.status == "left" else self.log.info)("%s", result.note)
        return result

    def _in_use_elsewhere(self, found: Deployment, ti: Any, me: Owner) -> bool:
        """Whether another run, which has not ended, has adopted the deployment since its name was passed on."""
        owner = Owner.from_description(found.description)
        if owner is None or owner.airflow != me.airflow or owner.same_run(me):
            return False
        if self._arguments.ignore_checks or run_state(ti, owner.dag_id, owner.run_id) is not RunState.ACTIVE:
            return False
        self.log.warning("%s belongs to %s, which has not ended.", found.name, owner)
        return True

    def _skips_checks(self, found: Deployment | None, me: Owner) -> bool:
        if found is None or self._arguments.ignore_checks is not None:
            return self._arguments.ignore_checks is True
        owner = Owner.from_description(found.description)
        return owner is not None and owner.same_run(me) and not owner.kept

    def _error(self, left: list[RemovalResult]) -> FireworksError:
        notes = " ".join(result.note for result in left)
        # Retry if that may help any of them. It does not harm the others.
        if any(result.error is None or result.error.is_transient for result in left):
            return FireworksTimeout(f"{notes} {FireworksTimeout.hint}")
        errors = [result.error for result in left if result.error is not None]
        if any(isinstance(error, RefusedError) for error in errors) and not self._arguments.ignore_checks:
            return FireworksRefused(
                f"{notes} If it has served within the last hour, ignore_checks=True deletes it all the same."
            )
        return error_from_api(errors[0], notes)
