"""``FireworksRouteOperator``; the emulator's records say what happened."""

from __future__ import annotations

from typing import Any

import pytest
import requests
from airflow.providers.common.compat.sdk import AirflowFailException

from airflow_provider_fireworks import exceptions
from airflow_provider_fireworks.deployments.ownership import Owner
from airflow_provider_fireworks.hooks.fireworks import FireworksHook
from airflow_provider_fireworks.operators.router import FireworksRouteOperator
from airflow_provider_fireworks.routers.routing import mark_of
from tests.integration.conftest import MODEL, TaskInstance, run_task
from tests.integration.creating import act_when, fault_id
from tests.timing import use_timing

ROUTER = "accounts/demo/routers/r"
RESULT = {"router": ROUTER, "inference_model": ROUTER}
H100 = "NVIDIA_H100_80GB"


def full(*ids: str) -> list[str]:
    return [f"accounts/demo/deployments/{each}" for each in ids]


@pytest.fixture(autouse=True)
def _quick_retries(monkeypatch: pytest.MonkeyPatch) -> None:
    use_timing(monkeypatch, first_retry_delay=0.01)


@pytest.fixture(params=[False, True], ids=["worker", "deferrable"])
def route(request: pytest.FixtureRequest) -> Any:
    """Runs a route task to its end, in both ways of waiting."""

    def run(deployments: Any, instance: TaskInstance | None = None, **arguments: Any) -> dict[str, Any]:
        arguments = {
            "router": "r",
            "poll_interval": 0.05,
            "timeout": 20,
            "deferrable": request.param,
            **arguments,
        }
        return run_task(
            lambda: FireworksRouteOperator(task_id="route", deployments=deployments, **arguments),
            instance or TaskInstance("route"),
        )

    return run


@pytest.fixture
def deployed(emulator: Any) -> Any:
    """An API with the deployments ``a``, ``b`` and ``c``, READY with one replica, and no records of requests yet."""
    emulator.configure(deploy_duration=0, scale_duration=0)
    for name in "abc":
        FireworksHook().create_deployment(
            name, {"baseModel": MODEL, "acceleratorType": H100, "maxReplicaCount": 9}
        )
    emulator.clear()
    return emulator


def writes(emulator: Any) -> list[tuple[str, str, Any]]:
    """Return the requests that change something: method, query and body."""
    return [
        (each.method, "&".join(f"{name}={value}" for name, value in each.query.items()), each.body)
        for each in emulator.requests
        if each.method != "GET"
    ]


def answers(emulator: Any, count: int = 1) -> list[str]:
    """Return the ids of the deployments that answer requests for the router."""
    hook = FireworksHook()
    session, url = hook.get_conn(), hook.config.url("inference/v1/chat/completions")
    body = {"model": ROUTER, "messages": [{"role": "user", "content": "Hello."}]}
    responses = [session.post(url, json=body, timeout=5) for _ in range(count)]
    assert {response.status_code for response in responses} == {requests.codes.ok}
    return [response.headers["x-emulator-deployment"].rpartition("/")[2] for response in responses]


def mark(task_id: str = "route") -> str:
    return mark_of(Owner.from_context({"ti": TaskInstance(task_id)}))


# ---- routing


@pytest.mark.parametrize("router", ["r", ROUTER])
@pytest.mark.parametrize("deployments", ["a", full("a"), ["a", None]], ids=str)
def test_route_creates_router_and_waits_until_it_is_ready(deployed, route, router, deployments):
    assert route(deployments, router=router) == RESULT
    assert writes(deployed) == [
        ("POST", "routerId=r", {"displayName": mark(), "deployments": full("a"), "evenLoad": {}})
    ]
    assert deployed.router("r")["state"] == "READY"
    assert answers(deployed, 3) == ["a", "a", "a"]


def test_route_switches_to_another_deployment(deployed, route):
    route("a")
    deployed.clear()
    assert route("b", TaskInstance("route", "manual__2")) == RESULT
    assert writes(deployed) == [("PATCH", "updateMask=deployments", {"deployments": full("b")})]
    assert deployed.router("r")["state"] == "READY"
    assert answers(deployed, 3) == ["b", "b", "b"]


def test_route_to_the_same_deployments_changes_nothing(deployed, route):
    route(["a", "b"])
    deployed.clear()
    assert route(["b", "a"]) == RESULT
    assert writes(deployed) == []


def test_route_without_weights_keeps_load_per_replica_equal(deployed, route):
    FireworksHook().scale_deployment("b", 3)
    route(["a", "b"])
    assert sorted(answers(deployed, 8)) == ["a"] * 2 + ["b"] * 6


def test_route_with_weights_splits_by_replicas(deployed, route):
    FireworksHook().scale_deployment("b", 9)
    deployed.clear()
    route(["a", "b"], weights=["10", 90])
    [(_, _, body)] = writes(deployed)
    assert body == {"displayName": mark(), "deployments": full("a", "b"), "weightedRandom": {}}
    answered = answers(deployed, 200)
    assert 5 < answered.count("a") < 50
    assert answered.count("a") + answered.count("b") == 200


