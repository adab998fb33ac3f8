"""Creating, changing, deleting and using routers."""

from __future__ import annotations

from collections import Counter

import pytest

from tests.unit.emulator.conftest import MODEL, refusal

ROUTER = "accounts/demo/routers/r"


def full(name: str) -> str:
    return f"accounts/demo/deployments/{name}"


@pytest.fixture
def make_routed(make_api):
    """Makes an API with the deployments ``a`` and ``b``, which serve. Changing a router takes 3 seconds."""

    def make(**options):
        api = make_api(router_duration=3, **options)
        for name in "ab":
            api.create(name, maxReplicaCount=9)
        api.clock.sleep(10)
        return api

    return make


def create(api, *deployments: str, router: str = "r", **fields) -> dict:
    names = [full(name) for name in deployments]
    return api.state.routers.create("demo", router, {"deployments": names, **fields}).payload()


def edit(api, mask: str = "", **body) -> dict:
    return api.state.routers.edit("demo", "r", body, mask).payload()


def read(api) -> dict:
    return api.state.routers.own("demo", "r").payload()


def served(api, count: int = 1) -> Counter[str]:
    return Counter(api.state.routers.resolve(ROUTER).rpartition("/")[2] for _ in range(count))


def test_router_is_ready_after_its_duration(make_routed):
    api = make_routed()
    created = create(api, "a", displayName="x")
    assert (created["name"], created["state"], created["displayName"]) == (ROUTER, "CREATING", "x")
    assert (created["aliases"], created["weightedRandom"], created["evenLoad"]) == ([ROUTER], {}, None)
    assert api.state.routers.resolve(ROUTER) == ""
    api.clock.sleep(3)
    assert read(api)["state"] == "READY"
    assert api.state.routers.resolve(ROUTER) == f"{MODEL}#{full('a')}"


def test_router_gets_a_random_id_without_one(make_routed):
    api = make_routed()
    names = {create(api, "a", router=None)["name"] for _ in range(3)}
    assert len(names) == 3
    assert sorted(names) == [router.name for router in api.state.routers.visible("demo")]


def test_invalid_create_is_refused(make_routed):
    api = make_routed()
    create(api, "a")
    for match, names in (
        ("ALREADY_EXISTS", ["a"]),
        ("INVALID_ARGUMENT: deployments: required", []),
        ("NOT_FOUND: deployment .*/none not found", ["none"]),
        ("INVALID_ARGUMENT: deployments: ", ["../x"]),
    ):
        with refusal(match):
            create(api, *names, router="r" if match == "ALREADY_EXISTS" else "s")
    for account in ("none", "fireworks"):
        with refusal("NOT_FOUND|PERMISSION_DENIED"):
            api.state.routers.create(account, "s", {"deployments": [full("a")]})


def test_single_region_deployment_is_refused_unless_allowed(make_routed):
    api = make_routed()
    api.create("c", placement={"region": "US_IOWA_1"})
    api.create("d", placement={"multiRegion": "GLOBAL"})
    create(api, "d", router="s")
    with refusal("FAILED_PRECONDITION: .*multi-region"):
        create(api, "c")
    api.state.configure(router_regions="any")
    create(api, "c")


def test_update_changes_fields_of_its_mask_only(make_routed):
    api = make_routed()
    create(api, "a", displayName="x")
    api.clock.sleep(3)
    changed = edit(api, "deployments", deployments=[full("b")], displayName="y")
    assert (changed["state"], changed["deployments"]) == ("UPDATING", [full("b")])
    assert changed["displayName"] == "x"
    api.clock.sleep(3)
    assert read(api)["state"] == "READY"
    with refusal("updateMask: unknown or unchangeable field 'state'"):
        edit(api, "state")


def test_update_without_mask_replaces_everything(make_routed):
    api = make_routed()
    create(api, "a", displayName="x", evenLoad={})
    changed = edit(api, deployments=[full("b")])
    assert (changed["displayName"], changed["evenLoad"]) == ("", None)
    with refusal("deployments: required"):
        edit(api)


def test_strategy_replaces_the_other_one(make_routed):
    api = make_routed()
    create(api, "a", evenLoad={})
    changed = edit(api, "weighted_random", weightedRandom={})
    assert (changed["weightedRandom"], changed["evenLoad"]) == ({}, None)


