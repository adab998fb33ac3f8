"""``make demo`` refuses invalid options before it installs anything."""

from __future__ import annotations

import shutil
import socket
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

from local_airflow.options import PRECISIONS, UsageError, read

CHECKOUT = Path(__file__).parents[2]
REAL = {"MODEL": "my-model", "SPEND": "yes", "FIREWORKS_API_KEY": "fw_x"}


def test_options_without_variables_are_the_defaults() -> None:
    given = read([], {})
    assert (given.precisions, given.fail, given.fail_deploy) == (PRECISIONS, [], [])
    assert (given.keep, given.port, given.real) == (False, None, False)


def test_options_from_variables_are_taken() -> None:
    env = {"PRECISIONS": "FP8  NF4 FP8", "FAIL": "NF4", "KEEP": "1", "FIREWORKS_API_KEY": "fw_x"}
    given = read([], env)
    assert (given.precisions, given.fail, given.keep, given.real) == (["FP8", "NF4"], ["NF4"], True, False)


@pytest.mark.parametrize(("value", "keep"), [("", False), ("0", False), ("no", False), ("yes", True)])
def test_keep_is_read_as_yes_or_no(value: str, keep: bool) -> None:
    assert read([], {"KEEP": value}).keep is keep


@pytest.mark.parametrize(
    ("env", "message"),
    [
        (
            {"PRECISIONS": "FP9"},
            "PRECISIONS: unknown precision 'FP9'. Did you mean FP8 or FP4? Known: FP16, ",
        ),
        ({"PRECISIONS": "FP8 F4"}, "unknown precision 'F4'. Did you mean FP4? Known: "),
        ({"PRECISIONS": "FP8,FP4"}, 'e.g. PRECISIONS="FP8 FP4", not by commas'),
        ({"FAIL": "fp4"}, "FAIL: unknown precision 'fp4'. Did you mean FP4?"),
        ({"FAIL": "NF4"}, "FAIL names NF4, which is not among PRECISIONS (FP8 FP4 BF16)"),
        ({"FAIL_DEPLOY": "NF4"}, "FAIL_DEPLOY names NF4, which is not among PRECISIONS"),
        ({"KEEP": "maybe"}, "Invalid KEEP=maybe: use KEEP=1, or leave it out."),
        ({"PORT": "http"}, "Invalid PORT=http: use a number from 1 to 65535"),
        ({"PORT": "65536"}, "Invalid PORT=65536"),
        ({"PORT": "-1"}, "Invalid PORT=-1"),
        ({"SPEND": "yes"}, "SPEND is set, but MODEL is not"),
        ({"MODEL": "my-model"}, "MODEL=my-model needs FIREWORKS_API_KEY"),
        ({**REAL, "SPEND": "1"}, "COSTS MONEY"),
        ({**REAL, "FAIL": "FP4"}, "FAIL and FAIL_DEPLOY need the emulator"),
        ({**REAL, "MODEL": "My Model"}, "MODEL: "),
        ({**REAL, "FIREWORKS_BASE_URL": "http://example.com"}, "FIREWORKS_BASE_URL: "),
    ],
)
def test_options_that_are_invalid_are_refused_by_name(env: Mapping[str, str], message: str) -> None:
    with pytest.raises(UsageError) as refused:
        read([], env)
    assert message in str(refused.value)
    # That is an argument of the operators, which make cannot pass.
    assert "allow_unknown" not in str(refused.value)
    assert "fw_x" not in str(refused.value)


def test_options_for_fireworks_itself_need_all_three() -> None:
    assert read([], REAL).real


def test_port_that_is_taken_is_refused() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(UsageError, match=f"Cannot use PORT={port}: Address already in use"):
            read([], {"PORT": str(port)})


def test_options_are_checked_without_installed_packages() -> None:
    # -S leaves out all that is installed.
    command = [sys.executable, "-S", "-m", "local_airflow.options"]
    done = subprocess.run(
        command, cwd=CHECKOUT, env={"FAIL": "FP9"}, capture_output=True, text=True, timeout=30
    )
    assert done.returncode == 2
    assert done.stderr.startswith("FAIL: unknown precision 'FP9'.")


@pytest.mark.skipif(shutil.which("make") is None, reason="Runs the Makefile, and make is not installed.")
def test_make_demo_refuses_before_it_installs() -> None:
    # Without a Python in BIN, nothing can start if it is not refused.
    command = ["make", "demo", "PRECISIONS=FP9", f"PYTHON={sys.executable}", "BIN=/nowhere"]
    done = subprocess.run(command, cwd=CHECKOUT, capture_output=True, text=True, timeout=30)
    assert done.returncode == 2
    assert "unknown precision 'FP9'" in done.stderr
    assert "Installing" not in done.stdout
