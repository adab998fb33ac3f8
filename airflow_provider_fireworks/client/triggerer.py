"""The transport of the triggerer: asynchronous, over httpx."""

from __future__ import annotations

import asyncio
import functools
import ssl
import sys
from collections.abc import Generator
from http.cookiejar import CookieJar, DefaultCookiePolicy
from typing import TypeVar

import httpx

from airflow_provider_fireworks.client import endpoint as limits
from airflow_provider_fireworks.client.answers import Answer, too_late, without_answer, without_locals
from airflow_provider_fireworks.client.calls import Call
from airflow_provider_fireworks.client.endpoint import CONNECT_TIMEOUT, HEADERS, READ_TIMEOUT, Endpoint

ResultT = TypeVar("ResultT")

_NEVER_SENT = (httpx.ConnectError, httpx.ConnectTimeout, httpx.ProxyError, httpx.PoolTimeout)


@functools.cache
def _tls_context() -> ssl.SSLContext:
    """One for the whole process: making one keeps the event loop from its other triggers for some 25 ms."""
    return httpx.create_ssl_context()


class BearerAuth(httpx.Auth):
    """Sends the key. httpx follows no redirect unless asked to, so it goes to the endpoint alone."""

    def __init__(self, endpoint: Endpoint) -> None:
        self._endpoint = endpoint

    def auth_flow(self, request: httpx.Request) -> Generator[httpx.Request, httpx.Response, None]:
        """Add the header to one request."""
        request.headers["Authorization"] = f"Bearer {self._endpoint.api_key}"
        yield request


class TriggererGateway:
    """
    Makes calls without blocking the event loop. One attempt each: who waits in a trigger asks again anyway.

    :param endpoint: the gateway and the key.
    """

    def __init__(self, endpoint: Endpoint) -> None:
        self.endpoint = endpoint
        self._client = httpx.AsyncClient(
            auth=BearerAuth(endpoint),
            headers=HEADERS,
            # It keeps no cookies: they would only pile up.
            cookies=CookieJar(DefaultCookiePolicy(allowed_domains=[])),
            timeout=httpx.Timeout(READ_TIMEOUT, connect=CONNECT_TIMEOUT),
            verify=_tls_context(),
            follow_redirects=False,
            trust_env=not endpoint.is_loopback,
        )

    async def send(self, call: Call[ResultT]) -> ResultT:
        """
        Make a call once.

        :raises GatewayError: the member of the tree that fits.
        """
        seconds = limits.ANSWER_TIMEOUT
        with without_locals():
            try:
                if sys.version_info >= (3, 11):
                    async with asyncio.timeout(seconds):
                        return await self._once(call)
                # Misses a cancellation that comes just when the answer is there.
                return await asyncio.wait_for(self._once(call), seconds)
            except asyncio.TimeoutError:
                raise too_late(call, self.endpoint, seconds) from None

    async def _once(self, call: Call[ResultT]) -> ResultT:
        url = self.endpoint.url(call.path)
        try:
            async with self._client.stream(
                call.verb, url, params=dict(call.query), json=call.body
            ) as response:
                answer = Answer(call, self.endpoint, response.status_code, response.headers.items())
                async for chunk in response.aiter_raw():
                    answer.add(chunk)
        # InvalidURL is of a redirect: its target is judged although it is not followed. SSLError is of TLS that breaks
        # when it already stands, for which httpx has no name.
        except (httpx.HTTPError, httpx.InvalidURL, ssl.SSLError) as error:
            never_sent = isinstance(error, _NEVER_SENT)
            failure = without_answer(call, self.endpoint, error, error, never_sent=never_sent)
        else:
            return answer.result()
        # Out here it does not remember httpx's own error, which has the request, and with it the key.
        raise failure

    async def close(self) -> None:
        """Close the connections."""
        await self._client.aclose()
