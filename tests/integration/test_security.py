"""What can be done by whoever chooses a task's arguments, and by whoever answers in the API's place."""

from __future__ import annotations

import contextlib
import json
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from airflow.providers.common.compat.sdk import AirflowException

from airflow_provider_fireworks import exceptions
from airflow_provider_fireworks.client import api
from airflow_provider_fireworks.client.errors import ApiError, UnavailableError, UnreachableError
from airflow_provider_fireworks.client.names import ModelName
from airflow_provider_fireworks.deployments.ownership import Owner
from airflow_provider_fireworks.hooks.fireworks import FireworksHook
from airflow_provider_fireworks.operators.deployment import (
    FireworksCreateDeploymentOperator,
    FireworksDeleteDeploymentOperator,
    FireworksScaleDeploymentOperator,
    FireworksSweepDeploymentsOperator,
)
from airflow_provider_fireworks.operators.model import FireworksPrepareModelOperator
from airflow_provider_fireworks.sensors.deployment import FireworksDeploymentReadySensor
from airflow_provider_fireworks.sensors.model import FireworksModelReadySensor
from tests.faults.network import certificate
from tests.integration.conftest import TaskInstance, run_task
from tests.integration.raw import KEY, Server, answer, in_worker
from tests.timing import use_timing

LONGEST = 4500
"""Characters of a line in the log, or of an exception's message."""


def connect(monkeypatch: pytest.MonkeyPatch, url: str, **changes: Any) -> None:
    connection = {"conn_type": "fireworks", "host": url, "password": KEY, "login": "demo"} | changes
    monkeypatch.setenv("AIRFLOW_CONN_FIREWORKS_DEFAULT", json.dumps(connection))


def assert_plain(text: str) -> None:
    assert text.isprintable(), ascii(text)
    assert len(text) <= LONGEST


# ---- who chooses the arguments

EVIL = {
    "parent": "../x",
    "parent within": "accounts/demo/models/../deployments/x",
    "parent, encoded": "%2e%2e%2fx",
    "slash": "x/y",
    "slash, encoded": "x%2fy",
    "query": "x?hard=true",
    "fragment": "x#y",
    "method": "x:prepare",
    "header": "x HTTP/1.1\r\nX-Evil: 1\r\n\r\n",
    "line end": "x\n",
    "null": "x\x00",
    "colour": "\x1b[31mx",
    "right to left": "x\u202ey",
    "wide letters": "\uff58",
    "capital": "X",
    "half a letter": "\ud800",
    "long": "x" * 1_000_000,
    "another host": "https://evil.example/x",
}
TASKS: dict[str, tuple[Callable[..., Any], dict[str, Any], tuple[str, ...]]] = {
    "prepare": (FireworksPrepareModelOperator, {"model": "m", "precision": "FP8"}, ("model", "precision")),
    "model sensor": (FireworksModelReadySensor, {"model": "m", "precision": "FP8"}, ("model", "precision")),
    "create": (
        FireworksCreateDeploymentOperator,
        {"model": "m", "precision": "FP8", "accelerator_type": "A", "deployment_id": "d"},
        ("model", "deployment_id"),
    ),
    "deployment sensor": (FireworksDeploymentReadySensor, {"deployment": "d"}, ("deployment",)),
    "scale": (FireworksScaleDeploymentOperator, {"deployment": "d", "replica_count": 1}, ("deployment",)),
    "delete": (FireworksDeleteDeploymentOperator, {"deployment": "d"}, ("deployment",)),
    "sweep": (FireworksSweepDeploymentsOperator, {"delete": True}, ("keep",)),
}
ARGUMENTS = [
    pytest.param(make, arguments, name, id=f"{task}, {name}")
    for task, (make, arguments, names) in TASKS.items()
    for name in (*names, "account_id")
]


