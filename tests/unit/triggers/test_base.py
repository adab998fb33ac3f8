"""Triggers on an event loop with a virtual clock, against an API without a network."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given, strategies as st

from airflow_provider_fireworks.client import shared_client as shared_client_module
from airflow_provider_fireworks.client.api import Request
from airflow_provider_fireworks.client.errors import NoResponseError, RateLimitedError, UnavailableError
from airflow_provider_fireworks.client.resources import Model
from airflow_provider_fireworks.client.shared_client import shared_client
from airflow_provider_fireworks.hooks.fireworks import FireworksHook
from airflow_provider_fireworks.timing import DEFAULT_TIMING
from airflow_provider_fireworks.triggers import base
from airflow_provider_fireworks.triggers.model import FireworksModelReadyTrigger
from tests.unit.client.fake_api import Api, Client, use
from tests.virtual_time import now, run

EPOCH = 1_750_000_000.0
NAME = "accounts/demo/models/"


@pytest.fixture(autouse=True)
def _virtual(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shared_client_module, "AsyncClient", Client)
    monkeypatch.setattr(base, "time", SimpleNamespace(time=lambda: EPOCH + now()))
    monkeypatch.setattr(
        FireworksHook,
        "shared_async_client",
        classmethod(lambda cls, conn_id: shared_client(conn_id, Client.api.read_config)),
    )


async def event_of(
    model: str, *, start: float = 0.0, timeout: float = 3600.0, interval: float = 30.0, **wait: Any
) -> tuple[dict[str, Any], float]:
    """Return the verdict of a trigger that begins at a time, and when it came."""
    await asyncio.sleep(start)
    wait = {
        "model": NAME + model,
        "precision": "FP8",
        "began": EPOCH + start,
        "deadline": EPOCH + start + timeout,
        "poll_interval": interval,
    } | wait
    trigger = FireworksModelReadyTrigger(fireworks_conn_id="c", wait=wait)
    events = [event async for event in trigger.run()]
    assert len(events) == 1
    return events[0].payload["verdict"], now()


def model(*precisions: str, **fields: Any) -> Model:
    return Model(name=NAME + "m", state="READY", supported_precisions=["FP16", *precisions], **fields)


@given(
    waits=st.lists(
        st.tuples(
            st.sampled_from(["a", "b", "c"]),
            st.floats(0, 200),
            st.floats(20, 600),
            st.sampled_from([1.0, 10.0, 30.0, 300.0]),
        ),
        min_size=1,
        max_size=12,
    ),
    ready_at=st.floats(0, 900),
    latency=st.sampled_from([0.0, 0.3, 8.0]),
)
def test_every_wait_ends_right_and_in_time(waits, ready_at, latency):
    api = use(Api(lambda request: model(*["FP8"] * (now() >= ready_at)), latency=lambda path: latency))

    async def main() -> list[tuple[dict[str, Any], float]]:
        return await asyncio.gather(
            *(
                event_of(path, start=start, timeout=timeout, interval=interval)
                for path, start, timeout, interval in waits
            )
        )

    for (_, start, timeout, interval), (verdict, at) in zip(waits, run(main()), strict=True):
        deadline = start + timeout
        assert at <= deadline + 2 * latency + 1e-3
        # A poll that was on its way when the model became ready does not show it, and may be the last one.
        if ready_at <= deadline - latency - 1e-3:
            assert verdict["outcome"] == "ready"
            first_poll = start + min(max(interval, DEFAULT_TIMING.first_trigger_delay) * 1.1, timeout)
            assert at <= max(first_poll, min(ready_at + interval * 1.1, deadline)) + 2 * latency + 1e-3
        elif ready_at > deadline + 2 * latency + 1e-3:
            assert verdict["outcome"] == "timeout"
            assert at >= deadline - 1e-3
    assert all(client.is_closed for client in api.clients)


ERRORS = st.sampled_from(
    [
        UnavailableError("away", status=503),
        NoResponseError("cut off"),
        RateLimitedError("slow down", status=429, retry_after=60.0),
        RateLimitedError("slow down", status=429),
    ]
)


@given(
    starts=st.lists(st.floats(0, 100), min_size=1, max_size=12),
    errors=st.lists(ERRORS, max_size=30),
    models=st.integers(1, 12),
)
def test_transient_errors_end_no_wait(starts, errors, models):
    pending = list(errors)

    def respond(request: Request[Any]) -> Any:
        if pending:
            raise pending.pop()
        return model("FP8")

    use(Api(respond))

    async def main() -> list[tuple[dict[str, Any], float]]:
        return await asyncio.gather(
            *(
                event_of(f"m{number % models}", start=start, timeout=7200)
                for number, start in enumerate(starts)
            )
        )

    assert {verdict["outcome"] for verdict, _ in run(main())} == {"ready"}


def test_reading_is_judged_as_of_its_arrival():
    """A preparation that began after the reading, and within the time that it has to begin, has not failed."""

    def respond(request: Request[Any]) -> Model:
        preparing = model().model_copy(update={"state": "PREPARING"})
        return model() if now() < 280 else preparing if now() < 400 else model("FP8")

    api = use(Api(respond))
    baseline = {"state": "READY", "posted": "accepted", "posted_at": EPOCH}

    async def main() -> str:
        # One wait reads the model at 260 to 269 s and at 345 s or later, the other one polls at 310 to 340 s.
        other = asyncio.create_task(event_of("m", start=175, interval=85, precision="FP4", timeout=200))
        verdict, _ = await event_of("m", start=10, interval=300, baseline=baseline)
        await other
        return verdict["outcome"]

    assert run(main()) == "ready"
    assert [each.at for each in api.sent if 280 <= each.at < 345] == [], (
        "it has taken no reading of the other wait"
    )
