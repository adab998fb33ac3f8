"""Deployments, their shapes and inference over HTTP."""

from __future__ import annotations

import contextlib
import time

import pytest
import requests

ALL = "/v1/accounts/demo/deployments"
ONE = f"{ALL}/d"
MODEL = "accounts/demo/models/my-model"
NOT_FOUND = {"code": 5, "message": "resource not found", "details": []}


def test_deployment_is_sent_with_its_fields(client):
    created = client.deploy(displayName="Mine").json()
    assert created["name"] == "accounts/demo/deployments/d"
    assert (created["state"], created["status"]) == ("CREATING", {"code": "OK", "message": ""})
    assert (created["precision"], created["acceleratorCount"]) == ("PRECISION_UNSPECIFIED", 1)
    assert (created["cluster"], created["draftTokenCount"], created["enableAddons"]) == ("", 0, False)
    assert (created["directRouteApiKeys"], created["autoTune"], created["deleteTime"]) == ([], None, None)
    assert created["replicaStats"]["pendingSchedulingReplicaCount"] == 1
    time.sleep(0.35)
    ready = client.deployment()
    assert (ready["state"], ready["replicaCount"], ready["region"]) == ("READY", 1, "US_VIRGINIA_1")
    assert ready["updateTime"] > created["updateTime"]


def test_deployment_can_be_created_changed_and_deleted(client, emulator):
    assert client.deploy().status_code == 200
    assert client("PATCH", f"{ONE}:scale", json={"replicaCount": 3}).json() == {}
    assert client("PATCH", f"{ONE}%3Ascale", json={}).json() == {}, "unset means 0"
    changed = client("PATCH", f"{ONE}?updateMask=display_name", json={"baseModel": MODEL, "displayName": "x"})
    assert changed.json()["displayName"] == "x"
    assert client("DELETE", ONE).json() == {}
    assert client.deployment()["state"] == "DELETED"
    assert client("POST", f"{ONE}:undelete", json={}).json()["state"] == "CREATING"
    assert client("DELETE", ONE, params={"hard": "true", "ignoreChecks": "false"}).json() == {}
    assert client.get(ONE).json() == NOT_FOUND
    assert emulator.counts == {
        "DELETE deployment": 2,
        "GET deployment": 2,
        "PATCH deployment": 1,
        "PATCH scale": 2,
        "POST deployment": 1,
        "POST undelete": 1,
        "deployment created": 1,
    }


@pytest.mark.parametrize(
    ("fields", "named"),
    [
        ({"deploymentId": "d"}, "deploymentId"),
        ({"colour": "red"}, "colour"),
        ({"baseModel": None}, "baseModel"),
        ({"baseModel": ""}, "baseModel"),
        ({"baseModel": "my-model"}, "baseModel"),
        ({"acceleratorType": None}, "acceleratorType"),
        ({"acceleratorType": "ABACUS"}, "acceleratorType"),
        ({"precision": "FP99"}, "precision"),
        ({"minReplicaCount": -1}, "minReplicaCount"),
        ({"minReplicaCount": "1"}, "minReplicaCount"),
        ({"minReplicaCount": 2, "maxReplicaCount": 1}, "maxReplicaCount"),
        ({"minReplicaCount": 1001}, "minReplicaCount"),
        ({"expireTime": "2030-01-01T00:00:00"}, "expireTime"),
        ({"expireTime": "1893456000"}, "expireTime"),
        ({"expireTime": "0001-01-01T00:00:00+01:00"}, "expireTime"),
        ({"expireTime": "9999-12-31T23:59:59-01:00"}, "expireTime"),
        ({"displayName": "x" * 64}, "displayName"),
        ({"description": "x" * 1000}, "description"),
        ({"autoscalingPolicy": {"scaleToZeroWindow": "299s"}}, "scaleToZeroWindow"),
        ({"autoscalingPolicy": {"scaleUpWindow": "3601s"}}, "scaleUpWindow"),
        ({"autoscalingPolicy": {"scaleDownWindow": 30}}, "scaleDownWindow"),
        ({"autoscalingPolicy": {"scaleDownWindow": "5m"}}, "scaleDownWindow"),
        ({"placement": {}}, "placement"),
        ({"annotations": {"custom/a": 1}}, "annotations"),
        ({"annotations": {"custom/a": ""}}, "annotations"),
        ({"annotations": {"custom/" + "k" * 122: "x"}}, "annotations"),
        ({"annotations": {f"custom/{number}": "x" for number in range(65)}}, "annotations"),
        ({"placement": {"multiRegion": "US", "region": "US_IOWA_1"}}, "placement"),
        ({"deploymentShape": "default"}, "acceleratorType"),
        ({"deploymentShape": "default", "acceleratorType": None, "precision": "FP8"}, "precision"),
    ],
)
def test_create_names_the_invalid_field(client, emulator, fields, named):
    response = client.deploy(**fields)
    assert (response.status_code, response.json()["code"]) == (400, 3)
    assert named in response.json()["message"]
    assert emulator.deployments == emulator.creations == []