@pytest.mark.parametrize("evil", EVIL.values(), ids=EVIL)
@pytest.mark.parametrize(("make", "arguments", "name"), ARGUMENTS)
def test_no_rendered_argument_reaches_the_path_of_a_request(emulator, make, arguments, name, evil):
    task = make(task_id="task", **arguments)
    # As a template is rendered, beyond what is judged when the DAG is parsed.
    setattr(task, name, evil)
    with pytest.raises(exceptions.FireworksInvalidArgument) as refused:
        task.execute({"ti": TaskInstance()})
    assert emulator.requests == []
    assert_plain(str(refused.value))


@pytest.mark.parametrize("evil", EVIL.values(), ids=EVIL)
def test_what_is_no_name_goes_into_the_body_alone(emulator, evil):
    evil = evil[:60]
    with contextlib.suppress(exceptions.FireworksError):
        task = FireworksCreateDeploymentOperator(
            task_id="deploy",
            model="my-model",
            accelerator_type=evil,
            display_name=evil,
            extra_spec={evil: evil},
            validate_only=True,
        )
        task.execute({"ti": TaskInstance()})
    if evil == EVIL["half a letter"]:
        assert emulator.requests == []
        return
    *_, post = emulator.requests
    assert (post.method, post.path) == ("POST", "/v1/accounts/demo/deployments")
    assert set(post.query) == {"deploymentId", "validateOnly"}
    assert post.body["acceleratorType"] == post.body["displayName"] == post.body[evil] == evil


@pytest.mark.parametrize("name", ["filter", "pageToken"])
@pytest.mark.parametrize("evil", EVIL.values(), ids=EVIL)
def test_what_goes_into_the_query_stays_one_value_of_it(monkeypatch, name, evil):
    """A filter is the caller's, a page token is the API's; both are passed on as they are."""
    evil = evil[:1000].replace("\ud800", "")
    pages = iter([{"models": [], "nextPageToken": evil if name == "pageToken" else ""}, {}])
    with Server(lambda: [json_answer(next(pages))]) as server:
        connect(monkeypatch, server.url)
        FireworksHook().list_models(filter=evil if name == "filter" else "")
    for sent in server.requests:
        request_line, *headers = sent.decode("ascii").removesuffix("\r\n\r\n").split("\r\n")
        verb, target, version = request_line.split(" ")
        assert (verb, urlsplit(target).path, version) == ("GET", "/v1/accounts/demo/models", "HTTP/1.1")
        assert not [header for header in headers if "evil" in header.lower()]
    query = parse_qs(urlsplit(target).query, keep_blank_values=True)
    assert query == {"pageSize": ["200"]} | ({name: [evil]} if evil else {})


@pytest.mark.parametrize("field", ["password", "login"])
@pytest.mark.parametrize("evil", ["x\r\nX-Evil: 1", "x\ny", "x\x00y", "x\u0130y", "x y", "\x7f"], ids=ascii)
def test_what_the_connection_holds_makes_no_header(monkeypatch, emulator, field, evil):
    connect(monkeypatch, emulator.url, **{field: evil})
    hook = FireworksHook()
    for ask in (hook.list_models, hook.list_deployments, lambda: hook.match_deployment_shapes("m")):
        with pytest.raises(exceptions.FireworksBadConnection) as refused:
            ask()
        assert_plain(str(refused.value))
    assert emulator.requests == []


def test_an_account_is_checked_wherever_the_hook_takes_one(emulator):
    for evil in EVIL.values():
        hook = FireworksHook(account_id=evil)
        for ask in (
            hook.list_models,
            hook.list_deployments,
            partial(FireworksHook().list_models, account_id=evil),
            partial(FireworksHook().list_deployments, account_id=evil),
            partial(hook.match_deployment_shapes, "accounts/a/models/m"),
        ):
            with pytest.raises(exceptions.FireworksInvalidArgument):
                ask()
    assert emulator.requests == []


# ---- who answers


def json_answer(body: Any, *headers: str, status: str = "200 OK") -> bytes:
    return answer(json.dumps(body).encode(), "Connection: close", *headers, status=status)


