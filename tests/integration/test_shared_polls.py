"""Many triggers on one event loop, against the emulated API over HTTP: what they share, and what they do not."""

from __future__ import annotations

import asyncio
import gc
import json
import logging
import time
from itertools import pairwise
from typing import Any

import pytest

from airflow_provider_fireworks.client import pace, shared_client as shared_client_module
from airflow_provider_fireworks.hooks.fireworks import FireworksHook
from airflow_provider_fireworks.triggers.base import FireworksTrigger
from airflow_provider_fireworks.triggers.deployment import FireworksDeploymentReadyTrigger
from airflow_provider_fireworks.triggers.model import FireworksModelReadyTrigger
from tests.integration.conftest import MODEL
from tests.integration.creating import H100
from tests.integration.triggering import event_of, record_clients
from tests.timing import use_timing

CHAT = "/inference/v1/chat/completions"


def model_trigger(
    number: int = 0, *, conn_id: str = "fireworks_default", seconds: float = 10, **wait: Any
) -> FireworksModelReadyTrigger:
    model = MODEL if number == 0 else f"accounts/demo/models/m{number}"
    wait = {
        "model": model,
        "precision": "FP8",
        "deadline": time.time() + seconds,
        "poll_interval": 0.3,
    } | wait
    return FireworksModelReadyTrigger(fireworks_conn_id=conn_id, wait=wait)


def deployment_trigger(*, seconds: float = 10, **wait: Any) -> FireworksDeploymentReadyTrigger:
    name = "accounts/demo/deployments/d"
    wait = {"deployment": name, "deadline": time.time() + seconds, "poll_interval": 0.3} | wait
    return FireworksDeploymentReadyTrigger(fireworks_conn_id="fireworks_default", wait=wait)


async def outcomes(triggers: list[Any]) -> list[str]:
    events = await asyncio.gather(*map(event_of, triggers))
    return [event["verdict"]["outcome"] for event in events]


def add_models(emulator: Any, count: int) -> None:
    """Add the models m1, m2, …, which are not ready."""
    for number in range(1, count + 1):
        emulator.add_model(f"m{number}", state="UPLOADING")


def end_uploads(emulator: Any, count: int) -> None:
    for number in range(1, count + 1):
        emulator.set_model(f"m{number}", state="READY")


@pytest.fixture(autouse=True)
def _everything_is_released() -> Any:
    yield
    gc.collect()
    assert [list(clients) for clients in shared_client_module._shared.values() if clients] == []


def test_triggers_for_one_model_share_its_polls(emulator, lists):
    emulator.set_model("my-model", state="UPLOADING")

    async def run() -> list[str]:
        triggers = [asyncio.create_task(outcomes([model_trigger(seconds=3)])) for _ in range(50)]
        for task in triggers:
            await asyncio.sleep(0.01)
            assert not task.done()
        return [outcome for task in triggers for outcome in await task]

    assert set(asyncio.run(run())) == {"timeout"}
    # One per interval, and one for each time at which a wait reaches its deadline.
    alone = 50 * 3 / 0.3
    assert len(emulator.requests) < alone / 5


def test_precisions_of_one_model_share_polls_and_each_judges_for_itself(emulator, lists):
    emulator.set_model("my-model", supportedPrecisions=["FP8", "FP4"])

    async def run() -> list[str]:
        return await outcomes(
            [model_trigger(precision=precision, seconds=1) for precision in ("FP8", "FP4", "BF16")]
        )

    assert asyncio.run(run()) == ["ready", "ready", "timeout"]
    assert len(emulator.requests) <= 5


def test_waits_for_inference_share_reads_and_no_probes(emulator):
    spec = {"baseModel": MODEL, "acceleratorType": H100}
    FireworksHook().create_deployment("d", spec)
    emulator.configure(serving_lag=0.5)
    emulator.clear()

    async def run() -> list[str]:
        return await outcomes([deployment_trigger(until="inference") for _ in range(8)])

    assert set(asyncio.run(run())) == {"ready"}
    probes = [request for request in emulator.requests if request.path == CHAT]
    assert sum(request.status == 200 for request in probes) == 8
    assert emulator.count("GET") < len(probes) / 2


