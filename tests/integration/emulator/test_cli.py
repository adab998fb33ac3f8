"""``python -m airflow_provider_fireworks.emulator``."""

from __future__ import annotations

import json
import re
import shlex
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import requests

from airflow_provider_fireworks.emulator.options import Options

CHECKOUT = Path(__file__).parents[3]
COMMAND = [sys.executable, "-m", "airflow_provider_fireworks.emulator"]


class Process:
    def __init__(self, *arguments: str) -> None:
        self.process = subprocess.Popen(
            [*COMMAND, "--port", "0", *arguments],
            cwd=CHECKOUT,
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        self.greeting = ""
        for line in self.process.stdout:
            self.greeting += line
            if line.startswith("curl "):
                break
        self.url = re.search(r"http://127\.0\.0\.1:\d+", self.greeting).group()

    def stop(self, by: signal.Signals = signal.SIGINT) -> tuple[int, str, str]:
        self.process.send_signal(by)
        out, err = self.process.communicate(timeout=10)
        return self.process.returncode, out, err


@pytest.fixture
def run():
    running = []

    def start(*arguments: str) -> Process:
        running.append(Process(*arguments))
        return running[-1]

    yield start
    for one in running:
        one.process.kill()
        one.process.wait()


def test_greeting_has_a_connection_and_a_curl_command(run):
    emulator = run()
    assert "accounts/demo/models/my-model  READY" in emulator.greeting
    assert "accounts/demo/models/my-uploading-model  UPLOADING" in emulator.greeting
    export = re.search(r"^export AIRFLOW_CONN_FIREWORKS_DEFAULT='(.*)'$", emulator.greeting, re.M).group(1)
    connection = json.loads(export)
    assert connection["conn_type"] == "fireworks"
    assert (connection["login"], connection["host"]) == ("demo", emulator.url)
    assert f"API key: {connection['password']}" in emulator.greeting
    curl = shlex.split(re.search(r"^curl .*$", emulator.greeting, re.M).group())
    name, _, value = curl[curl.index("-H") + 1].partition(": ")
    assert requests.get(curl[-1], headers={name: value}, timeout=5).json()["state"] == "READY"


@pytest.mark.parametrize("by", [signal.SIGINT, signal.SIGTERM])
def test_signal_stops_it_and_prints_a_summary(run, by):
    emulator = run("--accounts", "mine")
    requests.get(f"{emulator.url}/v1/accounts/mine/models/my-model", timeout=5)
    code, out, err = emulator.stop(by)
    assert (code, err) == (0, "")
    assert "GET /v1/accounts/mine/models/my-model 403\n" in out
    assert re.search(r"1  GET model", out)
    assert "GPU-seconds: 0.0. Deployments left: 0\n" in out


def test_summary_names_the_deployments_left(run):
    emulator = run("--deploy-duration", "0")
    headers = {"Authorization": "Bearer fw_emulator_not_a_real_key"}
    body = {"baseModel": "accounts/demo/models/my-model", "acceleratorType": "NVIDIA_H100_80GB"}
    url = f"{emulator.url}/v1/accounts/demo/deployments?deploymentId=forgotten"
    assert requests.post(url, json=body, headers=headers, timeout=5).status_code == 200
    _, out, _ = emulator.stop()
    assert re.search(
        r"GPU-seconds: \d+\.\d\. Deployments left: 1\n +accounts/demo/deployments/forgotten", out
    )


def test_quiet_prints_no_requests(run):
    emulator = run("--quiet")
    requests.get(f"{emulator.url}/v1/accounts", timeout=5)
    _, out, _ = emulator.stop()
    assert "/v1/accounts" not in out


def test_flag_of_every_type_sets_its_option(run):
    emulator = run(
        *["--accounts", "one", "--accounts", "two", "--duration", "1.5", "--unauthorized-status", "401"],
        *[
            "--outcomes",
            "FP4=failed_state",
            "--outcomes",
            "FP8=never",
            "--no-bump-update-time",
            "--stale-status",
        ],
        *[
            "--requests-per-minute",
            "9",
            "--retry-after",
            "3",
            "--precision-lists",
            "absent",
            "--extra-models",
            "llm",
        ],
        *["--deploy-outcomes", "FP4=failed", "--scale-to-zero-after", "2.5", "--quota-status", "403"],
        *["--gpu-quota", "4", "--start-at-zero", "--deleted-get", "not_found"],
        *["--zero-data-retention", "--capacity-after", "9", "--deploy-outcomes", "FP8=stays_creating"],
        *["--validate-only", "blind", "--prepare-fields", "unknown"],
    )
    options = requests.get(f"{emulator.url}/emulator/options", timeout=5).json()
    assert Options.model_validate(options) == Options(
        accounts=["one", "two"],
        duration=1.5,
        unauthorized_status=401,
        outcomes={"FP4": "failed_state", "FP8": "never"},
        bump_update_time=False,
        stale_status=True,
        requests_per_minute=9,
        retry_after="3",
        precision_lists="absent",
        extra_models=["llm"],
        deploy_outcomes={"FP4": "failed", "FP8": "stays_creating"},
        zero_data_retention=True,
        capacity_after=9,
        validate_only="blind",
        prepare_fields="unknown",
        scale_to_zero_after=2.5,
        quota_status=403,
        gpu_quota=4,
        start_at_zero=True,
        deleted_get="not_found",
    )


def usage_error(*arguments: str) -> str:
    done = subprocess.run([*COMMAND, *arguments], cwd=CHECKOUT, text=True, capture_output=True, timeout=20)
    assert done.returncode == 2
    assert "Traceback" not in done.stderr
    return done.stderr


def test_port_in_use_is_reported_in_one_line(emulator):
    port = emulator.url.rpartition(":")[2]
    assert (
        usage_error("--port", port)
        == f"Cannot listen at 127.0.0.1:{port}: the port is in use. Use --port 0 for any free port.\n"
    )


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (["--host", "0.0.0.0"], "loopback"),
        (["--port", "70000"], "--port"),
        (["--duration", "soon"], "--duration"),
        (["--outcomes", "FP99=ok"], "--outcomes"),
        (["--outcomes", "FP8"], "--outcomes"),
    ],
)
def test_invalid_argument_is_named(arguments, named):
    assert named in usage_error(*arguments).splitlines()[-1]


def test_help_describes_every_option():
    done = subprocess.run([*COMMAND, "--help"], cwd=CHECKOUT, text=True, capture_output=True, check=True)
    words = " ".join(done.stdout.split())
    for name, field in Options.model_fields.items():
        assert f"--{name.replace('_', '-')}" in words
        assert " ".join(field.description.split())[:30] in words
