"""The deployment trigger as a triggerer runs it. Its ``on_kill`` is tested in ``on_kill/test_killed_trigger.py``."""

from __future__ import annotations

import asyncio
import json
import time
from typing import Any

import pytest

from airflow_provider_fireworks.hooks.fireworks import FireworksHook
from airflow_provider_fireworks.triggers.deployment import FireworksDeploymentReadyTrigger
from airflow_provider_fireworks.triggers.model import FireworksModelReadyTrigger
from tests.integration.conftest import MODEL, fire
from tests.integration.creating import H100, fault_id
from tests.integration.sensing import TRANSIENT_FAULTS
from tests.integration.triggering import (
    UNUSABLE_CONNECTIONS,
    cancel,
    event_of,
    record_clients,
    set_connection,
)

TRIGGER = "airflow_provider_fireworks.triggers.deployment.FireworksDeploymentReadyTrigger"
NAME = "accounts/demo/deployments/d"
CHAT = "/inference/v1/chat/completions"
SIGNATURE = "signed by this task"


@pytest.fixture
def deployed(emulator: Any) -> Any:
    """The emulator with the deployment ``d``, CREATING for half a second, and nothing recorded yet."""
    emulator.configure(deploy_duration=0.5, scale_duration=0.2)
    spec = {"baseModel": MODEL, "acceleratorType": H100, "description": SIGNATURE}
    FireworksHook().create_deployment("d", spec)
    emulator.clear()
    return emulator


def arguments(owner_signature: str | None = None, **wait: Any) -> dict[str, Any]:
    wait = {"deployment": NAME, "deadline": time.time() + 10, "poll_interval": 0.1} | wait
    return {
        "fireworks_conn_id": "fireworks_default",
        "wait": wait,
        "resume_state": {"kept": [1]},
        "owner_signature": owner_signature,
    }


def test_trigger_serializes_its_arguments():
    kwargs = arguments(SIGNATURE, until="inference", known=True, replica_count=2)
    path, stored = FireworksDeploymentReadyTrigger(**kwargs).serialize()
    assert path == TRIGGER
    assert json.loads(json.dumps(stored)) == kwargs


ENDINGS = {
    # (what happens, fields of the wait, seconds until the deadline, outcome, words of the reason)
    "ready": (None, {}, 10, "ready", "READY"),
    "enough replicas": (None, {"replica_count": 1}, 10, "ready", "1 ready"),
    "too few replicas": (None, {"replica_count": 2}, 1.5, "timeout", "not with 2 yet"),
    "FAILED": (lambda emulator: emulator.set_deployment("d", state="FAILED"), {}, 10, "failed", "FAILED"),
    "DELETED": (lambda emulator: emulator.set_deployment("d", state="DELETED"), {}, 10, "failed", "DELETED"),
    "vanished": (lambda emulator: emulator.remove_deployment("d"), {"known": True}, 10, "failed", "deleted"),
    "not found": (lambda emulator: emulator.remove_deployment("d"), {}, 10, "not_found", "404"),
    "key revoked": (lambda emulator: emulator.revoke_key(), {}, 10, "access_denied", "API key"),
    "unreachable": (lambda emulator: emulator.stop(), {}, 0.5, "timeout", "cannot be reached"),
}


@pytest.mark.parametrize(("happen", "wait", "seconds", "outcome", "words"), ENDINGS.values(), ids=ENDINGS)
def test_wait_for_deployment_ends(deployed, happen, wait, seconds, outcome, words):
    if happen:
        happen(deployed)
    event = fire(TRIGGER, arguments(**wait, deadline=time.time() + seconds))
    assert event["verdict"]["outcome"] == outcome
    assert words in event["verdict"]["reason"]
    assert event["resume_state"] == {"kept": [1]}
    assert deployed.api_key not in repr(event)


def test_restarted_trigger_keeps_that_deployment_is_known(deployed):
    kwargs = arguments(known=True, deadline=time.time() + 5)

    async def restart() -> dict[str, Any]:
        trigger = FireworksDeploymentReadyTrigger(**kwargs)
        await cancel(trigger, after=0.25)
        _, stored = trigger.serialize()
        assert stored == kwargs
        deployed.remove_deployment("d")
        return await event_of(FireworksDeploymentReadyTrigger(**stored))

    assert asyncio.run(restart())["verdict"]["outcome"] == "failed"


def test_trigger_only_reads(deployed):
    fire(TRIGGER, arguments(SIGNATURE))
    assert {request.method for request in deployed.requests} == {"GET"}


def test_cancelled_trigger_deletes_nothing(deployed):
    async def run_and_cancel() -> None:
        trigger = FireworksDeploymentReadyTrigger(**arguments(SIGNATURE, poll_interval=60))
        await cancel(trigger, after=0.1)
        await trigger.cleanup()

    asyncio.run(run_and_cancel())
    assert deployed.deployments_left == [NAME]


def test_inference_is_requested_once_deployment_is_ready(deployed):
    deployed.configure(serving_lag=0.4)
    event = fire(TRIGGER, arguments(until="inference"))
    assert (event["verdict"]["outcome"], event["verdict"]["reason"]) == ("ready", "inference answers")
    statuses = [request.status for request in deployed.requests if request.path == CHAT]
    assert set(statuses[:-1]) == {404}
    assert statuses[-1] == 200
    assert deployed.requests[0].method == "GET"
    assert {request.path for request in deployed.requests} == {CHAT, f"/v1/{NAME}"}


def test_inference_request_wakes_deployment_scaled_to_zero(deployed):
    deployed.set_deployment("d", state="READY")
    FireworksHook().scale_deployment("d", 0)
    event = fire(TRIGGER, arguments(until="inference"))
    assert event["verdict"]["outcome"] == "ready"
    assert deployed.deployment("d")["replicaCount"] == 1


@pytest.mark.parametrize("fault", TRANSIENT_FAULTS, ids=fault_id)
def test_trigger_waits_out_transient_errors(deployed, fault):
    deployed.fault(**fault, times=3)
    event = fire(TRIGGER, arguments(until="inference"))
    assert event["verdict"]["outcome"] == "ready"


def test_triggers_of_both_kinds_share_one_client(deployed, monkeypatch):
    clients = record_clients(monkeypatch)
    for_model = {"model": MODEL, "precision": "FP16", "deadline": time.time() + 10, "poll_interval": 0.1}

    async def run_all() -> list[Any]:
        triggers = [FireworksDeploymentReadyTrigger(**arguments()) for _ in range(20)]
        others = [
            FireworksModelReadyTrigger(fireworks_conn_id="fireworks_default", wait=for_model)
            for _ in range(5)
        ]
        return await asyncio.gather(*map(event_of, [*triggers, *others]))

    assert {event["verdict"]["outcome"] for event in asyncio.run(run_all())} == {"ready"}
    assert [client.is_closed for client in clients] == [True]


@pytest.mark.parametrize("connection", UNUSABLE_CONNECTIONS.values(), ids=UNUSABLE_CONNECTIONS)
def test_unusable_connection_ends_wait(deployed, monkeypatch, connection):
    set_connection(monkeypatch, connection)
    event = fire(TRIGGER, arguments())
    assert event["verdict"]["outcome"] == "bad_connection"
