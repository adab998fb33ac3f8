"""A run of many deployments on CeleryExecutor, of which two workers and a triggerer are killed."""

from __future__ import annotations

import itertools
import time
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from airflow_provider_fireworks.deployments.ownership import Owner
from airflow_provider_fireworks.emulator import Emulator
from local_airflow.components import LocalAirflow, LocalAirflowError
from local_airflow.postgres import Postgres
from local_airflow.redis import Redis
from local_airflow.server import ServerMissingError
from local_airflow.settings import FAST_FAILURE_DETECTION
from tests.chaos.invariants import Monitor
from tests.e2e.steps import AIRFLOW, until
from tests.programs import processes_in

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from airflow_provider_fireworks.emulator.records import ReceivedRequest
    from local_airflow.api import TaskInstance

DAG = "deploy_pairs"
RUN = "all"
MODELS = ["model-a", "model-b", "model-c"]
PRECISIONS = ["FP8", "FP4"]
#: In the order of their map indexes.
PAIRS = list(itertools.product(MODELS, PRECISIONS))

SETTINGS = {
    **FAST_FAILURE_DETECTION,
    # After this, Redis gives a message that a killed worker had fetched to another one. It must be longer than any
    # task, and here no task occupies its worker for long.
    "AIRFLOW__CELERY_BROKER_TRANSPORT_OPTIONS__VISIBILITY_TIMEOUT": "30",
    # After this, the scheduler sends a task again whose message was lost with its worker.
    "AIRFLOW__SCHEDULER__TASK_QUEUED_TIMEOUT": "60",
    "AIRFLOW__SCHEDULER__TASK_QUEUED_TIMEOUT_CHECK_INTERVAL": "10",
}


@pytest.fixture
def monitor(emulator: Emulator) -> Iterator[Monitor]:
    monitor = Monitor(emulator, DAG)
    monitor.start()
    yield monitor
    monitor.stop()


@pytest.fixture
def report() -> Callable[[str], None]:
    started = time.monotonic()
    return lambda line: print(f"{time.monotonic() - started:6.0f} s  {line}", flush=True)


@pytest.fixture
def servers() -> tuple[Postgres, Redis]:
    pytest.importorskip("airflow.providers.celery", reason="needs the dependency group e2e of pyproject.toml")
    try:
        return Postgres(), Redis()
    except ServerMissingError as error:
        pytest.skip(str(error))


@pytest.fixture
def emulator() -> Iterator[Emulator]:
    # With lists, so that a retry sees what an earlier try has prepared.
    with Emulator(
        precision_lists="present", duration=25, deploy_duration=6, create_lag=0.5, delete_duration=1
    ) as emulator:
        for model in MODELS:
            emulator.add_model(model)
        yield emulator


@pytest.fixture
def airflow(
    tmp_path_factory: pytest.TempPathFactory,
    emulator: Emulator,
    servers: tuple[Postgres, Redis],
    report: Callable[[str], None],
) -> Iterator[LocalAirflow]:
    postgres, redis = servers
    home = tmp_path_factory.mktemp("celery")
    print()
    report("Starting Airflow on PostgreSQL and Redis, with two Celery workers and two triggerers …")
    with (
        postgres,
        redis,
        LocalAirflow(
            home,
            Path(__file__).parent / "dags/celery",
            database=postgres.url,
            broker=redis.url,
            workers=2,
            triggerers=2,
            parallelism=4,
            stop_timeout=1,
            env={"AIRFLOW_CONN_FIREWORKS_DEFAULT": emulator.connection, **SETTINGS},
            report=report,
        ) as airflow,
    ):
        report(f"All components are healthy: {', '.join(airflow.components)}.")
        yield airflow
    assert processes_in(home) == []


