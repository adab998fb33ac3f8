"""The official SDK as a client, sync and async: it was written without knowledge of the emulator."""

from __future__ import annotations

import asyncio
import inspect
import time
from collections.abc import Callable
from typing import Any

import fireworks
import httpx
import pytest
from fireworks import AsyncFireworks, Fireworks

MODEL = "accounts/demo/models/my-model"
MESSAGES = [{"role": "user", "content": "How are you today?"}]


@pytest.fixture(params=[Fireworks, AsyncFireworks], ids=["sync", "async"])
async def sdk(request, emulator):
    client = request.param(
        api_key=emulator.api_key, account_id=emulator.account_id, base_url=emulator.url, max_retries=0
    )
    yield client
    await result(client.close())


async def result(value: Any) -> Any:
    """Return the result of either client."""
    return await value if inspect.isawaitable(value) else value


async def all_items(pages: Any) -> list[Any]:
    """Return the items of all pages of a list."""
    return [item async for item in pages] if hasattr(pages, "__aiter__") else list(pages)


async def becomes(read: Callable[[], Any], state: str) -> Any:
    """Read a resource until it reaches a state, and return it."""
    deadline = time.monotonic() + 20
    while (resource := await result(read())).state != state:
        assert time.monotonic() < deadline, resource
        await asyncio.sleep(0.05)
    return resource


async def upload(sdk: Any, model: str) -> None:
    """Upload a checkpoint, with an HTTP client beside the SDK, and validate it."""
    content = b"{}"
    endpoint = await result(
        sdk.models.get_upload_endpoint(model, filename_to_size={"config.json": len(content)})
    )
    size = {"x-goog-content-length-range": f"{len(content)},{len(content)}"}
    headers = {"Content-Type": "application/octet-stream", **size}
    async with httpx.AsyncClient(trust_env=False) as store:
        sent = await store.put(
            endpoint.filename_to_signed_urls["config.json"], content=content, headers=headers
        )
    assert sent.status_code == 200, sent.text
    deadline = time.monotonic() + 20
    while True:
        try:
            validated = await result(sdk.models.validate_upload(model, config_only=True))
        except fireworks.BadRequestError:
            assert time.monotonic() < deadline
            await asyncio.sleep(0.05)
        else:
            assert validated.warnings == []
            return


