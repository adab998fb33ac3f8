"""A connection with a key that can be found in any text."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from airflow_provider_fireworks.emulator import Emulator
from tests.integration.api_key.leaks import KEY
from tests.timing import use_timing


@pytest.fixture(autouse=True)
def connect(emulator: Emulator, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Gives the key to the emulator and to the connection; changes other fields of the connection when called."""
    use_timing(monkeypatch, first_retry_delay=0.01)

    def change(**fields: Any) -> None:
        connection = json.loads(emulator.connection) | fields
        monkeypatch.setenv("AIRFLOW_CONN_FIREWORKS_DEFAULT", json.dumps(connection))

    emulator.api_key = KEY
    change()
    return change
