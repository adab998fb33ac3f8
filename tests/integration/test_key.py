"""The key: in nothing that a failure prints, logs, pickles or shows of the local variables on its way."""

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
from io import StringIO
from typing import Any

import pytest
import requests
from airflow.providers.common.compat.sdk import AirflowSensorTimeout, AirflowTaskTimeout
from rich.console import Console
from rich.traceback import Traceback

from airflow_provider_fireworks import exceptions
from airflow_provider_fireworks.client import api
from airflow_provider_fireworks.client.names import ModelName
from airflow_provider_fireworks.emulator import Emulator
from airflow_provider_fireworks.hooks.fireworks import FireworksHook
from airflow_provider_fireworks.operators.deployment import (
    FireworksCreateDeploymentOperator,
    FireworksSweepDeploymentsOperator,
)
from airflow_provider_fireworks.operators.model import FireworksPrepareModelOperator
from airflow_provider_fireworks.sensors.deployment import FireworksDeploymentReadySensor
from airflow_provider_fireworks.sensors.model import FireworksModelReadySensor
from airflow_provider_fireworks.triggers.deployment import FireworksDeploymentReadyTrigger
from airflow_provider_fireworks.triggers.model import FireworksModelReadyTrigger
from tests.integration.conftest import MODEL, run_task
from tests.integration.raw import send_from_triggerer
from tests.timing import use_timing

KEY = "fw_this_must_not_show_9f83c1"
LOOK = api.get_model(ModelName.parse(MODEL))


