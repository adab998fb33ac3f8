"""Create operators wait for GPUs with a retry policy that reschedules them, as Airflow can from 3.4 on."""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING

import pytest

from tests.e2e.steps import AIRFLOW, remaining, supervisor_of, until

if TYPE_CHECKING:
    from collections.abc import Callable

    from airflow_provider_fireworks.emulator import Emulator
    from airflow_provider_fireworks.emulator.records import ReceivedRequest
    from local_airflow.components import LocalAirflow

IN_TURNS = "deploy_in_turns"
UNTIL_LIMIT = "deploy_until_limit"
DELETE_DURATION = 4
RESCHEDULED = "Retry policy rescheduled the task"
LIMIT_REACHED = "Reschedule limit reached, applying the standard retry logic"

pytestmark = pytest.mark.skipif(
    AIRFLOW < (3, 4), reason="Before Airflow 3.4 a retry policy cannot reschedule a task."
)


def creates(emulator: Emulator) -> list[ReceivedRequest]:
    """Return all requests to create a deployment, rejected ones included."""
    return [
        each for each in emulator.requests if each.method == "POST" and each.path.endswith("/deployments")
    ]


def count_rejected(emulator: Emulator) -> int:
    """Return how many creates were rejected because of the quota."""
    return [each.status for each in creates(emulator)].count(429)


def test_policy_makes_two_precisions_take_turns_without_using_retries(
    airflow: LocalAirflow, emulator: Emulator, finish: Callable[..., None]
) -> None:
    emulator.set_model("my-model", supportedPrecisions=["FP16", "FP8", "FP4"])
    emulator.configure(gpu_quota=1, deploy_duration=1, delete_duration=DELETE_DURATION)
    run = airflow.trigger(IN_TURNS)
    finish(IN_TURNS, run)

    first, _ = emulator.creations
    _, second_create = [each for each in creates(emulator) if each.status == 200]
    (removal,) = [
        each for each in emulator.requests if each.method == "DELETE" and each.path.endswith(first.deployment)
    ]
    # Until then the first one uses the only GPU.
    assert second_create.at >= removal.at + DELETE_DURATION
    until(airflow, "the second one to be deleted", lambda: not remaining(emulator))

    tasks = airflow.api.task_instances(IN_TURNS, run)
    assert {task.try_number for task in tasks} == {1}
    logs = [airflow.api.log(task) for task in tasks if task.task_id == "serve.deploy"]
    counts = sorted(log.count(RESCHEDULED) for log in logs)
    assert counts == [0, count_rejected(emulator)]
    assert counts[1] > 0


def test_policy_beyond_its_limit_uses_a_retry_and_then_fails(
    airflow: LocalAirflow, emulator: Emulator, finish: Callable[..., None]
) -> None:
    emulator.configure(gpu_quota=0)
    run = airflow.trigger(UNTIL_LIMIT)
    finish(UNTIL_LIMIT, run, "failed")

    tasks = {task.name: task for task in airflow.api.task_instances(UNTIL_LIMIT, run)}
    assert {name: task.state for name, task in tasks.items()} == {
        "deploy": "failed",
        **dict.fromkeys(("up", "use", "done", "remove"), "upstream_failed"),
    }
    assert tasks["deploy"].try_number == 2
    logs = [airflow.api.log(tasks["deploy"], try_number) for try_number in (1, 2)]
    # Each try has the whole limit. The operator's timeout, which is shorter, ends none.
    assert [log.count(LIMIT_REACHED) for log in logs] == [1, 1]
    counts = [log.count(RESCHEDULED) for log in logs]
    assert min(counts) > 0
    assert count_rejected(emulator) == sum(counts) + len(logs)
    assert not any("FireworksTimeout" in log for log in logs)
    assert emulator.creations == []


def test_killed_create_after_reschedules_uses_a_retry_and_waits_on(
    airflow: LocalAirflow, emulator: Emulator, finish: Callable[..., None]
) -> None:
    emulator.configure(gpu_quota=0, deploy_duration=1)
    run = airflow.trigger(UNTIL_LIMIT)
    until(airflow, "a reschedule", lambda: count_rejected(emulator) > 1)
    emulator.fault("hang", method="POST", path="/deployments")
    until(airflow, "a create to hang", lambda: "hang" in [each.fault for each in emulator.requests])
    (task,) = airflow.api.task_instances(UNTIL_LIMIT, run, "deploy")
    assert task.try_number == 1
    before = count_rejected(emulator)

    (process,) = supervisor_of(airflow, task).children()
    process.send_signal(signal.SIGKILL)
    until(airflow, "the retry to be rescheduled", lambda: count_rejected(emulator) > before + 1)
    emulator.configure(gpu_quota=1)
    finish(UNTIL_LIMIT, run)

    (task,) = airflow.api.task_instances(UNTIL_LIMIT, run, "deploy")
    assert task.try_number == 2
    assert len(emulator.creations) == 1
    assert remaining(emulator) == set()
