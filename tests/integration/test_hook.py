"""The hook against an emulated API."""

from __future__ import annotations

import contextlib
import json
import pickle
import socket
import ssl
import threading
import time
from typing import Any

import pytest
import requests

from airflow_provider_fireworks import exceptions
from airflow_provider_fireworks.emulator import Emulator
from airflow_provider_fireworks.hooks import fireworks as hooks
from airflow_provider_fireworks.hooks.fireworks import FireworksHook
from tests.faults.network import certificate
from tests.integration.conftest import MODEL
from tests.integration.raw import send_from_triggerer
from tests.timing import use_timing


def connect(monkeypatch: pytest.MonkeyPatch, emulator: Emulator, **changes: Any) -> None:
    connection = json.loads(emulator.connection) | changes
    monkeypatch.setenv("AIRFLOW_CONN_FIREWORKS_DEFAULT", json.dumps(connection))


def look_once() -> Any:
    hook = FireworksHook()
    return hook.send(hooks.api.get_model(hook.model_name("my-model")), attempts=1)


def test_reads_a_model_by_id_and_by_full_name(emulator):
    hook = FireworksHook()
    assert hook.get_model("my-model") == hook.get_model(MODEL)
    assert hook.get_model("my-model").name == MODEL
    assert emulator.requests[0].headers["user-agent"].startswith("airflow-provider-fireworks/")


def test_lists_all_pages(emulator):
    for number in range(450):
        emulator.add_model(f"many-{number}")
    names = {model.name for model in FireworksHook().list_models()}
    assert len(names) >= 452
    assert emulator.count("GET", "/models") == 3


def test_finds_the_account_out_from_the_key(emulator, monkeypatch):
    connect(monkeypatch, emulator, login="")
    assert str(FireworksHook().model_name("my-model")) == MODEL
    assert FireworksHook().get_model(MODEL).name == MODEL


def test_several_accounts_are_listed(emulator, monkeypatch):
    emulator.configure(accounts=["demo", "second"])
    connect(monkeypatch, emulator, login="")
    with pytest.raises(exceptions.FireworksBadConnection, match="demo, second"):
        FireworksHook().get_model("my-model")
    assert FireworksHook(account_id="demo").get_model("my-model").name == MODEL


def test_the_session_carries_the_key_to_the_gateway_alone(emulator, monkeypatch):
    session = FireworksHook().get_conn()
    assert isinstance(session, requests.Session)
    assert session.get(f"{emulator.url}/v1/{MODEL}", timeout=5).json()["name"] == MODEL
    # They would take the same key.
    with Emulator(api_key=emulator.api_key) as other:
        assert session.get(f"{other.url}/v1/{MODEL}", timeout=5).status_code in (401, 403)
    connect(monkeypatch, emulator, host=f"{emulator.url}/below")
    assert FireworksHook().get_conn().get(f"{emulator.url}/v1/{MODEL}", timeout=5).status_code in (401, 403)


def test_a_redirect_is_not_followed(emulator):
    with Emulator() as other:
        emulator.fault("redirect", location=f"{other.url}/v1/{MODEL}", times=-1)
        with pytest.raises(exceptions.UnavailableError, match="redirected"):
            look_once()
        answer = FireworksHook().get_conn().get(f"{emulator.url}/v1/{MODEL}", timeout=5)
        assert 300 <= answer.status_code < 400
        assert other.requests == []


