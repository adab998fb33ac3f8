"""``validate_only``: ask the API to check the request, and create nothing."""

from __future__ import annotations

import pytest

from airflow_provider_fireworks import exceptions
from tests.integration.creating import count_creates


def test_validate_only_creates_nothing(emulator, create):
    assert create(validate_only=True) == {"deployment": None}
    (post,) = [request for request in emulator.requests if request.method == "POST"]
    assert post.query["validateOnly"] == "true"
    assert (emulator.creations, emulator.deployments) == ([], [])


def test_validate_only_fails_without_quota(emulator, create):
    emulator.configure(gpu_quota=0)
    with pytest.raises(exceptions.FireworksQuotaExceeded, match="requesting: 1"):
        create(validate_only=True)
    assert count_creates(emulator) == 1


@pytest.mark.usefixtures("lists")
def test_validate_only_fails_if_model_is_not_ready(emulator, create):
    with pytest.raises(exceptions.FireworksModelNotReady):
        create(validate_only=True, precision="FP8")
    assert count_creates(emulator) == 0


def test_validate_only_fails_if_shape_has_other_precision(fp8_emulator, create):
    with pytest.raises(exceptions.FireworksInvalidArgument, match="is for FP8"):
        create(validate_only=True, deployment_shape="accounts/demo/deploymentShapes/my-shape")


def test_validate_only_continues_over_transient_errors(emulator, create):
    emulator.fault("status", times=5, method="POST", path="/deployments")
    assert create(validate_only=True) == {"deployment": None}
    assert emulator.creations == []
