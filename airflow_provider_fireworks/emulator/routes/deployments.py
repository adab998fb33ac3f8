"""``/v1/accounts/{account}/deployments``, ``/terminationMessage``, ``:scale`` and ``:undelete``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from airflow_provider_fireworks.emulator.responses import Response, as_json, not_found
from airflow_provider_fireworks.emulator.routes.lists import LIST_QUERY, masked, page
from airflow_provider_fireworks.emulator.routes.routing import Route, RoutedRequest
from airflow_provider_fireworks.emulator.schema import DeploymentBody, ScaleBody, UndeleteBody, parse

if TYPE_CHECKING:
    from airflow_provider_fireworks.emulator.state import State


def list_deployments(state: State, request: RoutedRequest) -> Response:
    return page(
        request,
        "deployments",
        state.deployments.visible(request.ids["account"], deleted=request.flag("showDeleted")),
        key=lambda deployment: deployment.id,
        payload=lambda deployment: deployment.payload(),
    )


def create_deployment(state: State, request: RoutedRequest) -> Response:
    created = state.deployments.create(
        request.ids["account"],
        request.query.get("deploymentId") or None,
        parse(DeploymentBody, request.body).given(),
        validate_only=request.flag("validateOnly"),
        skip_shape_validation=request.flag("skipShapeValidation"),
        accept_shapeless_risk=request.flag("acceptShapelessRisk"),
    )
    return as_json(created.payload())


def get_deployment(state: State, request: RoutedRequest) -> Response:
    found = state.deployments.own(*request.resource)
    if found.state == "DELETED" and state.options.deleted_get == "not_found":
        raise not_found()
    return as_json(masked(request, found.payload()))


def get_termination_message(state: State, request: RoutedRequest) -> Response:
    return as_json({"message": state.deployments.own(*request.resource).termination_message})


def update_deployment(state: State, request: RoutedRequest) -> Response:
    body = parse(DeploymentBody, request.body).given()
    changed = state.deployments.edit(*request.resource, body, request.query.get("updateMask", ""))
    return as_json(changed.payload())


def delete_deployment(state: State, request: RoutedRequest) -> Response:
    state.deployments.delete(
        *request.resource, hard=request.flag("hard"), ignore_checks=request.flag("ignoreChecks")
    )
    return as_json({})


def scale_deployment(state: State, request: RoutedRequest) -> Response:
    body = parse(ScaleBody, request.body)
    state.deployments.scale(*request.resource, body.replicaCount or 0)
    return as_json({})


def undelete_deployment(state: State, request: RoutedRequest) -> Response:
    parse(UndeleteBody, request.body)
    return as_json(state.deployments.undelete(*request.resource).payload())


_DEPLOYMENTS = "/v1/accounts/{account}/deployments"
_DEPLOYMENT = f"{_DEPLOYMENTS}/{{deployment}}"
_CREATE_FLAGS = (
    "acceptShapelessRisk",
    "disableAutoDeploy",
    "disableSpeculativeDecoding",
    "skipImageTagValidation",
    "skipShapeValidation",
    "validateOnly",
)

ROUTES = [
    Route("GET", _DEPLOYMENTS, "deployments", list_deployments, LIST_QUERY, ["showDeleted"]),
    Route("POST", _DEPLOYMENTS, "deployment", create_deployment, ["deploymentId"], _CREATE_FLAGS),
    Route("GET", _DEPLOYMENT, "deployment", get_deployment, ["readMask"]),
    Route("PATCH", _DEPLOYMENT, "deployment", update_deployment, ["updateMask"], ["skipShapeValidation"]),
    Route("DELETE", _DEPLOYMENT, "deployment", delete_deployment, [], ["hard", "ignoreChecks"]),
    Route("GET", f"{_DEPLOYMENT}/terminationMessage", "terminationMessage", get_termination_message),
    Route("PATCH", f"{_DEPLOYMENT}:scale", "scale", scale_deployment),
    Route("POST", f"{_DEPLOYMENT}:undelete", "undelete", undelete_deployment),
]
