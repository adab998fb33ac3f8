"""
A whole Airflow on this machine, for as long as it is needed: for the demo and for the end-to-end tests.

It is for development only and not part of the provider.
"""

from __future__ import annotations

from local_airflow.api import AirflowApi, AirflowApiError, TaskInstance
from local_airflow.components import LocalAirflow, LocalAirflowError

__all__ = [
    "AirflowApi",
    "AirflowApiError",
    "LocalAirflow",
    "LocalAirflowError",
    "TaskInstance",
]
