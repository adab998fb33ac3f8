"""The trigger on its own, as a triggerer runs it: many on one event loop, restarted, with the key replaced."""

from __future__ import annotations

import asyncio
import json
import time
from typing import Any

import httpx
import pytest

from airflow_provider_fireworks.gateway.precision import Precision
from airflow_provider_fireworks.hooks import fireworks as hooks
from airflow_provider_fireworks.triggers.model import FireworksModelReadyTrigger
from tests.integration.conftest import MODEL, fire

TRIGGER = "airflow_provider_fireworks.triggers.model.FireworksModelReadyTrigger"


def arguments(precision: str = "FP8", **watch: Any) -> dict[str, Any]:
    watch = {
        "model": MODEL,
        "precisions": [precision],
        "deadline": time.time() + 10,
        "poll_interval": 0.1,
    } | watch
    return {"fireworks_conn_id": "fireworks_default", "watch": watch, "carry": {"kept": [1]}}


async def event_of(trigger: FireworksModelReadyTrigger) -> Any:
    return await anext(aiter(trigger.run()))


def test_it_survives_being_stored():
    kwargs = arguments()
    path, stored = FireworksModelReadyTrigger(**kwargs).serialize()
    assert path == TRIGGER
    assert json.loads(json.dumps(stored)) == kwargs


def test_a_restart_keeps_deadline_and_baseline(gateway):
    gateway.configure(precision_lists="absent", duration=0.5)
    before = {"state": "READY", "calibrated": False, "posted": "accepted", "posted_at": time.time()}
    kwargs = arguments(baseline=before, deadline=time.time() + 5)

    async def killed_and_restarted() -> Any:
        running = asyncio.create_task(event_of(FireworksModelReadyTrigger(**kwargs)))
        await asyncio.sleep(0.3)
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running
        _, stored = FireworksModelReadyTrigger(**kwargs).serialize()
        assert stored == kwargs
        gateway.set_model("my-model", calibrated=True, state="READY")
        return await event_of(FireworksModelReadyTrigger(**stored))

    verdict = asyncio.run(killed_and_restarted()).payload["verdict"]
    assert (verdict["outcome"], verdict["inferred"]) == ("ready", True)


def test_it_only_reads(gateway):
    fire(TRIGGER, arguments(deadline=time.time() + 0.5))
    assert {request.method for request in gateway.requests} == {"GET"}


def test_it_sleeps_before_its_first_look_and_not_beyond_the_deadline(gateway):
    started = time.time()
    event = fire(TRIGGER, arguments(poll_interval=60, deadline=started + 0.5))
    assert event["verdict"]["outcome"] == "timeout"
    assert event["carry"] == {"kept": [1]}
    assert time.time() - started < 2
    assert [request.at - started >= 0.4 for request in gateway.requests] == [True]


def test_many_share_one_client_and_one_connection_read(gateway, monkeypatch):
    made, read = [], []
    real_init, real_read = httpx.AsyncClient.__init__, hooks.get_async_connection
    monkeypatch.setattr(
        httpx.AsyncClient,
        "__init__",
        lambda self, **how: (made.append(how["verify"]), real_init(self, **how))[1],
    )

    async def reading(conn_id: str, hook: Any) -> Any:
        read.append(conn_id)
        return await real_read(conn_id, hook)

    monkeypatch.setattr(hooks, "get_async_connection", reading)

    async def all_of_them() -> list[Any]:
        triggers = [FireworksModelReadyTrigger(**arguments(deadline=time.time() + 0.6)) for _ in range(50)]
        return await asyncio.gather(*map(event_of, triggers))

    assert {event.payload["verdict"]["outcome"] for event in asyncio.run(all_of_them())} == {"timeout"}
    assert len(made) == 1
    assert read == ["fireworks_default"]
    assert not [doors for doors in hooks._shared.values() if doors], "a client is left open"


def test_a_key_that_was_replaced_ends_no_wait(gateway, monkeypatch):
    async def while_replaced() -> Any:
        running = asyncio.create_task(event_of(FireworksModelReadyTrigger(**arguments(Precision.FP16.value))))
        gateway.set_model("my-model", state="UPLOADING")
        await asyncio.sleep(0.3)
        gateway.api_key = "fw_replaced"
        monkeypatch.setenv("AIRFLOW_CONN_FIREWORKS_DEFAULT", gateway.connection)
        await asyncio.sleep(0.3)
        gateway.set_model("my-model", state="READY")
        return await running

    assert asyncio.run(while_replaced()).payload["verdict"]["outcome"] == "ready"


@pytest.mark.parametrize("connection", [None, '{"conn_type": "fireworks"}'], ids=["none", "without a key"])
def test_a_connection_that_is_gone_ends_the_wait_in_words(gateway, monkeypatch, connection):
    if connection is None:
        monkeypatch.delenv("AIRFLOW_CONN_FIREWORKS_DEFAULT")
    else:
        monkeypatch.setenv("AIRFLOW_CONN_FIREWORKS_DEFAULT", connection)
    event = fire(TRIGGER, arguments())
    assert event["verdict"]["outcome"] == "bad_connection"
    assert "fireworks_default" in event["verdict"]["reason"]


def test_the_environment_is_a_connection_too(gateway, monkeypatch):
    monkeypatch.setenv("FIREWORKS_API_KEY", gateway.api_key)
    monkeypatch.setenv("FIREWORKS_BASE_URL", gateway.url)
    event = fire(TRIGGER, arguments("FP16") | {"fireworks_conn_id": None})
    assert event["verdict"]["outcome"] == "ready"
