from __future__ import annotations

from datetime import timedelta

import pytest

from airflow_provider_fireworks.arguments.deployment import (
    CreateArguments,
    DeleteArguments,
    DeploymentReadyArguments,
    ScaleArguments,
    SweepArguments,
    check_create_literals,
    check_deployment_literals,
    check_scale_literals,
    check_which,
)
from airflow_provider_fireworks.exceptions import FireworksInvalidArgument

NAME = "accounts/demo/deployments/d"
CREATE = {
    "model": "my-model",
    "precision": "FP8",
    "accelerator_type": "NVIDIA_H100_80GB",
    "poll_interval": 15,
    "timeout": 3600,
}
LITERALS = {
    "model": "my-model",
    "precision": None,
    "deployment_id": None,
    "accelerator_type": "NVIDIA_H100_80GB",
    "accelerator_count": None,
    "deployment_shape": None,
    "min_replica_count": None,
    "max_replica_count": None,
    "display_name": None,
    "extra_spec": None,
}
READY = {"deployment": "d", "poll_interval": 15, "timeout": 3600}
SCALE = READY | {"replica_count": 1}
DELETE = {"deployment": "d", "timeout": 600}


class Output:
    """What stands for another task's output while a DAG is parsed."""

    def __str__(self) -> str:
        raise AssertionError("it is not to be looked into")

    def __repr__(self) -> str:
        return "Output()"


# ---- literals, while the DAG is parsed


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"model": "accounts/fireworks/models/yi-6b"},
        {"model": "{{ params.model }}", "precision": "{{ params.p }}"},
        {"model": Output(), "precision": Output(), "deployment_id": Output()},
        {"accelerator_type": Output(), "accelerator_count": Output()},
        {"accelerator_type": "{% if x %}A{% endif %}"},
        {"precision": "NEWER_THAN_THIS"},
        {"deployment_id": "my-deployment"},
        {"deployment_id": "{{ ds_nodash }}"},
        {"accelerator_count": 1},
        {"accelerator_count": "2"},
        {"min_replica_count": 0, "max_replica_count": 0},
        {"min_replica_count": "1", "max_replica_count": "1"},
        {"min_replica_count": 5, "max_replica_count": Output()},
        {"min_replica_count": "{{ a }}", "max_replica_count": 1},
        {"display_name": "x" * 63},
        {"display_name": "{{ " + "x" * 70 + " }}"},
        {"extra_spec": {}},
        {"extra_spec": {"autoscalingPolicy": {"scaleToZeroWindow": "300s"}}},
        {"extra_spec": "{{ params.spec }}"},
        {"extra_spec": Output()},
        {"accelerator_type": None, "deployment_shape": "default"},
        {"accelerator_type": None, "deployment_shape": Output(), "precision": "FP8"},
    ],
    ids=lambda fields: " ".join(fields) or "the least",
)
def test_what_may_be_right_is_left_for_later(fields):
    check_create_literals(**LITERALS | fields)


# What both the literal and the rendered argument are refused for.
REFUSED = {
    "a model": ({"model": "My Model"}, "'My Model' is no model id"),
    "an empty model": ({"model": ""}, "is no model"),
    "another resource": ({"model": NAME}, "is no model"),
    "a precision": ({"precision": "FP 8"}, "'FP 8' is no precision"),
    "a deployment id": ({"deployment_id": "My_Id"}, "'My_Id' is no deployment_id"),
    "a full name for an id": ({"deployment_id": NAME}, "is no deployment_id"),
    "an empty deployment id": ({"deployment_id": ""}, "is no deployment_id"),
    "neither accelerator nor shape": (
        {"accelerator_type": None},
        "accelerator_type or deployment_shape: one of them is needed",
    ),
    "a count and no type": (
        {"accelerator_type": None, "accelerator_count": 2},
        "accelerator_type or deployment_shape: one of them is needed",
    ),
    "a type beside a shape": ({"deployment_shape": "s"}, "deployment_shape goes with neither"),
    "a count beside a shape": (
        {"accelerator_type": None, "accelerator_count": 1, "deployment_shape": "s"},
        "deployment_shape goes with neither",
    ),
    "no accelerator": ({"accelerator_count": 0}, "accelerator_count: "),
    "fewer than none": ({"min_replica_count": -1}, "min_replica_count: "),
    "at most fewer than none": ({"max_replica_count": -1}, "max_replica_count: "),
    "a count in words": ({"min_replica_count": "two"}, "min_replica_count: .*'two'"),
    "half a replica": ({"max_replica_count": 1.5}, "max_replica_count: .*1.5"),
    "a minimum beyond the maximum": (
        {"min_replica_count": 3, "max_replica_count": "2"},
        "min_replica_count is 3, more than max_replica_count, which is 2",
    ),
    "a long display name": ({"display_name": "x" * 64}, "display_name: text of at most 63 characters"),
    **{
        f"{field} as an extra": ({"extra_spec": {field: "x"}}, f"extra_spec: {field} .*give {argument}")
        for field, argument in {
            "baseModel": "model",
            "precision": "precision",
            "acceleratorType": "accelerator_type",
            "acceleratorCount": "accelerator_count",
            "deploymentShape": "deployment_shape",
            "minReplicaCount": "min_replica_count",
            "maxReplicaCount": "max_replica_count",
            "displayName": "display_name",
            "deploymentId": "deployment_id",
        }.items()
    },
    "the description as an extra": (
        {"extra_spec": {"description": "mine"}},
        "extra_spec: description .*the operator writes it",
    ),
}


