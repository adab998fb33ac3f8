"""The operator that finds orphaned deployments, and deletes them."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any

from airflow_provider_fireworks.airflow_state import RunState, run_state
from airflow_provider_fireworks.arguments import SweepArguments
from airflow_provider_fireworks.client.errors import ApiError, RefusedError
from airflow_provider_fireworks.deployments.ownership import Owner
from airflow_provider_fireworks.deployments.removal import RemovalResult, remove
from airflow_provider_fireworks.exceptions import FireworksError, error_from_api
from airflow_provider_fireworks.operators.base import FireworksOperator
from airflow_provider_fireworks.operators.deployment.run_removal import run_removal

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import Context

    from airflow_provider_fireworks.client.names import DeploymentName
    from airflow_provider_fireworks.client.resources import Deployment


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

    :param delete: delete them softly; otherwise they are only listed.
    :param keep: ids or full resource names of deployments that are neither listed nor deleted.
    :param include_kept: also delete what is meant to outlive its run.
    :param ignore_checks: also delete what has served within the last hour. By default the API refuses this, and these
        deployments are only listed, for the next sweep to delete.
    :param account_id: the account to sweep, instead of the connection's.
    :param fireworks_conn_id: the Airflow connection; ``None`` reads ``FIREWORKS_API_KEY`` and the like.
    :raises FireworksError: if any of them could not be deleted for another reason, after all have been tried.
    """

    template_fields: Sequence[str] = tuple(SweepArguments.model_fields)
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
        self._check_literals(SweepArguments)

    @cached_property
    def _arguments(self) -> SweepArguments:
        return SweepArguments.check(**self._given())

    def execute(self, context: Context) -> dict[str, Any]:
        """List the deployments, ask Airflow for their runs, and delete those that are orphaned."""
        try:
            orphaned = self._find(context)
        except ApiError as error:
            raise error_from_api(error, f"The deployments cannot be listed: {error}") from None
        failures = []
        in_use = []
        for name, owner, entry in orphaned:
            meant_to_stay = ", and it is meant to stay" if entry["kept"] else ""
            self.log.warning(
                "%s (%s) was created by %s; that run is %s%s.",
                name,
                entry["state"],
                owner,
                entry["run"],
                meant_to_stay,
            )
            if not self._arguments.delete or (entry["kept"] and not self._arguments.include_kept):
                continue
            result = self._remove(name, owner, context["ti"])
            entry["deleted"] = result.status in ("deleted", "gone")
            if result.status == "spared":
                in_use.append(entry)
            if result.status == "left" and not self._is_traffic(result.error):
                self.log.error("%s", result.note)
                failures.append(result.note)
            else:
                self.log.info("%s", result.note)
        entries = [entry for _, _, entry in orphaned if entry not in in_use]
        kept = sum(entry["kept"] for entry in entries)
        deleted = sum(entry["deleted"] for entry in entries)
        self.log.info(
            "%d deployments are orphaned, %d are meant to stay, %d were deleted.",
            len(entries) - kept,
            kept,
            deleted,
        )
        if failures:
            raise FireworksError(f"{len(failures)} deployments could not be deleted. {' '.join(failures)}")
        return {"orphaned": entries}

    def _find(self, context: Context) -> list[tuple[DeploymentName, Owner, dict[str, Any]]]:
        """Return the orphaned deployments, each with its owner and its entry in the result."""
        airflow = Owner.from_context(context).airflow
        keep = {str(self.hook.deployment_name(each)) for each in self._arguments.keep}
        runs: dict[tuple[str, str], RunState] = {}
        found = []
        for each in self.hook.list_deployments():
            owner = Owner.from_description(each.description)
            if owner is None or owner.airflow != airflow or each.name in keep:
                continue
            if each.state in ("DELETING", "DELETED"):
                continue
            run = (owner.dag_id, owner.run_id)
            if run not in runs:
                runs[run] = run_state(context["ti"], *run)
            if runs[run] is RunState.ACTIVE:
                continue
            name = self.hook.listed_name(each)
            entry = {
                "deployment": str(name),
                "state": each.state,
                "dag_id": owner.dag_id,
                "run_id": owner.run_id,
                "task_id": owner.task_id,
                "map_index": owner.map_index,
                "loop_index": owner.loop_index,
                "run": runs[run].value,
                "kept": owner.named or owner.kept,
                "deleted": False,
            }
            found.append((name, owner, entry))
        return found

    def _remove(self, name: DeploymentName, owner: Owner, ti: Any) -> RemovalResult:
        """Delete a deployment that still belongs to the same task, if its run is still over."""

        def is_orphaned(found: Deployment) -> bool:
            # Another run may have adopted it since it was listed, or its own run may have been cleared.
            same = Owner.from_description(found.description) == owner
            return same and run_state(ti, owner.dag_id, owner.run_id) is not RunState.ACTIVE

        steps = remove(
            name,
            timeout=self.timing.sweep_timeout,
            may_delete=is_orphaned,
            ignore_checks=lambda found: self._arguments.ignore_checks,
            timing=self.timing,
        )
        return run_removal(steps, self.hook, self.log)

    def _is_traffic(self, error: ApiError | None) -> bool:
        """Whether it was refused because it has served recently; then it is left for the next sweep."""
        refused = isinstance(error, RefusedError) and error.code == "FAILED_PRECONDITION"
        return refused and not self._arguments.ignore_checks
