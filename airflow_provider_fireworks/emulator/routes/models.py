"""``/v1/accounts/{account}/models``, the upload of a model, and ``:prepare``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow_provider_fireworks.client.names import check_id
from airflow_provider_fireworks.emulator.responses import ErrorResponse, Response, as_json
from airflow_provider_fireworks.emulator.routes.lists import LIST_QUERY, masked, page
from airflow_provider_fireworks.emulator.routes.routing import Route, RoutedRequest
from airflow_provider_fireworks.emulator.schema import (
    PRECISION_UNSPECIFIED,
    CreateModelBody,
    ModelBody,
    OlderPrepareBody,
    PrepareBody,
    UploadEndpointBody,
    parse,
)

if TYPE_CHECKING:
    from airflow_provider_fireworks.emulator.state import State

# The kind of a model that is created without one.
_DEFAULT_KIND = "HF_PEFT_ADDON"
_REQUIRED = {
    "HF_BASE_MODEL": ("baseModelDetails",),
    "HF_PEFT_ADDON": ("peftDetails",),
    "HF_TEFT_ADDON": ("peftDetails", "teftDetails"),
}


def list_models(state: State, request: RoutedRequest) -> Response:
    return page(
        request,
        "models",
        state.models.readable(request.ids["account"]),
        key=lambda model: model.id,
        payload=lambda model: model.payload(state.options),
    )


def create_model(state: State, request: RoutedRequest) -> Response:
    body = parse(CreateModelBody, request.body)
    model_id = check_id(body.modelId, "model id")
    if model_id[0].isdigit():
        raise ErrorResponse("INVALID_ARGUMENT", f"modelId: {model_id!r} begins with a digit")
    fields = body.model.given() if body.model else {}
    if fields.get("kind", "KIND_UNSPECIFIED") == "KIND_UNSPECIFIED":
        fields["kind"] = _DEFAULT_KIND
    _check_details(fields)
    created = state.models.create(request.ids["account"], model_id, fields)
    return as_json(created.payload(state.options))


def get_model(state: State, request: RoutedRequest) -> Response:
    model = state.models.read(*request.resource)
    return as_json(masked(request, model.payload(state.options)))


def update_model(state: State, request: RoutedRequest) -> Response:
    body = parse(ModelBody, request.body)
    model = state.models.own(*request.resource)
    model.edit(state.clock(), body.given())
    return as_json(model.payload(state.options))


def delete_model(state: State, request: RoutedRequest) -> Response:
    state.models.delete(*request.resource)
    return as_json({})


def get_upload_endpoint(state: State, request: RoutedRequest) -> Response:
    body = parse(UploadEndpointBody, request.body)
    if body.enableResumableUpload:
        raise ErrorResponse("INVALID_ARGUMENT", "enableResumableUpload is not emulated")
    sizes = {name: int(size) for name, size in body.filenameToSize.items()}
    urls = state.models.upload_urls(*request.resource, sizes)
    return as_json({"filenameToSignedUrls": urls, "filenameToUnsignedUris": {}})


def validate_upload(state: State, request: RoutedRequest) -> Response:
    return as_json({"warnings": state.models.validate_upload(*request.resource)})


def prepare_model(state: State, request: RoutedRequest) -> Response:
    if state.options.prepare_fields == "unknown":
        parse(OlderPrepareBody, request.body)  # refuses the newer fields
    body = parse(PrepareBody, request.body)
    needs_precision = not body.abort or state.options.abort_precision == "required"
    if needs_precision and body.precision in (None, PRECISION_UNSPECIFIED):
        raise ErrorResponse("INVALID_ARGUMENT", "precision: required")
    if body.abort:
        state.models.abort(*request.resource)
    else:
        state.models.prepare(*request.resource, str(body.precision), body.acceleratorCount)
    return as_json({})


def _check_details(fields: dict[str, Any]) -> None:
    kind = fields["kind"]
    for name in _REQUIRED.get(kind, ()):
        if name not in fields:
            raise ErrorResponse("INVALID_ARGUMENT", f"model.{name} is required for kind {kind}")
    for name, owner in (("baseModelDetails", "HF_BASE_MODEL"), ("teftDetails", "HF_TEFT_ADDON")):
        if name in fields and kind != owner:
            raise ErrorResponse("INVALID_ARGUMENT", f"model.{name} must not be set for kind {kind}")


_VALIDATION_FLAGS = ("skipHfConfigValidation", "trustRemoteCode", "configOnly")
_MODELS = "/v1/accounts/{account}/models"
_MODEL = f"{_MODELS}/{{model}}"

ROUTES = [
    Route("GET", _MODELS, "models", list_models, LIST_QUERY),
    Route("POST", _MODELS, "models", create_model),
    Route("GET", _MODEL, "model", get_model, ["readMask"]),
    Route("PATCH", _MODEL, "model", update_model),
    Route("DELETE", _MODEL, "model", delete_model),
    Route("POST", f"{_MODEL}:prepare", "prepare", prepare_model),
    Route("POST", f"{_MODEL}:getUploadEndpoint", "upload endpoint", get_upload_endpoint),
    Route("GET", f"{_MODEL}:validateUpload", "validation", validate_upload, flags=_VALIDATION_FLAGS),
]