@pytest.mark.parametrize(("fields", "told"), REFUSED.values(), ids=REFUSED)
def test_a_literal_that_is_wrong_is_refused_while_the_dag_is_parsed(fields, told):
    with pytest.raises(FireworksInvalidArgument, match=told):
        check_create_literals(**LITERALS | fields)


@pytest.mark.parametrize("count", ["accelerator_count", "min_replica_count", "max_replica_count"])
def test_a_literal_count_is_no_boolean(count):
    with pytest.raises(FireworksInvalidArgument, match=f"{count}: a whole number"):
        check_create_literals(**LITERALS | {count: True})


def test_a_display_name_that_is_a_number_is_refused_by_name():
    with pytest.raises(FireworksInvalidArgument, match="display_name"):
        check_create_literals(**LITERALS | {"display_name": 5})


@pytest.mark.parametrize("deployment", ["d", NAME, "{{ x }}", None, Output()], ids=repr)
def test_a_deployment_that_may_be_right(deployment):
    check_deployment_literals(deployment)
    check_scale_literals(deployment, Output())


@pytest.mark.parametrize("deployment", ["", "My_Id", "a/b", "accounts/demo/models/m", "a?b", 5])
def test_a_deployment_that_is_none(deployment):
    for check in (
        check_deployment_literals,
        lambda wrong: check_scale_literals(wrong, 1),
        lambda wrong: check_which(wrong, None),
        lambda wrong: DeploymentReadyArguments.check(**READY | {"deployment": wrong}),
        lambda wrong: ScaleArguments.check(**SCALE | {"deployment": wrong}),
        lambda wrong: DeleteArguments.check(**DELETE | {"deployment": wrong}),
        lambda wrong: SweepArguments.check(keep=["d", wrong]),
    ):
        with pytest.raises(FireworksInvalidArgument, match=r"is no deployment|deployment: |keep\.1: "):
            check(deployment)


@pytest.mark.parametrize("count", [0, 1, "3", "{{ x }}", None, Output()], ids=repr)
def test_a_count_to_scale_to_that_may_be_right(count):
    check_scale_literals("d", count)


@pytest.mark.parametrize("count", [-1, "-1", "two", "", 1.5, True])
def test_a_count_to_scale_to_that_is_none(count):
    with pytest.raises(FireworksInvalidArgument, match="replica_count: a whole number, 0 or more"):
        check_scale_literals("d", count)


@pytest.mark.parametrize(
    ("deployment", "created_by"), [("d", None), (None, "deploy"), (Output(), None), ("{{ x }}", None)]
)
def test_one_of_the_two_says_what_to_delete(deployment, created_by):
    check_which(deployment, created_by)


@pytest.mark.parametrize(("deployment", "created_by"), [(None, None), ("d", "deploy")])
def test_neither_or_both_say_nothing(deployment, created_by):
    told = "deployment or created_by: exactly one of them"
    with pytest.raises(FireworksInvalidArgument, match=told):
        check_which(deployment, created_by)
    with pytest.raises(FireworksInvalidArgument, match=told):
        DeleteArguments.check(deployment=deployment, created_by=created_by, timeout=1)


