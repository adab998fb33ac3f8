"""
The pytest fixture ``fireworks_emulator``: the Fireworks API on this machine, for tests of DAGs.

It is available wherever the provider is installed, without an import::

    from my_dags import my_dag  # my_dags.py in the DAG folder


    def test_my_dag_prepares_the_model(fireworks_emulator):
        fireworks_emulator.configure(duration=1, precision_lists="absent")
        fireworks_emulator.fault("status", status=503, times=2, method="GET")

        assert my_dag.test().state == "success"

        assert [p.precision for p in fireworks_emulator.preparations] == ["FP8"]
        assert fireworks_emulator.deployments_left == []

``docs/emulator.md`` says what ``dag.test()`` needs.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

# Nothing else: everyone who runs pytest where the provider is installed loads this module.
import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

    from airflow_provider_fireworks.emulator import Emulator


@pytest.fixture
def fireworks_emulator(monkeypatch: pytest.MonkeyPatch) -> Iterator[Emulator]:
    """
    A new emulator of the Fireworks API for each test, and the Airflow connection ``fireworks_default`` to it.

    Preparing a model takes 0.2 s, and so do creating and scaling a deployment, and changing a router. The account is
    ``demo``; among its models are ``my-model`` (READY at FP16) and ``my-other-model`` (READY at BF16).
    See :class:`airflow_provider_fireworks.emulator.Emulator`.
    """
    from airflow_provider_fireworks.emulator import Emulator

    with Emulator(duration=0.2, deploy_duration=0.2, scale_duration=0.2, router_duration=0.2) as emulator:
        monkeypatch.setenv("AIRFLOW_CONN_FIREWORKS_DEFAULT", emulator.connection)
        yield emulator
