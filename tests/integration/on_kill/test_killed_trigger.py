"""What a trigger does with the deployment of its task if Airflow kills that task while it is deferred."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

import pytest
from airflow.jobs.triggerer_job_runner import TriggerRunner
from airflow.providers.common.compat.sdk import TaskDeferred
from airflow.triggers.base import BaseTrigger

from airflow_provider_fireworks import exceptions
from airflow_provider_fireworks.deployments.ownership import Owner
from airflow_provider_fireworks.triggers import deployment as triggers
from airflow_provider_fireworks.triggers.deployment import FireworksDeploymentReadyTrigger
from tests.integration.conftest import TaskInstance
from tests.integration.creating import (
    NAME,
    OWNER,
    SPEC,
    costs_nothing,
    count_changes,
    create_by_hand,
    defer_task,
    make_task,
    shown,
)
from tests.integration.on_kill.states import IN_USE, MONEY, OVER, response_with
from tests.timing import use_timing

SetResponses = Callable[..., list[dict[str, Any]]]
REPORTED = "task deploy of DAG my_dag, run manual__1:"

needs_on_kill = pytest.mark.skipif(
    not hasattr(BaseTrigger, "on_kill"),
    reason="Airflow before 3.3 does not call a trigger's on_kill",
)


@pytest.fixture
def airflow_returns(monkeypatch: pytest.MonkeyPatch) -> SetResponses:
    """Sets what Airflow returns for the state of the task, the last response forever; returns the queries."""
    from airflow.sdk.execution_time.task_runner import RuntimeTaskInstance

    def set_responses(*responses: Any) -> list[dict[str, Any]]:
        queries: list[dict[str, Any]] = []

        def get_task_states(**query: Any) -> Any:
            queries.append(query)
            response = responses[min(len(queries), len(responses)) - 1]
            if isinstance(response, BaseException):
                raise response
            return response

        monkeypatch.setattr(RuntimeTaskInstance, "get_task_states", staticmethod(get_task_states))
        return queries

    return set_responses


@pytest.fixture
def triggerer_log() -> Iterator[Callable[[], str]]:
    """Returns what the trigger has logged for the triggerer itself. Airflow's runner replaces pytest's handlers."""
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


@pytest.fixture(autouse=True)
def _slow_deployment(emulator: Any) -> None:
    emulator.configure(deploy_duration=60)


def make_trigger(**arguments: Any) -> FireworksDeploymentReadyTrigger:
    """Return the trigger of a task that has created its deployment, as the triggerer builds it from the database."""
    trigger = defer_task(lambda: make_task(deferrable=True, **arguments)).trigger
    return FireworksDeploymentReadyTrigger(**json.loads(json.dumps(trigger.serialize()[1])))


def kill(trigger: FireworksDeploymentReadyTrigger, *, every: float = 0.3) -> None:
    """
    Cancel a trigger in Airflow's own runner, as Airflow does when a person marks the task, until it has ended.

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


# ---- what the state of the task decides


@needs_on_kill
@pytest.mark.parametrize(
    "response",
    [*map(response_with, OVER), {}, {OWNER.run_id: {}}, {"another": {"deploy": "running"}}],
    ids=str,
)
def test_killed_trigger_deletes_softly_if_its_task_is_over(
    emulator, airflow_returns, triggerer_log, response
):
    trigger = make_trigger()
    queries = airflow_returns(response)
    kill(trigger)
    assert costs_nothing(emulator)
    assert shown(emulator)["state"] == "DELETED"
    assert queries == [
        {"dag_id": "my_dag", "map_index": -1, "task_ids": ["deploy"], "run_ids": ["manual__1"]}
    ]
    assert f"{REPORTED} {NAME} was deleted." in triggerer_log()


@needs_on_kill
@pytest.mark.parametrize("state", IN_USE)
def test_killed_trigger_keeps_deployment_that_may_be_used(emulator, airflow_returns, triggerer_log, state):
    trigger = make_trigger()
    airflow_returns(response_with(state))
    kill(trigger)
    assert emulator.deployments_left == [NAME]
    assert count_changes(emulator) == 0
    logged = triggerer_log()
    assert f"{REPORTED} Not deleting {NAME}" in logged
    assert MONEY not in logged


