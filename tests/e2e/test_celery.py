from __future__ import annotations

import itertools
import signal
import time
from collections import Counter
from typing import TYPE_CHECKING

import pytest

from airflow_provider_fireworks.deployments.ownership import Owner
from airflow_provider_fireworks.emulator import Emulator
from local_airflow import LocalAirflow, LocalAirflowError, TaskInstance
from local_airflow.api import poll_until
from local_airflow.invariants import Witness
from local_airflow.postgres import Postgres
from local_airflow.redis import Redis
from local_airflow.server import ServerMissingError
from local_airflow.settings import SOON_NOTICED
from tests.e2e.steps import AIRFLOW

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from airflow_provider_fireworks.emulator.records import Request

DAG = "deploy_pairs"
RUN = "all"
MODELS = ["model-a", "model-b", "model-c", "model-d"]
PRECISIONS = ["FP8", "FP4", "BF16"]
#: In the order of their map indexes.
PAIRS = list(itertools.product(MODELS, PRECISIONS))

SETTINGS = {
    **SOON_NOTICED,
    # What a killed worker had fetched, but not begun, Redis gives to another one after this. It must be longer than any
    # task, and no task here occupies its worker for long.
    "AIRFLOW__CELERY_BROKER_TRANSPORT_OPTIONS__VISIBILITY_TIMEOUT": "30",
    # What was still on its way to the worker when that was killed is lost. The scheduler sends it again after this.
    "AIRFLOW__SCHEDULER__TASK_QUEUED_TIMEOUT": "60",
    "AIRFLOW__SCHEDULER__TASK_QUEUED_TIMEOUT_CHECK_INTERVAL": "10",
}


@pytest.fixture
def witness(emulator: Emulator) -> Iterator[Witness]:
    witness = Witness(emulator, DAG)
    witness.start()
    yield witness
    witness.stop()


@pytest.fixture
def say() -> Callable[[str], None]:
    begun = time.monotonic()
    return lambda line: print(f"{time.monotonic() - begun:6.0f} s  {line}", flush=True)


@pytest.fixture
def servers() -> tuple[Postgres, Redis]:
    pytest.importorskip("airflow.providers.celery", reason="needs pyproject.toml's dependency group celery")
    try:
        return Postgres(), Redis()
    except ServerMissingError as error:
        pytest.skip(str(error))


@pytest.fixture
def emulator() -> Iterator[Emulator]:
    with Emulator(duration=25, deploy_duration=6, create_lag=0.5, delete_duration=1) as emulator:
        for model in MODELS:
            emulator.add_model(model)
        yield emulator


@pytest.fixture
def airflow(
    tmp_path_factory: pytest.TempPathFactory,
    dags: Path,
    emulator: Emulator,
    servers: tuple[Postgres, Redis],
    processes_in: Callable[[Path], list[str]],
    say: Callable[[str], None],
) -> Iterator[LocalAirflow]:
    postgres, redis = servers
    # Not tmp_path, whose own end raises something else after Ctrl-C.
    home = tmp_path_factory.mktemp("celery")
    print()
    say("Starting Airflow on PostgreSQL and Redis, with two workers of Celery and two triggerers …")
    with (
        postgres,
        redis,
        LocalAirflow(
            home,
            dags,
            database=postgres.url,
            broker=redis.url,
            workers=2,
            triggerers=2,
            parallelism=8,
            env={"AIRFLOW_CONN_FIREWORKS_DEFAULT": emulator.connection, **SETTINGS},
            say=say,
        ) as airflow,
    ):
        say(f"All of it is healthy: {', '.join(airflow.components)}.")
        yield airflow
    assert processes_in(home) == []