@pytest.mark.parametrize(
    ("fault", "error", "attempts"),
    [
        ({"kind": "status", "status": 503}, exceptions.UnavailableError, 3),
        ({"kind": "status", "status": 429, "retry_after": "0"}, exceptions.RateLimitedError, 3),
        ({"kind": "html", "status": 502}, exceptions.UnavailableError, 3),
        ({"kind": "truncate"}, exceptions.NoResponseError, 3),
        ({"kind": "drop"}, exceptions.NoResponseError, 3),
        ({"kind": "status", "status": 400}, exceptions.RefusedError, 1),
        ({"kind": "status", "status": 403}, exceptions.AccessDeniedError, 1),
        ({"kind": "html", "status": 403}, exceptions.UnavailableError, 3),
    ],
    ids=lambda value: str(value),
)
def test_every_bad_answer_has_its_error(emulator, fault, error, attempts, monkeypatch):
    monkeypatch.setattr("airflow_provider_fireworks.client.retries._FIRST_BACKOFF", 0.01)
    emulator.fault(**fault, times=-1)
    with pytest.raises(error) as failure:
        FireworksHook().get_model("my-model")
    assert len(emulator.requests) == attempts
    assert f"GET /v1/{MODEL}" in str(failure.value)
    copy = pickle.loads(pickle.dumps(failure.value))
    assert str(copy) == str(failure.value)


@pytest.mark.parametrize("fault", [{"kind": "drop"}, {"kind": "status", "status": 503}], ids=str)
def test_a_post_is_not_repeated_unless_the_gateway_cannot_have_acted(emulator, fault):
    emulator.fault(**fault, method="POST")
    with pytest.raises(exceptions.ApiError):
        FireworksHook().prepare_model("my-model", "FP8")
    assert emulator.count("POST", ":prepare") == 1
    emulator.fault("status", status=429, retry_after="0", method="POST")
    FireworksHook().prepare_model("my-model", "FP8")
    assert emulator.count("POST", ":prepare") == 3


def test_retry_after_is_honoured(emulator):
    emulator.fault("status", status=429, retry_after="1")
    started = time.monotonic()
    FireworksHook().get_model("my-model")
    assert time.monotonic() - started >= 1


@pytest.mark.parametrize(
    "bad", ["../x", "a/b", "x?y=1", "x#y", "x%2fy", "x y", "X", "", "accounts/a/models/b/c"]
)
def test_names_that_would_change_the_path_are_not_sent(emulator, bad):
    for call in (FireworksHook().get_model, lambda model: FireworksHook().prepare_model(model, "FP8")):
        with pytest.raises(exceptions.FireworksInvalidArgument):
            call(bad)
    assert emulator.requests == []


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"password": ""}, "no API key"),
        ({"password": "fw_a\nb"}, "characters that no key has"),
        ({"host": "http://api.fireworks.ai"}, "plain http"),
        ({"host": "ftp://x"}, "no base URL"),
    ],
    ids=str,
)
def test_a_connection_that_is_of_no_use_says_why(emulator, monkeypatch, changes, told):
    connect(monkeypatch, emulator, **changes)
    with pytest.raises(exceptions.FireworksBadConnection, match=told) as failure:
        FireworksHook().get_model("my-model")
    assert "fw_a" not in str(failure.value)
    assert FireworksHook().test_connection()[0] is False


def test_scheme_and_port_may_stand_in_their_own_fields(emulator, monkeypatch):
    port = int(emulator.url.rpartition(":")[2])
    connect(monkeypatch, emulator, host="127.0.0.1", schema="http", port=port)
    assert FireworksHook().config.base_url == emulator.url


def test_the_connection_test_names_the_account(emulator, monkeypatch):
    assert FireworksHook().test_connection() == (True, f"The key opens demo at {emulator.url}.")
    connect(monkeypatch, emulator, login="other")
    ok, told = FireworksHook().test_connection()
    assert (ok, "other, is not among them" in told) == (False, True)
    emulator.revoke_key()
    ok, told = FireworksHook().test_connection()
    assert (ok, "HTTP 403" in told, emulator.api_key in told) == (False, True, False)


def test_the_connection_test_gives_up_in_time(emulator, monkeypatch):
    use_timing(monkeypatch, connection_test_timeout=0.3)
    emulator.fault("hang", delay=30)
    started = time.monotonic()
    assert FireworksHook().test_connection() == (False, "No answer within 0 s.")
    assert time.monotonic() - started < 2


