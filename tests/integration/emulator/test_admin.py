"""The emulator's own paths, which need no key."""

from __future__ import annotations

import pytest
import requests

MODEL = "/v1/accounts/demo/models/my-model"


@pytest.fixture
def admin(emulator):
    def ask(method: str, path: str, body: object = None, status: int = 200) -> dict:
        answer = requests.request(method, f"{emulator.url}/emulator/{path}", json=body, timeout=5)
        assert answer.status_code == status, answer.text
        return answer.json()

    return ask


def test_what_was_asked_without_the_key(admin, client, emulator):
    client("POST", f"{MODEL}:prepare", json={"precision": "FP8"}, headers={"User-Agent": "me/1"})
    client.get(MODEL, readMask="state")
    client("POST", f"{MODEL}:prepare", data="no json")
    first, second, third = admin("GET", "requests")["requests"]
    assert (first["method"], first["path"], first["status"]) == ("POST", f"{MODEL}:prepare", 200)
    assert (first["body"], first["user_agent"]) == ({"precision": "FP8"}, "me/1")
    assert (second["query"], second["body"], third["body"]) == ({"readMask": "state"}, None, "no json")
    assert emulator.api_key not in str(admin("GET", "requests"))
    assert emulator.api_key not in str(admin("GET", "options"))


def test_counts(admin, client):
    client.get(MODEL)
    client.get(MODEL)
    client.prepare()
    client.prepare()
    client.prepare(model="my-addon")
    client.get("/nothing")
    assert admin("GET", "counts") == {
        "GET model": 2,
        "GET other": 1,
        "POST prepare": 3,
        "prepare accepted": 1,
        "prepare already": 1,
        "prepare refused": 1,
    }


def test_preparations(admin, client):
    client.prepare(precision="FP8")
    client.prepare(precision="FP4")
    listed = admin("GET", "preparations")
    assert listed["totalSize"] == 2
    assert [(p["account"], p["model"], p["precision"], p["outcome"]) for p in listed["preparations"]] == [
        ("demo", "my-model", "FP8", "ok"),
        ("demo", "my-model", "FP4", "ok"),
    ]


def test_options(admin, client, emulator):
    assert admin("PATCH", "options", {"precision_lists": "absent"})["duration"] == 0.5
    assert "supportedPrecisions" not in client.model()
    assert admin("PUT", "options", {"start_lag": 2})["precision_lists"] == "present"
    assert (emulator.options.start_lag, emulator.options.duration) == (2, 20)
    for method in ("PATCH", "PUT"):
        assert "no_option" in admin(method, "options", {"no_option": 1}, status=400)["message"]
        assert "outcome" in admin(method, "options", {"outcome": "great"}, status=400)["message"]
    assert emulator.options.start_lag == 2


def test_faults(admin, client):
    admin("POST", "faults", {"kind": "status", "status": 500, "times": 2})
    assert client.get(MODEL).status_code == 500
    assert [fault["times"] for fault in admin("GET", "faults")["faults"]] == [1]
    admin("DELETE", "faults")
    assert client.get(MODEL).status_code == 200
    assert "kind" in admin("POST", "faults", {"kind": "fire"}, status=400)["message"]


def test_models(admin, client):
    admin("PUT", "models/demo/my-model", {"state": "FAILED", "status": {"code": "INTERNAL", "message": "x"}})
    assert (client.model()["state"], client.model()["status"]["message"]) == ("FAILED", "x")
    admin("PUT", "models/demo/brand-new", {"displayName": "New"})
    assert client.model("brand-new")["displayName"] == "New"
    admin("PUT", "models/demo/my-model", {"Stat": "READY"}, status=400)
    admin("PUT", "models/demo/other-new", {"account": "x"}, status=400)
    admin("DELETE", "models/demo/my-model")
    assert client.get(MODEL).status_code == 404
    admin("DELETE", "models/demo/my-model", status=404)


def test_deployments(admin, client, emulator):
    client.deploy()
    client.deploy("e")
    client("DELETE", "/v1/accounts/demo/deployments/e")
    listed = admin("GET", "deployments")
    assert [(d["name"][-1], d["state"]) for d in listed["deployments"]] == [
        ("d", "CREATING"),
        ("e", "DELETED"),
    ]
    assert (listed["left"], listed["totalSize"]) == (["accounts/demo/deployments/d"], 2)
    creations = admin("GET", "creations")
    assert creations["totalSize"] == 2
    assert [(c["account"], c["deployment"], c["base_model"]) for c in creations["creations"]] == [
        ("demo", "d", "accounts/demo/models/my-model"),
        ("demo", "e", "accounts/demo/models/my-model"),
    ]
    admin("PUT", "deployments/demo/d", {"state": "FAILED", "status": {"code": "INTERNAL", "message": "x"}})
    assert (client.deployment()["state"], client.deployment()["status"]["message"]) == ("FAILED", "x")
    admin("PUT", "deployments/demo/d", {"Stat": "READY"}, status=400)
    admin("PUT", "deployments/demo/none", {"state": "READY"}, status=404)
    admin("DELETE", "deployments/demo/d")
    admin("DELETE", "deployments/demo/d", status=404)
    assert client.get("/v1/accounts/demo/deployments/d").status_code == 404
    assert admin("GET", "gpu_seconds") == {"gpuSeconds": emulator.gpu_seconds}
    assert admin("GET", "counts")["deployment created"] == 2


def test_reset(admin, client, emulator):
    client("DELETE", MODEL)
    client.deploy()
    emulator.configure(stale_status=True)
    emulator.fault("drop")
    emulator.revoke_key()
    admin("POST", "reset", {})
    assert (emulator.requests, emulator.counts, emulator.options.stale_status) == ([], {}, False)
    assert client.model()["state"] == "READY"
    assert (emulator.deployments, emulator.creations, emulator.gpu_seconds) == ([], [], 0)


@pytest.mark.parametrize("body", ["[1]", "{"])
def test_bodies_that_are_no_object(emulator, body):
    answer = requests.patch(f"{emulator.url}/emulator/options", data=body, timeout=5)
    assert answer.status_code == 400
