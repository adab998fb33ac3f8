"""
A whole Airflow on this machine, for as long as it is needed: for the demo and for the end-to-end tests.

It is for development only and not part of the provider.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from local_airflow.api import (
        AirflowApi as AirflowApi,
        AirflowApiError as AirflowApiError,
        TaskInstance as TaskInstance,
    )
    from local_airflow.components import (
        LocalAirflow as LocalAirflow,
        LocalAirflowError as LocalAirflowError,
    )

_MODULES = {
    "AirflowApi": "api",
    "AirflowApiError": "api",
    "TaskInstance": "api",
    "LocalAirflow": "components",
    "LocalAirflowError": "components",
}


# Loaded when first used: options has to run where nothing is installed yet.
def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)
