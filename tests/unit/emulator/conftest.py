from __future__ import annotations

import pytest

from airflow_provider_fireworks.emulator.deployments import EmulatedDeployment
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
    """The emulated API without HTTP, its clock, and its one model ``my-model``."""

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


class DeploymentBench(Bench):
    """The same with a deployment ``d``: CREATING for 8 seconds, 2 to scale, one GPU, zero replicas at least."""

    def create(self, deployment: str = "d", **how: object) -> EmulatedDeployment:
        fields = {"baseModel": "accounts/demo/models/my-model", "acceleratorType": "NVIDIA_H100_80GB"}
        asked = {name: how.pop(name) for name in ("validate_only", "skip_shape_validation") if name in how}
        return self.state.fleet.create("demo", deployment, {**fields, **how}, **asked)

    def scale(self, replicas: int, deployment: str = "d") -> None:
        self.state.fleet.scale("demo", deployment, replicas)

    def delete(self, deployment: str = "d", *, hard: bool = False, ignore_checks: bool = False) -> None:
        self.state.fleet.delete("demo", deployment, hard=hard, ignore_checks=ignore_checks)

    def undelete(self) -> None:
        self.state.fleet.undelete("demo", "d")

    def edit(self, mask: str = "", **fields: object) -> None:
        body = {"baseModel": "accounts/demo/models/my-model", **fields}
        self.state.fleet.edit("demo", "d", body, mask)

    def chat(self) -> str:
        return self.state.fleet.serve("accounts/demo/models/my-model#accounts/demo/deployments/d")

    def look(self, deployment: str = "d") -> dict[str, object]:
        found = self.state.fleet.find("demo", deployment)
        assert found is not None
        return found.payload()

    def at(self, second: float) -> dict[str, object]:
        """Return the deployment at a second since the start."""
        self.clock.now = max(self.clock.now, 1_750_000_000.0 + second)
        return self.look()

    @property
    def gpu_seconds(self) -> float:
        return self.state.fleet.gpu_seconds


@pytest.fixture
def deployments() -> type[DeploymentBench]:
    return DeploymentBench


@pytest.fixture
def bench() -> type[Bench]:
    return Bench