@pytest.mark.parametrize(
    "fault", [{"kind": "status", "status": 503}, {"kind": "drop"}, {"kind": "html"}], ids=str
)
def test_error_is_shared_and_ends_no_wait(emulator, lists, fault):
    emulator.fault(**fault, times=2)

    async def run() -> list[str]:
        return await outcomes([model_trigger(precision="FP16") for _ in range(20)])

    assert asyncio.run(run()) == ["ready"] * 20
    assert len(emulator.requests) <= 5


def test_slow_model_delays_no_other(emulator, lists):
    add_models(emulator, 1)
    end_uploads(emulator, 1)
    emulator.fault("slow", delay=2, path="my-model", times=-1)

    async def run() -> float:
        triggers = [model_trigger(precision="FP16") for _ in range(150)]
        slow = asyncio.create_task(outcomes(triggers))
        await asyncio.sleep(0.5)
        started = time.monotonic()
        quick = await outcomes([model_trigger(1, precision="FP16")])
        took = time.monotonic() - started
        assert quick + await slow == ["ready"] * 151
        return took

    # Many more waits than the client has connections.
    assert asyncio.run(run()) < 1
    assert emulator.count("GET", "my-model") <= 2


def test_slow_inference_delays_no_other_wait(emulator):
    FireworksHook().create_deployment("d", {"baseModel": MODEL, "acceleratorType": H100})
    time.sleep(0.2)
    emulator.fault("slow", delay=2, path=CHAT, times=-1)

    async def run() -> float:
        triggers = [deployment_trigger(until="inference") for _ in range(120)]
        probing = asyncio.create_task(outcomes(triggers))
        await asyncio.sleep(0.8)
        assert not probing.done()
        started = time.monotonic()
        quick = await outcomes([deployment_trigger()])
        took = time.monotonic() - started
        assert quick + await probing == ["ready"] * 121
        return took

    # More requests than httpx sends at a time by default.
    assert asyncio.run(run()) < 1


def test_cancelled_trigger_cancels_no_request_of_others(emulator, lists):
    emulator.fault("slow", delay=1, times=-1)

    async def run() -> list[Any]:
        tasks = [asyncio.create_task(event_of(model_trigger(precision="FP16"))) for _ in range(6)]
        await asyncio.sleep(0.7)
        for task in tasks[:5]:
            task.cancel()
        return await asyncio.gather(*tasks, return_exceptions=True)

    *cancelled, last = asyncio.run(run())
    assert {type(each) for each in cancelled} == {asyncio.CancelledError}
    assert last["verdict"]["outcome"] == "ready"
    assert len(emulator.requests) == 1


def test_cancelling_all_triggers_leaves_nothing(emulator, lists, monkeypatch, caplog):
    clients = record_clients(monkeypatch)
    add_models(emulator, 5)
    emulator.fault("slow", delay=1, times=-1)

    async def run() -> None:
        tasks = [asyncio.create_task(event_of(model_trigger(number % 6))) for number in range(18)]
        await asyncio.sleep(0.7)
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)
        assert asyncio.all_tasks() == {asyncio.current_task()}

    asyncio.run(run(), debug=True)
    assert [client.is_closed for client in clients] == [True]
    assert [record for record in caplog.records if record.levelno >= logging.ERROR] == []


# ---- rate limits


@pytest.mark.parametrize("retry_after", [None, "0.1"])
def test_waits_beyond_the_rate_limit_are_refused_rarely_and_all_end_well(
    emulator, lists, monkeypatch, retry_after
):
    # A minute takes a second, here and there.
    began = time.time()
    monkeypatch.setattr(emulator._state, "clock", lambda: began + (time.time() - began) * 60)
    monkeypatch.setattr(pace, "_MINUTE", 1.0)
    use_timing(monkeypatch, max_poll_backoff=1.0, first_retry_delay=0.01)
    add_models(emulator, 20)
    emulator.configure(requests_per_minute=10, retry_after=retry_after)

    async def run() -> list[str]:
        triggers = [
            model_trigger(number, precision="FP16", poll_interval=0.5, seconds=20) for number in range(1, 21)
        ]
        running = asyncio.create_task(outcomes(triggers))
        await asyncio.sleep(8)
        end_uploads(emulator, 20)
        return await running

    assert asyncio.run(run()) == ["ready"] * 20
    settled = [request for request in emulator.requests if request.at > began + 180]
    assert len(settled) > 50
    assert sum(request.status == 429 for request in settled) <= len(settled) / 10
    # Each model's last poll is its first one after the upload, whoever waited for it.
    assert len({request.path for request in settled}) == 20


