"""The rows on different kinds of output, and how a settled option of the emulator is written."""

from __future__ import annotations

import io
import json
import sys

import pytest

from airflow_provider_fireworks.check.output import EmulatorOption, Found, OutputError, Report
from airflow_provider_fireworks.client.config import ClientConfig
from airflow_provider_fireworks.client.names import DeploymentName

PASSED, FAILED, UNKNOWN = (
    Found(True, "demo"),
    Found(False, "no model…\nsecond line"),
    Found(None, "not known"),
)
OPTION = EmulatorOption("precision_lists", "absent", "why")


class Output(io.TextIOWrapper):
    """An output with an encoding, which is a terminal or not."""

    def __init__(self, encoding: str = "utf-8", *, is_terminal: bool = False) -> None:
        super().__init__(io.BytesIO(), encoding=encoding)
        self.is_terminal = is_terminal

    def isatty(self) -> bool:
        return self.is_terminal

    def text(self) -> str:
        self.seek(0)
        return self.read()


class BrokenOutput(Output):
    def write(self, text: str) -> int:
        raise BrokenPipeError


@pytest.fixture(autouse=True)
def _no_settings(monkeypatch):
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("COLUMNS", "80")


@pytest.fixture
def show(monkeypatch):
    """Return what is shown on an output."""

    def run(output, *rows, **attributes):
        monkeypatch.setattr(sys, "stdout", output)
        report = Report(as_json=False)
        for name, value in attributes.items():
            setattr(report, name, value)
        for number, found in enumerate(rows):
            report.add(f"row {number}", found)
        report.finish()
        return output.text()

    return run


def test_rows_have_a_mark_for_each_result(show):
    shown = show(Output(), PASSED, FAILED, UNKNOWN)
    assert [line[0] for line in shown.splitlines()] == ["✓", "✗", " ", "–"]
    assert "\033" not in shown


def test_rows_without_unicode_are_ascii(show):
    shown = show(Output("ascii"), PASSED, FAILED, UNKNOWN)
    assert shown.isascii()
    assert [line[0] for line in shown.splitlines()] == ["+", "x", " ", "-"]
    assert "no model?" in shown


def test_failed_row_on_a_terminal_is_red_unless_no_color_is_set(show, monkeypatch):
    assert show(Output(is_terminal=True), FAILED).startswith("\033[31m✗")
    monkeypatch.setenv("NO_COLOR", "1")
    assert "\033" not in show(Output(is_terminal=True), PASSED, FAILED, UNKNOWN)


def test_long_lines_are_wrapped_under_the_details_of_a_terminal(show):
    words = "word " * 30
    shown = show(Output(is_terminal=True), Found(True, f"{words}\n{words}")).splitlines()
    assert len(shown) == 6
    assert all(len(line) <= 80 for line in shown)
    assert all(line.startswith(f"{' ' * 23}word") for line in shown[1:])
    assert len(show(Output(), Found(True, words)).splitlines()) == 1


def test_report_ends_with_an_emulator_that_behaves_like_the_api(show):
    shown = show(Output(), Found(True, "ok", (OPTION, EmulatorOption("gpu_quota", 8, "why"))))
    assert "python -m airflow_provider_fireworks.emulator --precision-lists absent --gpu-quota 8\n" in shown
    assert 'precision_lists="absent", gpu_quota=8\n' in shown


def test_report_names_no_emulator_after_a_failed_validation(show):
    shown = show(Output(), rows={"validateOnly": Found(False, "created", (OPTION,))})
    assert 'precision_lists="absent"' in shown
    assert "emulator" not in shown


def test_report_without_settled_options_ends_with_the_rows(show):
    assert show(Output(), PASSED) == f"✓ {'row 0':20} demo\n"


def test_output_that_cannot_be_written_raises(show):
    with pytest.raises(OutputError):
        show(BrokenOutput(), PASSED)


@pytest.mark.parametrize("is_terminal", [False, True])
def test_notes_that_cannot_be_written_raise_nothing(monkeypatch, is_terminal):
    monkeypatch.setattr(sys, "stderr", BrokenOutput(is_terminal=is_terminal))
    report = Report(as_json=False)
    report.left[DeploymentName("demo", "my-deployment")] = "why"
    report.progress("reading")
    report.note("reading")
    report.warn_of_deployments()


@pytest.mark.parametrize("key", ["secret_key_of_16_letters", 'secret"key\\of_letters'])
@pytest.mark.parametrize("as_json", [False, True])
def test_no_output_has_the_key_or_what_looks_like_one(capsys, key, as_json):
    report = Report(as_json=as_json)
    report.config = ClientConfig.make(host=None, api_key=key)
    found = f"{key} fw_otherSecret_1"
    report.add("model", Found(True, found, (EmulatorOption("precision_lists", "absent", found),)))
    report.finish()
    report.note(found)
    shown = "".join(capsys.readouterr())
    assert key not in shown
    assert json.dumps(key)[1:-1] not in shown
    assert "otherSecret" not in shown
    assert "*** ***" in shown


@pytest.mark.parametrize(
    ("name", "value", "flag", "keyword"),
    [
        ("precision_lists", "absent", "--precision-lists absent", 'precision_lists="absent"'),
        ("gpu_quota", 16, "--gpu-quota 16", "gpu_quota=16"),
        ("stale_status", True, "--stale-status", "stale_status=True"),
        ("zero_data_retention", False, "--no-zero-data-retention", "zero_data_retention=False"),
    ],
)
def test_option_is_written_as_a_flag_and_as_a_keyword(name, value, flag, keyword):
    option = EmulatorOption(name, value, "")
    assert option.flag == flag
    assert option.keyword == keyword