def test_annotations_are_returned_and_a_bare_key_is_403(client, emulator):
    annotations = {"custom/team": "search", "custom/run-id": "ü"}
    client.deploy(annotations=annotations)
    assert client.deployment()["annotations"] == annotations
    changed = client("PATCH", ONE, json={"baseModel": MODEL, "displayName": "x", "annotations": annotations})
    assert (changed.status_code, changed.json()["annotations"]) == (200, annotations)
    refused = client.deploy("e", annotations={"team": "search"})
    assert (refused.status_code, refused.json()["code"]) == (403, 7)
    assert "'team'" in refused.json()["message"]
    assert len(emulator.creations) == 1


@pytest.mark.parametrize(
    ("shapeless", "statuses"),
    [("accepted", [200, 200]), ("with_risk", [400, 200]), ("refused", [400, 400])],
)
def test_create_without_a_shape_can_need_consent(client, emulator, shapeless, statuses):
    emulator.configure(shapeless=shapeless)
    risk = {"acceptShapelessRisk": "true"}
    responses = [client.deploy("a"), client.deploy("b", query=risk)]
    assert [response.status_code for response in responses] == statuses
    for response in responses:
        if response.status_code == 400:
            assert response.json()["code"] == 3
            assert "deploymentShape" in response.json()["message"]
    shaped = {"acceleratorType": None, "deploymentShape": "default"}
    assert client.deploy("c", **shaped).status_code == 200
    assert client.deploy("d", query=risk, **shaped).json()["code"] == 3


@pytest.mark.parametrize(
    ("mode", "status", "created"), [("checks", 400, 0), ("blind", 200, 0), ("creates", 200, 1)]
)
def test_validate_only_does_what_is_configured(client, emulator, mode, status, created):
    emulator.configure(validate_only=mode)
    if mode == "creates":
        emulator.set_model("my-model", supportedPrecisions=["FP16", "FP8"])
    response = client.deploy(query={"validateOnly": "true"}, precision="FP8")
    assert response.status_code == status
    assert len(emulator.deployments_left) == len(emulator.creations) == created


def test_deployment_waits_for_capacity(client, emulator):
    emulator.configure(capacity_after=1, deploy_duration=0)
    waiting = client.deploy().json()
    assert (waiting["state"], waiting["status"]) == (
        "CREATING",
        {"code": "RESOURCE_EXHAUSTED", "message": "no capacity for NVIDIA_H100_80GB"},
    )
    assert waiting["replicaStats"]["pendingSchedulingReplicaCount"] == 1
    assert emulator.gpu_seconds == 0
    time.sleep(1.05)
    ready = client.deployment()
    assert (ready["state"], ready["status"]["code"]) == ("READY", "OK")


def test_deployment_that_stays_creating_answers_inference(client, emulator):
    emulator.configure(deploy_duration=1, deploy_outcomes={"FP16": "stays_creating"})
    client.deploy()
    assert client.chat().status_code == 404
    time.sleep(1.05)
    assert client.chat().status_code == 200
    shown = client.deployment()
    assert (shown["state"], shown["replicaStats"]["readyReplicaCount"]) == ("CREATING", 1)
    assert emulator.gpu_seconds > 0


@pytest.mark.parametrize(
    ("names", "statuses"),
    [("with_model", [200, 404]), ("deployment", [404, 200]), ("both", [200, 200])],
)
def test_inference_accepts_the_configured_names(client, emulator, names, statuses):
    emulator.configure(deploy_duration=0, inference_names=names)
    client.deploy()
    responses = [client.chat(), client.infer("accounts/demo/deployments/d")]
    assert [response.status_code for response in responses] == statuses
    for response in responses:
        if response.status_code == 404:
            assert response.json()["error"]["code"] == "NOT_FOUND"