async def test_sdk_walks_through_a_model_and_its_deployment(sdk, emulator):
    emulator.configure(validation_duration=1, duration=1, deploy_duration=1)
    new = await result(
        sdk.models.create(
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
    )
    assert (new.name, new.state, new.base_model_details.world_size) == (
        "accounts/demo/models/new",
        "UPLOADING",
        2,
    )
    with pytest.raises(fireworks.BadRequestError, match="being uploaded"):
        await result(sdk.models.prepare("new", precision="FP8"))
    await upload(sdk, "new")
    assert (await result(sdk.models.get("new"))).state == "READY"

    await result(sdk.models.prepare("new", precision="FP8"))
    assert (await result(sdk.models.get("new"))).state == "PREPARING"
    how = {
        "base_model": new.name,
        "deployment_id": "d",
        "precision": "FP8",
        "accelerator_type": "NVIDIA_H100_80GB",
        "accept_shapeless_risk": True,
        "min_replica_count": 0,
        "max_replica_count": 2,
    }
    with pytest.raises(fireworks.BadRequestError, match="not prepared for precision FP8"):
        await result(sdk.deployments.create(**how))
    ready = await becomes(lambda: sdk.models.get("new"), "READY")
    assert (ready.supported_precisions, ready.calibrated) == (None, True)
    emulator.configure(precision_lists="present")
    assert (await result(sdk.models.get("new"))).supported_precisions == ["FP16", "FP8"]
    emulator.configure(precision_lists="absent")

    created = await result(sdk.deployments.create(**how))
    assert (created.state, created.precision, created.accelerator_count) == ("CREATING", "FP8", 2)
    inference = sdk.with_options(base_url=f"{emulator.url}/inference")
    chat = {"model": f"{new.name}#{created.name}", "messages": MESSAGES}
    with pytest.raises(fireworks.NotFoundError, match="not deployed"):
        await result(inference.chat.completions.create(**chat))
    up = await becomes(lambda: sdk.deployments.get("d"), "READY")
    assert (up.replica_stats.ready_replica_count, up.replica_count) == (1, 1)
    assert (await result(inference.chat.completions.create(**chat))).usage.prompt_tokens == 4

    await result(sdk.deployments.scale("d", replica_count=2))
    assert (await becomes(lambda: sdk.deployments.get("d"), "READY")).replica_stats.ready_replica_count == 2
    await result(sdk.deployments.scale("d", replica_count=0))
    assert (await becomes(lambda: sdk.deployments.get("d"), "READY")).replica_count == 0
    with pytest.raises(fireworks.InternalServerError, match="DEPLOYMENT_SCALING_UP"):
        await result(inference.chat.completions.create(**chat))

    with pytest.raises(fireworks.BadRequestError, match="served"):
        await result(sdk.deployments.delete("d"))
    await result(sdk.deployments.delete("d", ignore_checks=True))
    assert await all_items(sdk.deployments.list()) == []
    assert [found.state for found in await all_items(sdk.deployments.list(show_deleted=True))] == ["DELETED"]
    await result(sdk.models.delete("new"))
    with pytest.raises(fireworks.NotFoundError):
        await result(sdk.models.get("new"))
    assert ([p.precision for p in emulator.preparations], len(emulator.creations)) == (["FP8"], 1)
    assert emulator.deployments_left == []
    assert emulator.gpu_seconds > 0


async def test_sdk_lists_all_pages(sdk, emulator):
    for number in range(7):
        emulator.add_model(f"extra-{number}")
    names = [model.name for model in await all_items(sdk.models.list(page_size=3))]
    assert names == sorted(model["name"] for model in emulator.models if "/demo/" in model["name"])
    assert emulator.count("GET", "/models") == 4


async def test_sdk_reads_the_initial_model_and_account(sdk, emulator):
    emulator.configure(precision_lists="present")
    before = await result(sdk.models.get("my-model", read_mask="*"))
    assert (before.state, before.supported_precisions) == ("READY", ["FP16"])
    assert before.base_model_details.parameter_count == "6000000000"
    assert before.update_time.tzinfo is not None
    assert [account.name for account in await all_items(sdk.accounts.list())] == ["accounts/demo"]
    assert (await result(sdk.accounts.get())).state == "READY"


async def test_sdk_updates_a_model_and_gets_a_conflict(sdk):
    before = await result(sdk.models.get("my-model"))
    after = await result(sdk.models.update("my-model", display_name="Newer"))
    assert after.display_name == "Newer"
    assert after.update_time > before.update_time
    with pytest.raises(fireworks.ConflictError):
        await result(sdk.models.create(model_id="my-model", model={"kind": "CUSTOM_MODEL"}))


@pytest.mark.parametrize(
    ("send", "error"),
    [
        (lambda sdk: sdk.models.get("none"), "NotFoundError"),
        (lambda sdk: sdk.models.prepare("my-model", precision="FP99"), "BadRequestError"),
        (lambda sdk: sdk.models.prepare("my-addon", precision="FP8"), "BadRequestError"),
        (
            lambda sdk: sdk.models.prepare("yi-6b", account_id="fireworks", precision="FP8"),
            "PermissionDeniedError",
        ),
        (lambda sdk: sdk.with_options(api_key="wrong").models.get("my-model"), "PermissionDeniedError"),
        (lambda sdk: sdk.models.get_upload_endpoint("my-model", filename_to_size={}), "BadRequestError"),
        (lambda sdk: sdk.models.validate_upload("my-uploading-model"), "BadRequestError"),
    ],
)
async def test_sdk_raises_its_error_for_a_refusal(sdk, send, error):
    with pytest.raises(getattr(fireworks, error)):
        await result(send(sdk))


async def test_sdk_retries_get_through_faults(sdk, emulator):
    emulator.fault("status", status=429, retry_after="0.01")
    emulator.fault("drop")
    assert (await result(sdk.with_options(max_retries=2).models.get("my-model"))).state == "READY"
    assert emulator.count("GET") == 3


async def test_sdk_creates_updates_and_undeletes_with_a_shape(sdk, emulator):
    match = await result(sdk.deployment_shape_versions.match_for_model(MODEL, enable_addons=True))
    [shape] = match.deployment_shape_versions
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
    checked = await result(sdk.deployments.create(**how, validate_only=True))
    assert (checked.name, emulator.deployments) == ("accounts/demo/deployments/d", [])
    created = await result(sdk.deployments.create(**how))
    assert (created.state, created.deployment_shape) == ("CREATING", shape.name)
    with pytest.raises(fireworks.ConflictError):
        await result(sdk.deployments.create(**how))
    ready = await becomes(lambda: sdk.deployments.get("d"), "READY")
    assert ready.autoscaling_policy.scale_to_zero_window == "600s"
    renamed = await result(
        sdk.deployments.update("d", base_model=MODEL, display_name="Yours", max_replica_count=2)
    )
    assert (renamed.display_name, renamed.autoscaling_policy) == ("Yours", None)
    masked = await result(sdk.deployments.get("d", read_mask="displayName"))
    assert (masked.display_name, masked.state) == ("Yours", None)
    await result(sdk.deployments.delete("d"))
    assert (await result(sdk.deployments.undelete("d", body={}))).state == "CREATING"
    await result(sdk.deployments.delete("d", hard=True))
    with pytest.raises(fireworks.NotFoundError):
        await result(sdk.deployments.get("d"))
    assert await all_items(sdk.deployments.list(show_deleted=True)) == []
    assert (emulator.deployments_left, len(emulator.creations)) == ([], 1)


async def test_sdk_lists_deployments_and_shape_versions(sdk, emulator):
    emulator.configure(gpu_quota=8)
    how = {"base_model": MODEL, "accelerator_type": "NVIDIA_H200_141GB", "accept_shapeless_risk": True}
    for number in range(3):
        await result(
            sdk.deployments.create(**how, deployment_id=f"d-{number}", accelerator_count=2, enable_mtp=True)
        )
    with pytest.raises(fireworks.RateLimitError, match="global--h200-count for account demo, in use: 6"):
        await result(sdk.deployments.create(**how, accelerator_count=4))
    names = [deployment.name for deployment in await all_items(sdk.deployments.list(page_size=2))]
    assert names == emulator.deployments_left
    assert len(names) == 3
    assert (await result(sdk.deployments.get("d-0"))).enable_mtp is True
    versions = await all_items(sdk.deployment_shape_versions.list("-", account_id="-", page_size=2))
    assert len(versions) == 5
    version = await result(sdk.deployment_shape_versions.get("v2", deployment_shape_id="my-shape"))
    assert version.snapshot.precision == "FP8"