@needs_on_kill
@pytest.mark.parametrize(
    "response", [RuntimeError("no channel"), None, "OK", [], {OWNER.run_id: "x"}], ids=str
)
def test_killed_trigger_keeps_deployment_if_airflow_does_not_say(
    emulator, airflow_returns, triggerer_log, response
):
    trigger = make_trigger()
    airflow_returns(response)
    kill(trigger)
    assert emulator.deployments_left == [NAME]
    logged = triggerer_log()
    assert "ERROR" in logged
    assert f"{NAME} was not deleted and {MONEY}: Airflow did not say" in logged


@needs_on_kill
def test_killed_trigger_asks_for_map_index_of_its_task(emulator, airflow_returns):
    trigger = defer_task(lambda: make_task(deferrable=True), TaskInstance(map_index=2)).trigger
    queries = airflow_returns({OWNER.run_id: {"deploy_2": "failed"}})
    kill(trigger)
    assert emulator.deployments_left == []
    assert queries[0]["map_index"] == 2


@needs_on_kill
def test_killed_trigger_in_task_loop_keeps_deployment(emulator, airflow_returns, triggerer_log):
    # Airflow returns the state of the latest iteration, which may be another one.
    with pytest.raises(TaskDeferred) as deferral:
        make_task(deferrable=True).execute({"ti": TaskInstance(), "loop": SimpleNamespace(index=1)})
    airflow_returns(response_with("failed"))
    kill(deferral.value.trigger)
    assert len(emulator.deployments_left) == 1
    assert MONEY in triggerer_log()


@needs_on_kill
def test_killed_trigger_asks_again_before_each_attempt(emulator, airflow_returns):
    trigger = make_trigger()
    emulator.fault("status", status=503, method="DELETE")
    # The task is cleared between the two attempts.
    queries = airflow_returns(response_with("failed"), response_with(None))
    kill(trigger)
    assert len(queries) == 2
    assert emulator.count("DELETE") == 1
    assert emulator.deployments_left == [NAME]


# ---- what it deletes


@needs_on_kill
@pytest.mark.parametrize("arguments", [{"delete_on_kill": False}, {"delete_on_failure": False}], ids=str)
def test_killed_trigger_sends_nothing_unless_asked_to_delete(emulator, airflow_returns, arguments):
    trigger = make_trigger(**arguments, poll_interval=60)
    queries = airflow_returns(response_with("failed"))
    emulator.clear()
    kill(trigger)
    assert emulator.requests == queries == []


@needs_on_kill
def test_killed_trigger_leaves_foreign_deployment_alone(emulator, airflow_returns):
    trigger = make_trigger()
    airflow_returns(response_with("failed"))
    emulator.set_deployment(OWNER.deployment_id, description="Do not touch!")
    kill(trigger)
    assert count_changes(emulator) == 0


@needs_on_kill
@pytest.mark.parametrize("ending", ["killed", "failed"])
def test_adopted_deployment_is_not_deleted(emulator, airflow_returns, ending):
    earlier = Owner.from_context({"ti": TaskInstance(run_id="first")})
    create_by_hand(emulator, "shared", **SPEC, description=earlier.description)
    instance = TaskInstance(run_id="second", runs={"first": "success", "second": "running"})
    if ending == "killed":
        trigger = defer_task(lambda: make_task(deferrable=True, deployment_id="shared"), instance).trigger
        airflow_returns({"second": {"deploy": "failed"}})
        kill(trigger)
    else:
        with pytest.raises(exceptions.FireworksTimeout):
            make_task(deployment_id="shared", timeout=0.5).execute({"ti": instance})
    signed = Owner.from_description(shown(emulator, "shared")["description"])
    assert signed == Owner.from_context({"ti": instance})
    assert signed.kept
    assert len(emulator.deployments_left) == 1
    assert emulator.count("DELETE") == 0


