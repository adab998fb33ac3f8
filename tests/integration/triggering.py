"""Helpers for tests of the triggers."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import httpx

from airflow_provider_fireworks.hooks.fireworks import FireworksHook

if TYPE_CHECKING:
    import pytest

    from airflow_provider_fireworks.triggers.base import FireworksTrigger

UNUSABLE_CONNECTIONS = {"missing": None, "without key": '{"conn_type": "fireworks"}'}


async def event_of(trigger: FireworksTrigger) -> dict[str, Any]:
    """Run a trigger in this event loop, and return the payload of its event."""
    event = await anext(aiter(trigger.run()))
    return event.payload


async def cancel(trigger: FireworksTrigger, after: float) -> None:
    """Run a trigger for some seconds, and cancel it."""
    running = asyncio.create_task(event_of(trigger))
    await asyncio.sleep(after)
    running.cancel()
    try:
        await running
    except asyncio.CancelledError:
        return
    raise AssertionError("the trigger ended before it was cancelled")


def record_clients(monkeypatch: pytest.MonkeyPatch) -> list[httpx.AsyncClient]:
    """Return a list to which every client that is created will be added."""
    clients: list[httpx.AsyncClient] = []
    init = httpx.AsyncClient.__init__

    def recording_init(self: httpx.AsyncClient, **arguments: Any) -> None:
        clients.append(self)
        init(self, **arguments)

    monkeypatch.setattr(httpx.AsyncClient, "__init__", recording_init)
    return clients


def record_reads(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Return a list to which the id of every connection that is read will be added."""
    reads: list[str] = []
    get_connection = FireworksHook.get_connection

    def recording_get_connection(conn_id: str) -> Any:
        reads.append(conn_id)
        return get_connection(conn_id)

    monkeypatch.setattr(FireworksHook, "get_connection", staticmethod(recording_get_connection))
    return reads


def set_connection(monkeypatch: pytest.MonkeyPatch, connection: str | None) -> None:
    """Set the connection ``fireworks_default``, or remove it."""
    if connection is None:
        monkeypatch.delenv("AIRFLOW_CONN_FIREWORKS_DEFAULT")
    else:
        monkeypatch.setenv("AIRFLOW_CONN_FIREWORKS_DEFAULT", connection)
