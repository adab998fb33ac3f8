"""Models and baselines that the tests of this folder share."""

from __future__ import annotations

from typing import Literal

from airflow_provider_fireworks.client.resources import Model, Status
from airflow_provider_fireworks.models.readiness import Baseline

REQUESTED_AT = 1_750_000_000.0
"""Seconds since the epoch: 2025-06-15T15:06:40Z."""
OK = Status(code="OK")
ERROR = Status(code="INTERNAL", message="no GPU")
OTHER_ERROR = Status(code="ABORTED", message="x")
LISTS = {"supported_precisions": ["FP16"]}
EMPTY_LISTS: dict[str, list[str]] = {"supported_precisions": [], "supported_precisions_with_calibration": []}


def model(state: str | None = "READY", **fields) -> Model:
    return Model(state=state, **{"update_time": "t0"} | fields)


def requested(before: Model | None = None, outcome: Literal["accepted", "already"] = "accepted") -> Baseline:
    """Return the baseline of a model whose preparation was requested."""
    return Baseline.of(before or model()).after_request(outcome, REQUESTED_AT)
