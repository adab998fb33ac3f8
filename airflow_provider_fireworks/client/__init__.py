"""
The Fireworks gateway (the control plane's REST API), without Airflow.

``precision`` and ``names`` check what users write; ``shapes`` are the resources; ``calls`` says what is asked
and ``errors`` what can come of it; ``retrying`` whether and when to ask again. ``worker`` (requests) and
``triggerer`` (httpx) are the two transports, ``answers`` is what they share. The names below are loaded when
they are first used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from airflow_provider_fireworks.client.errors import (
        AccessDeniedError as AccessDeniedError,
        AnswerLostError as AnswerLostError,
        GatewayError as GatewayError,
        NotFoundError as NotFoundError,
        QuotaExceededError as QuotaExceededError,
        RateLimitedError as RateLimitedError,
        RefusedError as RefusedError,
        UnavailableError as UnavailableError,
        UnreachableError as UnreachableError,
    )
    from airflow_provider_fireworks.client.names import (
        DeploymentName as DeploymentName,
        ModelName as ModelName,
    )
    from airflow_provider_fireworks.client.precision import Precision as Precision
    from airflow_provider_fireworks.client.shapes import (
        Account as Account,
        Deployment as Deployment,
        DeploymentShape as DeploymentShape,
        DeploymentShapeVersion as DeploymentShapeVersion,
        Model as Model,
        ReplicaStats as ReplicaStats,
        Status as Status,
    )

_HOMES = {
    "errors": (
        "AccessDeniedError",
        "AnswerLostError",
        "GatewayError",
        "NotFoundError",
        "QuotaExceededError",
        "RateLimitedError",
        "RefusedError",
        "UnavailableError",
        "UnreachableError",
    ),
    "names": ("DeploymentName", "ModelName"),
    "precision": ("Precision",),
    "shapes": (
        "Account",
        "Deployment",
        "DeploymentShape",
        "DeploymentShapeVersion",
        "Model",
        "ReplicaStats",
        "Status",
    ),
}
_HOME_OF = {name: home for home, names in _HOMES.items() for name in names}
__all__ = sorted(_HOME_OF)


def __getattr__(name: str) -> Any:
    if name not in _HOME_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOME_OF[name]}"), name)
