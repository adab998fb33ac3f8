"""Accounts and models over HTTP."""

from __future__ import annotations

import json
import re
import time

import pytest

MODELS = "/v1/accounts/demo/models"
MODEL = f"{MODELS}/my-model"
NOT_FOUND = {"code": 5, "message": "resource not found", "details": []}

CAPTURED_FIELDS = [
    "baseModelDetails",
    "calibrated",
    "cluster",
    "contextLength",
    "conversationConfig",
    "createTime",
    "defaultDraftModel",
    "defaultDraftTokenCount",
    "defaultSamplingParams",
    "deployedModelRefs",
    "deprecationDate",
    "description",
    "displayName",
    "fineTuningJob",
    "githubUrl",
    "huggingFaceUrl",
    "importedFrom",
    "kind",
    "name",
    "peftDetails",
    "public",
    "rlTunable",
    "state",
    "status",
    "supportedPrecisions",
    "supportedPrecisionsWithCalibration",
    "supportsImageInput",
    "supportsLora",
    "supportsTools",
    "teftDetails",
    "trainingContextLength",
    "tunable",
    "updateTime",
    "useHfApplyChatTemplate",
]


def test_model_has_the_captured_fields(client):
    model = client.model()
    assert sorted(model) == CAPTURED_FIELDS
    assert model["name"] == "accounts/demo/models/my-model"
    assert (model["state"], model["kind"]) == ("READY", "HF_BASE_MODEL")
    assert model["baseModelDetails"]["parameterCount"] == "6000000000"
    assert (model["teftDetails"], model["deprecationDate"], model["cluster"]) == (None, None, "")
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{3}|\.\d{6}|\.\d{9})?Z", model["updateTime"])


def test_prepare_makes_the_model_preparing_and_then_ready(client, emulator):
    response = client.prepare()
    assert (response.status_code, response.json()) == (200, {})
    assert client.model()["state"] == "PREPARING"
    time.sleep(0.55)
    after = client.model()
    assert (after["state"], after["supportedPrecisions"]) == ("READY", ["FP16", "FP8"])
    assert [(p.model, p.precision) for p in emulator.preparations] == [("my-model", "FP8")]


@pytest.mark.parametrize("path", [f"{MODEL}:prepare", f"{MODEL}%3Aprepare"])
def test_colon_of_a_verb_can_be_percent_encoded(client, path):
    assert client("POST", path, json={"precision": "FP4"}).json() == {}


@pytest.mark.parametrize(
    ("second_prepare", "status", "code"),
    [
        ("aborted", 409, 10),
        ("already_exists", 409, 6),
        ("failed_precondition", 400, 9),
        ("ignored", 200, None),
    ],
)
def test_prepare_during_a_preparation_has_the_configured_status(
    client, emulator, second_prepare, status, code
):
    emulator.configure(second_prepare=second_prepare, duration=60)
    assert client.prepare(precision="FP8").status_code == 200
    response = client.prepare(precision="FP4")
    assert (response.status_code, response.json().get("code")) == (status, code)


@pytest.mark.parametrize("status", [403, 401])
@pytest.mark.parametrize("header", [None, "Bearer wrong", "fw_emulator_not_a_real_key", "Basic abc"])
def test_missing_or_wrong_key_is_refused(client, emulator, header, status):
    emulator.configure(unauthorized_status=status)
    response = client("GET", MODEL, headers={"Authorization": header})
    assert response.status_code == status
    assert sorted(response.json()) == ["error", "request_id"]
    assert response.json()["error"] == {
        "message": "The API key you provided is invalid.",
        "param": None,
        "code": "UNAUTHORIZED",
        "type": "error",
    }


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", f"{MODELS}/no-such-model"),
        ("DELETE", f"{MODELS}/no-such-model"),
        ("POST", f"{MODELS}/no-such-model:prepare"),
        ("GET", "/v1/accounts/no-such-account"),
        ("GET", "/v1/accounts/no-such-account/models"),
        ("GET", "/v1/accounts/no-such-account/models/my-model"),
        ("GET", "/v1/accounts/fireworks/models/no-such-model"),
    ],
)
def test_unknown_resource_is_404_in_the_envelope(client, method, path):
    response = client(method, path, json={"precision": "FP8"} if method == "POST" else None)
    assert (response.status_code, response.json()) == (404, NOT_FOUND)


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/", 404),
        ("GET", "/v2/accounts", 404),
        ("GET", "/v1/accounts/", 404),
        ("POST", f"{MODEL}:cook", 404),
        ("GET", f"{MODEL}:prepare", 405),
        ("PUT", MODEL, 405),
        ("POST", "/v1/accounts", 405),
        ("GET", "/emulator/nothing", 404),
        ("GET", "/emulator/reset", 405),
    ],
)
def test_unknown_path_or_method_is_refused_in_plain_text(client, method, path, status):
    response = client(method, path)
    assert response.status_code == status
    assert response.headers["content-type"].startswith("text/plain")


