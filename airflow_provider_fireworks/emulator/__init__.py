"""
The Fireworks API on this machine, over real HTTP: for trying DAGs without an account, and for testing them.

From a shell: ``python -m airflow_provider_fireworks.emulator``. In Python::

    from airflow_provider_fireworks.emulator import Emulator

    with Emulator(duration=0.5, precision_lists="absent") as emulator:
        emulator.fault("status", status=503, times=2, method="GET")
        ...
        assert emulator.count("POST", ":prepare") == 1

In pytest: the fixture ``fireworks_emulator`` (:mod:`airflow_provider_fireworks.pytest_plugin`).
"""

from __future__ import annotations

from airflow_provider_fireworks.emulator.faults import Fault
from airflow_provider_fireworks.emulator.options import Options
from airflow_provider_fireworks.emulator.records import (
    AcceptedPreparation,
    CreatedDeployment,
    ReceivedFile,
    ReceivedRequest,
)
from airflow_provider_fireworks.emulator.server import Emulator

__all__ = [
    "AcceptedPreparation",
    "CreatedDeployment",
    "Emulator",
    "Fault",
    "Options",
    "ReceivedFile",
    "ReceivedRequest",
]