def test_route_changes_strategy_of_its_router(deployed, route):
    route(["a", "b"])
    deployed.clear()
    route(["a", "b"], weights=[1, 1])
    assert writes(deployed) == [("PATCH", "updateMask=weighted_random", {"weightedRandom": {}})]
    router = deployed.router("r")
    assert (router["weightedRandom"], router["evenLoad"]) == ({}, None)


def test_route_without_waiting_returns_before_router_is_ready(deployed, route):
    deployed.configure(router_duration=60)
    assert route("a", wait_for_completion=False) == RESULT
    assert deployed.router("r")["state"] == "CREATING"


def test_route_waits_for_an_update_in_progress_before_its_own(deployed, route):
    route("a")
    deployed.configure(router_duration=0.4)
    FireworksHook().update_router("r", deployments=full("b"))
    deployed.configure(router_duration=0.1)
    deployed.clear()
    route("c")
    methods = [each.method for each in deployed.requests]
    assert methods.index("PATCH") > 3
    assert len(writes(deployed)) == 1
    assert answers(deployed) == ["c"]


def test_route_creates_router_anew_once_it_is_deleted(deployed, route):
    route("a")
    deployed.configure(router_duration=0.3)
    FireworksHook().delete_router("r")
    deployed.configure(router_duration=0.1)
    deployed.clear()
    route("b")
    assert [method for method, _, _ in writes(deployed)] == ["POST"]
    assert answers(deployed) == ["b"]


# ---- owners


def test_router_of_another_task_is_a_conflict_and_untouched(deployed, route):
    route("a")
    before = deployed.router("r")
    deployed.clear()
    with pytest.raises(exceptions.FireworksRouterConflict) as conflict:
        route("b", TaskInstance("other"))
    assert "belongs to another task of this provider" in str(conflict.value)
    assert "adopt=True" in str(conflict.value)
    assert isinstance(conflict.value, AirflowFailException)
    assert writes(deployed) == []
    assert deployed.router("r") == before


@pytest.mark.parametrize("display_name", [None, "", "My router", "airflow 0123456789ab"])
def test_router_without_the_mark_is_adopted_on_request_only(deployed, route, display_name):
    named = {} if display_name is None else {"displayName": display_name}
    FireworksHook().create_router("r", {"deployments": full("a"), **named})
    deployed.clear()
    with pytest.raises(exceptions.FireworksRouterConflict, match="left alone"):
        route("b")
    assert writes(deployed) == []
    assert route("b", adopt=True) == RESULT
    [(method, query, body)] = writes(deployed)
    assert (method, query) == ("PATCH", "updateMask=display_name,deployments")
    assert body == {"displayName": mark(), "deployments": full("b")}
    # It is this task's now.
    route("c")
    assert answers(deployed) == ["c"]


@pytest.mark.parametrize("adopt", [False, True])
def test_auto_generated_router_is_a_conflict_even_to_adopt(deployed, route, adopt):
    route("a")
    deployed.set_router("r", autoGenerated=True)
    deployed.clear()
    with pytest.raises(exceptions.FireworksRouterConflict) as conflict:
        route("b", adopt=adopt)
    assert "Fireworks generated it for a deployment" in str(conflict.value)
    assert "adopt=True" not in str(conflict.value)
    assert writes(deployed) == []


# ---- deployments that cannot be routed to


@pytest.mark.parametrize("state", ["CREATING", "FAILED", "DELETING", "DELETED", "NEW_STATE"])
def test_deployment_that_does_not_serve_fails_before_any_write(deployed, route, state):
    deployed.set_deployment("b", state=state)
    with pytest.raises(exceptions.FireworksDeploymentNotReady) as error:
        route(["a", "b"])
    assert f"not routed to accounts/demo/deployments/b: its state is {state}" in str(error.value)
    assert "FireworksDeploymentReadySensor" in str(error.value)
    assert writes(deployed) == []


def test_deployment_that_does_not_exist_fails_before_any_write(deployed, route):
    with pytest.raises(exceptions.FireworksNotFound, match=r"router r: .*deployments/nope"):
        route("nope")
    assert writes(deployed) == []


def test_deployment_that_is_scaled_is_routed_to(deployed, route):
    deployed.set_deployment("a", state="UPDATING")
    assert route("a") == RESULT


@pytest.mark.parametrize(
    ("weights", "scaled", "words"),
    [
        ([9, 1], 1, "must be 9:1, but a has 1, b has 1"),
        ([50, 100], 3, "must be 1:2, but a has 1, b has 3"),
        ([1, 1], 0, "must be 1:1, but a has 1, b has 0"),
    ],
)
def test_replicas_that_do_not_fit_the_weights_are_named(deployed, route, weights, scaled, words):
    FireworksHook().scale_deployment("b", scaled)
    deployed.clear()
    with pytest.raises(exceptions.FireworksInvalidArgument) as error:
        route(["a", "b"], weights=weights)
    assert words in str(error.value)
    assert "FireworksScaleDeploymentOperator" in str(error.value)
    assert writes(deployed) == []


