"""The arguments of the create operator, and the deployment that it requests."""

from __future__ import annotations

from typing import Any

import pytest

from airflow_provider_fireworks.arguments import CreateArguments
from airflow_provider_fireworks.exceptions import FireworksInvalidArgument
from tests.unit.arguments.samples import DEPLOYMENT, MODEL, REQUIRED, assert_invalid, checked

MISSING = "^Missing accelerator_type or deployment_shape: pass one of them. "
EXCLUSIVE = "^deployment_shape cannot be combined with accelerator_type or accelerator_count"
RESERVED = {
    "baseModel": "model",
    "precision": "precision",
    "acceleratorType": "accelerator_type",
    "acceleratorCount": "accelerator_count",
    "deploymentShape": "deployment_shape",
    "minReplicaCount": "min_replica_count",
    "max_replica_count": "max_replica_count",
    "displayName": "display_name",
    "display_name": "display_name",
    "deploymentId": "deployment_id",
    "name": "deployment_id",
}
COUNTS = ["accelerator_count", "min_replica_count", "max_replica_count"]


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({"precision": "NEWER_THAN_THIS"}, {"precision": "NEWER_THAN_THIS"}),
        ({"deployment_id": "my-id"}, {"deployment_id": "my-id"}),
        ({"accelerator_count": "2"}, {"accelerator_count": 2}),
        ({"min_replica_count": "0", "max_replica_count": 0}, {"min_replica_count": 0}),
        ({"min_replica_count": 1, "max_replica_count": "1"}, {"max_replica_count": 1}),
        ({"display_name": "x" * 63}, {"display_name": "x" * 63}),
        ({"extra_spec": {"a": {"b": [1, None]}}}, {"extra_spec": {"a": {"b": [1, None]}}}),
        ({"accelerator_type": None, "deployment_shape": "default"}, {"deployment_shape": "default"}),
    ],
    ids=str,
)
def test_valid_arguments_are_converted(given, expected):
    arguments = checked(CreateArguments, **given)
    assert {name: getattr(arguments, name) for name in expected} == expected


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"precision": "FP 8"}, "Unknown precision 'FP 8'"),
        ({"deployment_id": "My_Id"}, "^Invalid deployment_id 'My_Id': use 1 to 63"),
        ({"deployment_id": DEPLOYMENT}, "^Invalid deployment_id "),
        ({"deployment_id": ""}, "^Invalid deployment_id ''"),
        ({"accelerator_type": None}, MISSING),
        ({"accelerator_type": None, "accelerator_count": 2}, MISSING),
        ({"accelerator_type": ""}, "accelerator_type: "),
        ({"accelerator_type": None, "deployment_shape": ""}, "deployment_shape: "),
        ({"deployment_shape": "s"}, EXCLUSIVE),
        ({"accelerator_type": None, "accelerator_count": 1, "deployment_shape": "s"}, EXCLUSIVE),
        ({"accelerator_count": 0}, "accelerator_count: .*0"),
        (
            {"min_replica_count": 3, "max_replica_count": "2"},
            "min_replica_count is 3, which is more than max_replica_count, 2",
        ),
        ({"display_name": "x" * 64}, "display_name: .*63"),
        ({"display_name": 5}, "display_name: "),
        ({"extra_spec": "{}"}, "extra_spec: "),
        ({"extra_spec": ["a"]}, "extra_spec: "),
        ({"extra_spec": {"x": float("nan")}}, "extra_spec is not valid JSON"),
        ({"extra_spec": {"description": "mine"}}, "extra_spec: description .*stores its signature"),
    ],
    ids=str,
)
def test_invalid_arguments_are_named(given, message):
    assert_invalid(CreateArguments, message, **given)


@pytest.mark.parametrize("name", COUNTS)
@pytest.mark.parametrize("value", [-1, "-1", "two", "", "1.5", [1]], ids=repr)
def test_count_that_is_no_number_is_invalid(name, value):
    assert_invalid(CreateArguments, f"{name}: .*not ", **{name: value})


@pytest.mark.parametrize("name", COUNTS)
@pytest.mark.parametrize("value", [1.5, 2.0, True], ids=repr)
def test_count_of_another_type_is_invalid(name, value):
    assert_invalid(CreateArguments, f"{name}: must be a whole number, not {value}", **{name: value})


# extra_spec


@pytest.mark.parametrize(("field", "argument"), RESERVED.items())
def test_extra_spec_with_the_field_of_an_argument_is_invalid(field, argument):
    message = f"extra_spec: {field} is not allowed: use the argument {argument}"
    assert_invalid(CreateArguments, message, extra_spec={field: "x"})


@pytest.mark.parametrize("value", [{1, 2}, object(), b"x"], ids=["set", "object", "bytes"])
def test_extra_spec_with_a_rendered_value_of_no_json_is_invalid(value):
    with pytest.raises(FireworksInvalidArgument, match="extra_spec is not valid JSON"):
        CreateArguments.check(**REQUIRED[CreateArguments] | {"extra_spec": {"x": value}})


def test_extra_spec_that_contains_itself_is_invalid():
    endless: dict[str, Any] = {}
    endless["x"] = endless
    with pytest.raises(FireworksInvalidArgument, match="extra_spec is not valid JSON: Circular"):
        CreateArguments.check(**REQUIRED[CreateArguments] | {"extra_spec": endless})


# What follows from the arguments


@pytest.mark.parametrize("on_failure", [False, True])
@pytest.mark.parametrize("on_kill", [None, False, True])
def test_delete_on_kill_defaults_to_delete_on_failure(on_failure, on_kill):
    arguments = checked(CreateArguments, delete_on_failure=on_failure, delete_on_kill=on_kill)
    assert arguments.deletes_on_kill is (on_failure if on_kill is None else on_kill)


def spec(**arguments: Any) -> dict[str, Any]:
    return checked(CreateArguments, **arguments).spec(base_model=MODEL, display_name="generated")


def test_spec_of_required_arguments_has_a_minimum_of_zero():
    assert spec() == {
        "baseModel": MODEL,
        "displayName": "generated",
        "acceleratorType": "NVIDIA_H100_80GB",
        "minReplicaCount": 0,
    }


def test_spec_of_all_arguments_has_all_fields():
    fields = spec(
        precision="FP8",
        accelerator_count=2,
        min_replica_count=1,
        max_replica_count=3,
        display_name="mine",
        extra_spec={"autoscalingPolicy": {"scaleDownWindow": "60s"}},
    )
    assert fields == {
        "baseModel": MODEL,
        "displayName": "mine",
        "precision": "FP8",
        "acceleratorType": "NVIDIA_H100_80GB",
        "acceleratorCount": 2,
        "minReplicaCount": 1,
        "maxReplicaCount": 3,
        "autoscalingPolicy": {"scaleDownWindow": "60s"},
    }


def test_spec_with_zero_replicas_has_both_zeros():
    fields = spec(min_replica_count=0, max_replica_count=0)
    assert (fields["minReplicaCount"], fields["maxReplicaCount"]) == (0, 0)


def test_spec_with_a_shape_omits_precision_and_accelerators():
    fields = spec(accelerator_type=None, deployment_shape="default", precision="FP8")
    assert fields["deploymentShape"] == "default"
    assert not {"precision", "acceleratorType", "acceleratorCount"} & set(fields)


def test_spec_is_a_copy_of_extra_spec():
    extra = {"autoscalingPolicy": {"scaleDownWindow": "60s"}}
    spec(extra_spec=extra)["x"] = 1
    assert extra == {"autoscalingPolicy": {"scaleDownWindow": "60s"}}
