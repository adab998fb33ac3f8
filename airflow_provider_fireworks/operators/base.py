"""What the operators share: the hook, patience with the API, and waiting in the task or in the triggerer."""

from __future__ import annotations

import time
from abc import abstractmethod
from collections.abc import Callable
from datetime import timedelta
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar

from airflow.providers.common.compat.sdk import AirflowTaskTimeout, BaseOperator
from pydantic import BaseModel

from airflow_provider_fireworks.arguments import Arguments, TimeLimit, WaitingArguments
from airflow_provider_fireworks.client.errors import ApiError
from airflow_provider_fireworks.exceptions import (
    FireworksError,
    FireworksInvalidEvent,
    FireworksTimeout,
    error_from_api,
    error_from_verdict,
)
from airflow_provider_fireworks.polling import Event, Outcome, ResponseWait, Verdict, Wait
from airflow_provider_fireworks.timing import DEFAULT_TIMING, Timing
from airflow_provider_fireworks.triggers.base import FireworksTrigger

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import Context

    from airflow_provider_fireworks.client.api import Request
    from airflow_provider_fireworks.hooks.fireworks import FireworksHook

ModelT = TypeVar("ModelT", bound=BaseModel)
ResultT = TypeVar("ResultT")


def show_precision(context: Context, precision: str | None) -> None:
    """Label a mapped task with its precision in the grid, also while it is deferred, unless the DAG labels it."""
    ti: Any = context["ti"]
    if precision and (ti.map_index or 0) >= 0 and context.get("map_index_template") is None:
        context["map_index_template"] = ti.rendered_map_index = precision


def parse_resumed(model: type[ModelT], data: dict[str, Any]) -> ModelT:
    """Parse what came back from a deferral; an invalid event fails the task with ``FireworksInvalidEvent``."""
    try:
        return model.model_validate(data)
    except ValueError as error:
        raise FireworksInvalidEvent.because(error) from None


class FireworksOperator(BaseOperator):
    """A task that sends requests to the Fireworks API."""

    timing: ClassVar[Timing] = DEFAULT_TIMING
    _logged_note = ""

    @cached_property
    def hook(self) -> FireworksHook:
        """The hook of the connection."""
        from airflow_provider_fireworks.hooks.fireworks import FireworksHook

        return FireworksHook(self._arguments.fireworks_conn_id, account_id=self._arguments.account_id)

    @property
    @abstractmethod
    def _arguments(self) -> Arguments:
        """The arguments, rendered and checked."""

    def _given(self) -> dict[str, Any]:
        """Return the arguments as they are now: literals or templates in the DAG file, rendered in a task."""
        return {name: getattr(self, name) for name in self.template_fields}

    def _log_pause(self, note: str) -> None:
        """Log why the task pauses, unless it paused for the same reason before."""
        if note != self._logged_note:
            self._logged_note = note
            self.log.info("%s Polling until that changes.", note)

    def _send_once(self, request: Request[ResultT]) -> ResultT | ApiError:
        """Send a request once, and return its result or its error."""
        try:
            return self.hook.send(request, attempts=1)
        except ApiError as error:
            return error

    def _send_patiently(self, send: Callable[[], ResultT], wait: ResponseWait, what: str) -> ResultT:
        """
        Send requests again, with growing delays, until they succeed or the time is over.

        :param send: sends them.
        :param wait: says for how long.
        :param what: the beginning of an error's message.
        :raises FireworksError: for an error that is not transient, and if the time is over.
        """
        while True:
            try:
                return send()
            except ApiError as error:
                if not error.is_transient:
                    raise error_from_api(error, f"{what}: {error}") from None
                verdict = wait.observe(error, time.time())
            if verdict.is_terminal:
                raise self._error_from(verdict, what)
            if line := wait.log_line(verdict, time.time()):
                self.log.warning("%s", line)
            time.sleep(wait.next_delay(time.time()))

    def _error_from(self, verdict: Verdict, what: str) -> BaseException:
        """
        Return what to raise for a wait that did not end well.

        :param what: was waited for; the beginning of the message.
        """
        message = f"{what}: {verdict.reason}"
        return error_from_verdict(verdict, message, failed=FireworksError, timeout=FireworksTimeout)


