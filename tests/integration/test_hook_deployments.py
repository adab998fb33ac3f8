"""The hook's requests about deployments, against an emulated API."""

from __future__ import annotations

import time
from typing import Any

import pytest

from airflow_provider_fireworks import exceptions
from airflow_provider_fireworks.client import Deployment, api
from airflow_provider_fireworks.emulator import Emulator
from airflow_provider_fireworks.hooks.fireworks import FireworksHook
from tests.integration.clients import send_shared
from tests.integration.conftest import MODEL

DEPLOYMENT = "accounts/demo/deployments/d"
SPEC = {"baseModel": MODEL, "acceleratorType": "NVIDIA_H100_80GB"}


@pytest.fixture
def deployed(emulator: Emulator) -> Any:
    """The emulator with the deployment ``d``, before any other request."""
    emulator.configure(deploy_duration=0, scale_duration=0)
    FireworksHook().create_deployment("d", SPEC)
    emulator.clear()
    return emulator


# ---- create


def test_create_returns_the_deployment(emulator):
    created = FireworksHook().create_deployment("d", {**SPEC, "minReplicaCount": 0, "description": "mine"})
    assert (created.name, created.base_model, created.description) == (DEPLOYMENT, MODEL, "mine")
    assert emulator.deployments_left == [DEPLOYMENT]
    assert [each.deployment for each in emulator.creations] == ["d"]


def test_create_with_validate_only_creates_nothing(emulator):
    planned = FireworksHook().create_deployment("d", SPEC, validate_only=True)
    assert planned.name == DEPLOYMENT
    assert emulator.creations == []
    assert emulator.deployments == []


@pytest.mark.parametrize("fault", [{"kind": "drop"}, {"kind": "status", "status": 503}], ids=str)
def test_create_is_retried_only_if_it_cannot_have_created(emulator, fault):
    emulator.fault(**fault, method="POST", after_work=True)
    with pytest.raises(exceptions.ApiError):
        FireworksHook().create_deployment("d", SPEC)
    assert emulator.count("POST") == len(emulator.creations) == 1
    emulator.fault(**fault, method="POST")
    FireworksHook().create_deployment("e", SPEC, validate_only=True)
    emulator.fault("status", status=429, retry_after="0", method="POST")
    FireworksHook().create_deployment("e", SPEC)
    assert [each.deployment for each in emulator.creations] == ["d", "e"]


@pytest.mark.parametrize("status", [429, 400, 403])
def test_create_beyond_the_gpu_quota_is_not_retried(emulator, status):
    emulator.configure(gpu_quota=0, quota_status=status)
    with pytest.raises(exceptions.QuotaExceededError, match="in use: 0, quota: 0, requesting: 1"):
        FireworksHook().create_deployment("d", SPEC)
    assert emulator.count("POST") == 1
    assert emulator.creations == []


# ---- read


def test_get_accepts_id_and_full_name(deployed):
    hook = FireworksHook()
    assert hook.get_deployment("d") == hook.get_deployment(DEPLOYMENT)
    assert (hook.get_deployment("d").state, hook.get_deployment("d").ready_replicas) == ("READY", 1)
    with pytest.raises(exceptions.NotFoundError):
        hook.get_deployment("missing")


def test_list_reads_all_pages_and_deleted_ones_on_request(deployed):
    hook = FireworksHook()
    for number in range(205):
        hook.create_deployment(f"many-{number}", SPEC)
    hook.delete_deployment("d")
    deployed.clear()
    names = {each.name.rpartition("/")[2] for each in hook.list_deployments()}
    assert names == {f"many-{number}" for number in range(205)}
    assert deployed.count("GET", "/deployments") == 2
    states = {each.name: each.state for each in hook.list_deployments(show_deleted=True)}
    assert len(states) == 206
    assert states[DEPLOYMENT] == "DELETED"


def test_list_of_another_account(emulator):
    emulator.configure(accounts=["demo", "second"])
    FireworksHook(account_id="second").create_deployment("d", SPEC)
    assert FireworksHook().list_deployments() == []
    (found,) = FireworksHook().list_deployments(account_id="second")
    assert found.name == "accounts/second/deployments/d"


def test_list_sends_its_filter_unchanged(deployed):
    # The emulator refuses filters that it does not know.
    with pytest.raises(exceptions.RefusedError):
        FireworksHook().list_deployments(filter='state="READY"')
    assert deployed.requests[-1].query["filter"] == 'state="READY"'


@pytest.mark.parametrize("name", ["", "d", "accounts/other/deployments/d", MODEL, f"{DEPLOYMENT}?hard=true"])
def test_listed_name_rejects_all_but_full_names_of_its_account(emulator, name):
    hook = FireworksHook()
    assert str(hook.listed_name(Deployment(name=DEPLOYMENT))) == DEPLOYMENT
    if name == "d":
        assert str(hook.listed_name(Deployment(name=name))) == DEPLOYMENT
        return
    with pytest.raises(exceptions.ApiError, match="the list has an invalid entry"):
        hook.listed_name(Deployment(name=name))