@pytest.fixture(autouse=True)
def connect(emulator: Emulator, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Give the connection that key, and change other fields of it if told to."""
    use_timing(monkeypatch, first_retry_delay=0.01)

    def change(**fields: Any) -> None:
        connection = json.loads(emulator.connection) | fields
        monkeypatch.setenv("AIRFLOW_CONN_FIREWORKS_DEFAULT", json.dumps(connection))

    emulator.api_key = KEY
    change()
    return change


def chain(error: BaseException) -> Iterator[BaseException]:
    """Return an error and all that Python remembers as having led to it, also what is not to be shown."""
    waiting, seen = [error], set()
    while waiting:
        each = waiting.pop()
        if id(each) not in seen:
            seen.add(id(each))
            yield each
            waiting += filter(None, (each.__cause__, each.__context__))


def shown(error: BaseException) -> dict[str, str]:
    """Return all that tools make of an error, by the tool."""
    rich, log = StringIO(), StringIO()
    trace = Traceback.from_exception(type(error), error, error.__traceback__, show_locals=True)
    Console(file=rich, width=500).print(trace)
    logger = logging.Logger("of the test")
    logger.addHandler(logging.StreamHandler(log))
    logger.error("It failed: %s", error, exc_info=error)
    found = {"rich traceback": rich.getvalue(), "log": log.getvalue()}
    for number, each in enumerate(chain(error)):
        kind = f"{type(each).__module__}.{type(each).__name__}, number {number}"
        with_locals = traceback.TracebackException.from_exception(each, capture_locals=True)
        found |= {
            f"str of {kind}": str(each),
            f"repr of {kind}": repr(each),
            f"attributes of {kind}": repr(vars(each)),
            f"pickle of {kind}": pickle.dumps(each).decode("latin-1"),
            f"locals of {kind}": "".join(with_locals.format()),
        }
    return found


def check(error: BaseException) -> None:
    """Hold that an error does not show the key."""
    assert [tool for tool, text in shown(error).items() if KEY in text] == []


def fail(key: str) -> None:
    error = ValueError(f"bad {key}")
    error.key = key
    raise error


def fail_hiding_why(key: str) -> None:
    try:
        fail(key)
    except ValueError:
        raise RuntimeError("hidden") from None


def test_the_check_finds_a_key_wherever_it_can_be():
    with pytest.raises(ValueError, match="bad") as failed:
        fail(KEY)
    assert [tool for tool, text in shown(failed.value).items() if KEY not in text] == []
    with pytest.raises(RuntimeError) as failed:
        fail_hiding_why(KEY)
    found = {tool.partition(" of ")[0] for tool, text in shown(failed.value).items() if KEY in text}
    assert found >= {"str", "repr", "attributes", "pickle", "locals"}


# ---- what can come of a call, over both transports


def by_worker(call: api.Request[Any] = LOOK) -> Any:
    return FireworksHook().quick_client(timeout=0.3).send(call, attempts=2)


def by_triggerer(call: api.Request[Any] = LOOK) -> Any:
    return asyncio.run(send_from_triggerer(call))


@pytest.fixture(params=[by_worker, by_triggerer], ids=["worker", "triggerer"])
def send(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Any:
    use_timing(monkeypatch, read_timeout=0.3)
    return request.param


def create() -> api.Request[Any]:
    name = FireworksHook().deployment_name("d")
    return api.create_deployment(name, {"baseModel": MODEL, "acceleratorType": "NVIDIA_H100_80GB"})


FAILURES: dict[str, tuple[Callable[[Any], Any], type[Exception]]] = {
    "nobody there": (lambda emulator: emulator.stop(), exceptions.UnreachableError),
    "dropped": (lambda emulator: emulator.fault("drop", times=-1), exceptions.NoResponseError),
    "no answer in time": (lambda emulator: emulator.fault("hang", times=-1), exceptions.NoResponseError),
    "cut off": (lambda emulator: emulator.fault("truncate", times=-1), exceptions.NoResponseError),
    "unreadable": (lambda emulator: emulator.fault("text", status=200, times=-1), exceptions.NoResponseError),
    "a page": (lambda emulator: emulator.fault("html", times=-1), exceptions.UnavailableError),
    "503": (lambda emulator: emulator.fault("status", times=-1), exceptions.UnavailableError),
    "redirected": (
        lambda emulator: emulator.fault("redirect", location="http://x/", times=-1),
        exceptions.UnavailableError,
    ),
    "429": (lambda emulator: emulator.fault("status", status=429, times=-1), exceptions.RateLimitedError),
    "400": (lambda emulator: emulator.fault("status", status=400), exceptions.RefusedError),
    "refused key": (lambda emulator: emulator.revoke_key(), exceptions.AccessDeniedError),
    "no such model": (
        lambda emulator: emulator.fault("status", status=404, times=-1),
        exceptions.NotFoundError,
    ),
    "quota": (lambda emulator: emulator.configure(gpu_quota=0), exceptions.QuotaExceededError),
}


@pytest.mark.parametrize("failure", FAILURES)
def test_no_failed_call_shows_it(emulator, send, failure, caplog):
    happen, kind = FAILURES[failure]
    call = create() if failure == "quota" else LOOK
    happen(emulator)
    with caplog.at_level(logging.DEBUG), pytest.raises(kind) as failed:
        send(call)
    assert type(failed.value) is kind
    check(failed.value)
    assert KEY not in caplog.text


def test_every_error_of_a_call_was_looked_at():
    kinds = {kind for _, kind in FAILURES.values()}
    assert kinds == set(all_below(exceptions.ApiError))


def all_below(kind: type) -> Iterator[type]:
    for each in kind.__subclasses__():
        yield each
        yield from all_below(each)


class Echo(BaseHTTPRequestHandler):
    """An API that says the key wherever it can."""

    status, content = 400, '{"code": 3, "message": "%s", "request_id": "%s"}'

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
def serving(handler: type[BaseHTTPRequestHandler]) -> Iterator[str]:
    """Serve at a port of loopback, and return its URL."""
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
        (400, Echo.content),
        (401, '{"error": {"code": "%s", "message": "bad key %s"}}'),
        (502, "<title>%s</title>"),
        (307, "%s"),
        (404, "%s"),
        (200, '{"%s'),
        (200, '{"name": ["%s"]}'),
    ],
)
def test_a_key_that_the_gateway_says_is_taken_out(connect, send, status, content, caplog):
    class ResponseReader(Echo):
        pass

    ResponseReader.status, ResponseReader.content = status, content
    with serving(ResponseReader) as url, caplog.at_level(logging.INFO):
        connect(host=url)
        with pytest.raises(exceptions.ApiError) as failed:
            send()
    check(failed.value)
    assert KEY not in caplog.text
    if status in (307, 400, 401, 404, 502):
        assert "***" in str(failed.value)


def test_a_key_that_the_gateway_says_in_a_good_answer_is_taken_out_too(connect, send):
    class ResponseReader(Echo):
        status = 200
        content = (
            '{"name": "n", "state": "%s", "status": {"message": "of %s"}, "supportedPrecisions": ["%s"]}'
        )

    with serving(ResponseReader) as url:
        connect(host=url)
        model = send()
    assert model.status.message == "of ***"
    assert KEY not in model.model_dump_json()


def test_a_time_limit_of_the_task_does_not_show_it(emulator):
    def over(*_: Any) -> None:
        raise AirflowTaskTimeout("Timeout")

    emulator.fault("hang", times=-1)
    before = signal.signal(signal.SIGALRM, over)
    signal.setitimer(signal.ITIMER_REAL, 0.5)
    try:
        with pytest.raises(AirflowTaskTimeout) as failed:
            FireworksHook().get_model(MODEL)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    check(failed.value)
    assert "urllib3" in "".join(traceback.format_exception(failed.value)), "not in the middle of a call"


@pytest.mark.parametrize("how", ["limited", "cancelled"])
def test_a_call_that_is_cancelled_does_not_show_it(emulator, how):
    emulator.fault("hang", times=-1)

    async def stopped() -> None:
        call = asyncio.ensure_future(send_from_triggerer(LOOK))
        if how == "limited":
            await asyncio.wait_for(call, 0.5)
        await asyncio.sleep(0.5)
        call.cancel()
        await call

    with pytest.raises((asyncio.TimeoutError, asyncio.CancelledError)) as failed:
        asyncio.run(stopped())
    check(failed.value)
    assert emulator.count("GET") == 1, "not in the middle of a call"


# ---- connections that are of no use


BAD_CONNECTIONS: dict[str, dict[str, Any]] = {
    "plain http": {"host": "http://elsewhere"},
    "two keys": {"password": f"{KEY}\n{KEY}"},
    "a key in the URL": {"host": f"https://{KEY}@elsewhere"},
    "no port": {"host": "https://elsewhere:port"},
    "another scheme": {"host": "ftp://elsewhere"},
    "blanks": {"host": "https://else where"},
    "several accounts": {"login": ""},
}


@pytest.fixture(params=BAD_CONNECTIONS)
def bad(request: pytest.FixtureRequest, emulator: Emulator, connect: Callable[..., None]) -> str:
    """Make the connection a bad one, and return in which way. The test itself must not see the key."""
    emulator.configure(accounts=["demo", "second"])
    connect(**BAD_CONNECTIONS[request.param])
    return request.param


@pytest.fixture(params=["fireworks_default", None], ids=["connection", "environment"])
def conn_id(request: pytest.FixtureRequest, bad: str, monkeypatch: pytest.MonkeyPatch) -> str | None:
    """The connection, or the same of the environment."""
    connection = json.loads(os.environ["AIRFLOW_CONN_FIREWORKS_DEFAULT"])
    for name, field in (("API_KEY", "password"), ("BASE_URL", "host"), ("ACCOUNT_ID", "login")):
        monkeypatch.setenv(f"FIREWORKS_{name}", connection[field])
    return request.param


def test_no_bad_connection_shows_it(bad, conn_id):
    with pytest.raises(exceptions.FireworksBadConnection) as failed:
        FireworksHook(conn_id).get_model("my-model")
    check(failed.value)
    assert KEY not in FireworksHook(conn_id).test_connection()[1]
    if bad != "several accounts":
        with pytest.raises(exceptions.FireworksBadConnection) as failed:
            asyncio.run(send_from_triggerer(LOOK, conn_id))
        check(failed.value)


# ---- the session that users are given


def ask(emulator: Emulator) -> requests.Response:
    answer = FireworksHook().get_conn().get(f"{emulator.url}/v1/{MODEL}", timeout=0.3)
    answer.raise_for_status()
    return answer


@pytest.mark.parametrize(
    "failure", [failure for failure in FAILURES if failure not in ("unreadable", "redirected", "quota")]
)
def test_no_failure_of_the_session_shows_it(emulator, failure, caplog):
    FAILURES[failure][0](emulator)
    with caplog.at_level(logging.DEBUG), pytest.raises(requests.RequestException) as failed:
        ask(emulator)
    check(failed.value)
    assert KEY not in caplog.text


def test_nothing_that_the_session_returns_shows_it(emulator):
    answer = ask(emulator)
    session = FireworksHook().get_conn()
    told = [
        *map(repr, (answer, answer.request, answer.request.headers, session, vars(session))),
        *(pickle.dumps(each).decode("latin-1") for each in (answer, session)),
    ]
    assert [text for text in told if KEY in text] == []
    assert emulator.requests[-1].status == 200


# ---- what else is at hand


def test_no_object_of_ours_shows_it(emulator):
    hook = FireworksHook()
    hook.get_model("my-model")
    wait = {"model": MODEL, "precision": "FP8", "deadline": 0, "poll_interval": 1}
    asked = {"deployment": MODEL.replace("models", "deployments"), "deadline": 0, "poll_interval": 1}
    triggers = [
        FireworksModelReadyTrigger(fireworks_conn_id="fireworks_default", wait=wait),
        FireworksDeploymentReadyTrigger(
            fireworks_conn_id="fireworks_default", wait=asked, delete_on_kill="mine"
        ),
    ]
    told = [hook, hook.config, vars(hook), hook.quick_client(timeout=1), vars(hook.quick_client(timeout=1))]
    told += [part for trigger in triggers for part in (trigger, vars(trigger), trigger.serialize())]
    told += [vars(trigger.make_wait()) for trigger in triggers]
    assert [each for each in told if KEY in repr(each)] == []
    assert hook.config.api_key == KEY


# ---- tasks


def prepare(**arguments: Any) -> Any:
    arguments = {"model": "my-model", "precision": "FP8", "timeout": 20} | arguments
    return FireworksPrepareModelOperator(
        task_id="prepare", poll_interval=0.1, wait_for_completion=True, **arguments
    )


def deploy(**arguments: Any) -> Any:
    arguments = {"accelerator_type": "NVIDIA_H100_80GB", "timeout": 20} | arguments
    return FireworksCreateDeploymentOperator(
        task_id="deploy", model="my-model", poll_interval=0.1, **arguments
    )


def ready(**arguments: Any) -> Any:
    return FireworksModelReadySensor(
        task_id="ready",
        model="my-model",
        precision="FP8",
        poke_interval=0.1,
        **{"timeout": 20} | arguments,
    )


def up(**arguments: Any) -> Any:
    return FireworksDeploymentReadySensor(
        task_id="up", deployment="d", poke_interval=0.1, timeout=20, **arguments
    )


def failed_preparation(emulator: Any) -> dict[str, Any]:
    emulator.configure(outcome="failed_status")
    baseline = run_task(
        lambda: FireworksPrepareModelOperator(task_id="prepare", model="my-model", precision="FP8")
    )
    return {"baseline": baseline["baseline"]}


def failed_deployment(emulator: Any) -> None:
    FireworksHook().send(create())
    emulator.set_deployment("d", state="FAILED")


def taken_id(emulator: Any) -> dict[str, str]:
    FireworksHook().send(create())
    return {"deployment_id": "d"}


class NonsenseEvent:
    """A task that is resumed with an event that is none."""

    def __init__(self, make: Callable[..., Any]) -> None:
        self.make = make

    def execute(self, context: Any) -> Any:
        return self.make(deferrable=True).resume_execution("execute_complete", {"event": "ready"}, context)


def web_site_in_place_of_the_api(emulator: Any) -> None:
    emulator.fault("html", status=404, times=-1)


TASKS: dict[type[Exception], tuple[Callable[..., Any], Callable[[Any], Any]]] = {
    exceptions.FireworksInvalidArgument: (
        lambda **how: prepare(**how, account_id="other", model=MODEL),
        lambda emulator: None,
    ),
    exceptions.FireworksBadConnection: (
        lambda **how: prepare(**how, fireworks_conn_id="none"),
        lambda emulator: None,
    ),
    exceptions.FireworksUnreachable: (prepare, web_site_in_place_of_the_api),
    exceptions.FireworksAccessDenied: (prepare, lambda emulator: emulator.revoke_key()),
    exceptions.FireworksRefused: (prepare, lambda emulator: emulator.fault("status", status=400, times=-1)),
    exceptions.FireworksNotFound: (prepare, lambda emulator: emulator.fault("status", status=404, times=-1)),
    exceptions.FireworksPreparationFailed: (
        prepare,
        lambda emulator: emulator.configure(outcome="failed_status"),
    ),
    exceptions.FireworksModelNotReady: (ready, failed_preparation),
    exceptions.FireworksDeploymentFailed: (
        deploy,
        lambda emulator: emulator.configure(deploy_outcome="failed"),
    ),
    exceptions.FireworksDeploymentNotReady: (up, failed_deployment),
    exceptions.FireworksDeploymentConflict: (deploy, taken_id),
    exceptions.FireworksQuotaExceeded: (deploy, lambda emulator: emulator.configure(gpu_quota=0)),
    exceptions.FireworksTimeout: (
        lambda **how: prepare(**how, timeout=1.5),
        lambda emulator: emulator.fault("drop", method="GET", times=-1),
    ),
    exceptions.FireworksInvalidEvent: (
        lambda **how: NonsenseEvent(prepare),
        lambda emulator: emulator.configure(duration=60),
    ),
    exceptions.FireworksError: (
        lambda **how: FireworksSweepDeploymentsOperator(task_id="sweep"),
        lambda emulator: emulator.fault("status", status=503, times=-1),
    ),
    AirflowSensorTimeout: (
        lambda **how: ready(**how, timeout=1.5),
        lambda emulator: emulator.fault("status", status=503, times=-1),
    ),
}


@pytest.mark.parametrize("deferrable", [False, True], ids=["worker", "deferrable"])
@pytest.mark.parametrize("kind", TASKS)
def test_no_failed_task_shows_it(emulator, kind, deferrable, caplog, monkeypatch):
    use_timing(monkeypatch, misdirected_timeout=0.5)
    make, happen = TASKS[kind]
    more = happen(emulator)
    more = more if isinstance(more, dict) else {}
    with caplog.at_level(logging.DEBUG), pytest.raises(kind) as failed:
        run_task(lambda: make(deferrable=deferrable, **more))
    assert type(failed.value) is kind
    check(failed.value)
    assert KEY not in caplog.text


def test_every_error_of_a_task_was_looked_at():
    base = {exceptions.FireworksFinalError}
    assert (
        set(TASKS)
        == {*all_below(exceptions.FireworksError), exceptions.FireworksError, AirflowSensorTimeout} - base
    )
