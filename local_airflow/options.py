"""
The options of the demo.

``make demo`` runs this module before it installs anything, to check the options in the environment. It therefore needs
nothing but the standard library. What needs the installed client is checked in :mod:`local_airflow.accounts`.
"""

from __future__ import annotations

import argparse
import importlib.util
import os
import socket
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

PRECISIONS = ["FP8", "FP4", "BF16"]
PREFERRED_PORT = 8080
DEFAULT_DAG = "deploy_fan_out"

_CHECKOUT = Path(__file__).resolve().parent.parent
_USAGE_ERROR = 2


def _load_precision_module() -> Any:
    # An import would run client/__init__.py first, which imports pydantic, and that may not be installed yet. The
    # module itself uses the standard library only.
    path = _CHECKOUT / "airflow_provider_fireworks/client/precision.py"
    spec = importlib.util.spec_from_file_location("precision", path)
    if spec is None or spec.loader is None:
        raise ImportError(f"Cannot load {path}.")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


_precision = _load_precision_module()


class UsageError(Exception):
    """Options that are invalid or contradict each other."""


def read(arguments: Sequence[str] | None = None, env: Mapping[str, str] = os.environ) -> argparse.Namespace:
    """
    Parse and check the options of the demo. ``real`` is whether it uses Fireworks instead of the emulator.

    :param arguments: command line without the name of the program; by default that of this process.
    :param env: environment with the defaults of some options, e.g. ``PRECISIONS``, and with the API key.
    :raises UsageError: if they are invalid or contradict each other.
    """
    options = _parser(env).parse_args(arguments)
    options.precisions = _check_precisions("PRECISIONS", options.precisions)
    options.fail = _check_precisions("FAIL", options.fail)
    options.fail_deploy = _check_precisions("FAIL_DEPLOY", options.fail_deploy)
    for name, failing in (("FAIL", options.fail), ("FAIL_DEPLOY", options.fail_deploy)):
        if missing := set(failing) - set(options.precisions):
            raise UsageError(
                f"{name} names {', '.join(sorted(missing))}, which is not among PRECISIONS "
                f"({' '.join(options.precisions)}): add it there."
            )
    _check_dag(options.dag)
    options.keep = options.keep or _is_on("KEEP", env)
    options.port = _check_port(options.port)
    options.real = _uses_fireworks(options, env)
    return options


def _parser(env: Mapping[str, str]) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m local_airflow.demo",
        description="Run an example DAG, by default the one that prepares a model, deploys it, uses it and deletes the "
        "deployment, at several precisions. It runs on a whole Airflow on this machine (api-server, dag-processor, "
        "scheduler, triggerer), against an emulated API.",
        epilog="With --model, --spend and FIREWORKS_API_KEY in the environment, the demo uses your account at "
        "Fireworks instead of the emulator; it then also reads FIREWORKS_ACCOUNT_ID and FIREWORKS_BASE_URL. "
        "DAG, PRECISIONS, MODEL, ACCELERATOR, SPEND, KEEP, FAIL, FAIL_DEPLOY and PORT can be set in the environment: "
        "make demo KEEP=1.",
    )
    parser.add_argument(
        "--dag",
        metavar="NAME",
        default=env.get("DAG") or DEFAULT_DAG,
        help="an example DAG (default: %(default)s)",
    )
    parser.add_argument(
        "--precisions",
        nargs="+",
        metavar="PRECISION",
        default=env.get("PRECISIONS", "").split() or PRECISIONS,
        help=f"precisions to deploy the model at (default: {' '.join(PRECISIONS)})",
    )
    parser.add_argument(
        "--model",
        default=env.get("MODEL") or None,
        help="a model of yours to deploy at Fireworks; needs FIREWORKS_API_KEY and --spend",
    )
    parser.add_argument(
        "--spend",
        action="store_true",
        default=env.get("SPEND", "").lower() == "yes",
        help="accept that deployments at Fireworks cost money (SPEND=yes)",
    )
    parser.add_argument(
        "--accelerator",
        metavar="TYPE",
        default=env.get("ACCELERATOR") or None,
        help="accelerator to deploy on (default: that of the example DAG)",
    )
    parser.add_argument(
        "--keep",
        action="store_true",
        help="keep Airflow and its UI running until Ctrl-C",
    )
    parser.add_argument(
        "--fail",
        nargs="+",
        metavar="PRECISION",
        default=env.get("FAIL", "").split(),
        help="precisions whose preparation fails in the emulator",
    )
    parser.add_argument(
        "--fail-deploy",
        nargs="+",
        metavar="PRECISION",
        default=env.get("FAIL_DEPLOY", "").split(),
        help="precisions whose deployment fails in the emulator",
    )
    parser.add_argument(
        "--duration",
        type=float,
        default=8,
        metavar="SECONDS",
        help="duration of a preparation, and of a deployment, in the emulator (default: %(default)s)",
    )
    parser.add_argument(
        "--port",
        default=env.get("PORT") or None,
        help=f"port of Airflow's UI and API (default: {PREFERRED_PORT}, or any free one if that is taken)",
    )
    parser.add_argument(
        "--timeout",
        type=float,
        default=3600,
        metavar="SECONDS",
        help="timeout of the DAG run (default: %(default)s)",
    )
    parser.add_argument(
        "--home",
        default=str(_CHECKOUT / ".demo"),
        metavar="FOLDER",
        help="folder of Airflow's database and logs, emptied at the start (default: .demo in the checkout)",
    )
    return parser


