"""``python -m airflow_provider_fireworks.emulator``."""

from __future__ import annotations

import argparse
import errno
import shlex
import signal
import sys
import threading
import typing
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from airflow_provider_fireworks.emulator.options import Options
from airflow_provider_fireworks.emulator.server import Emulator

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pydantic.fields import FieldInfo

    from airflow_provider_fireworks.emulator.records import ReceivedRequest

_PROGRAM = "python -m airflow_provider_fireworks.emulator"
_DESCRIPTION = (
    "Run an emulator of the Fireworks control plane on this machine, to try DAGs without an account. Models are "
    "prepared and deployments come up within seconds. Nothing leaves this machine."
)
_EPILOG = (
    "While it runs, these paths inspect and change it without an API key: /emulator/requests, "
    "/emulator/deployments, /emulator/options, /emulator/faults, /emulator/models/{account}/{model}, "
    "/emulator/deployments/{account}/{deployment} and /emulator/reset. docs/emulator.md describes them."
)
# First option of each group in the help.
_GROUPS = {
    "accounts": "API key and initial models",
    "precision_lists": "models",
    "deploy_duration": "deployments",
    "router_duration": "routers",
    "gpu_quota": "errors and limits",
}


def main(arguments: Sequence[str] | None = None) -> int:
    """
    Run the emulator until Ctrl-C.

    :param arguments: the command line, without the program's name.
    :return: the exit code: 0 after Ctrl-C, 2 for invalid arguments or a port that is in use.
    """
    parser = _parser()
    given = vars(parser.parse_args(arguments))
    host, port, quiet = given.pop("host"), given.pop("port"), given.pop("quiet")
    try:
        options = Options.model_validate(given)
        emulator = Emulator(options, host=host, port=port, log=None if quiet else _print_request)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        parser.error(f"argument {_flag(str(first['loc'][0]))}: {first['msg']}")
    except ValueError as error:
        parser.error(f"argument --host: {error}")
    # SIGINT too, which shells ignore for background processes.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _interrupt)
    try:
        emulator.start()
    except OSError as error:
        reason = "the port is in use" if error.errno == errno.EADDRINUSE else error.strerror
        print(f"Cannot listen at {host}:{port}: {reason}. Use --port 0 for any free port.", file=sys.stderr)
        return 2
    try:
        _print_greeting(emulator)
        threading.Event().wait()
    except KeyboardInterrupt:
        # A second Ctrl-C must not end the shutdown with a traceback.
        signal.signal(signal.SIGINT, signal.SIG_IGN)
    emulator.stop()
    _print_summary(emulator)
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog=_PROGRAM, usage="%(prog)s [options]", description=_DESCRIPTION, epilog=_EPILOG
    )
    parser.add_argument(
        "--host",
        default="127.0.0.1",
        help="Loopback address to listen at. (default: %(default)s)",
    )
    parser.add_argument(
        "--port", default=8093, type=_port, help="Port, or 0 for any free one. (default: %(default)s)"
    )
    parser.add_argument("--quiet", action="store_true", help="Do not print a line for each request.")
    group: argparse._ActionsContainer = parser
    for name, field in Options.model_fields.items():
        group = parser.add_argument_group(_GROUPS[name]) if name in _GROUPS else group
        _add_option(group, name, field)
    return parser


def _add_option(group: argparse._ActionsContainer, name: str, field: FieldInfo) -> None:
    """Add the flag of an option. The values are checked by :class:`Options`."""
    origin, types = typing.get_origin(field.annotation), typing.get_args(field.annotation)
    default = "unset" if field.default is None else field.default
    how: dict[str, Any]
    if field.annotation is bool:
        how = {"action": argparse.BooleanOptionalAction}
        default = "yes" if default else "no"
    elif origin is typing.Literal:
        how = {"type": type(types[0]), "choices": types}
    elif origin in (list, dict):
        how = {"action": "append", "metavar": "ID"}
        if origin is dict:
            value = "OUTCOME" if typing.get_origin(types[1]) is typing.Literal else "NUMBER"
            how = {"action": _AddPair, "metavar": f"PRECISION={value}"}
        default = f"{' '.join(default) or 'none'}; can be repeated"
    else:
        metavars = {float: "SECONDS", int: "NUMBER", str: "TEXT"}
        how = {"metavar": next(metavars[kind] for kind in (*types, field.annotation) if kind in metavars)}
    text = f"{field.description} (default: {default})".replace("%", "%%")
    group.add_argument(_flag(name), dest=name, default=argparse.SUPPRESS, help=text, **how)


class _AddPair(argparse.Action):
    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: Any,
        option_string: str | None = None,
    ) -> None:
        precision, _, outcome = values.partition("=")
        setattr(namespace, self.dest, {**getattr(namespace, self.dest, {}), precision: outcome})


def _flag(name: str) -> str:
    return f"--{name.replace('_', '-')}"


def _port(text: str) -> int:
    if not text.isdecimal() or int(text) > 65535:
        raise argparse.ArgumentTypeError(f"invalid port {text!r}: use 0 to 65535")
    return int(text)


def _interrupt(signum: int, frame: object) -> None:
    raise KeyboardInterrupt


def _print_greeting(emulator: Emulator) -> None:
    models = "\n".join(f"    {model['name']}  {model['state']}" for model in emulator.models)
    header = shlex.quote(f"Authorization: Bearer {emulator.api_key}")
    print(
        f"The emulated Fireworks API runs at {emulator.url}. Press Ctrl-C to stop it.\n\n"
        f"API key: {emulator.api_key}\n"
        f"Account: {emulator.account_id}\n"
        f"Models:\n{models}\n\n"
        f"export AIRFLOW_CONN_FIREWORKS_DEFAULT={shlex.quote(emulator.connection)}\n"
        f"curl -H {header} {emulator.url}/v1/accounts/{emulator.account_id}/models/my-model\n",
        flush=True,
    )


def _print_request(request: ReceivedRequest) -> None:
    fault = f" (fault: {request.fault})" if request.fault else ""
    print(f"{request.method} {request.path} {request.status or '-'}{fault}", flush=True)


def _print_summary(emulator: Emulator) -> None:
    counts = "".join(f"\n{count:6}  {what}" for what, count in emulator.counts.items())
    left = emulator.deployments_left
    names = "".join(f"\n    {name}" for name in left)
    print(
        f"\nStopped. Requests and results:{counts or ' none'}\n"
        f"GPU-seconds: {emulator.gpu_seconds:.1f}. Deployments left: {len(left)}{names}",
        flush=True,
    )