def test_nobody_there_is_told_as_such(monkeypatch):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{taken.getsockname()[1]}"
        monkeypatch.setenv(
            "AIRFLOW_CONN_FIREWORKS_DEFAULT", json.dumps({"host": url, "password": "k", "login": "a"})
        )
        with pytest.raises(exceptions.UnreachableError, match=f"cannot be reached at {url}"):
            look_once()


def test_without_a_connection_the_environment_is_taken(emulator, monkeypatch):
    monkeypatch.delenv("AIRFLOW_CONN_FIREWORKS_DEFAULT")
    with pytest.raises(exceptions.FireworksBadConnection, match="FIREWORKS_API_KEY"):
        FireworksHook(None).get_model("my-model")
    monkeypatch.setenv("FIREWORKS_API_KEY", emulator.api_key)
    monkeypatch.setenv("FIREWORKS_ACCOUNT_ID", "demo")
    monkeypatch.setenv("FIREWORKS_BASE_URL", emulator.url)
    assert FireworksHook(None).get_model("my-model").name == MODEL


def test_the_form_of_older_airflows_is_that_of_the_metadata():
    behaviour = FireworksHook.get_ui_field_behaviour()
    assert behaviour["relabeling"] == {"login": "Account ID", "password": "API key", "host": "Base URL"}
    assert set(behaviour) == {"hidden_fields", "relabeling", "placeholders"}


async def test_the_triggerer_reads_the_same(emulator):
    hook = FireworksHook()
    call = hooks.api.get_model(hook.model_name("my-model"))
    assert await send_from_triggerer(call) == hook.get_model("my-model")


def test_a_certificate_that_is_not_trusted_has_sent_nothing(tmp_path, monkeypatch):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate(tmp_path))
    server = context.wrap_socket(socket.create_server(("127.0.0.1", 0)), server_side=True)

    def serve() -> None:
        with contextlib.suppress(OSError):
            server.accept()

    threading.Thread(target=serve, daemon=True).start()
    url = f"https://127.0.0.1:{server.getsockname()[1]}"
    monkeypatch.setenv(
        "AIRFLOW_CONN_FIREWORKS_DEFAULT", json.dumps({"host": url, "password": "k", "login": "a"})
    )
    with server, pytest.raises(exceptions.UnreachableError, match="CERTIFICATE_VERIFY_FAILED"):
        look_once()


# ---- deployments

DEPLOYMENT = "accounts/demo/deployments/d"
SPEC = {"baseModel": MODEL, "acceleratorType": "NVIDIA_H100_80GB"}


@pytest.fixture
def deployed(emulator):
    """An API with the deployment ``d``, of which nothing was asked yet."""
    emulator.configure(deploy_duration=0, scale_duration=0)
    FireworksHook().create_deployment("d", SPEC)
    emulator.clear()
    return emulator


def test_creates_a_deployment(emulator):
    made = FireworksHook().create_deployment("d", {**SPEC, "minReplicaCount": 0, "description": "mine"})
    assert (made.name, made.base_model, made.description) == (DEPLOYMENT, MODEL, "mine")
    assert emulator.deployments_left == [DEPLOYMENT]
    assert [each.deployment for each in emulator.creations] == ["d"]


def test_has_a_deployment_judged_and_creates_nothing(emulator):
    planned = FireworksHook().create_deployment("d", SPEC, validate_only=True)
    assert planned.name == DEPLOYMENT
    assert emulator.creations == []
    assert emulator.deployments == []


@pytest.mark.parametrize("fault", [{"kind": "drop"}, {"kind": "status", "status": 503}], ids=str)
def test_a_create_is_repeated_only_where_it_can_have_made_nothing(emulator, fault):
    emulator.fault(**fault, method="POST", after_work=True)
    with pytest.raises(exceptions.ApiError):
        FireworksHook().create_deployment("d", SPEC)
    assert emulator.count("POST") == len(emulator.creations) == 1
    emulator.fault(**fault, method="POST")
    FireworksHook().create_deployment("e", SPEC, validate_only=True)
    emulator.fault("status", status=429, retry_after="0", method="POST")
    FireworksHook().create_deployment("e", SPEC)
    assert [each.deployment for each in emulator.creations] == ["d", "e"]