def _check_precisions(name: str, values: Sequence[str]) -> list[str]:
    """Return precisions without duplicates."""
    known = list(_precision.Precision.__members__)
    for value in values:
        if "," in value:
            raise UsageError(f'{name}: separate precisions by spaces, e.g. {name}="FP8 FP4", not by commas.')
        if value not in known:
            near = _precision.nearest_precisions(value)
            hint = f" Did you mean {' or '.join(near)}?" if near else ""
            raise UsageError(f"{name}: unknown precision {value!r}.{hint} Known: {', '.join(known)}.")
    return list(dict.fromkeys(values))


def _check_dag(name: str) -> None:
    known = sorted(file.stem for file in (_CHECKOUT / "example_dags").glob("*.py"))
    if name not in known:
        raise UsageError(f"DAG: unknown example {name!r}. Known: {', '.join(known)}.")


def _is_on(name: str, env: Mapping[str, str]) -> bool:
    value = env.get(name, "").lower()
    if value not in ("", "0", "no", "1", "yes"):
        raise UsageError(f"Invalid {name}={env[name]}: use {name}=1, or leave it out.")
    return value in ("1", "yes")


def _check_port(value: str | None) -> int | None:
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


def _uses_fireworks(options: argparse.Namespace, env: Mapping[str, str]) -> bool:
    if not options.model:
        if options.spend:
            raise UsageError(
                "SPEND is set, but MODEL is not: set MODEL to your model at Fireworks, or leave SPEND out to use "
                "the emulator."
            )
        return False
    if not env.get("FIREWORKS_API_KEY"):
        raise UsageError(
            f"MODEL={options.model} needs FIREWORKS_API_KEY in the environment. Set it, or leave MODEL out to use the "
            "emulator."
        )
    if not options.spend:
        raise UsageError(
            f"MODEL={options.model} with your FIREWORKS_API_KEY deploys at Fireworks itself, which COSTS MONEY as long "
            "as a deployment has replicas. Set SPEND=yes if you want that, or leave MODEL out to use the emulator."
        )
    if options.dag != DEFAULT_DAG:
        raise UsageError(f"DAG={options.dag} needs the emulator: leave DAG out, or leave MODEL out.")
    if options.fail or options.fail_deploy:
        raise UsageError("FAIL and FAIL_DEPLOY need the emulator: leave them out, or leave MODEL out.")
    return True


def main() -> int:
    """Check the options in the environment, and return the exit code: 0 if they are valid, 2 otherwise."""
    try:
        read([])
    except UsageError as error:
        print(error, file=sys.stderr)
        return _USAGE_ERROR
    return 0


if __name__ == "__main__":
    sys.exit(main())
