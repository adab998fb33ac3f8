"""
Schemathesis drives the emulator from the published OpenAPI files, where they are at hand.

Every call that the emulator implements is made with what the documents allow and with what they do not, over
HTTP, and every answer is judged by them. ``SCHEMA_EXAMPLES=500`` makes a larger run, of other examples each
time; without it they are always the same ones.
"""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Iterator
from typing import Any
from urllib.parse import unquote

import pytest
import requests
import yaml
from hypothesis import HealthCheck, settings

from airflow_provider_fireworks.emulator import Emulator
from airflow_provider_fireworks.emulator.app import GATEWAY_ROUTES
from airflow_provider_fireworks.emulator.deployments import MUTABLE
from tests.integration.emulator.documents import ABSENT, GATEWAY, WHY

schemathesis = pytest.importorskip(
    "schemathesis", reason="Schemathesis is installed for development only, on Python 3.11 or later"
)
if ABSENT:
    pytest.skip(WHY, allow_module_level=True)

EXAMPLES = int(os.environ.get("SCHEMA_EXAMPLES", "0"))
HOW = settings(
    max_examples=EXAMPLES or 20,
    derandomize=not EXAMPLES,
    database=None,
    deadline=None,
    suppress_health_check=list(HealthCheck),
)

ID = "[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?"
PREPARED = "accounts/demo/models/my-model"
BASE_MODELS = [PREPARED, "accounts/fireworks/models/yi-6b", "accounts/demo/models/my-addon"]
DEPLOYMENTS = "/v1/accounts/{account_id}/deployments"
DEPLOYMENT = f"{DEPLOYMENTS}/{{deployment_id}}"
SHAPE = "accounts/demo/deploymentShapes/my-full-shape"

#: What a field or a parameter takes beyond its type, which the documents say in prose or leave open. Without it
#: nearly every request would be refused for the first name in it, and nothing behind that be reached.
VALUES: dict[str, dict[str, Any]] = {
    "account_id": {"enum": ["demo", "fireworks", "none"]},
    "model_id": {"enum": ["my-model", "my-other-model", "my-addon", "my-uploading-model", "yi-6b", "none"]},
    "deployment_id": {"enum": ["ready", "creating", "failed", "deleted", "none"]},
    "deployment_shape_id": {"enum": ["my-full-shape", "my-shape", "yi-6b-minimal", "-", "none"]},
    "version_id": {"enum": ["v1", "v2", "none"]},
    "modelId": {"pattern": f"^{ID}$"},
    "deploymentId": {"pattern": f"^{ID}$"},
    "pageSize": {"minimum": 0},
    "pageToken": {"enum": [""]},
    "deploymentShape": {"enum": ["", "default", SHAPE, f"{SHAPE}/versions/v1"]},
    "displayName": {"maxLength": 63},
    "description": {"maxLength": 999},
    "scaleUpWindow": {"pattern": "^[0-9]{1,3}s$"},
    "scaleDownWindow": {"pattern": r"^[0-9]{1,3}(\.[0-9]{1,9})?s$"},
    "scaleToZeroWindow": {"pattern": "^[3-9][0-9]{2,5}s$"},
    "duration": {"pattern": "^[3-9][0-9]{2,3}s$"},
    "scalingSchedules": {"maxProperties": 5},
    "parameterCount": {"pattern": "^-?[0-9]{1,18}$"},
    **{
        name: {"minimum": 0, "maximum": 1000}
        for name in ("minReplicaCount", "maxReplicaCount", "maxWithRevocableReplicaCount", "replicaCount")
    },
    "acceleratorCount": {"minimum": 0},
    "worldSize": {"minimum": 0},
}
#: Parameters that the emulator always refuses.
NOT_EMULATED = ("filter", "orderBy")


