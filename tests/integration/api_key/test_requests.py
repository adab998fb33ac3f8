"""No failed request shows the API key, whichever client has sent it."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import pickle
import signal
import threading
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
import requests
from airflow.providers.common.compat.sdk import AirflowTaskTimeout

from airflow_provider_fireworks import exceptions
from airflow_provider_fireworks.client import ModelName, api
from airflow_provider_fireworks.client.uploads import UrlRefusedError
from airflow_provider_fireworks.emulator import Emulator
from airflow_provider_fireworks.hooks.fireworks import FireworksHook
from airflow_provider_fireworks.triggers.deployment import FireworksDeploymentReadyTrigger
from airflow_provider_fireworks.triggers.model import FireworksModelReadyTrigger
from airflow_provider_fireworks.triggers.router import FireworksRouterReadyTrigger
from tests.integration.api_key.leaks import KEY, assert_hides_key, subclasses
from tests.integration.clients import send_shared
from tests.integration.conftest import MODEL
from tests.timing import use_timing

READ = api.get_model(ModelName.parse(MODEL))


def send_from_worker(request: api.Request[Any]) -> Any:
    return FireworksHook().quick_client(timeout=0.3).send(request, attempts=2)


def send_from_triggerer(request: api.Request[Any]) -> Any:
    return asyncio.run(send_shared(request))


@pytest.fixture(params=[send_from_worker, send_from_triggerer], ids=["worker", "triggerer"])
def send(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Sends a request over the connection."""
    use_timing(monkeypatch, read_timeout=0.3)
    return request.param


def create() -> api.Request[Any]:
    name = FireworksHook().deployment_name("d")
    return api.create_deployment(name, {"baseModel": MODEL, "acceleratorType": "NVIDIA_H100_80GB"})


# ---- failures

Arrange = Callable[[Emulator], Any]


def fault(kind: str, **fields: Any) -> Arrange:
    return lambda emulator: emulator.fault(kind, times=-1, **fields)


FAILURES: dict[str, tuple[Arrange, type[exceptions.ApiError]]] = {
    "connection refused": (lambda emulator: emulator.stop(), exceptions.ConnectError),
    "dropped": (fault("drop"), exceptions.NoResponseError),
    "timeout": (fault("hang"), exceptions.NoResponseError),
    "truncated": (fault("truncate"), exceptions.NoResponseError),
    "text": (fault("text", status=200), exceptions.NoResponseError),
    "HTML": (fault("html"), exceptions.UnavailableError),
    "503": (fault("status"), exceptions.UnavailableError),
    "redirect": (fault("redirect", location="http://x/"), exceptions.UnavailableError),
    "429": (fault("status", status=429), exceptions.RateLimitedError),
    "400": (fault("status", status=400), exceptions.RefusedError),
    "revoked key": (lambda emulator: emulator.revoke_key(), exceptions.AccessDeniedError),
    "404": (fault("status", status=404), exceptions.NotFoundError),
    "quota": (lambda emulator: emulator.configure(gpu_quota=0), exceptions.QuotaExceededError),
}


@pytest.mark.parametrize("failure", FAILURES)
def test_failed_request_hides_key(emulator, send, failure, caplog):
    arrange, kind = FAILURES[failure]
    request = create() if failure == "quota" else READ
    arrange(emulator)
    with caplog.at_level(logging.DEBUG), pytest.raises(kind) as failed:
        send(request)
    assert type(failed.value) is kind
    assert_hides_key(failed.value)
    assert KEY not in caplog.text


def test_failures_cover_every_api_error():
    # That one is of another host, which gets no key: see tests/integration/upload_model.
    assert {kind for _, kind in FAILURES.values()} == subclasses(exceptions.ApiError) - {UrlRefusedError}


def test_task_timeout_during_a_request_hides_key(emulator):
    def end(*_: Any) -> None:
        raise AirflowTaskTimeout("Timeout")

    emulator.fault("hang", times=-1)
    before = signal.signal(signal.SIGALRM, end)
    signal.setitimer(signal.ITIMER_REAL, 0.5)
    try:
        with pytest.raises(AirflowTaskTimeout) as failed:
            FireworksHook().get_model(MODEL)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    assert_hides_key(failed.value)
    assert "urllib3" in "".join(traceback.format_exception(failed.value)), "not during a request"


@pytest.mark.parametrize("how", ["timeout", "cancel"])
def test_cancelled_request_hides_key(emulator, how):
    emulator.fault("hang", times=-1)

    async def cancel() -> None:
        sending = asyncio.ensure_future(send_shared(READ))
        if how == "timeout":
            await asyncio.wait_for(sending, 0.5)
        await asyncio.sleep(0.5)
        sending.cancel()
        await sending

    with pytest.raises((asyncio.TimeoutError, asyncio.CancelledError)) as failed:
        asyncio.run(cancel())
    assert_hides_key(failed.value)
    assert emulator.count("GET") == 1, "not during a request"


# ---- an API that echoes the key


class Echo(BaseHTTPRequestHandler):
    """Sends the key back in the body (for ``%s``) and in headers."""

    status, content = 200, ""

    def do_GET(self) -> None:
        key = self.headers["Authorization"].removeprefix("Bearer ")
        body = self.content.replace("%s", key).encode()
        self.send_response(self.status)
        self.send_header("Location", f"http://elsewhere/{key}")
        self.send_header("X-Request-Id", key)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        pass


@contextmanager
def echo(status: int, content: str) -> Iterator[str]:
    """Serve an echo on this machine, and return its URL."""
    handler = type("Handler", (Echo,), {"status": status, "content": content})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()


