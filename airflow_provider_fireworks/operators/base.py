"""What the operators share: the connection, and waiting, in the task or in the triggerer."""

from __future__ import annotations

import time
from abc import abstractmethod
from collections.abc import Callable
from datetime import timedelta
from functools import cached_property
from typing import TYPE_CHECKING, Any, TypeVar

from airflow.providers.common.compat.sdk import AirflowTaskTimeout, BaseOperator

from airflow_provider_fireworks.arguments import Arguments, TimeLimit, WaitingArguments
from airflow_provider_fireworks.client.calls import Call
from airflow_provider_fireworks.client.errors import GatewayError
from airflow_provider_fireworks.exceptions import (
    FireworksError,
    FireworksInvalidEvent,
    FireworksTimeout,
    error_of_gateway,
    error_of_verdict,
)
from airflow_provider_fireworks.triggers.base import DEFERRAL_SLACK, FireworksTrigger
from airflow_provider_fireworks.verdict import Outcome, Verdict
from airflow_provider_fireworks.watch import Watch

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import Context
    from pydantic import BaseModel

    from airflow_provider_fireworks.hooks.fireworks import FireworksHook

ResultT = TypeVar("ResultT")


def show_precision(context: Context, precision: str | None) -> None:
    """Label a mapped task with its precision in the grid, also while it is deferred, unless the DAG labels it."""
    ti: Any = context["ti"]
    if precision and (ti.map_index or 0) >= 0 and context.get("map_index_template") is None:
        context["map_index_template"] = ti.rendered_map_index = precision


class FireworksOperator(BaseOperator):
    """A task that sends requests to the Fireworks API."""

    _noted = ""

    @cached_property
    def hook(self) -> FireworksHook:
        """The connection to the gateway."""
        from airflow_provider_fireworks.hooks.fireworks import FireworksHook

        return FireworksHook(self._arguments.fireworks_conn_id, account_id=self._arguments.account_id)

    @property
    @abstractmethod
    def _arguments(self) -> Arguments:
        """The arguments, rendered and checked."""

    def _note(self, note: str) -> None:
        """Log why the task pauses, unless the pause before was for the same reason."""
        if note != self._noted:
            self._noted = note
            self.log.info("%s Polling until that changes.", note)

    def _rendered(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in self.template_fields}

    def _read(self, call: Call[ResultT]) -> ResultT | GatewayError:
        """Make a call once, and return what came of it."""
        try:
            return self.hook.send(call, attempts=1)
        except GatewayError as error:
            return error

    def _patiently(
        self, ask: Callable[[], ResultT], watch: Watch, what: str, fail: Callable[[Verdict], None]
    ) -> ResultT:
        """
        Ask until an answer comes, with growing pauses.

        :param watch: says for how long.
        :param what: it is about, for the message of an error.
        :param fail: raises what the task ends with when that time is over.
        :raises FireworksError: for an error that waiting cannot mend.
        """
        while True:
            try:
                return ask()
            except GatewayError as error:
                if not error.blip:
                    raise error_of_gateway(error, f"{what}: {error}") from None
                verdict = watch.see(error, time.time())
            if verdict.ends:
                fail(verdict)
            if line := watch.news(verdict, time.time()):
                self.log.warning("%s", line)
            time.sleep(watch.pause(time.time()))


class WaitingOperator(FireworksOperator):
    """
    A task that also waits.

    Where it stands is an object that goes with a deferral and comes back with the trigger's event.
    """

    _answered = False

    def execute_complete(self, context: Context, event: Any = None) -> Any:
        """
        Go on after a deferral.

        :param event: the trigger's verdict, and where the task stood when it was deferred.
        """
        try:
            verdict, carried = Verdict.of_event(event)
            progress = self._resumed(carried)
            # A trigger that never got an answer ends with that as its verdict, and the task with it.
            self._answered = True
        except ValueError as error:
            raise FireworksInvalidEvent.because(error) from None
        return self._resume(context, progress, verdict)

    @property
    @abstractmethod
    def _arguments(self) -> WaitingArguments:
        """The arguments, rendered and checked."""

    @property
    def _time_limit(self) -> TimeLimit:
        return self._arguments.time_limit(self.execution_timeout)

    @property
    def _has_answered(self) -> bool:
        """Whether the API has answered this task before, so that what answers at the Base URL is the API."""
        return self._answered or self.hook.has_answered

    def _error_of(self, verdict: Verdict, what: str, *, failed: type[FireworksError]) -> BaseException:
        """
        Return what to raise for a wait that did not end well.

        :param what: was waited for.
        :param failed: raised where it will never be.
        """
        limit = self._time_limit
        over = ""
        if verdict.outcome is Outcome.TIMEOUT:
            over = f"{limit.argument} of {limit.seconds:.0f} s is over, "
        return error_of_verdict(
            verdict,
            f"{what}: {over}{verdict.reason}",
            failed=failed,
            timeout=AirflowTaskTimeout if limit.argument == "execution_timeout" else FireworksTimeout,
        )

    @abstractmethod
    def _resumed(self, carried: dict[str, Any]) -> Any:
        """Return where the task stood, of what a deferral carried."""

    @abstractmethod
    def _resume(self, context: Context, progress: Any, verdict: Verdict) -> Any:
        """Go on from there, after a wait that has ended with this verdict."""

    @abstractmethod
    def _trigger(self, watch: Watch, carry: dict[str, Any]) -> FireworksTrigger:
        """Return the trigger that does this wait."""

    def _wait(self, watch: Watch, progress: BaseModel) -> Verdict:
        """Wait, and return how that has ended; deferrable, this does not return, but the task is resumed with it."""
        if self._arguments.deferrable:
            self.defer(
                trigger=self._trigger(watch, progress.model_dump(mode="json", exclude_defaults=True)),
                method_name="execute_complete",
                timeout=timedelta(seconds=max(watch.deadline - time.time(), 0) + DEFERRAL_SLACK),
            )
        while True:
            time.sleep(watch.pause(time.time()))
            self._heed_kill()
            verdict = watch.see(self._read(watch.call()), time.time())
            if verdict.ends:
                return verdict
            if not watch.half_way and (line := watch.news(verdict, time.time())):
                self.log.info("%s", line)

    def _heed_kill(self) -> None:
        """End the task if it is being killed and something depends on that."""

    def _after_blip(self, error: GatewayError, watch: Watch, progress: BaseModel) -> Verdict:
        """
        Return how a call that failed is to be taken: at once, or, if it says nothing, once the gateway answers again.

        :param watch: a wait until it does.
        """
        verdict = watch.see(error, time.time())
        if verdict.ends:
            return verdict
        self.log.warning("%s", error)
        return self._wait(watch, progress)
