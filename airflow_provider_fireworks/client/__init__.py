"""
The client of the Fireworks API, the control plane's REST API. It knows nothing of Airflow.

``names`` and ``precision`` check what users write, ``api`` makes the requests, ``resources`` are what they return and
``errors`` what they raise. ``sync_client`` (requests, for workers) and ``async_client`` (httpx, for the triggerer) send
them; what both make of a response is in ``responses``.
"""

from __future__ import annotations

from airflow_provider_fireworks.client.errors import (
    AccessDeniedError,
    ApiError,
    NoResponseError,
    NotFoundError,
    QuotaExceededError,
    RateLimitedError,
    RefusedError,
    UnavailableError,
    UnreachableError,
)
from airflow_provider_fireworks.client.names import DeploymentName, ModelName
from airflow_provider_fireworks.client.precision import Precision
from airflow_provider_fireworks.client.resources import (
    Account,
    Deployment,
    DeploymentShape,
    DeploymentShapeVersion,
    Model,
    ReplicaStats,
    Status,
)

__all__ = [
    "AccessDeniedError",
    "Account",
    "ApiError",
    "Deployment",
    "DeploymentName",
    "DeploymentShape",
    "DeploymentShapeVersion",
    "Model",
    "ModelName",
    "NoResponseError",
    "NotFoundError",
    "Precision",
    "QuotaExceededError",
    "RateLimitedError",
    "RefusedError",
    "ReplicaStats",
    "Status",
    "UnavailableError",
    "UnreachableError",
]
