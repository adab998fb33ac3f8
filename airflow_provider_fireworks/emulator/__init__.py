"""
The Fireworks API on this machine, over real HTTP: to try DAGs without an account, and to test them.

From a shell: ``python -m airflow_provider_fireworks.emulator``. In Python::

    from airflow_provider_fireworks.emulator import Emulator

    with Emulator(duration=0.5, precision_lists="absent") as emulator:
        emulator.fault("status", status=503, times=2, method="GET")
        ...
        assert emulator.count("POST", ":prepare") == 1

In pytest: the fixture ``fireworks_emulator`` (:mod:`airflow_provider_fireworks.pytest_plugin`).

Importing this package imports nothing but itself: its pytest plugin is loaded by everyone who runs pytest.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from airflow_provider_fireworks.emulator.faults import Fault
    from airflow_provider_fireworks.emulator.options import Options
    from airflow_provider_fireworks.emulator.records import (
        AcceptedPreparation,
        CreatedDeployment,
        ReceivedRequest,
    )
    from airflow_provider_fireworks.emulator.server import Emulator

__all__ = ["AcceptedPreparation", "CreatedDeployment", "Emulator", "Fault", "Options", "ReceivedRequest"]

_HOME = {
    "CreatedDeployment": "records",
    "Emulator": "server",
    "Fault": "faults",
    "Options": "options",
    "AcceptedPreparation": "records",
    "ReceivedRequest": "records",
}


def __getattr__(name: str) -> object:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(f"{__name__}.{_HOME[name]}"), name)
