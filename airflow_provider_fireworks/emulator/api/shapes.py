"""``/v1/accounts/{account}/deploymentShapes/{shape}/versions``, and which of them fit a model."""

from __future__ import annotations

from typing import TYPE_CHECKING

from airflow_provider_fireworks.emulator.api.lists import masked, page
from airflow_provider_fireworks.emulator.api.routing import Call, Route
from airflow_provider_fireworks.emulator.responses import ErrorResponse, Response, as_json, not_found
from airflow_provider_fireworks.emulator.schema import MatchBody, parse

if TYPE_CHECKING:
    from airflow_provider_fireworks.emulator.shapes import ShapeVersion
    from airflow_provider_fireworks.emulator.state import State


def list_shape_versions(state: State, call: Call) -> Response:
    return page(
        call,
        "deploymentShapeVersions",
        _versions(state, call),
        name=lambda version: version.name,
        payload=lambda version: version.payload(),
    )


def get_shape_version(state: State, call: Call) -> Response:
    call.allow_query("readMask")
    for version in _versions(state, call):
        if version.version == call.ids["version"]:
            return as_json(masked(version.payload(), call.query.get("readMask", "")))
    raise not_found()


def match_shape_versions(state: State, call: Call) -> Response:
    call.allow_query()
    asked = parse(MatchBody, call.body).createDeploymentRequest
    account = call.ids["account"]
    if asked.parent != f"accounts/{account}":
        raise ErrorResponse("INVALID_ARGUMENT", f"parent: {asked.parent!r} is not accounts/{account}")
    fitting = state.fleet.matching(
        account, asked.deployment.baseModel, enable_addons=bool(asked.deployment.enableAddons)
    )
    listed = [version.payload() for version in fitting]
    return as_json({"deploymentShapeVersions": listed, "nextPageToken": "", "totalSize": len(listed)})


def _versions(state: State, call: Call) -> list[ShapeVersion]:
    account, shape = (None if call.ids[name] == "-" else call.ids[name] for name in ("account", "shape"))
    found = state.fleet.shape_versions(account, shape)
    if shape is not None and not found:
        raise not_found()
    return found


_ALL = "/v1/accounts/{account}/deploymentShapes/{shape}/versions"
_ANY = ("account", "shape")

ROUTES = [
    Route("GET", _ALL, "shapes", list_shape_versions, any_of=_ANY),
    Route("GET", f"{_ALL}/{{version}}", "shape", get_shape_version, any_of=_ANY),
    Route("POST", "/v1/accounts/{account}/deploymentShapeVersions:match", "match", match_shape_versions),
]
