"""The hook's connection, session and requests about models, against an emulated API."""

from __future__ import annotations

import pickle
import socket
import time
from typing import Any

import pytest
import requests
from airflow.sdk import Connection

from airflow_provider_fireworks import exceptions
from airflow_provider_fireworks.client import ModelName, api
from airflow_provider_fireworks.emulator import Emulator
from airflow_provider_fireworks.hooks.fireworks import FireworksHook
from tests.integration.clients import send_shared
from tests.integration.conftest import MODEL
from tests.integration.servers import Server, json_response
from tests.timing import use_timing


def get_model_once() -> Any:
    hook = FireworksHook()
    return hook.send(api.get_model(hook.model_name("my-model")), attempts=1)


# ---- connection


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"password": ""}, "there is no API key"),
        ({"password": "fw_a\nb"}, "characters that no key has"),
        ({"host": "http://api.fireworks.ai"}, "plain http"),
        ({"host": "ftp://x"}, "the base URL 'ftp://x' is invalid"),
        ({"login": "My Account"}, "invalid account id 'My Account'"),
    ],
    ids=["no key", "malformed key", "plain http", "ftp", "malformed account"],
)
def test_invalid_connection_is_explained(emulator, connect, fields, message):
    connect(**fields)
    with pytest.raises(exceptions.FireworksBadConnection, match=message) as failure:
        FireworksHook().get_model("my-model")
    assert str(failure.value).startswith("Connection 'fireworks_default' cannot be used: ")
    assert "fw_a" not in str(failure.value)
    assert FireworksHook().test_connection()[0] is False


def test_missing_connection_is_explained():
    with pytest.raises(exceptions.FireworksBadConnection, match="Create it, with the type Fireworks AI"):
        FireworksHook("no_such_connection").get_model("my-model")


def test_scheme_and_port_may_have_their_own_fields(emulator, connect):
    port = int(emulator.url.rpartition(":")[2])
    connect(host="127.0.0.1", schema="http", port=port)
    assert FireworksHook().config.base_url == emulator.url


@pytest.mark.parametrize(
    ("extra", "limit"),
    [
        ({"requests_per_minute": 10}, 10),
        ({"requests_per_minute": None}, None),
        ('{"requests_per_minute": "7"}', 7),
        ({"other": 1}, None),
    ],
    ids=str,
)
def test_extra_may_limit_requests(connect, extra, limit):
    connect(extra=extra)
    assert FireworksHook().config.requests_per_minute == limit


@pytest.mark.parametrize("extra", ["[1]", "{not JSON"])
def test_extra_that_is_no_object_is_ignored(monkeypatch, extra):
    # Airflow 3.0 takes no such connection from the environment.
    connection = Connection(conn_id="any", conn_type="fireworks", password="fw_key", extra=extra)
    monkeypatch.setattr(FireworksHook, "get_connection", lambda *_: connection)
    assert FireworksHook().config.requests_per_minute is None


def test_connection_as_uri_may_limit_requests(monkeypatch):
    monkeypatch.setenv("AIRFLOW_CONN_FIREWORKS_DEFAULT", "fireworks://demo:fw_key@/?requests_per_minute=10")
    assert FireworksHook().config.requests_per_minute == 10


def test_invalid_limit_makes_connection_unusable(connect):
    connect(extra={"requests_per_minute": "fast"})
    with pytest.raises(exceptions.FireworksBadConnection, match="requests_per_minute is not a whole number"):
        FireworksHook().get_model("my-model")


def test_environment_replaces_the_connection(emulator, monkeypatch):
    monkeypatch.delenv("AIRFLOW_CONN_FIREWORKS_DEFAULT")
    with pytest.raises(exceptions.FireworksBadConnection, match="FIREWORKS_API_KEY"):
        FireworksHook(None).get_model("my-model")
    monkeypatch.setenv("FIREWORKS_API_KEY", emulator.api_key)
    monkeypatch.setenv("FIREWORKS_ACCOUNT_ID", "demo")
    monkeypatch.setenv("FIREWORKS_BASE_URL", emulator.url)
    assert FireworksHook(None).get_model("my-model").name == MODEL


def test_form_of_older_airflow_versions_matches_the_metadata():
    behaviour = FireworksHook.get_ui_field_behaviour()
    assert behaviour["relabeling"] == {"login": "Account ID", "password": "API key", "host": "Base URL"}
    assert set(behaviour) == {"hidden_fields", "relabeling", "placeholders"}


# ---- account


def test_account_is_looked_up_from_the_key(emulator, connect):
    connect(login="")
    hook = FireworksHook()
    assert hook.known_account is None
    assert str(hook.model_name("my-model")) == MODEL
    assert str(hook.model_name("other-model")).startswith("accounts/demo/")
    assert emulator.count("GET", "/v1/accounts") == 1


