"""The client for workers: blocking, with requests."""

from __future__ import annotations

import ssl
import time
from http.cookiejar import DefaultCookiePolicy
from typing import Any, TypeVar

import requests
import tenacity
import urllib3.exceptions

from airflow_provider_fireworks.client.api import Pages, Request
from airflow_provider_fireworks.client.config import HEADERS, ClientConfig
from airflow_provider_fireworks.client.deadline import DeadlineAdapter, response_deadline
from airflow_provider_fireworks.client.errors import ApiError, NoResponseError
from airflow_provider_fireworks.client.responses import (
    ResponseReader,
    clear_locals,
    deadline_error,
    no_response_error,
)
from airflow_provider_fireworks.client.retries import delay_before_retry, may_retry

ResultT = TypeVar("ResultT")

ATTEMPTS = 3
"""The most times that a request is sent, if sending it again can do no harm."""

_CHUNK_BYTES = 64 * 1024


class _KeyAdapter(DeadlineAdapter):
    """Adds the key to a copy of each request, so that no request that a response or an error refers to holds it."""

    def __init__(self, config: ClientConfig) -> None:
        super().__init__()
        self._config = config

    def send(self, request: requests.PreparedRequest, *args: Any, **kwargs: Any) -> requests.Response:
        with_key = request.copy()
        with_key.headers["Authorization"] = f"Bearer {self._config.api_key}"
        try:
            with clear_locals():
                response = super().send(with_key, *args, **kwargs)
        except requests.RequestException as error:
            error.request = request
            raise
        response.request = request
        return response


def _no_netrc(request: requests.PreparedRequest) -> requests.PreparedRequest:
    """Authenticate nothing. Without an ``auth``, requests would take one from ``.netrc``."""
    return request


class _Session(requests.Session):
    def get_redirect_target(self, resp: requests.Response) -> None:
        """Follow no redirect: it could lead a request elsewhere, and the key with it."""


def make_plain_session() -> requests.Session:
    """Return a session that authenticates nothing, stores no cookies and follows no redirect."""
    session = _Session()
    session.cookies.set_policy(DefaultCookiePolicy(allowed_domains=[]))
    session.auth = _no_netrc
    return session


def make_session(config: ClientConfig) -> requests.Session:
    """Return a session that sends the key to the base URL only, and follows no redirect."""
    session = make_plain_session()
    session.headers.update(HEADERS)
    session.mount(f"{config.base_url}/", _KeyAdapter(config))
    session.trust_env = not config.is_loopback
    return session


class SyncClient:
    """
    Sends requests and waits for their responses.

    :param config: the base URL, the key and the timing.
    :param session: from :func:`make_session`.
    :ivar has_responded: whether the API has responded to this client: with a success, or with one of its own errors.
    """

    def __init__(self, config: ClientConfig, session: requests.Session) -> None:
        self._config = config
        self._session = session
        self.has_responded = False

    def send(self, request: Request[ResultT], *, attempts: int = ATTEMPTS) -> ResultT:
        """
        Send a request. Over transient errors, send it again after a growing delay if that can do no harm.

        :param attempts: the most times to send it.
        :raises ApiError: the error of the last attempt.
        """
        retrying = tenacity.Retrying(
            retry=tenacity.retry_if_exception(
                lambda error: isinstance(error, ApiError) and may_retry(error, writes=request.writes)
            ),
            wait=lambda state: delay_before_retry(state, self._config.timing),
            stop=tenacity.stop_after_attempt(attempts),
            reraise=True,
        )
        with clear_locals():
            try:
                result: ResultT = retrying(self._send_once, request)
            except ApiError as error:
                self.has_responded = self.has_responded or error.is_response
                raise
        self.has_responded = True
        return result

    def send_all(self, pages: Pages[ResultT]) -> ResultT:
        """
        Send the requests for all pages of a list, and return its items.

        :raises ApiError: if a request fails, or if the list does not end.
        """
        limit = self._config.timing.list_timeout
        started = time.monotonic()
        request = next(pages)
        while True:
            page = self.send(request)
            if time.monotonic() - started > limit:
                raise NoResponseError(f"the list has not ended after {limit:g} s", request=str(request))
            try:
                request = pages.send(page)
            except StopIteration as end:
                result: ResultT = end.value
                return result

    def _send_once(self, request: Request[ResultT]) -> ResultT:
        timing = self._config.timing
        deadline = time.monotonic() + timing.response_timeout
        try:
            with (
                response_deadline(deadline),
                self._session.request(
                    request.method,
                    self._config.url(request.path),
                    params=dict(request.query),
                    json=request.body,
                    timeout=(timing.connect_timeout, timing.read_timeout),
                    allow_redirects=False,
                    stream=True,
                ) as response,
            ):
                reader = ResponseReader(request, self._config, response.status_code, response.headers.items())
                for chunk in response.raw.stream(_CHUNK_BYTES, decode_content=False):
                    reader.add(chunk)
        # ValueError: urllib3 accepts any number as the length of a chunk, even a negative one.
        except (requests.RequestException, urllib3.exceptions.HTTPError, ValueError) as error:
            reason = getattr(error.args[0], "reason", None) if error.args else None
            never_sent = _was_never_sent(error, reason)
            if time.monotonic() >= deadline and not never_sent:
                raise deadline_error(request, self._config, timing.response_timeout) from None
            raise no_response_error(
                request, self._config, error, reason or error, never_sent=never_sent
            ) from None
        return reader.result()


def _was_never_sent(error: Exception, reason: object) -> bool:
    through_proxy = isinstance(reason, urllib3.exceptions.ProxyError)
    if isinstance(reason, urllib3.exceptions.ProxyError):
        # urllib3 raises it for any failure behind a proxy, even for a lost response.
        reason = reason.original_error
    if isinstance(reason, urllib3.exceptions.SSLError) and reason.args:
        # TLS can also break in the middle of a response. Only a refused certificate means that nothing was sent.
        reason = reason.args[0]
    if through_proxy and isinstance(reason, OSError) and str(reason).startswith("Tunnel connection failed"):
        return True
    return isinstance(error, requests.ConnectTimeout) or isinstance(
        reason,
        (
            urllib3.exceptions.NewConnectionError,
            urllib3.exceptions.ConnectTimeoutError,
            ssl.SSLCertVerificationError,
        ),
    )
