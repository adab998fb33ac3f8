"""``/v1/accounts/{account}/models`` and preparing a model."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow_provider_fireworks.client.names import check_id
from airflow_provider_fireworks.emulator.api.lists import masked, page
from airflow_provider_fireworks.emulator.api.routing import Call, Route
from airflow_provider_fireworks.emulator.responses import ErrorResponse, Response, as_json
from airflow_provider_fireworks.emulator.schema import (
    PRECISION_UNSPECIFIED,
    CreateModelBody,
    ModelBody,
    PrepareBody,
    parse,
)

if TYPE_CHECKING:
    from airflow_provider_fireworks.emulator.state import State

# What the API takes a model for that is created without saying what it is.
_DEFAULT_KIND = "HF_PEFT_ADDON"
_NEEDED = {
    "HF_BASE_MODEL": ("baseModelDetails",),
    "HF_PEFT_ADDON": ("peftDetails",),
    "HF_TEFT_ADDON": ("peftDetails", "teftDetails"),
}


def list_models(state: State, call: Call) -> Response:
    return page(
        call,
        "models",
        state.readable_models(call.ids["account"]),
        name=lambda model: model.model,
        payload=lambda model: model.payload(state.options),
    )


def create_model(state: State, call: Call) -> Response:
    call.allow_query()
    body = parse(CreateModelBody, call.body)
    model_id = check_id(body.modelId, "model id")
    fields = body.model.given() if body.model else {}
    if fields.get("kind", "KIND_UNSPECIFIED") == "KIND_UNSPECIFIED":
        fields["kind"] = _DEFAULT_KIND
    _check_kind(fields)
    created = state.create(call.ids["account"], model_id, fields)
    return as_json(created.payload(state.options))


def get_model(state: State, call: Call) -> Response:
    call.allow_query("readMask")
    model = state.readable_model(call.ids["account"], call.ids["model"])
    return as_json(masked(model.payload(state.options), call.query.get("readMask", "")))


def update_model(state: State, call: Call) -> Response:
    call.allow_query()
    body = parse(ModelBody, call.body)
    model = state.own_model(call.ids["account"], call.ids["model"])
    model.edit(state.clock(), body.given())
    return as_json(model.payload(state.options))


def delete_model(state: State, call: Call) -> Response:
    call.allow_query()
    model = state.own_model(call.ids["account"], call.ids["model"])
    state.remove(model.account, model.model)
    return as_json({})


def prepare_model(state: State, call: Call) -> Response:
    call.allow_query()
    body = parse(PrepareBody, call.body)
    if body.precision in (None, PRECISION_UNSPECIFIED):
        raise ErrorResponse("INVALID_ARGUMENT", "precision: a precision to prepare for is needed")
    state.prepare(call.ids["account"], call.ids["model"], str(body.precision))
    return as_json({})


def _check_kind(fields: dict[str, Any]) -> None:
    kind = fields["kind"]
    for name in _NEEDED.get(kind, ()):
        if name not in fields:
            raise ErrorResponse("INVALID_ARGUMENT", f"model.{name} is required for kind {kind}")
    for name, owner in (("baseModelDetails", "HF_BASE_MODEL"), ("teftDetails", "HF_TEFT_ADDON")):
        if name in fields and kind != owner:
            raise ErrorResponse("INVALID_ARGUMENT", f"model.{name} must not be set for kind {kind}")


ROUTES = [
    Route("GET", "/v1/accounts/{account}/models", "models", list_models),
    Route("POST", "/v1/accounts/{account}/models", "models", create_model),
    Route("GET", "/v1/accounts/{account}/models/{model}", "model", get_model),
    Route("PATCH", "/v1/accounts/{account}/models/{model}", "model", update_model),
    Route("DELETE", "/v1/accounts/{account}/models/{model}", "model", delete_model),
    Route("POST", "/v1/accounts/{account}/models/{model}:prepare", "prepare", prepare_model),
]
