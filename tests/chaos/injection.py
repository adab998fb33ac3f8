"""Kill and freeze the processes of an Airflow."""

from __future__ import annotations

import time
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import psutil

from local_airflow.api import AirflowApiError
from local_airflow.components import LocalAirflow, LocalAirflowError

if TYPE_CHECKING:
    import random
    from collections.abc import Callable

#: How often each of them is killed, relative to the others.
_WEIGHTS = {"worker": 6, "triggerer": 2, "scheduler": 2}
#: Seconds that a triggerer is frozen, shortest and longest: slightly more than its health check threshold, or until the
#: other triggerer has ended some of its waits.
_FREEZE_DURATIONS = ((6, 9), (12, 18))
#: Seconds that the orphans of a killed process go on; until the end of its task, if an orphan has one.
_ORPHAN_LIFETIME = 20
_START_TIMEOUT = 90

#: Process titles of LocalExecutor's workers, each the supervisor of a task while it runs one, and of tasks.
_SUPERVISOR_TITLE = "airflow worker -- LocalExecutor:"
_IDLE_TITLE = f"{_SUPERVISOR_TITLE} <idle>"
_TASK_TITLE = "airflow worker -- "


@dataclass(frozen=True)
class Fault:
    """
    A process that was killed or frozen.

    :param kind: ``worker``, ``triggerer`` or ``scheduler`` if it was killed, ``freeze`` otherwise.
    :param text: the same in words.
    """

    kind: str
    text: str