READ = api.get_model(ModelName("demo", "m"))


ECHOES: dict[str, Callable[[int], bytes]] = {
    "message": lambda n: json_answer({"code": 3, "message": "x" * n + KEY}, status="400 Bad"),
    "code": lambda n: json_answer({"code": "x" * n + KEY, "message": "m"}, status="400 Bad"),
    "request id": lambda n: json_answer({}, "X-Request-Id: " + "x" * n + KEY, status="500 Broken"),
    "place": lambda n: json_answer({}, "Location: https://" + "x" * n + KEY, status="302 Found"),
    "page": lambda n: answer(b"x" * n + KEY.encode(), "Connection: close", status="502 Bad"),
    "title": lambda n: answer(b"<title>" + b"x" * n + KEY.encode(), "Connection: close", status="502 Bad"),
    "encoding": lambda n: json_answer({}, "Content-Encoding: " + "x" * n + KEY),
}


@pytest.mark.parametrize("echo", ECHOES.values(), ids=ECHOES)
def test_a_key_that_is_echoed_is_cut_out_also_where_the_words_are_cut(echo):
    for cut in (200, 500, 4096):
        for before in range(cut - len(KEY) - 50, cut + 2):
            answers = [echo(before)]
            with Server(partial(list, answers)) as server, pytest.raises(ApiError) as told:
                in_worker(server.url, READ)
            assert KEY[:5] not in str(told.value), before


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
@pytest.mark.parametrize("place", ["{}/v1/accounts", "//{host}/", "https://{host}/"])
def test_the_key_follows_no_redirect(ask, status, place):
    with Server(lambda: [json_answer({})]) as other:
        place = place.format(other.url, host=urlsplit(other.url).netloc)
        redirect = json_answer({}, f"Location: {place}", status=f"{status} Moved")
        with (
            Server(lambda: [redirect]) as server,
            pytest.raises(UnavailableError, match="redirected to") as told,
        ):
            ask(server.url, READ)
    assert place in str(told.value)
    assert "which is not followed" in str(told.value)
    assert len(server.requests) == 1
    assert other.requests == []


def test_the_key_goes_to_nobody_without_a_trusted_certificate(ask, tmp_path):
    seen: list[bytes] = []
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate(tmp_path))
    listener = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        with contextlib.suppress(OSError):
            peer, _ = listener.accept()
            with context.wrap_socket(peer, server_side=True) as wrapped:
                seen.append(wrapped.recv(65536))

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    with listener, pytest.raises(UnreachableError, match="CERTIFICATE_VERIFY_FAILED"):
        ask(f"https://127.0.0.1:{listener.getsockname()[1]}", READ)
    thread.join(10)
    assert not any(seen)


@pytest.fixture
def proxied(monkeypatch: pytest.MonkeyPatch) -> Any:
    for name in ("NO_PROXY", "no_proxy", "http_proxy", "https_proxy"):
        monkeypatch.delenv(name, raising=False)
    with Server(lambda: [b"HTTP/1.1 403 Forbidden\r\n\r\n"]) as proxy:
        for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
            monkeypatch.setenv(name, proxy.url)
        yield proxy


def test_a_proxy_does_not_see_the_key(ask, proxied):
    with pytest.raises(UnreachableError):
        ask("https://emulator.example", READ)
    (sent,) = proxied.requests
    assert sent.startswith(b"CONNECT emulator.example:443 ")
    assert KEY.encode() not in sent


def test_a_proxy_that_trickles_is_left_in_time(ask, monkeypatch, proxied):
    use_timing(monkeypatch, response_timeout=0.3)

    def parts() -> Iterator[bytes]:
        yield b"HTTP/1.1 200 OK\r\n"
        for _ in range(1000):
            time.sleep(0.02)
            yield b"X: y\r\n"

    proxied._answer = parts
    started = time.monotonic()
    with pytest.raises(ApiError):
        ask("https://emulator.example", READ)
    assert time.monotonic() - started < 15
    assert len(proxied.requests) == 1