# ---- rendered


def test_rendered_arguments_have_the_right_types():
    arguments = CreateArguments.check(
        **CREATE
        | {
            "accelerator_count": "2",
            "min_replica_count": "0",
            "max_replica_count": "1",
            "wait_for_completion": "False",
            "wait_for_inference": "true",
            "delete_on_failure": "no",
            "delete_on_kill": "1",
            "validate_only": "False",
            "deferrable": "True",
            "poll_interval": "30",
            "timeout": timedelta(minutes=10),
            "account_id": "demo",
            "fireworks_conn_id": None,
        }
    )
    assert (arguments.accelerator_count, arguments.min_replica_count, arguments.max_replica_count) == (
        2,
        0,
        1,
    )
    assert (arguments.wait_for_completion, arguments.wait_for_inference) == (False, True)
    assert (arguments.delete_on_failure, arguments.delete_on_kill) == (False, True)
    assert (arguments.validate_only, arguments.deferrable) == (False, True)
    assert (arguments.poll_interval, arguments.timeout) == (30, 600)


def test_what_is_left_out_is_careful():
    arguments = CreateArguments.check(**CREATE)
    assert arguments.wait_for_completion is True
    assert arguments.delete_on_failure is True
    assert (arguments.wait_for_inference, arguments.validate_only) == (False, False)


@pytest.mark.parametrize("on_failure", [False, True])
@pytest.mark.parametrize("on_kill", [None, False, True])
def test_delete_on_kill_means_as_delete_on_failure_unless_given(on_failure, on_kill):
    arguments = CreateArguments.check(**CREATE, delete_on_failure=on_failure, delete_on_kill=on_kill)
    assert arguments.deletes_on_kill is (on_failure if on_kill is None else on_kill)
    assert SweepArguments.check().delete is False
    assert SweepArguments.check().ignore_checks is False
    deletion = DeleteArguments.check(**DELETE)
    assert (deletion.hard, deletion.ignore_checks) == (False, False)
    assert ScaleArguments.check(**SCALE).wait_for_completion is False
    assert DeploymentReadyArguments.check(**READY).wait_for_inference is False


@pytest.mark.parametrize(("fields", "told"), REFUSED.values(), ids=REFUSED)
def test_what_is_wrong_when_rendered_is_named(fields, told):
    with pytest.raises(FireworksInvalidArgument, match=told):
        CreateArguments.check(**CREATE | fields)


@pytest.mark.parametrize(
    ("fields", "told"),
    [
        ({"model": None}, "model: "),
        ({"model": "None"}, "'None' is no model id"),
        ({"precision": ["FP8", "FP4"]}, "precision: "),
        ({"precision": "['FP8', 'FP4']"}, "is no precision"),
        ({"accelerator_type": ""}, "accelerator_type: "),
        ({"accelerator_type": None, "deployment_shape": ""}, "deployment_shape: "),
        ({"extra_spec": "{}"}, "extra_spec: "),
        ({"extra_spec": ["a"]}, "extra_spec: "),
        ({"extra_spec": {"x": float("nan")}}, "extra_spec: this is no JSON"),
        ({"extra_spec": {"x": {1, 2}}}, "extra_spec: this is no JSON"),
        ({"display_name": 5}, "display_name: "),
        ({"wait_for_completion": "perhaps"}, "wait_for_completion: .*'perhaps'"),
        ({"wait_for_inference": "perhaps"}, "wait_for_inference: "),
        ({"delete_on_failure": "perhaps"}, "delete_on_failure: "),
        ({"delete_on_kill": "perhaps"}, "delete_on_kill: "),
        ({"validate_only": "perhaps"}, "validate_only: "),
        ({"deferrable": "perhaps"}, "deferrable: "),
        ({"poll_interval": -1}, "poll_interval: "),
        ({"timeout": "soon"}, "timeout: .*'soon'"),
        ({"timeout": "inf"}, "timeout: "),
        ({"timeout": None}, "timeout: "),
        ({"account_id": 5}, "account_id: "),
    ],
    ids=str,
)
def test_what_only_a_rendering_can_get_wrong_is_named(fields, told):
    with pytest.raises(FireworksInvalidArgument, match=told):
        CreateArguments.check(**CREATE | fields)


