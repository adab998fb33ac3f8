"""What the operators share: sending a request until it succeeds, and waiting in the worker or in the triggerer."""

from __future__ import annotations

import time
from abc import abstractmethod
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

from airflow.providers.common.compat.sdk import AirflowTaskTimeout, BaseOperator
from pydantic import BaseModel

from airflow_provider_fireworks.arguments import TimeLimit
from airflow_provider_fireworks.client.errors import ApiError
from airflow_provider_fireworks.client.text import sentence
from airflow_provider_fireworks.exceptions import (
    FireworksError,
    FireworksTimeout,
    error_from_api,
    error_from_verdict,
)
from airflow_provider_fireworks.polling import Event, Outcome, ResourceWait, ResponseWait, Verdict
from airflow_provider_fireworks.task import FireworksTask, WaitingTask, parse_resumed

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import Context

    from airflow_provider_fireworks.client.api import Request

ResultT = TypeVar("ResultT")


class FireworksOperator(BaseOperator, FireworksTask):
    """The base class of all operators."""

    _logged_note = ""

    def _log_pause(self, note: str) -> None:
        """
        Log why the task pauses, unless it paused for the same reason before.

        :param note: the resource, and a clause about it.
        """
        if note != self._logged_note:
            self._logged_note = note
            self.log.info("%s Polling until that changes.", sentence(note))

    def _send_once(self, request: Request[ResultT]) -> ResultT | ApiError:
        """Send a request once, and return its result or its error."""
        try:
            return self.hook.send(request, attempts=1)
        except ApiError as error:
            return error

    def _send_patiently(self, send: Callable[[], ResultT], wait: ResponseWait, what: str) -> ResultT:
        """
        Send requests until they succeed or the time is over, with growing delays after transient errors.

        :param send: sends them, and returns the result.
        :param wait: has the deadline.
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

        :param what: what was waited for; the beginning of the message.
        """
        message = f"{what}: {verdict.reason}"
        return error_from_verdict(verdict, message, failed=FireworksError, timeout=FireworksTimeout)


class WaitingOperator(FireworksOperator, WaitingTask):
    """
    The base class of operators that also wait.

    How far the task has come is its resume state, which travels with a deferral and comes back in the trigger's event.
    """

    _had_response = False

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

    def execute_complete(self, context: Context, event: Any = None) -> Any:
        """
        Continue after a deferral.

        :param event: the payload of the trigger's event.
        :raises FireworksInvalidEvent: if it is invalid.
        """
        parsed = parse_resumed(Event, event)
        # A trigger that got no response has ended with an error, which ends the task here.
        self._had_response = True
        return self._resume(context, parsed)

    def _error_from(self, verdict: Verdict, what: str) -> BaseException:
        limit = self._time_limit
        is_timeout = verdict.outcome is Outcome.TIMEOUT
        over = f"{limit.argument} of {limit.seconds:.0f} s is over, " if is_timeout else ""
        return error_from_verdict(
            verdict,
            f"{what}: {over}{verdict.reason}",
            failed=self.failure_class,
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

    def _wait(self, wait: ResourceWait, state: BaseModel | None = None) -> Verdict:
        """
        Wait, and return how the wait ended. If the task is deferrable, it is deferred and resumed instead.

        :param state: the resume state.
        """
        if self._arguments.deferrable:
            self.defer(
                trigger=self._trigger(wait, state),
                method_name="execute_complete",
                timeout=wait.deferral_timeout(time.time()),
            )
        while True:
            time.sleep(wait.next_delay(time.time()))
            self._stop_if_killed()
            verdict = wait.observe(self._send_once(wait.next_request()), time.time())
            if verdict.is_terminal:
                return verdict
            if line := wait.log_line(verdict, time.time()):
                self.log.info("%s", line)

    def _wait_after_error(self, error: ApiError, wait: ResourceWait, state: BaseModel) -> Verdict:
        """
        Return the verdict on a failed request: at once if the error is final, else as soon as the API responds again.

        :param wait: until the API responds.
        :param state: the resume state.
        """
        verdict = wait.observe(error, time.time())
        if verdict.is_terminal:
            return verdict
        self.log.warning("%s", error)
        return self._wait(wait, state)

    def _stop_if_killed(self) -> None:
        """Raise if the task is being killed, for tasks that must not create anything then. Does nothing by default."""
