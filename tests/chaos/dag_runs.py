"""Start runs of the chaos DAG, and judge each when it ends."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from local_airflow.api import FINISHED, AirflowApiError

if TYPE_CHECKING:
    import random

    from airflow_provider_fireworks.emulator import Emulator
    from local_airflow.components import LocalAirflow
    from tests.chaos.invariants import Monitor

DAG = "chaos"
PRECISIONS = ["FP8", "FP4", "BF16"]
#: The precision whose deployments fail.
FAILING = "NF4"


class DagRuns:
    """
    The runs of the DAG.

    :param monitor: judges each run when it ends.
    :param rng: makes all choices.
    """

    def __init__(
        self, airflow: LocalAirflow, emulator: Emulator, monitor: Monitor, rng: random.Random
    ) -> None:
        #: Unfinished runs, and whether a deployment of each fails.
        self.unfinished: dict[str, bool] = {}
        #: Number of finished runs by their state.
        self.states: Counter[str] = Counter()
        self._airflow = airflow
        self._emulator = emulator
        self._monitor = monitor
        self._rng = rng
        self._started = 0
        #: Precisions of the next run, whether it fails, and how long its deployments take.
        self._next: tuple[list[str], bool, float] | None = None

    def start(self) -> None:
        """Start another run."""
        if self._next is None:
            precisions = [self._rng.choice(PRECISIONS) for _ in range(4)]
            fails = self._rng.random() < 1 / 6
            if fails:
                precisions[self._rng.randrange(4)] = FAILING
            self._next = (precisions, fails, self._rng.uniform(2, 20))
        precisions, fails, duration = self._next
        run_id = f"r{self._started + 1:03}"
        # Faults meet quick deployments and slow ones.
        self._emulator.configure(deploy_duration=duration)
        params = {"serve": precisions[:2], "deferred": precisions[2], "worker": precisions[3]}
        try:
            self._airflow.api.trigger(DAG, params, run_id=run_id)
        except AirflowApiError as error:
            # An earlier request started it, but its response was lost.
            if ": 409 " not in str(error):
                raise
        self._next = None
        self._started += 1
        self.unfinished[run_id] = fails

    def judge_finished(self) -> None:
        """Find the runs that have finished since, and judge them."""
        path = f"/api/v2/dags/{DAG}/dagRuns"
        unfinished = self._airflow.api.rows(path, "dag_runs", state=["queued", "running"])
        for run_id in self.unfinished.keys() - {run["dag_run_id"] for run in unfinished}:
            state = self._airflow.api.run_state(DAG, run_id)
            if state not in FINISHED:
                continue
            tasks = self._airflow.api.task_instances(DAG, run_id)
            removals = {
                task.name: self._airflow.api.first_start(task)
                for task in tasks
                if task.task_id.endswith(".remove")
            }
            fails = self.unfinished.pop(run_id)
            self.states[state] += 1
            self._monitor.on_run_finished(run_id, state, tasks, fails=fails, removals=removals)

    def give_up(self) -> None:
        """Report the runs that have not finished."""
        for run_id in self.unfinished:
            self._monitor.on_run_unfinished(run_id, "\n" + self._airflow.api.describe(DAG, run_id))
