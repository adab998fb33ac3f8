"""The arguments of the tasks that wait for, scale, delete and sweep deployments."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from airflow_provider_fireworks.arguments import (
    DeleteArguments,
    DeploymentReadyArguments,
    ScaleArguments,
    SweepArguments,
)
from airflow_provider_fireworks.exceptions import FireworksInvalidArgument
from tests.unit.arguments.samples import (
    DEPLOYMENT,
    MODEL,
    LazySequence,
    assert_invalid,
    checked,
    short_id,
)


@pytest.mark.parametrize("kind", [DeploymentReadyArguments, ScaleArguments], ids=short_id)
@pytest.mark.parametrize("deployment", ["d", DEPLOYMENT])
def test_deployment_is_an_id_or_a_full_name(kind, deployment):
    assert checked(kind, deployment=deployment).deployment == deployment


@pytest.mark.parametrize("kind", [DeploymentReadyArguments, ScaleArguments, DeleteArguments], ids=short_id)
@pytest.mark.parametrize(
    ("deployment", "message"),
    [
        ("My_Id", "Invalid deployment id 'My_Id'"),
        ("None", "Invalid deployment id 'None'"),
        ("a?b", "Invalid deployment id "),
        ("['d', 'e']", "Invalid deployment id "),
        ("", "Invalid deployment ''"),
        ("a/b", "Invalid deployment 'a/b': use its id or accounts/<account>/deployments/<deployment>"),
        (MODEL, "Invalid deployment "),
        (5, "deployment: .*5"),
        ({"deployment": "d"}, "deployment: "),
    ],
    ids=short_id,
)
def test_deployment_that_is_no_name_is_invalid(kind, deployment, message):
    assert_invalid(kind, message, deployment=deployment)


@pytest.mark.parametrize("kind", [DeploymentReadyArguments, ScaleArguments], ids=short_id)
@pytest.mark.parametrize("deployment", [None, ["d"]], ids=repr)
def test_deployment_must_be_exactly_one(kind, deployment):
    assert_invalid(kind, "deployment: ", deployment=deployment)


@pytest.mark.parametrize(("value", "count"), [(0, 0), ("3", 3)], ids=repr)
def test_replica_count_is_zero_or_more(value, count):
    assert checked(ScaleArguments, replica_count=value).replica_count == count


@pytest.mark.parametrize("value", [None, -1, "-1", "two", "", "1.5", 1.5, 2.0, True, [1]], ids=repr)
def test_replica_count_that_is_no_whole_number_is_invalid(value):
    assert_invalid(ScaleArguments, "replica_count: ", replica_count=value)


# Delete


def generated() -> Iterator[str | None]:
    yield from ("d", None, "e")


@pytest.mark.parametrize(
    ("given", "names"),
    [
        ("d", ["d"]),
        (DEPLOYMENT, [DEPLOYMENT]),
        (["d", DEPLOYMENT], ["d", DEPLOYMENT]),
        (("d", "e"), ["d", "e"]),
        ({"d"}, ["d"]),
        (["d", None, "e"], ["d", "e"]),
        ([None, None], []),
        ([], []),
        (None, []),
        (generated(), ["d", "e"]),
        (iter([]), []),
        (LazySequence("d", None, "e"), ["d", "e"]),
        (LazySequence(), []),
        (map(str.lower, ["D"]), ["d"]),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Iterator) else short_id(value),
)
def test_delete_takes_one_name_any_number_or_none(given, names):
    # The check of literals comes first, and must not exhaust a generator.
    assert checked(DeleteArguments, deployment=given).deployment == names


@pytest.mark.parametrize(
    "make",
    [list, tuple, lambda names: LazySequence(*names), iter],
    ids=["list", "tuple", "LazySequence", "iterator"],
)
def test_delete_names_the_invalid_one_of_several(make):
    for names, message in (
        (["d", "My_Id"], r"deployment\.1: Invalid deployment id 'My_Id'"),
        (["d", 5], r"deployment\.1: .*not 5"),
    ):
        with pytest.raises(FireworksInvalidArgument, match=message):
            DeleteArguments.check(deployment=make(names), timeout=600)


# Sweep


@pytest.mark.parametrize(
    ("keep", "names"),
    [("d", ["d"]), (["d", DEPLOYMENT], ["d", DEPLOYMENT]), (("d",), ["d"]), (["d", None], ["d"])],
    ids=repr,
)
def test_sweep_keeps_one_name_or_any_number(keep, names):
    assert checked(SweepArguments, keep=keep).keep == names


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"keep": "a,b"}, r"keep\.0: Invalid deployment id 'a,b'"),
        ({"keep": ["d", 5]}, r"keep\.1: "),
        ({"keep": {"d": 1}}, "keep: "),
        ({"keep": None}, "keep: "),
        ({"ignore_checks": None}, "ignore_checks: "),
    ],
    ids=str,
)
def test_sweep_with_invalid_arguments_names_them(given, message):
    assert_invalid(SweepArguments, message, **given)