@pytest.mark.parametrize(
    ("status", "content"),
    [
        (400, '{"code": 3, "message": "%s", "request_id": "%s"}'),
        (401, '{"error": {"code": "%s", "message": "bad key %s"}}'),
        (502, "<title>%s</title>"),
        (307, "%s"),
        (404, "%s"),
        (200, '{"%s'),
        (200, '{"name": ["%s"]}'),
    ],
)
def test_echoed_key_is_removed_from_the_error(connect, send, status, content, caplog):
    with echo(status, content) as url, caplog.at_level(logging.INFO):
        connect(host=url)
        with pytest.raises(exceptions.ApiError) as failed:
            send(READ)
    assert_hides_key(failed.value)
    assert KEY not in caplog.text
    if status != 200:
        assert "***" in str(failed.value)


def test_echoed_key_is_removed_from_a_success(connect, send):
    content = '{"name": "n", "state": "%s", "status": {"message": "of %s"}, "supportedPrecisions": ["%s"]}'
    with echo(200, content) as url:
        connect(host=url)
        model = send(READ)
    assert model.status.message == "of ***"
    assert KEY not in model.model_dump_json()


# ---- invalid connections

INVALID_CONNECTIONS: dict[str, dict[str, Any]] = {
    "plain http": {"host": "http://elsewhere"},
    "two keys": {"password": f"{KEY}\n{KEY}"},
    "key in the URL": {"host": f"https://{KEY}@elsewhere"},
    "invalid port": {"host": "https://elsewhere:port"},
    "another scheme": {"host": "ftp://elsewhere"},
    "blank in the host": {"host": "https://else where"},
    "several accounts": {"login": ""},
}


@pytest.fixture(params=INVALID_CONNECTIONS)
def invalid(request: pytest.FixtureRequest, emulator: Emulator, connect: Callable[..., None]) -> str:
    """
    Makes the connection invalid, and returns in which way.

    The values are no parameter of the test, because its local variables must not hold the key.
    """
    emulator.configure(accounts=["demo", "second"])
    connect(**INVALID_CONNECTIONS[request.param])
    return request.param


@pytest.fixture(params=["fireworks_default", None], ids=["connection", "environment"])
def conn_id(request: pytest.FixtureRequest, invalid: str, monkeypatch: pytest.MonkeyPatch) -> str | None:
    """The invalid connection, or the same in the environment."""
    connection = json.loads(os.environ["AIRFLOW_CONN_FIREWORKS_DEFAULT"])
    for name, field in (("API_KEY", "password"), ("BASE_URL", "host"), ("ACCOUNT_ID", "login")):
        monkeypatch.setenv(f"FIREWORKS_{name}", connection[field])
    return request.param


def test_invalid_connection_hides_key(invalid, conn_id):
    with pytest.raises(exceptions.FireworksBadConnection) as failed:
        FireworksHook(conn_id).get_model("my-model")
    assert_hides_key(failed.value)
    assert KEY not in FireworksHook(conn_id).test_connection()[1]
    # A full name needs no account, so several accounts are no error here.
    if invalid != "several accounts":
        with pytest.raises(exceptions.FireworksBadConnection) as failed:
            asyncio.run(send_shared(READ, conn_id))
        assert_hides_key(failed.value)


# ---- the session of get_conn()


def get_over_session(emulator: Emulator) -> requests.Response:
    response = FireworksHook().get_conn().get(f"{emulator.url}/v1/{MODEL}", timeout=0.3)
    response.raise_for_status()
    return response


@pytest.mark.parametrize("failure", [each for each in FAILURES if each not in ("text", "redirect", "quota")])
def test_failed_request_of_the_session_hides_key(emulator, failure, caplog):
    FAILURES[failure][0](emulator)
    with caplog.at_level(logging.DEBUG), pytest.raises(requests.RequestException) as failed:
        get_over_session(emulator)
    assert_hides_key(failed.value)
    assert KEY not in caplog.text


def test_session_and_its_responses_hide_key(emulator):
    response = get_over_session(emulator)
    session = FireworksHook().get_conn()
    texts = [
        *map(repr, (response, response.request, response.request.headers, session, vars(session))),
        *(pickle.dumps(each).decode("latin-1") for each in (response, session)),
    ]
    assert [text for text in texts if KEY in text] == []
    assert emulator.requests[-1].status == 200


# ---- objects of this package


def test_hook_clients_and_triggers_hide_key(emulator):
    hook = FireworksHook()
    hook.get_model("my-model")
    model = {"model": MODEL, "precision": "FP8", "deadline": 0, "poll_interval": 1}
    deployment = {"deployment": "accounts/demo/deployments/d", "deadline": 0, "poll_interval": 1}
    route = {"router": "accounts/demo/routers/r", "deployments": [], "strategy": "evenLoad", "mark": "m"}
    router = {"route": route, "visible_by": 0, "deadline": 0, "poll_interval": 1}
    triggers = [
        FireworksModelReadyTrigger(fireworks_conn_id="fireworks_default", wait=model),
        FireworksRouterReadyTrigger(fireworks_conn_id="fireworks_default", wait=router),
        FireworksDeploymentReadyTrigger(
            fireworks_conn_id="fireworks_default", wait=deployment, owner_signature="mine"
        ),
    ]
    shown = [hook, hook.config, vars(hook), hook.quick_client(timeout=1), vars(hook.quick_client(timeout=1))]
    shown += [part for trigger in triggers for part in (trigger, vars(trigger), trigger.serialize())]
    shown += [vars(trigger.make_wait()) for trigger in triggers]
    assert [each for each in shown if KEY in repr(each)] == []
    assert hook.config.api_key == KEY
