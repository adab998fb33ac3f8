"""Arguments to start from, and values that only Airflow makes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from airflow_provider_fireworks.arguments import (
    Arguments,
    CreateArguments,
    DeleteArguments,
    DeleteRouterArguments,
    DeploymentReadyArguments,
    ModelReadyArguments,
    PrepareArguments,
    RouteArguments,
    ScaleArguments,
    SweepArguments,
    UploadArguments,
)
from airflow_provider_fireworks.client import Model
from airflow_provider_fireworks.exceptions import FireworksInvalidArgument
from airflow_provider_fireworks.models.readiness import Baseline

MODEL = "accounts/demo/models/my-model"
DEPLOYMENT = "accounts/demo/deployments/d"
BASELINE: dict[str, Any] = (
    Baseline.of(Model(state="READY")).after_request("accepted", 1.75e9).model_dump(mode="json")
)
PREPARED = {"model": MODEL, "precision": "FP8", "baseline": BASELINE}
"""The result of the prepare operator."""
READY = {"model": MODEL, "precision": "FP8"}
"""The result of the model sensor."""

WAIT = {"poll_interval": 30, "timeout": 7200}
REQUIRED: dict[type[Arguments], dict[str, Any]] = {
    UploadArguments: {"model": "my-model", "source": "file:///checkpoint", **WAIT},
    PrepareArguments: {"model": "my-model", "precision": "FP8", **WAIT},
    ModelReadyArguments: {"model": "my-model", "precision": "FP8", **WAIT},
    CreateArguments: {"model": "my-model", "accelerator_type": "NVIDIA_H100_80GB", **WAIT},
    DeploymentReadyArguments: {"deployment": "d", **WAIT},
    ScaleArguments: {"deployment": "d", "replica_count": 1, **WAIT},
    DeleteArguments: {"deployment": "d", "timeout": 600},
    SweepArguments: {},
    RouteArguments: {"router": "r", "deployments": ["d"], **WAIT},
    DeleteRouterArguments: {"router": "r", "timeout": 600},
}
"""The arguments that each task requires."""


class Output:
    """The output of another task while a DAG is parsed, which must not be used in any way."""

    def _fail(self, *args: object) -> Any:
        raise AssertionError("the output of a task was used while the DAG is parsed")

    __str__ = __bool__ = __iter__ = __len__ = __contains__ = __getitem__ = keys = _fail

    def __repr__(self) -> str:
        return "Output()"


class LazySequence(Sequence[Any]):
    """The results of a mapped task, as Airflow passes them: a sequence that is not a list."""

    def __init__(self, *items: Any) -> None:
        self.items = items

    def __len__(self) -> int:
        return len(self.items)

    def __getitem__(self, index: Any) -> Any:
        return self.items[index]

    def __repr__(self) -> str:
        return f"LazySequence({len(self.items)} items)"


OUTPUT: Any = Output()


def checked(kind: type[Arguments], **arguments: Any) -> Any:
    """Check required arguments and these, first as literals, then as rendered."""
    kind.check_literals(**REQUIRED[kind] | arguments)
    return kind.check(**REQUIRED[kind] | arguments)


def assert_invalid(kind: type[Arguments], message: str, **arguments: Any) -> None:
    """Assert that required arguments and these are invalid, as literals and as rendered."""
    for check in (kind.check_literals, kind.check):
        with pytest.raises(FireworksInvalidArgument, match=message):
            check(**REQUIRED[kind] | arguments)


def short_id(value: Any) -> str:
    """Return a test id of reasonable length."""
    return value.__name__ if isinstance(value, type) else repr(value)[:60]
