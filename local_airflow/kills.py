"""
``python -m local_airflow.kills``: kill and freeze Airflow's processes at random while DAGs deploy.

One Airflow on PostgreSQL stays up for all of it. Workers, triggerers and schedulers are killed as ``kill -9`` does,
and started again, while many runs of ``dags/kill_run.py`` create, await and delete deployments of an emulated
emulator. One of two triggerers at a time is frozen by SIGSTOP until the other one has taken over its triggers; Airflow
calls ``on_kill`` on these when it wakes (apache/airflow#73454). In the end no deployment may have been deleted while it
was in use, none may have been made twice, none may be left, and nothing may have succeeded that never was READY.
"""

from __future__ import annotations

import argparse
import os
import random
import signal
import sys
import time
from collections import Counter
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import psutil
from rich.console import Console

from airflow_provider_fireworks.emulator import Emulator
from local_airflow.api import FINISHED, AirflowApiError
from local_airflow.components import LocalAirflow, LocalAirflowError
from local_airflow.home import own
from local_airflow.invariants import Kind, Violation, Witness
from local_airflow.postgres import Postgres
from local_airflow.settings import SOON_NOTICED

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

DAG = "kill_run"
MODEL = "my-model"
PRECISIONS = ["FP8", "FP4", "BF16"]
#: Deployments at it fail.
FAILING = "NF4"

_FOLDER = Path(__file__).resolve().parent
_INTERRUPTED = 130
_PARALLELISM = 12

#: How Airflow's LocalExecutor calls its processes, the supervisor of a task while it has one.
_SUPERVISOR = "airflow worker -- LocalExecutor:"
_IDLE = f"{_SUPERVISOR} <idle>"
#: How the process of a task is called.
_TASK = "airflow worker -- "

#: Seconds between two looks whether runs have ended.
_SECONDS_BETWEEN_LOOKS = 1.5
#: Seconds that a triggerer is frozen, from least to most: a bit longer than its health check threshold, or until the
#: other triggerer has ended some of the waits.
_FREEZES = ((6, 9), (12, 18))
#: Seconds that what a killed parent has left behind goes on, longer if it has a task.
_ORPHAN_SECONDS = 20
#: Seconds in which a component must be healthy again.
_SECONDS_TO_START = 90
#: Seconds in which some run must end or deploy, once nothing is killed any more, before the scheduler is started anew.
_SECONDS_TO_MOVE = 75
#: Seconds that the last runs have to end.
_SECONDS_TO_END = 900


@dataclass(frozen=True)
class Fault:
    """
    What was killed or frozen.

    :param kind: ``worker``, ``triggerer`` or ``scheduler`` for what was killed, or ``freeze``.
    :param what: the same, for people.
    """

    kind: str
    what: str


