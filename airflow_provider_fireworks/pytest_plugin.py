"""
The fixture ``fireworks_emulator``: the Fireworks API on this machine, for tests of DAGs.

It is there as soon as the provider is installed; nothing has to be imported. A user's test::

    def test_my_dag_prepares_the_model(fireworks_emulator):
        fireworks_emulator.configure(duration=1, precision_lists="absent")
        fireworks_emulator.fault("status", status=503, times=2, method="GET")

        assert my_dag.test().state == "success"

        assert [p.precision for p in fireworks_emulator.preparations] == ["FP8"]
        assert "FP8" in fireworks_emulator.model("my-model")["supportedPrecisions"]

This module is loaded by everyone who runs pytest where the provider is installed: it imports pytest alone.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

    from airflow_provider_fireworks.emulator.server import Emulator


@pytest.fixture
def fireworks_emulator(monkeypatch: pytest.MonkeyPatch) -> Iterator[Emulator]:
    """
    A Fireworks API on this machine, new for every test. Models prepare, and deployments come up and are
    scaled, within 0.2 s.

    The connection ``fireworks_default`` points to it, through ``AIRFLOW_CONN_FIREWORKS_DEFAULT``. It starts
    with the models ``my-model`` (READY at FP16) and ``my-other-model`` (READY at BF16), among others, in
    account ``demo``. See :class:`airflow_provider_fireworks.emulator.Emulator` for what can be done with it.
    """
    from airflow_provider_fireworks.emulator import Emulator

    with Emulator(duration=0.2, deploy_duration=0.2, scale_duration=0.2) as emulator:
        monkeypatch.setenv("AIRFLOW_CONN_FIREWORKS_DEFAULT", emulator.connection)
        yield emulator
