"""The model trigger as a triggerer runs it: many on one event loop, restarted, with a replaced API key."""

from __future__ import annotations

import asyncio
import json
import threading
import time
from typing import Any

import pytest
from asgiref.sync import async_to_sync

from airflow_provider_fireworks.client.config import ClientConfig
from airflow_provider_fireworks.hooks.fireworks import FireworksHook
from airflow_provider_fireworks.triggers.model import FireworksModelReadyTrigger
from tests.integration.conftest import MODEL, fire
from tests.integration.triggering import (
    UNUSABLE_CONNECTIONS,
    cancel,
    event_of,
    record_clients,
    record_reads,
    set_connection,
)
from tests.timing import use_timing

TRIGGER = "airflow_provider_fireworks.triggers.model.FireworksModelReadyTrigger"


def arguments(precision: str = "FP8", **wait: Any) -> dict[str, Any]:
    wait = {
        "model": MODEL,
        "precision": precision,
        "deadline": time.time() + 10,
        "poll_interval": 0.1,
    } | wait
    return {"fireworks_conn_id": "fireworks_default", "wait": wait, "resume_state": {"kept": [1]}}


def make_trigger(precision: str = "FP8", **wait: Any) -> FireworksModelReadyTrigger:
    return FireworksModelReadyTrigger(**arguments(precision, **wait))


def test_trigger_serializes_its_arguments():
    kwargs = arguments()
    path, stored = FireworksModelReadyTrigger(**kwargs).serialize()
    assert path == TRIGGER
    assert json.loads(json.dumps(stored)) == kwargs


def test_event_brings_back_wait_and_resume_state(emulator):
    kwargs = arguments("FP16")
    event = fire(TRIGGER, kwargs)
    assert event["verdict"]["outcome"] == "ready"
    assert event["wait"] == kwargs["wait"]
    assert event["resume_state"] == kwargs["resume_state"]


def test_restarted_trigger_keeps_deadline_and_baseline(emulator):
    emulator.configure(precision_lists="absent", duration=0.5)
    before = {"state": "READY", "calibrated": False, "posted": "accepted", "posted_at": time.time()}
    kwargs = arguments(baseline=before, deadline=time.time() + 5)

    async def restart() -> dict[str, Any]:
        trigger = FireworksModelReadyTrigger(**kwargs)
        await cancel(trigger, after=0.3)
        _, stored = trigger.serialize()
        assert stored == kwargs
        emulator.set_model("my-model", calibrated=True, state="READY")
        return await event_of(FireworksModelReadyTrigger(**stored))

    verdict = asyncio.run(restart())["verdict"]
    assert (verdict["outcome"], verdict["inferred"]) == ("ready", True)


def test_trigger_only_reads(emulator):
    emulator.set_model("my-model", state="UPLOADING")
    fire(TRIGGER, arguments(deadline=time.time() + 0.5))
    assert len(emulator.requests) > 1
    assert {request.method for request in emulator.requests} == {"GET"}


def test_trigger_sleeps_before_first_poll_but_not_beyond_deadline(emulator):
    emulator.set_model("my-model", state="UPLOADING")
    started = time.time()
    event = fire(TRIGGER, arguments(poll_interval=60, deadline=started + 0.5))
    assert event["verdict"]["outcome"] == "timeout"
    assert time.time() - started < 2
    assert [request.at - started >= 0.4 for request in emulator.requests] == [True]


def test_triggers_of_one_loop_share_client_and_connection(emulator, monkeypatch):
    emulator.set_model("my-model", state="UPLOADING")
    clients, reads = record_clients(monkeypatch), record_reads(monkeypatch)

    async def run_all() -> list[Any]:
        triggers = [make_trigger(deadline=time.time() + 0.6) for _ in range(50)]
        return await asyncio.gather(*map(event_of, triggers))

    assert {event["verdict"]["outcome"] for event in asyncio.run(run_all())} == {"timeout"}
    assert [client.is_closed for client in clients] == [True]
    assert reads == ["fireworks_default"]


# ---- the connection


