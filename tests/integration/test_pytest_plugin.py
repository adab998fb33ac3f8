"""The fixture in a pytest of its own, as users have it."""

from __future__ import annotations

import os
import subprocess
import sys
from importlib.metadata import entry_points
from pathlib import Path

CHECKOUT = Path(__file__).parents[3]
PLUGIN = "airflow_provider_fireworks.pytest_plugin"

USERS_TESTS = """
import json, os, time, urllib.request

def ask(emulator, path, body=None):
    data = None if body is None else json.dumps(body).encode()
    headers = {"Authorization": "Bearer " + emulator.api_key}
    with urllib.request.urlopen(urllib.request.Request(emulator.url + path, data, headers)) as answer:
        return json.load(answer)

def test_connection(fireworks_emulator):
    assert os.environ["AIRFLOW_CONN_FIREWORKS_DEFAULT"] == fireworks_emulator.connection

def test_preparing(fireworks_emulator):
    path = "/v1/accounts/demo/models/my-model"
    ask(fireworks_emulator, path + ":prepare", {"precision": "FP8"})
    time.sleep(0.3)
    assert "FP8" in ask(fireworks_emulator, path)["supportedPrecisions"]

def test_each_test_has_its_own(fireworks_emulator):
    assert fireworks_emulator.requests == []

def test_nothing_is_left_behind():
    assert "AIRFLOW_CONN_FIREWORKS_DEFAULT" not in os.environ
"""


def test_the_fixture(tmp_path):
    (tmp_path / "test_users.py").write_text(USERS_TESTS)
    installed = any(point.value == PLUGIN for point in entry_points(group="pytest11"))
    environment = {**os.environ, "PYTHONPATH": str(CHECKOUT)}
    environment.pop("AIRFLOW_CONN_FIREWORKS_DEFAULT", None)
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", *([] if installed else ["-p", PLUGIN]), "test_users.py"],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
    )
    assert "4 passed" in done.stdout, done.stdout + done.stderr
