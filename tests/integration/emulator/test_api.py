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


def test_model_has_the_captured_fields(client, emulator):
    emulator.configure(precision_lists="present")
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
    assert (after["state"], after["calibrated"]) == ("READY", True)
    emulator.configure(precision_lists="present")
    assert client.model()["supportedPrecisions"] == ["FP16", "FP8"]
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


@pytest.mark.parametrize("fields", [{"acceleratorCount": 4}, {"abort": True}, {"abort": False}])
def test_newer_prepare_fields_are_accepted_or_unknown(client, emulator, fields):
    assert client.prepare(**fields).json() == {}
    emulator.configure(prepare_fields="unknown")
    refused = client.prepare(**fields)
    assert (refused.status_code, refused.json()["code"]) == (400, 3)
    assert refused.json()["message"] == f"unknown field {next(iter(fields))!r}"
    assert client.prepare().status_code == 200


def test_preparations_record_the_accelerator_count(client, emulator):
    client.prepare(acceleratorCount=4)
    client.prepare(precision="FP4")
    assert [(p.precision, p.accelerator_count) for p in emulator.preparations] == [("FP8", 4), ("FP4", None)]


@pytest.mark.parametrize("fields", [{}, {"precision": "PRECISION_UNSPECIFIED"}, {"precision": "FP4"}])
def test_abort_stops_the_preparation_with_or_without_a_precision(client, emulator, fields):
    client.prepare()
    response = client.prepare(**{"precision": None, "abort": True, **fields})
    assert (response.status_code, response.json()) == (200, {})
    time.sleep(0.55)
    after = client.model()
    assert (after["state"], after["calibrated"]) == ("READY", False)
    message = "preparing the model at FP8 was aborted"
    assert after["status"] == {"code": "CANCELLED", "message": message}
    assert emulator.counts["prepare aborted"] == 1
    emulator.configure(precision_lists="present")
    assert client.model()["supportedPrecisions"] == ["FP16"]


def test_abort_needs_a_precision_if_configured(client, emulator):
    emulator.configure(abort_precision="required")
    client.prepare()
    for precision in (None, "PRECISION_UNSPECIFIED"):
        refused = client.prepare(precision=precision, abort=True)
        assert (refused.status_code, refused.json()["code"]) == (400, 3)
    assert client.model()["state"] == "PREPARING"
    assert client.prepare(abort=True).status_code == 200
    assert client.model()["state"] == "READY"


@pytest.mark.parametrize(
    ("idle", "status", "code"),
    [("ok", 200, None), ("not_found", 404, 5), ("failed_precondition", 400, 9)],
)
def test_abort_of_an_idle_model_has_the_configured_status(client, emulator, idle, status, code):
    emulator.configure(abort_idle=idle)
    response = client.prepare(abort=True)
    assert (response.status_code, response.json().get("code")) == (status, code)
    assert client.model()["status"]["code"] == "OK"


def test_abort_of_a_public_model_is_403(client):
    assert client.prepare("yi-6b", account="fireworks", abort=True).status_code == 403


def test_prepare_beyond_the_quota_is_refused_if_configured(client, emulator):
    emulator.configure(prepare_refusal="quota")
    refused = client.prepare(acceleratorCount=2)
    message = "global--h100-count for account demo, in use: 0, quota: 0, requesting: 2"
    assert (refused.status_code, refused.json()) == (429, {"code": 8, "message": message, "details": []})
    emulator.configure(gpu_quota=4, quota_status=400)
    refused = client.prepare()
    assert (refused.status_code, refused.json()["code"]) == (400, 8)
    assert refused.json()["message"].endswith("in use: 0, quota: 4, requesting: 8")
    assert emulator.preparations == []


def test_prepare_without_entitlement_is_403(client, emulator):
    emulator.configure(prepare_refusal="entitlement")
    refused = client.prepare()
    assert (refused.status_code, refused.json()["code"]) == (403, 7)
    assert client.prepare(precision="FP16").status_code == 200, "it is prepared already"


@pytest.mark.parametrize("retention", [False, True])
def test_zero_data_retention_is_shown_and_refuses_preparing(client, emulator, retention):
    emulator.configure(zero_data_retention=retention)
    settings = client.get("/v1/accounts/demo/policySettings")
    assert settings.json() == {"name": "accounts/demo/policySettings", "zeroDataRetention": retention}
    response = client.prepare()
    assert response.status_code == (400 if retention else 200)
    if retention:
        assert response.json()["code"] == 9
        assert "zero data retention" in response.json()["message"]
    assert client.get("/v1/accounts/other/policySettings").status_code == 404
    assert client.get("/v1/accounts/fireworks/policySettings").status_code == 403


def test_quotas_are_a_list_with_the_gpus_in_use(client, emulator):
    path = "/v1/accounts/demo/quotas"
    assert client.get(path).json() == {"quotas": [], "nextPageToken": "", "totalSize": 0}
    emulator.configure(gpu_quota=8)
    client.deploy(acceleratorCount=2)
    page = client.get(path, pageSize=2).json()
    assert page["totalSize"] == 3
    rest = client.get(path, pageToken=page["nextPageToken"]).json()
    assert [*page["quotas"], *rest["quotas"]] == [
        {"name": f"accounts/demo/quotas/global--{kind}-count", "value": "8", "maxValue": "8", "usage": usage}
        for kind, usage in (("b200", 0), ("h100", 2), ("h200", 0))
    ]
    assert client.get("/v1/accounts/other/quotas").json() == NOT_FOUND


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
        ({"precision": "FP8", "acceleratorCount": 0}, "acceleratorCount"),
        ({"precision": "FP8", "acceleratorCount": "8"}, "acceleratorCount"),
        ({"precision": "FP8", "abort": "true"}, "abort"),
        ({"precision": "FP99", "abort": True}, "FP99"),
        ({"precision": None, "abort": False}, "precision"),
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
    assert (edited["displayName"], edited["state"]) == ("Newer", "UPLOADING")
    assert edited["updateTime"] > created.json()["updateTime"]
    assert client("DELETE", f"{MODELS}/new").json() == {}
    assert client("GET", f"{MODELS}/new").json() == NOT_FOUND


@pytest.mark.parametrize(
    ("body", "named"),
    [
        ({}, "modelId"),
        ({"modelId": "Not An Id", "model": BASE}, "Not An Id"),
        ({"modelId": "7b-model", "model": BASE}, "'7b-model' begins with a digit"),
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
