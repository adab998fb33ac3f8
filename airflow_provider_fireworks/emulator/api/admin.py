"""``/emulator/…``: what a test or a person asks of the emulator itself. No key is needed."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from airflow_provider_fireworks.emulator.api.routing import Call, Route
from airflow_provider_fireworks.emulator.faults import Fault
from airflow_provider_fireworks.emulator.responses import ErrorResponse, Response, as_json, not_found
from airflow_provider_fireworks.emulator.schema import explain

if TYPE_CHECKING:
    from airflow_provider_fireworks.emulator.state import State


def get_requests(state: State, call: Call) -> Response:
    return as_json({"requests": [asdict(request) for request in state.requests]})


def get_counts(state: State, call: Call) -> Response:
    return as_json(dict(sorted(state.counts.items())))


def get_preparations(state: State, call: Call) -> Response:
    accepted = [asdict(preparation) for preparation in state.preparations]
    return as_json({"preparations": accepted, "totalSize": len(accepted)})


def get_creations(state: State, call: Call) -> Response:
    accepted = [asdict(creation) for creation in state.creations]
    return as_json({"creations": accepted, "totalSize": len(accepted)})


def get_deployments(state: State, call: Call) -> Response:
    """Every deployment of every account, deleted ones too; ``left`` names those that nobody deleted."""
    deployments = [deployment.payload() for deployment in state.fleet.all()]
    return as_json({"deployments": deployments, "left": state.fleet.left(), "totalSize": len(deployments)})


def get_gpu_seconds(state: State, call: Call) -> Response:
    return as_json({"gpuSeconds": state.fleet.gpu_seconds})


def put_deployment(state: State, call: Call) -> Response:
    """Force fields of a deployment to anything."""
    found = state.fleet.find(call.ids["account"], call.ids["deployment"])
    if found is None:
        raise not_found()
    try:
        found.force(_object(call), state.clock())
    except ValueError as error:
        raise ErrorResponse("INVALID_ARGUMENT", str(error)) from error
    return as_json(found.payload())


def delete_deployment(state: State, call: Call) -> Response:
    """Let a deployment vanish."""
    if not state.fleet.remove(call.ids["account"], call.ids["deployment"]):
        raise not_found()
    return as_json({})


def get_options(state: State, call: Call) -> Response:
    return as_json(state.options.model_dump(exclude={"api_key"}))


def patch_options(state: State, call: Call) -> Response:
    """Change the options that the body names."""
    try:
        state.configure(**_object(call))
    except ValidationError as error:
        raise ErrorResponse("INVALID_ARGUMENT", explain(error)) from error
    return get_options(state, call)


def put_options(state: State, call: Call) -> Response:
    """Set the options that the body names, the others to their defaults; key and accounts stay."""
    kept = {"api_key": state.options.api_key, "accounts": state.options.accounts}
    try:
        state.options = type(state.options).model_validate({**kept, **_object(call)})
    except ValidationError as error:
        raise ErrorResponse("INVALID_ARGUMENT", explain(error)) from error
    return get_options(state, call)


def get_faults(state: State, call: Call) -> Response:
    return as_json({"faults": [fault.model_dump() for fault in state.faults.waiting()]})


def post_fault(state: State, call: Call) -> Response:
    try:
        fault = Fault.model_validate(_object(call))
    except ValidationError as error:
        raise ErrorResponse("INVALID_ARGUMENT", explain(error)) from error
    state.faults.add(fault)
    return as_json(fault.model_dump())


def delete_faults(state: State, call: Call) -> Response:
    state.faults.clear()
    return as_json({})


def put_model(state: State, call: Call) -> Response:
    """Force fields of a model to anything; one that is not there yet is added."""
    account, model_id, fields = call.ids["account"], call.ids["model"], _object(call)
    model = state.find(account, model_id)
    try:
        if model is None:
            model = state.add(account, model_id, **fields)
        else:
            model.force(fields)
    except ValueError as error:
        raise ErrorResponse("INVALID_ARGUMENT", str(error)) from error
    return as_json(model.payload(state.options))


def delete_model(state: State, call: Call) -> Response:
    if not state.remove(call.ids["account"], call.ids["model"]):
        raise not_found()
    return as_json({})


def reset(state: State, call: Call) -> Response:
    state.reset()
    return as_json({})


def _object(call: Call) -> dict[str, Any]:
    try:
        body = json.loads(call.body or b"{}")
    except ValueError as error:
        raise ErrorResponse("INVALID_ARGUMENT", f"no JSON: {error}") from error
    if not isinstance(body, dict):
        raise ErrorResponse("INVALID_ARGUMENT", "a JSON object is needed")
    return body


ROUTES = [
    Route("GET", "/emulator/requests", "requests", get_requests),
    Route("GET", "/emulator/counts", "counts", get_counts),
    Route("GET", "/emulator/preparations", "preparations", get_preparations),
    Route("GET", "/emulator/creations", "creations", get_creations),
    Route("GET", "/emulator/deployments", "deployments", get_deployments),
    Route("GET", "/emulator/gpu_seconds", "gpu_seconds", get_gpu_seconds),
    Route("GET", "/emulator/options", "options", get_options),
    Route("PATCH", "/emulator/options", "options", patch_options),
    Route("PUT", "/emulator/options", "options", put_options),
    Route("GET", "/emulator/faults", "faults", get_faults),
    Route("POST", "/emulator/faults", "faults", post_fault),
    Route("DELETE", "/emulator/faults", "faults", delete_faults),
    Route("PUT", "/emulator/models/{account}/{model}", "model", put_model),
    Route("DELETE", "/emulator/models/{account}/{model}", "model", delete_model),
    Route("PUT", "/emulator/deployments/{account}/{deployment}", "deployment", put_deployment),
    Route("DELETE", "/emulator/deployments/{account}/{deployment}", "deployment", delete_deployment),
    Route("POST", "/emulator/reset", "reset", reset),
]
