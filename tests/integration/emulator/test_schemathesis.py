"""
Schemathesis tests the emulator with the published OpenAPI files.

It sends valid and invalid requests for every implemented operation over HTTP, and checks the responses against the
files. ``SCHEMA_EXAMPLES=500`` makes a larger run with other examples each time; without it they are always the same.
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
from airflow_provider_fireworks.emulator.deployment_store import MUTABLE
from airflow_provider_fireworks.emulator.routes import API_ROUTES
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
ROUTER = "/v1/accounts/{account_id}/routers/{router_id}"
SHAPE = "accounts/demo/deploymentShapes/my-full-shape"

#: Constraints that the files state in prose or not at all. Without them, nearly every request would be refused
#: because of its first name, and the code behind that check would never run.
VALUES: dict[str, dict[str, Any]] = {
    "account_id": {"enum": ["demo", "fireworks", "none"]},
    "model_id": {"enum": ["my-model", "my-other-model", "my-addon", "my-uploading-model", "yi-6b", "none"]},
    "deployment_id": {"enum": ["ready", "creating", "failed", "deleted", "none"]},
    "router_id": {"enum": ["ready", "creating", "generated", "none"]},
    "routerId": {"pattern": f"^{ID}$"},
    "deployment_shape_id": {"enum": ["my-full-shape", "my-shape", "yi-6b-minimal", "-", "none"]},
    "version_id": {"enum": ["v1", "v2", "none"]},
    "modelId": {"pattern": "^[a-z]([a-z0-9-]{0,61}[a-z0-9])?$"},
    "filenameToSize": {
        "minProperties": 1,
        "propertyNames": {"pattern": "^[a-z0-9_-]+[.][a-z]+$"},
        # Numbers too, which the official SDK sends.
        "additionalProperties": {
            "type": ["string", "integer"],
            "pattern": "^[0-9]{1,18}$",
            "minimum": 0,
            "maximum": 2**63 - 1,
        },
    },
    "enableResumableUpload": {"enum": [False]},
    "deploymentId": {"pattern": f"^{ID}$"},
    "pageSize": {"minimum": 0},
    "pageToken": {"enum": [""]},
    "annotations": {
        "propertyNames": {"pattern": "^custom/[!-~]{1,121}$"},
        "maxProperties": 64,
        "additionalProperties": {"type": "string", "minLength": 1, "maxLength": 128},
    },
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
    """Return the OpenAPI document of the implemented operations, with what is known beyond it."""
    document = yaml.safe_load(GATEWAY.read_text())
    schemas = document["components"]["schemas"]
    refine(document, schemas)
    # Required in requests only: a readMask can leave fields out of a response.
    for name in ("gatewayAccount", "gatewayDeployment"):
        del schemas[name]["required"]
    create = body(document, DEPLOYMENTS, "post")
    create["schema"] = {"allOf": [create["schema"], {"required": ["baseModel"]}]}
    for deployment in (schemas["gatewayDeployment"], body(document, DEPLOYMENT, "patch")["schema"]):
        deployment["properties"]["baseModel"]["enum"] = BASE_MODELS
    routed = body(document, ROUTER, "patch")["schema"]
    for router in (schemas["gatewayRouter"], routed):
        targets = [f"accounts/demo/deployments/{name}" for name in ("ready", "creating", "none")]
        router["properties"]["deployments"].update(minItems=1)
        router["properties"]["deployments"]["items"]["enum"] = targets
    # Documented in prose only.
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
    mask = {**mask, "schema": {"type": "string", "enum": ["", "*", "deployments", "display_name,even_load"]}}
    paths[ROUTER]["patch"]["parameters"].append(mask)
    # Other fields must be sent unchanged.
    change["properties"] = {
        name: change["properties"][name]
        for name in ["baseModel", *sorted(MUTABLE & change["properties"].keys())]
    }
    return {**document, "paths": paths}


def refine(part: Any, schemas: dict[str, Any]) -> None:
    """Forbid additional fields, allow null for messages and times, and apply :data:`VALUES`."""
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
    """Return a path without the names of its ids."""
    return re.sub(r"\{\w+\}", "{}", path)


def refuses_invalid_data(
    ctx: schemathesis.CheckContext, response: schemathesis.Response, case: schemathesis.Case
) -> bool | None:
    # An empty body is an empty message, and null means unset for every type.
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
    refuses_invalid_data,
]
IMPLEMENTED = {(route.method, unnamed(route.path)) for route in API_ROUTES}
OPERATIONS = [
    (method.upper(), path)
    for path, operations in yaml.safe_load(GATEWAY.read_text())["paths"].items()
    for method in operations
]
NOT_IMPLEMENTED = [
    (method, path) for method, path in OPERATIONS if (method, unnamed(path)) not in IMPLEMENTED
]

schema = schemathesis.openapi.from_dict(documented(), config=schemathesis.Config())
schema.config.generation.with_security_parameters = False
schema.config.phases.coverage.unexpected_methods = set()


@pytest.fixture(scope="module")
def emulator() -> Iterator[Emulator]:
    # Long durations: no response depends on the speed of the machine.
    with Emulator(
        precision_lists="absent",
        prepare_fields="unknown",
        duration=3600,
        deploy_duration=3600,
        scale_duration=3600,
        router_duration=3600,
    ) as emulator:
        yield emulator


@pytest.fixture(scope="module")
def session(emulator: Emulator) -> Iterator[requests.Session]:
    with requests.Session() as session:
        session.trust_env = False
        session.headers["Authorization"] = f"Bearer {emulator.api_key}"
        restore(emulator, session)
        yield session


def restore(emulator: Emulator, session: requests.Session) -> None:
    """Restore the initial state, with deployments and routers in each state and a model that is being prepared."""
    emulator.reset()
    home = f"{emulator.url}/v1/accounts/demo"
    body = {"baseModel": PREPARED, "acceleratorType": "NVIDIA_H100_80GB"}
    for deployment in ("ready", "creating", "failed", "deleted"):
        session.post(f"{home}/deployments", params={"deploymentId": deployment}, json=body)
    emulator.set_deployment("ready", state="READY")
    emulator.set_deployment("failed", state="FAILED")
    session.delete(f"{home}/deployments/deleted")
    for router in ("ready", "creating", "generated"):
        routed = {"deployments": ["accounts/demo/deployments/ready"]}
        session.post(f"{home}/routers", params={"routerId": router}, json=routed)
    emulator.set_router("ready", state="READY")
    emulator.set_router("generated", autoGenerated=True)
    session.post(f"{home}/models/my-other-model:prepare", json={"precision": "FP8"})
    emulator.clear()


@pytest.fixture
def status_classes() -> Iterator[Counter[int]]:
    """Count the classes of status codes of one operation, which must succeed and fail at least once."""
    counts: Counter[int] = Counter()
    yield counts
    assert counts[2], "no request succeeded"
    assert counts[4], "no request was refused"


@schema.parametrize()
@HOW
def test_responses_are_as_documented(
    case: schemathesis.Case, emulator: Emulator, session: requests.Session, status_classes: Counter[int]
) -> None:
    if any(":" in unquote(str(name)) for name in case.path_parameters.values()):
        return  # A colon starts a verb: this is another path.
    response = case.call(emulator.url, session)
    status_classes[response.status_code // 100] += 1
    if case.method != "GET" and response.status_code < 300:
        restore(emulator, session)
    case.validate_response(response, checks=CHECKS)


@pytest.mark.parametrize(
    ("method", "path"), [pytest.param(*each, id=" ".join(each)) for each in NOT_IMPLEMENTED]
)
def test_operation_that_is_not_implemented_is_404_or_405(
    emulator: Emulator, session: requests.Session, method: str, path: str
) -> None:
    response = session.request(method, emulator.url + re.sub(r"\{\w+\}", "demo", path), json={})
    assert response.status_code in (404, 405)
    assert response.headers["content-type"].startswith("text/plain")