@pytest.mark.parametrize("status", [429, 400, 403])
def test_an_exceeded_quota_is_told_as_such_and_not_asked_for_again(emulator, status):
    emulator.configure(gpu_quota=0, quota_status=status)
    with pytest.raises(exceptions.QuotaExceededError, match="in use: 0, quota: 0, requesting: 1"):
        FireworksHook().create_deployment("d", SPEC)
    assert emulator.count("POST") == 1
    assert emulator.creations == []


def test_reads_a_deployment_by_id_and_by_full_name(deployed):
    hook = FireworksHook()
    assert hook.get_deployment("d") == hook.get_deployment(DEPLOYMENT)
    assert (hook.get_deployment("d").state, hook.get_deployment("d").ready_replicas) == ("READY", 1)
    with pytest.raises(exceptions.NotFoundError):
        hook.get_deployment("none")


def test_lists_deployments_with_deleted_ones_if_asked_for(deployed):
    hook = FireworksHook()
    for number in range(205):
        hook.create_deployment(f"many-{number}", SPEC)
    hook.delete_deployment("d")
    deployed.clear()
    assert {each.name.rpartition("/")[2] for each in hook.list_deployments()} == {
        f"many-{number}" for number in range(205)
    }
    assert deployed.count("GET", "/deployments") == 2
    listed = {each.name: each.state for each in hook.list_deployments(show_deleted=True)}
    assert len(listed) == 206
    assert listed[DEPLOYMENT] == "DELETED"


def test_lists_the_deployments_of_another_account(emulator):
    emulator.configure(accounts=["demo", "second"])
    FireworksHook(account_id="second").create_deployment("d", SPEC)
    assert FireworksHook().list_deployments() == []
    (found,) = FireworksHook().list_deployments(account_id="second")
    assert found.name == "accounts/second/deployments/d"


def test_a_filter_is_passed_on_as_it_is(deployed):
    with pytest.raises(exceptions.RefusedError):
        FireworksHook().list_deployments(filter='state="READY"')
    assert deployed.requests[-1].query["filter"] == 'state="READY"'


def test_changes_the_fields_that_are_named_and_no_others(deployed):
    hook = FireworksHook()
    hook.update_deployment("d", description="mine", maxReplicaCount=3)
    changed = hook.update_deployment(DEPLOYMENT, displayName="shown")
    assert (changed.description, changed.max_replica_count, changed.display_name) == ("mine", 3, "shown")
    patches = [request for request in deployed.requests if request.method == "PATCH"]
    assert [patch.query for patch in patches] == [
        {"updateMask": "description,max_replica_count"},
        {"updateMask": "display_name"},
    ]
    assert patches[1].body == {"baseModel": MODEL, "displayName": "shown"}


def test_scales(deployed):
    assert FireworksHook().scale_deployment("d", 0) is None
    assert deployed.deployment("d")["replicaCount"] == 0
    FireworksHook().scale_deployment(DEPLOYMENT, 2)
    assert deployed.deployment("d")["replicaStats"]["readyReplicaCount"] == 2


def test_deletes_and_brings_back(deployed):
    hook = FireworksHook()
    assert hook.delete_deployment("d") is None
    assert deployed.deployments_left == []
    assert hook.undelete_deployment("d").name == DEPLOYMENT
    assert deployed.deployments_left == [DEPLOYMENT]
    hook.delete_deployment(DEPLOYMENT, hard=True)
    assert deployed.deployments == []
    with pytest.raises(exceptions.NotFoundError):
        hook.undelete_deployment("d")


def test_what_serves_is_deleted_only_if_told_to(deployed):
    hook = FireworksHook()
    hook.send(hooks.api.ask_deployment(f"{MODEL}#{DEPLOYMENT}"))
    with pytest.raises(exceptions.RefusedError, match="FAILED_PRECONDITION"):
        hook.delete_deployment("d")
    assert deployed.deployments_left == [DEPLOYMENT]
    hook.delete_deployment("d", ignore_checks=True)
    assert deployed.deployments_left == []