@pytest.mark.xfail(
    AIRFLOW == (3, 4),
    raises=LocalAirflowError,
    reason="The scheduler of Airflow 3.4.0b2 ends with an IntegrityError when a worker with a mapped task is killed.",
)
def test_killed_workers_and_triggerer_cause_no_duplicate_and_no_orphan(
    airflow: LocalAirflow, emulator: Emulator, monitor: Monitor, report: Callable[[str], None]
) -> None:
    def hanging(part: str) -> ReceivedRequest | None:
        return next((r for r in emulator.requests if r.fault == "hang" and part in r.path), None)

    def kill_worker_of(task_id: str, index: int) -> None:
        """Kill the worker that runs this task, with all its tasks, and start it again."""
        (task,) = [task for task in airflow.api.task_instances(DAG, RUN, task_id) if task.map_index == index]
        assert task.state == "running"
        tasks = [
            other.name
            for other in airflow.api.task_instances(DAG, RUN)
            if other.state == "running" and other.component == task.component
        ]
        assert task.component is not None
        airflow.kill(task.component)
        report(f"{task.component} is killed, which ran {', '.join(tasks)}.")
        airflow.launch(task.component)

    # The API carries out both requests, but the workers get no response.
    emulator.fault("hang", method="POST", path="model-c:prepare", after_work=True)
    first_deployment = Owner(DAG, RUN, "serve.deploy", 0).deployment_id
    emulator.fault("hang", method="POST", path=f"deploymentId={first_deployment}", after_work=True)
    airflow.wait_for_dag(DAG)
    airflow.api.trigger(DAG, {"models": MODELS, "precisions": PRECISIONS}, run_id=RUN)
    report(f"The run is triggered: {len(MODELS)} models at {len(PRECISIONS)} precisions.")

    prepare = until(airflow, "a prepare to hang", lambda: hanging(":prepare"), timeout=180)
    prepared = PAIRS.index(("model-c", prepare.body["precision"]))
    kill_worker_of("serve.prepare", prepared)

    def busiest_triggerer() -> tuple[str, list[TaskInstance]] | None:
        deferred = airflow.deferred_tasks(DAG, RUN)
        name = max(deferred, key=lambda name: len(deferred[name]), default="")
        return (name, deferred[name]) if name and len(deferred[name]) >= 2 else None

    triggerer, tasks = until(airflow, "a triggerer to have triggers", busiest_triggerer, timeout=180)
    airflow.kill(triggerer)
    report(f"{triggerer} is killed, which ran the triggers of {', '.join(task.name for task in tasks)}.")

    until(airflow, "a create to hang", lambda: hanging("/deployments"), timeout=180)
    kill_worker_of("serve.deploy", 0)

    state = airflow.wait(DAG, RUN, timeout=300)
    tasks = airflow.api.task_instances(DAG, RUN)
    report(f"The run has ended: {state}.")
    assert state == "success", airflow.api.describe(DAG, RUN)
    removals = {task.name: airflow.api.first_start(task) for task in tasks if task.task_id == "serve.remove"}
    monitor.on_run_finished(RUN, state, tasks, fails=False, removals=removals)
    monitor.finish()
    monitor.check()
    assert monitor.violations == []
    assert {task.state for task in tasks} == {"success"}
    assert len(tasks) == 6 * len(PAIRS) + 3

    tries = {task.name: task.try_number for task in tasks}
    # Otherwise the kills tested nothing.
    assert tries[f"serve.prepare[{prepared}]"] > 1
    assert tries["serve.deploy[0]"] > 1

    preparations = emulator.preparations
    assert Counter((each.model, each.precision) for each in preparations) == Counter(PAIRS)
    requests = Counter(
        (post.path.rpartition("/")[2].removesuffix(":prepare"), post.body["precision"])
        for post in emulator.requests
        if post.path.endswith(":prepare")
    )
    # The API does not say what it is preparing, so a further try may send its request again, without effect.
    assert all(1 <= requests[pair] <= tries[f"serve.prepare[{index}]"] for index, pair in enumerate(PAIRS))
    expected = {
        Owner(DAG, RUN, "serve.deploy", index).deployment_id: pair for index, pair in enumerate(PAIRS)
    }
    created = [
        (creation.deployment, (creation.base_model.rpartition("/")[2], creation.precision))
        for creation in emulator.creations
    ]
    assert sorted(created) == sorted(expected.items())
    # The API takes another second to delete, for which no task waits.
    until(airflow, "all deployments to be deleted", lambda: not emulator.deployments_left)

    retries = sum(tries.values()) - len(tries)
    report(
        f"{len(preparations)} preparations, {len(created)} deployments created, "
        f"{len(emulator.deployments_left)} left, {retries} retries."
    )
