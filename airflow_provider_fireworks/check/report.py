"""Shows the results: as a table for a terminal, or as JSON."""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, TextIO

from airflow_provider_fireworks import __version__
from airflow_provider_fireworks.check.results import EmulatorOption, Result

if TYPE_CHECKING:
    from airflow_provider_fireworks.check.subject import Subject

_MARKS = {True: "✓", False: "✗", None: "–"}
_ASCII_MARKS = {True: "+", False: "x", None: "-"}
_COLOURS = {True: "32", False: "31", None: "2"}
_NAME_WIDTH = 20


class Table:
    """
    Prints each result when it is there, and then the emulator that does the same.

    :param out: where to print it: in colours if it is a terminal and ``NO_COLOR`` is not set, in ASCII if it cannot
        encode the marks.
    """

    def __init__(self, out: TextIO) -> None:
        self._out = out
        self._coloured = out.isatty() and not os.environ.get("NO_COLOR")
        self._marks = _MARKS if _can_encode(out, "".join(_MARKS.values())) else _ASCII_MARKS

    def add(self, result: Result) -> None:
        """Print the row of a result."""
        mark = self._colour(self._marks[result.ok], result.ok)
        first, *more = result.detail.split("\n")
        if result.ok is False:
            first = self._colour(first, False)
        self._print(f"{mark} {result.name:{_NAME_WIDTH}} {first}")
        for line in more:
            self._print(f"  {'':{_NAME_WIDTH}} {line}")

    def finish(self, options: Sequence[EmulatorOption]) -> None:
        """Print which unknowns are settled, and how the emulator plays them."""
        if not options:
            self._print("\nNothing of docs/unknowns.md is settled.")
            return
        self._print("\nSettled, of docs/unknowns.md:")
        for option in options:
            self._print(f"  {option.keyword:{_NAME_WIDTH + 8}} {option.because}")
        self._print(f"\nAn emulator that does the same:\n  {emulator_command(options)}")
        keywords = ", ".join(option.keyword for option in options)
        self._print(f"In Python:  Emulator({keywords})")
        self._print(f"In pytest:  fireworks_emulator.configure({keywords})")

    def _colour(self, text: str, ok: bool | None) -> str:
        return f"\033[{_COLOURS[ok]}m{text}\033[0m" if self._coloured else text

    def _print(self, text: str) -> None:
        if not _can_encode(self._out, text):
            encoding = self._out.encoding or "ascii"
            text = text.encode(encoding, "replace").decode(encoding)
        print(text, file=self._out, flush=True)


def emulator_command(options: Sequence[EmulatorOption]) -> str:
    """Return the command line of an emulator with these options."""
    return " ".join(["python -m airflow_provider_fireworks.emulator", *(option.flag for option in options)])


def as_json(subject: Subject, results: Sequence[Result], *, airflow: str) -> str:
    """
    Return the results as a JSON object, to attach to a bug report.

    :param airflow: the version of Airflow.
    """
    options, config = settled(results), subject.config
    content: dict[str, Any] = {
        "package": __version__,
        "airflow": airflow,
        "python": platform.python_version(),
        "baseUrl": config.hide_key(config.base_url) if config else None,
        "accountId": subject.account,
        "model": subject.model_given,
        "checks": [{"name": each.name, "ok": each.ok, "detail": each.detail} for each in results],
        "settled": [{"option": each.name, "value": each.value, "because": each.because} for each in options],
        "emulator": emulator_command(options),
    }
    return json.dumps(content, indent=2)


def settled(results: Sequence[Result]) -> list[EmulatorOption]:
    """Return the options that the results settle."""
    return [option for result in results for option in result.settles]


def _can_encode(out: TextIO, text: str) -> bool:
    try:
        text.encode(out.encoding or "ascii")
    except UnicodeEncodeError:
        return False
    return True