@pytest.mark.parametrize(("option", "during"), [("old", "a"), ("new", "b"), ("unavailable", "")])
def test_updating_router_serves_as_the_option_says(make_routed, option, during):
    api = make_routed(router_updating=option)
    create(api, "a")
    api.clock.sleep(3)
    edit(api, "deployments", deployments=[full("b")])
    assert served(api) == {during: 1}
    edit(api, "display_name", displayName="x")
    assert served(api) == {during: 1}
    api.clock.sleep(3)
    assert served(api) == {"b": 1}


def test_update_that_never_ends_stays_updating(make_routed):
    api = make_routed()
    create(api, "a")
    api.clock.sleep(3)
    api.state.configure(router_outcome="never")
    edit(api, "deployments", deployments=[full("b")])
    api.clock.sleep(1e6)
    assert read(api)["state"] == "UPDATING"
    api.state.routers.delete("demo", "r")
    api.clock.sleep(3)
    with refusal("NOT_FOUND"):
        read(api)


def test_deleted_router_is_gone_after_its_duration(make_routed):
    api = make_routed()
    create(api, "a")
    api.state.routers.delete("demo", "r")
    assert read(api)["state"] == "DELETING"
    for change in (edit, lambda api: api.state.routers.delete("demo", "r")):
        with refusal("FAILED_PRECONDITION: .*being deleted"):
            change(api, deployments=[full("a")]) if change is edit else change(api)
    api.clock.sleep(3)
    assert api.state.routers.all() == []
    create(api, "b")


def test_auto_generated_router_cannot_be_changed(make_routed):
    api = make_routed()
    create(api, "a")
    api.state.routers.find("demo", "r").force({"autoGenerated": True})
    with refusal("FAILED_PRECONDITION: .*auto-generated"):
        edit(api, "display_name", displayName="x")
    with refusal("FAILED_PRECONDITION: .*auto-generated"):
        api.state.routers.delete("demo", "r")


# ---- the choice of a deployment


@pytest.mark.parametrize(
    ("strategy", "a", "b"), [("evenLoad", 100, 300), ("weightedRandom", range(60, 141), range(260, 341))]
)
def test_requests_are_split_by_replicas(make_routed, strategy, a, b):
    api = make_routed()
    api.state.deployments.scale("demo", "b", 3)
    create(api, "a", "b", **{strategy: {}})
    api.clock.sleep(5)
    counts = served(api, 400)
    assert counts["a"] in (a if isinstance(a, range) else [a])
    assert counts["b"] in (b if isinstance(b, range) else [b])


def test_deployment_without_replicas_gets_requests_only_alone(make_routed):
    api = make_routed()
    create(api, "a", "b", evenLoad={})
    for name in "ab":
        api.state.deployments.scale("demo", name, 0)
        api.clock.sleep(5)
        assert served(api, 4) == ({"b": 4} if name == "a" else {"a": 4})


def test_deleted_deployment_behind_a_router_gets_no_answer(make_routed):
    api = make_routed()
    create(api, "a")
    api.clock.sleep(3)
    api.state.deployments.delete("demo", "a", hard=True, ignore_checks=True)
    assert api.state.routers.resolve(ROUTER) == ""


def test_deletion_of_a_routed_deployment_can_be_refused(make_routed):
    api = make_routed(delete_routed="refused")
    create(api, "a")
    with refusal(f"FAILED_PRECONDITION: router {ROUTER} routes to deployment {full('a')}"):
        api.state.deployments.delete("demo", "a", hard=False, ignore_checks=True)
    api.state.deployments.delete("demo", "b", hard=False, ignore_checks=True)


@pytest.mark.parametrize("names", ["with_model", "deployment", "both"])
def test_router_works_whatever_names_inference_accepts(make_routed, names):
    api = make_routed(inference_names=names)
    create(api, "a")
    api.clock.sleep(3)
    assert api.state.deployments.infer(api.state.routers.resolve(ROUTER)) == "served"


@pytest.mark.parametrize("model", ["", "x", f"{MODEL}#{full('a')}", "accounts/demo/routers/.."])
def test_other_names_are_not_resolved(make_routed, model):
    assert make_routed().state.routers.resolve(model) == model


@pytest.mark.parametrize("router", ["accounts/demo/routers/none", "accounts/other/routers/r"])
def test_unknown_router_gets_no_answer(make_routed, router):
    api = make_routed()
    create(api, "a")
    api.clock.sleep(3)
    assert api.state.routers.resolve(router) == ""
