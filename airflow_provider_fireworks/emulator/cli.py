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
from airflow_provider_fireworks.emulator.server import Emulator, check_loopback

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pydantic.fields import FieldInfo

    from airflow_provider_fireworks.emulator.records import ReceivedRequest

_USAGE_ERROR = 2
_PROGRAM = "python -m airflow_provider_fireworks.emulator"


def main(arguments: Sequence[str] | None = None) -> int:
    """
    Serve the emulated API until Ctrl-C.

    :param arguments: the command line without the program's name; by default the process' own.
    :return: the exit code: 0 after Ctrl-C, 2 where it could not start as asked.
    """
    parser = _parser()
    given = vars(parser.parse_args(arguments))
    host, port, quiet = given.pop("host"), given.pop("port"), given.pop("quiet")
    try:
        options = Options.model_validate({name: _value(name, given[name]) for name in given})
    except ValidationError as error:
        parser.error(_first(error))
    emulator = Emulator(options, host=host, port=port, log=None if quiet else _log)
    # SIGINT too: a shell has what it starts in the background ignore it.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _interrupt)
    try:
        emulator.start()
    except OSError as error:
        reason = "the port is taken" if error.errno == errno.EADDRINUSE else error.strerror
        print(f"Cannot listen at {host}:{port}: {reason}. --port 0 takes any free one.", file=sys.stderr)
        return _USAGE_ERROR
    try:
        _greet(emulator)
        threading.Event().wait()
    except KeyboardInterrupt:
        # A second Ctrl-C must not turn the clean end into a traceback.
        signal.signal(signal.SIGINT, signal.SIG_IGN)
    emulator.stop()
    _take_leave(emulator)
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog=_PROGRAM,
        description="The Fireworks API on this machine: its control plane over HTTP, with models that "
        "prepare and deployments that come up in seconds. To try DAGs without an account; nothing leaves this machine.",
        epilog="While it runs, /emulator/requests, /emulator/counts, /emulator/preparations, "
        "/emulator/creations, /emulator/deployments, /emulator/gpu_seconds, /emulator/options, "
        "/emulator/faults, /emulator/models/{account}/{model}, "
        "/emulator/deployments/{account}/{deployment} and /emulator/reset show and change what it does; no "
        "key is needed there.",
    )
    parser.add_argument(
        "--host",
        default="127.0.0.1",
        type=_loopback,
        help="loopback address to listen at; no other is taken (default: %(default)s)",
    )
    parser.add_argument(
        "--port",
        default=8093,
        type=_port,
        help="port to listen at, 0 for any free one (default: %(default)s)",
    )
    parser.add_argument("--quiet", action="store_true", help="no line per request")
    group = parser.add_argument_group("how the API behaves")
    for name, field in Options.model_fields.items():
        _add_option(group, name, field)
    return parser


def _add_option(group: argparse._ArgumentGroup, name: str, field: FieldInfo) -> None:
    """Add the flag of one field of :class:`Options`; its values are judged there, not here."""
    kinds = [_bare(kind) for kind in (typing.get_args(field.annotation) or ()) if kind is not type(None)]
    origin = typing.get_origin(field.annotation)
    how: dict[str, Any] = {"dest": name, "default": argparse.SUPPRESS}
    default = field.default
    if field.annotation is bool:
        how["action"] = argparse.BooleanOptionalAction
        default = "yes" if default else "no"
    elif origin is typing.Literal:
        how["choices"] = [str(kind) for kind in kinds]
    elif origin in (list, dict):
        how["action"] = "append"
        how["metavar"] = "PRECISION=OUTCOME" if origin is dict else "ID"
        default = f"{' '.join(default) or 'none'}; may be repeated"
    else:
        kind = kinds[0] if kinds else field.annotation
        how["metavar"] = {float: "SECONDS", int: "N"}.get(typing.cast("type", kind), "TEXT")
    text = f"{field.description} (default: {'unset' if default is None else default})"
    group.add_argument(f"--{name.replace('_', '-')}", help=text.replace("%", "%%"), **how)


def _bare(kind: Any) -> Any:
    """Return a type without what ``Annotated`` says of it."""
    return typing.get_args(kind)[0] if typing.get_origin(kind) is typing.Annotated else kind


def _value(name: str, given: Any) -> Any:
    """Return what the command line gave for an option, in the shape in which the option is declared."""
    field = Options.model_fields[name]
    if typing.get_origin(field.annotation) is dict:
        return dict(pair.partition("=")[::2] for pair in given)
    if typing.get_origin(field.annotation) is typing.Literal:
        return next(kind for kind in typing.get_args(field.annotation) if str(kind) == given)
    return given


def _first(error: ValidationError) -> str:
    first = error.errors(include_url=False)[0]
    flag = str(first["loc"][0]).replace("_", "-")
    return f"argument --{flag}: {first['msg']}"


def _loopback(text: str) -> str:
    try:
        return check_loopback(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from error


def _port(text: str) -> int:
    if not text.isdecimal() or int(text) > 65535:
        raise argparse.ArgumentTypeError(f"{text!r} is no port: 0 to 65535")
    return int(text)


def _interrupt(signum: int, frame: object) -> None:
    raise KeyboardInterrupt


def _greet(emulator: Emulator) -> None:
    account = emulator.account_id
    models = "\n".join(f"            {model['name']}  {model['state']}" for model in emulator.models)
    curl = f"{emulator.url}/v1/accounts/{account}/models/my-model"
    print(
        f"The Fireworks API, emulated, at {emulator.url} (Ctrl-C stops it)\n"
        f"  API key   {emulator.api_key}\n"
        f"  account   {account}\n"
        f"  models\n{models}\n\n"
        f"export AIRFLOW_CONN_FIREWORKS_DEFAULT={shlex.quote(emulator.connection)}\n"
        f"curl -H {shlex.quote(f'Authorization: Bearer {emulator.api_key}')} {curl}\n",
        flush=True,
    )


def _log(request: ReceivedRequest) -> None:
    met = f" (fault: {request.fault})" if request.fault else ""
    print(f"{request.method} {request.path} {request.status or '-'}{met}", flush=True)


def _take_leave(emulator: Emulator) -> None:
    counts = "".join(f"\n  {count:6}  {what}" for what, count in emulator.counts.items())
    left = emulator.deployments_left
    names = "".join(f"\n          {name}" for name in left)
    print(
        f"\nStopped. It was asked:{counts or ' nothing'}\n"
        f"Deployments left: {len(left)}. GPU-seconds: {emulator.gpu_seconds:.1f}.{names}",
        flush=True,
    )
