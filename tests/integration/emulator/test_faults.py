"""Every kind of fault, as a client sees it."""

from __future__ import annotations

import contextlib
import gzip
import json
import threading
import time

import pytest
import requests

MODEL = "/v1/accounts/demo/models/my-model"


@pytest.mark.parametrize(
    ("status", "code"),
    [
        (400, 3),
        (401, 16),
        (403, 7),
        (404, 5),
        (409, 10),
        (429, 8),
        (499, 1),
        (500, 13),
        (501, 12),
        (503, 14),
        (504, 4),
        (418, 2),
    ],
)
def test_status_fault_uses_the_envelope_of_the_api(client, emulator, status, code):
    emulator.fault("status", status=status)
    response = client.get(MODEL)
    assert response.status_code == status
    assert (response.json()["code"], response.json()["details"]) == (code, [])
    assert client.get(MODEL).status_code == 200


def test_status_fault_takes_code_message_and_retry_after(client, emulator):
    emulator.fault("status", status=429, code=9, message="global--h200-count, in use: 14", retry_after=3)
    response = client.get(MODEL)
    assert response.json() == {"code": 9, "message": "global--h200-count, in use: 14", "details": []}
    assert (response.status_code, response.headers["retry-after"]) == (429, "3")


@pytest.mark.parametrize(("kind", "content"), [("html", "text/html"), ("text", "text/plain")])
@pytest.mark.parametrize("status", [None, 401, 403, 404, 502])
def test_html_and_text_faults_are_not_json(client, emulator, kind, content, status):
    emulator.fault(kind, status=status)
    response = client.get(MODEL)
    assert response.status_code == (status or 502)
    assert response.headers["content-type"].startswith(content)
    with pytest.raises(ValueError, match="Expecting value"):
        response.json()


def test_drop_closes_the_connection_without_a_response(client, emulator):
    emulator.fault("drop")
    with pytest.raises(requests.ConnectionError, match="without response"):
        client.get(MODEL)
    assert (emulator.requests[0].status, emulator.requests[0].fault) == (None, "drop")
    assert client.get(MODEL).status_code == 200


@pytest.mark.parametrize("after_work", [False, True])
def test_truncate_closes_the_connection_in_the_middle(client, emulator, after_work):
    emulator.fault("truncate", after_work=after_work)
    with pytest.raises(requests.exceptions.ChunkedEncodingError, match="IncompleteRead"):
        client.get(MODEL)
    assert client.get(MODEL).status_code == 200


@pytest.mark.parametrize(
    "fault", [{"kind": "drop"}, {"kind": "truncate"}, {"kind": "status", "status": 503}, {"kind": "html"}]
)
@pytest.mark.parametrize("after_work", [False, True])
def test_fault_executes_a_post_only_with_after_work(client, emulator, fault, after_work):
    emulator.fault(**fault, after_work=after_work, method="POST", path=":prepare")
    with contextlib.suppress(requests.ConnectionError, requests.exceptions.ChunkedEncodingError):
        assert client.prepare().status_code >= 500
    assert len(emulator.preparations) == (1 if after_work else 0)
    assert client.model()["state"] == ("PREPARING" if after_work else "READY")


def test_slow_response_arrives_late(client, emulator):
    emulator.fault("slow", delay=0.3)
    began = time.monotonic()
    assert client.get(MODEL).status_code == 200
    assert 0.3 <= time.monotonic() - began < 2


@pytest.mark.parametrize("after_work", [False, True])
def test_hanging_request_is_executed_only_with_after_work(client, emulator, after_work):
    emulator.fault("hang", after_work=after_work)
    with pytest.raises(requests.ReadTimeout):
        client("POST", f"{MODEL}:prepare", json={"precision": "FP8"}, timeout=0.2)
    assert len(emulator.preparations) == (1 if after_work else 0)


