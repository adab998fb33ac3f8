"""The paths under ``/emulator/``, which need no API key."""

from __future__ import annotations

import pytest
import requests

MODEL = "/v1/accounts/demo/models/my-model"


@pytest.fixture
def admin(emulator):
    def send(method: str, path: str, body: object = None, status: int = 200) -> dict:
        response = requests.request(method, f"{emulator.url}/emulator/{path}", json=body, timeout=5)
        assert response.status_code == status, response.text
        return response.json()

    return send


def test_requests_are_shown_without_the_key(admin, client, emulator):
    client("POST", f"{MODEL}:prepare", json={"precision": "FP8"}, headers={"User-Agent": "me/1"})
    client.get(MODEL, readMask="state")
    client("POST", f"{MODEL}:prepare", data="no json")
    first, second, third = admin("GET", "requests")["requests"]
    assert (first["method"], first["path"], first["status"]) == ("POST", f"{MODEL}:prepare", 200)
    assert (first["body"], first["headers"]["user-agent"]) == ({"precision": "FP8"}, "me/1")
    assert (second["query"], second["body"], third["body"]) == ({"readMask": "state"}, None, "no json")
    assert emulator.api_key not in str(admin("GET", "requests"))
    assert emulator.api_key not in str(admin("GET", "options"))


def test_options_can_be_changed(admin, client, emulator):
    assert admin("PATCH", "options", {"precision_lists": "absent"})["duration"] == 0.5
    assert "supportedPrecisions" not in client.model()
    assert "no_option" in admin("PATCH", "options", {"no_option": 1}, status=400)["message"]
    assert "outcome" in admin("PATCH", "options", {"outcome": "great"}, status=400)["message"]
    assert emulator.options.precision_lists == "absent"


def test_faults_can_be_added_shown_and_cleared(admin, client):
    admin("POST", "faults", {"kind": "status", "status": 500, "times": 2})
    assert client.get(MODEL).status_code == 500
    assert [fault["times"] for fault in admin("GET", "faults")["faults"]] == [1]
    admin("DELETE", "faults")
    assert client.get(MODEL).status_code == 200
    assert "kind" in admin("POST", "faults", {"kind": "fire"}, status=400)["message"]


def test_models_can_be_set_and_added(admin, client):
    admin("PUT", "models/demo/my-model", {"state": "FAILED", "status": {"code": "INTERNAL", "message": "x"}})
    assert (client.model()["state"], client.model()["status"]["message"]) == ("FAILED", "x")
    admin("PUT", "models/demo/brand-new", {"displayName": "New"})
    assert client.model("brand-new")["displayName"] == "New"
    admin("PUT", "models/demo/my-model", {"Stat": "READY"}, status=400)
    admin("PUT", "models/demo/other-new", {"account": "x"}, status=400)


def test_deployments_can_be_shown_and_set(admin, client, emulator):
    client.deploy()
    client.deploy("e")
    client("DELETE", "/v1/accounts/demo/deployments/e")
    shown = admin("GET", "deployments")
    assert [(d["name"][-1], d["state"]) for d in shown["deployments"]] == [
        ("d", "CREATING"),
        ("e", "DELETED"),
    ]
    assert shown["left"] == ["accounts/demo/deployments/d"]
    admin("PUT", "deployments/demo/d", {"state": "FAILED", "status": {"code": "INTERNAL", "message": "x"}})
    assert (client.deployment()["state"], client.deployment()["status"]["message"]) == ("FAILED", "x")
    assert admin("GET", "deployments")["gpuSeconds"] == emulator.gpu_seconds
    admin("PUT", "deployments/demo/d", {"Stat": "READY"}, status=400)
    admin("PUT", "deployments/demo/none", {"state": "READY"}, status=404)


def test_reset_restores_the_initial_state(admin, client, emulator):
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
def test_body_that_is_not_an_object_is_refused(emulator, body):
    response = requests.patch(f"{emulator.url}/emulator/options", data=body, timeout=5)
    assert (response.status_code, response.json()["code"]) == (400, 3)