@needs_on_kill
def test_killed_trigger_deletes_what_appears_later(emulator, airflow_returns):
    emulator.configure(create_lag=0.3)
    airflow_returns(response_with("failed"))
    kill(make_trigger())
    assert costs_nothing(emulator)


@needs_on_kill
def test_killed_trigger_deletes_nothing_if_deployment_is_gone(
    emulator, airflow_returns, triggerer_log, monkeypatch
):
    use_timing(monkeypatch, visibility_lag=0.0)
    trigger = make_trigger(poll_interval=60)
    emulator.remove_deployment(OWNER.deployment_id)
    airflow_returns(response_with("failed"))
    kill(trigger)
    assert count_changes(emulator) == 0
    assert f"INFO {REPORTED} {NAME} does not exist." in triggerer_log()


# ---- over errors and cancellations


@needs_on_kill
@pytest.mark.parametrize(
    "fault",
    [
        {"kind": "status", "method": "GET"},
        {"kind": "drop", "method": "DELETE"},
        {"kind": "drop", "method": "DELETE", "after_work": True},
    ],
    ids=str,
)
def test_killed_trigger_deletes_over_transient_error(emulator, airflow_returns, fault):
    trigger = make_trigger()
    emulator.fault(**fault)
    airflow_returns(response_with("failed"))
    kill(trigger)
    assert costs_nothing(emulator)


@needs_on_kill
def test_killed_trigger_deletes_though_cancelled_every_second(emulator, airflow_returns, triggerer_log):
    trigger = make_trigger(poll_interval=60)
    emulator.fault("slow", times=-1, delay=2, path="/deployments/")
    emulator.fault("status", status=503, method="DELETE")
    airflow_returns(response_with("failed"))
    kill(trigger, every=1.0)
    emulator.clear_faults()
    assert costs_nothing(emulator)
    assert f"{REPORTED} {NAME} was deleted." in triggerer_log()


@needs_on_kill
def test_killed_trigger_reports_that_triggerer_shuts_down(emulator, airflow_returns, triggerer_log):
    trigger = make_trigger(poll_interval=60)
    emulator.fault("hang", times=-1, path="/deployments/")
    airflow_returns(response_with("failed"))

    async def shut_down() -> None:
        killed = asyncio.create_task(trigger.on_kill())
        await asyncio.sleep(0.2)
        # As asyncio.run does with all tasks at its end.
        for deletion in triggers._deletions:
            deletion.cancel()
        await asyncio.wait_for(killed, 5)

    asyncio.run(shut_down())
    assert f"{NAME} was not deleted and {MONEY}: the triggerer is shutting down" in triggerer_log()


@needs_on_kill
@pytest.mark.parametrize("broken", ["key", "connection", "api"])
def test_killed_trigger_that_cannot_delete_reports_it(
    emulator, airflow_returns, triggerer_log, monkeypatch, broken
):
    trigger = make_trigger(poll_interval=60)
    airflow_returns(response_with("failed"))
    use_timing(monkeypatch, trigger_cleanup_timeout=5.6)
    if broken == "key":
        emulator.revoke_key()
    elif broken == "connection":
        monkeypatch.delenv("AIRFLOW_CONN_FIREWORKS_DEFAULT")
    else:
        emulator.fault("status", status=503, times=-1)
    kill(trigger)
    logged = triggerer_log()
    assert f"{NAME} was not deleted and {MONEY}" in logged
    assert emulator.api_key not in logged


def test_trigger_cancelled_by_restart_of_triggerer_deletes_nothing(emulator):
    trigger = make_trigger()

    async def restart() -> None:
        waiting = asyncio.create_task(anext(trigger.run()))
        await asyncio.sleep(0.3)
        waiting.cancel()
        await asyncio.gather(waiting, return_exceptions=True)
        await trigger.cleanup()

    asyncio.run(restart())
    assert emulator.deployments_left == [NAME]
    assert count_changes(emulator) == 0
