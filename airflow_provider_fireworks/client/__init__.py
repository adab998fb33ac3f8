"""
The client of the Fireworks API, the control plane's REST API. It does not depend on Airflow.

``names`` and ``precision`` parse what users write, ``api`` builds the requests, ``resources`` are what they return and
``errors`` what they raise. ``sync_client`` (requests, for workers) and ``async_client`` (httpx, for the triggerer) send
them; both read responses with ``responses``. The two HTTP libraries are not loaded by importing this package.
"""

from __future__ import annotations

from airflow_provider_fireworks.client.errors import (
    AccessDeniedError,
    ApiError,
    ConnectError,
    NoResponseError,
    NotFoundError,
    QuotaExceededError,
    RateLimitedError,
    RefusedError,
    UnavailableError,
)
from airflow_provider_fireworks.client.names import DeploymentName, ModelName, RouterName
from airflow_provider_fireworks.client.precision import Precision
from airflow_provider_fireworks.client.resources import (
    Account,
    Deployment,
    DeploymentShape,
    DeploymentShapeVersion,
    Model,
    PolicySettings,
    Quota,
    ReplicaStats,
    Router,
    Status,
)

__all__ = [
    "AccessDeniedError",
    "Account",
    "ApiError",
    "ConnectError",
    "Deployment",
    "DeploymentName",
    "DeploymentShape",
    "DeploymentShapeVersion",
    "Model",
    "ModelName",
    "NoResponseError",
    "NotFoundError",
    "PolicySettings",
    "Precision",
    "Quota",
    "QuotaExceededError",
    "RateLimitedError",
    "RefusedError",
    "ReplicaStats",
    "Router",
    "RouterName",
    "Status",
    "UnavailableError",
]