def test_what_is_for_this_machine_passes_no_proxy(ask, proxied):
    with Server(lambda: [json_answer({"state": "READY"})]) as server:
        assert ask(server.url, READ).state == "READY"
    assert proxied.requests == []


OTHERS = {
    "another account": "accounts/other/deployments/d",
    "parent": "accounts/demo/deployments/../../other/deployments/d",
    "parent, encoded": "accounts/demo/deployments/..%2f..%2fother",
    "query": "accounts/demo/deployments/d?hard=true",
    "another kind": "accounts/demo/models/d",
    "another host": "https://evil.example/accounts/demo/deployments/d",
    "line end": "accounts/demo/deployments/d\r\nX-Evil: 1",
    "nothing": "",
}


@pytest.mark.parametrize("name", OTHERS.values(), ids=OTHERS)
def test_the_gateway_does_not_choose_what_is_deleted(monkeypatch, name):
    monkeypatch.delenv("AIRFLOW__API__BASE_URL", raising=False)
    instance = TaskInstance("sweep")
    by = replace(Owner.from_context({"ti": instance}), task_id="deploy")
    instance.runs = {by.run_id: "success"}
    listed = {"deployments": [{"name": name, "description": by.description, "state": "READY"}]}
    with Server(lambda: [json_answer(listed)]) as server:
        connect(monkeypatch, server.url)
        with pytest.raises(
            exceptions.FireworksError, match="the list has what does not belong there"
        ) as refused:
            FireworksSweepDeploymentsOperator(task_id="sweep", delete=True).execute({"ti": instance})
    assert_plain(str(refused.value))
    assert [sent.split(b" ")[0] for sent in server.requests] == [b"GET"]


@pytest.mark.parametrize(
    "account", ["accounts/../x", "accounts/a/b", "accounts/a?x=1", "x\ny", "", "accounts/"]
)
def test_the_account_of_a_key_is_checked(monkeypatch, account):
    with Server(lambda: [json_answer({"accounts": [{"name": account}]})]) as server:
        connect(monkeypatch, server.url, login="")
        for ask in (FireworksHook().list_deployments, lambda: FireworksHook().get_model("m")):
            with pytest.raises(exceptions.FireworksBadConnection, match="no account id") as refused:
                ask()
            assert_plain(str(refused.value))
        ok, told = FireworksHook().test_connection()
    assert not ok
    assert_plain(told)
    assert len(server.requests) == 3


FORGED = "2026-01-01T00:00:00Z [info     ] FORGED"
WORDS = f"a\r\n{FORGED}\u2028{FORGED}\x1b[31m\x1b]0;title\x07\u202e\x00\ud800\U000e0041" + "b" * 100_000


def hostile_answers() -> dict[str, bytes]:
    status = {"code": WORDS, "message": WORDS}
    model = {
        "name": WORDS,
        "state": WORDS,
        "status": status,
        "updateTime": WORDS,
        "supportedPrecisions": [WORDS] * 20,
        "baseModelDetails": {"defaultPrecision": WORDS},
    }
    deployment = {
        "name": WORDS,
        "baseModel": WORDS,
        "precision": WORDS,
        "state": WORDS,
        "status": status,
        "description": Owner(WORDS, WORDS, WORDS).description,
        "acceleratorType": WORDS,
        "replicaCount": 10**4000,
        "replicaStats": {"readyReplicaCount": 10**4000},
    }
    page = {"deployments": [deployment], "accounts": [{"name": WORDS}] * 30, "nextPageToken": WORDS}
    envelope = {"code": WORDS, "message": WORDS, "request_id": WORDS}
    found = model | deployment | page
    return {
        "fields": json_answer(found | {"nextPageToken": ""}),
        "fields, page after page": json_answer(found),
        "a failure": json_answer(found | {"state": "FAILED", "nextPageToken": ""}),
        "what is deleted": json_answer(found | {"state": "DELETED"}),
        "what is ready": json_answer(found | {"state": "READY", "status": None}),
        **{
            f"words of {code}": json_answer(envelope, status=f"{code} \x1b[31m")
            for code in (400, 401, 404, 409, 429, 503)
        },
        "a page": answer(WORDS.encode("utf-8", "replace"), "Connection: close", status="502 Bad"),
        "another shape": json_answer({"state": {WORDS: WORDS}, "deployments": {WORDS: WORDS}, WORDS: WORDS}),
        "a redirect": json_answer({}, "Location: https://\x1b[31m\x85" + "b" * 9000, status="302 Found"),
        "a header": json_answer({}, "X-Request-Id: \x1b[31m\x85" + "b" * 9000, status="500 Broken"),
    }