@pytest.mark.parametrize(
    ("kind", "good", "fields", "told"),
    [
        (DeploymentReadyArguments, READY, {"wait_for_inference": "perhaps"}, "wait_for_inference: "),
        (DeploymentReadyArguments, READY, {"timeout": -1}, "timeout: "),
        (DeploymentReadyArguments, READY, {"deployment": None}, "deployment: "),
        (DeploymentReadyArguments, READY, {"deployment": "None"}, "'None' is no deployment id"),
        (ScaleArguments, SCALE, {"replica_count": -1}, "replica_count: "),
        (ScaleArguments, SCALE, {"replica_count": "-1"}, "replica_count: "),
        (ScaleArguments, SCALE, {"replica_count": 1.5}, "replica_count: "),
        (ScaleArguments, SCALE, {"replica_count": "two"}, "replica_count: .*'two'"),
        (ScaleArguments, SCALE, {"replica_count": None}, "replica_count: "),
        (ScaleArguments, SCALE, {"wait_for_completion": "perhaps"}, "wait_for_completion: "),
        (DeleteArguments, DELETE, {"deployment": "None"}, "'None' is no deployment id"),
        (DeleteArguments, DELETE, {"hard": "perhaps"}, "hard: "),
        (DeleteArguments, DELETE, {"ignore_checks": "perhaps"}, "ignore_checks: "),
        (DeleteArguments, DELETE, {"timeout": "soon"}, "timeout: "),
        (SweepArguments, {}, {"delete": "perhaps"}, "delete: "),
        (SweepArguments, {}, {"ignore_checks": "perhaps"}, "ignore_checks: "),
        (SweepArguments, {}, {"keep": [5]}, r"keep\.0: "),
        (SweepArguments, {}, {"keep": None}, "keep: "),
        (SweepArguments, {}, {"keep": "a,b"}, "is no deployment"),
    ],
    ids=str,
)
def test_the_other_tasks_arguments_are_named_as_well(kind, good, fields, told):
    kind.check(**good)
    with pytest.raises(FireworksInvalidArgument, match=told):
        kind.check(**good | fields)


def test_all_that_is_wrong_is_named_at_once():
    with pytest.raises(FireworksInvalidArgument) as refused:
        ScaleArguments.check(**SCALE | {"timeout": "soon", "replica_count": -1})
    assert "timeout: " in str(refused.value)
    assert "replica_count: " in str(refused.value)


@pytest.mark.parametrize("keep", ["d", ["d"], ("d",)])
def test_one_to_keep_is_a_list_of_one(keep):
    assert SweepArguments.check(keep=keep).keep == ["d"]


# ---- what is asked of the gateway


def spec(**fields) -> dict:
    return CreateArguments.check(**CREATE | fields).spec(
        base_model="accounts/demo/models/my-model", display_name="made", description="signed"
    )


def test_the_least_that_is_asked_for():
    assert spec(precision=None) == {
        "baseModel": "accounts/demo/models/my-model",
        "displayName": "made",
        "description": "signed",
        "acceleratorType": "NVIDIA_H100_80GB",
        "minReplicaCount": 0,
    }


def test_all_that_can_be_asked_for():
    asked = spec(
        accelerator_count=2,
        min_replica_count=1,
        max_replica_count=3,
        display_name="mine",
        extra_spec={"autoscalingPolicy": {"scaleDownWindow": "60s"}},
    )
    assert asked == {
        "baseModel": "accounts/demo/models/my-model",
        "displayName": "mine",
        "description": "signed",
        "precision": "FP8",
        "acceleratorType": "NVIDIA_H100_80GB",
        "acceleratorCount": 2,
        "minReplicaCount": 1,
        "maxReplicaCount": 3,
        "autoscalingPolicy": {"scaleDownWindow": "60s"},
    }


def test_a_shape_has_its_own_precision():
    asked = spec(accelerator_type=None, deployment_shape="default")
    assert asked["deploymentShape"] == "default"
    assert not {"precision", "acceleratorType", "acceleratorCount"} & set(asked)


def test_the_argument_is_not_changed_by_what_is_made_of_it():
    extra = {"autoscalingPolicy": {"scaleDownWindow": "60s"}}
    spec(extra_spec=extra)["x"] = 1
    assert extra == {"autoscalingPolicy": {"scaleDownWindow": "60s"}}
