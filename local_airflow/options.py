"""
The options of the demo, checked.

``make demo`` runs this module before it installs anything, to check the options in the environment. It therefore
imports only the standard library, and modules of the package that do the same.
"""

from __future__ import annotations

import argparse
import os
import socket
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from airflow_provider_fireworks.client.config import ClientConfig, InvalidConfigError
from airflow_provider_fireworks.client.names import InvalidNameError, ModelName
from airflow_provider_fireworks.client.precision import Precision, nearest_precisions

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

PRECISIONS = ["FP8", "FP4", "BF16"]
USUAL_PORT = 8080

_CHECKOUT = Path(__file__).resolve().parent.parent
_USAGE_ERROR = 2


class UsageError(Exception):
    """Options that are invalid or contradict each other. The message is for people."""


def read(arguments: Sequence[str] | None = None, env: Mapping[str, str] = os.environ) -> argparse.Namespace:
    """
    Return the options of the demo. ``real`` says whether it goes to Fireworks itself.

    :param arguments: the command line without the program's name; by default the process' own.
    :param env: holds the defaults of some options, e.g. ``PRECISIONS``, and the API key.
    :raises UsageError: if they are invalid or contradict each other.
    """
    given = _parser(env).parse_args(arguments)
    given.precisions = _precisions("PRECISIONS", given.precisions)
    given.fail = _precisions("FAIL", given.fail)
    given.fail_deploy = _precisions("FAIL_DEPLOY", given.fail_deploy)
    for name, failing in (("FAIL", given.fail), ("FAIL_DEPLOY", given.fail_deploy)):
        if missing := set(failing) - set(given.precisions):
            raise UsageError(
                f"{name} names {', '.join(sorted(missing))}, which is not among PRECISIONS "
                f"({' '.join(given.precisions)}): add it there."
            )
    given.keep = given.keep or _is_on("KEEP", env)
    given.port = _port(given.port)
    given.real = _is_real(given, env)
    return given


def _parser(env: Mapping[str, str]) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m local_airflow.demo",
        description="Run the example DAG that prepares, deploys, tries and removes a model at several precisions "
        "on a whole Airflow on this machine (api-server, dag-processor, scheduler, triggerer), against an "
        "emulated API.",
        epilog="With FIREWORKS_API_KEY in the environment, a model named and --spend, it goes to Fireworks itself; "
        "FIREWORKS_ACCOUNT_ID and FIREWORKS_BASE_URL are taken from the environment too. Of the options, "
        "PRECISIONS, MODEL, ACCELERATOR, SPEND, KEEP, FAIL, FAIL_DEPLOY and PORT can be given in the environment: "
        "make demo KEEP=1.",
    )
    parser.add_argument(
        "--precisions",
        nargs="+",
        metavar="PRECISION",
        default=env.get("PRECISIONS", "").split() or PRECISIONS,
        help=f"what to deploy the model at (default: {' '.join(PRECISIONS)})",
    )
    parser.add_argument(
        "--model",
        default=env.get("MODEL") or None,
        help="your model at Fireworks, deployed for real; needs FIREWORKS_API_KEY and --spend",
    )
    parser.add_argument(
        "--spend",
        action="store_true",
        default=env.get("SPEND", "").lower() == "yes",
        help="agree that deployments at Fireworks cost money (SPEND=yes)",
    )
    parser.add_argument(
        "--accelerator",
        metavar="TYPE",
        default=env.get("ACCELERATOR") or None,
        help="what to deploy on (default: the example's)",
    )
    parser.add_argument(
        "--keep",
        action="store_true",
        help="leave Airflow and its UI up until Ctrl-C",
    )
    parser.add_argument(
        "--fail",
        nargs="+",
        metavar="PRECISION",
        default=env.get("FAIL", "").split(),
        help="let the emulated API fail to prepare these, to see what that looks like",
    )
    parser.add_argument(
        "--fail-deploy",
        nargs="+",
        metavar="PRECISION",
        default=env.get("FAIL_DEPLOY", "").split(),
        help="let it fail to deploy these",
    )
    parser.add_argument(
        "--duration",
        type=float,
        default=8,
        metavar="SECONDS",
        help="of a preparation, and of a deployment, in the emulated API (default: %(default)s)",
    )
    parser.add_argument(
        "--port",
        default=env.get("PORT") or None,
        help=f"of Airflow's UI and API (default: {USUAL_PORT}, or any free one if that is taken)",
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


def _precisions(name: str, values: Sequence[str]) -> list[str]:
    """Return precisions without repetitions."""
    for value in values:
        if "," in value:
            raise UsageError(f'{name}: separate precisions by spaces, e.g. {name}="FP8 FP4", not by commas.')
        if value not in Precision.__members__:
            near = nearest_precisions(value)
            hint = f" Did you mean {' or '.join(near)}?" if near else ""
            known = ", ".join(Precision.__members__)
            raise UsageError(f"{name}: unknown precision {value!r}.{hint} Known: {known}.")
    return list(dict.fromkeys(values))


def _is_on(name: str, env: Mapping[str, str]) -> bool:
    value = env.get(name, "").lower()
    if value not in ("", "0", "no", "1", "yes"):
        raise UsageError(f"Invalid {name}={env[name]}: use {name}=1, or leave it out.")
    return value in ("1", "yes")


def _port(value: str | None) -> int | None:
    if value is None:
        return None
    number = int(value) if value.isascii() and value.isdigit() else 0
    if not 1 <= number <= 65535:
        raise UsageError(f"Invalid PORT={value}: use a number from 1 to 65535, or leave it out.")
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", number))
        except OSError as error:
            raise UsageError(
                f"Cannot use PORT={number}: {error.strerror}. Use another one, or leave it out to get one that is free."
            ) from error
    return number


def _is_real(given: argparse.Namespace, env: Mapping[str, str]) -> bool:
    if not given.model:
        if given.spend:
            raise UsageError(
                "SPEND is set, but MODEL is not: set MODEL to your model at Fireworks, or leave SPEND out to use "
                "the emulator."
            )
        return False
    if not env.get("FIREWORKS_API_KEY"):
        raise UsageError(
            f"MODEL={given.model} needs FIREWORKS_API_KEY in the environment. Set it, or leave MODEL out to use the "
            "emulator."
        )
    if not given.spend:
        raise UsageError(
            f"MODEL={given.model} with your FIREWORKS_API_KEY deploys at Fireworks itself, which COSTS MONEY for as "
            "long as a deployment has replicas. Set SPEND=yes if you want that, or leave MODEL out to use the emulator."
        )
    if given.fail or given.fail_deploy:
        raise UsageError("FAIL and FAIL_DEPLOY need the emulator: leave them out, or leave MODEL out.")
    try:
        ModelName.account_in(given.model)
        ClientConfig.make(
            host=env.get("FIREWORKS_BASE_URL"),
            api_key=env["FIREWORKS_API_KEY"],
            account=env.get("FIREWORKS_ACCOUNT_ID"),
        )
    except InvalidNameError as error:
        raise UsageError(f"MODEL: {error}") from error
    except InvalidConfigError as error:
        raise UsageError(f"FIREWORKS_API_KEY, FIREWORKS_ACCOUNT_ID or FIREWORKS_BASE_URL: {error}") from error
    return True


def main() -> int:
    """Check the options that the environment holds, and return the exit code: 0 if they are valid, else 2."""
    try:
        read([])
    except UsageError as error:
        print(error, file=sys.stderr)
        return _USAGE_ERROR
    return 0


if __name__ == "__main__":
    sys.exit(main())
