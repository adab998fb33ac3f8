"""What operators and sensors share: the hook, the checked arguments, and the way into a deferral and back."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Collection
from dataclasses import replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar

from airflow.providers.common.compat.sdk import AirflowTaskTimeout
from pydantic import BaseModel, ValidationError

from airflow_provider_fireworks.arguments import Arguments, WaitingArguments
from airflow_provider_fireworks.client import api
from airflow_provider_fireworks.exceptions import (
    FireworksError,
    FireworksInvalidArgument,
    FireworksInvalidEvent,
)
from airflow_provider_fireworks.polling import Outcome, Verdict, Wait
from airflow_provider_fireworks.timing import DEFAULT_TIMING, Timing
from airflow_provider_fireworks.triggers.base import FireworksTrigger

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import Context

    from airflow_provider_fireworks.client.names import DeploymentName
    from airflow_provider_fireworks.hooks.fireworks import FireworksHook

ModelT = TypeVar("ModelT", bound=BaseModel)


class FireworksTask:
    """
    A task that sends requests to the Fireworks API.

    A mixin, which follows Airflow's class in a list of bases: Airflow wraps every ``__init__`` that differs from that
    of the first base.
    """

    timing: ClassVar[Timing] = DEFAULT_TIMING
    task_id: str
    template_fields: Collection[str]

    @cached_property
    def hook(self) -> FireworksHook:
        """The hook of the connection."""
        # Not at the top, as a DAG file that imports an operator needs no hook.
        from airflow_provider_fireworks.hooks.fireworks import FireworksHook

        return FireworksHook(self._arguments.fireworks_conn_id, account_id=self._arguments.account_id)

    @property
    @abstractmethod
    def _arguments(self) -> Arguments:
        """The arguments, rendered and checked."""

    def _check_literals(self, arguments: type[Arguments]) -> None:
        """
        Check the arguments when the DAG is parsed.

        :raises FireworksInvalidArgument: which names the task, as Airflow's import error does not.
        """
        try:
            arguments.check_literals(**self._given())
        except FireworksInvalidArgument as error:
            raise FireworksInvalidArgument(f"{type(self).__name__} {self.task_id!r}: {error}") from None

    def _given(self) -> dict[str, Any]:
        """Return the arguments as they are now: literals or templates in the DAG file, rendered in a task."""
        return {name: getattr(self, name) for name in self.template_fields}


class WaitingTask(FireworksTask):
    """A task that also waits, in the worker or in the triggerer."""

    failure_class: ClassVar[type[FireworksError]]
    """Raised if what is waited for never will be ready."""
    trigger_class: ClassVar[type[FireworksTrigger]]
    """Continues a wait in the triggerer."""

    @property
    @abstractmethod
    def _arguments(self) -> WaitingArguments:
        """The arguments, rendered and checked."""

    def _trigger(self, wait: Wait, state: BaseModel | None = None, **arguments: Any) -> FireworksTrigger:
        """
        Return the trigger that continues a wait.

        :param state: what the task needs to resume, besides the wait.
        :param arguments: further arguments of the trigger.
        """
        return self.trigger_class(
            fireworks_conn_id=self._arguments.fireworks_conn_id,
            wait=wait.to_arguments(),
            resume_state=state.model_dump(mode="json", exclude_defaults=True) if state else {},
            **arguments,
        )


def parse_resumed(model: type[ModelT], data: Any) -> ModelT:
    """
    Parse what came back from a deferral.

    :raises FireworksInvalidEvent: if it is invalid.
    """
    try:
        return model.model_validate(data)
    except ValidationError as error:
        problems = [
            f"{'.'.join(map(str, each['loc'])) or 'event'}: {each['msg'].removeprefix('Value error, ')}"
            for each in error.errors(include_url=False, include_context=False, include_input=False)
        ]
        raise FireworksInvalidEvent.because("; ".join(problems)) from None


def show_precision(context: Context, precision: str | None) -> None:
    """Label a mapped task with its precision in the grid, also while it is deferred, unless the DAG labels it."""
    ti: Any = context["ti"]
    if precision and (ti.map_index or 0) >= 0 and context.get("map_index_template") is None:
        context["map_index_template"] = ti.rendered_map_index = precision


def with_termination_message(verdict: Verdict, deployment: DeploymentName, task: FireworksTask) -> Verdict:
    """Return the verdict on a failed deployment with the API's termination message, if it has one."""
    if verdict.outcome is not Outcome.FAILED:
        return verdict
    try:
        client = task.hook.quick_client(timeout=task.timing.termination_message_timeout)
        message = client.send(api.get_termination_message(deployment), attempts=1)
    except (Exception, AirflowTaskTimeout):
        # The task fails anyway, and its own error matters more.
        return verdict
    said = f"{verdict.reason.rstrip('.')}; its termination message: {message}"
    return replace(verdict, reason=said) if message else verdict