class Killer:
    """
    Kills what runs, and starts again what was killed; freezes triggerers, and thaws them.

    :param kills: how many processes or components to kill.
    :param freezes: how many times to freeze a triggerer.
    :param choose: what all choices are made with.
    :param say: takes lines about what is happening.
    """

    def __init__(
        self,
        airflow: LocalAirflow,
        choose: random.Random,
        say: Callable[[str], None],
        *,
        kills: int,
        freezes: int,
    ) -> None:
        self.faults: list[Fault] = []
        #: How many waits of create operators were given to another triggerer during the freezes.
        self.reassigned = 0
        #: The kinds of the faults to come.
        self.plan = (
            choose.choices(["worker", "triggerer", "scheduler"], [6, 2, 2], k=kills) + ["freeze"] * freezes
        )
        choose.shuffle(self.plan)
        self._airflow = airflow
        self._triggerers = [name for name in airflow.components if name.startswith("triggerer")]
        self._choose = choose
        self._say = say
        #: Components that are down, with the time to start them.
        self._down: dict[str, float] = {}
        #: Components that are starting, with the time by which they must have.
        self._starting: dict[str, float] = {}
        #: Triggerers that are frozen, with the time to thaw them and the waits of create operators that they had.
        self._frozen: dict[str, tuple[float, set[str]]] = {}

    def strike(self) -> Fault | None:
        """Cause the first fault of the plan that is possible at the moment, and return it."""
        causes = {
            "worker": self._kill_worker,
            "triggerer": self._kill_triggerer,
            "scheduler": lambda: self._kill_component("scheduler"),
            "freeze": self._freeze_triggerer,
        }
        for kind in dict.fromkeys(self.plan):
            if (fault := causes[kind]()) is not None:
                self.plan.remove(kind)
                self.faults.append(fault)
                return fault
        return None

    def tend(self) -> None:
        """Start what is to be started, and clear away what is of no use any more."""
        now = time.monotonic()
        for name in ("scheduler", *self._triggerers):
            if name in self._frozen:
                if now >= self._frozen[name][0]:
                    self._thaw(name)
            elif name in self._down:
                if now >= self._down[name]:
                    del self._down[name]
                    self._airflow.launch(name)
                    self._starting[name] = now + _SECONDS_TO_START
            elif ended := self._airflow.ended(name):
                self._say(ended)
                self.start_again(name)
            elif name in self._starting:
                if self._airflow.healthy(name):
                    del self._starting[name]
                elif now > self._starting[name]:
                    self._say(f"The {name} is not healthy after {_SECONDS_TO_START} s; once more.")
                    self.start_again(name)
        for name in ("api-server", "dag-processor"):
            if ended := self._airflow.ended(name):
                raise LocalAirflowError(ended)
        # They wait for ever for what a parent that is no more might give them.
        self._airflow.end_orphans(lambda process: not _is_busy(process), after=_ORPHAN_SECONDS)

    def start_again(self, name: str) -> None:
        """Kill a component with all its processes, which does not count, and start it."""
        self._airflow.kill(name)
        self._starting.pop(name, None)
        self._down[name] = time.monotonic()

    def all_up(self, *names: str) -> bool:
        """Whether these components, or all of them, are up and not frozen."""
        absent = {*self._down, *self._starting, *self._frozen}
        return not (absent.intersection(names) if names else absent)

    def _kill_worker(self) -> Fault | None:
        running = self._running_tasks()
        supervisors = [process for process in self._airflow.processes("scheduler") if _is_supervisor(process)]
        for supervisor in self._choose.sample(supervisors, len(supervisors)):
            with suppress(psutil.Error):
                name = running.get(_title(supervisor).removeprefix(_SUPERVISOR).strip())
                children = supervisor.children()
                targets = {
                    "its supervisor": [supervisor],
                    "its task process": children,
                    "both processes": [supervisor, *children],
                }
                what = self._choose.choice(list(targets))
                # Killed before its task counts as running, LocalExecutor would never notice, and the task stay
                # queued. Idle, it would take the lock along on the queue that all of them get their tasks from.
                if name is None or not children or not _is_supervisor(supervisor):
                    continue
                for process in targets[what]:
                    process.kill()
                return Fault("worker", f"killed the worker of {name}, {what}")
        return None

    def _kill_triggerer(self) -> Fault | None:
        # The others must be up: one always goes on working.
        if not self.all_up(*self._triggerers):
            return None
        return self._kill_component(self._choose.choice(self._triggerers))

    def _kill_component(self, name: str) -> Fault | None:
        if not self.all_up(name):
            return None
        alone = self._choose.random() < 0.5
        self._airflow.kill(name, alone=alone)
        self._down[name] = time.monotonic() + self._choose.uniform(0, 3)
        kind = "triggerer" if name in self._triggerers else name
        return Fault(kind, f"killed the {name}, {'alone' if alone else 'with all its processes'}")

    def _freeze_triggerer(self) -> Fault | None:
        """Freeze the triggerer that has the most waits of create operators: only their triggers delete anything."""
        if not self.all_up(*self._triggerers):
            return None
        waits: dict[str, set[str]] = {}
        with suppress(AirflowApiError):
            waits = self._waits_of_creates()
        if not waits:
            return None
        name = max(waits, key=lambda name: len(waits[name]))
        seconds = self._choose.uniform(*self._choose.choice(_FREEZES))
        self._airflow.freeze(name)
        self._frozen[name] = (time.monotonic() + seconds, waits[name])
        return Fault("freeze", f"froze the {name} for {seconds:.0f} s, with {', '.join(sorted(waits[name]))}")

    def _thaw(self, name: str) -> None:
        _, waits = self._frozen.pop(name)
        with suppress(AirflowApiError):
            self.reassigned += len(waits - self._waits_of_creates().get(name, set()))
        self._airflow.thaw(name)
        self._starting[name] = time.monotonic() + _SECONDS_TO_START

    def _waits_of_creates(self) -> dict[str, set[str]]:
        """Return the names of the create operators' tasks that are deferred, by the triggerer that has each."""
        found: dict[str, set[str]] = {}
        for name, tasks in self._airflow.waits(DAG).items():
            for task in tasks:
                if task.task_id.endswith(".deploy"):
                    found.setdefault(name, set()).add(f"{task.run_id} {task.name}")
        return found

    def _running_tasks(self) -> dict[str, str]:
        """Return the names of the tasks that are running, by the ids that their supervisors bear."""
        path = "/api/v2/dags/~/dagRuns/~/taskInstances"
        with suppress(AirflowApiError):
            found = self._airflow.api.rows(path, "task_instances", state="running")
            return {task["id"]: _name_of(task) for task in found}
        return {}


