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
