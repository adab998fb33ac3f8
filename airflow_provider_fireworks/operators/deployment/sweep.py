"""Finding the deployments that were left behind."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any

from airflow_provider_fireworks.arguments import SweepArguments
from airflow_provider_fireworks.client.errors import GatewayError, RefusedError
from airflow_provider_fireworks.client.names import parse_deployment
from airflow_provider_fireworks.exceptions import FireworksError, error_of_gateway
from airflow_provider_fireworks.identity import Identity
from airflow_provider_fireworks.operators.base import FireworksOperator
from airflow_provider_fireworks.operators.deployment import cleanup
from airflow_provider_fireworks.removal import Removed, remove
from airflow_provider_fireworks.runs import RunState, run_state

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import Context

    from airflow_provider_fireworks.client.shapes import Deployment


_SECONDS = 30.0
"""For how long to try to delete one deployment over transient errors."""


class FireworksSweepDeploymentsOperator(FireworksOperator):
    """
    Find orphaned deployments, whose run is over, and delete them if asked to.

    They are recognised by the signature in their description: ``GET /v1/accounts/{account}/deployments``. What people
    or another Airflow have created is left alone, and so is what belongs to a run that has not ended. A deployment
    that was created under a ``deployment_id`` is meant to outlive its run: it is listed with ``"kept": true``, and
    deleted only with ``include_kept``.

    Returns ``{"orphaned": [{"deployment", "state", "dag_id", "run_id", "task_id", "map_index", "loop_index", "run",
    "kept", "deleted"}, …]}``, where ``loop_index`` is ``None`` outside of task loops, and ``run`` is ``ended``, or
    ``unknown`` if Airflow has no such run any more. It is an XCom too.

    Example::

        FireworksSweepDeploymentsOperator(task_id="sweep", delete=True)

    :param delete: delete them, softly; otherwise they are only listed.
    :param keep: ids or full resource names of deployments that are neither listed nor deleted.
    :param include_kept: delete also what is meant to outlive its run.
    :param ignore_checks: delete also what has served within the last hour. By default the API refuses to delete
        these; they are listed, and left for the next time.
    :param account_id: the account to sweep, instead of the connection's.
    :param fireworks_conn_id: the Airflow connection; ``None`` takes ``FIREWORKS_API_KEY`` and its like.
    :raises FireworksError: if any of them could not be deleted for another reason, after all have been tried.
    """

    template_fields: Sequence[str] = (
        "delete",
        "keep",
        "include_kept",
        "ignore_checks",
        "account_id",
        "fireworks_conn_id",
    )
    ui_color = "#f3f3f3"

    def __init__(
        self,
        *,
        delete: bool = False,
        keep: Sequence[str] = (),
        include_kept: bool = False,
        ignore_checks: bool = False,
        account_id: str | None = None,
        fireworks_conn_id: str | None = "fireworks_default",
        **kwargs: Any,
    ) -> None:
        kwargs.setdefault("multiple_outputs", True)
        super().__init__(**kwargs)
        self.delete = delete
        self.keep = keep
        self.include_kept = include_kept
        self.ignore_checks = ignore_checks
        self.account_id = account_id
        self.fireworks_conn_id = fireworks_conn_id
        SweepArguments.check_literals(**self._rendered())

    @cached_property
    def _arguments(self) -> SweepArguments:
        return SweepArguments.check(**self._rendered())

    def execute(self, context: Context) -> dict[str, Any]:
        """List, ask Airflow for the runs, and delete."""
        try:
            found = self._orphaned(context)
        except GatewayError as error:
            raise error_of_gateway(error, f"The deployments cannot be listed: {error}") from None
        failures, in_use = [], set()
        for each in found:
            owner: Identity = each.pop("owner")
            self.log.warning(
                "%s (%s) was created by %s; that run is %s%s.",
                each["deployment"],
                each["state"],
                owner,
                each["run"],
                ", and it is meant to stay" if each["kept"] else "",
            )
            if self._arguments.delete and (self._arguments.include_kept or not each["kept"]):
                removed = self._remove(each["deployment"], owner, context["ti"])
                each["deleted"] = removed.status in ("deleted", "gone")
                if removed.status == "kept":
                    in_use.add(each["deployment"])
                if removed.status == "left" and not self._is_traffic(removed.error):
                    self.log.error("%s", removed.note)
                    failures.append(removed.note)
                else:
                    self.log.info("%s", removed.note)
        found = [each for each in found if each["deployment"] not in in_use]
        orphaned = sum(not each["kept"] for each in found)
        deleted = sum(each["deleted"] for each in found)
        self.log.info(
            "%d deployments are orphaned, %d are meant to stay, %d were deleted.",
            orphaned,
            len(found) - orphaned,
            deleted,
        )
        if failures:
            raise FireworksError(f"{len(failures)} deployments could not be deleted. {' '.join(failures)}")
        return {"orphaned": found}

    def _orphaned(self, context: Context) -> list[dict[str, Any]]:
        here = Identity.of(context).airflow
        keep = {str(self.hook.deployment_name(each)) for each in self._arguments.keep}
        runs: dict[tuple[str, str], RunState] = {}
        found = []
        for each in self.hook.list_deployments():
            owner = Identity.of_description(each.description)
            if owner is None or owner.airflow != here or each.name in keep:
                continue
            if each.state in ("DELETING", "DELETED"):
                continue
            run = (owner.dag_id, owner.run_id)
            if run not in runs:
                runs[run] = run_state(context["ti"], *run)
            if runs[run] is RunState.GOING:
                continue
            found.append(
                {
                    "deployment": self.hook.listed_name(each),
                    "state": each.state,
                    "dag_id": owner.dag_id,
                    "run_id": owner.run_id,
                    "task_id": owner.task_id,
                    "map_index": owner.map_index,
                    "loop_index": owner.loop_index,
                    "run": runs[run].value,
                    "kept": owner.named or owner.kept,
                    "deleted": False,
                    "owner": owner,
                }
            )
        return found

    def _remove(self, name: str, owner: Identity, ti: Any) -> Removed:
        """Delete one that still belongs to the same task, if its run is still over."""

        def is_orphaned(found: Deployment) -> bool:
            # Another run may have adopted it since it was listed, or its own run may have been cleared.
            same = Identity.of_description(found.description) == owner
            return same and run_state(ti, owner.dag_id, owner.run_id) is not RunState.GOING

        steps = remove(
            parse_deployment(name, account=None),
            seconds=_SECONDS,
            is_own=is_orphaned,
            ignore_checks=lambda found: self._arguments.ignore_checks,
        )
        return cleanup.run(steps, self.hook, self.log)

    def _is_traffic(self, error: GatewayError | None) -> bool:
        """Whether it was refused because it has served lately; then it is left for the next time."""
        refused = isinstance(error, RefusedError) and error.code == "FAILED_PRECONDITION"
        return refused and not self._arguments.ignore_checks