@pytest.mark.parametrize(
    "model", ["UPPER", "-edge", "edge-", "a_b", "a.b", "x" * 64, "%20", "a%2Fb", "%C3%A9"]
)
def test_invalid_id_is_400(client, model):
    for path in (f"{MODELS}/{model}", f"/v1/accounts/{model}/models"):
        response = client("GET", path)
        assert (response.status_code, response.json()["code"]) == (400, 3)


@pytest.mark.parametrize(
    ("body", "named"),
    [
        ({"precison": "FP8"}, "precison"),
        ({"precision": "FP8", "wait": True}, "wait"),
        ({"precision": "fp8"}, "fp8"),
        ({"precision": "FP99"}, "FP99"),
        ({"precision": 8}, "precision"),
        ({"precision": "PRECISION_UNSPECIFIED"}, "precision"),
        ({"precision": None}, "precision"),
        ({"precision": "FP8", "readMask": 1}, "readMask"),
        ({}, "precision"),
        ([], ""),
        ("{", ""),
        ("", "precision"),
    ],
)
def test_prepare_names_the_invalid_field(client, emulator, body, named):
    how = {"data": body} if isinstance(body, str) else {"json": body}
    response = client("POST", f"{MODEL}:prepare", **how)
    assert (response.status_code, response.json()["code"]) == (400, 3)
    assert named in response.json()["message"]
    assert emulator.preparations == []


def test_output_only_fields_of_a_model_are_ignored(client):
    details = {"worldSize": 2, "defaultPrecision": "FP8"}
    changed = client(
        "PATCH", MODEL, json={"state": "FAILED", "calibrated": True, "baseModelDetails": details}
    )
    assert (changed.json()["state"], changed.json()["calibrated"]) == ("READY", False)
    assert changed.json()["baseModelDetails"]["worldSize"] == 2
    assert changed.json()["baseModelDetails"]["defaultPrecision"] == "FP16"


@pytest.mark.parametrize(
    "body",
    [
        "[" * 100_000,
        '{"model": {"displayName": "\\ud800"}}',
        '{"modelId": "m", "model": {"kind": "CUSTOM_MODEL", "contextLength": 1e999}}',
        '{"modelId": "m", "model": {"kind": "CUSTOM_MODEL", "contextLength": NaN}}',
        '{"modelId": "m", "model": {"kind": "CUSTOM_MODEL", "teftDetails": {"x": 1e999}}}',
        '{"modelId": "m", "model": {"baseModelDetails": {"parameterCount": "1_000"}}}',
        '{"modelId": "m", "model": {"baseModelDetails": {"worldSize": -1}}}',
    ],
    ids=["deep", "surrogate", "infinite", "nan", "infinite in a map", "grouped digits", "negative"],
)
def test_json_outside_the_range_of_a_model_is_refused(client, emulator, body):
    response = client("POST", MODELS, data=body)
    assert (response.status_code, response.json()["code"]) == (400, 3), response.text
    # The recorded request is sent as valid JSON.
    shown = client("GET", "/emulator/requests")
    assert shown.status_code == 200
    json.loads(shown.content, parse_constant=pytest.fail)


def test_chunked_request_body_is_refused(client):
    response = client("POST", f"{MODEL}:prepare", data=iter([b'{"precision": "FP8"}']))
    assert response.status_code == 411


def test_read_mask_does_not_change_the_response_to_prepare(client):
    assert client("POST", f"{MODEL}:prepare", json={"precision": "FP8", "readMask": "state"}).json() == {}


def test_public_models_can_only_be_read(client):
    public = "/v1/accounts/fireworks/models/yi-6b"
    assert client.get(public).json()["public"] is True
    assert [model["name"] for model in client.get("/v1/accounts/fireworks/models").json()["models"]] == [
        "accounts/fireworks/models/yi-6b"
    ]
    for method, path, body in [
        ("POST", f"{public}:prepare", {"precision": "FP8"}),
        ("PATCH", public, {"displayName": "Mine"}),
        ("DELETE", public, None),
        ("POST", "/v1/accounts/fireworks/models", {"modelId": "m", "model": {"kind": "CUSTOM_MODEL"}}),
        ("GET", "/v1/accounts/fireworks", None),
    ]:
        response = client(method, path, json=body)
        assert (response.status_code, response.json()["code"]) == (403, 7), (method, path)


