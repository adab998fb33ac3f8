"""What a create task does with its deployment if Airflow kills it in the worker."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest

from airflow_provider_fireworks import exceptions
from airflow_provider_fireworks.deployments.ownership import Owner
from tests.integration.conftest import TaskInstance
from tests.integration.creating import (
    NAME,
    costs_nothing,
    count_changes,
    count_creates,
    create_by_hand,
    make_task,
    second_try,
    shown,
    signal_when,
)
from tests.integration.on_kill.states import IN_USE, MONEY, OVER, response_with


def kill_when(
    condition: Callable[[], Any], instance: TaskInstance | None = None, **arguments: Any
) -> exceptions.FireworksError:
    """Run a task that gets SIGTERM as soon as a condition holds, and return what it raises."""
    task = make_task(**arguments)
    with signal_when(condition, task.on_kill), pytest.raises(exceptions.FireworksError) as failure:
        task.execute({"ti": instance or TaskInstance()})
    return failure.value


def kill_while_waiting(
    emulator: Any, instance: TaskInstance | None = None, **arguments: Any
) -> exceptions.FireworksError:
    """Kill a task that has created its deployment and waits for it."""
    emulator.configure(deploy_duration=60)
    return kill_when(lambda: emulator.count("GET", "/deployments/") > 1, instance, **arguments)


# ---- what the state of the task decides


@pytest.mark.parametrize("state", OVER)
def test_killed_task_deletes_softly_if_it_is_over(emulator, state):
    kill_while_waiting(emulator, TaskInstance(state=state), poll_interval=0.3)
    assert costs_nothing(emulator)
    assert shown(emulator)["state"] == "DELETED"


@pytest.mark.parametrize("state", [state for state in IN_USE if state != "running"])
def test_killed_task_keeps_deployment_that_may_be_used(emulator, state):
    failure = kill_while_waiting(emulator, TaskInstance(state=state))
    assert emulator.deployments_left == [NAME]
    assert count_changes(emulator) == 0
    assert f"{NAME} is kept, because the state of its task is {str(state).lower()}: {MONEY}" in str(failure)


@pytest.mark.parametrize("delete_on_kill", [None, False, True])
def test_evicted_task_keeps_deployment_for_next_try(emulator, delete_on_kill):
    failure = kill_while_waiting(
        emulator, TaskInstance(state="running", max_tries=1), delete_on_kill=delete_on_kill
    )
    assert not isinstance(failure, exceptions.FireworksFinalError)
    assert "kept for the next try" in str(failure)
    emulator.set_deployment(NAME.rpartition("/")[2], state="READY")
    assert make_task().execute({"ti": second_try(max_tries=1)}) == {"deployment": NAME}
    assert (len(emulator.creations), count_changes(emulator)) == (1, 0)


@pytest.mark.parametrize("delete_on_failure", [False, True])
def test_evicted_task_without_retry_follows_delete_on_failure(emulator, delete_on_failure):
    instance = TaskInstance(state="running", try_number=2, max_tries=1)
    failure = kill_while_waiting(emulator, instance, delete_on_failure=delete_on_failure)
    assert (emulator.deployments_left == []) is delete_on_failure
    assert (MONEY in str(failure)) is not delete_on_failure


@pytest.mark.parametrize(
    ("arguments", "deletes"),
    [
        ({}, True),
        ({"delete_on_kill": True, "delete_on_failure": False}, True),
        ({"delete_on_kill": False}, False),
        ({"delete_on_failure": False}, False),
    ],
    ids=str,
)
def test_killed_task_prefers_delete_on_kill_to_delete_on_failure(emulator, arguments, deletes):
    failure = kill_while_waiting(emulator, **arguments)
    assert (emulator.deployments_left == []) is deletes
    assert (MONEY in str(failure)) is not deletes


# ---- what Airflow returns


class OddAirflow(TaskInstance):
    """A task instance of an Airflow whose response is odd, an error, or never comes."""

    def __init__(self, response: Any) -> None:
        super().__init__()
        self.response = response
        self.asking_threads: list[str] = []

    def get_task_states(self, *_: Any, **__: Any) -> Any:
        self.asking_threads.append(threading.current_thread().name)
        if self.response == "hangs":
            time.sleep(30)
        if isinstance(self.response, BaseException):
            raise self.response
        return self.response

    def xcom_push(self, key: str, value: Any) -> None:
        assert not self.asking_threads, "something is sent to Airflow after it did not respond"


@pytest.mark.parametrize(
    "response",
    [
        {},
        {"manual__1": {}},
        {"another_run": {"deploy": "failed"}},
        {"manual__1": {"deploy": "failed", "other": "success"}},
        {"manual__1": {"other": "failed"}},
        "OK",
        None,
        RuntimeError("the response to another request"),
        "hangs",
    ],
    ids=str,
)
def test_killed_task_keeps_deployment_if_airflow_does_not_say(emulator, response):
    instance = OddAirflow(response)
    began = time.monotonic()
    failure = kill_while_waiting(emulator, instance)
    assert emulator.deployments_left == [NAME]
    assert f"{NAME} is kept, because Airflow did not say whether it will still be used: {MONEY}" in str(
        failure
    )
    assert time.monotonic() - began < 4
    # The signal handler runs in the main thread, which may hold the lock of the channel to Airflow.
    assert len(instance.asking_threads) == 1
    assert instance.asking_threads[0] != threading.main_thread().name


def test_killed_task_logs_what_may_be_left_before_it_asks_airflow(emulator, caplog, capsys):
    logged: list[str] = []

    class Witness(TaskInstance):
        def get_task_states(self, *arguments: Any, **more: Any) -> dict[str, Any]:
            logged.append(caplog.text + "".join(capsys.readouterr()))
            return super().get_task_states(*arguments, **more)

    with caplog.at_level(logging.ERROR):
        kill_while_waiting(emulator, Witness())
    assert NAME in logged[0]
    assert MONEY in logged[0]


def test_killed_task_with_locked_airflow_channel_keeps_deployment(emulator):
    # Interrupted between acquiring the lock and the block that releases it, Airflow's channel stays locked.
    channel = threading.Lock()
    asking = threading.Event()

    class Locked(TaskInstance):
        def get_dr_count(self, *_: Any, **__: Any) -> int:
            channel.acquire()
            asking.set()
            time.sleep(5)
            return 0

        def get_task_states(self, *_: Any, **__: Any) -> Any:
            with channel:
                return response_with("failed")

    emulator.configure(deploy_duration=60)
    create_by_hand(emulator, "shared", description=Owner("my_dag", "an earlier run", "deploy").description)
    began = time.monotonic()
    failure = kill_when(asking.is_set, Locked(try_number=2), deployment_id="shared")
    assert time.monotonic() - began < 4
    assert emulator.deployments_left == ["accounts/demo/deployments/shared"]
    assert MONEY in str(failure)


# ---- where the signal interrupts the task


@pytest.mark.parametrize("delete_on_kill", [False, True])
def test_task_killed_before_create_request_creates_nothing(emulator, delete_on_kill):
    emulator.fault("slow", method="GET", path="/models/", delay=0.4)
    kill_when(lambda: emulator.count("GET", "/models/"), delete_on_kill=delete_on_kill)
    assert count_creates(emulator) == 0


@pytest.mark.parametrize("after_work", [False, True], ids=["before", "after"])
def test_task_killed_during_create_request_deletes(emulator, after_work):
    emulator.configure(deploy_duration=60)
    emulator.fault("slow", method="POST", path="/deployments", delay=0.5, after_work=after_work)
    kill_when(lambda: count_creates(emulator))
    assert costs_nothing(emulator)
    # An API may notice that nobody waits for its response any more.
    assert len(emulator.creations) <= 1


def test_task_killed_during_create_request_deletes_what_appears_later(emulator):
    emulator.configure(deploy_duration=60, create_lag=0.4)
    emulator.fault("slow", method="POST", path="/deployments", delay=0.2)
    kill_when(lambda: count_creates(emulator))
    assert costs_nothing(emulator)


@pytest.mark.parametrize("method", ["GET", "DELETE"])
def test_killed_task_deletes_over_transient_error(emulator, method):
    emulator.configure(deploy_duration=0.5)
    task = make_task()

    def kill() -> None:
        emulator.fault("status", method=method, path="/deployments/")
        task.on_kill()

    with (
        signal_when(lambda: emulator.count("GET", "/deployments/") > 1, kill),
        pytest.raises(exceptions.FireworksError),
    ):
        task.execute({"ti": TaskInstance()})
    assert costs_nothing(emulator)


def test_killed_task_leaves_foreign_deployment_alone(emulator):
    create_by_hand(emulator, description="Do not touch!")
    task = make_task()
    with pytest.raises(exceptions.FireworksDeploymentConflict):
        task.execute({"ti": second_try()})
    task.on_kill()
    assert count_changes(emulator) == 0
