"""What the sensors share: one wait, whose looks mean the same in a worker, rescheduled and deferred."""

from __future__ import annotations

import time
from abc import abstractmethod
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from functools import cached_property
from typing import TYPE_CHECKING, Any

from airflow.providers.common.compat.sdk import (
    AirflowException,
    AirflowSensorTimeout,
    AirflowSkipException,
    AirflowTaskTimeout,
    BaseSensorOperator,
    PokeReturnValue,
)

from airflow_provider_fireworks.arguments import TimeLimit, WaitingArguments
from airflow_provider_fireworks.client.errors import GatewayError
from airflow_provider_fireworks.exceptions import (
    NEVER_SKIPPED,
    FireworksError,
    FireworksInvalidEvent,
    FireworksNotFound,
    error_of_verdict,
)
from airflow_provider_fireworks.triggers.base import DEFERRAL_SLACK, FireworksTrigger
from airflow_provider_fireworks.verdict import Outcome, Verdict
from airflow_provider_fireworks.watch import Watch

if TYPE_CHECKING:
    from datetime import datetime

    from airflow.providers.common.compat.sdk import Context

    from airflow_provider_fireworks.hooks.fireworks import FireworksHook


class FireworksSensor(BaseSensorOperator):
    """
    A wait for something at the gateway.

    A subclass says what it waits for; how often to look, for how long, and where, is said here.
    """

    failure: type[FireworksError]
    """Raised where what is waited for will never be."""
    not_found_hint = FireworksNotFound.what_to_do
    """What to do if it does not exist."""
    deferrable: bool

    @cached_property
    def hook(self) -> FireworksHook:
        """The connection to the gateway."""
        from airflow_provider_fireworks.hooks.fireworks import FireworksHook

        return FireworksHook(self._arguments.fireworks_conn_id, account_id=self._arguments.account_id)

    def _given(self) -> dict[str, Any]:
        """Return the arguments as they are now: literals or templates in the DAG file, rendered in a task."""
        templated = {name: getattr(self, name) for name in self.template_fields}
        return {**templated, "poll_interval": self.poke_interval, "timeout": self.timeout}

    @property
    @abstractmethod
    def _arguments(self) -> WaitingArguments:
        """The arguments, rendered and checked."""

    @abstractmethod
    def _begin(self, **common: Any) -> Watch:
        """Return the wait, with these fields in it."""

    @abstractmethod
    def _full_name(self, name: str) -> str:
        """Return the full resource name of what is waited for; may take a request to find the account out."""

    @abstractmethod
    def _trigger(self, watch: dict[str, Any]) -> FireworksTrigger:
        """Return the trigger that goes on with the wait."""

    @abstractmethod
    def _resumed(self, carried: dict[str, Any]) -> Watch:
        """Return the wait that a deferral carried."""

    @abstractmethod
    def _success(self, watch: Watch, verdict: Verdict) -> dict[str, Any]:
        """Return the task's result."""

    def execute(self, context: Context) -> Any:
        """Poke until the wait is over; deferrable, until the first poke has found that there is one."""
        # Rescheduled, every poke is a new process; the wait began with the first.
        first = context["ti"].get_first_reschedule_date(context) if self.reschedule else None
        began = first.timestamp() if first else time.time()
        self._watch = self._begin(
            began=began,
            deadline=began + self._time_limit.seconds,
            poll_interval=self.poke_interval,
            growing=self.exponential_backoff,
            longest_interval=self.max_wait.total_seconds() if self.max_wait else None,
        )
        with _skipping_none_of(NEVER_SKIPPED):
            return super().execute(context)

    @property
    def _time_limit(self) -> TimeLimit:
        # Of a poking sensor Airflow itself bounds the whole wait, of a rescheduled one, by contract, each poke.
        return self._arguments.time_limit(self.execution_timeout if self._arguments.deferrable else None)

    def poke(self, context: Context) -> PokeReturnValue:
        """Look once. Where the wait is not over, a deferrable sensor is deferred."""
        watch = self._watch
        verdict = watch.see(self._read(), time.time())
        while watch.half_way and not verdict.ends:
            verdict = watch.see(self._read(), time.time())
        if verdict.ends:
            return PokeReturnValue(is_done=True, xcom_value=self._result(watch, verdict))
        if line := watch.news(verdict, time.time()):
            self.log.info("%s", line)
        # A trigger needs the full name. While the account cannot be found out, the worker goes on asking.
        name = getattr(watch, watch.resource)
        if self._arguments.deferrable and "/" in name:
            # For the link, which is wanted while the task waits.
            context["ti"].xcom_push(key=watch.resource, value=name)
            self.defer(
                trigger=self._trigger(watch.as_arguments()),
                method_name="execute_complete",
                timeout=timedelta(seconds=max(watch.deadline - time.time(), 0) + DEFERRAL_SLACK),
            )
        if time.time() >= watch.deadline:
            # Airflow would end the wait now, with less to say and whatever never_fail is. A last look does it.
            return self.poke(context)
        return PokeReturnValue(is_done=False)

    def execute_complete(self, context: Context, event: Any = None) -> dict[str, Any]:
        """
        End a deferred wait.

        :param event: the trigger's verdict, and what it was a wait for.
        """
        try:
            verdict, carried = Verdict.of_event(event)
            watch = self._resumed(carried)
        except ValueError as error:
            raise FireworksInvalidEvent.because(error) from None
        return self._result(watch, verdict)

    def resume_execution(self, next_method: str, next_kwargs: dict[str, Any] | None, context: Context) -> Any:
        """Resume as any sensor does, but for what must not be skipped."""
        try:
            with _skipping_none_of(NEVER_SKIPPED):
                return super().resume_execution(next_method, next_kwargs, context)
        except AirflowException as error:
            # The sensors of Airflow 3.0 forget never_fail here.
            if not self.never_fail or isinstance(error, (AirflowSkipException, *NEVER_SKIPPED)):
                raise
            raise AirflowSkipException("Skipping due to never_fail is set to True.") from error

    def _get_next_poke_interval(
        self, started_at: datetime | float, run_duration: Callable[[], float], poke_count: int
    ) -> float:
        """Return the seconds until the next poke: Airflow's, but longer while the gateway does not answer."""
        asked = super()._get_next_poke_interval(started_at, run_duration, poke_count)
        return float(max(asked, self._watch.pause(time.time())))

    def _read(self) -> Any:
        try:
            watch = self._watch
            setattr(watch, watch.resource, self._full_name(getattr(watch, watch.resource)))
            return self.hook.send(watch.call(), attempts=1)
        except GatewayError as error:
            return error

    def _result(self, watch: Watch, verdict: Verdict) -> dict[str, Any]:
        """Return the task's result, or raise what a wait that has ended badly is to end with."""
        if verdict.outcome is Outcome.READY:
            return self._success(watch, verdict)
        waited = f"Waited {time.time() - watch.began:.0f} s for {watch.wanted}"
        limit = self._time_limit
        if verdict.outcome is not Outcome.TIMEOUT or limit.argument == "timeout":
            raise error_of_verdict(
                verdict,
                f"{waited}: {verdict.reason}",
                failed=self.failure,
                timeout=AirflowSensorTimeout,
                not_found=self.not_found_hint,
            )
        error = error_of_verdict(
            verdict,
            f"{waited}: execution_timeout of {limit.seconds:.0f} s is over, {verdict.reason}",
            failed=self.failure,
            timeout=AirflowTaskTimeout,
        )
        if self.soft_fail or self.never_fail:
            # A resumed sensor does not skip for it, as a poking one does: it is no Exception.
            raise AirflowSkipException(str(error)) from error
        raise error


@contextmanager
def _skipping_none_of(errors: tuple[type[BaseException], ...]) -> Iterator[None]:
    """Undo what Airflow's ``soft_fail`` and ``never_fail`` make of these."""
    try:
        yield
    except AirflowSkipException as skip:
        if isinstance(skip.__cause__, errors):
            raise skip.__cause__ from None
        raise
