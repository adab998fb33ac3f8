from __future__ import annotations

import pytest

from airflow_provider_fireworks.emulator.options import Options
from airflow_provider_fireworks.emulator.state import State


class Clock:
    """A clock that stands still until it is told to go on."""

    def __init__(self) -> None:
        self.now = 1_750_000_000.0

    def __call__(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds


class Bench:
    """The emulated gateway without HTTP, its clock, and its one model ``my-model``."""

    def __init__(self, **options: object) -> None:
        self.clock = Clock()
        self.state = State(Options().changed(**{"duration": 10, **options}), self.clock)

    def prepare(self, precision: str = "FP8", model: str = "my-model") -> None:
        self.state.prepare("demo", model, precision)

    def read(self, model: str = "my-model") -> dict[str, object]:
        return self.state.readable_model("demo", model).payload(self.state.options)

    def after(self, seconds: float) -> dict[str, object]:
        self.clock.sleep(seconds)
        return self.read()


@pytest.fixture
def bench() -> type[Bench]:
    return Bench
