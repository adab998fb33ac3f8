"""Tags of a deployment."""

from __future__ import annotations

import pytest

from airflow_provider_fireworks import exceptions
from tests.integration.conftest import TaskInstance
from tests.integration.creating import NAME, count_changes, make_task, shown

OWN = {"custom/airflow-dag": "my_dag", "custom/airflow-run": "manual__1", "custom/airflow-task": "deploy"}


def test_tags_are_not_sent_unless_given(emulator, create):
    create()
    (post,) = [request for request in emulator.requests if request.method == "POST"]
    assert "annotations" not in post.body


def test_no_tags_of_ones_own_are_enough_for_those_of_the_task(emulator, create):
    create(tags={})
    assert shown(emulator)["annotations"] == OWN


def test_tags_get_the_prefix_that_the_api_wants(emulator, create):
    create(tags={"team": "search", "custom/cost-center": "42"})
    assert shown(emulator)["annotations"] == OWN | {"custom/team": "search", "custom/cost-center": "42"}


def test_tags_of_the_user_win_over_those_of_the_task(emulator, create):
    create(tags={"airflow-dag": "mine"})
    assert shown(emulator)["annotations"] == OWN | {"custom/airflow-dag": "mine"}


def test_long_ids_are_cut(emulator, create):
    run_id = "scheduled__" + "x" * 200
    create(TaskInstance(run_id=run_id), tags={}, deployment_id="d")
    assert shown(emulator, "d")["annotations"]["custom/airflow-run"] == run_id[:128]


def test_tags_of_the_task_are_added_as_far_as_there_is_room(emulator, create):
    create(tags={f"key-{number}": "x" for number in range(63)})
    assert len(shown(emulator)["annotations"]) == 64


@pytest.mark.parametrize("deployment_id", [None, "d"])
def test_other_tags_are_no_change_of_the_deployment(emulator, create, deployment_id):
    named = {"deployment_id": deployment_id} if deployment_id else {}
    create(tags={"team": "search"}, **named)
    emulator.clear()
    create(TaskInstance(try_number=2), tags={"team": "ads"}, **named)
    assert count_changes(emulator) == 0
    assert not emulator.creations


def test_validate_only_checks_the_tags(emulator, create):
    create(tags={"team": "search"}, validate_only=True)
    (post,) = [request for request in emulator.requests if request.method == "POST"]
    assert post.body["annotations"]["custom/team"] == "search"
    assert emulator.deployments_left == []


@pytest.mark.parametrize(
    "tags",
    [
        {"team": ""},
        {"team": "x" * 129},
        {"x" * 122: "long"},
        {"schlüssel": "x"},
        {"team": 1},
        {f"key-{number}": "x" for number in range(65)},
        ["team"],
    ],
    ids=["empty value", "long value", "long key", "not ASCII", "number", "too many", "list"],
)
def test_invalid_tags_are_rejected_when_the_dag_is_parsed(tags):
    with pytest.raises(exceptions.FireworksInvalidArgument, match="tags"):
        make_task(tags=tags)


def test_annotations_belong_into_tags():
    with pytest.raises(exceptions.FireworksInvalidArgument, match="tags"):
        make_task(extra_spec={"annotations": {}})


def test_named_deployment_has_tags_of_its_first_run(emulator, create):
    create(TaskInstance(run_id="first", runs={"first": "success"}), tags={}, deployment_id="d")
    later = TaskInstance(run_id="second", runs={"first": "success", "second": "running"})
    create(later, tags={}, deployment_id="d")
    assert shown(emulator, "d")["annotations"]["custom/airflow-run"] == "first"
    assert NAME not in emulator.deployments_left
