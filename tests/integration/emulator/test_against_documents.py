"""Requests and responses, compared with the published OpenAPI files."""

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
    """Return the differences of a value from a schema. Unknown fields count."""

    def compare(schema: dict, value: object, document: Path = GATEWAY) -> list[str]:
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

    return compare


def unset(value):
    """Leave out null, which the API sends for an unset message."""
    if isinstance(value, dict):
        return {name: unset(part) for name, part in value.items() if part is not None}
    return [unset(part) for part in value] if isinstance(value, list) else value


def named(name: str) -> dict[str, str]:
    return {"$ref": f"#/components/schemas/{name}"}


def test_deployment_is_as_documented_in_every_state(client, emulator, documents, problems):
    emulator.configure(deploy_outcomes={"FP8": "failed"}, delete_duration=0.1, duration=0)
    client.prepare()
    states = []

    def check(payload: dict | None = None) -> None:
        payload = payload or emulator.deployment("d")
        assert problems(named("gatewayDeployment"), payload) == []
        assert sorted(payload) == sorted(
            documents[GATEWAY]["components"]["schemas"]["gatewayDeployment"]["properties"]
        )
        states.append(payload["state"])

    check(
        client.deploy(acceleratorType=None, deploymentShape="accounts/demo/deploymentShapes/my-shape").json()
    )
    time.sleep(0.35)
    check()
    client("DELETE", "/v1/accounts/demo/deployments/d")
    check()
    time.sleep(0.15)
    check()
    emulator.configure(deploy_outcomes={})
    check(client("POST", "/v1/accounts/demo/deployments/d:undelete", json={}).json())
    time.sleep(0.35)
    check()
    client("PATCH", "/v1/accounts/demo/deployments/d:scale", json={"replicaCount": 2})
    check()
    assert states == ["CREATING", "FAILED", "DELETING", "DELETED", "CREATING", "READY", "UPDATING"]


def test_termination_message_is_as_documented(client, emulator, problems):
    client.deploy()
    emulator.set_deployment("d", state="FAILED")
    sent = client.get("/v1/accounts/demo/deployments/d/terminationMessage").json()
    assert sent["message"]
    assert problems(named("gatewayGetTerminationMessageResponse"), sent) == []


def test_router_is_as_documented_in_every_state(client, emulator, documents, problems):
    emulator.configure(router_duration=3600)
    client.deploy()
    path = "/v1/accounts/demo/routers"
    states = []

    def check(payload: dict) -> None:
        assert problems(named("gatewayRouter"), payload) == []
        properties = documents[GATEWAY]["components"]["schemas"]["gatewayRouter"]["properties"]
        assert sorted(payload) == sorted(properties)
        states.append(payload["state"])

    body = {"deployments": ["accounts/demo/deployments/d"]}
    check(client("POST", path, params={"routerId": "r"}, json=body).json())
    emulator.set_router("r", state="READY")
    check(client.get(f"{path}/r").json())
    check(client("PATCH", f"{path}/r", json={**body, "evenLoad": {}}).json())
    client("DELETE", f"{path}/r")
    [listed] = client.get(path).json()["routers"]
    check(listed)
    assert states == ["CREATING", "READY", "UPDATING", "DELETING"]


def test_every_documented_router_field_can_be_sent(client, documents):
    client.deploy()
    body = {"deployments": ["accounts/demo/deployments/d"]}
    client("POST", "/v1/accounts/demo/routers", params={"routerId": "r"}, json=body)
    samples = {"string": "2030-01-01T00:00:00Z", "boolean": False}
    for name, field in documents[GATEWAY]["components"]["schemas"]["gatewayRouter"]["properties"].items():
        value = {} if "Strategy" in field.get("$ref", "") else samples.get(field.get("type"))
        response = client(
            "PATCH", "/v1/accounts/demo/routers/r", json={**body, name: value or body.get(name)}
        )
        assert response.status_code == 200, (name, response.text)


def test_every_documented_deployment_field_can_be_sent(client, documents):
    shape = documents[GATEWAY]["components"]["schemas"]["gatewayDeployment"]["properties"]
    samples = {"string": "2030-01-01T00:00:00Z", "boolean": False, "integer": 1, "array": [], "object": {}}
    skipped = {"baseModel", "deploymentShape"}
    for name, field in shape.items():
        value = samples[field["type"]] if "type" in field else None
        if name not in skipped:
            response = client.deploy(None, query={"validateOnly": "true"}, **{name: value})
            if name != "acceleratorType":
                assert response.status_code == 200, (name, response.text)


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
def test_only_documented_enum_values_are_accepted(client, documents, schema, field):
    for name in [*documents[GATEWAY]["components"]["schemas"][schema]["enum"], "NONSENSE"]:
        whole, _, part = field.partition(".")
        response = client.deploy(
            None, query={"validateOnly": "true"}, **{whole: {part: name} if part else name}
        )
        accepted = response.status_code == 200 or f"{field}:" not in response.json()["message"]
        unset = name == "ACCELERATOR_TYPE_UNSPECIFIED"
        assert accepted is (name != "NONSENSE" and not unset), (name, response.text)


def test_comparison_finds_differences(problems):
    assert problems(named("gatewayModel"), {"state": "COOKING"})
    assert problems(named("gatewayModel"), {"colour": "red"})
    assert problems(named("gatewayModel"), {"contextLength": "4096"})


@pytest.mark.parametrize("lists", ["present", "empty"])
def test_precision_lists_are_the_only_undocumented_fields(client, emulator, problems, lists):
    emulator.configure(precision_lists=lists)
    [found] = problems(named("gatewayModel"), client.model())
    assert "supportedPrecisions" in found
    assert "supportedPrecisionsWithCalibration" in found


def test_preparing_is_an_undocumented_state(client, emulator, problems):
    emulator.configure(precision_lists="absent")
    client.prepare()
    [found] = problems(named("gatewayModel"), client.model())
    assert found.startswith("state: 'PREPARING'")
    time.sleep(0.55)
    assert problems(named("gatewayModel"), client.model()) == []


def test_only_documented_precisions_are_accepted(client, emulator, documents, problems):
    documented = documents[PREPARE]["components"]["schemas"]["DeploymentPrecision"]["enum"]
    for precision in [*documented, "FP99"]:
        body = {"precision": precision}
        valid = problems(named("GatewayPrepareModelBody"), body, PREPARE) == []
        accepted = client.prepare(precision=precision).status_code == 200
        assert accepted is (valid and precision != "PRECISION_UNSPECIFIED"), precision


def test_every_documented_model_field_can_be_sent(client, documents):
    shape = documents[GATEWAY]["components"]["schemas"]["gatewayModel"]["properties"]
    samples = {"string": "2025-01-01T00:00:00Z", "boolean": False, "integer": 1, "array": [], "object": {}}
    skipped = {"peftDetails", "conversationConfig"}
    for name, field in shape.items():
        value = samples[field["type"]] if "type" in field else None
        if name not in skipped:
            response = client("PATCH", "/v1/accounts/demo/models/my-model", json={name: value})
            assert response.status_code == 200, (name, response.text)