@pytest.mark.parametrize("conn_id", ["fireworks_default", None])
def test_connection_is_read_over_loop_of_trigger(emulator, monkeypatch, conn_id):
    """In Airflow 3.0 and 3.1 the triggerer asks its supervisor on the event loop."""
    make, loops = ClientConfig.make, []

    async def add_loop() -> None:
        loops.append(asyncio.get_running_loop())

    def recording_make(**fields: Any) -> ClientConfig:
        async_to_sync(add_loop)()
        return make(**fields)

    monkeypatch.setattr(ClientConfig, "make", recording_make)
    monkeypatch.setenv("FIREWORKS_API_KEY", emulator.api_key)
    monkeypatch.setenv("FIREWORKS_BASE_URL", emulator.url)

    async def run() -> dict[str, Any]:
        await add_loop()
        kwargs = arguments("FP16") | {"fireworks_conn_id": conn_id}
        return await event_of(FireworksModelReadyTrigger(**kwargs))

    assert asyncio.run(run())["verdict"]["outcome"] == "ready"
    assert len(loops) == 2
    assert loops[0] is loops[1]


def test_trigger_cancelled_while_connection_is_read_keeps_reason(emulator, monkeypatch):
    """Airflow decides by the message of a cancellation whether to call ``on_kill``."""
    reading, get_connection = threading.Event(), FireworksHook.get_connection

    def slow_get_connection(conn_id: str) -> Any:
        reading.set()
        time.sleep(1)
        return get_connection(conn_id)

    monkeypatch.setattr(FireworksHook, "get_connection", staticmethod(slow_get_connection))

    async def run_and_cancel() -> Any:
        # Caught inside the task, as Airflow does: before Python 3.11, awaiting a cancelled task loses the message.
        async def run() -> Any:
            with pytest.raises(asyncio.CancelledError) as cancellation:
                await event_of(make_trigger())
            return cancellation.value.args

        task = asyncio.create_task(run())
        await asyncio.to_thread(reading.wait, 10)
        task.cancel("why")
        return await task

    assert asyncio.run(run_and_cancel()) == ("why",)


def test_replaced_key_ends_no_wait(emulator, monkeypatch):
    emulator.set_model("my-model", state="UPLOADING")

    async def run() -> dict[str, Any]:
        running = asyncio.create_task(event_of(make_trigger("FP16")))
        await asyncio.sleep(0.3)
        emulator.api_key = "fw_replaced"
        monkeypatch.setenv("AIRFLOW_CONN_FIREWORKS_DEFAULT", emulator.connection)
        await asyncio.sleep(0.3)
        emulator.set_model("my-model", state="READY")
        return await running

    assert asyncio.run(run())["verdict"]["outcome"] == "ready"


def test_connection_unreadable_for_a_while_ends_no_wait(emulator, monkeypatch):
    use_timing(monkeypatch, connection_ttl=0.0)
    reads = record_reads(monkeypatch)
    emulator.set_model("my-model", state="UPLOADING")

    async def run() -> dict[str, Any]:
        running = asyncio.create_task(event_of(make_trigger("FP16")))
        await asyncio.sleep(0.3)
        set_connection(monkeypatch, None)
        before = len(reads)
        await asyncio.sleep(0.5)
        assert len(reads) > before
        emulator.set_model("my-model", state="READY")
        return await running

    assert asyncio.run(run())["verdict"]["outcome"] == "ready"


@pytest.mark.parametrize("connection", UNUSABLE_CONNECTIONS.values(), ids=UNUSABLE_CONNECTIONS)
def test_unusable_connection_ends_wait(emulator, monkeypatch, connection):
    set_connection(monkeypatch, connection)
    event = fire(TRIGGER, arguments())
    assert event["verdict"]["outcome"] == "bad_connection"
    assert "fireworks_default" in event["verdict"]["reason"]


def test_trigger_without_connection_id_reads_environment(emulator, monkeypatch):
    monkeypatch.setenv("FIREWORKS_API_KEY", emulator.api_key)
    monkeypatch.setenv("FIREWORKS_BASE_URL", emulator.url)
    event = fire(TRIGGER, arguments("FP16") | {"fireworks_conn_id": None})
    assert event["verdict"]["outcome"] == "ready"