class WaitingOperator(FireworksOperator):
    """
    A task that also waits, in the worker or in the triggerer.

    How far it has come is its resume state, which travels with a deferral and comes back in the trigger's event.
    """

    failure: ClassVar[type[FireworksError]]
    """Raised if what is waited for never will be ready."""
    _had_response = False

    @property
    @abstractmethod
    def _arguments(self) -> WaitingArguments:
        """The arguments, rendered and checked."""

    @property
    def _time_limit(self) -> TimeLimit:
        return self._arguments.time_limit(self.execution_timeout)

    @property
    def _has_responded(self) -> bool:
        """Whether the API has responded to this task before, so that the Base URL is right."""
        return self._had_response or self.hook.has_responded

    @abstractmethod
    def _resume(self, context: Context, event: Event) -> Any:
        """Continue after a wait, from the event's resume state."""

    @abstractmethod
    def _trigger(self, wait: Wait, resume_state: dict[str, Any]) -> FireworksTrigger:
        """Return the trigger that continues a wait."""

    def execute_complete(self, context: Context, event: Any = None) -> Any:
        """
        Continue after a deferral.

        :param event: the payload of the trigger's event.
        :raises FireworksInvalidEvent: if it is invalid.
        """
        try:
            parsed = Event.parse(event)
        except ValueError as error:
            raise FireworksInvalidEvent.because(error) from None
        # A trigger without a response would have ended with that as its verdict, and the task with it.
        self._had_response = True
        return self._resume(context, parsed)

    def _error_from(self, verdict: Verdict, what: str) -> BaseException:
        limit = self._time_limit
        is_timeout = verdict.outcome is Outcome.TIMEOUT
        over = f"{limit.argument} of {limit.seconds:.0f} s is over, " if is_timeout else ""
        return error_from_verdict(
            verdict,
            f"{what}: {over}{verdict.reason}",
            failed=self.failure,
            timeout=AirflowTaskTimeout if limit.argument == "execution_timeout" else FireworksTimeout,
        )

    def _response_wait(self, about: str, deadline: float) -> ResponseWait:
        return ResponseWait(
            about=about,
            deadline=deadline,
            poll_interval=self._arguments.poll_interval,
            has_responded=self._has_responded,
            timing=self.timing,
        )

    def _wait(self, wait: Wait, state: BaseModel | None = None) -> Verdict:
        """
        Wait, and return how that ended. If the task is deferrable this does not return: the task is resumed instead.

        :param state: the resume state.
        """
        if self._arguments.deferrable:
            resume_state = state.model_dump(mode="json", exclude_defaults=True) if state else {}
            self.defer(
                trigger=self._trigger(wait, resume_state),
                method_name="execute_complete",
                timeout=timedelta(seconds=max(wait.deadline - time.time(), 0) + self.timing.deferral_slack),
            )
        while True:
            time.sleep(wait.next_delay(time.time()))
            self._stop_if_killed()
            verdict = wait.observe(self._send_once(wait.next_request()), time.time())
            if verdict.is_terminal:
                return verdict
            if line := wait.log_line(verdict, time.time()):
                self.log.info("%s", line)

    def _wait_after_error(self, error: ApiError, wait: Wait, state: BaseModel) -> Verdict:
        """Judge a request that failed: at once, or, if the error is transient, when the API responds again."""
        verdict = wait.observe(error, time.time())
        if verdict.is_terminal:
            return verdict
        self.log.warning("%s", error)
        return self._wait(wait, state)

    def _stop_if_killed(self) -> None:
        """End the task if it is being killed."""
