"""``python -m local_airflow.demo``: the example that deploys, on a whole Airflow, as it happens."""

from __future__ import annotations

import argparse
import importlib.metadata
import json
import os
import signal
import sys
import threading
import time
from contextlib import ExitStack, nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from rich import box
from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from airflow_provider_fireworks.client import api
from airflow_provider_fireworks.client.config import ClientConfig, InvalidConfigError
from airflow_provider_fireworks.client.errors import ApiError
from airflow_provider_fireworks.client.sync_client import SyncClient, make_session
from airflow_provider_fireworks.deployments.ownership import Owner
from airflow_provider_fireworks.emulator import Emulator
from local_airflow import options
from local_airflow.api import FINISHED, AirflowApiError, TaskInstance, without_groups
from local_airflow.components import LocalAirflow, LocalAirflowError
from local_airflow.home import own
from local_airflow.options import USUAL_PORT, UsageError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from airflow_provider_fireworks.client.resources import Deployment

DAG = "deploy_fan_out"
#: Its tasks per precision, in their order.
STEPS = ["prepare", "ready", "deploy", "up", "smoke_test", "remove"]
MODEL = "my-model"

_CHECKOUT = Path(__file__).resolve().parent.parent
_INTERRUPTED = 130
_USAGE_ERROR = 2
_CONSOLE = "https://app.fireworks.ai"

# Short, so that a table of all steps fits into 80 columns.
_WORDS: dict[str | None, str] = {
    None: "–",
    "scheduled": "queued",
    "success": "done",
    "deferred": "waiting",
    "up_for_retry": "retry",
    "upstream_failed": "not run",
}
_COLOURS = {
    "done": "green",
    "prepared": "green",
    "READY": "green",
    "failed": "red",
    "FAILED": "red",
    "retry": "red",
    "not run": "red",
    "preparing": "yellow",
    "CREATING": "yellow",
    "waiting": "yellow",
}


@dataclass(frozen=True)
class Row:
    """
    What is known of one precision, in words.

    :ivar steps: how far each task is.
    :ivar model: what the API says of the model at this precision.
    :ivar deployment: what it says of the deployment.
    """

    precision: str
    steps: tuple[str, ...] = (_WORDS[None],) * len(STEPS)
    model: str = _WORDS[None]
    deployment: str = _WORDS[None]

    def parts(self) -> dict[str, str]:
        """Return what is told of it, by what it is."""
        steps = {step.replace("_", " "): state for step, state in zip(STEPS, self.steps, strict=True)}
        return {**steps, "model": self.model, "deployment": self.deployment}


class Demo:
    """
    One run of the example DAG.

    :param airflow: a running one.
    :param emulator: the emulated API, or ``None`` if the run goes to Fireworks itself.
    :param params: of the run.
    """

    def __init__(
        self,
        airflow: LocalAirflow,
        emulator: Emulator | None,
        params: Mapping[str, Any],
        console: Console,
    ) -> None:
        self.airflow = airflow
        self.emulator = emulator
        self.params = params
        self.console = console
        self.rows = [Row(precision) for precision in params["precisions"]]
        self.run_id = ""
        self.begun = time.monotonic()

    def run(self, timeout: float) -> str:
        """
        Trigger the DAG and show its progress until it ends.

        :param timeout: seconds.
        :return: the run's state.
        """
        self.airflow.wait_for_dag(DAG)
        self.run_id = self.airflow.api.trigger(DAG, self.params)
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
            return f"{_step(task)} {self.rows[task.map_index].precision}"
        return task.name

    def _look(self) -> list[Row]:
        tasks = self.airflow.api.task_instances(DAG, self.run_id)
        if self.emulator is None:
            made, models = {}, {}
        else:
            made = {each["precision"]: each["state"] for each in self.emulator.deployments}
            models = {row.precision: _in_gateway(self.emulator, row.precision) for row in self.rows}
        rows = []
        for index, row in enumerate(self.rows):
            # As long as a task is not mapped yet, or if what it maps over has failed, its index is -1.
            states = {_step(task): task.state for task in tasks if task.map_index in (index, -1)}
            rows.append(
                replace(
                    row,
                    steps=tuple(_word(states.get(step)) for step in STEPS),
                    model=models.get(row.precision, _WORDS[None]),
                    deployment=made.get(row.precision, _WORDS[None]),
                )
            )
        return rows

    def _shown(self, row: Row) -> dict[str, str]:
        parts = row.parts()
        if self.emulator is None:
            del parts["model"], parts["deployment"]
        return parts

    def _table(self) -> Group:
        table = Table(box=box.SIMPLE_HEAD, padding=0, show_edge=False, pad_edge=False)
        table.add_column("precision", min_width=9)
        for heading in self._shown(self.rows[0]):
            # As wide as what may come, so that nothing moves.
            table.add_column(
                heading.replace("smoke test", "smoke\ntest"), min_width=9 if heading == "model" else 7
            )
        for row in self.rows:
            table.add_row(row.precision, *map(_coloured, self._shown(row).values()))
        told = f"\n{DAG}: {self.params['model']}, {self.elapsed:.0f} s"
        legend = "waiting: in the triggerer, no worker is occupied by it"
        if self.emulator is not None:
            legend += "\nmodel, deployment: what the API says"
        return Group(Text(told, style="bold"), Text(), table, Text(legend, style="dim"))

    def _lines(self, before: Sequence[Row]) -> None:
        for old, new in zip(before, self.rows, strict=True):
            was = self._shown(old)
            for what, now in self._shown(new).items():
                if was[what] != now:
                    of = f"{what} in the API" if what in ("model", "deployment") else what
                    _say(self.console, f"{self.elapsed:5.0f} s  {new.precision:<6} {of}: {now}")