def test_full_name_needs_no_account(emulator, connect):
    connect(login="")
    assert FireworksHook().get_model(MODEL).name == MODEL
    assert len(emulator.requests) == 1


def test_invalid_id_is_rejected_before_its_account_is_looked_up(emulator, connect):
    connect(login="")
    with pytest.raises(exceptions.FireworksInvalidArgument):
        FireworksHook().get_model("My Model")
    assert emulator.requests == []


@pytest.mark.parametrize(
    ("accounts", "message"),
    [
        (["accounts/demo", "accounts/second"], r"access to several accounts \(demo, second\)"),
        ([], "access to no account"),
    ],
    ids=["several", "none"],
)
def test_account_has_to_be_set_unless_the_key_has_just_one(connect, accounts, message):
    with Server(lambda: [json_response({"accounts": [{"name": name} for name in accounts]})]) as server:
        connect(host=server.url, login="")
        with pytest.raises(exceptions.FireworksBadConnection, match=message):
            FireworksHook().get_model("my-model")


def test_account_given_to_the_hook_replaces_the_connections(emulator, connect):
    emulator.configure(accounts=["demo", "second"])
    connect(login="second")
    assert FireworksHook(account_id="demo").get_model("my-model").name == MODEL


# ---- connection test


def test_connection_test_names_the_account(emulator, connect):
    summary = f"The API key has access to demo at {emulator.url}."
    assert FireworksHook().test_connection() == (True, summary)
    connect(login="")
    assert FireworksHook().test_connection() == (True, summary)


def test_connection_test_fails_for_another_account(emulator, connect):
    connect(login="other")
    ok, message = FireworksHook().test_connection()
    assert not ok
    assert "The connection's Account ID, other, is not among them." in message


def test_connection_test_fails_for_several_accounts(emulator, connect):
    emulator.configure(accounts=["demo", "second"])
    connect(login="")
    ok, message = FireworksHook().test_connection()
    assert not ok
    assert "demo, second" in message
    assert "Set the Account ID to use." in message


def test_connection_test_fails_for_a_revoked_key(emulator):
    emulator.revoke_key()
    ok, message = FireworksHook().test_connection()
    assert not ok
    assert "HTTP 403" in message
    assert emulator.api_key not in message


def test_connection_test_limits_each_request(emulator, monkeypatch):
    use_timing(monkeypatch, connection_test_response_timeout=0.3)
    emulator.fault("hang", delay=30)
    ok, message = FireworksHook().test_connection()
    assert not ok
    assert "was not complete after 0.3 s" in message


def test_connection_test_ends_in_time(emulator, monkeypatch):
    use_timing(monkeypatch, connection_test_timeout=0.3)
    emulator.fault("hang", delay=30)
    started = time.monotonic()
    assert FireworksHook().test_connection() == (False, "No response within 0.3 s.")
    assert time.monotonic() - started < 2


# ---- session


def test_session_sends_the_key_to_the_base_url_only(emulator, connect):
    session = FireworksHook().get_conn()
    assert isinstance(session, requests.Session)
    assert session.get(f"{emulator.url}/v1/{MODEL}", timeout=5).json()["name"] == MODEL
    # Another server, which would accept the same key.
    with Emulator(api_key=emulator.api_key) as other:
        assert session.get(f"{other.url}/v1/{MODEL}", timeout=5).status_code in (401, 403)
    connect(host=f"{emulator.url}/below")
    assert FireworksHook().get_conn().get(f"{emulator.url}/v1/{MODEL}", timeout=5).status_code in (401, 403)


def test_session_follows_no_redirect(emulator):
    with Emulator() as other:
        emulator.fault("redirect", location=f"{other.url}/v1/{MODEL}")
        response = FireworksHook().get_conn().get(f"{emulator.url}/v1/{MODEL}", timeout=5)
        assert 300 <= response.status_code < 400
        assert other.requests == []


def test_both_clients_send_the_packages_user_agent(send):
    # A firewall in front of the API refuses those of Python's libraries.
    with Server(lambda: [json_response({})]) as server:
        send(server.url, api.get_model(ModelName.parse(MODEL)))
    assert b"\r\nuser-agent: airflow-provider-fireworks/" in server.requests[0].lower()


# ---- errors and retries


@pytest.mark.parametrize(
    ("fault", "error", "attempts"),
    [
        ({"kind": "status", "status": 503}, exceptions.UnavailableError, 3),
        ({"kind": "status", "status": 429, "retry_after": "0"}, exceptions.RateLimitedError, 3),
        ({"kind": "html", "status": 502}, exceptions.UnavailableError, 3),
        ({"kind": "html", "status": 403}, exceptions.UnavailableError, 3),
        ({"kind": "truncate"}, exceptions.NoResponseError, 3),
        ({"kind": "drop"}, exceptions.NoResponseError, 3),
        ({"kind": "status", "status": 400}, exceptions.RefusedError, 1),
        ({"kind": "status", "status": 403}, exceptions.AccessDeniedError, 1),
    ],
    ids=lambda value: str(value),
)
def test_read_is_retried_over_transient_errors(emulator, fault, error, attempts, monkeypatch):
    use_timing(monkeypatch, first_retry_delay=0.01)
    emulator.fault(**fault, times=-1)
    with pytest.raises(error) as failure:
        FireworksHook().get_model("my-model")
    assert len(emulator.requests) == attempts
    assert f"GET /v1/{MODEL}" in str(failure.value)
    copy = pickle.loads(pickle.dumps(failure.value))
    assert str(copy) == str(failure.value)