def test_hanging_request_does_not_block_others_or_stop(client, emulator):
    emulator.fault("hang", delay=30, method="POST")
    url = f"{emulator.url}{MODEL}:prepare"
    ended = threading.Event()

    def post() -> None:
        with pytest.raises(requests.ConnectionError):
            requests.post(url, timeout=20)
        ended.set()

    threading.Thread(target=post, daemon=True).start()
    while not emulator.count("POST"):
        time.sleep(0.01)
    assert client.get(MODEL).status_code == 200
    began = time.monotonic()
    emulator.stop()
    assert ended.wait(5)
    assert time.monotonic() - began < 1


def test_redirect_has_its_location(client, emulator):
    emulator.fault("redirect", location="http://127.0.0.1:1/elsewhere")
    response = client.get(MODEL)
    assert (response.status_code, response.headers["location"]) == (307, "http://127.0.0.1:1/elsewhere")


def test_trickle_sends_one_byte_at_a_time(client, emulator):
    body = client.get(MODEL, readMask="name,state").content
    emulator.fault("trickle", delay=0.01)
    began = time.monotonic()
    assert client.get(MODEL, readMask="name,state").content == body
    assert time.monotonic() - began >= 0.01 * len(body)


@pytest.mark.parametrize("fault", [{"kind": "trickle", "delay": 0.02}, {"kind": "huge"}])
def test_slow_body_does_not_block_others_or_stop(client, emulator, fault):
    emulator.fault(**fault)
    with client("GET", MODEL, stream=True) as response:
        next(response.iter_content(1))
        assert requests.get(f"{emulator.url}/v1/accounts", timeout=5).status_code == 403
    began = time.monotonic()
    emulator.stop()
    assert time.monotonic() - began < 5


@pytest.mark.parametrize("size", [20, 65_536 + 20, 5_000_000])
def test_huge_response_is_json_of_the_given_size(client, emulator, size):
    emulator.fault("huge", size=size)
    response = client.get(MODEL)
    assert len(response.content) == size
    assert set(response.json()["name"]) <= {"x"}
    assert emulator.requests[0].status == 200


def test_gzip_response_is_compressed(client, emulator):
    plain = client.get(MODEL)
    emulator.fault("gzip")
    response = client("GET", MODEL, stream=True)
    assert response.headers["content-encoding"] == "gzip"
    packed = response.raw.read(decode_content=False)
    assert json.loads(gzip.decompress(packed))["name"] == plain.json()["name"]


def test_wrong_type_changes_only_the_content_type(client, emulator):
    emulator.fault("wrong_type")
    response = client.get(MODEL)
    assert response.headers["content-type"].startswith("text/html")
    assert response.json() == client.model()


def test_endless_list_repeats_its_page_token(client, emulator):
    emulator.fault("endless", times=2)
    pages = [client.get("/v1/accounts/demo/models", pageToken=token).json() for token in ("", "next")]
    assert [page["nextPageToken"] for page in pages] == ["next", "next"]
    assert pages[0]["models"] == pages[1]["models"] != []
    assert client.get("/v1/accounts/demo/models").json()["nextPageToken"] == ""


@pytest.mark.parametrize("kind", ["trickle", "gzip", "wrong_type", "endless"])
def test_altered_response_follows_one_execution(client, emulator, kind):
    emulator.fault(kind, **({"delay": 0} if kind == "trickle" else {}), method="POST")
    assert client.prepare().status_code == 200
    assert len(emulator.preparations) == 1


def test_fault_applies_before_the_key_is_checked(client, emulator):
    emulator.revoke_key()
    emulator.fault("html", status=502)
    assert client.get(MODEL).status_code == 502
    assert client.get(MODEL).status_code == 403


def test_fault_applies_to_method_and_path_until_cleared(client, emulator):
    emulator.fault("status", times=-1, method="GET", path="/models/")
    assert client.get("/v1/accounts").status_code == 200
    assert client.prepare().status_code == 200
    assert [client.get(MODEL).status_code for _ in range(3)] == [503] * 3
    emulator.clear_faults()
    assert client.get(MODEL).status_code == 200


def test_delay_applies_to_every_kind(client, emulator):
    emulator.fault("status", delay=0.2)
    began = time.monotonic()
    assert client.get(MODEL).status_code == 503
    assert time.monotonic() - began >= 0.2
