"""Finding the deployments that were left behind."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any

from airflow_provider_fireworks.arguments.deployment import SweepArguments, check_deployment_literals
from airflow_provider_fireworks.client.errors import GatewayError, NotFoundError, RefusedError
from airflow_provider_fireworks.exceptions import FireworksError, error_of_gateway
from airflow_provider_fireworks.identity import Identity
from airflow_provider_fireworks.operators.base import FireworksOperator
from airflow_provider_fireworks.runs import RunState, run_state

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import Context


class FireworksSweepDeploymentsOperator(FireworksOperator):
    """
    Find the deployments that tasks have made in runs which are over, and delete them if told to.

    They are told by the description that
    :class:`FireworksCreateDeploymentOperator` gives them: ``GET /v1/accounts/{account}/deployments``. What people
    or another Airflow have made is left alone, and so is what belongs to a run that goes on.
    **A deployment that is meant to outlive its run is found as well**: name it in ``keep``.

    Returns ``{"orphaned": [{"deployment", "state", "dag_id", "run_id", "task_id", "map_index", "loop_index", "run",
    "deleted"}, …]}``, where ``loop_index`` is ``None`` outside of task loops, and ``run`` is ``ended``, or ``unknown``
    if Airflow has no such run any more. It is an XCom too.

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
        try:
            found = self._left_behind(context)
        except GatewayError as error:
            raise error_of_gateway(error, f"The deployments cannot be listed: {error}") from None
        failures = []
        for each in found:
            owner = each.pop("owner")
            self.log.warning(
                "%s (%s) was created by %s, which is %s.",
                each["deployment"],
                each["state"],
                owner,
                each["run"],
            )
            if self._arguments.delete:
                try:
                    each["deleted"] = self._delete(each["deployment"], owner)
                except GatewayError as error:
                    self.log.error("%s could not be deleted: %s", each["deployment"], error)
                    failures.append(f"{each['deployment']}: {error}")
        deleted = sum(each["deleted"] for each in found)
        self.log.info("%d deployments were left behind, %d of them are deleted now.", len(found), deleted)
        if failures:
            raise FireworksError(
                f"{len(failures)} deployments could not be deleted and may cost money: {'; '.join(failures)}"
            )
        return {"orphaned": found}

    def _left_behind(self, context: Context) -> list[dict[str, Any]]:
        here = Identity.of(context).airflow
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
                    "deployment": self.hook.listed_name(each),
                    "state": each.state,
                    "dag_id": made_by.dag_id,
                    "run_id": made_by.run_id,
                    "task_id": made_by.task_id,
                    "map_index": made_by.map_index,
                    "loop_index": made_by.loop_index,
                    "run": runs[run].value,
                    "deleted": False,
                    "owner": made_by,
                }
            )
        return found

    def _delete(self, name: str, owner: Identity) -> bool:
        """Delete one that still belongs to the same task; return whether it is gone."""
        try:
            if Identity.of_description(self.hook.get_deployment(name).description) != owner:
                self.log.info("%s was taken over by another run meanwhile, and is left alone.", name)
                return False
            self.hook.delete_deployment(name, ignore_checks=self._arguments.ignore_checks)
        except NotFoundError:
            return True
        except RefusedError as error:
            if self._arguments.ignore_checks or error.code != "FAILED_PRECONDITION":
                raise
            self.log.warning("%s is left for the next time: %s", name, error)
            return False
        return True
