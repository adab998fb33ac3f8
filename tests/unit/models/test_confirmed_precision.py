from __future__ import annotations

import pytest

from airflow_provider_fireworks.client.resources import BaseModelDetails
from airflow_provider_fireworks.models.readiness import confirmed_precision
from tests.unit.models.examples import EMPTY_LISTS, LISTS, model

CONFIRMING = {
    "listed": ({"supported_precisions": ["FP16", "FP8"]}, "supportedPrecisions"),
    "listed with calibration, calibrated": (
        {"supported_precisions_with_calibration": ["FP8"], "calibrated": True},
        "supportedPrecisionsWithCalibration",
    ),
    "default": (
        {"base_model_details": BaseModelDetails(default_precision="FP8")},
        "baseModelDetails.defaultPrecision",
    ),
}
NOT_CONFIRMING = {
    "no lists": {},
    "empty lists": EMPTY_LISTS,
    "others listed": LISTS,
    "listed with calibration, not calibrated": {"supported_precisions_with_calibration": ["FP8"]},
    "longer name listed": {"supported_precisions": ["FP8_MM_V2"]},
    "another default": {"base_model_details": BaseModelDetails(default_precision="FP16")},
    "no default": {"base_model_details": BaseModelDetails()},
    "uploading": {"state": "UPLOADING", "supported_precisions": ["FP8"]},
}


@pytest.mark.parametrize(("fields", "api_field"), CONFIRMING.values(), ids=CONFIRMING)
def test_precision_is_confirmed_by_field(fields, api_field):
    assert confirmed_precision(model(**fields), "FP8") == ("FP8", api_field)


@pytest.mark.parametrize("fields", NOT_CONFIRMING.values(), ids=NOT_CONFIRMING)
def test_precision_is_not_confirmed(fields):
    assert confirmed_precision(model(**fields), "FP8") is None


def test_accepted_precision_is_confirmed_only_if_given():
    read = model(supported_precisions=["FP8_MM_V2"])
    assert confirmed_precision(read, "FP8") is None
    assert confirmed_precision(read, "FP8", ["NF4", "FP8_MM_V2"]) == ("FP8_MM_V2", "supportedPrecisions")


def test_requested_precision_is_preferred_to_accepted_one():
    read = model(supported_precisions=["FP8_MM_V2", "FP8"])
    assert confirmed_precision(read, "FP8", ["FP8_MM_V2"]) == ("FP8", "supportedPrecisions")