@pytest.mark.parametrize("fault", [{"kind": "drop"}, {"kind": "status", "status": 503}], ids=str)
def test_prepare_is_retried_only_if_the_api_cannot_have_acted(emulator, fault):
    emulator.fault(**fault, method="POST")
    with pytest.raises(exceptions.ApiError):
        FireworksHook().prepare_model("my-model", "FP8")
    assert emulator.count("POST", ":prepare") == 1
    emulator.fault("status", status=429, retry_after="0", method="POST")
    FireworksHook().prepare_model("my-model", "FP8")
    assert emulator.count("POST", ":prepare") == 3


def test_error_that_is_no_api_error_is_not_retried(emulator):
    def fail(parsed: dict[str, Any]) -> None:
        raise KeyError("a bug")

    with pytest.raises(KeyError):
        FireworksHook().send(api.Request("GET", f"v1/{MODEL}", fail))
    assert len(emulator.requests) == 1


def test_retry_after_delays_the_retry(emulator):
    emulator.fault("status", status=429, retry_after="1")
    started = time.monotonic()
    FireworksHook().get_model("my-model")
    assert time.monotonic() - started >= 1


def test_refused_connection_is_unreachable(connect):
    with socket.socket() as bound:
        # Bound but not listening, so that nobody else takes the port.
        bound.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{bound.getsockname()[1]}"
        connect(host=url)
        with pytest.raises(exceptions.ConnectError, match=f"cannot be reached at {url}"):
            get_model_once()


def test_has_responded_counts_successes_and_the_apis_own_errors(emulator):
    hook = FireworksHook()
    assert not hook.has_responded
    emulator.fault("html", status=502, times=3)
    with pytest.raises(exceptions.UnavailableError):
        hook.get_model("my-model")
    assert not hook.has_responded
    with pytest.raises(exceptions.NotFoundError):
        hook.get_model("no-such-model")
    assert hook.has_responded


# ---- models


def test_get_model_accepts_id_and_full_name(emulator):
    hook = FireworksHook()
    assert hook.get_model("my-model") == hook.get_model(MODEL) == hook.get_model(hook.model_name(MODEL))
    assert hook.get_model("my-model").name == MODEL


def test_list_models_reads_all_pages(emulator):
    for number in range(450):
        emulator.add_model(f"many-{number}")
    names = {model.name for model in FireworksHook().list_models()}
    assert {f"accounts/demo/models/many-{number}" for number in range(450)} < names
    assert emulator.count("GET", "/models") == 3


@pytest.mark.parametrize(
    "model", ["../x", "a/b", "x?y=1", "x#y", "x%2fy", "x y", "X", "", "accounts/a/models/b/c"]
)
def test_invalid_model_is_not_sent(emulator, model):
    hook = FireworksHook()
    for method in (
        hook.get_model,
        hook.match_deployment_shapes,
        lambda name: hook.prepare_model(name, "FP8"),
    ):
        with pytest.raises(exceptions.FireworksInvalidArgument):
            method(model)
    assert emulator.requests == []


def test_unknown_precision_is_sent_only_if_allowed(emulator):
    with pytest.raises(exceptions.FireworksInvalidArgument, match="Unknown precision 'FP9'"):
        FireworksHook().prepare_model("my-model", "FP9")
    assert emulator.requests == []
    with pytest.raises(exceptions.RefusedError, match="INVALID_ARGUMENT"):
        FireworksHook().prepare_model("my-model", "FP9", allow_unknown_precision=True)
    assert emulator.requests[-1].body == {"precision": "FP9"}


@pytest.mark.parametrize(
    ("account_id", "model", "name"),
    [
        (None, "my-model", MODEL),
        ("second", "my-model", "accounts/second/models/my-model"),
        (None, "accounts/fireworks/models/yi-6b", "accounts/fireworks/models/yi-6b"),
        ("second", "accounts/fireworks/models/yi-6b", "accounts/fireworks/models/yi-6b"),
    ],
)
def test_base_model_may_belong_to_any_account(emulator, account_id, model, name):
    assert str(FireworksHook(account_id=account_id).base_model_name(model)) == name


async def test_shared_client_reads_the_same_model(emulator):
    hook = FireworksHook()
    request = api.get_model(hook.model_name("my-model"))
    assert await send_shared(request) == hook.get_model("my-model")
