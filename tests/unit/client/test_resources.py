from __future__ import annotations

import pytest
from pydantic import ValidationError

from airflow_provider_fireworks.client.resources import (
    Account,
    Deployment,
    DeploymentShapeVersion,
    Model,
    ReplicaStats,
    Status,
)

CAPTURED_MODEL = {
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
    "description": "",
    "kind": "HF_BASE_MODEL",
    "name": "accounts/fireworks/models/yi-6b",
    "state": "READY",
    "status": {"code": "OK", "message": ""},
    "supportedPrecisions": ["FP16"],
    "supportedPrecisionsWithCalibration": [],
    "updateTime": "2025-06-15T15:06:40.123456789Z",
}


def test_model_parses_a_captured_response():
    model = Model.model_validate(CAPTURED_MODEL)
    assert model.name == "accounts/fireworks/models/yi-6b"
    assert (model.state, model.calibrated) == ("READY", False)
    assert model.update_time == "2025-06-15T15:06:40.123456789Z"
    assert model.supported_precisions == ["FP16"]
    assert model.supported_precisions_with_calibration == []
    assert model.base_model_details.default_precision == "FP16"
    assert not model.status.is_error


def test_model_keeps_unknown_fields():
    payload = CAPTURED_MODEL | {"somethingNew": {"a": [1, None]}}
    model = Model.model_validate(payload)
    assert model.model_dump(by_alias=True) == payload
    assert model.model_extra["somethingNew"] == {"a": [1, None]}


def test_model_treats_null_like_a_missing_field():
    fields = [field.alias for name, field in Model.model_fields.items() if name != "name"]
    empty = Model.model_validate(dict.fromkeys(fields))
    assert empty.model_dump() == Model.model_validate({}).model_dump()
    assert empty.state is None
    assert not empty.lists_precisions


@pytest.mark.parametrize("resource", [Model, Deployment])
@pytest.mark.parametrize("state", ["STATE_UNSPECIFIED", "PREPARING", "SOMETHING_NEW", "", "ready"])
def test_any_text_is_a_state(resource, state):
    assert resource.model_validate({"state": state}).state == state


