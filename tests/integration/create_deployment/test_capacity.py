"""A deployment for which Fireworks has no GPUs."""

from __future__ import annotations

import logging

import pytest

from airflow_provider_fireworks import exceptions
from airflow_provider_fireworks.hooks.fireworks import FireworksHook
from airflow_provider_fireworks.sensors.deployment import FireworksDeploymentReadySensor
from tests.integration.conftest import run_task
from tests.integration.creating import NAME, SPEC, costs_nothing, is_id_free
from tests.integration.sensing import MODES

NO_CAPACITY = "RESOURCE_EXHAUSTED: no capacity"


def test_create_waits_for_capacity_and_says_so(emulator, create, caplog, capsys):
    emulator.configure(capacity_after=0.6)
    with caplog.at_level(logging.INFO):
        assert create(capacity_timeout=20) == {"deployment": NAME}
    assert NO_CAPACITY in caplog.text + capsys.readouterr().out
    assert len(emulator.creations) == 1


def test_create_without_capacity_fails_and_deletes_the_deployment(emulator, create):
    emulator.configure(capacity_after=60)
    with pytest.raises(exceptions.FireworksCapacityUnavailable, match=NO_CAPACITY) as failure:
        create(capacity_timeout=0.4)
    assert "capacity_timeout" in str(failure.value)
    assert is_id_free(emulator)
    assert costs_nothing(emulator)


def test_create_without_capacity_keeps_the_deployment_if_asked_to(emulator, create):
    emulator.configure(capacity_after=60)
    with pytest.raises(exceptions.FireworksCapacityUnavailable, match="is kept"):
        create(capacity_timeout=0.4, delete_on_failure=False)
    assert emulator.deployments_left == [NAME]


def test_create_without_capacity_timeout_ends_by_its_timeout(emulator, create):
    emulator.configure(capacity_after=60)
    with pytest.raises(exceptions.FireworksTimeout, match=NO_CAPACITY):
        create(timeout=0.6)
    assert costs_nothing(emulator)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("wait_for_inference", [False, True])
def test_sensor_without_capacity_fails_and_deletes_nothing(emulator, mode, wait_for_inference):
    emulator.configure(capacity_after=60)
    FireworksHook().create_deployment("d", SPEC)
    emulator.clear()
    with pytest.raises(exceptions.FireworksCapacityUnavailable, match=NO_CAPACITY):
        run_task(
            lambda: FireworksDeploymentReadySensor(
                task_id="up",
                deployment="d",
                wait_for_inference=wait_for_inference,
                capacity_timeout=0.5,
                poke_interval=0.1,
                timeout=20,
                **MODES[mode],
            )
        )
    assert emulator.deployments_left == ["accounts/demo/deployments/d"]
    # Nothing can serve, so inference is not asked.
    assert {request.method for request in emulator.requests} == {"GET"}


@pytest.mark.parametrize("mode", MODES)
def test_sensor_with_capacity_in_time_succeeds(emulator, mode):
    emulator.configure(capacity_after=0.5)
    FireworksHook().create_deployment("d", SPEC)
    result = run_task(
        lambda: FireworksDeploymentReadySensor(
            task_id="up", deployment="d", capacity_timeout=10, poke_interval=0.1, timeout=20, **MODES[mode]
        )
    )
    assert result["deployment"] == "accounts/demo/deployments/d"
