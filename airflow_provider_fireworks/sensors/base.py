"""What the sensors share: one wait, with the same result in every mode."""

from __future__ import annotations

import time
from abc import abstractmethod
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, ClassVar

from airflow.providers.common.compat.sdk import (
    AirflowException,
    AirflowSensorTimeout,
    AirflowSkipException,
    AirflowTaskTimeout,
    BaseSensorOperator,
    PokeReturnValue,
)

from airflow_provider_fireworks.arguments import TimeLimit
from airflow_provider_fireworks.client.errors import ApiError
from airflow_provider_fireworks.exceptions import NEVER_SKIPPED, FireworksNotFound, error_from_verdict
from airflow_provider_fireworks.polling import Event, Outcome, ResourceWait, ResponseWait, Verdict, Wait
from airflow_provider_fireworks.task import WaitingTask, parse_resumed

if TYPE_CHECKING:
    from datetime import datetime

    from airflow.providers.common.compat.sdk import Context

    from airflow_provider_fireworks.client.names import ResourceName


class FireworksSensor(BaseSensorOperator, WaitingTask):
    """The base class of all sensors. A subclass says what is waited for; how to wait is the same for all."""

    wait_class: ClassVar[type[ResourceWait]]
    not_found_hint: ClassVar[str] = FireworksNotFound.hint
    deferrable: bool

    def _given(self) -> dict[str, Any]:
        return {**super()._given(), "poll_interval": self.poke_interval, "timeout": self.timeout}

    @property
    @abstractmethod
    def _resource(self) -> str:
        """The id or full resource name of what is waited for, as it was given."""

    @abstractmethod
    def _full_name(self) -> ResourceName:
        """Return its full resource name, which may take a request to look up the account."""

    @abstractmethod
    def _new_wait(self, name: Any, **common: Any) -> ResourceWait:
        """Return the wait for it, with these fields."""

    def _with_details(self, wait: Any, verdict: Verdict) -> Verdict:
        """Return the verdict of a wait that did not end well with what else the API says about it."""
        return verdict

    @abstractmethod
    def _success(self, wait: Any, verdict: Verdict) -> dict[str, Any]:
        """Return the task's result."""

    def execute(self, context: Context) -> Any:
        """Poke until the wait is over; a deferrable sensor pokes once and defers."""
        # In reschedule mode every poke is a new process, and the wait began with the first one.
        first = context["ti"].get_first_reschedule_date(context) if self.reschedule else None
        began = first.timestamp() if first else time.time()
        self._common: dict[str, Any] = {
            "began": began,
            "deadline": began + self._time_limit.seconds,
            "poll_interval": self.poke_interval,
            "exponential": self.exponential_backoff,
            "max_interval": self.max_wait.total_seconds() if self.max_wait else None,
            "timing": self.timing,
        }
        # Replaced as soon as the full name is known, for which the account may have to be looked up.
        self._wait: Wait = ResponseWait(about=self._resource, **self._common)
        with _not_skipping(NEVER_SKIPPED):
            return super().execute(context)

    @property
    def _time_limit(self) -> TimeLimit:
        # Airflow itself ends a poking sensor by execution_timeout, which in reschedule mode is for each poke.
        return self._arguments.time_limit(self.execution_timeout if self._arguments.deferrable else None)

    def poke(self, context: Context) -> PokeReturnValue:
        """Poll once. If the wait is not over, a deferrable sensor defers."""
        verdict = self._poll()
        while self._wait.is_mid_poll and not verdict.is_terminal:
            verdict = self._poll()
        if verdict.is_terminal:
            return PokeReturnValue(is_done=True, xcom_value=self._result(self._wait, verdict))
        if line := self._wait.log_line(verdict, time.time()):
            self.log.info("%s", line)
        # A trigger needs the full name. As long as the account cannot be looked up, the worker tries again.
        if self._arguments.deferrable and isinstance(self._wait, ResourceWait):
            # For the link, which the UI shows while the task is deferred.
            context["ti"].xcom_push(key=self._wait.resource, value=str(self._name))
            self.defer(
                trigger=self._trigger(self._wait),
                method_name="execute_complete",
                timeout=self._wait.deferral_timeout(time.time()),
            )
        if time.time() >= self._wait.deadline:
            # Airflow would end the wait now, without what was seen last, and ignoring never_fail. One last poll ends it
            # with a verdict instead.
            return self.poke(context)
        return PokeReturnValue(is_done=False)

    def execute_complete(self, context: Context, event: Any = None) -> dict[str, Any]:
        """
        End a deferred wait.

        :param event: the payload of the trigger's event.
        :raises FireworksInvalidEvent: if it is invalid.
        """
        parsed = parse_resumed(Event, event)
        return self._result(parse_resumed(self.wait_class, parsed.wait), parsed.verdict)

    def resume_execution(self, next_method: str, next_kwargs: dict[str, Any] | None, context: Context) -> Any:
        """Resume as any sensor does, but never skip what must fail."""
        try:
            with _not_skipping(NEVER_SKIPPED):
                return super().resume_execution(next_method, next_kwargs, context)
        except AirflowException as error:
            # Sensors of Airflow 3.0 ignore never_fail here.
            if not self.never_fail or isinstance(error, (AirflowSkipException, *NEVER_SKIPPED)):
                raise
            raise AirflowSkipException("Skipping due to never_fail is set to True.") from error

    def _get_next_poke_interval(
        self, started_at: datetime | float, run_duration: Callable[[], float], poke_count: int
    ) -> float:
        """Return the seconds until the next poke: Airflow's, but longer while requests fail."""
        interval = super()._get_next_poke_interval(started_at, run_duration, poke_count)
        return float(max(interval, self._wait.next_delay(time.time())))

    def _poll(self) -> Verdict:
        """Send the next request, and judge its result."""
        result: Any
        try:
            if not isinstance(self._wait, ResourceWait):
                self._name = self._full_name()
                self._wait = self._new_wait(
                    self._name,
                    **self._common,
                    has_responded=self._wait.has_responded or self.hook.has_responded,
                )
            result = self.hook.send(self._wait.next_request(), attempts=1)
        except ApiError as error:
            result = error
        return self._wait.observe(result, time.time())

    def _result(self, wait: Wait, verdict: Verdict) -> dict[str, Any]:
        """Return the task's result, or raise the error of a wait that did not end well."""
        if verdict.outcome is Outcome.READY:
            return self._success(wait, verdict)
        if isinstance(wait, ResourceWait):
            verdict = self._with_details(wait, verdict)
        waited = f"Waited {time.time() - wait.began:.0f} s for {wait.goal}"
        limit = self._time_limit
        if verdict.outcome is not Outcome.TIMEOUT or limit.argument == "timeout":
            raise error_from_verdict(
                verdict,
                f"{waited}: {verdict.reason}",
                failed=self.failure_class,
                timeout=AirflowSensorTimeout,
                not_found=self.not_found_hint,
            )
        error = error_from_verdict(
            verdict,
            f"{waited}: execution_timeout of {limit.seconds:.0f} s is over, {verdict.reason}",
            failed=self.failure_class,
            timeout=AirflowTaskTimeout,
        )
        if self.soft_fail or self.never_fail:
            # Airflow skips a poking sensor for it, but not a resumed one: AirflowTaskTimeout is a BaseException.
            raise AirflowSkipException(str(error)) from error
        raise error


@contextmanager
def _not_skipping(errors: tuple[type[BaseException], ...]) -> Iterator[None]:
    """Raise these errors, which Airflow's ``soft_fail`` and ``never_fail`` turn into a skip."""
    try:
        yield
    except AirflowSkipException as skip:
        if isinstance(skip.__cause__, errors):
            raise skip.__cause__ from None
        raise
