"""``python -m local_airflow.demo``: the fan-out example on a whole Airflow, as it happens."""

from __future__ import annotations

import argparse
import fcntl
import importlib.metadata
import json
import os
import shutil
import signal
import sys
import threading
import time
from contextlib import ExitStack, nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from rich import box
from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from airflow_provider_fireworks.emulator import Emulator
from airflow_provider_fireworks.gateway.precision import UnknownPrecisionError, check_precision
from local_airflow.api import FINISHED, AirflowApiError, TaskInstance, without_groups
from local_airflow.components import LocalAirflow, LocalAirflowError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

DAG = "prepare_fan_out"
PRECISIONS = ["FP8", "FP4", "BF16"]
MODEL = "my-model"

_CHECKOUT = Path(__file__).resolve().parent.parent
_INTERRUPTED = 130
_USAGE_ERROR = 2
_USUAL_PORT = 8080

_WORDS: dict[str | None, str] = {
    None: "–",
    "scheduled": "scheduled",
    "queued": "queued",
    "running": "running",
    "deferred": "deferred → waiting in the triggerer",
    "success": "done",
    "failed": "failed",
    "up_for_retry": "failed, to be tried again",
    "up_for_reschedule": "waiting for its next look",
    "upstream_failed": "not run",
}
_COLOURS = {"done": "green", "prepared": "green", "failed": "red", "not run": "red", "preparing": "yellow"}


class _UsageError(Exception):
    """What was asked for cannot be done. The message is for people."""


@dataclass(frozen=True)
class Row:
    """What is known of one precision, in words."""

    precision: str
    prepare: str = _WORDS[None]
    ready: str = _WORDS[None]
    gateway: str = _WORDS[None]
    #: Seconds from the run's start to the end of this precision's way, ``None`` as long as it goes on.
    took: float | None = None


class Demo:
    """
    One run of the example DAG.

    :param airflow: a running one.
    :param gateway: the emulated gateway, or ``None`` if the run goes to Fireworks itself.
    """

    def __init__(
        self,
        airflow: LocalAirflow,
        gateway: Emulator | None,
        model: str,
        precisions: Sequence[str],
        console: Console,
    ) -> None:
        self.airflow = airflow
        self.gateway = gateway
        self.model = model
        self.console = console
        self.rows = [Row(precision) for precision in precisions]
        self.run_id = ""
        self.begun = time.monotonic()

    def run(self, timeout: float) -> str:
        """
        Trigger the DAG and show its progress until it ends.

        :param timeout: seconds.
        :return: the run's state.
        """
        precisions = [row.precision for row in self.rows]
        self.run_id = self.airflow.trigger(DAG, {"model": self.model, "precisions": precisions})
        self.begun = time.monotonic()
        # On a terminal a table that is drawn anew; else a line for every change, for logs.
        live = Live(console=self.console, auto_refresh=False) if self.console.is_terminal else None
        with live or nullcontext():
            while True:
                state = self.airflow.api.run_state(DAG, self.run_id)
                before, self.rows = self.rows, self._look()
                if live is not None:
                    live.update(self._table(), refresh=True)
                else:
                    self._lines(before)
                if state in FINISHED:
                    return state
                self.airflow.check()
                if self.elapsed > timeout:
                    raise AirflowApiError(f"The run has not ended within {timeout:.0f} s.")
                time.sleep(1)

    @property
    def elapsed(self) -> float:
        return time.monotonic() - self.begun

    def name(self, task: TaskInstance) -> str:
        if 0 <= task.map_index < len(self.rows):
            return f"{task.task_id} {self.rows[task.map_index].precision}"
        return task.name

    def _look(self) -> list[Row]:
        tasks = self.airflow.api.task_instances(DAG, self.run_id)
        rows = []
        for index, row in enumerate(self.rows):
            # As long as a task is not mapped yet, or if what it maps over has failed, its index is -1.
            states = {task.task_id: task.state for task in tasks if task.map_index in (index, -1)}
            ended = states.get("ready") in ("success", "failed", "upstream_failed")
            rows.append(
                replace(
                    row,
                    prepare=_word(states.get("prepare")),
                    ready=_word(states.get("ready")),
                    gateway=self._in_gateway(row.precision),
                    took=(row.took or self.elapsed) if ended else None,
                )
            )
        return rows

    def _in_gateway(self, precision: str) -> str:
        if self.gateway is None:
            return ""
        model = self.gateway.model(self.model)
        if precision in model.get("supportedPrecisions", ()):
            return "prepared"
        if all(done.precision != precision for done in self.gateway.preparations):
            return "not asked yet"
        return "preparing" if model["state"] == "PREPARING" else str(model["state"]).lower()

    def _table(self) -> Group:
        table = Table(box=box.SIMPLE_HEAD)
        for heading in ("precision", "prepare", "ready"):
            table.add_column(heading)
        if self.gateway is not None:
            table.add_column("in the gateway")
        table.add_column("done after", justify="right")
        for row in self.rows:
            cells: list[str | Text] = [row.precision, _coloured(row.prepare), _coloured(row.ready)]
            if self.gateway is not None:
                cells.append(_coloured(row.gateway))
            table.add_row(*cells, "" if row.took is None else f"{row.took:.0f} s")
        return Group(Text(f"\n{DAG}: {self.model}, {self.elapsed:.0f} s", style="bold"), table)

    def _lines(self, before: Sequence[Row]) -> None:
        for old, new in zip(before, self.rows, strict=True):
            parts = [("prepare", old.prepare, new.prepare), ("ready", old.ready, new.ready)]
            if self.gateway is not None:
                parts.append(("in the gateway", old.gateway, new.gateway))
            for what, was, now in parts:
                if was != now:
                    _say(self.console, f"{self.elapsed:5.0f} s  {new.precision:<6} {what}: {now}")