def test_termination_message_tells_why_a_deployment_failed(client, emulator):
    path = f"{ONE}/terminationMessage"
    assert client.get(path).json() == NOT_FOUND
    emulator.configure(deploy_outcome="failed")
    client.deploy()
    assert client.get(path).json() == {"message": ""}
    emulator.set_deployment("d", state="FAILED")
    assert "out of memory while loading the weights at FP16" in client.get(path).json()["message"]
    client("DELETE", ONE)
    assert client.get(path).json() == {"message": ""}
    assert emulator.counts["GET terminationMessage"] == 4


def test_model_can_be_deleted_only_after_its_deployments(client, emulator):
    emulator.configure(model_release_lag=1)
    client.deploy()
    for _ in range(2):  # while it exists, and right after
        refused = client("DELETE", f"/v1/{MODEL}")
        assert (refused.status_code, refused.json()["code"]) == (400, 9)
        assert "active deployments" in refused.json()["message"]
        client("DELETE", ONE)
    time.sleep(1.05)
    assert client("DELETE", f"/v1/{MODEL}").status_code == 200


@pytest.mark.parametrize("deployment", ["UPPER", "a_b", "-a", "a-", "a" * 64, "a/b"])
def test_create_refuses_an_invalid_id(client, deployment):
    assert client.deploy(deployment).json()["code"] == 3


def test_id_is_optional_and_stays_taken_until_hard_delete(client):
    assert client.deploy("a" * 63).status_code == 200
    chosen = client.deploy(None).json()["name"].rpartition("/")[2]
    assert client.deployment(chosen)["state"] == "CREATING"
    again = client.deploy(chosen)
    assert (again.status_code, again.json()["code"]) == (409, 6)
    client("DELETE", f"{ALL}/{chosen}")
    assert client.deploy(chosen).status_code == 409
    client("DELETE", f"{ALL}/{chosen}", params={"hard": "true"})
    assert client.deploy(chosen).status_code == 200


def test_expire_time_is_returned_in_utc(client):
    times = {
        "2030-01-01T00:00:00+02:00": "2029-12-31T22:00:00Z",
        "0500-06-01t12:30:00.1234z": "0500-06-01T12:30:00.123400Z",
    }
    for sent, read in times.items():
        assert (
            client.deploy(None, query={"validateOnly": "true"}, expireTime=sent).json()["expireTime"] == read
        )


def test_output_only_fields_of_a_deployment_are_ignored(client):
    created = client.deploy(state="READY", replicaCount=7, name="mine", status={"code": "INTERNAL"}).json()
    assert (created["state"], created["replicaCount"]) == ("CREATING", 0)
    assert created["name"] == "accounts/demo/deployments/d"


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("GET", ONE, None),
        ("PATCH", ONE, {"baseModel": MODEL}),
        ("DELETE", ONE, None),
        ("PATCH", f"{ONE}:scale", {"replicaCount": 1}),
        ("POST", f"{ONE}:undelete", {}),
        ("GET", "/v1/accounts/other/deployments", None),
        ("GET", "/v1/accounts/demo/deploymentShapes/none/versions", None),
        ("GET", "/v1/accounts/other/deploymentShapes/my-shape/versions", None),
        ("GET", "/v1/accounts/demo/deploymentShapes/my-shape/versions/v9", None),
    ],
)
def test_unknown_resource_is_404(client, method, path, body):
    response = client(method, path, json=body)
    assert (response.status_code, response.json()) == (404, NOT_FOUND)


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("PATCH", f"{ONE}:scale", {"replicaCount": -1}),
        ("PATCH", f"{ONE}:scale", {"replicas": 1}),
        ("PATCH", ONE, {"displayName": "no base model"}),
        ("PATCH", f"{ONE}:scale", {"replicaCount": 1001}),
        ("PATCH", f"{ONE}?updateMask=colour", {"baseModel": MODEL}),
        ("PATCH", f"{ONE}?updateMask=annotations", {"baseModel": MODEL}),
        ("PATCH", f"{ONE}?updateMask=display_name,annotations", {"baseModel": MODEL, "annotations": {}}),
        ("PATCH", ONE, {"baseModel": MODEL, "annotations": {"custom/a": "x"}}),
        ("PATCH", f"{ONE}?updateMask=autoscaling_policy.scale_up_window", {"baseModel": MODEL}),
        ("POST", f"{ONE}:undelete", {"force": True}),
        ("DELETE", f"{ONE}?hard=yes", None),
        ("DELETE", f"{ONE}?force=true", None),
        ("GET", f"{ONE}?read_mask=state", None),
        ("GET", f"{ALL}?showDeleted=maybe", None),
        ("GET", f"{ALL}?filter=x", None),
        ("GET", f"{ALL}?showDeleted=", None),
        ("GET", f"{ALL}?pageSize=", None),
        ("GET", f"{ALL}?pageSize=1&pageSize=2", None),
        ("GET", f"{ALL}?pageSize=2147483648", None),
        ("POST", f"{ALL}?validateonly=true", {"baseModel": MODEL}),
        ("POST", f"{ALL}?validateOnly=1", {"baseModel": MODEL}),
        ("GET", "/v1/accounts/-/deployments", None),
    ],
)
def test_invalid_request_is_400(client, emulator, method, path, body):
    client.deploy()
    before = emulator.deployments[0]["name"]
    response = client(method, path, json=body)
    assert (response.status_code, response.json()["code"]) == (400, 3), response.text
    assert [found["name"] for found in emulator.deployments] == [before]


