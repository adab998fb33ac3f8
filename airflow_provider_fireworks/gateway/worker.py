"""The transport of workers: blocking, over requests."""

from __future__ import annotations

import ssl
from typing import Any, TypeVar

import requests
import tenacity
import urllib3.exceptions

from airflow_provider_fireworks.gateway.answers import result_of, without_answer
from airflow_provider_fireworks.gateway.calls import Call, Errand
from airflow_provider_fireworks.gateway.endpoint import CONNECT_TIMEOUT, HEADERS, READ_TIMEOUT, Endpoint
from airflow_provider_fireworks.gateway.retrying import wait_before_retry, worth_a_retry

ResultT = TypeVar("ResultT")

ATTEMPTS = 3
"""How often a call is made before its error is told, where it may be repeated at all."""


class BearerAuth(requests.auth.AuthBase):
    """Sends the key, and only to the endpoint it belongs to. As an ``auth`` it also keeps ``.netrc`` out."""

    def __init__(self, endpoint: Endpoint) -> None:
        self._endpoint = endpoint

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        if (request.url or "").startswith(self._endpoint.base_url + "/"):
            request.headers["Authorization"] = f"Bearer {self._endpoint.api_key}"
        return request


class _Session(requests.Session):
    def get_redirect_target(self, resp: requests.Response) -> None:
        """Know of no redirect: one that was followed could lead a call, and with it the key, elsewhere."""


def make_session(endpoint: Endpoint) -> requests.Session:
    """Return a session that carries the key to the endpoint and follows no redirect."""
    session = _Session()
    session.headers.update(HEADERS)
    session.auth = BearerAuth(endpoint)
    session.trust_env = not endpoint.is_loopback
    return session


class WorkerGateway:
    """
    Makes calls and waits for their answers.

    :param endpoint: the gateway and the key.
    :param session: of :func:`make_session`.
    :param timeout: seconds to connect and seconds of silence to bear.
    """

    def __init__(
        self,
        endpoint: Endpoint,
        session: requests.Session,
        *,
        timeout: tuple[float, float] = (CONNECT_TIMEOUT, READ_TIMEOUT),
    ) -> None:
        self._endpoint = endpoint
        self._session = session
        self._timeout = timeout

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
        result: ResultT = retrying(self._once, call)
        return result

    def run(self, errand: Errand[ResultT]) -> ResultT:
        """Make all calls of an errand."""
        call: Call[Any] = next(errand)
        while True:
            try:
                call = errand.send(self.send(call))
            except StopIteration as end:
                result: ResultT = end.value
                return result

    def _once(self, call: Call[ResultT]) -> ResultT:
        try:
            answer = self._session.request(
                call.verb,
                self._endpoint.url(call.path),
                params=dict(call.query),
                json=call.body,
                timeout=self._timeout,
                allow_redirects=False,
            )
        except requests.RequestException as error:
            reason = getattr(error.args[0], "reason", None) if error.args else None
            raise without_answer(
                call, self._endpoint, error, reason or error, never_sent=_never_sent(error, reason)
            ) from None
        return result_of(call, self._endpoint, answer.status_code, answer.headers.items(), answer.content)


def _never_sent(error: requests.RequestException, reason: object) -> bool:
    if isinstance(error, requests.exceptions.SSLError):
        # TLS can also break in the middle of an answer; a certificate is refused before anything is sent.
        cause = reason.args[0] if isinstance(reason, urllib3.exceptions.SSLError) and reason.args else None
        return isinstance(cause, ssl.SSLCertVerificationError)
    return isinstance(error, (requests.ConnectTimeout, requests.exceptions.ProxyError)) or isinstance(
        reason, (urllib3.exceptions.NewConnectionError, urllib3.exceptions.ConnectTimeoutError)
    )
