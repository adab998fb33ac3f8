"""The command line of ``python -m airflow_provider_fireworks``."""

from __future__ import annotations

import argparse
import contextlib
import logging
import os
import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from airflow_provider_fireworks.check.output import OutputError, Report, hide_keys
from airflow_provider_fireworks.client.names import InvalidNameError, ModelName, check_id
from airflow_provider_fireworks.client.text import one_line

# With it, `airflow connections` reads the database as well. Outside of a task, Airflow 3.1 and later do not otherwise.
_CONTEXT = "_AIRFLOW_PROCESS_CONTEXT"
_PROGRAM = "python -m airflow_provider_fireworks"
HELP = "Show what the Fireworks API behind a connection does."
DESCRIPTION = (
    "Show what the Fireworks API behind a connection does, and which options of the emulator do the same. Creates "
    "nothing: sends GET requests and deploymentShapeVersions:match only, unless --validate-deployments is given."
)
EPILOG = (
    "Exit code: 0 if every check that ran passed; 1 if one failed, or if a deployment may be left; 2 for a wrong "
    "command line; 70 if the output cannot be written, or after an unexpected error; 130 after Ctrl-C. "
    "docs/check.md describes the output."
)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command line, given without the program's name, and return the exit code, as :data:`EPILOG` says."""
    command, *rest = (sys.argv[1:] if arguments is None else arguments) or ["no command"]
    parser = argparse.ArgumentParser(
        prog=f"{_PROGRAM} check", description=DESCRIPTION, epilog=EPILOG, allow_abbrev=False
    )
    for flag, keywords in OPTIONS.items():
        parser.add_argument(flag, **keywords)
    if command in ("-h", "--help"):
        rest = ["--help"]
    elif command == "emulator":
        parser.error(f"the emulator is started with: {_PROGRAM}.emulator")
    elif command != "check":
        parser.error(f"{command}: the only command is check")
    return run(parser.parse_args(rest))


def interrupt_on_signals() -> None:
    """Make SIGTERM and SIGHUP end the check like Ctrl-C, so that it deletes what a validation may have created."""
    for name in ("SIGTERM", "SIGHUP"):
        number = getattr(signal, name, None)
        # With nohup, SIGHUP is ignored.
        if number is not None and signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, _interrupt)


def _interrupt(signum: int, frame: object) -> None:
    if signum != signal.SIGTERM:
        # When a terminal is closed, the kernel and the shell may both send it.
        signal.signal(signum, signal.SIG_IGN)
    raise KeyboardInterrupt


def run(given: argparse.Namespace) -> int:
    """Run the check with the parsed :data:`OPTIONS`, and return the exit code, as :data:`EPILOG` says."""
    if given.validate_deployments and not given.model:
        print("error: argument --validate-deployments: requires --model", file=sys.stderr)
        return 2
    report = Report(as_json=given.json)
    try:
        try:
            with _quiet_airflow():
                _check(given, report)
        finally:
            report.finish()
        code = 1 if any(found.ok is False for found in report.rows.values()) else 0
    except KeyboardInterrupt:
        code = 130
        report.note("Interrupted.")
    except OutputError:
        code = 70
    except Exception as error:
        code = 70
        report.note(f"error: {type(error).__name__}: {one_line(error)}")
    report.warn_of_deployments()
    return 1 if report.left else code


def _check(given: argparse.Namespace, report: Report) -> None:
    # Loading Airflow takes seconds, which --help does not need.
    report.progress("loading Airflow …")
    import airflow

    from airflow_provider_fireworks.check.checks import run_checks
    from airflow_provider_fireworks.check.subject import Subject
    from airflow_provider_fireworks.hooks.fireworks import FireworksHook

    report.about |= {"airflow": airflow.__version__, "accountId": None, "model": given.model}
    hook = FireworksHook(given.conn_id or None, account_id=given.account_id)
    subject = Subject(hook, given.model, given.accelerator_type, report)
    run_checks(subject, validate_deployments=given.validate_deployments)


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


def _checked_by(check: Callable[[str], object]) -> Callable[[str], str]:
    def parse(value: str) -> str:
        try:
            check(value)
        except InvalidNameError as error:
            raise argparse.ArgumentTypeError(hide_keys(str(error))) from None
        return value

    return parse


OPTIONS: dict[str, dict[str, Any]] = {
    "--conn-id": {
        "default": "fireworks_default",
        "help": "Airflow connection, from AIRFLOW_CONN_<ID>, a secrets backend, or the database of this Airflow. "
        "Empty (--conn-id ''): FIREWORKS_API_KEY, FIREWORKS_ACCOUNT_ID and FIREWORKS_BASE_URL. "
        "(default: %(default)s)",
    },
    "--account-id": {
        "type": _checked_by(lambda value: check_id(value, "account id")),
        "help": "Account, instead of the connection's. (default: unset)",
    },
    "--model": {
        "type": _checked_by(ModelName.account_in),
        "help": "Id or full name of a model to check. (default: unset)",
    },
    "--validate-deployments": {
        "action": "store_true",
        "help": "Also send requests to create deployments of the model with validateOnly, which should create nothing. "
        "If one does, it is deleted, and no more are sent. Requires --model.",
    },
    "--accelerator-type": {
        "default": "NVIDIA_H100_80GB",
        "help": "Accelerators of the deployments to validate and of the emulator's GPU quota. (default: %(default)s)",
    },
    "--json": {"action": "store_true", "help": "Print one JSON object, for a bug report."},
}
"""The options of the command, by flag: the arguments of ``add_argument``."""
