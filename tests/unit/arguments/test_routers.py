"""The arguments of the tasks for routers."""

from __future__ import annotations

import pytest

from airflow_provider_fireworks.arguments import UNRESOLVED, DeleteRouterArguments, RouteArguments
from tests.unit.arguments.samples import DEPLOYMENT, OUTPUT, LazySequence, assert_invalid, checked, short_id

ROUTER = "accounts/demo/routers/r"


@pytest.mark.parametrize("kind", [RouteArguments, DeleteRouterArguments], ids=short_id)
@pytest.mark.parametrize("router", ["r", ROUTER])
def test_router_is_an_id_or_a_full_name(kind, router):
    assert checked(kind, router=router).router == router


@pytest.mark.parametrize("kind", [RouteArguments, DeleteRouterArguments], ids=short_id)
@pytest.mark.parametrize("router", ["My_Router", "", DEPLOYMENT, "accounts/demo/routers/..", 5])
def test_invalid_router_is_refused(kind, router):
    assert_invalid(kind, "[Rr]outer", router=router)


def test_router_to_delete_may_be_none():
    assert checked(DeleteRouterArguments, router=None).router is None
    assert_invalid(RouteArguments, "router: ", router=None)


@pytest.mark.parametrize(
    ("deployments", "expected"),
    [
        ("d", ["d"]),
        (DEPLOYMENT, [DEPLOYMENT]),
        (["a", "b"], ["a", "b"]),
        (("a", None, "b"), ["a", "b"]),
    ],
)
def test_deployments_are_one_or_several(deployments, expected):
    assert checked(RouteArguments, deployments=deployments).deployments == expected


def test_deployments_of_a_mapped_task_are_a_list():
    arguments = RouteArguments.check(
        router="r", deployments=LazySequence("a", None, "b"), poll_interval=1, timeout=1
    )
    assert arguments.deployments == ["a", "b"]


@pytest.mark.parametrize("deployments", [[], None, [None], {"a": 1}, 5, "My_Id", ["a", ROUTER]], ids=repr)
def test_invalid_deployments_are_refused(deployments):
    assert_invalid(RouteArguments, "deployments", deployments=deployments)


def test_deployment_that_is_given_twice_is_refused():
    assert_invalid(RouteArguments, "given twice: d, accounts/", deployments=["d", DEPLOYMENT])


@pytest.mark.parametrize("weights", [None, [9, 1], ["90", "10"]])
def test_weights_are_whole_numbers(weights):
    arguments = checked(RouteArguments, deployments=["a", "b"], weights=weights)
    assert arguments.weights == (None if weights is None else [int(weight) for weight in weights])


@pytest.mark.parametrize("weights", [[0, 1], [-1, 1], [0.9, 0.1], [True, 1], "9, 1", {"a": 9, "b": 1}])
def test_invalid_weights_are_refused(weights):
    assert_invalid(RouteArguments, "weights", deployments=["a", "b"], weights=weights)


@pytest.mark.parametrize("weights", [[], [1], [1, 1, 1]])
def test_weights_must_be_as_many_as_deployments(weights):
    message = f"there are {len(weights)} for 2 deployments"
    assert_invalid(RouteArguments, message, deployments=["a", "b"], weights=weights)


def test_weights_of_unresolved_deployments_pass_while_parsing():
    RouteArguments.check_literals(router="r", deployments=OUTPUT, weights=[9, 1], poll_interval=1, timeout=1)
    RouteArguments.check_literals(
        router="r", deployments=["a", "b"], weights=OUTPUT, poll_interval=1, timeout=1
    )
    assert RouteArguments.check(
        router="r", deployments=UNRESOLVED, weights=[1], poll_interval=1, timeout=1
    ).weights == [1]
