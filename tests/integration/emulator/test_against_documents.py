"""Requests and replies, judged by the published OpenAPI files, where they are at hand."""

from __future__ import annotations

import copy
import time
from pathlib import Path

import pytest
import yaml
from openapi_schema_validator import OAS31Validator

from tests.integration.emulator.documents import ABSENT, GATEWAY, PREPARE, WHY

pytestmark = pytest.mark.skipif(ABSENT, reason=WHY)


@pytest.fixture(scope="module")
def documents():
    return {path: yaml.safe_load(path.read_text()) for path in (GATEWAY, PREPARE)}


@pytest.fixture(scope="module")
def problems(documents):
    """What a document finds wrong with a value; its objects are closed, so that unknown fields are found."""

    def judge(schema: dict, value: object, document: Path = GATEWAY) -> list[str]:
        components = copy.deepcopy(documents[document]["components"])
        for component in components["schemas"].values():
            if component.get("properties"):
                component["additionalProperties"] = False
        validator = OAS31Validator(
            {**schema, "components": components}, format_checker=OAS31Validator.FORMAT_CHECKER
        )
        return [
            f"{'.'.join(map(str, error.path))}: {error.message}"
            for error in validator.iter_errors(unset(value))
        ]

    return judge


def unset(value):
    """Leave out what is null: in the API's JSON that is a message which is not set."""
    if isinstance(value, dict):
        return {name: unset(part) for name, part in value.items() if part is not None}
    return [unset(part) for part in value] if isinstance(value, list) else value


def named(name: str) -> dict[str, str]:
    return {"$ref": f"#/components/schemas/{name}"}


def test_a_deployment_is_as_documented_all_its_life(client, emulator, documents, problems):
    emulator.configure(deploy_outcomes={"FP8": "failed"}, delete_duration=0.1, duration=0)
    client.prepare()
    states = []

    def look(payload: dict | None = None) -> None:
        payload = payload or emulator.deployment("d")
        assert problems(named("gatewayDeployment"), payload) == []
        assert sorted(payload) == sorted(
            documents[GATEWAY]["components"]["schemas"]["gatewayDeployment"]["properties"]
        )
        states.append(payload["state"])

    look(
        client.deploy(acceleratorType=None, deploymentShape="accounts/demo/deploymentShapes/my-shape").json()
    )
    time.sleep(0.35)
    look()
    client("DELETE", "/v1/accounts/demo/deployments/d")
    look()
    time.sleep(0.15)
    look()
    emulator.configure(deploy_outcomes={})
    look(client("POST", "/v1/accounts/demo/deployments/d:undelete", json={}).json())
    time.sleep(0.35)
    look()
    client("PATCH", "/v1/accounts/demo/deployments/d:scale", json={"replicaCount": 2})
    look()
    assert states == ["CREATING", "FAILED", "DELETING", "DELETED", "CREATING", "READY", "UPDATING"]


def test_every_documented_field_of_a_deployment_can_be_sent(client, documents):
    shape = documents[GATEWAY]["components"]["schemas"]["gatewayDeployment"]["properties"]
    samples = {"string": "2030-01-01T00:00:00Z", "boolean": False, "integer": 1, "array": [], "object": {}}
    skipped = {"baseModel", "deploymentShape"}
    for name, field in shape.items():
        value = samples[field["type"]] if "type" in field else None
        if name not in skipped:
            answer = client.deploy(None, query={"validateOnly": "true"}, **{name: value})
            if name != "acceleratorType":
                assert answer.status_code == 200, (name, answer.text)


@pytest.mark.parametrize(
    ("schema", "field"),
    [
        ("gatewayAcceleratorType", "acceleratorType"),
        ("DeploymentPrecision", "precision"),
        ("gatewayDirectRouteType", "directRouteType"),
        ("DeploymentHotLoadBucketType", "hotLoadBucketType"),
        ("gatewayRegion", "placement.region"),
        ("gatewayMultiRegion", "placement.multiRegion"),
    ],
)
def test_the_documented_names_are_those_that_are_taken(client, documents, schema, field):
    for name in [*documents[GATEWAY]["components"]["schemas"][schema]["enum"], "NONSENSE"]:
        whole, _, part = field.partition(".")
        answer = client.deploy(
            None, query={"validateOnly": "true"}, **{whole: {part: name} if part else name}
        )
        understood = answer.status_code == 200 or f"{field}:" not in answer.json()["message"]
        unset = name == "ACCELERATOR_TYPE_UNSPECIFIED"
        assert understood is (name != "NONSENSE" and not unset), (name, answer.text)


def test_the_judge_can_find_fault(problems):
    assert problems(named("gatewayModel"), {"state": "COOKING"})
    assert problems(named("gatewayModel"), {"colour": "red"})
    assert problems(named("gatewayModel"), {"contextLength": "4096"})


@pytest.mark.parametrize("lists", ["present", "empty"])
def test_the_lists_are_all_that_the_documents_do_not_have(client, emulator, problems, lists):
    emulator.configure(precision_lists=lists)
    [found] = problems(named("gatewayModel"), client.model())
    assert "supportedPrecisions" in found
    assert "supportedPrecisionsWithCalibration" in found


def test_preparing_is_the_one_state_that_the_documents_do_not_have(client, emulator, problems):
    emulator.configure(precision_lists="absent")
    client.prepare()
    [found] = problems(named("gatewayModel"), client.model())
    assert found.startswith("state: 'PREPARING'")
    time.sleep(0.55)
    assert problems(named("gatewayModel"), client.model()) == []


def test_the_documented_precisions_are_those_that_are_taken(client, emulator, documents, problems):
    documented = documents[PREPARE]["components"]["schemas"]["DeploymentPrecision"]["enum"]
    for precision in [*documented, "FP99"]:
        body = {"precision": precision}
        fine = problems(named("GatewayPrepareModelBody"), body, PREPARE) == []
        taken = client.prepare(precision=precision).status_code == 200
        assert taken is (fine and precision != "PRECISION_UNSPECIFIED"), precision


def test_every_documented_field_of_a_model_can_be_sent(client, documents):
    shape = documents[GATEWAY]["components"]["schemas"]["gatewayModel"]["properties"]
    samples = {"string": "2025-01-01T00:00:00Z", "boolean": False, "integer": 1, "array": [], "object": {}}
    skipped = {"peftDetails", "conversationConfig"}
    for name, field in shape.items():
        value = samples[field["type"]] if "type" in field else None
        if name not in skipped:
            answer = client("PATCH", "/v1/accounts/demo/models/my-model", json={name: value})
            assert answer.status_code == 200, (name, answer.text)
