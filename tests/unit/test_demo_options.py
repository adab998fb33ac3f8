"""``make demo`` rejects invalid options before it installs or starts anything."""

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
    options = read([], {})
    assert (options.precisions, options.fail, options.fail_deploy) == (PRECISIONS, [], [])
    assert (options.keep, options.port, options.real) == (False, None, False)


def test_options_are_read_from_variables() -> None:
    env = {"PRECISIONS": "FP8  NF4 FP8", "FAIL": "NF4", "KEEP": "1", "FIREWORKS_API_KEY": "fw_x"}
    options = read([], env)
    assert (options.precisions, options.fail, options.keep) == (["FP8", "NF4"], ["NF4"], True)
    assert not options.real


@pytest.mark.parametrize(("value", "keep"), [("", False), ("0", False), ("no", False), ("yes", True)])
def test_keep_is_parsed_as_yes_or_no(value: str, keep: bool) -> None:
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
        (
            {"DAG": "deploy"},
            "DAG: unknown example 'deploy'. Known: checkpoint_to_production, deploy_fan_out, ",
        ),
        ({**REAL, "DAG": "prepare_fan_out"}, "DAG=prepare_fan_out needs the emulator"),
        ({"KEEP": "maybe"}, "Invalid KEEP=maybe: use KEEP=1, or leave it out."),
        ({"PORT": "http"}, "Invalid PORT=http: use a number from 1 to 65535"),
        ({"PORT": "65536"}, "Invalid PORT=65536"),
        ({"PORT": "-1"}, "Invalid PORT=-1"),
        ({"SPEND": "yes"}, "SPEND is set, but MODEL is not"),
        ({"MODEL": "my-model"}, "MODEL=my-model needs FIREWORKS_API_KEY"),
        *(
            (
                {**REAL, "SPEND": spend},
                "which COSTS MONEY as long as a deployment has replicas. Set SPEND=yes",
            )
            for spend in ("", "0", "no", "1")
        ),
        ({**REAL, "FAIL": "FP4"}, "FAIL and FAIL_DEPLOY need the emulator"),
    ],
)
def test_invalid_option_is_rejected_with_its_name(env: Mapping[str, str], message: str) -> None:
    with pytest.raises(UsageError) as rejected:
        read([], env)
    assert message in str(rejected.value)
    # An argument of the operators, which make cannot pass.
    assert "allow_unknown" not in str(rejected.value)
    assert "fw_x" not in str(rejected.value)


def test_fireworks_is_used_with_model_key_and_spend() -> None:
    assert read([], REAL).real


def test_port_in_use_is_rejected() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(UsageError, match=f"Cannot use PORT={port}: Address already in use"):
            read([], {"PORT": str(port)})


def test_options_are_checked_without_installed_packages() -> None:
    # -S hides all installed packages.
    command = [sys.executable, "-S", "-m", "local_airflow.options"]
    done = subprocess.run(
        command, cwd=CHECKOUT, env={"FAIL": "FP9"}, capture_output=True, text=True, timeout=30
    )
    assert done.returncode == 2
    assert done.stderr.startswith("FAIL: unknown precision 'FP9'.")


@pytest.mark.skipif(shutil.which("make") is None, reason="Runs the Makefile, and make is not installed.")
def test_make_demo_rejects_invalid_option_before_it_installs() -> None:
    # Without a Python in BIN, nothing could start anyway.
    command = ["make", "demo", "PRECISIONS=FP9", f"PYTHON={sys.executable}", "BIN=/nowhere"]
    done = subprocess.run(command, cwd=CHECKOUT, capture_output=True, text=True, timeout=30)
    assert done.returncode == 2
    assert "unknown precision 'FP9'" in done.stderr
    assert "Installing" not in done.stdout


@pytest.mark.parametrize(
    ("env", "message"),
    [
        ({"MODEL": "my-model", "FIREWORKS_API_KEY": "fw_x"}, "COSTS MONEY"),
        ({**REAL, "MODEL": "My Model"}, "MODEL: Invalid model id 'My Model'"),
        ({**REAL, "FIREWORKS_BASE_URL": "http://example.com"}, "or FIREWORKS_BASE_URL: "),
    ],
)
def test_demo_rejects_invalid_option_before_it_starts(
    tmp_path: Path, env: Mapping[str, str], message: str
) -> None:
    home = tmp_path / "demo"
    command = [sys.executable, "-m", "local_airflow.demo", "--home", str(home)]
    done = subprocess.run(
        command, cwd=CHECKOUT, env={"HOME": str(tmp_path), **env}, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 2
    assert message in done.stderr
    assert done.stdout == ""
    assert not home.exists()