def main(arguments: Sequence[str] | None = None) -> int:
    """
    Run the demo.

    :param arguments: the command line without the program's name; by default the process' own.
    :return: the exit code: 0 if the run succeeded and no deployment is left, 1 if not, 2 if it was asked for
        wrongly, 130 after Ctrl-C.
    """
    console = Console(highlight=False, markup=False)
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _interrupt)
    try:
        return _demo(options.read(arguments), console)
    except KeyboardInterrupt:
        _say(console, "Interrupted. Everything is down again.")
        return _INTERRUPTED
    except (UsageError, InvalidConfigError) as error:
        print(error, file=sys.stderr)
        return _USAGE_ERROR
    except (LocalAirflowError, AirflowApiError, ApiError) as error:
        print(error, file=sys.stderr)
        return 1


def _demo(given: argparse.Namespace, console: Console) -> int:
    begun = time.monotonic()
    params = {"model": given.model or MODEL, "precisions": given.precisions}
    if given.accelerator:
        params["accelerator_type"] = given.accelerator
    with ExitStack() as cleanup:
        home = cleanup.enter_context(own(Path(given.home)))
        account: RealAccount | EmulatedAccount
        if given.real:
            account = RealAccount(_real_connection(os.environ))
            told = f"{params['model']} will be prepared and deployed at {', '.join(params['precisions'])}"
            _say(
                console,
                f"This goes to Fireworks itself, with your FIREWORKS_API_KEY, and costs money: {told}.",
            )
        else:
            account = EmulatedAccount(cleanup.enter_context(_emulator(given)))
            _say(console, f"The Fireworks API, emulated, at {account.emulator.url}")
            if os.environ.get("FIREWORKS_API_KEY"):
                told = "With MODEL=… and SPEND=yes too, that model is deployed for real"
                _say(console, f"(FIREWORKS_API_KEY is not used. {told}.)")
        _say(console, f"Starting Airflow {importlib.metadata.version('apache-airflow')} …")
        airflow = LocalAirflow(
            home,
            _CHECKOUT / "example_dags",
            env={"AIRFLOW_CONN_FIREWORKS_DEFAULT": account.connection},
            port=given.port,
            usual_port=USUAL_PORT,
            say=lambda line: _say(console, f"  {line}"),
        )
        if given.port is None and airflow.port != USUAL_PORT:
            _say(
                console,
                f"  Port {USUAL_PORT} is taken. Using port {airflow.port} (PORT=… chooses another one).",
            )
        try:
            with airflow:
                _say(console, f"  Healthy after {time.monotonic() - begun:.0f} s: {airflow.url}")
                demo = Demo(airflow, account.emulator, params, console)
                state = demo.run(given.timeout)
                _conclude(demo, state, home, secret=json.loads(account.connection)["password"])
                if given.keep:
                    _stay(demo)
        finally:
            # However it ended: what is left goes on costing money.
            left = account.left()
            _say(console, account.told(left))
        _say(console, f"Done, {time.monotonic() - begun:.0f} s in all.")
    return 0 if state == "success" and not left else 1