@pytest.mark.parametrize("status", [429, 400, 403])
def test_quota_error_has_the_configured_status(client, emulator, status):
    emulator.configure(gpu_quota=3, quota_status=status)
    assert client.deploy("a", acceleratorCount=2).status_code == 200
    refused = client.deploy("b", acceleratorCount=2)
    assert (refused.status_code, refused.json()) == (
        status,
        {
            "code": 8,
            "message": "global--h100-count for account demo, in use: 2, quota: 3, requesting: 2",
            "details": [],
        },
    )


def test_list_leaves_out_deleted_deployments(client, emulator):
    for deployment in ("a", "b", "c"):
        client.deploy(deployment)
    client("DELETE", f"{ALL}/b")
    page = client.get(ALL, pageSize=1).json()
    assert ([found["name"][-1] for found in page["deployments"]], page["totalSize"]) == (["a"], 2)
    rest = client.get(ALL, pageSize=9, pageToken=page["nextPageToken"]).json()
    assert ([found["name"][-1] for found in rest["deployments"]], rest["nextPageToken"]) == (["c"], "")
    shown = client.get(ALL, showDeleted="true", readMask="name,state").json()["deployments"]
    assert [(found["name"][-1], found["state"]) for found in shown] == [
        ("a", "CREATING"),
        ("b", "DELETED"),
        ("c", "CREATING"),
    ]
    assert all(len(found) == 2 for found in shown)


def test_deleted_deployment_is_404_if_configured(client, emulator):
    emulator.configure(deleted_get="not_found")
    client.deploy()
    client("DELETE", ONE)
    assert client.get(ONE).json() == NOT_FOUND
    assert [found["state"] for found in client.get(ALL, showDeleted="true").json()["deployments"]] == [
        "DELETED"
    ]
    assert client.deploy().status_code == 409
    assert emulator.deployment("d")["state"] == "DELETED"
    assert client("POST", f"{ONE}:undelete").status_code == 200


def test_inference_depends_on_the_state_of_the_deployment(client, emulator):
    missing = {
        "message": "Model not found, inaccessible, and/or not deployed",
        "code": "NOT_FOUND",
        "type": "error",
        "param": None,
    }
    emulator.configure(deploy_duration=60)
    client.deploy()
    early = client.chat()
    assert (early.status_code, early.json()) == (404, {"error": missing})
    assert client.chat(deployment="none").json() == {"error": missing}
    emulator.set_deployment("d", state="READY")
    good = client.chat()
    assert good.status_code == 200
    assert good.json()["choices"][0]["message"]["role"] == "assistant"
    assert good.json()["usage"]["total_tokens"] == sum(
        good.json()["usage"][f"{part}_tokens"] for part in ("prompt", "completion")
    )
    client("PATCH", f"{ONE}:scale", json={"replicaCount": 0})
    time.sleep(0.25)
    asleep = client.chat()
    assert (asleep.status_code, asleep.json()["error"]["code"]) == (503, "DEPLOYMENT_SCALING_UP")
    time.sleep(0.25)
    assert client.chat().status_code == 200
    assert client("DELETE", ONE).json()["code"] == 9
    assert emulator.counts["POST chat"] == 5


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"model": "m"},
        {"model": "m", "messages": []},
        {"model": "m", "messages": [{"content": "no role"}]},
        {"model": "m", "messages": [{"role": "user", "content": "x"}], "stream": "yes"},
    ],
)
def test_invalid_inference_request_is_400(client, body):
    response = client("POST", "/inference/v1/chat/completions", json=body)
    assert (response.status_code, response.json()["error"]["code"]) == (400, "INVALID_ARGUMENT")


