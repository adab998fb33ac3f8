"""``/emulator/…``: controls the emulator itself, without an API key."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from airflow_provider_fireworks.emulator.faults import Fault
from airflow_provider_fireworks.emulator.responses import Response, as_json, not_found
from airflow_provider_fireworks.emulator.routes.routing import Route, RoutedRequest

if TYPE_CHECKING:
    from airflow_provider_fireworks.emulator.state import State


def get_requests(state: State, request: RoutedRequest) -> Response:
    return as_json({"requests": [asdict(received) for received in state.requests]})


def get_deployments(state: State, request: RoutedRequest) -> Response:
    listed = [deployment.payload() for deployment in state.deployments.all()]
    left, gpu_seconds = state.deployments.left(), state.deployments.gpu_seconds
    return as_json({"deployments": listed, "left": left, "gpuSeconds": gpu_seconds})


def put_deployment(state: State, request: RoutedRequest) -> Response:
    """Set fields of an existing deployment to any value."""
    found = state.deployments.find(*request.resource)
    if found is None:
        raise not_found()
    found.force(_object(request), state.clock())
    return as_json(found.payload())


def get_options(state: State, request: RoutedRequest) -> Response:
    return as_json(state.options.model_dump(exclude={"api_key"}))


def patch_options(state: State, request: RoutedRequest) -> Response:
    state.configure(**_object(request))
    return get_options(state, request)


def get_faults(state: State, request: RoutedRequest) -> Response:
    return as_json({"faults": [fault.model_dump() for fault in state.faults.pending()]})


def post_fault(state: State, request: RoutedRequest) -> Response:
    fault = Fault.model_validate(_object(request))
    state.faults.add(fault)
    return as_json(fault.model_dump())


def delete_faults(state: State, request: RoutedRequest) -> Response:
    state.faults.clear()
    return as_json({})


def put_model(state: State, request: RoutedRequest) -> Response:
    """Set fields of a model to any value, or add one."""
    fields = _object(request)
    model = state.models.find(*request.resource)
    if model is None:
        model = state.models.add(*request.resource, **fields)
    else:
        model.force(fields)
    return as_json(model.payload(state.options))


def reset(state: State, request: RoutedRequest) -> Response:
    state.reset()
    return as_json({})


def _object(request: RoutedRequest) -> dict[str, Any]:
    body = json.loads(request.body or b"{}")
    if not isinstance(body, dict):
        raise ValueError("the body must be a JSON object")
    return body


ADMIN_PREFIX = "/emulator/"

ADMIN_ROUTES = [
    Route("GET", "/emulator/requests", "requests", get_requests),
    Route("GET", "/emulator/deployments", "deployments", get_deployments),
    Route("GET", "/emulator/options", "options", get_options),
    Route("PATCH", "/emulator/options", "options", patch_options),
    Route("GET", "/emulator/faults", "faults", get_faults),
    Route("POST", "/emulator/faults", "faults", post_fault),
    Route("DELETE", "/emulator/faults", "faults", delete_faults),
    Route("PUT", "/emulator/models/{account}/{model}", "model", put_model),
    Route("PUT", "/emulator/deployments/{account}/{deployment}", "deployment", put_deployment),
    Route("POST", "/emulator/reset", "reset", reset),
]