def documented() -> dict[str, Any]:
    """Return the documents for what the emulator implements, with all that is known beyond them."""
    document = yaml.safe_load(GATEWAY.read_text())
    schemas = document["components"]["schemas"]
    refine(document, schemas)
    # What is required is so in requests; an answer cut down by a readMask may be without it.
    for name in ("gatewayAccount", "gatewayDeployment"):
        del schemas[name]["required"]
    create = body(document, DEPLOYMENTS, "post")
    create["schema"] = {"allOf": [create["schema"], {"required": ["baseModel"]}]}
    for deployment in (schemas["gatewayDeployment"], body(document, DEPLOYMENT, "patch")["schema"]):
        deployment["properties"]["baseModel"]["enum"] = BASE_MODELS
    # In prose only.
    schemas["gatewayModelState"]["enum"] += ["PREPARING", "FAILED"]
    schemas["gatewayPlacement"].update(minProperties=1, maxProperties=1)
    schemas["googlerpcStatus"]["required"] = ["code", "message", "details"]
    error = {"application/json": {"schema": {"$ref": "#/components/schemas/googlerpcStatus"}}}
    paths: dict[str, Any] = {}
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            operation["parameters"] = [
                given for given in operation.get("parameters", []) if given["name"] not in NOT_EMULATED
            ]
            operation["responses"]["default"] = {"description": "", "content": error}
            if (method.upper(), path) not in NOT_IMPLEMENTED:
                paths.setdefault(path, {})[method] = operation
    change = body(document, DEPLOYMENT, "patch")["schema"]
    masks = ["", "*", *change["properties"], *(f"{name}.scaleUpWindow" for name in change["properties"])]
    mask = {"name": "updateMask", "in": "query", "schema": {"type": "string", "enum": masks}}
    paths[DEPLOYMENT]["patch"]["parameters"].append(mask)
    # Other fields must be sent as they are.
    change["properties"] = {
        name: change["properties"][name]
        for name in ["baseModel", *sorted(MUTABLE & change["properties"].keys())]
    }
    return {**document, "paths": paths}


def refine(part: Any, schemas: dict[str, Any]) -> None:
    """Close every object, let messages and times be null, which is unset, and put in :data:`VALUES`."""
    if isinstance(part, list):
        for item in part:
            refine(item, schemas)
    if not isinstance(part, dict):
        return
    if part.get("in") in ("path", "query"):
        part["schema"].update(VALUES.get(part["name"], {}))
    for item in part.values():
        refine(item, schemas)
    if part.get("format") == "int32":
        part.setdefault("minimum", -(2**31))
        part.setdefault("maximum", 2**31 - 1)
    if isinstance(part.get("properties"), dict) and part.get("type") == "object":
        part["additionalProperties"] = False
        for name, field in part["properties"].items():
            field.update(VALUES.get(name, {}))
            refers = schemas.get(field.get("$ref", "").rpartition("/")[2], {})
            if refers.get("type") == "object" or field.get("format") == "date-time":
                part["properties"][name] = {
                    "anyOf": [field, {"type": "null"}],
                    "readOnly": field.get("readOnly", False),
                }


def body(document: dict[str, Any], path: str, method: str) -> dict[str, Any]:
    return document["paths"][path][method]["requestBody"]["content"]["application/json"]


def unnamed(path: str) -> str:
    """Return a path whatever its ids are called."""
    return re.sub(r"\{\w+\}", "{}", path)


def refuses_what_is_wrong(
    ctx: schemathesis.CheckContext, response: schemathesis.Response, case: schemathesis.Case
) -> bool | None:
    # No body is an empty message, and null is unset, whatever the type.
    if has_null(case.body) or (case.operation.body and isinstance(case.body, schemathesis.core.NotSet)):
        return None
    return schemathesis.checks.negative_data_rejection(ctx, response, case)


def has_null(value: Any) -> bool:
    parts = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return value is None or any(map(has_null, parts))


