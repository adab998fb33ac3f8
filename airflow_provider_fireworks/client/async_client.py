"""The client for the triggerer: asynchronous, with httpx."""

from __future__ import annotations

import asyncio
import functools
import ssl
import sys
from collections.abc import Generator
from http.cookiejar import CookieJar, DefaultCookiePolicy
from typing import TypeVar

import httpx

from airflow_provider_fireworks.client.api import Request
from airflow_provider_fireworks.client.config import HEADERS, ClientConfig
from airflow_provider_fireworks.client.responses import (
    ResponseReader,
    clear_locals,
    deadline_error,
    no_response_error,
)

ResultT = TypeVar("ResultT")

_NEVER_SENT = (httpx.ConnectError, httpx.ConnectTimeout, httpx.ProxyError, httpx.PoolTimeout)

_MAX_CONNECTIONS = 1000
"""As many as a triggerer has triggers by default, so that requests without a response delay no others."""


@functools.cache
def _tls_context() -> ssl.SSLContext:
    """Return one context for the whole process: creating one blocks the event loop for some 25 ms."""
    return httpx.create_ssl_context()


class _BearerAuth(httpx.Auth):
    """Adds the key to each request. The client follows no redirect, so the key goes to the base URL only."""

    def __init__(self, config: ClientConfig) -> None:
        self._config = config

    def auth_flow(self, request: httpx.Request) -> Generator[httpx.Request, httpx.Response, None]:
        """Add the header to one request."""
        request.headers["Authorization"] = f"Bearer {self._config.api_key}"
        yield request


class AsyncClient:
    """
    Sends requests without blocking the event loop. It does not retry: a trigger polls again anyway.

    :param config: the base URL, the key and the timing.
    """

    def __init__(self, config: ClientConfig) -> None:
        self.config = config
        self._client = httpx.AsyncClient(
            auth=_BearerAuth(config),
            headers=HEADERS,
            # The client lives as long as the triggerer, and cookies would only accumulate.
            cookies=CookieJar(DefaultCookiePolicy(allowed_domains=[])),
            limits=httpx.Limits(max_connections=_MAX_CONNECTIONS, max_keepalive_connections=20),
            timeout=httpx.Timeout(config.timing.read_timeout, connect=config.timing.connect_timeout),
            verify=_tls_context(),
            follow_redirects=False,
            trust_env=not config.is_loopback,
        )

    async def send(self, request: Request[ResultT]) -> ResultT:
        """
        Send a request once.

        :raises ApiError: if it fails, or takes longer than the response timeout.
        """
        seconds = self.config.timing.response_timeout
        with clear_locals():
            try:
                if sys.version_info >= (3, 11):
                    async with asyncio.timeout(seconds):
                        return await self._send_once(request)
                # Python 3.10: wait_for() misses a cancellation at the moment when the response is complete.
                return await asyncio.wait_for(self._send_once(request), seconds)
            except asyncio.TimeoutError:
                raise deadline_error(request, self.config, seconds) from None

    async def close(self) -> None:
        """Close the connections."""
        await self._client.aclose()

    async def _send_once(self, request: Request[ResultT]) -> ResultT:
        url = self.config.url(request.path)
        try:
            async with self._client.stream(
                request.method, url, params=dict(request.query), json=request.body
            ) as response:
                reader = ResponseReader(request, self.config, response.status_code, response.headers.items())
                async for chunk in response.aiter_raw():
                    reader.add(chunk)
        # InvalidURL: httpx parses the target of a redirect although it does not follow it. SSLError: httpx does not
        # wrap it when TLS breaks on an established connection.
        except (httpx.HTTPError, httpx.InvalidURL, ssl.SSLError) as error:
            never_sent = isinstance(error, _NEVER_SENT)
            failure = no_response_error(request, self.config, error, error, never_sent=never_sent)
        else:
            return reader.result()
        # Raised outside the except block, so that its context is not httpx's error, whose request holds the key.
        raise failure
