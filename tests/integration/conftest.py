"""Runs tasks against an emulated API over HTTP, as Airflow does: in a worker, rescheduled, or deferred."""

from __future__ import annotations

import asyncio
import json
import os
import time
from collections.abc import Callable
from datetime import datetime, timezone
from importlib import import_module
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import BaseOperator, TaskDeferred

from airflow_provider_fireworks.emulator import Emulator
from tests.integration.clients import KEY, send_async, send_sync
from tests.timing import use_timing

try:
    from airflow.sdk.exceptions import AirflowRescheduleException
except ImportError:  # Airflow 3.0 and 3.1
    from airflow.exceptions import AirflowRescheduleException

MODEL = "accounts/demo/models/my-model"


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Shorten the delays that spare a real API."""
    use_timing(
        monkeypatch,
        min_retry_delay=0.05,
        min_poll_delay=0.05,
        max_poll_backoff=0.2,
        first_trigger_delay=0.0,
        preparation_start=1.2,
        min_pause=0.05,
        max_pause=0.2,
        cleanup_timeout=5.0,
        sweep_timeout=0.5,
        visibility_lag=0.6,
        min_delete_delay=0.05,
        max_delete_delay=0.1,
    )


@pytest.fixture
def emulator(monkeypatch: pytest.MonkeyPatch) -> Any:
    """An emulated API, to which the connection ``fireworks_default`` leads."""
    with Emulator(duration=0.3, deploy_duration=0.1, scale_duration=0.1, router_duration=0.1) as emulator:
        monkeypatch.setenv("AIRFLOW_CONN_FIREWORKS_DEFAULT", emulator.connection)
        yield emulator


@pytest.fixture
def lists(emulator: Any) -> None:
    """Makes the emulated API list precisions, which it does not do by default."""
    emulator.configure(precision_lists="present")


@pytest.fixture
def connect(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Changes fields of the connection ``fireworks_default``, and creates it if there is none."""
    variable = "AIRFLOW_CONN_FIREWORKS_DEFAULT"

    def change(**fields: Any) -> None:
        connection = {"conn_type": "fireworks", "password": KEY, "login": "demo"}
        connection |= json.loads(os.environ.get(variable, "{}")) | fields
        monkeypatch.setenv(variable, json.dumps(connection))

    return change


@pytest.fixture(params=[send_sync, send_async], ids=["sync", "async"])
def send(request: pytest.FixtureRequest) -> Any:
    """Sends a request to a URL once, with each of the two clients."""
    return request.param


class TaskInstance:
    """
    The part of Airflow's task instance that this package uses.

    :param max_tries: how many retries the task has.
    :param state: the state of the task, as Airflow returns it to a task that is killed because it was marked as failed.
    :param runs: the states of DAG runs, by their ids.
    """

    def __init__(
        self,
        task_id: str = "deploy",
        run_id: str = "manual__1",
        map_index: int = -1,
        *,
        dag_id: str = "my_dag",
        try_number: int = 1,
        max_tries: int = 0,
        state: str | None = "failed",
        runs: dict[str, str] | None = None,
    ) -> None:
        self.dag_id, self.run_id, self.task_id, self.map_index = dag_id, run_id, task_id, map_index
        self.try_number, self.max_tries, self.state = try_number, max_tries, state
        self.runs = runs or {}
        self.first_reschedule: datetime | None = None
        self.xcoms: dict[str, Any] = {}

    def xcom_push(self, key: str, value: Any) -> None:
        self.xcoms[key] = value

    def xcom_pull(self, *, task_ids: str, key: str, map_indexes: int) -> Any:
        assert (task_ids, map_indexes) == (self.task_id, self.map_index)
        return self.xcoms.get(key)

    def next_try(self) -> TaskInstance:
        """Begin the next try, although this one may still run, and delete all XComs."""
        begun = TaskInstance(
            self.task_id,
            self.run_id,
            self.map_index,
            dag_id=self.dag_id,
            try_number=self.try_number + 1,
            max_tries=self.try_number + 1,
        )
        begun.xcoms = self.xcoms
        begun.xcoms.clear()
        return begun

    def get_task_states(
        self, dag_id: str, *, map_index: int, task_ids: list[str], run_ids: list[str]
    ) -> dict[str, Any]:
        assert (dag_id, map_index, task_ids, run_ids) == (
            self.dag_id,
            self.map_index,
            [self.task_id],
            [self.run_id],
        )
        key = self.task_id if map_index < 0 else f"{self.task_id}_{map_index}"
        return {self.run_id: {key: self.state}}

    def get_dr_count(
        self, dag_id: str, *, run_ids: list[str], states: list[str] | None = None, **_: Any
    ) -> int:
        if dag_id != self.dag_id:
            return 0
        return sum(run in run_ids and (not states or state in states) for run, state in self.runs.items())

    def get_first_reschedule_date(self, context: Any) -> datetime | None:
        return self.first_reschedule


def run_task(make: Callable[[], BaseOperator], instance: TaskInstance | None = None) -> Any:
    """
    Run a task to its end, over all its deferrals and reschedules.

    As in Airflow, the task is created anew after each of them, and its event goes through JSON.

    :param make: creates the task.
    """
    instance = instance or TaskInstance()
    context: Any = {"ti": instance}
    resuming: tuple[str, Any] | None = None
    while True:
        task = make()
        try:
            if resuming is None:
                return task.execute(context)
            method, event = resuming
            return task.resume_execution(method, {"event": event}, context)
        except AirflowRescheduleException as rescheduled:
            now = datetime.now(tz=timezone.utc)
            instance.first_reschedule = instance.first_reschedule or now
            time.sleep(max((rescheduled.reschedule_date - now).total_seconds(), 0))
        except TaskDeferred as deferral:
            if deferral.kwargs:
                raise AssertionError("dag.test() would drop the kwargs of a deferral") from None
            resuming = deferral.method_name, fire(*deferral.trigger.serialize())


def fire(path: str, kwargs: dict[str, Any]) -> Any:
    """
    Run a trigger up to its first event, and return the event's payload.

    As in Airflow, the trigger is created from its serialized arguments.
    """
    module, _, name = path.rpartition(".")
    trigger = getattr(import_module(module), name)(**json.loads(json.dumps(kwargs)))

    async def first() -> Any:
        async for event in trigger.run():
            return json.loads(json.dumps(event.payload))
        raise AssertionError("the trigger ended without an event")

    return asyncio.run(first())
