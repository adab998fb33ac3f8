"""``python -m local_airflow.demo``: run an example DAG on a whole Airflow, and show its progress."""

from __future__ import annotations

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

from airflow_provider_fireworks.client.errors import ApiError
from airflow_provider_fireworks.emulator import Emulator
from local_airflow.accounts import EmulatedAccount, FireworksAccount, fireworks_connection
from local_airflow.api import FINISHED, AirflowApiError, TaskInstance, without_groups
from local_airflow.components import LocalAirflow, LocalAirflowError
from local_airflow.home import lock_home
from local_airflow.options import DEFAULT_DAG, PREFERRED_PORT, UsageError, read

if TYPE_CHECKING:
    import argparse
    from collections.abc import Mapping, Sequence

#: The tasks of each precision of the default DAG, in their order.
STEPS = ["prepare", "ready", "deploy", "up", "smoke_test", "remove"]
MODEL = "my-model"

_CHECKOUT = Path(__file__).resolve().parent.parent
_INTERRUPTED = 130
_USAGE_ERROR = 2
_LOG_LINES = 12

#: Shorter words for states of tasks: a table of all steps fits into 80 columns.
_STATES: dict[str | None, str] = {
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
    The progress of one precision, as shown.

    :ivar steps: state of each task.
    :ivar model: state of the model at this precision, in the API.
    :ivar deployment: state of the deployment, in the API.
    """

    precision: str
    steps: tuple[str, ...] = (_STATES[None],) * len(STEPS)
    model: str = _STATES[None]
    deployment: str = _STATES[None]

    def cells(self) -> dict[str, str]:
        """Return what is shown, by the heading of its column."""
        steps = {step.replace("_", " "): state for step, state in zip(STEPS, self.steps, strict=True)}
        return {**steps, "model": self.model, "deployment": self.deployment}


class Demo:
    """
    One run of the default DAG.

    :param airflow: must be running.
    :param emulator: the emulated API; ``None`` if the run uses Fireworks.
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
        self.started = time.monotonic()

    dag = DEFAULT_DAG

    def run(self, timeout: float) -> str:
        """
        Trigger the DAG and show its progress until it ends.

        :param timeout: seconds.
        :return: the state of the run.
        """
        self.airflow.wait_for_dag(self.dag)
        self.run_id = self.airflow.api.trigger(self.dag, self._conf())
        self.started = time.monotonic()
        # A terminal shows a table that is redrawn; a log gets a line for each change.
        live = Live(console=self.console, auto_refresh=False) if self.console.is_terminal else None
        with live or nullcontext():
            while True:
                state = self.airflow.api.run_state(self.dag, self.run_id)
                self._show(live)
                if state in FINISHED:
                    return state
                self.airflow.check()
                if self.elapsed > timeout:
                    raise AirflowApiError(f"The run has not ended within {timeout:.0f} s.")
                time.sleep(1)

    @property
    def elapsed(self) -> float:
        return time.monotonic() - self.started

    def _conf(self) -> Mapping[str, Any]:
        """Return the params of the run."""
        return self.params

    def _show(self, live: Live | None) -> None:
        """Read and show the progress, in a terminal if there is one."""
        before, self.rows = self.rows, self._read_rows()
        if live is not None:
            live.update(self._table(), refresh=True)
        else:
            self._print_changes(before)

    def task_name(self, task: TaskInstance) -> str:
        if 0 <= task.map_index < len(self.rows):
            return f"{_step(task)} {self.rows[task.map_index].precision}"
        return task.name

    def _read_rows(self) -> list[Row]:
        tasks = self.airflow.api.task_instances(self.dag, self.run_id)
        deployments, models = {}, {}
        if self.emulator is not None:
            deployments = {each["precision"]: each["state"] for each in self.emulator.deployments}
            models = {row.precision: _model_state(self.emulator, row.precision) for row in self.rows}
        rows = []
        for index, row in enumerate(self.rows):
            # The map index is -1 until a task is mapped, and if the task that it maps over failed.
            states = {_step(task): task.state for task in tasks if task.map_index in (index, -1)}
            rows.append(
                replace(
                    row,
                    steps=tuple(_shown_state(states.get(step)) for step in STEPS),
                    model=models.get(row.precision, _STATES[None]),
                    deployment=deployments.get(row.precision, _STATES[None]),
                )
            )
        return rows

    def _cells(self, row: Row) -> dict[str, str]:
        cells = row.cells()
        if self.emulator is None:
            del cells["model"], cells["deployment"]
        return cells

    def _table(self) -> Group:
        table = Table(box=box.SIMPLE_HEAD, padding=0, show_edge=False, pad_edge=False)
        table.add_column("precision", min_width=9)
        for heading in self._cells(self.rows[0]):
            # As wide as the longest state, so that nothing moves.
            table.add_column(
                heading.replace("smoke test", "smoke\ntest"), min_width=9 if heading == "model" else 7
            )
        for row in self.rows:
            table.add_row(row.precision, *map(_coloured, self._cells(row).values()))
        title = f"\n{self.dag}: {self.params['model']}, {self.elapsed:.0f} s"
        legend = "waiting: deferred to the triggerer, without a worker slot"
        if self.emulator is not None:
            legend += "\nmodel, deployment: their state in the API"
        return Group(Text(title, style="bold"), Text(), table, Text(legend, style="dim"))

    def _print_changes(self, before: Sequence[Row]) -> None:
        for old, new in zip(before, self.rows, strict=True):
            old_cells = self._cells(old)
            for heading, state in self._cells(new).items():
                if old_cells[heading] != state:
                    subject = f"{heading} in the API" if heading in ("model", "deployment") else heading
                    _print(self.console, f"{self.elapsed:5.0f} s  {new.precision:<6} {subject}: {state}")


class ExampleDemo(Demo):
    """One run of any example DAG: shows the state of each task. It gets those of the params that it has."""

    def __init__(self, dag: str, checkpoint: Path, *args: Any) -> None:
        super().__init__(*args)
        self.dag = dag
        self._checkpoint = checkpoint
        self._states: dict[str, str] = {}

    def task_name(self, task: TaskInstance) -> str:
        return task.name

    def _conf(self) -> Mapping[str, Any]:
        defaults = self.airflow.api.default_params(self.dag)
        given = {"precisions": self.params["precisions"]}
        if "source" in defaults:
            given["source"] = _write_checkpoint(self._checkpoint)
        return {name: value for name, value in given.items() if name in defaults}

    def _show(self, live: Live | None) -> None:
        tasks = self.airflow.api.task_instances(self.dag, self.run_id)
        before, self._states = self._states, {task.name: _shown_state(task.state) for task in tasks}
        if live is not None:
            table = Table(box=box.SIMPLE_HEAD, padding=0, show_edge=False, pad_edge=False)
            table.add_column("task", min_width=24)
            table.add_column("state", min_width=9)
            for name, state in self._states.items():
                table.add_row(name, _coloured(state))
            live.update(
                Group(Text(f"\n{self.dag}: {self.elapsed:.0f} s", style="bold"), Text(), table), refresh=True
            )
            return
        for name, state in self._states.items():
            if before.get(name, _STATES[None]) != state:
                _print(self.console, f"{self.elapsed:5.0f} s  {name}: {state}")


def main(arguments: Sequence[str] | None = None) -> int:
    """
    Run the demo.

    :param arguments: command line without the name of the program; by default that of this process.
    :return: exit code: 0 if the run succeeded and no deployment is left, 1 if not, 2 for invalid options, 130 after
        Ctrl-C.
    """
    console = Console(highlight=False, markup=False)
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _interrupt)
    try:
        return _run_demo(read(arguments), console)
    except KeyboardInterrupt:
        _print(console, "Interrupted. All processes are stopped.")
        return _INTERRUPTED
    except UsageError as error:
        print(error, file=sys.stderr)
        return _USAGE_ERROR
    except (LocalAirflowError, AirflowApiError, ApiError) as error:
        print(error, file=sys.stderr)
        return 1


