"""``/v1/accounts/{account}/deployments``, scaling and undeleting."""

from __future__ import annotations

from typing import TYPE_CHECKING

from airflow_provider_fireworks.emulator.api.lists import masked, page
from airflow_provider_fireworks.emulator.api.routing import Call, Route
from airflow_provider_fireworks.emulator.responses import Response, as_json, not_found
from airflow_provider_fireworks.emulator.schema import DeploymentBody, ScaleBody, UndeleteBody, parse

if TYPE_CHECKING:
    from airflow_provider_fireworks.emulator.state import State


def list_deployments(state: State, call: Call) -> Response:
    return page(
        call,
        "deployments",
        state.fleet.visible(call.ids["account"], deleted=call.flag("showDeleted")),
        name=lambda deployment: deployment.deployment,
        payload=lambda deployment: deployment.payload(),
        also=["showDeleted"],
    )


def create_deployment(state: State, call: Call) -> Response:
    call.allow_query(
        "acceptShapelessRisk",
        "deploymentId",
        "disableAutoDeploy",
        "disableSpeculativeDecoding",
        "skipImageTagValidation",
        "skipShapeValidation",
        "validateOnly",
    )
    for name in call.query.keys() - {"deploymentId"}:
        call.flag(name)
    created = state.fleet.create(
        call.ids["account"],
        call.query.get("deploymentId") or None,
        parse(DeploymentBody, call.body).given(),
        validate_only=call.flag("validateOnly"),
        skip_shape_validation=call.flag("skipShapeValidation"),
    )
    return as_json(created.payload())


def get_deployment(state: State, call: Call) -> Response:
    call.allow_query("readMask")
    found = state.fleet.own(call.ids["account"], call.ids["deployment"])
    if found.state == "DELETED" and state.options.deleted_get == "not_found":
        raise not_found()
    return as_json(masked(found.payload(), call.query.get("readMask", "")))


def update_deployment(state: State, call: Call) -> Response:
    call.allow_query("updateMask", "skipShapeValidation")
    call.flag("skipShapeValidation")
    body = parse(DeploymentBody, call.body).given()
    mask = call.query.get("updateMask", "")
    changed = state.fleet.edit(call.ids["account"], call.ids["deployment"], body, mask)
    return as_json(changed.payload())


def delete_deployment(state: State, call: Call) -> Response:
    call.allow_query("hard", "ignoreChecks")
    state.fleet.delete(
        call.ids["account"],
        call.ids["deployment"],
        hard=call.flag("hard"),
        ignore_checks=call.flag("ignoreChecks"),
    )
    return as_json({})


def scale_deployment(state: State, call: Call) -> Response:
    call.allow_query()
    body = parse(ScaleBody, call.body)
    state.fleet.scale(call.ids["account"], call.ids["deployment"], body.replicaCount or 0)
    return as_json({})


def undelete_deployment(state: State, call: Call) -> Response:
    call.allow_query()
    parse(UndeleteBody, call.body)
    return as_json(state.fleet.undelete(call.ids["account"], call.ids["deployment"]).payload())


_ALL = "/v1/accounts/{account}/deployments"
_ONE = f"{_ALL}/{{deployment}}"

ROUTES = [
    Route("GET", _ALL, "deployments", list_deployments),
    Route("POST", _ALL, "deployment", create_deployment),
    Route("GET", _ONE, "deployment", get_deployment),
    Route("PATCH", _ONE, "deployment", update_deployment),
    Route("DELETE", _ONE, "deployment", delete_deployment),
    Route("PATCH", f"{_ONE}:scale", "scale", scale_deployment),
    Route("POST", f"{_ONE}:undelete", "undelete", undelete_deployment),
]