def main(arguments: Sequence[str] | None = None) -> int:
    """
    Run the demo.

    :param arguments: the command line without the program's name; by default the process' own.
    :return: the exit code: 0 if the run succeeded, 1 if not, 2 if it was asked for wrongly, 130 after Ctrl-C.
    """
    given = _parser().parse_args(arguments)
    console = Console(highlight=False, markup=False)
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _interrupt)
    try:
        return _demo(given, console)
    except KeyboardInterrupt:
        _say(console, "Interrupted. Everything is down again.")
        return _INTERRUPTED
    except _UsageError as error:
        print(error, file=sys.stderr)
        return _USAGE_ERROR
    except (LocalAirflowError, AirflowApiError) as error:
        print(error, file=sys.stderr)
        return 1


def _demo(given: argparse.Namespace, console: Console) -> int:
    begun = time.monotonic()
    precisions = _checked(given.precisions)
    real = _is_real(os.environ, given.model)
    if real and given.fail:
        raise _UsageError("FAIL is for the emulated gateway: leave it out, or MODEL.")
    with ExitStack() as cleanup:
        home = _own(Path(given.home), cleanup)
        gateway = None
        if real:
            _say(
                console, f"This goes to Fireworks itself, with your FIREWORKS_API_KEY: {given.model} will be"
            )
            _say(console, f"prepared at {', '.join(precisions)}.")
            connection = _real_connection(os.environ)
        else:
            outcomes = dict.fromkeys(_checked(given.fail), "failed_state")
            gateway = cleanup.enter_context(Emulator(duration=given.duration, outcomes=outcomes))
            _say(console, f"The Fireworks gateway, emulated, at {gateway.url}")
            if os.environ.get("FIREWORKS_API_KEY"):
                _say(
                    console,
                    "(FIREWORKS_API_KEY is not used. With MODEL=… too, that model is prepared for real.)",
                )
            connection = gateway.connection
        model = given.model or MODEL
        _say(console, f"Starting Airflow {importlib.metadata.version('apache-airflow')} …")
        airflow = LocalAirflow(
            home,
            _CHECKOUT / "example_dags",
            env={"AIRFLOW_CONN_FIREWORKS_DEFAULT": connection},
            port=given.port,
            usual_port=_USUAL_PORT,
            say=lambda line: _say(console, f"  {line}"),
        )
        with airflow:
            _say(console, f"  Healthy after {time.monotonic() - begun:.0f} s: {airflow.url}")
            demo = Demo(airflow, gateway, model, precisions, console)
            state = demo.run(given.timeout)
            _conclude(demo, state, home, secret=json.loads(connection)["password"])
            if given.keep:
                _stay(demo)
        _say(console, f"Done, {time.monotonic() - begun:.0f} s in all.")
    return 0 if state == "success" else 1