def test_single_region_deployment_is_refused_in_words_of_the_api(deployed, route):
    placed = {"placement": {"region": "US_IOWA_1"}}
    FireworksHook().create_deployment("d", {"baseModel": MODEL, "acceleratorType": H100, **placed})
    with pytest.raises(exceptions.FireworksRefused, match="routers need multi-region deployments"):
        route("d")
    deployed.configure(router_regions="any")
    assert route("d") == RESULT


# ---- failures


FAULTS = [
    {"kind": "drop"},
    {"kind": "drop", "after_work": True},
    {"kind": "truncate", "after_work": True},
    {"kind": "status", "status": 503},
    {"kind": "status", "status": 500, "after_work": True},
    {"kind": "html", "status": 403},
    {"kind": "status", "status": 429, "retry_after": "0"},
]


@pytest.mark.parametrize("fault", FAULTS, ids=fault_id)
@pytest.mark.parametrize("method", ["POST", "PATCH"])
def test_write_of_unknown_outcome_is_looked_at_before_it_is_repeated(deployed, route, fault, method):
    if method == "PATCH":
        route("a")
        deployed.clear()
    deployed.fault(**fault, method=method)
    assert route("b") == RESULT
    sent = [each for each in deployed.requests if each.path.startswith("/v1/accounts/demo/routers")]
    first, *rest = [place for place, each in enumerate(sent) if each.method == method]
    if fault.get("after_work"):
        assert rest == []
    elif fault.get("status") == 429:
        assert len(rest) == 1
    else:
        assert len(rest) == 1
        assert sent[first + 1].method == "GET"
    assert answers(deployed) == ["b"]


def test_create_that_answers_409_continues_with_the_router(deployed, route):
    deployed.fault("status", status=409, method="POST", after_work=True)
    assert route("a") == RESULT
    assert len(writes(deployed)) == 1


def test_update_that_never_ends_times_out_with_the_state(deployed, route):
    route("a")
    deployed.configure(router_outcome="never")
    with pytest.raises(exceptions.FireworksTimeout) as error:
        route("b", timeout=1)
    assert str(error.value).startswith("router r: timeout of ")
    assert "last seen: its state is UPDATING" in str(error.value)
    deployed.clear()
    # The next task that wants something else does not pile updates up.
    with pytest.raises(exceptions.FireworksTimeout, match="its state is UPDATING, and it routes to b"):
        route("c", timeout=1)
    assert writes(deployed) == []


def test_retry_after_a_timeout_waits_for_the_same_update(deployed, route):
    route("a")
    deployed.configure(router_duration=2.5)
    with pytest.raises(exceptions.FireworksTimeout):
        route("b", timeout=1)
    deployed.clear()
    assert route("b") == RESULT
    assert writes(deployed) == []


def test_router_deleted_during_the_wait_fails_and_is_retried(deployed, route):
    deployed.configure(router_duration=60)
    with (
        act_when(lambda: deployed.routers, lambda: deployed.set_router("r", state="DELETING")),
        pytest.raises(exceptions.FireworksError, match="it was deleted while it was waited for") as error,
    ):
        route("a")
    assert not isinstance(error.value, AirflowFailException)


def test_router_changed_by_another_run_is_a_conflict_and_stays(deployed, route):
    route("a")
    deployed.configure(router_duration=0.3)
    deployed.clear()
    with (
        act_when(
            lambda: deployed.router("r")["deployments"] == full("b"),
            lambda: FireworksHook().update_router("r", deployments=full("c")),
        ),
        pytest.raises(exceptions.FireworksRouterConflict) as conflict,
    ):
        route("b")
    assert "READY, but it routes to c: another run or task has changed it since" in str(conflict.value)
    assert "clear this task" in str(conflict.value)
    assert isinstance(conflict.value, AirflowFailException)
    assert len(writes(deployed)) == 2
    assert deployed.router("r")["deployments"] == full("c")


@pytest.mark.parametrize(
    ("status", "error"),
    [(400, "FireworksRefused"), (401, "FireworksAccessDenied"), (403, "FireworksAccessDenied")],
)
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_refusal_ends_the_task_with_its_own_error(deployed, route, status, error, method):
    deployed.fault("status", status=status, method=method, path="routers")
    with pytest.raises(getattr(exceptions, error), match=r"^router r: .* emulated fault"):
        route("a")
    assert deployed.routers == []


def test_api_that_never_responds_times_out(deployed, route):
    deployed.fault("drop", times=-1)
    with pytest.raises(exceptions.FireworksTimeout, match="no response"):
        route("a", timeout=0.3)
