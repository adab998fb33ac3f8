from __future__ import annotations

import pytest

from airflow_provider_fireworks.emulator.emulated_deployment import EmulatedDeployment
from airflow_provider_fireworks.emulator.options import Options
from airflow_provider_fireworks.emulator.responses import ErrorResponse
from airflow_provider_fireworks.emulator.state import State

MODEL = "accounts/demo/models/my-model"


def refusal(match: str):
    return pytest.raises(ErrorResponse, match=match)


class Clock:
    def __init__(self) -> None:
        self.now = 1_750_000_000.0

    def __call__(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds


class EmulatedApi:
    """
    The emulated API without HTTP and with a fake clock.

    A preparation takes 10 seconds, a creation 8, scaling 2. Methods use ``my-model`` and a deployment ``d`` on one
    GPU, with at least zero replicas.
    """

    def __init__(self, **options: object) -> None:
        self.clock = Clock()
        self.state = State(Options().changed(**{"duration": 10, **options}), self.clock)

    def prepare(
        self, precision: str = "FP8", model: str = "my-model", accelerator_count: int | None = None
    ) -> None:
        self.state.models.prepare("demo", model, precision, accelerator_count)

    def is_prepared(self, precision: str) -> bool:
        return self.state.models.read("demo", "my-model").is_prepared_for(precision)

    def abort(self, model: str = "my-model") -> None:
        self.state.models.abort("demo", model)

    def delete_model(self) -> None:
        self.state.models.delete("demo", "my-model")

    def model(self, model: str = "my-model") -> dict[str, object]:
        return self.state.models.read("demo", model).payload(self.state.options)

    def model_after(self, seconds: float) -> dict[str, object]:
        self.clock.sleep(seconds)
        return self.model()

    def create(self, deployment: str = "d", **how: object) -> EmulatedDeployment:
        fields = {"baseModel": MODEL, "acceleratorType": "NVIDIA_H100_80GB"}
        names = ("validate_only", "skip_shape_validation", "accept_shapeless_risk")
        flags = {name: how.pop(name) for name in names if name in how}
        return self.state.deployments.create("demo", deployment, {**fields, **how}, **flags)

    def scale(self, replicas: int) -> None:
        self.state.deployments.scale("demo", "d", replicas)

    def delete(self, *, hard: bool = False, ignore_checks: bool = False) -> None:
        self.state.deployments.delete("demo", "d", hard=hard, ignore_checks=ignore_checks)

    def undelete(self) -> None:
        self.state.deployments.undelete("demo", "d")

    def edit(self, mask: str = "", **fields: object) -> None:
        self.state.deployments.edit("demo", "d", {"baseModel": MODEL, **fields}, mask)

    def infer(self, model: str = f"{MODEL}#accounts/demo/deployments/d") -> str:
        return self.state.deployments.infer(model)

    def deployment(self, deployment: str = "d") -> dict[str, object]:
        found = self.state.deployments.find("demo", deployment)
        assert found is not None
        return found.payload()

    def deployment_at(self, second: float) -> dict[str, object]:
        """Return the deployment at a second since the start."""
        self.clock.now = max(self.clock.now, 1_750_000_000.0 + second)
        return self.deployment()

    @property
    def gpu_seconds(self) -> float:
        return self.state.deployments.gpu_seconds


@pytest.fixture
def make_api() -> type[EmulatedApi]:
    return EmulatedApi
