"""The transport of workers: blocking, over requests."""

from __future__ import annotations

import ssl
import time
from http.cookiejar import DefaultCookiePolicy
from typing import Any, TypeVar

import requests
import tenacity
import urllib3.exceptions

from airflow_provider_fireworks.client import endpoint as limits
from airflow_provider_fireworks.client.answers import Answer, too_late, without_answer, without_locals
from airflow_provider_fireworks.client.bounded import BoundedAdapter, answered_by
from airflow_provider_fireworks.client.calls import Call, Errand
from airflow_provider_fireworks.client.endpoint import CONNECT_TIMEOUT, HEADERS, READ_TIMEOUT, Endpoint
from airflow_provider_fireworks.client.errors import AnswerLostError, GatewayError
from airflow_provider_fireworks.client.retrying import wait_before_retry, worth_a_retry

ResultT = TypeVar("ResultT")

ATTEMPTS = 3
"""How often a call is made before its error is told, where it may be repeated at all."""
LONGEST_ERRAND = 600.0
"""Seconds after which an errand makes no further call."""

_CHUNK = 64 * 1024


class _KeyAdapter(BoundedAdapter):
    """Sends the key, out of sight: no request that a caller, an answer or an error has at hand holds it."""

    def __init__(self, endpoint: Endpoint) -> None:
        super().__init__()
        self._endpoint = endpoint

    def send(self, request: requests.PreparedRequest, *args: Any, **kwargs: Any) -> requests.Response:
        with_key = request.copy()
        with_key.headers["Authorization"] = f"Bearer {self._endpoint.api_key}"
        try:
            with without_locals():
                answer = super().send(with_key, *args, **kwargs)
        except requests.RequestException as error:
            error.request = request
            raise
        answer.request = request
        return answer


def _no_netrc(request: requests.PreparedRequest) -> requests.PreparedRequest:
    """As an ``auth``, it keeps ``.netrc`` out."""
    return request


class _Session(requests.Session):
    def get_redirect_target(self, resp: requests.Response) -> None:
        """Know of no redirect: one that was followed could lead a call, and with it the key, elsewhere."""


def make_session(endpoint: Endpoint) -> requests.Session:
    """Return a session that carries the key to the endpoint and follows no redirect."""
    session = _Session()
    session.headers.update(HEADERS)
    session.cookies.set_policy(DefaultCookiePolicy(allowed_domains=[]))
    session.auth = _no_netrc
    session.mount(f"{endpoint.base_url}/", _KeyAdapter(endpoint))
    session.trust_env = not endpoint.is_loopback
    return session


class WorkerGateway:
    """
    Makes calls and waits for their answers.

    :param endpoint: the gateway and the key.
    :param session: of :func:`make_session`.
    :param timeout: seconds to connect and seconds of silence to bear.
    :param answer_timeout: seconds until an answer must be there as a whole, ``None`` for ``ANSWER_TIMEOUT``.
    """

    def __init__(
        self,
        endpoint: Endpoint,
        session: requests.Session,
        *,
        timeout: tuple[float, float] = (CONNECT_TIMEOUT, READ_TIMEOUT),
        answer_timeout: float | None = None,
    ) -> None:
        self._endpoint = endpoint
        self._session = session
        self._timeout = timeout
        self._answer_timeout = answer_timeout
        self.has_answered = False

    def send(self, call: Call[ResultT], *, attempts: int = ATTEMPTS) -> ResultT:
        """
        Make a call; repeat it, with a growing pause, where that can do no harm.

        :param attempts: how often at most.
        :raises GatewayError: how the last attempt ended.
        """
        retrying = tenacity.Retrying(
            retry=tenacity.retry_if_exception(worth_a_retry(writes=call.writes)),
            wait=wait_before_retry,
            stop=tenacity.stop_after_attempt(attempts),
            reraise=True,
        )
        with without_locals():
            try:
                result: ResultT = retrying(self._once, call)
            except GatewayError as error:
                self.has_answered = self.has_answered or error.is_response
                raise
        self.has_answered = True
        return result

    def run(self, errand: Errand[ResultT]) -> ResultT:
        """
        Make all calls of an errand.

        :raises GatewayError: also if there is no end to it.
        """
        started = time.monotonic()
        call: Call[Any] = next(errand)
        while True:
            answer = self.send(call)
            if time.monotonic() - started > LONGEST_ERRAND:
                raise AnswerLostError(f"there are still pages after {LONGEST_ERRAND:g} s", call=str(call))
            try:
                call = errand.send(answer)
            except StopIteration as end:
                result: ResultT = end.value
                return result

    def _once(self, call: Call[ResultT]) -> ResultT:
        seconds = self._answer_timeout or limits.ANSWER_TIMEOUT
        deadline = time.monotonic() + seconds
        try:
            with (
                answered_by(deadline),
                self._session.request(
                    call.verb,
                    self._endpoint.url(call.path),
                    params=dict(call.query),
                    json=call.body,
                    timeout=self._timeout,
                    allow_redirects=False,
                    stream=True,
                ) as response,
            ):
                answer = Answer(call, self._endpoint, response.status_code, response.headers.items())
                for chunk in response.raw.stream(_CHUNK, decode_content=False):
                    answer.add(chunk)
        # ValueError: of the length of a chunk, of which urllib3 takes any number.
        except (requests.RequestException, urllib3.exceptions.HTTPError, ValueError) as error:
            reason = getattr(error.args[0], "reason", None) if error.args else None
            never_sent = _never_sent(error, reason)
            if time.monotonic() >= deadline and not never_sent:
                raise too_late(call, self._endpoint, seconds) from None
            raise without_answer(
                call, self._endpoint, error, reason or error, never_sent=never_sent
            ) from None
        return answer.result()


def _never_sent(error: Exception, reason: object) -> bool:
    through_proxy = isinstance(reason, urllib3.exceptions.ProxyError)
    if isinstance(reason, urllib3.exceptions.ProxyError):
        # It stands for whatever goes wrong behind a proxy, a lost answer included.
        reason = reason.original_error
    if isinstance(reason, urllib3.exceptions.SSLError) and reason.args:
        # TLS can also break in the middle of an answer; a certificate is refused before anything is sent.
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