HOSTILE = hostile_answers()
LOOKING = {
    "prepare": lambda: FireworksPrepareModelOperator(
        task_id="t", model="m", precision="FP8", wait_for_completion=True, timeout=0.1, poll_interval=0.05
    ),
    "model sensor": lambda: FireworksModelReadySensor(
        task_id="t", model="m", precision="FP8", timeout=0.1, poke_interval=0.05
    ),
    "model sensor, deferred": lambda: FireworksModelReadySensor(
        task_id="t", model="m", precision="FP8", timeout=0.1, poke_interval=0.05, deferrable=True
    ),
    "create": lambda: FireworksCreateDeploymentOperator(
        task_id="t", model="m", precision="FP8", accelerator_type="A", timeout=0.1, poll_interval=0.05
    ),
    "dry run": lambda: FireworksCreateDeploymentOperator(
        task_id="t", model="m", accelerator_type="A", timeout=0.1, validate_only=True
    ),
    "deployment sensor": lambda: FireworksDeploymentReadySensor(
        task_id="t", deployment="d", timeout=0.1, poke_interval=0.05, wait_for_inference=True
    ),
    "scale": lambda: FireworksScaleDeploymentOperator(
        task_id="t",
        deployment="d",
        replica_count=1,
        wait_for_completion=True,
        timeout=0.1,
        poll_interval=0.05,
    ),
    "delete": lambda: FireworksDeleteDeploymentOperator(task_id="t", deployment="d", timeout=0.1),
    "sweep": lambda: FireworksSweepDeploymentsOperator(task_id="t", delete=True),
}


@pytest.mark.parametrize("sent", HOSTILE.values(), ids=HOSTILE)
@pytest.mark.parametrize("make", LOOKING.values(), ids=LOOKING)
def test_the_gateways_words_forge_no_line(monkeypatch, caplog, capsys, make, sent):
    use_timing(monkeypatch, first_retry_delay=0.01, cleanup_timeout=0.1)
    # As Airflow sets it from 3.1 on: what httpx tells of a request has the words behind the status in it.
    caplog.set_level("WARNING", logger="httpx")
    instance = TaskInstance("t")
    result: Any = None
    with Server(lambda: [sent]) as server, caplog.at_level("INFO"):
        connect(monkeypatch, server.url)
        try:
            result = run_task(make, instance)
        except AirflowException as error:
            assert_plain(str(error))
    assert server.requests
    logged = [*(record.getMessage() for record in caplog.records), *"".join(capsys.readouterr()).splitlines()]
    for line in logged:
        assert_plain(line)
        assert not line.startswith((FORGED, f"a {FORGED}"))
    for stored in (result, instance.xcoms):
        assert "\\u0000" not in json.dumps(stored)


@pytest.mark.parametrize("sent", HOSTILE.values(), ids=HOSTILE)
def test_the_connection_test_says_one_line(monkeypatch, sent):
    with Server(lambda: [sent]) as server:
        connect(monkeypatch, server.url, login="")
        _, told = FireworksHook().test_connection()
    assert_plain(told)