class Runs:
    """
    The runs of the DAG, each judged when it ends.

    :param choose: what all choices are made with.
    """

    def __init__(
        self, airflow: LocalAirflow, emulator: Emulator, witness: Witness, choose: random.Random
    ) -> None:
        #: Those that go on, and whether a deployment of theirs fails.
        self.going: dict[str, bool] = {}
        #: How many have ended in which state.
        self.states: Counter[str] = Counter()
        self._airflow = airflow
        self._emulator = emulator
        self._witness = witness
        self._choose = choose
        self._begun = 0
        #: What the next one deploys, whether that fails, and how long it takes.
        self._next: tuple[list[str], bool, float] | None = None

    def begin(self) -> None:
        """Start another one."""
        if self._next is None:
            precisions = [self._choose.choice(PRECISIONS) for _ in range(4)]
            fails = self._choose.random() < 1 / 6
            if fails:
                precisions[self._choose.randrange(4)] = FAILING
            self._next = (precisions, fails, self._choose.uniform(2, 20))
        precisions, fails, duration = self._next
        run_id = f"r{self._begun + 1:03}"
        # So that kills meet deployments that are quick and such that are slow.
        self._emulator.configure(deploy_duration=duration)
        params = {"serve": precisions[:2], "deferred": precisions[2], "worker": precisions[3]}
        try:
            self._airflow.api.trigger(DAG, params, run_id=run_id)
        except AirflowApiError as error:
            # It is there already: the answer to an earlier attempt was lost.
            if ": 409 " not in str(error):
                raise
        self._next = None
        self._begun += 1
        self.going[run_id] = fails

    def judge_ended(self) -> None:
        """Look which have ended, and judge them."""
        path = f"/api/v2/dags/{DAG}/dagRuns"
        found = self._airflow.api.rows(path, "dag_runs", state=["queued", "running"])
        for run_id in self.going.keys() - {run["dag_run_id"] for run in found}:
            state = self._airflow.api.run_state(DAG, run_id)
            if state not in FINISHED:
                continue
            fails = self.going[run_id]
            tasks = self._airflow.api.task_instances(DAG, run_id)
            removals = {
                task.name: self._airflow.api.first_start(task)
                for task in tasks
                if task.task_id.endswith(".remove")
            }
            del self.going[run_id]
            self.states[state] += 1
            self._witness.end_of_run(run_id, state, tasks, fails=fails, removals=removals)

    def give_up(self) -> None:
        """Take note of those that do not end."""
        for run_id in self.going:
            self._witness.unfinished(run_id, "\n" + self._airflow.api.describe(DAG, run_id))


