"""The class Emulator: start and stop, records, and setting state from Python."""

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


def test_start_and_stop_are_fast():
    Emulator().start()
    began = time.monotonic()
    for _ in range(20):
        with Emulator() as emulator:
            assert requests.get(f"{emulator.url}/verifyApiKey", timeout=5).status_code == 403
    assert time.monotonic() - began < 2


def test_restarted_emulator_keeps_its_port_and_state(client, emulator):
    client.prepare()
    url = emulator.url
    emulator.stop()
    with pytest.raises(requests.ConnectionError, match="refused"):
        requests.get(url, timeout=5)
    emulator.start()
    assert emulator.url == url
    assert client.model()["state"] in ("PREPARING", "READY")
    assert emulator.count("POST", ":prepare") == 1


def test_start_and_stop_can_be_repeated(emulator):
    emulator.start()
    emulator.stop()
    emulator.stop()


def test_stop_logs_no_warning(caplog):
    caplog.set_level(logging.WARNING)
    with Emulator() as emulator:
        emulator.fault("hang")
        with ThreadPoolExecutor(1) as pool:
            hanging = pool.submit(requests.get, emulator.url, timeout=5)
            while not emulator.requests:
                time.sleep(0.01)
            emulator.stop()
            assert isinstance(hanging.exception(), requests.ConnectionError)
    assert [record for record in caplog.records if record.levelno >= logging.WARNING] == []


def test_start_raises_if_the_port_is_in_use(emulator):
    with pytest.raises(OSError, match="in use"):
        Emulator(port=int(emulator.url.rpartition(":")[2])).start()


@pytest.mark.parametrize("host", ["0.0.0.0", "192.0.2.1", "example.com", ""])
def test_host_must_be_a_loopback_address(host):
    with pytest.raises(ValueError, match="loopback"):
        Emulator(host=host)


def test_options_by_name_override_the_options_object():
    emulator = Emulator(Options(duration=3, start_lag=1), start_lag=2)
    assert (emulator.options.duration, emulator.options.start_lag) == (3, 2)


def test_connection_is_an_airflow_connection(emulator):
    assert json.loads(emulator.connection) == {
        "conn_type": "fireworks",
        "login": "demo",
        "password": emulator.api_key,
        "host": emulator.url,
    }


def test_requests_are_recorded_without_secrets(client, emulator):
    client.get(MODEL, readMask="state")
    client.prepare()
    records = emulator.requests
    assert [(r.method, r.path, r.query, r.status) for r in records] == [
        ("GET", MODEL, {"readMask": "state"}, 200),
        ("POST", f"{MODEL}:prepare", {}, 200),
    ]
    assert records[1].body == {"precision": "FP8"}
    assert abs(records[1].at - time.time()) < 5
    assert emulator.api_key not in repr(records)
    assert "authorization" not in records[0].headers
    assert (emulator.count(), emulator.count("GET"), emulator.count(path=":prepare")) == (2, 1, 1)
    emulator.clear()
    assert (emulator.requests, emulator.preparations, emulator.counts) == ([], [], {})


def test_counts_have_requests_and_results(client, emulator):
    client.get(MODEL)
    client.get(MODEL)
    client.prepare()
    client.prepare()
    client.prepare(model="my-addon")
    client.get("/nothing")
    assert emulator.counts == {
        "GET model": 2,
        "GET other": 1,
        "POST prepare": 3,
        "prepare accepted": 1,
        "prepare already": 1,
        "prepare refused": 1,
    }


def test_models_can_be_added_set_and_deleted(client, emulator):
    added = emulator.add_model("second", displayName="Second", supportedPrecisions=["FP16", "FP4"])
    assert client.model("second") == added == emulator.model("second")
    emulator.set_model("second", state="FAILED", status={"code": "INTERNAL", "message": "boom"})
    assert client.model("second")["status"]["message"] == "boom"
    emulator.delete_model("second")
    assert client.get("/v1/accounts/demo/models/second").status_code == 404
    for method in (emulator.model, emulator.delete_model, emulator.set_model):
        with pytest.raises(LookupError, match="second"):
            method("second")
    with pytest.raises(ValueError, match="exists"):
        emulator.add_model("my-model")


def test_key_can_be_revoked_and_changed(client, emulator):
    emulator.revoke_key()
    assert client.get(MODEL).status_code == 403
    emulator.api_key = "fw_another"
    assert client.get(MODEL).status_code == 403
    assert client("GET", MODEL, headers={"Authorization": "Bearer fw_another"}).status_code == 200


def test_responses_are_not_delayed_by_nagle(client, emulator):
    began = time.monotonic()
    for _ in range(40):
        client.prepare()
    assert time.monotonic() - began < 1, "Nagle's algorithm costs 40 ms each"


def test_concurrent_requests_start_one_preparation_each(emulator):
    headers = {"Authorization": f"Bearer {emulator.api_key}"}
    precisions = ["FP8", "FP4", "NF4", "BF16"] * 10
    with httpx.Client(base_url=emulator.url, headers=headers) as client, ThreadPoolExecutor(16) as pool:
        posts = pool.map(lambda p: client.post(f"{MODEL}:prepare", json={"precision": p}), precisions)
        assert {post.status_code for post in posts} == {200}
    assert sorted(p.precision for p in emulator.preparations) == ["BF16", "FP4", "FP8", "NF4"]
    assert emulator.count("POST") == 40


async def test_emulator_can_be_used_within_an_event_loop(emulator):
    async with httpx.AsyncClient(base_url=emulator.url) as client:
        assert (await client.get("/verifyApiKey")).status_code == 403
        emulator.fault("drop")
        with pytest.raises(httpx.RemoteProtocolError):
            await client.get("/verifyApiKey")