def test_retry_after_pauses_all_requests_of_the_connection_and_no_other(emulator, lists, monkeypatch):
    monkeypatch.setenv("AIRFLOW_CONN_OTHER", emulator.connection)
    use_timing(monkeypatch, max_poll_backoff=0.2)
    add_models(emulator, 6)
    emulator.fault("status", status=429, retry_after="1.5", path="m1")

    async def run() -> None:
        limited = [model_trigger(number, poll_interval=0.4, seconds=4) for number in range(1, 6)]
        other = model_trigger(6, conn_id="other", poll_interval=0.1, seconds=4)
        await outcomes([*limited, other])

    asyncio.run(run())
    (refused,) = [request.at for request in emulator.requests if request.status == 429]
    paused = [request for request in emulator.requests if refused + 0.2 < request.at < refused + 1.4]
    assert paused
    assert {request.path for request in paused} == {"/v1/accounts/demo/models/m6"}
    after = [
        request.at
        for request in emulator.requests
        if request.at >= refused + 1.4 and "m6" not in request.path
    ]
    assert len(after) >= 5


def test_configured_limit_is_kept_from_the_start(emulator, lists, monkeypatch):
    connection = json.loads(emulator.connection) | {"extra": {"requests_per_minute": 240}}
    monkeypatch.setenv("AIRFLOW_CONN_FIREWORKS_DEFAULT", json.dumps(connection))
    add_models(emulator, 8)
    lines: list[str] = []

    class Log:
        def info(self, message: str, *arguments: object) -> None:
            lines.append(message % arguments if arguments else message)

    monkeypatch.setattr(FireworksTrigger, "log", Log())
    use_timing(monkeypatch, last_poll_timeout=5.0)

    async def run() -> list[str]:
        return await outcomes([model_trigger(number, seconds=3) for number in range(1, 9)])

    assert set(asyncio.run(run())) == {"timeout"}
    times = sorted(request.at for request in emulator.requests)
    assert len(times) > 8
    assert all(later - earlier > 0.2 for earlier, later in pairwise(times))
    delayed = [line for line in lines if "limited to about 240 a minute" in line]
    assert 1 <= len(delayed) <= 8


def test_wait_that_gets_no_turn_times_out(emulator, lists, monkeypatch):
    connection = json.loads(emulator.connection) | {"extra": {"requests_per_minute": 1}}
    monkeypatch.setenv("AIRFLOW_CONN_FIREWORKS_DEFAULT", json.dumps(connection))
    use_timing(monkeypatch, last_poll_timeout=0.5)
    add_models(emulator, 3)

    async def run() -> list[Any]:
        triggers = [model_trigger(number, seconds=1) for number in range(1, 4)]
        return await asyncio.gather(*map(event_of, triggers))

    verdicts = [event["verdict"] for event in asyncio.run(run())]
    assert {verdict["outcome"] for verdict in verdicts} == {"timeout"}
    assert sum("requests of this connection are limited" in verdict["reason"] for verdict in verdicts) >= 2
    assert len(emulator.requests) == 1


# ---- the key


def test_replaced_key_ends_no_wait(emulator, lists, monkeypatch):
    add_models(emulator, 20)

    async def run() -> list[str]:
        running = asyncio.create_task(
            outcomes([model_trigger(number, precision="FP16") for number in range(1, 21)])
        )
        await asyncio.sleep(0.5)
        emulator.api_key = "fw_replaced_key_of_the_test"
        monkeypatch.setenv("AIRFLOW_CONN_FIREWORKS_DEFAULT", emulator.connection)
        await asyncio.sleep(0.5)
        end_uploads(emulator, 20)
        return await running

    assert asyncio.run(run()) == ["ready"] * 20


def test_revoked_key_ends_all_waits_with_one_request_each_at_most(emulator, lists):
    add_models(emulator, 10)

    async def run() -> list[str]:
        triggers = [model_trigger(number % 10 + 1) for number in range(60)]
        running = asyncio.create_task(outcomes(triggers))
        await asyncio.sleep(0.7)
        emulator.revoke_key()
        emulator.clear()
        return await running

    assert asyncio.run(run()) == ["access_denied"] * 60
    assert len(emulator.requests) <= 60