class Show:
    """
    Everything together, from the first fault to the last run's end.

    :param kills: how many.
    :param freezes: how many.
    :param seconds: in which they have to be done.
    :param at_once: how many runs go on at once.
    """

    def __init__(
        self,
        airflow: LocalAirflow,
        emulator: Emulator,
        witness: Witness,
        *,
        seed: int,
        kills: int,
        freezes: int,
        seconds: float,
        at_once: int,
        say: Callable[[str], None],
    ) -> None:
        # Of their own, so that the runs of a seed are the same whatever else is chosen between two of them.
        chooses = random.Random(f"kills {seed}")
        self.killer = Killer(airflow, chooses, self._tell, kills=kills, freezes=freezes)
        self.runs = Runs(airflow, emulator, witness, random.Random(f"runs {seed}"))
        self.took = 0.0
        self._emulator = emulator
        self._witness = witness
        self._seed = seed
        self._wanted = kills + freezes
        self._seconds = seconds
        self._at_once = at_once
        self._choose = random.Random(f"times {seed}")
        self._say = say
        self._begun = time.monotonic()
        self._told = 0
        self._next_look = self._next_status = 0.0

    def run(self) -> None:
        """Cause faults, until all are done or the time is over, and see all runs to their end."""
        self._begun = time.monotonic()
        next_fault = self._gap()
        while self.elapsed < self._seconds and self.killer.plan:
            self._step(begin=True)
            if self.elapsed > next_fault and (fault := self.killer.strike()):
                self._tell(f"fault {len(self.killer.faults)}: {fault.what}")
                # From when it was due, so that one that came late does not delay all others.
                next_fault += self._gap()
        self.took = self.elapsed
        self._tell(f"No more faults. Waiting for the end of {len(self.runs.going)} runs.")
        self._finish()

    @property
    def elapsed(self) -> float:
        return time.monotonic() - self._begun

    @property
    def summary(self) -> str:
        faults = Counter(fault.kind for fault in self.killer.faults)
        found = Counter(violation.kind for violation in self._witness.violations)
        words: dict[Kind, str] = {
            "unsigned": "unsigned",
            "unexpected": "runs failed with nothing in their way",
            "unfinished": "runs not ended",
        }
        more = "".join(f", {found[kind]} {word}" for kind, word in words.items() if found[kind])
        states = self.runs.states
        created = self._emulator.creations
        again = len(created) - len({made.deployment for made in created})
        return (
            f"seed {self._seed}: {faults.total()} faults ({faults['worker']} workers, "
            f"{faults['triggerer']} triggerers, {faults['scheduler']} schedulers killed, "
            f"{faults['freeze']} triggerers frozen, {self.killer.reassigned} waits reassigned) "
            f"in {self.took / 60:.0f} min, "
            f"{states.total()} runs ({states['success']} succeeded, {states['failed']} failed), "
            f"{len(created)} deployments created ({again} of them anew after one that failed), "
            f"{found['deleted']} deleted while in use, {found['doubled']} doubled, {found['left']} left, "
            f"{found['not ready']} succeeded without being READY{more}"
        )

    @property
    def succeeded(self) -> bool:
        return not self.killer.plan and not self._witness.violations

    def _gap(self) -> float:
        # A bit quicker than asked for, since the next fault is not always possible when it is due.
        return self._choose.uniform(0.5, 1.5) * 0.7 * self._seconds / self._wanted

    def _step(self, *, begin: bool) -> int:
        """Let everything happen that is due, and return how many runs have ended so far."""
        self.killer.tend()
        with suppress(AirflowApiError):
            if self.elapsed > self._next_look:
                self._next_look = self.elapsed + _SECONDS_BETWEEN_LOOKS
                self.runs.judge_ended()
            if begin and len(self.runs.going) < self._at_once:
                self.runs.begin()
        self._witness.check()
        for violation in self._witness.violations[self._told :]:
            self._tell(str(violation))
            self._told += 1
        if self.elapsed > self._next_status:
            states = self.runs.states
            self._tell(
                f"{len(self.runs.going)} runs going, {states.total()} ended ({states['success']} succeeded), "
                f"{len(self._emulator.creations)} deployments created, {self._witness.living()} of them there"
            )
            self._next_status = self.elapsed + 30
        time.sleep(0.5)
        return self.runs.states.total()

    def _finish(self) -> None:
        deadline = time.monotonic() + _SECONDS_TO_END
        moved, seen = time.monotonic(), (-1, -1)
        while self.runs.going and time.monotonic() < deadline:
            now_seen = (self._step(begin=False), len(self._emulator.creations))
            if now_seen != seen:
                moved, seen = time.monotonic(), now_seen
            elif time.monotonic() - moved > _SECONDS_TO_MOVE and self.killer.all_up():
                # What LocalExecutor has lost (see _kill_worker) stays queued until there is another scheduler.
                self._tell(f"Nothing has moved for {_SECONDS_TO_MOVE} s: the scheduler is started anew.")
                self.killer.start_again("scheduler")
                moved = time.monotonic()
        self.runs.give_up()
        # Longer than the witness' grace for what a run that has just ended may have left.
        for _ in range(12):
            self._step(begin=False)
        self._witness.finish()

    def _tell(self, line: str) -> None:
        self._say(f"{self.elapsed:6.0f} s  {line}")


def main(arguments: Sequence[str] | None = None) -> int:
    """
    Run it.

    :param arguments: the command line without the program's name; by default the process' own.
    :return: the exit code: 0 if all that must hold has held, 1 if not, 130 after Ctrl-C.
    """
    given = _parser().parse_args(arguments)
    console = Console(highlight=False, markup=False)
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _interrupt)

    def say(line: str) -> None:
        console.print(line, soft_wrap=True)

    try:
        return _kills(given, say)
    except KeyboardInterrupt:
        say("Interrupted. Everything is down again.")
        return _INTERRUPTED
    except (LocalAirflowError, AirflowApiError) as error:
        print(error, file=sys.stderr)
        return 1