@pytest.mark.xfail(
    AIRFLOW == (3, 4),
    raises=LocalAirflowError,
    reason="The scheduler of Airflow 3.4.0b2 ends with an IntegrityError when a worker with a mapped task is killed.",
)
def test_losing_workers_and_a_triggerer_doubles_nothing_and_leaves_nothing(
    airflow: LocalAirflow, emulator: Emulator, witness: Witness, say: Callable[[str], None]
) -> None:
    def until(what: str, condition: Callable[[], object]) -> object:
        return poll_until(condition, timeout=180, what=what, meanwhile=airflow.check, every=0.2)

    def stuck(part: str) -> Request | None:
        return next((r for r in emulator.requests if r.fault == "hang" and part in r.path), None)

    def kill_worker_of(task_id: str, index: int) -> None:
        """Kill the worker that has this task, with all its tasks, and start it anew."""
        (task,) = [task for task in airflow.api.task_instances(DAG, RUN, task_id) if task.map_index == index]
        assert task.state == "running"
        with_it = [
            other.name
            for other in airflow.api.task_instances(DAG, RUN)
            if other.state == "running" and other.component == task.component
        ]
        airflow.kill(task.component)
        say(f"{task.component} is killed, which had {', '.join(with_it)}.")
        airflow.launch(task.component)

    # Both are done, and whoever has asked never learns of it.
    emulator.fault("hang", method="POST", path="model-d:prepare", after_work=True)
    slow = Owner(DAG, RUN, "serve.deploy", 0).deployment_id
    emulator.fault("hang", method="POST", path=f"deploymentId={slow}", after_work=True)
    airflow.wait_for_dag(DAG)
    airflow.api.trigger(DAG, {"models": MODELS, "precisions": PRECISIONS}, run_id=RUN)
    say(f"The run has begun: {len(MODELS)} models at {len(PRECISIONS)} precisions.")

    prepare = until("Waiting for a prepare to be stuck", lambda: stuck(":prepare"))
    prepared = PAIRS.index(("model-d", prepare.body["precision"]))
    kill_worker_of("serve.prepare", prepared)

    def held() -> tuple[str, list[TaskInstance]] | None:
        waits = airflow.waits(DAG, RUN)
        most = max(waits, key=lambda name: len(waits[name]), default="")
        return (most, waits[most]) if most and len(waits[most]) >= 3 else None

    triggerer, waits = until("Waiting for a triggerer to have waits", held)
    airflow.kill(triggerer)
    say(f"{triggerer} is killed, which had {', '.join(task.name for task in waits)}.")

    until("Waiting for a create to be stuck", lambda: stuck("/deployments"))
    kill_worker_of("serve.deploy", 0)

    state = airflow.wait(DAG, RUN, timeout=300)
    tasks = airflow.api.task_instances(DAG, RUN)
    say(f"The run has ended: {state}.")
    assert state == "success", airflow.api.describe(DAG, RUN)
    removals = {task.name: airflow.api.first_start(task) for task in tasks if task.task_id == "serve.remove"}
    witness.end_of_run(RUN, state, tasks, fails=False, removals=removals)
    witness.finish()
    witness.check()
    assert witness.violations == []
    assert {task.state for task in tasks} == {"success"}
    assert len(tasks) == 6 * len(PAIRS) + 3

    tries = {task.name: task.try_number for task in tasks}
    # Else the kills would have met nothing.
    assert tries[f"serve.prepare[{prepared}]"] > 1
    assert tries["serve.deploy[0]"] > 1

    assert Counter((done.model, done.precision) for done in emulator.preparations) == Counter(PAIRS)
    asked = Counter(
        (post.path.rpartition("/")[2].removesuffix(":prepare"), post.body["precision"])
        for post in emulator.requests
        if post.path.endswith(":prepare")
    )
    # The API does not say what it prepares a model for, so another try may ask again, without effect.
    assert all(1 <= asked[pair] <= tries[f"serve.prepare[{index}]"] for index, pair in enumerate(PAIRS))
    expected = {
        Owner(DAG, RUN, "serve.deploy", index).deployment_id: pair for index, pair in enumerate(PAIRS)
    }
    created = [
        (made.deployment, (made.base_model.rpartition("/")[2], made.precision)) for made in emulator.creations
    ]
    assert sorted(created) == sorted(expected.items())
    # Deleting takes the API a moment more, which no task waits for.
    until("Waiting for nothing to be left", lambda: not emulator.deployments_left)

    again = sum(tries.values()) - len(tries)
    say(
        f"{len(emulator.preparations)} preparations, {len(created)} deployments created, "
        f"{len(emulator.deployments_left)} left; {again} tries more than tasks."
    )


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 2), (signal.SIGKILL, -signal.SIGKILL)])
def test_nothing_is_left_running_when_it_is_ended(
    servers: tuple[Postgres, Redis],
    start: Callable[..., subprocess.Popen[str]],
    end_early: Callable[..., None],
    number: signal.Signals,
    code: int,
) -> None:
    test = f"{__file__}::{test_losing_workers_and_a_triggerer_doubles_nothing_and_leaves_nothing.__name__}"
    end_early(start("pytest", "-s", test), number, code)
