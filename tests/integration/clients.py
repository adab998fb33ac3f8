"""One attempt to send a request, with each of the two clients."""

from __future__ import annotations

import asyncio
from typing import Any

from airflow_provider_fireworks.client.api import Request
from airflow_provider_fireworks.client.async_client import AsyncClient
from airflow_provider_fireworks.client.config import ClientConfig
from airflow_provider_fireworks.client.sync_client import SyncClient, make_session
from airflow_provider_fireworks.hooks.fireworks import FireworksHook

KEY = "fw_0123456789"


def sync_client(url: str) -> SyncClient:
    """Return a worker's client for a server, with the hook's timing."""
    config = _config(url)
    return SyncClient(config, make_session(config))


def async_client(url: str) -> AsyncClient:
    """Return the triggerer's client for a server, with the hook's timing."""
    return AsyncClient(_config(url))


def send_sync(url: str, request: Request[Any]) -> Any:
    """Send a request once, as a worker does."""
    return sync_client(url).send(request, attempts=1)


def send_async(url: str, request: Request[Any]) -> Any:
    """Send a request once, as the triggerer does."""

    async def send() -> Any:
        client = async_client(url)
        try:
            return await client.send(request)
        finally:
            await client.close()

    return asyncio.run(send())


async def send_shared(request: Request[Any], conn_id: str | None = "fireworks_default") -> Any:
    """Send a request once, with the client that all triggers of a connection share."""
    async with FireworksHook.shared_async_client(conn_id) as client:
        return await client.send(request)


def _config(url: str) -> ClientConfig:
    return ClientConfig.make(host=url, api_key=KEY, timing=FireworksHook.timing)