def _kills(given: argparse.Namespace, say: Callable[[str], None]) -> int:
    with ExitStack() as cleanup:
        home = cleanup.enter_context(own(Path(given.home)))
        emulator = cleanup.enter_context(
            Emulator(create_lag=0.5, delete_duration=1, deploy_outcomes={FAILING: "failed"})
        )
        emulator.set_model(MODEL, supportedPrecisions=[*PRECISIONS, FAILING])
        postgres = cleanup.enter_context(Postgres())
        say(f"The Fireworks API, emulated, at {emulator.url}. Starting Airflow on PostgreSQL …")
        airflow = LocalAirflow(
            home,
            _FOLDER / "dags",
            database=postgres.url,
            env={"AIRFLOW_CONN_FIREWORKS_DEFAULT": emulator.connection, **SOON_NOTICED},
            parallelism=_PARALLELISM,
            triggerers=2,
            say=lambda line: say(f"  {line}"),
        )
        cleanup.enter_context(airflow)
        airflow.wait_for_dag(DAG)
        say(f"  Healthy: {airflow.url} (no password, everyone is admin)")
        witness = Witness(emulator, DAG, failing={FAILING})
        witness.start()
        cleanup.callback(witness.stop)
        show = Show(
            airflow,
            emulator,
            witness,
            seed=given.seed,
            kills=given.kills,
            freezes=given.freezes,
            seconds=given.minutes * 60,
            at_once=given.runs_at_once,
            say=say,
        )
        show.run()
    _conclude(show, witness.violations, home, say)
    return 0 if show.succeeded else 1


def _conclude(show: Show, violations: Sequence[Violation], home: Path, say: Callable[[str], None]) -> None:
    if violations:
        say(f"\n{len(violations)} times something was not as it must be. All logs are in {home}:")
        for violation in violations:
            say(f"  {violation}")
    say(show.summary)


def _parser() -> argparse.ArgumentParser:
    env = os.environ
    parser = argparse.ArgumentParser(
        prog="python -m local_airflow.kills",
        description="Kill workers, triggerers and schedulers of an Airflow on PostgreSQL at random, and freeze "
        "triggerers, while DAGs deploy on an emulated API. Check that no deployment is deleted while it is in use, "
        "made twice or left behind.",
        epilog="SEED, KILLS, FREEZES and MINUTES can be given in the environment: "
        "make kills KILLS=40 FREEZES=20 MINUTES=15.",
    )
    parser.add_argument(
        "--seed",
        type=int,
        default=env.get("SEED") or random.randrange(10_000),
        help="chooses the runs, and what is killed or frozen when, as far as that is not chance "
        "(default: a random one)",
    )
    parser.add_argument(
        "--kills", type=int, default=env.get("KILLS") or 70, help="how many (default: %(default)s)"
    )
    parser.add_argument(
        "--freezes",
        type=int,
        default=env.get("FREEZES") or 30,
        help="how many times to freeze a triggerer (default: %(default)s)",
    )
    parser.add_argument(
        "--minutes",
        type=float,
        default=env.get("MINUTES") or 40,
        help="in which to do them (default: %(default)s)",
    )
    parser.add_argument(
        "--runs-at-once", type=int, default=8, metavar="RUNS", help="of the DAG (default: %(default)s)"
    )
    parser.add_argument(
        "--home",
        default=str(_FOLDER.parent / ".kills"),
        metavar="FOLDER",
        help="where Airflow keeps its logs; emptied at the start (default: .kills in the checkout)",
    )
    return parser


def _name_of(task: dict[str, Any]) -> str:
    index = "" if task["map_index"] < 0 else f"[{task['map_index']}]"
    return f"{task['dag_run_id']} {task['task_id']}{index}, try {task['try_number']}"


def _title(process: psutil.Process) -> str:
    return " ".join(process.cmdline())


def _is_supervisor(process: psutil.Process) -> bool:
    """Whether it is a worker of LocalExecutor that has a task."""
    with suppress(psutil.Error):
        title = _title(process)
        return title.startswith(_SUPERVISOR) and not title.startswith(_IDLE)
    return False


def _is_busy(process: psutil.Process) -> bool:
    """Whether it is a worker of LocalExecutor that has a task, or the process of a task."""
    with suppress(psutil.Error):
        title = _title(process)
        return title.startswith(_TASK) and not title.startswith(_IDLE)
    return False


def _interrupt(number: int, frame: object) -> NoReturn:
    # Also where the shell had us ignore Ctrl-C, as it does for what runs in the background.
    raise KeyboardInterrupt


if __name__ == "__main__":
    sys.exit(main())
