"""The hook's requests about routers, against an emulated API."""

from __future__ import annotations

from typing import Any

import pytest

from airflow_provider_fireworks import exceptions
from airflow_provider_fireworks.client import NotFoundError, RefusedError
from airflow_provider_fireworks.hooks.fireworks import FireworksHook
from tests.integration.conftest import MODEL

ROUTER = "accounts/demo/routers/r"
D, E = "accounts/demo/deployments/d", "accounts/demo/deployments/e"


@pytest.fixture
def deployed(emulator: Any) -> Any:
    """The emulator with the deployments ``d`` and ``e``, before any other request."""
    emulator.configure(deploy_duration=0, router_duration=0)
    for name in "de":
        FireworksHook().create_deployment(name, {"baseModel": MODEL, "acceleratorType": "NVIDIA_H100_80GB"})
    emulator.clear()
    return emulator


def test_hook_creates_reads_updates_and_deletes_a_router(deployed):
    hook = FireworksHook()
    created = hook.create_router("r", {"deployments": [D], "evenLoad": {}})
    assert (created.name, created.state, created.strategy) == (ROUTER, "READY", "evenLoad")
    assert hook.get_router(ROUTER) == created
    updated = hook.update_router("r", deployments=[E], displayName="x")
    assert (updated.deployments, updated.display_name, updated.strategy) == ([E], "x", "evenLoad")
    assert deployed.requests[-1].query == {"updateMask": "deployments,display_name"}
    assert hook.list_routers() == [updated]
    hook.delete_router("r")
    assert hook.list_routers(account_id="demo") == []
    with pytest.raises(NotFoundError):
        hook.get_router("r")


def test_router_that_exists_is_not_created_again(deployed):
    hook = FireworksHook()
    hook.create_router("r", {"deployments": [D]})
    with pytest.raises(RefusedError, match="already exists") as refused:
        hook.create_router("r", {"deployments": [E]})
    assert refused.value.status == 409
    assert hook.get_router("r").deployments == [D]


@pytest.mark.parametrize("router", ["../x", "a/b", "x?y=1", "x#y", "x%2fy", "x y", "X", "", D])
def test_invalid_router_is_not_sent(emulator, router):
    hook = FireworksHook()
    for method in (
        hook.get_router,
        hook.delete_router,
        lambda name: hook.create_router(name, {"deployments": [D]}),
        lambda name: hook.update_router(name, displayName="x"),
    ):
        with pytest.raises(exceptions.FireworksInvalidArgument):
            method(router)
    assert emulator.requests == []