CHECKS = [
    schemathesis.checks.not_a_server_error,
    schemathesis.checks.content_type_conformance,
    schemathesis.checks.response_schema_conformance,
    schemathesis.checks.ignored_auth,
    refuses_what_is_wrong,
]
IMPLEMENTED = {(route.method, unnamed(route.path)) for route in GATEWAY_ROUTES}
CALLS = [
    (method.upper(), path)
    for path, operations in yaml.safe_load(GATEWAY.read_text())["paths"].items()
    for method in operations
]
NOT_IMPLEMENTED = [(method, path) for method, path in CALLS if (method, unnamed(path)) not in IMPLEMENTED]

schema = schemathesis.openapi.from_dict(documented(), config=schemathesis.Config())
schema.config.generation.with_security_parameters = False
schema.config.phases.coverage.unexpected_methods = set()


@pytest.fixture(scope="module")
def emulator() -> Iterator[Emulator]:
    # What is on its way stays so: nothing that is answered depends on how fast this machine is.
    with Emulator(
        precision_lists="absent", duration=3600, deploy_duration=3600, scale_duration=3600
    ) as emulator:
        yield emulator


@pytest.fixture(scope="module")
def session(emulator: Emulator) -> Iterator[requests.Session]:
    with requests.Session() as session:
        session.trust_env = False
        session.headers["Authorization"] = f"Bearer {emulator.api_key}"
        stock(emulator, session)
        yield session


def stock(emulator: Emulator, session: requests.Session) -> None:
    """Go back to the start, with a deployment in each state and a model in preparation."""
    emulator.reset()
    home = f"{emulator.url}/v1/accounts/demo"
    body = {"baseModel": PREPARED, "acceleratorType": "NVIDIA_H100_80GB"}
    for deployment in ("ready", "creating", "failed", "deleted"):
        session.post(f"{home}/deployments", params={"deploymentId": deployment}, json=body)
    emulator.set_deployment("ready", state="READY")
    emulator.set_deployment("failed", state="FAILED")
    session.delete(f"{home}/deployments/deleted")
    session.post(f"{home}/models/my-other-model:prepare", json={"precision": "FP8"})
    emulator.clear()


@pytest.fixture(scope="module")
def answers() -> Counter[tuple[str, int]]:
    return Counter()


@schema.parametrize()
@HOW
def test_answers_are_as_documented(
    case: schemathesis.Case, emulator: Emulator, session: requests.Session, answers: Counter[tuple[str, int]]
) -> None:
    if any(":" in unquote(str(name)) for name in case.path_parameters.values()):
        return  # What comes after a colon is a verb: this is another path.
    answer = case.call(emulator.url, session)
    answers[case.operation.label, answer.status_code // 100] += 1
    if case.method != "GET" and answer.status_code < 300:
        stock(emulator, session)
    case.validate_response(answer, checks=CHECKS)


def test_every_call_was_answered_well_and_badly(
    answers: Counter[tuple[str, int]], capsys: pytest.CaptureFixture[str]
) -> None:
    if not answers:
        pytest.skip("the test whose answers this one counts was left out")
    if EXAMPLES:
        with capsys.disabled():
            well = sum(times for (_, hundreds), times in answers.items() if hundreds == 2)
            print(f"\n{answers.total()} requests, {well} of them answered well")
    for operation in schema.get_all_operations():
        label = operation.ok().label
        assert answers[label, 2], f"{label}: never answered well"
        assert answers[label, 4], f"{label}: never refused"


@pytest.mark.parametrize(
    ("method", "path"), [pytest.param(*call, id=" ".join(call)) for call in NOT_IMPLEMENTED]
)
def test_calls_that_are_not_implemented_are_not_found(
    emulator: Emulator, session: requests.Session, method: str, path: str
) -> None:
    answer = session.request(method, emulator.url + re.sub(r"\{\w+\}", "demo", path), json={})
    assert answer.status_code in (404, 405)
    assert answer.headers["content-type"].startswith("text/plain")
