"""Every kind of fault, as a client meets it."""

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
def test_status_comes_in_the_gateways_envelope(client, emulator, status, code):
    emulator.fault("status", status=status)
    answer = client.get(MODEL)
    assert answer.status_code == status
    assert (answer.json()["code"], answer.json()["details"]) == (code, [])
    assert client.get(MODEL).status_code == 200


def test_status_with_own_code_message_and_retry_after(client, emulator):
    emulator.fault("status", status=429, code=9, message="global--h200-count, in use: 14", retry_after=3)
    answer = client.get(MODEL)
    assert answer.json() == {"code": 9, "message": "global--h200-count, in use: 14", "details": []}
    assert (answer.status_code, answer.headers["retry-after"]) == (429, "3")


@pytest.mark.parametrize(("kind", "content"), [("html", "text/html"), ("text", "text/plain")])
@pytest.mark.parametrize("status", [None, 401, 403, 404, 502])
def test_pages_of_something_in_between(client, emulator, kind, content, status):
    emulator.fault(kind, status=status)
    answer = client.get(MODEL)
    assert answer.status_code == (status or 502)
    assert answer.headers["content-type"].startswith(content)
    with pytest.raises(ValueError, match="Expecting value"):
        answer.json()


def test_drop(client, emulator):
    emulator.fault("drop")
    with pytest.raises(requests.ConnectionError, match="without response"):
        client.get(MODEL)
    assert (emulator.requests[0].status, emulator.requests[0].fault) == (None, "drop")
    assert client.get(MODEL).status_code == 200


@pytest.mark.parametrize("after_work", [False, True])
def test_truncate(client, emulator, after_work):
    emulator.fault("truncate", after_work=after_work)
    with pytest.raises(requests.exceptions.ChunkedEncodingError, match="IncompleteRead"):
        client.get(MODEL)
    assert client.get(MODEL).status_code == 200


@pytest.mark.parametrize(
    "fault", [{"kind": "drop"}, {"kind": "truncate"}, {"kind": "status", "status": 503}, {"kind": "html"}]
)
@pytest.mark.parametrize("after_work", [False, True])
def test_a_lost_answer_to_a_post(client, emulator, fault, after_work):
    emulator.fault(**fault, after_work=after_work, method="POST", path=":prepare")
    with contextlib.suppress(requests.ConnectionError, requests.exceptions.ChunkedEncodingError):
        assert client.prepare().status_code >= 500
    assert len(emulator.preparations) == (1 if after_work else 0)
    assert client.model()["state"] == ("PREPARING" if after_work else "READY")


def test_slow_answers_late(client, emulator):
    emulator.fault("slow", delay=0.3)
    began = time.monotonic()
    assert client.get(MODEL).status_code == 200
    assert 0.3 <= time.monotonic() - began < 2


@pytest.mark.parametrize("after_work", [False, True])
def test_a_client_that_does_not_wait_for_a_hanging_answer(client, emulator, after_work):
    emulator.fault("hang", after_work=after_work)
    with pytest.raises(requests.ReadTimeout):
        client("POST", f"{MODEL}:prepare", json={"precision": "FP8"}, timeout=0.2)
    assert len(emulator.preparations) == (1 if after_work else 0)


def test_others_are_answered_while_one_hangs(client, emulator):
    emulator.fault("hang", delay=30, method="POST")
    url = f"{emulator.url}{MODEL}:prepare"
    ended = threading.Event()

    def ask() -> None:
        with pytest.raises(requests.ConnectionError):
            requests.post(url, timeout=20)
        ended.set()

    threading.Thread(target=ask, daemon=True).start()
    while not emulator.count("POST"):
        time.sleep(0.01)
    assert client.get(MODEL).status_code == 200
    began = time.monotonic()
    emulator.stop()
    assert ended.wait(5)
    assert time.monotonic() - began < 1


def test_redirect(client, emulator):
    emulator.fault("redirect", location="http://127.0.0.1:1/elsewhere")
    answer = client.get(MODEL)
    assert (answer.status_code, answer.headers["location"]) == (307, "http://127.0.0.1:1/elsewhere")


def test_trickle_sends_a_byte_at_a_time(client, emulator):
    emulator.fault("trickle", delay=0.001)
    body = client.get(MODEL).content
    emulator.fault("trickle", delay=0.01)
    began = time.monotonic()
    assert client.get(MODEL).content == body
    assert time.monotonic() - began >= 0.01 * len(body)


@pytest.mark.parametrize("fault", [{"kind": "trickle", "delay": 0.02}, {"kind": "huge"}])
def test_others_are_answered_while_one_gets_its_answer_slowly_and_none_is_sent_to_who_has_left(
    client, emulator, fault
):
    emulator.fault(**fault)
    with client("GET", MODEL, stream=True) as answer:
        next(answer.iter_content(1))
        assert requests.get(f"{emulator.url}/v1/accounts", timeout=5).status_code == 403
    began = time.monotonic()
    emulator.stop()
    assert time.monotonic() - began < 5


@pytest.mark.parametrize("size", [20, 65_536 + 20, 5_000_000])
def test_huge_is_a_json_object_of_that_size(client, emulator, size):
    emulator.fault("huge", size=size)
    answer = client.get(MODEL)
    assert len(answer.content) == size
    assert set(answer.json()["name"]) <= {"x"}
    assert emulator.requests[0].status == 200


def test_gzip_comes_compressed(client, emulator):
    plain = client.get(MODEL)
    emulator.fault("gzip")
    answer = client("GET", MODEL, stream=True)
    assert answer.headers["content-encoding"] == "gzip"
    packed = answer.raw.read(decode_content=False)
    assert json.loads(gzip.decompress(packed))["name"] == plain.json()["name"]


def test_wrong_type_is_the_answer_under_another_name(client, emulator):
    emulator.fault("wrong_type")
    answer = client.get(MODEL)
    assert answer.headers["content-type"].startswith("text/html")
    assert answer.json() == client.model()


def test_endless_pages(client, emulator):
    emulator.fault("endless", times=2)
    pages = [client.get("/v1/accounts/demo/models", pageToken=token).json() for token in ("", "next")]
    assert [page["nextPageToken"] for page in pages] == ["next", "next"]
    assert pages[0]["models"] == pages[1]["models"] != []
    assert client.get("/v1/accounts/demo/models").json()["nextPageToken"] == ""


@pytest.mark.parametrize("kind", ["trickle", "gzip", "wrong_type", "endless"])
def test_a_good_answer_that_looks_odd_is_to_a_request_that_was_carried_out_once(client, emulator, kind):
    emulator.fault(kind, **({"delay": 0} if kind == "trickle" else {}), method="POST")
    assert client.prepare().status_code == 200
    assert len(emulator.preparations) == 1


def test_faults_come_before_the_key_is_looked_at(client, emulator):
    emulator.revoke_key()
    emulator.fault("html", status=502)
    assert client.get(MODEL).status_code == 502
    assert client.get(MODEL).status_code == 403


def test_faults_fit_methods_and_paths_and_can_be_cleared(client, emulator):
    emulator.fault("status", times=-1, method="GET", path="/models/")
    assert client.get("/v1/accounts").status_code == 200
    assert client.prepare().status_code == 200
    assert [client.get(MODEL).status_code for _ in range(3)] == [503] * 3
    emulator.clear_faults()
    assert client.get(MODEL).status_code == 200


def test_a_delayed_fault(client, emulator):
    emulator.fault("status", delay=0.2)
    began = time.monotonic()
    assert client.get(MODEL).status_code == 503
    assert time.monotonic() - began >= 0.2
