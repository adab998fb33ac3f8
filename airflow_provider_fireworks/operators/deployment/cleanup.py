"""The clean-up of a create task that fails or is killed: what it does with the deployment that it created."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from airflow_provider_fireworks.airflow_state import FOR_NEXT_TRY, reason_to_keep
from airflow_provider_fireworks.deployments.removal import MONEY, remove
from airflow_provider_fireworks.operators.deployment.run_removal import run_removal

if TYPE_CHECKING:
    from collections.abc import Callable

    from airflow_provider_fireworks.deployments.creation import DeploymentCreation
    from airflow_provider_fireworks.deployments.ownership import Owner
    from airflow_provider_fireworks.hooks.fireworks import FireworksHook
    from airflow_provider_fireworks.timing import Timing


@dataclass(frozen=True)
class CleanUp:
    """
    Deletes the deployment that a task created, unless it is to be kept.

    :ivar creation: how far the task has come.
    :ivar get_hook: may raise; called only if there is something to delete.
    :ivar ti: the running task instance.
    :ivar log: the task's.
    :ivar killed: whether the task was killed, rather than failed by itself.
    """

    creation: DeploymentCreation
    owner: Owner
    get_hook: Callable[[], FireworksHook]
    ti: Any
    log: Any
    timing: Timing
    killed: bool

    def run(self) -> str | None:
        """
        Delete or keep the deployment. Raises nothing: the task's own error comes first.

        :returns: a sentence for the task's error if a deployment may be left.
        """
        name = self.creation.deployment
        if not self.creation.may_exist:
            return None
        if self.creation.must_stay:
            return f"{name} is kept, because it existed before this task: {MONEY}."
        if self.killed:
            return self._after_kill()
        if self.creation.delete_on_failure:
            return self._delete()
        return f"{name} is kept, because delete_on_failure is False: {MONEY}."

    def _after_kill(self) -> str | None:
        name = self.creation.deployment
        # Logged before anything else, since SIGKILL can follow at any moment.
        self.log.error("This task was killed. Unless it gets to delete %s, %s.", name, MONEY)
        why = reason_to_keep(
            self.ti,
            self.owner,
            delete_on_failure=self.creation.delete_on_failure,
            delete_on_kill=self.creation.delete_on_kill,
            timeout=self.timing.kill_request_timeout,
        )
        if why is None:
            return self._delete()
        return f"{name} is kept {why}." if why == FOR_NEXT_TRY else f"{name} is kept, {why}: {MONEY}."

    def _delete(self) -> str | None:
        name = self.creation.deployment
        self.log.warning("Deleting %s, because this task failed.", name)
        first = self.timing.kill_cleanup_timeout if self.killed else self.timing.cleanup_timeout
        problem = ""
        # A time limit of Airflow's may interrupt the first attempt.
        for timeout in (first, self.timing.kill_cleanup_timeout):
            try:
                steps = remove(
                    name,
                    timeout=timeout,
                    may_delete=lambda found: self.creation.is_own(found, self.owner),
                    # Softly after a kill, as the person who did it may want the deployment back.
                    hard=not self.killed,
                    unread="delete if denied" if self.creation.accepted else "keep",
                    insist=True,
                    may_be_invisible=self.creation.unanswered > 0,
                    timing=self.timing,
                )
                quick = self.timing.kill_request_timeout
                hook = self.get_hook()
                sender = hook.quick_client(timeout=quick) if self.killed else hook
                result = run_removal(steps, sender, self.log)
            except BaseException as error:
                problem = f"{name} was not deleted and {MONEY}: {error or type(error).__name__}."
                self.log.error("%s", problem)
                if isinstance(error, Exception):
                    break
            else:
                is_left = result.status == "left"
                (self.log.error if is_left else self.log.info)("%s", result.note)
                return result.note if is_left else None
        return problem