def _parser() -> argparse.ArgumentParser:
    env = os.environ
    parser = argparse.ArgumentParser(
        prog="python -m local_airflow.demo",
        description="Run the example DAG that prepares a model at several precisions on a whole Airflow on "
        "this machine (api-server, dag-processor, scheduler, triggerer), against an emulated gateway.",
        epilog="With FIREWORKS_API_KEY in the environment and a model named, it goes to Fireworks itself; "
        "FIREWORKS_ACCOUNT_ID and FIREWORKS_BASE_URL are taken from the environment too. Of the options, "
        "PRECISIONS, MODEL, KEEP, FAIL and PORT can be given in the environment: make demo KEEP=1.",
    )
    parser.add_argument(
        "--precisions",
        nargs="+",
        metavar="PRECISION",
        default=env.get("PRECISIONS", "").split() or PRECISIONS,
        help=f"what to prepare the model for (default: {' '.join(PRECISIONS)})",
    )
    parser.add_argument(
        "--model",
        default=env.get("MODEL") or None,
        help="your model at Fireworks, prepared for real; needs FIREWORKS_API_KEY",
    )
    parser.add_argument(
        "--keep",
        action="store_true",
        default=env.get("KEEP", "") not in ("", "0"),
        help="leave Airflow and its UI up until Ctrl-C",
    )
    parser.add_argument(
        "--fail",
        nargs="+",
        metavar="PRECISION",
        default=env.get("FAIL", "").split(),
        help="let the emulated gateway fail these, to see what that looks like",
    )
    parser.add_argument(
        "--duration",
        type=float,
        default=15,
        metavar="SECONDS",
        help="of a preparation in the emulated gateway (default: %(default)s)",
    )
    parser.add_argument(
        "--port",
        type=int,
        default=env.get("PORT") or None,
        help=f"of Airflow's UI and API (default: {_USUAL_PORT}, or any free one if that is taken)",
    )
    parser.add_argument(
        "--timeout", type=float, default=3600, metavar="SECONDS", help="of the run (default: %(default)s)"
    )
    parser.add_argument(
        "--home",
        default=str(_CHECKOUT / ".demo"),
        metavar="FOLDER",
        help="where Airflow keeps database and logs; emptied at the start (default: .demo in the checkout)",
    )
    return parser


def _checked(precisions: Sequence[str]) -> list[str]:
    try:
        return list(dict.fromkeys(check_precision(precision) for precision in precisions))
    except UnknownPrecisionError as error:
        raise _UsageError(str(error)) from error


def _is_real(env: Mapping[str, str], model: str | None) -> bool:
    if model and not env.get("FIREWORKS_API_KEY"):
        raise _UsageError(
            f"MODEL is {model}, but there is no FIREWORKS_API_KEY in the environment to prepare it with. "
            "Set it, or leave MODEL out to try the emulated gateway."
        )
    return bool(model)


def _real_connection(env: Mapping[str, str]) -> str:
    parts = {
        "login": env.get("FIREWORKS_ACCOUNT_ID"),
        "password": env["FIREWORKS_API_KEY"],
        "host": env.get("FIREWORKS_BASE_URL"),
    }
    return json.dumps({"conn_type": "fireworks", **{name: value for name, value in parts.items() if value}})


def _own(home: Path, cleanup: ExitStack) -> Path:
    """Take the folder for this run alone, and empty it."""
    marker = home / ".local-airflow"
    if home.exists() and any(home.iterdir()) and not marker.exists():
        raise _UsageError(f"{home} has something else in it than an earlier demo. Name another folder.")
    home.mkdir(parents=True, exist_ok=True)
    folder = os.open(home, os.O_RDONLY)
    cleanup.callback(os.close, folder)
    try:
        fcntl.flock(folder, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise _UsageError(f"A demo is running in {home} already. Stop it first.") from None
    for entry in home.iterdir():
        if entry.is_dir() and not entry.is_symlink():
            shutil.rmtree(entry)
        else:
            entry.unlink()
    marker.touch()
    return home


def _conclude(demo: Demo, state: str, home: Path, *, secret: str) -> None:
    word = "succeeded" if state == "success" else "failed"
    _say(demo.console, f"The run {word} after {demo.elapsed:.0f} s.")
    if demo.gateway is not None:
        counts = ", ".join(f"{count} × {what}" for what, count in demo.gateway.counts.items())
        _say(demo.console, f"The gateway was asked: {counts or 'nothing'}.")
    if state == "success":
        return
    for task in demo.airflow.api.task_instances(DAG, demo.run_id):
        if task.state == "failed":
            _say(demo.console, f"\n{demo.name(task)} failed. The end of its log:")
            for line in without_groups(demo.airflow.api.log(task))[-12:]:
                # It is masked already; this is for the day when it is not.
                _say(demo.console, f"    {line.replace(secret, '***')}")
    _say(demo.console, f"\nAll logs are in {home / 'logs'} and {demo.airflow.logs}")


def _stay(demo: Demo) -> None:
    url = f"{demo.airflow.url}/dags/{DAG}"
    _say(demo.console, f"Airflow stays up until Ctrl-C: {url} (no password, everyone is admin)")
    try:
        while not threading.Event().wait(1):
            demo.airflow.check()
    except KeyboardInterrupt:
        _say(demo.console, "")


def _word(state: str | None) -> str:
    return _WORDS.get(state) or str(state)


def _coloured(word: str) -> Text:
    return Text(word, style=next((_COLOURS[start] for start in _COLOURS if word.startswith(start)), ""))


def _say(console: Console, line: str) -> None:
    console.print(line, soft_wrap=True)


def _interrupt(number: int, frame: object) -> NoReturn:
    # Also where the shell had us ignore Ctrl-C, as it does for what runs in the background.
    raise KeyboardInterrupt


if __name__ == "__main__":
    sys.exit(main())
