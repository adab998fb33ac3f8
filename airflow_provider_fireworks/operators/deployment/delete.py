"""Deleting a deployment."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any, NoReturn, cast

from airflow_provider_fireworks.arguments.base import is_literal
from airflow_provider_fireworks.arguments.deployment import DeleteArguments, check_which
from airflow_provider_fireworks.exceptions import (
    FireworksDeploymentFailed,
    FireworksInvalidArgument,
    FireworksRefused,
    FireworksTimeout,
    error_of_verdict,
)
from airflow_provider_fireworks.operators.base import FireworksOperator
from airflow_provider_fireworks.operators.deployment.create import FireworksCreateDeploymentOperator

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import Context

    from airflow_provider_fireworks.hooks.fireworks import FireworksHook
    from airflow_provider_fireworks.verdict import Verdict


class FireworksDeleteDeploymentOperator(FireworksOperator):
    """
    Delete a deployment: ``DELETE /v1/accounts/{account}/deployments/{deployment}``. One that is gone is a success.

    It is named, or found by the task that created it in this run, whether or not that task ever got to tell its
    name: ``FireworksDeleteDeploymentOperator(task_id="remove", created_by="deploy").as_teardown(setups=deploy)``.
    Connection and account are then the creating task's, and a deployment that was made by anything else is left
    alone. While the gateway does not answer it goes on trying.

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
            deployment=self._arguments.deployment or self._arguments.created_by or "",
            until=Until.ANSWER,
            deadline=time.time() + self._arguments.timeout,
            poll_interval=0,
        )
        names = self._patiently(partial(self._which, context), watch, self._what, self._fail)
        deleted, refusals = [], []
        for name in names:
            try:
                if self._patiently(partial(self._delete, name), watch, self._what, self._fail):
                    deleted.append(name)
            except FireworksRefused as refusal:
                # Of many, the message that the task ends with could not hold all.
                self.log.error("%s", refusal)
                refusals.append(str(refusal))
        if refusals:
            raise FireworksRefused(" ".join(refusals))
        return {"deleted": deleted}

    @property
    def _what(self) -> str:
        """What fails if this task does, in words."""
        which = self._arguments.deployment or f"What {self._arguments.created_by} has created"
        return f"{which} could not be deleted and may cost money"

    def _which(self, context: Context) -> list[str]:
        """Return the full names of what is to be deleted."""
        from airflow_provider_fireworks.client.errors import NotFoundError
        from airflow_provider_fireworks.identity import Identity

        if self._arguments.deployment is not None:
            return [str(self.hook.deployment_name(self._arguments.deployment))]
        creator = self._creator()
        asked = {
            "deployment_id": None,
            "account_id": self.account_id,
            "fireworks_conn_id": self.fireworks_conn_id,
            **(creator.partial_kwargs if creator.is_mapped else vars(creator)),
        }
        mine = Identity.of(context)
        mapped = creator.is_mapped or creator.get_closest_mapped_task_group() is not None
        all_of_them = mapped and mine.map_index < 0
        where = ("fireworks_conn_id", "account_id")
        expanded = getattr(getattr(creator, "expand_input", None), "value", None)
        if any(name in (expanded if isinstance(expanded, dict) else ()) for name in where) or (
            all_of_them and not all(isinstance(asked[name], (str, type(None))) for name in where)
        ):
            raise FireworksInvalidArgument(
                f"created_by: {creator.task_id} is mapped over {' or '.join(where)}, so what it has created cannot be "
                "found from here: map this task alike, over deployment"
            )
        as_creator = cast("Context", {**context, "task": creator})
        self.hook = self._hook_of(*(self.render_template(asked[name], as_creator) for name in where))
        signed = replace(mine, task_id=creator.task_id, map_index=mine.map_index if mapped else -1)
        given_id = asked["deployment_id"]
        if all_of_them or creator.is_mapped or not (given_id is None or is_literal(given_id)):
            return [
                self.hook.listed_name(each)
                for each in self.hook.list_deployments()
                if (made_by := Identity.of_description(each.description)) is not None
                and signed == (replace(made_by, map_index=-1) if all_of_them else made_by)
            ]
        name = str(self.hook.deployment_name(given_id or signed.deployment_id))
        try:
            found = self.hook.get_deployment(name)
        except NotFoundError:
            # Of an id that only this task can have, even what does not show yet can be deleted.
            return [] if given_id else [name]
        if Identity.of_description(found.description) == signed:
            return [name]
        self.log.warning("%s was not made by %s, and is left alone.", name, signed)
        return []

    def _creator(self) -> Any:
        """Return the task that ``created_by`` names, looked for in this task's group first, and then further out."""
        tasks = self.dag.task_dict
        groups = self.task_id.split(".")[:-1]
        for depth in range(len(groups), -1, -1):
            task = tasks.get(".".join([*groups[:depth], self._arguments.created_by or ""]))
            if task is not None and issubclass(
                getattr(task, "operator_class", type(task)), FireworksCreateDeploymentOperator
            ):
                return task
        creators = [
            task_id
            for task_id, task in tasks.items()
            if issubclass(getattr(task, "operator_class", type(task)), FireworksCreateDeploymentOperator)
        ]
        raise FireworksInvalidArgument(
            f"created_by: no task {self._arguments.created_by!r} of this DAG creates a deployment; those that do: "
            f"{', '.join(sorted(creators)) or 'none'}"
        )

    def _hook_of(self, conn_id: str | None, account_id: str | None) -> FireworksHook:
        from airflow_provider_fireworks.hooks.fireworks import FireworksHook

        return FireworksHook(conn_id, account_id=account_id)

    def _delete(self, name: str) -> bool:
        """Delete one; return whether there was anything to delete."""
        from airflow_provider_fireworks.client.errors import NotFoundError, RefusedError

        try:
            try:
                self.hook.delete_deployment(
                    name, hard=self._arguments.hard, ignore_checks=self._arguments.ignore_checks
                )
            except RefusedError as error:
                if self.hook.get_deployment(name).state in ("DELETING", "DELETED"):
                    self.log.info("%s is deleted already.", name)
                    return False
                hint = "If it has served within the last hour, ignore_checks=True deletes it nevertheless."
                raise FireworksRefused(
                    f"{name} was not deleted: {error}. {'' if self._arguments.ignore_checks else hint}"
                ) from None
        except NotFoundError:
            self.log.info("%s is gone already.", name)
            return False
        self.log.info("%s is deleted.", name)
        return True

    def _fail(self, verdict: Verdict) -> NoReturn:
        raise error_of_verdict(
            verdict,
            f"{self._what}: {verdict.reason}",
            failed=FireworksDeploymentFailed,
            timeout=FireworksTimeout,
        )
