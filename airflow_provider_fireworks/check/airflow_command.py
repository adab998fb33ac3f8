"""``airflow fireworks check``, in Airflow 3.2 and later."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from airflow_provider_fireworks.check.cli import DESCRIPTION, EPILOG, HELP, OPTIONS, interrupt_on_signals, run

if TYPE_CHECKING:
    import argparse

    from airflow.cli.cli_config import CLICommand


def get_cli_commands() -> list[CLICommand]:
    """Return the commands. Airflow calls this whenever ``airflow`` starts, so it loads nothing else."""
    from airflow.cli.cli_config import ActionCommand, Arg, GroupCommand, lazy_load_command

    check = ActionCommand(
        name="check",
        help=HELP,
        description=DESCRIPTION,
        epilog=EPILOG,
        func=lazy_load_command(f"{__name__}.run_and_exit"),
        # Airflow does not annotate it.
        args=[Arg((flag,), **arguments) for flag, arguments in OPTIONS.items()],  # type: ignore[no-untyped-call]
    )
    return [GroupCommand(name="fireworks", help="Check the Fireworks AI API.", subcommands=[check])]


def run_and_exit(given: argparse.Namespace) -> None:
    """Run the check, and exit with its code, as Airflow ignores what a command returns."""
    interrupt_on_signals()
    sys.exit(run(given))