def _emulator(given: argparse.Namespace) -> Emulator:
    return Emulator(
        duration=given.duration,
        outcomes=dict.fromkeys(given.fail, "failed_state"),
        deploy_duration=given.duration,
        deploy_outcomes=dict.fromkeys(given.fail_deploy, "failed"),
    )


class EmulatedAccount:
    """What deployments there are in the emulated API."""

    def __init__(self, emulator: Emulator) -> None:
        self.emulator = emulator
        self.connection = emulator.connection

    def left(self) -> list[str]:
        """Return the names of those that nobody has deleted."""
        return self.emulator.deployments_left

    def told(self, left: Sequence[str]) -> str:
        """Return the end of the demo, for people."""
        names = "".join(f"\n  {name}" for name in left)
        note = " (emulated, so they cost nothing)" if left else ""
        used = f"GPU-seconds used: {self.emulator.gpu_seconds:.0f}"
        return f"{used}\ndeployments left: {len(left)}{note}{names}"


class RealAccount:
    """
    What deployments tasks have made at Fireworks since this was made.

    :param connection: of Airflow, as JSON.
    :raises ApiError: if it does not open an account.
    """

    emulator = None

    def __init__(self, connection: str) -> None:
        self.connection = connection
        parts = json.loads(connection)
        endpoint = ClientConfig.make(
            host=parts.get("host"), api_key=parts["password"], account=parts.get("login")
        )
        self._emulator = SyncClient(endpoint, make_session(endpoint))
        self._accounts = [endpoint.account or ""]
        if not endpoint.account:
            self._accounts = [each.account_id for each in self._emulator.run(api.list_accounts())]
        self._before = {each.name for each in self._deployments()}

    def left(self) -> list[str]:
        """Return the names of those that nobody has deleted, or why that is not known."""
        try:
            found = self._deployments()
        except ApiError as error:
            return [f"not known: {error}"]
        return [
            str(each.name)
            for each in found
            if each.name not in self._before
            and each.state not in ("DELETING", "DELETED")
            and Owner.from_description(each.description) is not None
        ]

    def told(self, left: Sequence[str]) -> str:
        """Return the end of the demo, for people."""
        if not left:
            return "deployments left: 0"
        names = "".join(f"\n  {name}" for name in left)
        return (
            f"deployments left: {len(left)}. THEY COST MONEY until they are deleted, with firectl or at "
            f"{_CONSOLE}/dashboard/deployments:{names}"
        )

    def _deployments(self) -> list[Deployment]:
        return [
            each for account in self._accounts for each in self._emulator.run(api.list_deployments(account))
        ]


def _real_connection(env: Mapping[str, str]) -> str:
    parts = {
        "login": env.get("FIREWORKS_ACCOUNT_ID"),
        "password": env["FIREWORKS_API_KEY"],
        "host": env.get("FIREWORKS_BASE_URL"),
    }
    return json.dumps({"conn_type": "fireworks", **{name: value for name, value in parts.items() if value}})


def _conclude(demo: Demo, state: str, home: Path, *, secret: str) -> None:
    word = "succeeded" if state == "success" else "failed"
    _say(demo.console, f"The run {word} after {demo.elapsed:.0f} s.")
    if demo.emulator is not None:
        counts = ", ".join(f"{count} × {what}" for what, count in demo.emulator.counts.items())
        _say(demo.console, f"The API was asked: {counts or 'nothing'}.")
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


def _in_gateway(emulator: Emulator, precision: str) -> str:
    model = emulator.model(MODEL)
    if precision in model["supportedPrecisions"]:
        return "prepared"
    if all(done.precision != precision for done in emulator.preparations):
        return _WORDS[None]
    return "preparing" if model["state"] == "PREPARING" else str(model["state"])


def _step(task: TaskInstance) -> str:
    """Return a task's id without that of its group."""
    return task.task_id.rpartition(".")[2]


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