@pytest.mark.parametrize(
    ("code", "is_error"),
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
def test_status_is_error_unless_ok_or_unset(code, is_error):
    assert Status.model_validate({"code": code, "message": "whatever"}).is_error is is_error


@pytest.mark.parametrize(
    ("status", "text"),
    [
        ({}, "OK"),
        ({"code": "OK", "message": ""}, "OK"),
        ({"code": "INTERNAL", "message": "out of memory"}, "INTERNAL: out of memory"),
        ({"code": "INTERNAL"}, "INTERNAL"),
        ({"code": 13, "message": None}, "13"),
        ({"message": "note"}, "OK: note"),
    ],
)
def test_status_formats_as_code_and_message(status, text):
    assert str(Status.model_validate(status)) == text


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
def test_lists_precisions_is_false_for_empty_lists(plain, calibrated, lists):
    model = Model(supported_precisions=plain, supported_precisions_with_calibration=calibrated)
    assert model.lists_precisions is lists


@pytest.mark.parametrize(
    ("plain", "calibrated", "omits"),
    [(None, None, True), ([], None, False), (None, [], False), ([], [], False)],
)
def test_omits_precisions_is_false_for_empty_lists(plain, calibrated, omits):
    model = Model(supported_precisions=plain, supported_precisions_with_calibration=calibrated)
    assert model.omits_precisions is omits


def test_resource_is_immutable():
    with pytest.raises(ValidationError):
        Model().state = "READY"


def test_text_of_a_resource_is_one_printable_line():
    model = Model.model_validate({"name": "a\r\nb", "state": "\x1b[31mREADY" + "x" * 1000})
    assert model.name == "a b"
    assert model.state.isprintable()
    assert len(model.state) <= 500


@pytest.mark.parametrize(("name", "account_id"), [("accounts/demo", "demo"), ("demo", "demo"), ("", "")])
def test_account_id_has_no_prefix(name, account_id):
    assert Account.model_validate({"name": name, "displayName": None}).account_id == account_id


DEPLOYMENT = {
    "acceleratorCount": 2,
    "acceleratorType": "NVIDIA_H100_80GB",
    "autoscalingPolicy": None,
    "baseModel": "accounts/demo/models/my-model",
    "createTime": "2025-06-15T15:06:40.123456789Z",
    "deleteTime": None,
    "deploymentShape": "",
    "description": "mine",
    "desiredReplicaCount": 2,
    "displayName": "",
    "maxReplicaCount": 3,
    "minReplicaCount": 0,
    "name": "accounts/demo/deployments/d",
    "precision": "FP8",
    "replicaCount": 2,
    "replicaStats": {
        "downloadingModelReplicaCount": 1,
        "initializingReplicaCount": 0,
        "pendingSchedulingReplicaCount": 0,
        "readyReplicaCount": 1,
        "revocableReplicaCount": 0,
    },
    "state": "UPDATING",
    "status": {"code": "OK", "message": ""},
    "updateTime": "2025-06-15T15:06:40.123456789Z",
}


def test_deployment_parses_a_complete_response():
    deployment = Deployment.model_validate(DEPLOYMENT)
    assert deployment.name == "accounts/demo/deployments/d"
    assert (deployment.base_model, deployment.precision) == ("accounts/demo/models/my-model", "FP8")
    assert (deployment.state, deployment.description) == ("UPDATING", "mine")
    assert (deployment.min_replica_count, deployment.max_replica_count) == (0, 3)
    assert (deployment.desired_replica_count, deployment.replica_count) == (2, 2)
    assert (deployment.accelerator_type, deployment.accelerator_count) == ("NVIDIA_H100_80GB", 2)
    assert deployment.ready_replicas == 1
    assert not deployment.status.is_error


def test_deployment_keeps_unknown_fields():
    payload = DEPLOYMENT | {"somethingNew": {"a": [1, None]}}
    assert Deployment.model_validate(payload).model_extra["somethingNew"] == {"a": [1, None]}
    assert Deployment.model_validate(payload).replica_stats.model_extra == {"revocableReplicaCount": 0}


def test_deployment_treats_null_like_a_missing_field():
    fields = [field.alias for name, field in Deployment.model_fields.items() if name != "name"]
    empty = Deployment.model_validate(dict.fromkeys(fields))
    assert empty.model_dump() == Deployment.model_validate({}).model_dump()
    assert empty.ready_replicas is None


@pytest.mark.parametrize(
    ("payload", "ready"),
    [
        ({}, None),
        ({"replicaCount": 2}, 2),
        ({"replicaCount": "2"}, 2),
        ({"replicaCount": 2, "replicaStats": None}, 2),
        ({"replicaCount": 2, "replicaStats": {}}, 2),
        ({"replicaCount": 2, "replicaStats": {"readyReplicaCount": 1}}, 1),
        ({"replicaCount": 2, "replicaStats": {"readyReplicaCount": 0}}, 0),
        ({"replicaStats": {"readyReplicaCount": "3"}}, 3),
    ],
    ids=str,
)
def test_ready_replicas_prefer_the_stats(payload, ready):
    assert Deployment.model_validate(payload).ready_replicas == ready


@pytest.mark.parametrize(
    ("stats", "text"),
    [
        ({}, ""),
        ({"readyReplicaCount": 0, "initializingReplicaCount": 0}, ""),
        ({"readyReplicaCount": 2}, "2 ready"),
        (
            {
                "pendingSchedulingReplicaCount": 4,
                "downloadingModelReplicaCount": 3,
                "initializingReplicaCount": 2,
                "readyReplicaCount": 1,
            },
            "4 waiting for a GPU, 3 downloading the model, 2 initializing, 1 ready",
        ),
    ],
    ids=str,
)
def test_replica_stats_format_as_counts_by_stage(stats, text):
    assert str(ReplicaStats.model_validate(stats)) == text


def test_deployment_shape_version_parses_its_snapshot():
    version = DeploymentShapeVersion.model_validate(
        {
            "name": "accounts/demo/deploymentShapes/s/versions/v1",
            "latestValidated": True,
            "snapshot": {
                "name": "accounts/demo/deploymentShapes/s",
                "precision": "FP8",
                "presetType": "FAST",
            },
        }
    )
    assert (version.latest_validated, version.validated) == (True, None)
    assert (version.snapshot.precision, version.snapshot.preset_type) == ("FP8", "FAST")
