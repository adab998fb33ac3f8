"""The fixture ``fireworks_emulator`` in a pytest run of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from importlib.metadata import entry_points
from pathlib import Path

CHECKOUT = Path(__file__).parents[2]
PLUGIN = "airflow_provider_fireworks.pytest_plugin"

TESTS = """
import json, os, time, urllib.request

def send(emulator, path, body=None):
    data = None if body is None else json.dumps(body).encode()
    headers = {"Authorization": "Bearer " + emulator.api_key}
    with urllib.request.urlopen(urllib.request.Request(emulator.url + path, data, headers)) as response:
        return json.load(response)

def test_connection_is_set(fireworks_emulator):
    assert os.environ["AIRFLOW_CONN_FIREWORKS_DEFAULT"] == fireworks_emulator.connection

def test_model_is_prepared(fireworks_emulator):
    path = "/v1/accounts/demo/models/my-model"
    send(fireworks_emulator, path + ":prepare", {"precision": "FP8"})
    time.sleep(0.3)
    assert send(fireworks_emulator, path)["calibrated"]
    assert fireworks_emulator.is_prepared("my-model", "FP8")

def test_emulator_is_new(fireworks_emulator):
    assert fireworks_emulator.requests == []

def test_connection_is_removed():
    assert "AIRFLOW_CONN_FIREWORKS_DEFAULT" not in os.environ
"""


def test_fixture_works_in_a_pytest_run_of_its_own(tmp_path):
    (tmp_path / "test_fixture.py").write_text(TESTS)
    installed = any(point.value == PLUGIN for point in entry_points(group="pytest11"))
    environment = {**os.environ, "PYTHONPATH": str(CHECKOUT)}
    environment.pop("AIRFLOW_CONN_FIREWORKS_DEFAULT", None)
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", *([] if installed else ["-p", PLUGIN]), "test_fixture.py"],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
    )
    assert "4 passed" in done.stdout, done.stdout + done.stderr


def test_importing_the_plugin_loads_only_pytest():
    code = (
        f"import sys, pytest; before = set(sys.modules); import {PLUGIN}; print(*set(sys.modules) - before)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert set(done.stdout.split()) == {"airflow_provider_fireworks", PLUGIN}
