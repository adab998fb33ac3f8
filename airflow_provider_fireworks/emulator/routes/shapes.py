"""``/v1/accounts/{account}/deploymentShapes/{shape}/versions`` and ``deploymentShapeVersions:match``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from airflow_provider_fireworks.emulator.responses import ErrorResponse, Response, as_json, not_found
from airflow_provider_fireworks.emulator.routes.lists import LIST_QUERY, masked, page
from airflow_provider_fireworks.emulator.routes.routing import Route, RoutedRequest
from airflow_provider_fireworks.emulator.schema import MatchBody, parse

if TYPE_CHECKING:
    from airflow_provider_fireworks.emulator.shapes import ShapeVersion
    from airflow_provider_fireworks.emulator.state import State


def list_shape_versions(state: State, request: RoutedRequest) -> Response:
    return page(
        request,
        "deploymentShapeVersions",
        _versions(state, request),
        key=lambda version: version.name,
        payload=lambda version: version.payload(),
    )


def get_shape_version(state: State, request: RoutedRequest) -> Response:
    for version in _versions(state, request):
        if version.version == request.ids["version"]:
            return as_json(masked(request, version.payload()))
    raise not_found()


def match_shape_versions(state: State, request: RoutedRequest) -> Response:
    create = parse(MatchBody, request.body).createDeploymentRequest
    account = request.ids["account"]
    if create.parent != f"accounts/{account}":
        raise ErrorResponse("INVALID_ARGUMENT", f"parent: {create.parent!r} is not accounts/{account}")
    matching = state.deployments.matching_shapes(
        account,
        create.deployment.baseModel,
        enable_addons=bool(create.deployment.enableAddons),
        prepared=state.options.match_shapes == "prepared",
    )
    listed = [version.payload() for version in matching]
    return as_json({"deploymentShapeVersions": listed, "nextPageToken": "", "totalSize": len(listed)})


def _versions(state: State, request: RoutedRequest) -> list[ShapeVersion]:
    account, shape = (None if request.ids[name] == "-" else request.ids[name] for name in _WILDCARDS)
    found = state.deployments.shape_versions(account, shape)
    if shape is not None and not found:
        raise not_found()
    return found


_WILDCARDS = ("account", "shape")
_VERSIONS = "/v1/accounts/{account}/deploymentShapes/{shape}/versions"
_VERSION = f"{_VERSIONS}/{{version}}"
_MATCH = "/v1/accounts/{account}/deploymentShapeVersions:match"

ROUTES = [
    Route("GET", _VERSIONS, "shapes", list_shape_versions, LIST_QUERY, wildcards=_WILDCARDS),
    Route("GET", _VERSION, "shape", get_shape_version, ["readMask"], wildcards=_WILDCARDS),
    Route("POST", _MATCH, "match", match_shape_versions),
]
