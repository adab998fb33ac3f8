"""The table on different kinds of output."""

from __future__ import annotations

import io

import pytest

from airflow_provider_fireworks.check.report import Table
from airflow_provider_fireworks.check.results import EmulatorOption, Result

PASSED, FAILED = Result("account", True, "demo"), Result("model", False, "does not exist…\nsecond line")
UNKNOWN = Result("GPU quotas", None, "not known")


class Output(io.TextIOWrapper):
    """An output with an encoding, which is a terminal or not."""

    def __init__(self, encoding: str, *, is_terminal: bool = False) -> None:
        super().__init__(io.BytesIO(), encoding=encoding)
        self.is_terminal = is_terminal

    def isatty(self) -> bool:
        return self.is_terminal

    def text(self) -> str:
        self.seek(0)
        return self.read()


@pytest.fixture(autouse=True)
def _no_settings(monkeypatch):
    monkeypatch.delenv("NO_COLOR", raising=False)


def show(output, *results, options=()):
    table = Table(output)
    for result in results:
        table.add(result)
    table.finish(options)
    return output.text()


def test_table_shows_a_mark_for_each_result():
    shown = show(Output("utf-8"), PASSED, FAILED, UNKNOWN)
    assert [line[0] for line in shown.splitlines()[:4]] == ["✓", "✗", " ", "–"]
    assert "\033" not in shown


def test_table_without_unicode_is_ascii():
    shown = show(Output("ascii"), PASSED, FAILED, UNKNOWN)
    assert shown.isascii()
    assert [line[0] for line in shown.splitlines()[:4]] == ["+", "x", " ", "-"]
    assert "does not exist?" in shown


def test_failed_check_on_a_terminal_is_red():
    assert "\033[31mdoes not exist…\033[0m" in show(Output("utf-8", is_terminal=True), FAILED)


def test_terminal_with_no_color_gets_no_colours(monkeypatch):
    monkeypatch.setenv("NO_COLOR", "1")
    assert "\033" not in show(Output("utf-8", is_terminal=True), PASSED, FAILED, UNKNOWN)


def test_table_ends_with_the_emulator_that_does_the_same():
    options = [EmulatorOption("precision_lists", "absent", "why"), EmulatorOption("gpu_quota", 8, "why")]
    shown = show(Output("utf-8"), options=options)
    assert "python -m airflow_provider_fireworks.emulator --precision-lists absent --gpu-quota 8\n" in shown
    assert 'Emulator(precision_lists="absent", gpu_quota=8)\n' in shown


def test_table_without_settled_options_says_so():
    assert "Nothing of docs/unknowns.md is settled." in show(Output("utf-8"), PASSED)
