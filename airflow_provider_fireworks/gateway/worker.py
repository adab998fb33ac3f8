"""The transport of workers: blocking, over requests."""

from __future__ import annotations

import http.client
import io
import socket
import ssl
import time
from contextvars import ContextVar
from http.cookiejar import DefaultCookiePolicy
from typing import Any, TypeVar

import requests
import tenacity
import urllib3
import urllib3.connection
import urllib3.exceptions

from airflow_provider_fireworks.gateway import endpoint as limits
from airflow_provider_fireworks.gateway.answers import Answer, too_late, without_answer
from airflow_provider_fireworks.gateway.calls import Call, Errand
from airflow_provider_fireworks.gateway.endpoint import CONNECT_TIMEOUT, HEADERS, READ_TIMEOUT, Endpoint
from airflow_provider_fireworks.gateway.errors import AnswerLostError
from airflow_provider_fireworks.gateway.retrying import wait_before_retry, worth_a_retry

ResultT = TypeVar("ResultT")

ATTEMPTS = 3
"""How often a call is made before its error is told, where it may be repeated at all."""
LONGEST_ERRAND = 600.0
"""Seconds after which an errand makes no further call."""

_CHUNK = 64 * 1024
_deadline: ContextVar[float | None] = ContextVar("_deadline", default=None)


class BearerAuth(requests.auth.AuthBase):
    """Sends the key, and only to the endpoint it belongs to. As an ``auth`` it also keeps ``.netrc`` out."""

    def __init__(self, endpoint: Endpoint) -> None:
        self._endpoint = endpoint

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        if (request.url or "").startswith(self._endpoint.base_url + "/"):
            request.headers["Authorization"] = f"Bearer {self._endpoint.api_key}"
        return request


class _InTime(io.RawIOBase):
    """
    The bytes of one answer, headers and all, up to the deadline of the call and to twice the largest answer.

    A socket's own time limit starts anew with every byte, and nobody else counts what stands between the bytes
    of a body.
    """

    def __init__(self, raw: io.RawIOBase, sock: socket.socket, deadline: float) -> None:
        self._raw = raw
        self._sock = sock
        self._deadline = deadline
        self._patience = sock.gettimeout() or limits.READ_TIMEOUT
        self._room = 2 * limits.LARGEST_ANSWER

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int | None:
        left = self._deadline - time.monotonic()
        if left <= 0:
            raise TimeoutError("the time for the whole answer is over")
        self._sock.settimeout(min(left, self._patience))
        count: int | None = self._raw.readinto(buffer)
        self._room -= count or 0
        if self._room < 0:
            raise OSError("the answer does not end")
        return count

    def close(self) -> None:
        self._raw.close()
        super().close()


class _Response(http.client.HTTPResponse):
    def __init__(self, sock: socket.socket, *args: Any, **kwargs: Any) -> None:
        super().__init__(sock, *args, **kwargs)
        deadline = _deadline.get()
        if deadline is not None:
            self.fp = io.BufferedReader(_InTime(self.fp.detach(), sock, deadline))


class _HTTPConnection(urllib3.connection.HTTPConnection):
    response_class = _Response


class _HTTPSConnection(urllib3.connection.HTTPSConnection):
    response_class = _Response


class _HTTPPool(urllib3.HTTPConnectionPool):
    ConnectionCls = _HTTPConnection


class _HTTPSPool(urllib3.HTTPSConnectionPool):
    ConnectionCls = _HTTPSConnection


class _Adapter(requests.adapters.HTTPAdapter):
    """Connects so that a deadline is kept."""

    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        super().init_poolmanager(*args, **kwargs)
        self.poolmanager.pool_classes_by_scheme = {"http": _HTTPPool, "https": _HTTPSPool}

    def proxy_manager_for(self, *args: Any, **kwargs: Any) -> Any:
        manager = super().proxy_manager_for(*args, **kwargs)
        manager.pool_classes_by_scheme = self.poolmanager.pool_classes_by_scheme
        return manager


class _Session(requests.Session):
    def get_redirect_target(self, resp: requests.Response) -> None:
        """Know of no redirect: one that was followed could lead a call, and with it the key, elsewhere."""


def make_session(endpoint: Endpoint) -> requests.Session:
    """Return a session that carries the key to the endpoint and follows no redirect."""
    session = _Session()
    session.headers.update(HEADERS)
    session.auth = BearerAuth(endpoint)
    session.cookies.set_policy(DefaultCookiePolicy(allowed_domains=[]))
    session.trust_env = not endpoint.is_loopback
    return session


class WorkerGateway:
    """
    Makes calls and waits for their answers.

    :param endpoint: the gateway and the key.
    :param session: of :func:`make_session`, for this alone.
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
        for scheme in ("https://", "http://"):
            session.mount(scheme, _Adapter())

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
        token = _deadline.set(deadline)
        try:
            with self._session.request(
                call.verb,
                self._endpoint.url(call.path),
                params=dict(call.query),
                json=call.body,
                timeout=self._timeout,
                allow_redirects=False,
                stream=True,
            ) as response:
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
        finally:
            _deadline.reset(token)
        return answer.result()


def _never_sent(error: Exception, reason: object) -> bool:
    if isinstance(error, requests.exceptions.SSLError):
        # TLS can also break in the middle of an answer; a certificate is refused before anything is sent.
        cause = reason.args[0] if isinstance(reason, urllib3.exceptions.SSLError) and reason.args else None
        return isinstance(cause, ssl.SSLCertVerificationError)
    return isinstance(error, (requests.ConnectTimeout, requests.exceptions.ProxyError)) or isinstance(
        reason, (urllib3.exceptions.NewConnectionError, urllib3.exceptions.ConnectTimeoutError)
    )