BASE = {
    "kind": "HF_BASE_MODEL",
    "baseModelDetails": {"checkpointFormat": "HUGGINGFACE", "parameterCount": "7"},
}


def test_model_can_be_created_updated_and_deleted(client):
    created = client("POST", MODELS, json={"modelId": "new", "model": {**BASE, "displayName": "New"}})
    assert created.status_code == 200, created.text
    assert created.json() == client.model("new")
    assert created.json()["baseModelDetails"]["checkpointFormat"] == "HUGGINGFACE"
    again = client("POST", MODELS, json={"modelId": "new", "model": BASE})
    assert (again.status_code, again.json()["code"]) == (409, 6)
    edited = client("PATCH", f"{MODELS}/new", json={"displayName": "Newer", "state": "FAILED"}).json()
    assert (edited["displayName"], edited["state"]) == ("Newer", "READY")
    assert edited["updateTime"] > created.json()["updateTime"]
    assert client("DELETE", f"{MODELS}/new").json() == {}
    assert client("GET", f"{MODELS}/new").json() == NOT_FOUND


@pytest.mark.parametrize(
    ("body", "named"),
    [
        ({}, "modelId"),
        ({"modelId": "Not An Id", "model": BASE}, "Not An Id"),
        ({"modelId": "m", "model": BASE, "validateOnly": True}, "validateOnly"),
        ({"modelId": "m", "model": {**BASE, "colour": "red"}}, "model.colour"),
        ({"modelId": "m", "model": {**BASE, "kind": "TOY"}}, "model.kind"),
        ({"modelId": "m", "model": {**BASE, "contextLength": "4096"}}, "model.contextLength"),
        ({"modelId": "m", "model": {**BASE, "displayName": "x" * 64}}, "model.displayName"),
        ({"modelId": "m", "model": {**BASE, "description": "x" * 1000}}, "model.description"),
        (
            {"modelId": "m", "model": {**BASE, "conversationConfig": {"system": "s"}}},
            "conversationConfig.style",
        ),
        ({"modelId": "m", "model": {"kind": "HF_BASE_MODEL"}}, "baseModelDetails"),
        ({"modelId": "m"}, "peftDetails"),
        ({"modelId": "m", "model": {**BASE, "kind": "CUSTOM_MODEL"}}, "baseModelDetails"),
        (
            {"modelId": "m", "model": {"kind": "HF_BASE_MODEL", "baseModelDetails": {"parameterCount": "x"}}},
            "Count",
        ),
        (
            {
                "modelId": "m",
                "model": {"kind": "HF_BASE_MODEL", "baseModelDetails": {"checkpointFormat": "ZIP"}},
            },
            "checkpointFormat",
        ),
    ],
)
def test_create_model_names_the_invalid_field(client, emulator, body, named):
    before = len(emulator.models)
    response = client("POST", MODELS, json=body)
    assert (response.status_code, response.json()["code"]) == (400, 3)
    assert named in response.json()["message"]
    assert len(emulator.models) == before


def test_account_can_be_found_from_the_key(client, emulator):
    response = client.get("/verifyApiKey")
    assert (response.status_code, response.headers["x-fireworks-account-id"]) == (200, "demo")
    emulator.configure(accounts=["zeta", "alpha", "mid"])
    assert client.get("/verifyApiKey").headers["x-fireworks-account-id"] == "zeta"
    first = client.get("/v1/accounts", pageSize=2).json()
    assert [account["name"] for account in first["accounts"]] == ["accounts/alpha", "accounts/mid"]
    assert first["totalSize"] == 3
    rest = client.get("/v1/accounts", pageSize=2, pageToken=first["nextPageToken"]).json()
    assert [account["name"] for account in rest["accounts"]] == ["accounts/zeta"]
    assert rest["nextPageToken"] == ""
    assert client.get("/v1/accounts/mid").json() == first["accounts"][1]


def test_requests_beyond_the_rate_limit_are_429(client, emulator):
    emulator.configure(requests_per_minute=3, retry_after="7")
    responses = [client.get(MODEL) for _ in range(5)]
    assert [response.status_code for response in responses] == [200, 200, 200, 429, 429]
    assert (responses[3].json()["code"], responses[3].headers["retry-after"]) == (8, "7")
    emulator.configure(retry_after=None)
    assert "retry-after" not in client.get(MODEL).headers
    emulator.configure(requests_per_minute=None)
    assert client.get(MODEL).status_code == 200


def test_unknown_query_parameter_is_refused(client):
    for path in (MODEL, MODELS, "/v1/accounts", "/verifyApiKey"):
        response = client.get(path, page_sizes=1)
        assert (response.status_code, response.json()["code"]) == (400, 3)
