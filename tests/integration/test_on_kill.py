"""What becomes of a deployment when Airflow ends the task that created it: in a worker, and while it is deferred."""

from __future__ import annotations

import asyncio
import json
import logging
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from airflow.jobs.triggerer_job_runner import TriggerRunner
from airflow.providers.common.compat.sdk import TaskDeferred
from airflow.triggers.base import BaseTrigger

from airflow_provider_fireworks import airflow_state, exceptions
from airflow_provider_fireworks.deployments.ownership import Owner
from airflow_provider_fireworks.triggers import deployment as triggers
from airflow_provider_fireworks.triggers.deployment import FireworksDeploymentReadyTrigger
from tests.integration.conftest import TaskInstance
from tests.integration.creating import (
    MINE,
    NAME,
    SPEC,
    again,
    costs_nothing,
    defer,
    interrupted,
    make,
    payload,
    posts,
    task,
    touched,
)
from tests.timing import use_timing

MONEY = "IT MAY COST MONEY"

OVER = ["failed", "skipped", "upstream_failed", "removed"]
IN_USE = [
    "success",
    "deferred",
    "running",
    "restarting",
    "queued",
    "scheduled",
    "up_for_retry",
    "up_for_reschedule",
    None,
    "a_state_of_a_later_airflow",
]


def told(state: Any) -> dict[str, Any]:
    """Return what Airflow answers for the task in this state."""
    return {MINE.run_id: {MINE.task_id: state}}


# In a worker


def killed(
    when: Callable[[], Any], instance: TaskInstance | None = None, **arguments: Any
) -> exceptions.FireworksError:
    """Run a task that gets SIGTERM as soon as a condition holds, and return what it ends with."""
    running = task(**arguments)
    with interrupted(when, running.on_kill), pytest.raises(exceptions.FireworksError) as failure:
        running.execute({"ti": instance or TaskInstance()})
    return failure.value


@pytest.mark.parametrize("state", OVER)
def test_killed_task_deletes_softly_what_nobody_will_use(emulator, state):
    emulator.configure(deploy_duration=60)
    killed(lambda: emulator.count("GET", "/deployments/") > 1, TaskInstance(state=state), poll_interval=0.3)
    assert costs_nothing(emulator)
    assert payload(emulator)["state"] == "DELETED"


@pytest.mark.parametrize("state", [state for state in IN_USE if state != "running"])
def test_killed_task_keeps_what_may_still_be_used(emulator, state):
    emulator.configure(deploy_duration=60)
    failure = killed(lambda: emulator.count("GET", "/deployments/") > 1, TaskInstance(state=state))
    assert emulator.deployments_left == [NAME]
    assert touched(emulator) == 0
    assert NAME in str(failure)
    assert MONEY in str(failure)


@pytest.mark.parametrize("delete_on_kill", [None, False, True])
def test_evicted_task_keeps_its_deployment_for_the_next_try(emulator, delete_on_kill):
    emulator.configure(deploy_duration=0.6)
    failure = killed(
        lambda: emulator.count("GET", "/deployments/") > 1,
        TaskInstance(state="running", max_tries=1),
        delete_on_kill=delete_on_kill,
    )
    assert not isinstance(failure, exceptions.FireworksFinalError)
    assert "kept for the next try" in str(failure)
    assert task().execute({"ti": again(max_tries=1)}) == {"deployment": NAME}
    assert (len(emulator.creations), touched(emulator)) == (1, 0)


@pytest.mark.parametrize("delete_on_failure", [False, True])
def test_evicted_task_without_a_retry_does_as_delete_on_failure_says(emulator, delete_on_failure):
    emulator.configure(deploy_duration=60)
    instance = TaskInstance(state="running", try_number=2, max_tries=1)
    failure = killed(
        lambda: emulator.count("GET", "/deployments/") > 1, instance, delete_on_failure=delete_on_failure
    )
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
def test_delete_on_kill_overrides_delete_on_failure(emulator, arguments, deletes):
    emulator.configure(deploy_duration=60)
    failure = killed(lambda: emulator.count("GET", "/deployments/") > 1, **arguments)
    assert (emulator.deployments_left == []) is deletes
    assert (MONEY in str(failure)) is not deletes


