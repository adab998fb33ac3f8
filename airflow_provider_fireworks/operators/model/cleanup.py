"""The clean-up of an upload task that fails or is killed: what it does with the model that it created."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from airflow.providers.common.compat.sdk import AirflowFailException

from airflow_provider_fireworks.airflow_state import has_retry, is_latest_try, reason_to_keep
from airflow_provider_fireworks.client import api
from airflow_provider_fireworks.client.errors import ApiError, NotFoundError
from airflow_provider_fireworks.client.names import ModelName
from airflow_provider_fireworks.client.retries import backoff
from airflow_provider_fireworks.models.upload import is_unfinished

if TYPE_CHECKING:
    from airflow_provider_fireworks.deployments.ownership import Owner
    from airflow_provider_fireworks.hooks.fireworks import FireworksHook
    from airflow_provider_fireworks.timing import Timing


@dataclass(frozen=True)
class ModelCleanUp:
    """
    Deletes the model that a task created, if its files are not valid yet, unless a retry will continue with it.

    :ivar model: its name, or its id if the account is not known yet.
    :ivar get_hook: may raise; called only if there is something to delete.
    :ivar ti: the running task instance.
    :ivar log: the task's.
    :ivar error: why the task fails.
    :ivar killed: whether the task was killed, rather than failed by itself.
    :ivar visible_by: seconds since the epoch until which a model that was created just now may not be visible.
    """

    model: str | ModelName
    owner: Owner
    get_hook: Callable[[], FireworksHook]
    ti: Any
    log: Any
    timing: Timing
    error: BaseException
    killed: bool
    delete_on_failure: bool
    visible_by: float | None

    def run(self) -> str | None:
        """
        Delete or keep the model. Raises nothing: the task's own error comes first.

        :returns: a sentence for the task's error if the model may be left; otherwise ``None``.
        """
        if not self.delete_on_failure:
            return f"{self.model} is kept, because delete_on_failure is False."
        if self.killed:
            why = reason_to_keep(
                self.ti,
                self.owner,
                # The state "running" may be that of a later try, and a model costs nothing.
                delete_on_failure=False,
                delete_on_kill=True,
                timeout=self.timing.kill_request_timeout,
            )
            if why is not None:
                return f"{self.model} is kept {why}."
        elif has_retry(self.ti) and not isinstance(self.error, AirflowFailException):
            self.log.info("%s is kept for the next try, which uploads all files again.", self.model)
            return None
        try:
            problem = self._delete()
        except BaseException as error:
            problem = str(error) or type(error).__name__
        if problem is None:
            return None
        left = f"{self.model} was not deleted: {problem.rstrip('.')}."
        self.log.error("%s", left)
        return left

    def _delete(self) -> str | None:
        """Delete the model if this task created it and it is unfinished; return why it is left."""
        if not self.killed and not is_latest_try(self.ti):
            return "another try of this task has begun"
        timing = self.timing
        deadline = time.time() + (timing.kill_cleanup_timeout if self.killed else timing.cleanup_timeout)
        hook = self.get_hook()
        name = hook.model_name(self.model)
        sender = hook.quick_client(timeout=timing.kill_request_timeout) if self.killed else hook
        failures = 0
        while True:
            try:
                found = sender.send(api.get_model(name), attempts=1)
                if not self.owner.created(found.description) or not is_unfinished(found):
                    self.log.info("Not deleting %s: it is in use, or does not belong to this task.", name)
                    return None
                self.log.warning("Deleting %s, because this task failed.", name)
                sender.send(api.delete_model(name), attempts=1)
                return None
            except NotFoundError as error:
                if time.time() >= min(self.visible_by or 0.0, deadline):
                    return None
                last: ApiError = error
            except ApiError as error:
                if not error.is_transient or time.time() >= deadline:
                    return str(error)
                last = error
            failures += 1
            delay = backoff(
                last,
                failures,
                first=timing.first_retry_delay,
                longest=timing.max_delete_delay,
                jitter=random.random(),
            )
            time.sleep(max(min(delay, deadline - time.time()), timing.min_delete_delay))
