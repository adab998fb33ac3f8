from __future__ import annotations

import pytest
from pydantic import ValidationError

from airflow_provider_fireworks.gateway.shapes import Account, Model, Status

CAPTURED = {
    "baseModelDetails": {
        "checkpointFormat": "NATIVE",
        "defaultPrecision": "FP16",
        "modelType": "",
        "moe": False,
        "parameterCount": "6000000000",
        "worldSize": 1,
    },
    "calibrated": False,
    "cluster": "",
    "contextLength": 4096,
    "defaultSamplingParams": {"temperature": 1, "top_k": 50, "top_p": 1},
    "deployedModelRefs": [],
    "deprecationDate": None,
    "kind": "HF_BASE_MODEL",
    "name": "accounts/fireworks/models/yi-6b",
    "state": "READY",
    "status": {"code": "OK", "message": ""},
    "supportedPrecisions": ["FP16"],
    "supportedPrecisionsWithCalibration": [],
    "updateTime": "2025-06-15T15:06:40.123456789Z",
}


def test_a_model_as_it_is_really_sent():
    model = Model.model_validate(CAPTURED)
    assert model.name == "accounts/fireworks/models/yi-6b"
    assert (model.state, model.calibrated) == ("READY", False)
    assert model.update_time == "2025-06-15T15:06:40.123456789Z"
    assert model.supported_precisions == ["FP16"]
    assert model.supported_precisions_with_calibration == []
    assert model.base_model_details.default_precision == "FP16"
    assert not model.status.bad


def test_what_is_not_known_is_kept():
    payload = CAPTURED | {"somethingNew": {"a": [1, None]}}
    model = Model.model_validate(payload)
    assert model.model_dump(by_alias=True) == payload
    assert model.model_extra["somethingNew"] == {"a": [1, None]}


def test_what_is_null_is_unset_like_what_is_missing():
    fields = [field.alias for name, field in Model.model_fields.items() if name != "name"]
    empty = Model.model_validate(dict.fromkeys(fields))
    assert empty.model_dump() == Model.model_validate({}).model_dump()
    assert empty.state is None
    assert not empty.lists_precisions


@pytest.mark.parametrize("state", ["STATE_UNSPECIFIED", "PREPARING", "SOMETHING_NEW", "", "ready"])
def test_any_state_is_a_state(state):
    assert Model.model_validate({"state": state}).state == state


@pytest.mark.parametrize(
    ("code", "bad"),
    [
        (None, False),
        ("", False),
        ("OK", False),
        (0, False),
        ("0", False),
        ("INTERNAL", True),
        (13, True),
        ("13", True),
        ("SOMETHING_NEW", True),
    ],
)
def test_which_status_is_bad(code, bad):
    assert Status.model_validate({"code": code, "message": "whatever"}).bad is bad


@pytest.mark.parametrize(
    ("status", "told"),
    [
        ({}, "OK"),
        ({"code": "OK", "message": ""}, "OK"),
        ({"code": "INTERNAL", "message": "out of memory"}, "INTERNAL: out of memory"),
        ({"code": "INTERNAL"}, "INTERNAL"),
        ({"code": 13, "message": None}, "13"),
        ({"message": "note"}, "OK: note"),
    ],
)
def test_a_status_in_words(status, told):
    assert str(Status.model_validate(status)) == told


@pytest.mark.parametrize(
    ("plain", "calibrated", "lists"),
    [
        (None, None, False),
        ([], [], False),
        (None, [], False),
        (["FP16"], None, True),
        ([], ["FP8"], True),
        (["FP16"], ["FP8"], True),
    ],
)
def test_an_empty_list_of_precisions_is_an_unset_one(plain, calibrated, lists):
    model = Model(supported_precisions=plain, supported_precisions_with_calibration=calibrated)
    assert model.lists_precisions is lists


def test_a_shape_does_not_change():
    with pytest.raises(ValidationError):
        Model().state = "READY"


@pytest.mark.parametrize(("name", "account_id"), [("accounts/demo", "demo"), ("demo", "demo"), ("", "")])
def test_the_id_of_an_account(name, account_id):
    assert Account.model_validate({"name": name, "displayName": None}).account_id == account_id
