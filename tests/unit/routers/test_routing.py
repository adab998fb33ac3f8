"""What to do next for a router: one decision per read."""

from __future__ import annotations

import re
from typing import Any

import pytest

from airflow_provider_fireworks.client.resources import Deployment, ReplicaStats, Router
from airflow_provider_fireworks.deployments.ownership import Owner
from airflow_provider_fireworks.routers.routing import (
    Route,
    RouteStep,
    mark_of,
    routes_to,
    why_not_routable,
    why_weights_do_not_fit,
)

OWNER = Owner("my_dag", "manual__1", "route", airflow="https://airflow.example")
MARK = mark_of(OWNER)
A, B, C = (f"accounts/demo/deployments/{name}" for name in "abc")


def wanted(*deployments: str, strategy: str = "evenLoad") -> Route:
    return Route.model_validate(
        {"router": "accounts/demo/routers/r", "deployments": deployments, "strategy": strategy, "mark": MARK}
    )


def found(*deployments: str, state: str | None = "READY", **fields: Any) -> Router:
    fields = {"display_name": MARK, "even_load": {}, **fields}
    return Router(state=state, deployments=list(deployments), **fields)


# ---- the decision table


@pytest.mark.parametrize(
    ("router", "adopt", "step", "fields"),
    [
        pytest.param(
            None,
            False,
            RouteStep.CREATE,
            {"displayName": MARK, "deployments": [A, B], "evenLoad": {}},
            id="none",
        ),
        pytest.param(found(A, B, auto_generated=True), True, RouteStep.CONFLICT, {}, id="auto-generated"),
        pytest.param(found(A, B, display_name="mine"), False, RouteStep.CONFLICT, {}, id="another owner"),
        pytest.param(found(A, B, display_name=None), False, RouteStep.CONFLICT, {}, id="no owner"),
        pytest.param(
            found(A, B, display_name=""), True, RouteStep.UPDATE, {"displayName": MARK}, id="adopted"
        ),
        pytest.param(
            found(C, display_name="mine", even_load=None, weighted_random={}),
            True,
            RouteStep.UPDATE,
            {"displayName": MARK, "deployments": [A, B], "evenLoad": {}},
            id="adopted, with everything else",
        ),
        pytest.param(found(A, B), False, RouteStep.READY, {}, id="as wanted"),
        pytest.param(found(B, A), False, RouteStep.READY, {}, id="in another order"),
        pytest.param(found(A, B, state="UPDATING"), False, RouteStep.WAIT, {}, id="as wanted, updating"),
        pytest.param(found(A, B, state="CREATING"), False, RouteStep.WAIT, {}, id="as wanted, creating"),
        pytest.param(found(A, B, state="NEW"), False, RouteStep.WAIT, {}, id="as wanted, new state"),
        pytest.param(found(A, B, state=None), False, RouteStep.WAIT, {}, id="as wanted, no state"),
        pytest.param(
            found(A), False, RouteStep.UPDATE, {"deployments": [A, B]}, id="another set of deployments"
        ),
        pytest.param(
            found(A, B, even_load=None, weighted_random={}),
            False,
            RouteStep.UPDATE,
            {"evenLoad": {}},
            id="another strategy",
        ),
        pytest.param(found(C, state="UPDATING"), False, RouteStep.PAUSE, {}, id="another update"),
        pytest.param(found(C, state="CREATING"), False, RouteStep.PAUSE, {}, id="being created"),
        pytest.param(found(C, state="NEW"), False, RouteStep.UPDATE, {"deployments": [A, B]}, id="new state"),
        pytest.param(found(A, B, state="DELETING"), False, RouteStep.PAUSE, {}, id="being deleted"),
    ],
)
def test_next_step_follows_from_the_router(router, adopt, step, fields):
    decision = wanted(A, B).next_step(router, adopt=adopt)
    assert (decision.step, decision.fields) == (step, fields)
    assert decision.note