# ---- update, scale, delete


def test_update_changes_the_given_fields_only(deployed):
    hook = FireworksHook()
    hook.update_deployment("d", description="mine", maxReplicaCount=3)
    updated = hook.update_deployment(DEPLOYMENT, displayName="shown")
    assert (updated.description, updated.max_replica_count, updated.display_name) == ("mine", 3, "shown")
    patches = [request for request in deployed.requests if request.method == "PATCH"]
    assert [patch.query for patch in patches] == [
        {"updateMask": "description,max_replica_count"},
        {"updateMask": "display_name"},
    ]
    assert patches[1].body == {"baseModel": MODEL, "displayName": "shown"}


def test_scale_changes_the_replica_count(deployed):
    assert FireworksHook().scale_deployment("d", 0) is None
    assert deployed.deployment("d")["replicaCount"] == 0
    FireworksHook().scale_deployment(DEPLOYMENT, 2)
    assert deployed.deployment("d")["replicaStats"]["readyReplicaCount"] == 2


def test_delete_can_be_undone_unless_hard(deployed):
    hook = FireworksHook()
    assert hook.delete_deployment("d") is None
    assert deployed.deployments_left == []
    assert hook.undelete_deployment("d").name == DEPLOYMENT
    assert deployed.deployments_left == [DEPLOYMENT]
    hook.delete_deployment(DEPLOYMENT, hard=True)
    assert deployed.deployments == []
    with pytest.raises(exceptions.NotFoundError):
        hook.undelete_deployment("d")


def test_delete_of_a_serving_deployment_needs_ignore_checks(deployed):
    hook = FireworksHook()
    hook.send(api.request_inference(f"{MODEL}#{DEPLOYMENT}"))
    with pytest.raises(exceptions.RefusedError, match="FAILED_PRECONDITION"):
        hook.delete_deployment("d")
    assert deployed.deployments_left == [DEPLOYMENT]
    hook.delete_deployment("d", ignore_checks=True)
    assert deployed.deployments_left == []


def test_quick_client_does_not_wait_for_a_slow_response(deployed):
    deployed.fault("hang", method="DELETE", delay=30)
    started = time.monotonic()
    hook = FireworksHook()
    request = api.delete_deployment(hook.deployment_name("d"))
    with pytest.raises(exceptions.NoResponseError, match=r"was not complete after 0\.2 s"):
        hook.quick_client(timeout=0.2).send(request, attempts=1)
    assert time.monotonic() - started < 2


# ---- shapes


@pytest.mark.parametrize("model", ["my-model", MODEL])
def test_match_deployment_shapes_returns_shapes_of_the_model(emulator, model):
    versions = FireworksHook().match_deployment_shapes(model)
    assert versions
    assert {version.snapshot.base_model for version in versions} == {MODEL}
    assert versions[0].snapshot.accelerator_type


@pytest.mark.parametrize("account_id", [None, "demo"])
def test_match_deployment_shapes_of_a_public_model(emulator, account_id):
    hook = FireworksHook(account_id=account_id)
    names = [version.name for version in hook.match_deployment_shapes("accounts/fireworks/models/yi-6b")]
    assert any(name.startswith("accounts/fireworks/deploymentShapes/yi-6b-minimal") for name in names)


# ---- names


def test_deployment_belongs_to_the_given_account(emulator, connect):
    hook, second = FireworksHook(), FireworksHook(account_id="second")
    assert str(hook.deployment_name("d")) == DEPLOYMENT
    assert str(second.deployment_name("d")) == "accounts/second/deployments/d"
    assert str(hook.deployment_name("accounts/other/deployments/d")) == "accounts/other/deployments/d"
    with pytest.raises(exceptions.FireworksInvalidArgument, match="belongs to account 'demo'"):
        second.deployment_name(DEPLOYMENT)
    connect(login="")
    assert emulator.requests == []
    assert str(FireworksHook().deployment_name("d")) == DEPLOYMENT
    assert emulator.count("GET", "/v1/accounts") == 1


@pytest.mark.parametrize("deployment", ["../x", "a/b", "x?y=1", "x#y", "x%2fy", "x y", "X", "", MODEL])
def test_invalid_deployment_is_not_sent(emulator, deployment):
    hook = FireworksHook()
    for method in (
        hook.get_deployment,
        hook.delete_deployment,
        hook.undelete_deployment,
        lambda name: hook.create_deployment(name, SPEC),
        lambda name: hook.update_deployment(name, description="x"),
        lambda name: hook.scale_deployment(name, 0),
    ):
        with pytest.raises(exceptions.FireworksInvalidArgument):
            method(deployment)
    assert emulator.requests == []


# ---- the triggerer


async def test_shared_client_reads_and_scales_the_same_deployment(deployed):
    hook = FireworksHook()
    name = hook.deployment_name("d")
    assert await send_shared(api.get_deployment(name)) == hook.get_deployment("d")
    assert await send_shared(api.scale_deployment(name, 0)) is None
    assert deployed.deployment("d")["replicaCount"] == 0