def _run_demo(options: argparse.Namespace, console: Console) -> int:
    started = time.monotonic()
    params = {"model": options.model or MODEL, "precisions": options.precisions}
    if options.accelerator:
        params["accelerator_type"] = options.accelerator
    # Before anything is started.
    connection = fireworks_connection(params["model"], os.environ) if options.real else None
    with ExitStack() as cleanup:
        home = cleanup.enter_context(lock_home(Path(options.home)))
        account: FireworksAccount | EmulatedAccount
        if connection is not None:
            account = FireworksAccount(connection)
            _print(
                console,
                "This uses Fireworks itself, with your FIREWORKS_API_KEY, and costs money: "
                f"{params['model']} will be prepared and deployed at {', '.join(params['precisions'])}.",
            )
        else:
            account = EmulatedAccount(cleanup.enter_context(_emulator(options)))
            _print(console, f"Emulated Fireworks API: {account.emulator.url}")
            if os.environ.get("FIREWORKS_API_KEY"):
                hint = "With MODEL=… and SPEND=yes, the demo deploys at Fireworks itself"
                _print(console, f"(FIREWORKS_API_KEY is not used. {hint}.)")
        _print(console, f"Starting Airflow {importlib.metadata.version('apache-airflow')} …")
        airflow = LocalAirflow(
            home,
            _CHECKOUT / "example_dags",
            env={"AIRFLOW_CONN_FIREWORKS_DEFAULT": account.connection},
            port=options.port,
            preferred_port=PREFERRED_PORT,
            report=lambda line: _print(console, f"  {line}"),
        )
        if options.port is None and airflow.port != PREFERRED_PORT:
            _print(
                console,
                f"  Port {PREFERRED_PORT} is taken. Using port {airflow.port} (PORT=… chooses another one).",
            )
        try:
            with airflow:
                _print(console, f"  Healthy after {time.monotonic() - started:.0f} s: {airflow.url}")
                run = (airflow, account.emulator, params, console)
                is_default = options.dag == DEFAULT_DAG
                demo = Demo(*run) if is_default else ExampleDemo(options.dag, home / "checkpoint", *run)
                state = demo.run(options.timeout)
                _print_result(demo, state, home, secret=json.loads(account.connection)["password"])
                if options.keep:
                    _keep_running(demo)
        finally:
            # However the demo ended: deployments that are left cost money.
            left = account.deployments_left()
            _print(console, account.summary(left))
        _print(console, f"Done after {time.monotonic() - started:.0f} s.")
    # Other examples may create a deployment that is meant to stay.
    return 0 if state == "success" and not (left and is_default) else 1


