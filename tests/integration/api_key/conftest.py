"""A connection with a key that can be found in any text."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from airflow_provider_fireworks.emulator import Emulator
from tests.integration.api_key.leaks import KEY
from tests.timing import use_timing


@pytest.fixture(autouse=True)
def _key(emulator: Emulator, connect: Callable[..., None], monkeypatch: pytest.MonkeyPatch) -> None:
    """Give the key to the emulator and to the connection."""
    emulator.api_key = KEY
    connect(password=KEY)
    use_timing(monkeypatch, first_retry_delay=0.01)