def test_strategy_does_not_matter_with_one_deployment():
    router = found(A, even_load=None, weighted_random={})
    assert wanted(A).next_step(router, adopt=False).step is RouteStep.READY


def test_strategy_that_is_not_shown_counts_as_wanted():
    assert wanted(A, B).next_step(found(A, B, even_load=None), adopt=False).step is RouteStep.READY


def test_new_router_has_one_strategy():
    spec = wanted(A, B, strategy="weightedRandom").spec
    assert spec == {"displayName": MARK, "deployments": [A, B], "weightedRandom": {}}


def test_conflict_names_the_owner():
    named = wanted(A).next_step(found(A, display_name="Prod \x1b[31m"), adopt=False).note
    other = wanted(A).next_step(found(A, display_name="airflow 0123456789ab"), adopt=False).note
    assert "something else than this task (its display name is 'Prod [31m')" in named
    assert "another task of this provider" in other


def test_route_survives_json():
    route = wanted(A, B)
    assert Route.model_validate_json(route.model_dump_json()) == route


@pytest.mark.parametrize(("router", "shown"), [(found(A, B), "a, b"), (Router(), "nothing")])
def test_deployments_of_a_router_are_shown_by_id(router, shown):
    assert routes_to(router) == shown


# ---- owners


def test_mark_is_the_same_in_all_runs_of_a_task():
    assert re.fullmatch(r"airflow [0-9a-f]{12}", MARK)
    later = Owner("my_dag", "manual__2", "route", map_index=3, airflow="https://airflow.example")
    assert mark_of(later) == MARK


@pytest.mark.parametrize(
    "other",
    [
        Owner("my_dag", "manual__1", "route"),
        Owner("my_dag", "manual__1", "other", airflow="https://airflow.example"),
        Owner("other", "manual__1", "route", airflow="https://airflow.example"),
        Owner("my_da", "manual__1", "groute", airflow="https://airflow.example"),
    ],
)
def test_mark_differs_for_another_task(other):
    assert mark_of(other) != MARK


# ---- deployments


@pytest.mark.parametrize("state", ["READY", "UPDATING"])
def test_deployment_that_serves_is_routable(state):
    assert why_not_routable(Deployment(state=state)) is None


@pytest.mark.parametrize("state", ["CREATING", "FAILED", "DELETING", "DELETED", "NEW", None])
def test_deployment_that_does_not_serve_is_not_routable(state):
    assert why_not_routable(Deployment(state=state)) == f"its state is {state or 'unset'}"


def with_replicas(*counts: int | None) -> list[Deployment]:
    return [
        Deployment(
            name=f"accounts/demo/deployments/d{place}", replica_stats=ReplicaStats(ready_replica_count=count)
        )
        for place, count in enumerate(counts)
    ]


@pytest.mark.parametrize(
    ("weights", "counts"),
    [
        ([1], [1]),
        ([7], [3]),
        ([90, 10], [9, 1]),
        ([50, 50], [2, 2]),
        ([2, 4, 6], [1, 2, 3]),
        ([9, 1], [None, 1]),
        ([9, 1], [None, None]),
    ],
)
def test_weights_fit_replicas_in_the_same_proportion(weights, counts):
    assert why_weights_do_not_fit(weights, with_replicas(*counts)) is None


@pytest.mark.parametrize(
    ("weights", "counts", "why"),
    [
        ([90, 10], [1, 1], "must be 9:1, but d0 has 1, d1 has 1"),
        ([1, 9], [9, 1], "must be 1:9, but d0 has 9, d1 has 1"),
        ([1, 1], [0, 0], "must be 1:1, but d0 has 0, d1 has 0"),
        ([1], [0], "must be 1, but d0 has 0"),
    ],
)
def test_weights_do_not_fit_other_replicas(weights, counts, why):
    assert why in why_weights_do_not_fit(weights, with_replicas(*counts))