class Silent(TaskInstance):
    """Airflow, which gives an odd answer, an error, or none."""

    def __init__(self, answer: Any) -> None:
        super().__init__()
        self.answer = answer
        self.asked: list[str] = []

    def get_task_states(self, *_: Any, **__: Any) -> Any:
        self.asked.append(threading.current_thread().name)
        if self.answer == "hangs":
            time.sleep(30)
        if isinstance(self.answer, BaseException):
            raise self.answer
        return self.answer

    def xcom_push(self, key: str, value: Any) -> None:
        assert not self.asked, "something is sent to Airflow after it gave no answer"


@pytest.mark.parametrize(
    "answer",
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
def test_killed_task_keeps_its_deployment_if_airflow_gives_no_answer(emulator, answer, caplog, capsys):
    emulator.configure(deploy_duration=60)
    instance = Silent(answer)
    began = time.monotonic()
    failure = killed(lambda: emulator.count("GET", "/deployments/") > 1, instance)
    assert emulator.deployments_left == [NAME]
    assert f"{NAME} is kept, since Airflow did not say whether it will still be used: {MONEY}" in str(failure)
    assert time.monotonic() - began < 4
    assert len(instance.asked) == 1
    assert instance.asked[0] != threading.main_thread().name


def test_killed_task_says_that_money_is_at_stake_before_it_asks_airflow(emulator, caplog, capsys):
    emulator.configure(deploy_duration=60)
    said: list[str] = []

    class Witness(TaskInstance):
        def get_task_states(self, *arguments: Any, **more: Any) -> dict[str, Any]:
            said.append(caplog.text + "".join(capsys.readouterr()))
            return super().get_task_states(*arguments, **more)

    with caplog.at_level(logging.ERROR):
        killed(lambda: emulator.count("GET", "/deployments/") > 1, Witness())
    assert NAME in said[0]
    assert MONEY in said[0]


def test_task_killed_in_the_middle_of_a_request_to_airflow_neither_hangs_nor_deletes(emulator):
    # Interrupted in the moment between taking it and the block that gives it back, Airflow's channel stays locked.
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
                return told("failed")

    emulator.configure(deploy_duration=60)
    make(emulator, "shared", description=Owner("my_dag", "an earlier run", "deploy").description)
    began = time.monotonic()
    failure = killed(asking.is_set, Locked(try_number=2), deployment_id="shared")
    assert time.monotonic() - began < 4
    assert emulator.deployments_left == ["accounts/demo/deployments/shared"]
    assert MONEY in str(failure)


@pytest.mark.parametrize("after_work", [False, True], ids=["before the work", "after the work"])
def test_task_killed_while_creating_leaves_nothing(emulator, after_work):
    emulator.configure(deploy_duration=60)
    emulator.fault("slow", method="POST", path="/deployments", delay=0.5, after_work=after_work)
    killed(lambda: posts(emulator))
    assert costs_nothing(emulator)
    # An API may take note that nobody waits for its answer any more.
    assert len(emulator.creations) <= 1


def test_task_killed_while_creating_deletes_what_shows_up_late(emulator):
    emulator.configure(deploy_duration=60, create_lag=0.4)
    emulator.fault("slow", method="POST", path="/deployments", delay=0.2)
    killed(lambda: posts(emulator))
    assert costs_nothing(emulator)


@pytest.mark.parametrize("method", ["GET", "DELETE"])
def test_killed_task_deletes_over_a_transient_error(emulator, method):
    emulator.configure(deploy_duration=0.5)
    running = task()

    def kill() -> None:
        emulator.fault("status", method=method, path="/deployments/")
        running.on_kill()

    with (
        interrupted(lambda: emulator.count("GET", "/deployments/") > 1, kill),
        pytest.raises(exceptions.FireworksError),
    ):
        running.execute({"ti": TaskInstance()})
    assert costs_nothing(emulator)


@pytest.mark.parametrize("delete_on_kill", [False, True])
def test_killed_task_creates_nothing(emulator, delete_on_kill):
    emulator.fault("slow", method="GET", path="/models/", delay=0.4)
    killed(lambda: emulator.count("GET", "/models/"), delete_on_kill=delete_on_kill)
    assert posts(emulator) == 0


def test_killed_task_never_touches_a_foreign_deployment(emulator):
    make(emulator, description="Do not touch!")
    running = task()
    with pytest.raises(exceptions.FireworksDeploymentConflict):
        running.execute({"ti": again()})
    running.on_kill()
    assert touched(emulator) == 0


# While it is deferred: cancelled by Airflow's own runner of triggers, as that does it


# Airflow before 3.3 calls nothing.
on_kill_is_called = pytest.mark.skipif(
    not hasattr(BaseTrigger, "on_kill"),
    reason="Airflow before 3.3 does not call a trigger's on_kill",
)


@pytest.fixture
def airflow_says(monkeypatch: pytest.MonkeyPatch) -> Callable[..., list[dict[str, Any]]]:
    """Make Airflow answer the questions for the task's state, the last answer for ever; returns the questions."""
    from airflow.sdk.execution_time.task_runner import RuntimeTaskInstance

    def says(*answers: Any) -> list[dict[str, Any]]:
        questions: list[dict[str, Any]] = []

        def answer(**question: Any) -> Any:
            questions.append(question)
            said = answers[min(len(questions), len(answers)) - 1]
            if isinstance(said, BaseException):
                raise said
            return said

        monkeypatch.setattr(RuntimeTaskInstance, "get_task_states", staticmethod(answer))
        return questions

    return says


@pytest.fixture
def logged() -> Iterator[Callable[[], str]]:
    """What the trigger has logged for the triggerer's own log. Airflow's runner replaces pytest's handlers."""
    lines: list[str] = []

    class Lines(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            lines.append(f"{record.levelname} {record.getMessage()}")

    logger, handler = logging.getLogger(triggers.__name__), Lines()
    level = logger.level
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    yield lambda: "\n".join(lines)
    logger.removeHandler(handler)
    logger.setLevel(level)


def deferred(**arguments: Any) -> FireworksDeploymentReadyTrigger:
    """Return the trigger of a task that has created its deployment, as the triggerer makes it of what is stored."""
    trigger = defer(lambda: task(deferrable=True, **arguments)).trigger
    return FireworksDeploymentReadyTrigger(**json.loads(json.dumps(trigger.serialize()[1])))


def kill(trigger: FireworksDeploymentReadyTrigger, *, every: float = 0.3) -> None:
    """
    Let Airflow's runner cancel a trigger as a person's mark makes it do: again and again, until it has ended.

    :param every: seconds between two cancellations; 1 in a triggerer.
    """

    async def run() -> None:
        runner = TriggerRunner()
        details: Any = {"is_watcher": False, "name": "the trigger", "events": 0}
        runner.triggers[1] = details
        details["task"] = asyncio.create_task(runner.run_trigger(1, trigger, None))
        await asyncio.sleep(0.1)
        while not details["task"].done():
            runner.to_cancel.append(1)
            await runner.cancel_triggers()
            await asyncio.wait([details["task"]], timeout=every)
        # A triggerer goes on after one of its triggers has ended.
        await asyncio.wait_for(asyncio.gather(*triggers._deletions), 30)

    asyncio.run(run())
    assert not triggers._deletions


@on_kill_is_called
@pytest.mark.parametrize(
    "answer", [*map(told, OVER), {}, {MINE.run_id: {}}, {"another": {"deploy": "running"}}], ids=str
)
def test_killed_trigger_deletes_softly_what_nobody_will_use(emulator, airflow_says, logged, answer):
    emulator.configure(deploy_duration=60)
    trigger = deferred()
    questions = airflow_says(answer)
    kill(trigger)
    assert costs_nothing(emulator)
    assert payload(emulator)["state"] == "DELETED"
    assert questions == [
        {"dag_id": "my_dag", "map_index": -1, "task_ids": ["deploy"], "run_ids": ["manual__1"]}
    ]
    assert f"task deploy of DAG my_dag, run manual__1: {NAME} was deleted." in logged()


@on_kill_is_called
@pytest.mark.parametrize("state", IN_USE)
def test_killed_trigger_keeps_what_may_still_be_used(emulator, airflow_says, logged, state):
    emulator.configure(deploy_duration=60)
    trigger = deferred()
    airflow_says(told(state))
    kill(trigger)
    assert emulator.deployments_left == [NAME]
    assert touched(emulator) == 0
    said = logged()
    assert f"task deploy of DAG my_dag, run manual__1: Not deleting {NAME}" in said
    assert MONEY not in said


@on_kill_is_called
@pytest.mark.parametrize("answer", [RuntimeError("no channel"), None, "OK", [], {MINE.run_id: "x"}], ids=str)
def test_killed_trigger_keeps_its_deployment_if_airflow_gives_no_answer(
    emulator, airflow_says, logged, answer
):
    emulator.configure(deploy_duration=60)
    trigger = deferred()
    airflow_says(answer)
    kill(trigger)
    assert emulator.deployments_left == [NAME]
    said = logged()
    assert "ERROR" in said
    assert f"{NAME} was not deleted and {MONEY}: Airflow did not say" in said


@on_kill_is_called
def test_killed_trigger_of_a_mapped_task_asks_for_its_own_index(emulator, airflow_says):
    emulator.configure(deploy_duration=60)
    trigger = defer(lambda: task(deferrable=True), TaskInstance(map_index=2)).trigger
    questions = airflow_says({MINE.run_id: {"deploy_2": "failed"}})
    kill(trigger)
    assert emulator.deployments_left == []
    assert questions[0]["map_index"] == 2


class Loop:
    index = 1


@on_kill_is_called
def test_killed_trigger_in_a_loop_keeps_its_deployment(emulator, airflow_says, logged):
    emulator.configure(deploy_duration=60)
    with pytest.raises(TaskDeferred) as deferral:
        task(deferrable=True).execute({"ti": TaskInstance(), "loop": Loop()})
    airflow_says(told("failed"))
    kill(deferral.value.trigger)
    assert len(emulator.deployments_left) == 1
    assert MONEY in logged()


@on_kill_is_called
def test_killed_trigger_asks_again_before_every_attempt(emulator, airflow_says):
    emulator.configure(deploy_duration=60)
    trigger = deferred()
    emulator.fault("status", status=503, method="DELETE")
    # Cleared between the two.
    questions = airflow_says(told("failed"), told(None))
    kill(trigger)
    assert len(questions) == 2
    assert emulator.count("DELETE") == 1
    assert emulator.deployments_left == [NAME]


@on_kill_is_called
def test_killed_trigger_finishes_though_cancelled_every_second(emulator, airflow_says, logged):
    emulator.configure(deploy_duration=60)
    trigger = deferred(poll_interval=60)
    emulator.fault("slow", times=-1, delay=2, path="/deployments/")
    emulator.fault("status", status=503, method="DELETE")
    airflow_says(told("failed"))
    kill(trigger, every=1.0)
    emulator.clear_faults()
    assert costs_nothing(emulator)
    assert f"task deploy of DAG my_dag, run manual__1: {NAME} was deleted." in logged()


@on_kill_is_called
def test_killed_trigger_says_so_if_the_triggerer_shuts_down(emulator, airflow_says, logged):
    emulator.configure(deploy_duration=60)
    trigger = deferred(poll_interval=60)
    emulator.fault("hang", times=-1, path="/deployments/")
    airflow_says(told("failed"))

    async def shut_down() -> None:
        killed = asyncio.create_task(trigger.on_kill())
        await asyncio.sleep(0.2)
        # As asyncio.run does with all tasks at its end.
        for deletion in triggers._deletions:
            deletion.cancel()
        await asyncio.wait_for(killed, 5)

    asyncio.run(shut_down())
    assert f"{NAME} was not deleted and {MONEY}: the triggerer is shutting down" in logged()


@on_kill_is_called
@pytest.mark.parametrize(
    "fault",
    [
        {"kind": "status", "method": "GET"},
        {"kind": "drop", "method": "DELETE"},
        {"kind": "drop", "method": "DELETE", "after_work": True},
    ],
    ids=str,
)
def test_killed_trigger_deletes_over_a_transient_error(emulator, airflow_says, fault):
    emulator.configure(deploy_duration=60)
    trigger = deferred()
    emulator.fault(**fault)
    airflow_says(told("failed"))
    kill(trigger)
    assert costs_nothing(emulator)


@on_kill_is_called
@pytest.mark.parametrize("arguments", [{"delete_on_kill": False}, {"delete_on_failure": False}], ids=str)
def test_killed_trigger_deletes_nothing_unless_asked_to(emulator, airflow_says, arguments):
    emulator.configure(deploy_duration=60)
    trigger = deferred(**arguments, poll_interval=60)
    questions = airflow_says(told("failed"))
    emulator.clear()
    kill(trigger)
    assert emulator.requests == questions == []


@on_kill_is_called
def test_killed_trigger_never_touches_a_foreign_deployment(emulator, airflow_says):
    emulator.configure(deploy_duration=60)
    trigger = deferred()
    airflow_says(told("failed"))
    emulator.set_deployment(MINE.deployment_id, description="Do not touch!")
    kill(trigger)
    assert touched(emulator) == 0


@on_kill_is_called
@pytest.mark.parametrize("cleanup", [False, True], ids=["killed", "failed"])
def test_adopted_deployment_is_never_deleted(emulator, airflow_says, cleanup):
    emulator.configure(deploy_duration=60)
    earlier = Owner.from_context({"ti": TaskInstance(run_id="first")})
    make(emulator, "shared", **SPEC, description=earlier.description)
    instance = TaskInstance(run_id="second", runs={"first": "success", "second": "running"})
    running = task(deferrable=not cleanup, deployment_id="shared", timeout=0.5 if cleanup else 20)
    if cleanup:
        with pytest.raises(exceptions.FireworksTimeout):
            running.execute({"ti": instance})
    else:
        trigger = defer(lambda: running, instance).trigger
        airflow_says({"second": {"deploy": "failed"}})
        kill(trigger)
    signed = Owner.from_description(payload(emulator, "shared")["description"])
    assert signed == Owner.from_context({"ti": instance})
    assert signed.kept
    assert len(emulator.deployments_left) == 1
    assert emulator.count("DELETE") == 0


@on_kill_is_called
def test_killed_trigger_deletes_what_shows_up_late(emulator, airflow_says):
    emulator.configure(deploy_duration=60, create_lag=0.3)
    airflow_says(told("failed"))
    kill(deferred())
    assert costs_nothing(emulator)


@on_kill_is_called
def test_killed_trigger_is_silent_if_the_deployment_is_gone(emulator, airflow_says, logged):
    emulator.configure(deploy_duration=60)
    trigger = deferred(poll_interval=60)
    emulator.remove_deployment(MINE.deployment_id)
    airflow_says(told("failed"))
    kill(trigger)
    assert touched(emulator) == 0


@on_kill_is_called
@pytest.mark.parametrize("broken", ["key", "connection", "emulator"])
def test_killed_trigger_that_cannot_delete_says_so(emulator, airflow_says, logged, monkeypatch, broken):
    emulator.configure(deploy_duration=60)
    trigger = deferred(poll_interval=60)
    airflow_says(told("failed"))
    use_timing(monkeypatch, trigger_cleanup_timeout=5.6)
    if broken == "key":
        emulator.revoke_key()
    elif broken == "connection":
        monkeypatch.delenv("AIRFLOW_CONN_FIREWORKS_DEFAULT")
    else:
        emulator.fault("status", status=503, times=-1)
    kill(trigger)
    said = logged()
    assert f"{NAME} was not deleted and {MONEY}" in said
    assert emulator.api_key not in said


def test_cancelled_trigger_that_is_only_restarted_deletes_nothing(emulator):
    emulator.configure(deploy_duration=60)
    trigger = deferred()

    async def cut_off() -> None:
        waiting = asyncio.create_task(anext(trigger.run()))
        await asyncio.sleep(0.3)
        waiting.cancel()
        await asyncio.gather(waiting, return_exceptions=True)
        await trigger.cleanup()

    asyncio.run(cut_off())
    assert emulator.deployments_left == [NAME]
    assert touched(emulator) == 0


# The state of a task, as Airflow tells it


@pytest.mark.parametrize("state", [*OVER, airflow_state.ABSENT])
def test_task_that_is_over_uses_nothing_any_more(state):
    assert airflow_state.is_over(state)


@pytest.mark.parametrize("state", ["none" if state is None else state for state in IN_USE])
def test_task_in_any_other_state_may_use_it(state):
    assert not airflow_state.is_over(state)