def test_inference_needs_the_key(client, emulator):
    emulator.revoke_key()
    assert client.chat().json()["error"]["code"] == "UNAUTHORIZED"


@pytest.mark.parametrize(
    ("shapes", "matching"), [("prepared", ["my-full-shape"]), ("all", ["my-full-shape", "my-shape"])]
)
def test_match_returns_the_configured_shapes(client, emulator, shapes, matching):
    emulator.configure(match_shapes=shapes)
    request = {"parent": "accounts/demo", "deployment": {"baseModel": MODEL}}
    matched = client(
        "POST",
        "/v1/accounts/demo/deploymentShapeVersions:match",
        json={"createDeploymentRequest": request},
    ).json()
    names = [version["snapshot"]["displayName"] for version in matched["deploymentShapeVersions"]]
    assert (names, matched["totalSize"]) == (matching, len(matching))


def test_shapes_can_be_listed_read_and_matched(client):
    versions = "/v1/accounts/{}/deploymentShapes/{}/versions"
    own = client.get(versions.format("demo", "my-shape")).json()
    assert [version["latestValidated"] for version in own["deploymentShapeVersions"]] == [False, True]
    public = client.get(versions.format("-", "-")).json()
    assert public["totalSize"] == 5
    assert client.get(versions.format("-", "-"), pageSize=2).json()["nextPageToken"]
    name = own["deploymentShapeVersions"][1]["name"]
    assert client.get(f"/v1/{name}").json() == own["deploymentShapeVersions"][1]

    def match(model: str, parent: str = "accounts/demo") -> requests.Response:
        body = {"createDeploymentRequest": {"parent": parent, "deployment": {"baseModel": model}}}
        return client("POST", "/v1/accounts/demo/deploymentShapeVersions:match", json=body)

    fitting = match(MODEL).json()
    assert (fitting["totalSize"], fitting["nextPageToken"]) == (1, "")
    assert match("accounts/demo/models/none").status_code == 404
    assert match(MODEL, "accounts/other").status_code == 400
    chosen = fitting["deploymentShapeVersions"][0]
    created = client.deploy(acceleratorType=None, deploymentShape=chosen["snapshot"]["name"]).json()
    assert created["deploymentShape"] == chosen["name"]


@pytest.mark.parametrize(
    "fault", [{"kind": "drop"}, {"kind": "truncate"}, {"kind": "status", "status": 503}, {"kind": "html"}]
)
@pytest.mark.parametrize("after_work", [False, True])
def test_fault_executes_create_and_delete_only_with_after_work(client, emulator, fault, after_work):
    emulator.fault(**fault, after_work=after_work, method="POST", path="/deployments?")
    with contextlib.suppress(requests.ConnectionError, requests.exceptions.ChunkedEncodingError):
        assert client.deploy().status_code >= 500
    assert len(emulator.creations) == len(emulator.deployments_left) == (1 if after_work else 0)
    client.deploy()
    emulator.fault(**fault, after_work=after_work, method="DELETE")
    with contextlib.suppress(requests.ConnectionError, requests.exceptions.ChunkedEncodingError):
        assert client("DELETE", ONE).status_code >= 500
    assert emulator.deployments_left == ([] if after_work else ["accounts/demo/deployments/d"])


def test_deployments_can_be_read_set_and_removed(client, emulator):
    client.deploy()
    assert emulator.deployment("d") == emulator.deployments[0]
    forced = emulator.set_deployment("d", state="FAILED", displayName="Broken")
    assert client.deployment() == forced
    emulator.clear()
    assert (emulator.creations, len(emulator.deployments)) == ([], 1)
    emulator.remove_deployment("d")
    assert client.get(ONE).status_code == 404
    for method in (emulator.deployment, emulator.set_deployment, emulator.remove_deployment):
        with pytest.raises(LookupError, match="'d'"):
            method("d")
    with pytest.raises(LookupError, match="other"):
        emulator.deployment("d", account="other")
