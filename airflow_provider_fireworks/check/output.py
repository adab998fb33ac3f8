"""What the check prints: rows or a JSON object on stdout, progress and warnings on stderr, never the API key."""

from __future__ import annotations

import contextlib
import json
import os
import platform
import re
import shutil
import sys
import textwrap
from typing import TYPE_CHECKING, Any, NamedTuple, TextIO

from airflow_provider_fireworks import __version__

if TYPE_CHECKING:
    from airflow_provider_fireworks.client.config import ClientConfig
    from airflow_provider_fireworks.client.names import DeploymentName

_MARKS = {True: "✓", False: "✗", None: "–"}
_ASCII_MARKS = {True: "+", False: "x", None: "-"}
_RED, _DIM = "31", "2"
_COLOURS = {True: "", False: _RED, None: _DIM}
_NAME_WIDTH = 20
_KEYS = re.compile(r"fw_[A-Za-z0-9_]+")


class EmulatorOption(NamedTuple):
    """An option of the emulator that plays what the API does, and what the API did."""

    name: str
    value: bool | int | str
    because: str

    @property
    def flag(self) -> str:
        """The option on the emulator's command line."""
        flag = self.name.replace("_", "-")
        if isinstance(self.value, bool):
            return f"--{flag}" if self.value else f"--no-{flag}"
        return f"--{flag} {self.value}"

    @property
    def keyword(self) -> str:
        """The option as a keyword argument."""
        return f"{self.name}=" + (f'"{self.value}"' if isinstance(self.value, str) else str(self.value))


class Found(NamedTuple):
    """Whether a check passed (``None``: not known), what it found, and the options of the emulator that it settles."""

    ok: bool | None
    detail: str
    options: tuple[EmulatorOption, ...] = ()


class OutputError(Exception):
    """Stdout cannot be written: its reader is gone, or the disk is full."""


def hide_keys(text: str) -> str:
    """Replace everything that looks like an API key by ``***``."""
    return _KEYS.sub("***", text)


class Report:
    """
    The one way to print anything.

    :param as_json: whether to print one JSON object at the end instead of rows.
    :ivar config: the connection, whose key is hidden; ``None`` until it is known.
    :ivar about: further fields of the JSON object.
    :ivar rows: what the checks found, by their names.
    :ivar left: the deployments that may exist because of the check, and why they were not deleted.
    """

    def __init__(self, *, as_json: bool) -> None:
        self._out = sys.stdout
        self._as_json = as_json
        self._marks = _MARKS if "utf" in (self._out.encoding or "").lower() else _ASCII_MARKS
        self.config: ClientConfig | None = None
        self.about: dict[str, Any] = {}
        self.rows: dict[str, Found] = {}
        self.left: dict[DeploymentName, str] = {}

    def hide(self, text: str) -> str:
        """Return a text without the API key, and without anything else that looks like one."""
        if self.config:
            # json.dumps() may have escaped it.
            text = self.config.hide_key(text.replace(json.dumps(self.config.api_key)[1:-1], "***"))
        return hide_keys(text)

    def add(self, name: str, found: Found) -> None:
        """Add a row, and print it."""
        self.rows[name] = found
        if not self._as_json:
            row = f"{self._marks[found.ok]} {name:{_NAME_WIDTH}} {found.detail}"
            self.show(row, indent=_NAME_WIDTH + 3, colour=_COLOURS[found.ok])

    def finish(self) -> None:
        """Print the JSON object, or what is settled and the emulator that behaves like the API."""
        options = [option for found in self.rows.values() for option in found.options]
        flags = " ".join(option.flag for option in options)
        command = f"python -m airflow_provider_fireworks.emulator {flags}".rstrip()
        if self._as_json:
            content = {
                "package": __version__,
                "python": platform.python_version(),
                "baseUrl": self.config.base_url if self.config else None,
                **self.about,
                "checks": [
                    {"name": name, "ok": each.ok, "detail": each.detail} for name, each in self.rows.items()
                ],
                "settled": [
                    {"option": each.name, "value": each.value, "because": each.because} for each in options
                ],
                "emulator": command,
                "left": [str(deployment) for deployment in self.left],
            }
            self.show(json.dumps(content, indent=2))
        elif options:
            self.show("\nWhat this API does (docs/unknowns.md):")
            for option in options:
                self.show(f"  {option.keyword:28} {option.because}")
            if self.rows.get("validateOnly", Found(None, "")).ok is not False:
                self.show(f"\nStart an emulator that behaves like this API:\n  {command}")
                self.show(f"Its keyword arguments: {', '.join(option.keyword for option in options)}")

    def show(self, text: str, *, indent: int = 0, colour: str = "") -> None:
        """
        Print a text to stdout. Lines after the first are indented; on a terminal, long ones are wrapped.

        :raises OutputError: if it cannot be printed.
        """
        self.progress("")
        try:
            _print(self._out, self.hide(text), indent, colour)
        except (OSError, ValueError) as error:
            # What is still in the buffer would otherwise fail again when Python ends.
            with contextlib.suppress(OSError, ValueError):
                os.dup2(os.open(os.devnull, os.O_WRONLY), self._out.fileno())
            raise OutputError from error

    def note(self, text: str, *, colour: str = "") -> None:
        """Print a text to stderr. Raises nothing, since no clean-up may fail because of it."""
        self.progress("")
        with contextlib.suppress(OSError, ValueError):
            _print(sys.stderr, self.hide(text), 0, colour)

    def progress(self, text: str) -> None:
        """Show on a terminal what the check is doing, until something else is printed. Raises nothing."""
        with contextlib.suppress(OSError, ValueError):
            if sys.stderr.isatty():
                shown = self.hide(text)[: shutil.get_terminal_size().columns - 1]
                print(f"\r\033[K{shown}", end="", file=sys.stderr, flush=True)

    def warn_of_deployments(self) -> None:
        """Print how to delete each deployment that may be left."""
        # Loads Airflow, which --help does not need.
        from airflow_provider_fireworks.deployments.removal import MONEY
        from airflow_provider_fireworks.links import FireworksDeploymentLink

        for deployment in self.left:
            url = f"{self.config.base_url if self.config else ''}/v1/{deployment}?hard=true&ignoreChecks=true"
            self.note(
                f"\nWARNING: {deployment} may exist, and {MONEY}. Delete it in the console or with curl:\n"
                f"  {FireworksDeploymentLink().address(str(deployment))}\n"
                f'  curl -X DELETE -H "Authorization: Bearer $FIREWORKS_API_KEY" "{url}"',
                colour=_RED,
            )


def _print(out: TextIO, text: str, indent: int, colour: str) -> None:
    lines, blank, is_terminal = text.split("\n"), " " * indent, out.isatty()
    lines = [lines[0], *(f"{blank}{line}" for line in lines[1:])]
    if is_terminal and indent:
        wrapper = textwrap.TextWrapper(
            max(shutil.get_terminal_size().columns, 2 * indent),
            subsequent_indent=blank,
            break_long_words=False,
            break_on_hyphens=False,
        )
        lines = [part for line in lines for part in wrapper.wrap(line)]
    encoding = out.encoding or "ascii"
    text = "\n".join(lines).encode(encoding, "replace").decode(encoding)
    if colour and is_terminal and not os.environ.get("NO_COLOR"):
        text = f"\033[{colour}m{text}\033[0m"
    print(text, file=out, flush=True)