def _emulator(options: argparse.Namespace) -> Emulator:
    return Emulator(
        duration=options.duration,
        outcomes=dict.fromkeys(options.fail, "failed_state"),
        deploy_duration=options.duration,
        deploy_outcomes=dict.fromkeys(options.fail_deploy, "failed"),
        # For an example that chooses.
        quality={"FP4": 0.8},
        speed={"BF16": 60, "FP8": 120, "FP4": 200},
    )


def _write_checkpoint(folder: Path) -> str:
    """Write files that look like a checkpoint, and return the folder's URL."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text(
        json.dumps({"model_type": "llama", "architectures": ["LlamaForCausalLM"]})
    )
    for number in (1, 2):
        (folder / f"model-0000{number}-of-00002.safetensors").write_bytes(bytes(4_000_000))
    return folder.resolve().as_uri()


def _print_result(demo: Demo, state: str, home: Path, *, secret: str) -> None:
    result = "succeeded" if state == "success" else "failed"
    _print(demo.console, f"The run {result} after {demo.elapsed:.0f} s.")
    if demo.emulator is not None:
        # Beside requests by their method, it counts what they caused.
        requests = {what: count for what, count in demo.emulator.counts.items() if what.split()[0].isupper()}
        shown = ", ".join(f"{count} × {what}" for what, count in requests.items())
        _print(demo.console, f"Requests to the API: {shown or 'none'}.")
        prepared, created = len(demo.emulator.preparations), len(demo.emulator.creations)
        _print(demo.console, f"Preparations started: {prepared}. Deployments created: {created}.")
    if note := demo.airflow.api.note(demo.dag, demo.run_id):
        _print(demo.console, f"The note of the run:\n\n{note}\n")
    if state == "success":
        return
    for task in demo.airflow.api.task_instances(demo.dag, demo.run_id):
        if task.state == "failed":
            _print(demo.console, f"\n{demo.task_name(task)} failed. The end of its log:")
            for line in without_groups(demo.airflow.api.log(task))[-_LOG_LINES:]:
                # Airflow masks it already. This is a second safeguard.
                _print(demo.console, f"    {line.replace(secret, '***')}")
    _print(demo.console, f"\nAll logs are in {home / 'logs'} and {demo.airflow.logs}")


def _keep_running(demo: Demo) -> None:
    url = f"{demo.airflow.url}/dags/{demo.dag}"
    _print(demo.console, f"Airflow keeps running until Ctrl-C: {url} (no password, everyone is an admin)")
    try:
        while not threading.Event().wait(1):
            demo.airflow.check()
    except KeyboardInterrupt:
        _print(demo.console, "")


def _model_state(emulator: Emulator, precision: str) -> str:
    model = emulator.model(MODEL)
    if emulator.is_prepared(MODEL, precision):
        return "prepared"
    if all(preparation.precision != precision for preparation in emulator.preparations):
        return _STATES[None]
    return "preparing" if model["state"] == "PREPARING" else str(model["state"])


def _step(task: TaskInstance) -> str:
    """Return the id of a task without that of its group."""
    return task.task_id.rpartition(".")[2]


def _shown_state(state: str | None) -> str:
    return _STATES.get(state) or str(state)


def _coloured(state: str) -> Text:
    return Text(state, style=next((_COLOURS[start] for start in _COLOURS if state.startswith(start)), ""))


def _print(console: Console, line: str) -> None:
    console.print(line, soft_wrap=True)


def _interrupt(number: int, frame: object) -> NoReturn:
    # Also for Ctrl-C, which a shell makes background processes ignore.
    raise KeyboardInterrupt


if __name__ == "__main__":
    sys.exit(main())
