"""The vendor's own SDK as the client: it was not written by us, and knows nothing of this emulator."""

from __future__ import annotations

import asyncio
import time

import fireworks
import pytest
from fireworks import AsyncFireworks, Fireworks


@pytest.fixture
def sdk(gateway):
    with Fireworks(
        api_key=gateway.api_key, account_id=gateway.account_id, base_url=gateway.url, max_retries=0
    ) as client:
        yield client


@pytest.fixture
async def async_sdk(gateway):
    async with AsyncFireworks(
        api_key=gateway.api_key, account_id=gateway.account_id, base_url=gateway.url, max_retries=0
    ) as client:
        yield client


def test_list_follows_the_pages(sdk, gateway):
    for number in range(7):
        gateway.add_model(f"extra-{number}")
    names = [model.name for model in sdk.models.list(page_size=3)]
    assert names == sorted(model["name"] for model in gateway.models if "/demo/" in model["name"])
    assert gateway.count("GET", "/models") == 4


def test_get_prepare_get(sdk):
    before = sdk.models.get("my-model")
    assert (before.state, before.supported_precisions) == ("READY", ["FP16"])
    assert before.base_model_details.parameter_count == "6000000000"
    assert before.update_time.tzinfo is not None
    sdk.models.prepare("my-model", precision="FP8")
    assert sdk.models.get("my-model").state == "PREPARING"
    time.sleep(0.55)
    after = sdk.models.get("my-model", read_mask="*")
    assert (after.state, after.supported_precisions, after.calibrated) == ("READY", ["FP16", "FP8"], True)
    assert after.update_time > before.update_time


def test_create_update_delete(sdk):
    created = sdk.models.create(
        model_id="new",
        model={
            "kind": "HF_BASE_MODEL",
            "display_name": "New",
            "base_model_details": {
                "checkpoint_format": "HUGGINGFACE",
                "world_size": 2,
                "parameter_count": "7",
            },
        },
    )
    assert (created.name, created.base_model_details.world_size) == ("accounts/demo/models/new", 2)
    assert sdk.models.update("new", display_name="Newer").display_name == "Newer"
    with pytest.raises(fireworks.ConflictError):
        sdk.models.create(model_id="new", model={"kind": "CUSTOM_MODEL"})
    sdk.models.delete("new")
    with pytest.raises(fireworks.NotFoundError):
        sdk.models.get("new")


def test_accounts(sdk):
    assert [account.name for account in sdk.accounts.list()] == ["accounts/demo"]
    assert sdk.accounts.get().state == "READY"


@pytest.mark.parametrize(
    ("ask", "error"),
    [
        (lambda sdk: sdk.models.get("none"), "NotFoundError"),
        (lambda sdk: sdk.models.prepare("my-model", precision="FP99"), "BadRequestError"),
        (lambda sdk: sdk.models.prepare("my-addon", precision="FP8"), "BadRequestError"),
        (
            lambda sdk: sdk.models.prepare("yi-6b", account_id="fireworks", precision="FP8"),
            "PermissionDeniedError",
        ),
        (lambda sdk: sdk.with_options(api_key="wrong").models.get("my-model"), "PermissionDeniedError"),
    ],
)
def test_refusals_are_the_errors_that_it_has_for_them(sdk, ask, error):
    with pytest.raises(getattr(fireworks, error)):
        ask(sdk)


def test_its_retries_get_through_faults(sdk, gateway):
    gateway.fault("status", status=429, retry_after="0.01")
    gateway.fault("drop")
    assert sdk.with_options(max_retries=2).models.get("my-model").state == "READY"
    assert gateway.count("GET") == 3


async def test_the_async_client(async_sdk, gateway):
    names = [model.name async for model in async_sdk.models.list(page_size=2)]
    assert len(names) == 4
    await async_sdk.models.prepare("my-model", precision="FP4")
    assert (await async_sdk.models.get("my-model")).state == "PREPARING"
    await asyncio.sleep(0.55)
    assert (await async_sdk.models.get("my-model")).supported_precisions == ["FP16", "FP4"]
    await async_sdk.models.create(model_id="new", model={"kind": "CUSTOM_MODEL"})
    await async_sdk.models.delete("new")
    with pytest.raises(fireworks.NotFoundError):
        await async_sdk.models.get("new")


MODEL = "accounts/demo/models/my-model"
TARGET = f"{MODEL}#accounts/demo/deployments/d"