@pytest.mark.parametrize("model", ["my-model", MODEL])
def test_finds_the_shapes_that_a_model_fits(emulator, model):
    versions = FireworksHook().match_deployment_shapes(model)
    assert versions
    assert {version.snapshot.base_model for version in versions} == {MODEL}
    assert versions[0].snapshot.accelerator_type


def test_finds_the_shapes_of_a_public_model(emulator):
    names = [
        version.name for version in FireworksHook().match_deployment_shapes("accounts/fireworks/models/yi-6b")
    ]
    assert any(name.startswith("accounts/fireworks/deploymentShapes/yi-6b-minimal") for name in names)


def test_finds_the_shapes_of_a_public_model_for_the_account_given(emulator):
    assert FireworksHook(account_id="demo").match_deployment_shapes("accounts/fireworks/models/yi-6b")


@pytest.mark.parametrize(
    ("account_id", "model", "name"),
    [
        (None, "my-model", MODEL),
        ("second", "my-model", "accounts/second/models/my-model"),
        (None, "accounts/fireworks/models/yi-6b", "accounts/fireworks/models/yi-6b"),
        ("second", "accounts/fireworks/models/yi-6b", "accounts/fireworks/models/yi-6b"),
    ],
)
def test_a_model_of_any_account_can_be_deployed(emulator, account_id, model, name):
    assert str(FireworksHook(account_id=account_id).base_model_name(model)) == name


def test_a_deployment_belongs_to_the_account_that_is_asked_for(emulator, monkeypatch):
    assert str(FireworksHook().deployment_name("d")) == DEPLOYMENT
    assert str(FireworksHook(account_id="second").deployment_name("d")) == "accounts/second/deployments/d"
    assert (
        str(FireworksHook().deployment_name("accounts/other/deployments/d")) == "accounts/other/deployments/d"
    )
    with pytest.raises(exceptions.FireworksInvalidArgument, match="belongs to account 'demo'"):
        FireworksHook(account_id="second").deployment_name(DEPLOYMENT)
    connect(monkeypatch, emulator, login="")
    assert emulator.requests == []
    assert str(FireworksHook().deployment_name("d")) == DEPLOYMENT
    assert emulator.count("GET", "/v1/accounts") == 1


@pytest.mark.parametrize("bad", ["../x", "a/b", "x?y=1", "x#y", "x%2fy", "x y", "X", "", MODEL])
def test_deployments_that_would_change_the_path_are_not_sent(emulator, bad):
    hook = FireworksHook()
    for call in (
        hook.get_deployment,
        hook.delete_deployment,
        hook.undelete_deployment,
        lambda name: hook.create_deployment(name, SPEC),
        lambda name: hook.update_deployment(name, description="x"),
        lambda name: hook.scale_deployment(name, 0),
    ):
        with pytest.raises(exceptions.FireworksInvalidArgument):
            call(bad)
    with pytest.raises(exceptions.FireworksInvalidArgument):
        hook.base_model_name("a b")
    assert emulator.requests == []


def test_hurried_calls_are_short(deployed):
    deployed.fault("hang", method="DELETE", delay=30)
    started = time.monotonic()
    hook = FireworksHook()
    with pytest.raises(exceptions.NoResponseError):
        hook.quick_client(timeout=0.2).send(
            hooks.api.delete_deployment(hook.deployment_name("d")), attempts=1
        )
    assert time.monotonic() - started < 2


async def test_the_triggerer_reads_the_same_deployment(deployed):
    hook = FireworksHook()
    name = hook.deployment_name("d")
    assert await send_from_triggerer(hooks.api.get_deployment(name)) == hook.get_deployment("d")
    assert await send_from_triggerer(hooks.api.scale_deployment(name, 0)) is None
    assert deployed.deployment("d")["replicaCount"] == 0
