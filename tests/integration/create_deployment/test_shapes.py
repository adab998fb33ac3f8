"""Deploying with a deployment shape, which has a precision of its own."""

from __future__ import annotations

import pytest

from airflow_provider_fireworks import exceptions
from airflow_provider_fireworks.hooks.fireworks import FireworksHook
from tests.integration.conftest import MODEL
from tests.integration.creating import (
    NAME,
    OWNER,
    act_when,
    costs_nothing,
    count_creates,
    make_task,
    second_try,
    shown,
)

SHAPE = "accounts/demo/deploymentShapes/my-shape"
FULL_SHAPE = "accounts/demo/deploymentShapes/my-full-shape"
CREATE_PATH = "/deployments[?]deploymentId=[^&]*$"
"""Of the request that creates, as opposed to the one with ``validateOnly``."""


def test_create_with_shape_of_other_precision_creates_nothing(fp8_emulator, create):
    with pytest.raises(exceptions.FireworksInvalidArgument, match="is for FP8, not for FP16"):
        create(deployment_shape=SHAPE, precision="FP16")
    assert (fp8_emulator.creations, fp8_emulator.gpu_seconds) == ([], 0)
    (post,) = [request for request in fp8_emulator.requests if request.method == "POST"]
    assert post.query["validateOnly"] == "true"


def test_create_with_shape_without_precision_of_its_own_fails(fp8_emulator, create):
    with pytest.raises(exceptions.FireworksInvalidArgument):
        create(deployment_shape=FULL_SHAPE, precision="FP8")
    assert fp8_emulator.creations == []


@pytest.mark.parametrize("exclusive", [True, False])
def test_create_with_shape_of_same_precision_deploys_it(fp8_emulator, create, exclusive):
    fp8_emulator.configure(shape_exclusive=exclusive)
    create(deployment_shape=SHAPE, precision="FP8")
    created = shown(fp8_emulator)
    assert created["precision"] == "FP8"
    assert created["deploymentShape"].startswith(SHAPE)
    assert len(fp8_emulator.creations) == 1


def test_create_with_shape_needs_no_precision(fp8_emulator, create):
    create(deployment_shape="default", precision=None)
    assert len(fp8_emulator.creations) == 1


def test_create_whose_shape_check_never_succeeds_times_out(fp8_emulator, create):
    fp8_emulator.fault("status", times=-1, method="POST", path="validateOnly")
    # Clears the fault after too many requests, so that the test ends in any case.
    with (
        act_when(lambda: count_creates(fp8_emulator) > 15, fp8_emulator.clear_faults),
        pytest.raises(exceptions.FireworksTimeout),
    ):
        create(deployment_shape=SHAPE, precision="FP8", timeout=0.5)
    assert fp8_emulator.creations == []


@pytest.mark.parametrize(
    ("after_work", "lag"),
    [(False, 0), (True, 0), (True, 0.2)],
    ids=["before", "after", "after, visible late"],
)
def test_create_with_shape_after_lost_response_creates_one(fp8_emulator, create, after_work, lag):
    fp8_emulator.configure(create_lag=lag)
    fp8_emulator.fault("drop", method="POST", path=CREATE_PATH, after_work=after_work)
    create(deployment_shape=SHAPE, precision="FP8")
    assert len(fp8_emulator.creations) == 1
    assert fp8_emulator.deployments_left == [NAME]


def test_create_with_shape_deletes_what_appears_after_timeout(fp8_emulator, create):
    fp8_emulator.configure(create_lag=0.4)
    fp8_emulator.fault("drop", method="POST", path=CREATE_PATH, after_work=True)
    with pytest.raises(exceptions.FireworksError):
        create(deployment_shape=SHAPE, precision="FP8", timeout=0.3)
    assert costs_nothing(fp8_emulator)


@pytest.mark.parametrize("deleted_get", ["deleted", "not_found"])
def test_create_with_shape_undeletes_its_deployment(fp8_emulator, create, deleted_get):
    fp8_emulator.configure(deleted_get=deleted_get)
    create(deployment_shape=SHAPE, precision="FP8")
    FireworksHook().delete_deployment(OWNER.deployment_id)
    create(second_try(), deployment_shape=SHAPE, precision="FP8")
    assert shown(fp8_emulator)["state"] == "READY"
    assert len(fp8_emulator.creations) == 1


# ---- an API that wants a shape


@pytest.mark.parametrize("shapeless", ["with_risk", "refused"])
@pytest.mark.parametrize("validate_only", [False, True])
def test_refusal_without_shape_names_shapes_of_the_precision(fp8_emulator, create, shapeless, validate_only):
    fp8_emulator.configure(shapeless=shapeless)
    with pytest.raises(exceptions.FireworksRefused) as refusal:
        create(precision="FP8", validate_only=validate_only)
    message = str(refusal.value)
    assert f"Shapes for {MODEL} at FP8: {SHAPE}" in message
    assert FULL_SHAPE not in message
    assert "accept_shapeless_risk=True" in message
    assert (fp8_emulator.creations, fp8_emulator.gpu_seconds) == ([], 0)


def test_refusal_without_shape_says_if_there_is_none(fp8_emulator, create):
    fp8_emulator.configure(shapeless="refused")
    fp8_emulator.set_model("my-model", supportedPrecisions=["FP16", "NF4"])
    with pytest.raises(exceptions.FireworksRefused, match="at NF4: the API has none"):
        create(precision="NF4")


def test_refusal_without_shape_survives_failing_match(fp8_emulator, create):
    fp8_emulator.configure(shapeless="refused")
    fp8_emulator.fault("status", path=":match", times=-1)
    with pytest.raises(exceptions.FireworksRefused, match="at FP8: they could not be read"):
        create(precision="FP8")


def test_other_refusals_say_nothing_of_shapes(emulator, create):
    emulator.add_model("reshaped-llama")
    with pytest.raises(exceptions.FireworksRefused) as refusal:
        create(model="reshaped-llama", precision="FP4")
    assert "deployment_shape" not in str(refusal.value)
    assert emulator.count("POST", ":match") == 0


def test_risk_of_no_shape_is_accepted_only_if_asked_to(fp8_emulator, create):
    create()
    fp8_emulator.configure(shapeless="with_risk")
    create(deployment_id="d", accept_shapeless_risk=True)
    queries = [request.query for request in fp8_emulator.requests if request.method == "POST"]
    assert [query.get("acceptShapelessRisk") for query in queries] == [None, "true"]


def test_risk_of_no_shape_with_shape_is_rejected_when_the_dag_is_parsed():
    with pytest.raises(exceptions.FireworksInvalidArgument, match="accept_shapeless_risk"):
        make_task(deployment_shape=SHAPE, accept_shapeless_risk=True)