class FaultInjector:
    """
    Kills processes and restarts components, freezes triggerers and continues them.

    :param dag_id: a triggerer is frozen only while create operators of this DAG are deferred to it.
    :param rng: makes all choices.
    :param report: called with a line of text for each step.
    :param kills: number of processes or components to kill.
    :param freezes: number of times to freeze a triggerer.
    """

    def __init__(
        self,
        airflow: LocalAirflow,
        dag_id: str,
        rng: random.Random,
        report: Callable[[str], None],
        *,
        kills: int,
        freezes: int,
    ) -> None:
        self.faults: list[Fault] = []
        #: Number of create operators' triggers that moved to another triggerer during freezes.
        self.reassigned = 0
        #: Kinds of the faults to come.
        self.plan = rng.choices([*_WEIGHTS], [*_WEIGHTS.values()], k=kills) + ["freeze"] * freezes
        rng.shuffle(self.plan)
        self._airflow = airflow
        self._dag_id = dag_id
        self._triggerers = [name for name in airflow.components if name.startswith("triggerer")]
        self._rng = rng
        self._report = report
        #: Time to start each component that is down.
        self._down: dict[str, float] = {}
        #: Deadline of each component that is starting.
        self._starting: dict[str, float] = {}
        #: Time to continue each frozen triggerer, and names of the create operators that were deferred to it.
        self._frozen: dict[str, tuple[float, set[str]]] = {}

    def inject(self) -> Fault | None:
        """Cause the first fault of the plan that is possible at the moment, and return it."""
        actions = {
            "worker": self._kill_worker,
            "triggerer": self._kill_triggerer,
            "scheduler": lambda: self._kill_component("scheduler"),
            "freeze": self._freeze_triggerer,
        }
        for kind in dict.fromkeys(self.plan):
            if (fault := actions[kind]()) is not None:
                self.plan.remove(kind)
                self.faults.append(fault)
                return fault
        return None

    def repair(self) -> None:
        """Restart and continue the components that are due, and end orphans that are idle."""
        now = time.monotonic()
        for name in ("scheduler", *self._triggerers):
            if name in self._frozen:
                if now >= self._frozen[name][0]:
                    self._thaw(name)
            elif name in self._down:
                if now >= self._down[name]:
                    del self._down[name]
                    self._airflow.launch(name)
                    self._starting[name] = now + _START_TIMEOUT
            elif exit_report := self._airflow.exit_report(name):
                self._report(exit_report)
                self.restart(name)
            elif name in self._starting:
                if self._airflow.healthy(name):
                    del self._starting[name]
                elif now > self._starting[name]:
                    self._report(f"The {name} is not healthy after {_START_TIMEOUT} s. Restarting it.")
                    self.restart(name)
        for name in ("api-server", "dag-processor"):
            if exit_report := self._airflow.exit_report(name):
                raise LocalAirflowError(exit_report)
        # Idle workers of a killed scheduler wait forever for tasks that it might send.
        self._airflow.end_orphans(lambda process: not _is_busy(process), after=_ORPHAN_LIFETIME)

    def restart(self, name: str) -> None:
        """Restart a component with all its processes. This is not counted as a fault."""
        self._airflow.kill(name)
        self._starting.pop(name, None)
        self._down[name] = time.monotonic()

    def all_up(self, *names: str) -> bool:
        """Whether these components, by default all of them, are healthy and not frozen."""
        absent = {*self._down, *self._starting, *self._frozen}
        return not (absent.intersection(names) if names else absent)

    def _kill_worker(self) -> Fault | None:
        running = self._running_tasks()
        supervisors = [process for process in self._airflow.processes("scheduler") if _is_supervisor(process)]
        for supervisor in self._rng.sample(supervisors, len(supervisors)):
            with suppress(psutil.Error):
                name = running.get(_title(supervisor).removeprefix(_SUPERVISOR_TITLE).strip())
                children = supervisor.children()
                targets = {
                    "its supervisor": [supervisor],
                    "its task process": children,
                    "both processes": [supervisor, *children],
                }
                target = self._rng.choice(list(targets))
                # LocalExecutor never notices that a worker was killed before its task counts as running: the task stays
                # queued. An idle one may hold the lock of the queue that all of them read.
                if name is None or not children or not _is_supervisor(supervisor):
                    continue
                for process in targets[target]:
                    process.kill()
                return Fault("worker", f"killed the worker of {name}, {target}")
        return None

    def _kill_triggerer(self) -> Fault | None:
        # One triggerer always goes on working.
        if not self.all_up(*self._triggerers):
            return None
        return self._kill_component(self._rng.choice(self._triggerers))

    def _kill_component(self, name: str) -> Fault | None:
        if not self.all_up(name):
            return None
        alone = self._rng.random() < 0.5
        self._airflow.kill(name, alone=alone)
        self._down[name] = time.monotonic() + self._rng.uniform(0, 3)
        kind = "triggerer" if name in self._triggerers else name
        return Fault(kind, f"killed the {name}, {'alone' if alone else 'with all its processes'}")

    def _freeze_triggerer(self) -> Fault | None:
        """Freeze the triggerer to which most create operators are deferred: only their triggers delete anything."""
        if not self.all_up(*self._triggerers):
            return None
        deferred: dict[str, set[str]] = {}
        with suppress(AirflowApiError):
            deferred = self._deferred_creates()
        if not deferred:
            return None
        name = max(deferred, key=lambda name: len(deferred[name]))
        seconds = self._rng.uniform(*self._rng.choice(_FREEZE_DURATIONS))
        self._airflow.freeze(name)
        self._frozen[name] = (time.monotonic() + seconds, deferred[name])
        return Fault(
            "freeze", f"froze the {name} for {seconds:.0f} s, with {', '.join(sorted(deferred[name]))}"
        )

    def _thaw(self, name: str) -> None:
        _, deferred = self._frozen.pop(name)
        with suppress(AirflowApiError):
            self.reassigned += len(deferred - self._deferred_creates().get(name, set()))
        self._airflow.thaw(name)
        self._starting[name] = time.monotonic() + _START_TIMEOUT

    def _deferred_creates(self) -> dict[str, set[str]]:
        """Return the names of the deferred create operators, by the triggerer that runs their triggers."""
        found: dict[str, set[str]] = {}
        for name, tasks in self._airflow.deferred_tasks(self._dag_id).items():
            for task in tasks:
                if task.task_id.endswith(".deploy"):
                    found.setdefault(name, set()).add(f"{task.run_id} {task.name}")
        return found

    def _running_tasks(self) -> dict[str, str]:
        """Return the names of the running tasks, by the id in the title of their supervisors."""
        path = "/api/v2/dags/~/dagRuns/~/taskInstances"
        with suppress(AirflowApiError):
            found = self._airflow.api.rows(path, "task_instances", state="running")
            return {task["id"]: _task_name(task) for task in found}
        return {}


def _task_name(task: dict[str, Any]) -> str:
    index = "" if task["map_index"] < 0 else f"[{task['map_index']}]"
    return f"{task['dag_run_id']} {task['task_id']}{index}, try {task['try_number']}"


def _title(process: psutil.Process) -> str:
    return " ".join(process.cmdline())


def _is_supervisor(process: psutil.Process) -> bool:
    """Whether this is a worker of LocalExecutor that runs a task."""
    with suppress(psutil.Error):
        title = _title(process)
        return title.startswith(_SUPERVISOR_TITLE) and not title.startswith(_IDLE_TITLE)
    return False


def _is_busy(process: psutil.Process) -> bool:
    """Whether this is a worker of LocalExecutor that runs a task, or the process of a task."""
    with suppress(psutil.Error):
        title = _title(process)
        return title.startswith(_TASK_TITLE) and not title.startswith(_IDLE_TITLE)
    return False
