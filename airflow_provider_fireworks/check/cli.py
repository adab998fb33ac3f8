"""The command line of ``python -m airflow_provider_fireworks``."""

from __future__ import annotations

import argparse
import contextlib
import logging
import os
import signal
import sys
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, TextIO

from airflow_provider_fireworks.check.report import Table, as_json, settled
from airflow_provider_fireworks.client.names import InvalidNameError, ModelName, check_id

if TYPE_CHECKING:
    from airflow_provider_fireworks.check.results import Result

# With it, `airflow connections` reads the database as well. Outside of a task, Airflow 3.1 and later do not otherwise.
_CONTEXT = "_AIRFLOW_PROCESS_CONTEXT"
_PROGRAM = "python -m airflow_provider_fireworks"
HELP = "Show what the Fireworks API behind a connection does."
DESCRIPTION = (
    "Show what the Fireworks API behind a connection does, and which options of the emulator do the same. Creates "
    "nothing: sends GET requests and deploymentShapeVersions:match only, unless --validate-deployments is given."
)
EPILOG = (
    "Exit code: 0 if every check that ran passed, 1 if one failed, 2 for a wrong command line, 130 after Ctrl-C. "
    "docs/check.md describes the output."
)


def main(arguments: Sequence[str] | None = None) -> int:
    """
    Run a command.

    :param arguments: the command line, without the program's name.
    :return: the exit code: 0 if every check that ran passed, 1 if one failed, 130 after Ctrl-C.
    """
    return run(_parser().parse_args(arguments))


def interrupt_on_sigterm() -> None:
    """Make SIGTERM end the check like Ctrl-C, so that it deletes what a validation may have created."""
    signal.signal(signal.SIGTERM, _interrupt)


def _interrupt(signum: int, frame: object) -> None:
    raise KeyboardInterrupt


def run(given: argparse.Namespace) -> int:
    """
    Run the check.

    :param given: the parsed :data:`OPTIONS`.
    :return: the exit code: 0 if every check that ran passed, 1 if one failed, 2 for a wrong command line, 130 after
        Ctrl-C.
    """
    if given.validate_deployments and not given.model:
        print("error: argument --validate-deployments: requires --model", file=sys.stderr)
        return 2
    out = sys.stdout
    try:
        with _quiet_airflow():
            return _check(given, out)
    except KeyboardInterrupt as interrupt:
        print(f"Interrupted. {interrupt}".rstrip(), file=sys.stderr)
        return 130


def _check(given: argparse.Namespace, out: TextIO) -> int:
    # Loading Airflow takes seconds, which --help does not need.
    import airflow

    from airflow_provider_fireworks.check.checks import run_checks
    from airflow_provider_fireworks.check.subject import Subject
    from airflow_provider_fireworks.hooks.fireworks import FireworksHook

    hook = FireworksHook(given.conn_id or None, account_id=given.account_id)
    subject = Subject(hook, given.model, given.accelerator_type, _print_progress)
    table = None if given.json else Table(out)
    results: list[Result] = []
    for found in run_checks(subject, validate_deployments=given.validate_deployments):
        # Without a usable connection there is no key to hide.
        results.append(found.hide(subject.config.hide_key) if subject.config else found)
        if table:
            table.add(results[-1])
    if table:
        table.finish(settled(results))
    else:
        print(as_json(subject, results, airflow=airflow.__version__), file=out)
    return 1 if any(result.ok is False for result in results) else 0


@contextlib.contextmanager
def _quiet_airflow() -> Iterator[None]:
    """Make Airflow read connections of its database, as its own commands do, and keep its log out of the output."""
    before, context = logging.root.manager.disable, os.environ.get(_CONTEXT)
    logging.disable(logging.WARNING)
    os.environ[_CONTEXT] = "server"
    try:
        with contextlib.redirect_stdout(sys.stderr):
            yield
    finally:
        logging.disable(before)
        os.environ.pop(_CONTEXT)
        if context is not None:
            os.environ[_CONTEXT] = context


def _account_id(value: str) -> str:
    try:
        return check_id(value, "account id")
    except InvalidNameError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def _model(value: str) -> str:
    try:
        ModelName.account_in(value)
    except InvalidNameError as error:
        raise argparse.ArgumentTypeError(str(error)) from None
    return value


OPTIONS: tuple[tuple[str, dict[str, Any]], ...] = (
    (
        "--conn-id",
        {
            "default": "fireworks_default",
            "help": "Airflow connection, from AIRFLOW_CONN_<ID>, a secrets backend, or the database of this Airflow. "
            "Empty (--conn-id ''): FIREWORKS_API_KEY, FIREWORKS_ACCOUNT_ID and FIREWORKS_BASE_URL. "
            "(default: %(default)s)",
        },
    ),
    ("--account-id", {"type": _account_id, "help": "Account, instead of the connection's. (default: unset)"}),
    ("--model", {"type": _model, "help": "Id or full name of a model to check. (default: unset)"}),
    (
        "--validate-deployments",
        {
            "action": "store_true",
            "help": "Also send requests to create deployments of the model with validateOnly, which should create "
            "nothing. If one does, it is deleted, and no more are sent. Requires --model.",
        },
    ),
    (
        "--accelerator-type",
        {
            "default": "NVIDIA_H100_80GB",
            "help": "Accelerators of the deployments to validate and of the emulator's GPU quota. "
            "(default: %(default)s)",
        },
    ),
    ("--json", {"action": "store_true", "help": "Print one JSON object, for a bug report."}),
)
"""The options of the command, by flag: the arguments of ``add_argument``."""


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog=_PROGRAM)
    commands = parser.add_subparsers(title="commands", required=True, metavar="check")
    check = commands.add_parser("check", help=HELP, description=DESCRIPTION, epilog=EPILOG)
    for flag, arguments in OPTIONS:
        check.add_argument(flag, **arguments)
    return parser


def _print_progress(line: str) -> None:
    print(line, file=sys.stderr, flush=True)
