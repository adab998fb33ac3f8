"""The Python side of it: start, stop, looking on, interfering."""

from __future__ import annotations

import json
import logging
import time
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest
import requests

from airflow_provider_fireworks.emulator import Emulator, Options

MODEL = "/v1/accounts/demo/models/my-model"


def test_it_starts_and_stops_at_once():
    Emulator().start()
    began = time.monotonic()
    for _ in range(20):
        with Emulator() as gateway:
            assert requests.get(f"{gateway.url}/verifyApiKey", timeout=5).status_code == 403
    assert time.monotonic() - began < 2


def test_stopped_and_started_it_is_at_the_same_port_and_knows_what_it_knew(client, gateway):
    client.prepare()
    url = gateway.url
    gateway.stop()
    with pytest.raises(requests.ConnectionError, match="refused"):
        requests.get(url, timeout=5)
    gateway.start()
    assert gateway.url == url
    assert client.model()["state"] in ("PREPARING", "READY")
    assert gateway.count("POST", ":prepare") == 1


def test_stop_and_start_may_be_repeated(gateway):
    gateway.start()
    gateway.stop()
    gateway.stop()


def test_stopping_is_silent(caplog):
    caplog.set_level(logging.WARNING)
    with Emulator() as gateway:
        gateway.fault("hang")
        with ThreadPoolExecutor(1) as pool:
            hanging = pool.submit(requests.get, gateway.url, timeout=5)
            while not gateway.requests:
                time.sleep(0.01)
            gateway.stop()
            assert isinstance(hanging.exception(), requests.ConnectionError)
    assert [record for record in caplog.records if record.levelno >= logging.WARNING] == []


def test_a_taken_port_is_an_error_of_the_caller(gateway):
    with pytest.raises(OSError, match="in use"):
        Emulator(port=int(gateway.url.rpartition(":")[2])).start()


@pytest.mark.parametrize("host", ["0.0.0.0", "192.0.2.1", "example.com", ""])
def test_it_only_listens_to_this_machine(host):
    with pytest.raises(ValueError, match="loopback"):
        Emulator(host=host)


def test_options_as_an_object_by_name_or_both():
    gateway = Emulator(Options(duration=3, start_lag=1), start_lag=2)
    assert (gateway.options.duration, gateway.options.start_lag) == (3, 2)


def test_the_connection_is_one_for_airflow(gateway):
    assert json.loads(gateway.connection) == {
        "conn_type": "fireworks",
        "login": "demo",
        "password": gateway.api_key,
        "host": gateway.url,
    }


def test_what_was_asked(client, gateway):
    client.get(MODEL, readMask="state")
    client.prepare()
    asked = gateway.requests
    assert [(r.method, r.path, r.query, r.status) for r in asked] == [
        ("GET", MODEL, {"readMask": "state"}, 200),
        ("POST", f"{MODEL}:prepare", {}, 200),
    ]
    assert asked[1].body == {"precision": "FP8"}
    assert abs(asked[1].at - time.time()) < 5
    assert gateway.api_key not in repr(asked)
    assert "authorization" not in asked[0].headers
    assert (gateway.count(), gateway.count("GET"), gateway.count(path=":prepare")) == (2, 1, 1)
    gateway.clear()
    assert (gateway.requests, gateway.preparations, gateway.counts) == ([], [], {})


def test_models_can_be_added_forced_and_deleted(client, gateway):
    added = gateway.add_model("second", displayName="Second", supportedPrecisions=["FP16", "FP4"])
    assert client.model("second") == added == gateway.model("second")
    gateway.set_model("second", state="FAILED", status={"code": "INTERNAL", "message": "boom"})
    assert client.model("second")["status"]["message"] == "boom"
    gateway.delete_model("second")
    assert client.get("/v1/accounts/demo/models/second").status_code == 404
    for call in (gateway.model, gateway.delete_model, gateway.set_model):
        with pytest.raises(LookupError, match="second"):
            call("second")
    with pytest.raises(ValueError, match="exists"):
        gateway.add_model("my-model")


def test_the_key_can_be_revoked_and_changed(client, gateway):
    gateway.revoke_key()
    assert client.get(MODEL).status_code == 403
    gateway.api_key = "fw_another"
    assert client.get(MODEL).status_code == 403
    assert client("GET", MODEL, headers={"Authorization": "Bearer fw_another"}).status_code == 200


def test_answers_come_without_delay(client, gateway):
    began = time.monotonic()
    for _ in range(40):
        client.prepare()
    assert time.monotonic() - began < 1, "40 ms each are Nagle's algorithm and delayed acknowledgements"


def test_many_at_once(gateway):
    headers = {"Authorization": f"Bearer {gateway.api_key}"}
    precisions = ["FP8", "FP4", "NF4", "BF16"] * 10
    with httpx.Client(base_url=gateway.url, headers=headers) as client, ThreadPoolExecutor(16) as pool:
        posts = pool.map(lambda p: client.post(f"{MODEL}:prepare", json={"precision": p}), precisions)
        assert {post.status_code for post in posts} == {200}
    assert sorted(p.precision for p in gateway.preparations) == ["BF16", "FP4", "FP8", "NF4"]
    assert gateway.count("POST") == 40


async def test_from_within_an_event_loop(gateway):
    async with httpx.AsyncClient(base_url=gateway.url) as client:
        assert (await client.get("/verifyApiKey")).status_code == 403
        gateway.fault("drop")
        with pytest.raises(httpx.RemoteProtocolError):
            await client.get("/verifyApiKey")