def test_a_deployment_from_its_creation_to_its_end(sdk, gateway):
    [shape, *_] = sdk.deployment_shape_versions.match_for_model(MODEL).deployment_shape_versions
    assert (shape.latest_validated, shape.snapshot.accelerator_type) == (True, "NVIDIA_H100_80GB")
    how = {
        "base_model": MODEL,
        "deployment_id": "d",
        "deployment_shape": shape.snapshot.name,
        "display_name": "Mine",
        "min_replica_count": 0,
        "max_replica_count": 2,
        "autoscaling_policy": {"scale_to_zero_window": "600s"},
        "placement": {"multi_region": "EUROPE"},
    }
    checked = sdk.deployments.create(**how, validate_only=True)
    assert (checked.name, gateway.deployments) == ("accounts/demo/deployments/d", [])
    created = sdk.deployments.create(**how)
    assert (created.state, created.deployment_shape) == ("CREATING", shape.name)
    with pytest.raises(fireworks.ConflictError):
        sdk.deployments.create(**how)
    inference = sdk.with_options(base_url=f"{gateway.url}/inference")
    messages = [{"role": "user", "content": "How do you do?"}]
    with pytest.raises(fireworks.NotFoundError, match="not deployed"):
        inference.chat.completions.create(model=TARGET, messages=messages)
    time.sleep(0.35)
    ready = sdk.deployments.get("d")
    assert (ready.state, ready.replica_stats.ready_replica_count, ready.replica_count) == ("READY", 1, 1)
    assert ready.autoscaling_policy.scale_to_zero_window == "600s"
    assert inference.chat.completions.create(model=TARGET, messages=messages).usage.prompt_tokens == 4
    sdk.deployments.scale("d", replica_count=2)
    assert sdk.deployments.get("d").desired_replica_count == 2
    renamed = sdk.deployments.update("d", base_model=MODEL, display_name="Yours", max_replica_count=2)
    assert (renamed.display_name, renamed.autoscaling_policy) == ("Yours", None)
    with pytest.raises(fireworks.BadRequestError, match="served"):
        sdk.deployments.delete("d")
    sdk.deployments.delete("d", ignore_checks=True)
    assert list(sdk.deployments.list()) == []
    assert [found.state for found in sdk.deployments.list(show_deleted=True)] == ["DELETED"]
    assert sdk.deployments.undelete("d", body={}).state == "CREATING"
    sdk.deployments.delete("d", hard=True)
    with pytest.raises(fireworks.NotFoundError):
        sdk.deployments.get("d")
    assert (gateway.deployments_left, len(gateway.creations)) == ([], 1)
    assert gateway.gpu_seconds > 0


def test_without_a_shape_and_its_list_of_them(sdk, gateway):
    gateway.configure(gpu_quota=8)
    how = {"base_model": MODEL, "accelerator_type": "NVIDIA_H200_141GB", "accept_shapeless_risk": True}
    for number in range(3):
        sdk.deployments.create(**how, deployment_id=f"d-{number}", accelerator_count=2, enable_mtp=True)
    with pytest.raises(fireworks.RateLimitError, match="global--h200-count for account demo, in use: 6"):
        sdk.deployments.create(**how, accelerator_count=4)
    names = [deployment.name for deployment in sdk.deployments.list(page_size=2)]
    assert names == gateway.deployments_left
    assert len(names) == 3
    assert sdk.deployments.get("d-0").enable_mtp is True
    with pytest.raises(fireworks.BadRequestError, match="not prepared"):
        sdk.deployments.create(**how, precision="FP8")
    versions = list(sdk.deployment_shape_versions.list("-", account_id="-", page_size=2))
    assert len(versions) == 5
    assert sdk.deployment_shape_versions.get("v2", deployment_shape_id="my-shape").snapshot.precision == "FP8"


async def test_a_deployment_with_the_async_client(async_sdk, gateway):
    match = await async_sdk.deployment_shape_versions.match_for_model(MODEL, enable_addons=True)
    assert len(match.deployment_shape_versions) == 1
    await async_sdk.deployments.create(base_model=MODEL, deployment_id="d", deployment_shape="default")
    await asyncio.sleep(0.35)
    assert (await async_sdk.deployments.get("d")).state == "READY"
    await async_sdk.deployments.scale("d", replica_count=0)
    await asyncio.sleep(0.25)
    assert (await async_sdk.deployments.get("d", read_mask="replicaCount")).replica_count == 0
    inference = async_sdk.with_options(base_url=f"{gateway.url}/inference")
    with pytest.raises(fireworks.InternalServerError, match="DEPLOYMENT_SCALING_UP"):
        await inference.chat.completions.create(model=TARGET, messages=[{"role": "user", "content": "Hi"}])
    await async_sdk.deployments.delete("d")
    assert (await async_sdk.deployments.undelete("d", body={})).state == "CREATING"
    await async_sdk.deployments.delete("d", hard=True)
    assert [found.name async for found in async_sdk.deployments.list(show_deleted=True)] == []
