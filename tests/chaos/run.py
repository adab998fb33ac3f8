"""
``python -m tests.chaos.run``: kill and freeze Airflow's processes at random while DAGs deploy.

One Airflow on PostgreSQL runs all the time. Many runs of ``dags/chaos.py`` create deployments in the emulator, wait for
them and delete them, while workers, triggerers and schedulers are killed with SIGKILL and restarted. One of two
triggerers at a time is frozen with SIGSTOP until the other one has taken over its triggers: Airflow calls their
``on_kill`` when it wakes (apache/airflow#73454). At the end no deployment may have been deleted while it was in use, no
task may have created two, none may be orphaned, and no task may have succeeded without a READY deployment.
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
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from rich.console import Console

from airflow_provider_fireworks.emulator import Emulator
from local_airflow.api import AirflowApiError
from local_airflow.components import LocalAirflow, LocalAirflowError
from local_airflow.home import lock_home
from local_airflow.postgres import Postgres
from local_airflow.settings import FAST_FAILURE_DETECTION
from tests.chaos.dag_runs import DAG, FAILING, PRECISIONS, DagRuns
from tests.chaos.injection import FaultInjector
from tests.chaos.invariants import Kind, Monitor, Violation

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

MODEL = "my-model"

_FOLDER = Path(__file__).resolve().parent
_CHECKOUT = _FOLDER.parents[1]
_INTERRUPTED = 130
_PARALLELISM = 12

# Seconds.
_STEP_INTERVAL = 0.5
#: Between two checks for finished runs.
_RUNS_INTERVAL = 1.5
_STATUS_INTERVAL = 30
#: Without a finished run or a new deployment, after the last fault, until the scheduler is restarted.
_STALL_TIMEOUT = 75
#: For the last runs to finish.
_FINISH_TIMEOUT = 900
#: After the last run. Longer than the time after which the monitor counts a deployment as orphaned.
_LAST_SECONDS = 6


class ChaosRun:
    """
    Everything between the first fault and the end of the last DAG run.

    :param seed: of all random choices.
    :param kills: number of kills.
    :param freezes: number of freezes.
    :param seconds: in which all faults have to happen.
    :param concurrent_runs: number of unfinished DAG runs at any time.
    :param report: called with a line of text for each event.
    """

    def __init__(
        self,
        airflow: LocalAirflow,
        emulator: Emulator,
        monitor: Monitor,
        *,
        seed: int,
        kills: int,
        freezes: int,
        seconds: float,
        concurrent_runs: int,
        report: Callable[[str], None],
    ) -> None:
        # Separate generators: the DAG runs of a seed do not depend on the faults between them.
        rng = random.Random(f"kills {seed}")
        self.injector = FaultInjector(airflow, DAG, rng, self._report, kills=kills, freezes=freezes)
        self.runs = DagRuns(airflow, emulator, monitor, random.Random(f"runs {seed}"))
        self.duration = 0.0
        self._emulator = emulator
        self._monitor = monitor
        self._seed = seed
        self._faults = kills + freezes
        self._seconds = seconds
        self._concurrent_runs = concurrent_runs
        self._rng = random.Random(f"times {seed}")
        self._print = report
        self._started = time.monotonic()
        self._reported = 0
        self._next_judgement = self._next_status = 0.0

    def run(self) -> None:
        """Cause all faults, as far as there is time, and wait until all DAG runs have finished."""
        self._started = time.monotonic()
        next_fault = self._gap()
        while self.elapsed < self._seconds and self.injector.plan:
            self._step(start_runs=True)
            if self.elapsed > next_fault and (fault := self.injector.inject()):
                self._report(f"fault {len(self.injector.faults)}: {fault.text}")
                # Relative to its due time, so that a late fault does not delay all others.
                next_fault += self._gap()
        self.duration = self.elapsed
        self._report(f"No more faults. Waiting for {len(self.runs.unfinished)} runs to finish.")
        self._finish()

    @property
    def elapsed(self) -> float:
        return time.monotonic() - self._started

    @property
    def summary(self) -> str:
        faults = Counter(fault.kind for fault in self.injector.faults)
        found = Counter(violation.kind for violation in self._monitor.violations)
        rare: dict[Kind, str] = {
            "unsigned": "unsigned",
            "unexpected": "runs failed without a reason",
            "unfinished": "runs not finished",
        }
        more = "".join(f", {found[kind]} {text}" for kind, text in rare.items() if found[kind])
        states = self.runs.states
        created = self._emulator.creations
        recreated = len(created) - len({creation.deployment for creation in created})
        return (
            f"seed {self._seed}: {faults.total()} faults ({faults['worker']} workers, "
            f"{faults['triggerer']} triggerers, {faults['scheduler']} schedulers killed, "
            f"{faults['freeze']} triggerers frozen, {self.injector.reassigned} waits reassigned) "
            f"in {self.duration / 60:.0f} min, "
            f"{states.total()} runs ({states['success']} succeeded, {states['failed']} failed), "
            f"{len(created)} deployments created ({recreated} of them again after one that failed), "
            f"{found['deleted']} deleted while in use, {found['duplicate']} duplicates, "
            f"{found['orphaned']} orphaned, {found['not ready']} succeeded without being READY{more}"
        )

    @property
    def succeeded(self) -> bool:
        return not self.injector.plan and not self._monitor.violations

    def _gap(self) -> float:
        # Shorter than the average, as a fault is not always possible when it is due.
        return self._rng.uniform(0.5, 1.5) * 0.7 * self._seconds / self._faults

    def _step(self, *, start_runs: bool) -> int:
        """Do whatever is due, and return the number of finished runs."""
        self.injector.repair()
        with suppress(AirflowApiError):
            if self.elapsed > self._next_judgement:
                self._next_judgement = self.elapsed + _RUNS_INTERVAL
                self.runs.judge_finished()
            if start_runs and len(self.runs.unfinished) < self._concurrent_runs:
                self.runs.start()
        self._monitor.check()
        for violation in self._monitor.violations[self._reported :]:
            self._report(str(violation))
            self._reported += 1
        if self.elapsed > self._next_status:
            states = self.runs.states
            self._report(
                f"{len(self.runs.unfinished)} runs unfinished, {states.total()} finished "
                f"({states['success']} succeeded), {len(self._emulator.creations)} deployments created, "
                f"{self._monitor.count_existing()} exist"
            )
            self._next_status = self.elapsed + _STATUS_INTERVAL
        time.sleep(_STEP_INTERVAL)
        return self.runs.states.total()

    def _finish(self) -> None:
        deadline = time.monotonic() + _FINISH_TIMEOUT
        changed, last_seen = time.monotonic(), (-1, -1)
        while self.runs.unfinished and time.monotonic() < deadline:
            seen = (self._step(start_runs=False), len(self._emulator.creations))
            if seen != last_seen:
                changed, last_seen = time.monotonic(), seen
            elif time.monotonic() - changed > _STALL_TIMEOUT and self.injector.all_up():
                # A task that LocalExecutor lost stays queued until another scheduler starts.
                self._report(f"No progress for {_STALL_TIMEOUT} s. Restarting the scheduler.")
                self.injector.restart("scheduler")
                changed = time.monotonic()
        self.runs.give_up()
        end = time.monotonic() + _LAST_SECONDS
        while time.monotonic() < end:
            self._step(start_runs=False)
        self._monitor.finish()

    def _report(self, line: str) -> None:
        self._print(f"{self.elapsed:6.0f} s  {line}")


def main(arguments: Sequence[str] | None = None) -> int:
    """
    Run it.

    :param arguments: command line without the name of the program; by default that of this process.
    :return: exit code: 0 if all invariants hold, 1 if not, 130 after Ctrl-C.
    """
    options = _parser().parse_args(arguments)
    console = Console(highlight=False, markup=False)
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _interrupt)

    def report(line: str) -> None:
        console.print(line, soft_wrap=True)

    try:
        return _run(options, report)
    except KeyboardInterrupt:
        report("Interrupted. All processes are stopped.")
        return _INTERRUPTED
    except (LocalAirflowError, AirflowApiError) as error:
        print(error, file=sys.stderr)
        return 1


def _run(options: argparse.Namespace, report: Callable[[str], None]) -> int:
    with ExitStack() as cleanup:
        home = cleanup.enter_context(lock_home(Path(options.home)))
        emulator = cleanup.enter_context(
            Emulator(
                precision_lists="present",
                create_lag=0.5,
                delete_duration=1,
                deploy_outcomes={FAILING: "failed"},
            )
        )
        emulator.set_model(MODEL, supportedPrecisions=[*PRECISIONS, FAILING])
        postgres = cleanup.enter_context(Postgres())
        report(f"Emulated Fireworks API: {emulator.url}. Starting Airflow on PostgreSQL …")
        airflow = LocalAirflow(
            home,
            _FOLDER / "dags",
            database=postgres.url,
            env={"AIRFLOW_CONN_FIREWORKS_DEFAULT": emulator.connection, **FAST_FAILURE_DETECTION},
            parallelism=_PARALLELISM,
            triggerers=2,
            report=lambda line: report(f"  {line}"),
        )
        cleanup.enter_context(airflow)
        airflow.wait_for_dag(DAG)
        report(f"  Healthy: {airflow.url} (no password, everyone is an admin)")
        monitor = Monitor(emulator, DAG, failing={FAILING})
        monitor.start()
        cleanup.callback(monitor.stop)
        chaos = ChaosRun(
            airflow,
            emulator,
            monitor,
            seed=options.seed,
            kills=options.kills,
            freezes=options.freezes,
            seconds=options.minutes * 60,
            concurrent_runs=options.concurrent_runs,
            report=report,
        )
        chaos.run()
    _print_result(chaos, monitor.violations, home, report)
    return 0 if chaos.succeeded else 1


def _print_result(
    chaos: ChaosRun, violations: Sequence[Violation], home: Path, report: Callable[[str], None]
) -> None:
    if violations:
        report(f"\n{len(violations)} violations. All logs are in {home}:")
        for violation in violations:
            report(f"  {violation}")
    report(chaos.summary)


def _parser() -> argparse.ArgumentParser:
    env = os.environ
    parser = argparse.ArgumentParser(
        prog="python -m tests.chaos.run",
        description="Kill workers, triggerers and schedulers of an Airflow on PostgreSQL at random, and freeze "
        "triggerers, while DAGs deploy in the emulator. Check that no deployment is deleted while it is in use, "
        "created twice or orphaned.",
        epilog="SEED, KILLS, FREEZES and MINUTES can be set in the environment: "
        "make chaos KILLS=40 FREEZES=20 MINUTES=15.",
    )
    parser.add_argument(
        "--seed",
        type=int,
        default=env.get("SEED") or random.randrange(10_000),
        help="seed of the random choices: which runs, which faults, and when (default: a random one)",
    )
    parser.add_argument(
        "--kills", type=int, default=env.get("KILLS") or 70, help="number of kills (default: %(default)s)"
    )
    parser.add_argument(
        "--freezes",
        type=int,
        default=env.get("FREEZES") or 30,
        help="number of times to freeze a triggerer (default: %(default)s)",
    )
    parser.add_argument(
        "--minutes",
        type=float,
        default=env.get("MINUTES") or 40,
        help="minutes in which all faults happen (default: %(default)s)",
    )
    parser.add_argument(
        "--concurrent-runs",
        type=int,
        default=8,
        metavar="RUNS",
        help="number of DAG runs at any time (default: %(default)s)",
    )
    parser.add_argument(
        "--home",
        default=str(_CHECKOUT / ".chaos"),
        metavar="FOLDER",
        help="folder of Airflow's logs, emptied at the start (default: .chaos in the checkout)",
    )
    return parser


def _interrupt(number: int, frame: object) -> NoReturn:
    # Also for Ctrl-C, which a shell makes background processes ignore.
    raise KeyboardInterrupt


if __name__ == "__main__":
    sys.exit(main())
