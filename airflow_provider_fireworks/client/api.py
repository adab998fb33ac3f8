"""
The requests of the Fireworks API, as values.

A :class:`Request` says what is sent and how the response is parsed. The two clients only send it, so they cannot drift
apart. Reading all pages of a list is a generator of requests, for the same reason.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

from pydantic import ValidationError
from pydantic.alias_generators import to_snake

from airflow_provider_fireworks.client.errors import (
    ApiError,
    NoResponseError,
    RefusedError,
    error_from_response,
    excerpt,
)
from airflow_provider_fireworks.client.names import DeploymentName, ModelName, RouterName, check_id
from airflow_provider_fireworks.client.resources import (
    Account,
    Deployment,
    DeploymentShapeVersion,
    Model,
    Page,
    PolicySettings,
    Quota,
    Resource,
    Router,
)
from airflow_provider_fireworks.client.retries import parse_retry_after
from airflow_provider_fireworks.client.text import one_line

ResultT = TypeVar("ResultT")
ItemT = TypeVar("ItemT", bound=Resource)
Pages = Generator["Request[Any]", Any, ResultT]
"""Yields the request for each page, is sent its result, and returns all items."""

PAGE_SIZE = 200
"""The most items that the API puts on a page."""
MAX_PAGES = 200
"""A longer list counts as endless."""


@dataclass(frozen=True)
class Request(Generic[ResultT]):
    """
    One request, and how the JSON of a success is parsed.

    :ivar method: the HTTP method.
    :ivar path: below the base URL, without a leading slash. It is built from parsed names only, so that no input can
        lead it elsewhere.
    :ivar parse_json: makes the result from the response's JSON object.
    :ivar query: the query parameters, not yet encoded.
    :ivar body: the JSON object to send, ``None`` for none.
    :ivar read_only: marks a ``POST`` that changes nothing, which can be sent again like a ``GET``.
    :ivar newer_fields: fields and query parameters in it that older versions of the API refuse as unknown.
    """

    method: str
    path: str
    parse_json: Callable[[dict[str, Any]], ResultT]
    query: Mapping[str, str] = field(default_factory=dict)
    body: Mapping[str, Any] | None = None
    read_only: bool = False
    newer_fields: tuple[str, ...] = ()

    @property
    def writes(self) -> bool:
        """Whether the request changes anything."""
        return self.method != "GET" and not self.read_only

    def __str__(self) -> str:
        return f"{self.method} /{self.path}"

    def parse(
        self, status: int, headers: Mapping[str, str], body: bytes, *, now: float, max_retry_after: float
    ) -> ResultT:
        """
        Parse a response.

        :param status: the HTTP status.
        :param headers: by lower-case name.
        :param body: decompressed.
        :param now: seconds since the epoch, for a ``Retry-After`` that is a date.
        :param max_retry_after: seconds; a longer ``Retry-After`` is cut to them.
        :raises ApiError: unless it is a success that can be parsed.
        """
        if not 200 <= status < 300:
            retry_after = parse_retry_after(headers, now=now, longest=max_retry_after)
            error = error_from_response(str(self), status, headers, body, retry_after=retry_after)
            if isinstance(error, RefusedError) and "unknown" in error.message.lower():
                for name in self.newer_fields:
                    if re.search(rf"\b{name}\b", error.message):
                        error.add(f"This version of the API does not know {name}: omit {to_snake(name)}.")
            raise error
        try:
            parsed = json.loads(body)
            if not isinstance(parsed, dict):
                raise ValueError("it is not a JSON object")
            return self.parse_json(parsed)
        except ValidationError as invalid:
            fields = ", ".join(sorted({".".join(map(str, each["loc"])) for each in invalid.errors()}))
            problem = f"the response has unexpected fields: {fields}"
        except (ValueError, RecursionError) as invalid:
            problem = f"the response cannot be read: {invalid}"
        # A response of the API that was cut off still begins like JSON; a web page does not.
        misdirected = bool(body.strip()) and not body.lstrip().startswith((b"{", b"["))
        raise NoResponseError(
            excerpt(status, headers, body) if misdirected else one_line(problem),
            request=str(self),
            status=status,
            request_id=headers.get("x-request-id"),
            misdirected=misdirected,
        )


# ---- models


def get_model(name: ModelName) -> Request[Model]:
    """``GET /v1/accounts/{account}/models/{model}``."""
    return Request("GET", f"v1/{name}", Model.model_validate)


def prepare_model(name: ModelName, precision: str, *, accelerator_count: int | None = None) -> Request[None]:
    """
    ``POST /v1/accounts/{account}/models/{model}:prepare``, which returns ``{}`` and no operation to poll.

    :param precision: as the API spells it (``"FP8"``).
    :param accelerator_count: GPUs to prepare it with. Older versions of the API refuse the field, so it is sent only if
        it is given.
    """
    count = {} if accelerator_count is None else {"acceleratorCount": accelerator_count}
    body = {"precision": precision, **count}
    return Request("POST", f"v1/{name}:prepare", _ignore, body=body, newer_fields=tuple(count))


def abort_preparation(name: ModelName, precision: str | None = None) -> Request[None]:
    """
    ``POST /v1/accounts/{account}/models/{model}:prepare`` with ``abort``, which stops the model's preparation.

    :param precision: not known to be needed; sent only if it is given.
    """
    body = {"abort": True} | ({"precision": precision} if precision else {})
    return Request("POST", f"v1/{name}:prepare", _ignore, body=body, newer_fields=("abort",))


def delete_model(name: ModelName) -> Request[None]:
    """``DELETE /v1/accounts/{account}/models/{model}``, which returns ``{}``."""
    return Request("DELETE", f"v1/{name}", _ignore)


def create_model(name: ModelName, model: Mapping[str, Any]) -> Request[Model]:
    """
    ``POST /v1/accounts/{account}/models``: a model without files, in the state ``UPLOADING``.

    :param model: its fields, as the API spells them (``kind``, ``baseModelDetails`` or ``peftDetails``).
    """
    body = {"modelId": name.id, "model": model}
    return Request("POST", f"v1/accounts/{name.account}/models", Model.model_validate, body=body)


def get_upload_endpoint(name: ModelName, sizes: Mapping[str, int]) -> Request[dict[str, str]]:
    """
    ``POST /v1/accounts/{account}/models/{model}:getUploadEndpoint``: the signed URL for each file of a model.

    The URLs give access to whoever has them, for a time that is not known. The request may be repeated.

    :param sizes: bytes of each file, by its name.
    """
    body = {"filenameToSize": {file: str(size) for file, size in sizes.items()}}

    def parse(parsed: dict[str, Any]) -> dict[str, str]:
        urls = parsed.get("filenameToSignedUrls")
        if not isinstance(urls, dict) or not all(isinstance(urls.get(file), str) for file in sizes):
            raise ValueError("it has not a signed URL for every file")
        return {file: urls[file] for file in sizes}

    return Request("POST", f"v1/{name}:getUploadEndpoint", parse, body=body, read_only=True)


def validate_upload(
    name: ModelName,
    *,
    trust_remote_code: bool = False,
    skip_hf_config_validation: bool = False,
    config_only: bool = False,
) -> Request[list[str]]:
    """
    ``GET /v1/accounts/{account}/models/{model}:validateUpload``, which returns warnings and makes the model READY.

    The API refuses it with ``FAILED_PRECONDITION`` while it has not all files yet. It may be repeated.

    :param trust_remote_code: trust the checkpoint's own code.
    :param skip_hf_config_validation: do not validate the Hugging Face configuration.
    :param config_only: validate neither the tokenizer nor the names of parameters.
    """
    flags = {
        "skipHfConfigValidation": skip_hf_config_validation,
        "trustRemoteCode": trust_remote_code,
        "configOnly": config_only,
    }
    query = {flag: "true" for flag, is_set in flags.items() if is_set}
    return Request("GET", f"v1/{name}:validateUpload", _warnings, query)


def list_models(account: str, *, filter: str = "") -> Pages[list[Model]]:
    """
    All pages of ``GET /v1/accounts/{account}/models``.

    :param filter: an AIP-160 filter; empty for all models.
    :raises InvalidNameError: if the account is invalid.
    """
    return _all_pages(f"v1/accounts/{check_id(account, 'account id')}/models", "models", Model, filter)


# ---- deployments


def create_deployment(
    name: DeploymentName,
    spec: Mapping[str, Any],
    *,
    validate_only: bool = False,
    accept_shapeless_risk: bool = False,
) -> Request[Deployment]:
    """
    ``POST /v1/accounts/{account}/deployments?deploymentId=…``.

    :param spec: the deployment's fields, as the API spells them (``baseModel``).
    :param validate_only: create nothing, and return what would be created.
    :param accept_shapeless_risk: create it without a shape, where the API asks for this consent.
    """
    flags = {"validateOnly": validate_only, "acceptShapelessRisk": accept_shapeless_risk}
    query = {"deploymentId": name.id} | {flag: "true" for flag, is_set in flags.items() if is_set}
    return Request(
        "POST",
        f"v1/accounts/{name.account}/deployments",
        Deployment.model_validate,
        query,
        body=spec,
        read_only=validate_only,
        newer_fields=("acceptShapelessRisk",) if accept_shapeless_risk else (),
    )


def get_deployment(name: DeploymentName) -> Request[Deployment]:
    """``GET /v1/accounts/{account}/deployments/{deployment}``."""
    return Request("GET", f"v1/{name}", Deployment.model_validate)


def get_termination_message(name: DeploymentName) -> Request[str]:
    """``GET /v1/accounts/{account}/deployments/{deployment}/terminationMessage``; empty if there is none."""
    return Request(
        "GET", f"v1/{name}/terminationMessage", lambda parsed: one_line(str(parsed.get("message") or ""))
    )


def list_deployments(
    account: str, *, filter: str = "", show_deleted: bool = False
) -> Pages[list[Deployment]]:
    """
    All pages of ``GET /v1/accounts/{account}/deployments``.

    :param filter: an AIP-160 filter; empty for all deployments.
    :param show_deleted: include deployments that are deleted softly.
    :raises InvalidNameError: if the account is invalid.
    """
    path = f"v1/accounts/{check_id(account, 'account id')}/deployments"
    query = {"showDeleted": "true"} if show_deleted else {}
    return _all_pages(path, "deployments", Deployment, filter, query)


def update_deployment(
    name: DeploymentName, fields: Mapping[str, Any], *, base_model: str
) -> Request[Deployment]:
    """
    ``PATCH /v1/accounts/{account}/deployments/{deployment}?updateMask=…``, which updates these fields and no others.

    :param fields: as the API spells them (``displayName``).
    :param base_model: the deployment's current one, which the API requires in every update.
    """
    body = {"baseModel": base_model, **fields}
    return Request("PATCH", f"v1/{name}", Deployment.model_validate, _update_mask(fields), body=body)


def scale_deployment(name: DeploymentName, replica_count: int) -> Request[None]:
    """``PATCH /v1/accounts/{account}/deployments/{deployment}:scale``, which returns ``{}``."""
    return Request("PATCH", f"v1/{name}:scale", _ignore, body={"replicaCount": replica_count})


def delete_deployment(
    name: DeploymentName, *, hard: bool = False, ignore_checks: bool = False
) -> Request[None]:
    """
    ``DELETE /v1/accounts/{account}/deployments/{deployment}``, which returns ``{}``.

    :param hard: delete for good, so that the id is free again.
    :param ignore_checks: delete it even if it has served recently.
    """
    query = {"hard": "true"} if hard else {}
    query |= {"ignoreChecks": "true"} if ignore_checks else {}
    return Request("DELETE", f"v1/{name}", _ignore, query)


def undelete_deployment(name: DeploymentName) -> Request[Deployment]:
    """``POST /v1/accounts/{account}/deployments/{deployment}:undelete``."""
    return Request("POST", f"v1/{name}:undelete", Deployment.model_validate, body={})


def match_deployment_shapes(account: str, model: ModelName) -> Request[list[DeploymentShapeVersion]]:
    """
    ``POST /v1/accounts/{account}/deploymentShapeVersions:match``: the shapes in which a model can be deployed.

    The official SDK sends this request; the published OpenAPI files do not describe it.

    :raises InvalidNameError: if the account is invalid.
    """
    parent = f"accounts/{check_id(account, 'account id')}"
    return Request(
        "POST",
        f"v1/{parent}/deploymentShapeVersions:match",
        lambda parsed: _page(parsed, "deploymentShapeVersions", DeploymentShapeVersion).items,
        body={"createDeploymentRequest": {"parent": parent, "deployment": {"baseModel": str(model)}}},
        read_only=True,
    )


def request_inference(inference_model: str) -> Request[None]:
    """
    ``POST /inference/v1/chat/completions`` for one token, to check whether a deployment serves.

    The request wakes a deployment that is scaled to zero.

    :param inference_model: ``<model name>#<deployment name>``, or the deployment's name alone.
    """
    body = {
        "model": inference_model,
        "messages": [{"role": "user", "content": "ping"}],
        "max_tokens": 1,
    }
    return Request("POST", "inference/v1/chat/completions", _ignore, body=body, read_only=True)


# ---- routers


def create_router(name: RouterName, spec: Mapping[str, Any]) -> Request[Router]:
    """
    ``POST /v1/accounts/{account}/routers?routerId=…``.

    :param spec: the router's fields, as the API spells them (``deployments``).
    """
    path = f"v1/accounts/{name.account}/routers"
    return Request("POST", path, Router.model_validate, {"routerId": name.id}, body=spec)


def get_router(name: RouterName) -> Request[Router]:
    """``GET /v1/accounts/{account}/routers/{router}``."""
    return Request("GET", f"v1/{name}", Router.model_validate)


def list_routers(account: str, *, filter: str = "") -> Pages[list[Router]]:
    """
    All pages of ``GET /v1/accounts/{account}/routers``.

    :param filter: an AIP-160 filter; empty for all routers.
    :raises InvalidNameError: if the account is invalid.
    """
    return _all_pages(f"v1/accounts/{check_id(account, 'account id')}/routers", "routers", Router, filter)


def update_router(name: RouterName, fields: Mapping[str, Any]) -> Request[Router]:
    """
    ``PATCH /v1/accounts/{account}/routers/{router}?updateMask=…``, which updates these fields and no others.

    :param fields: as the API spells them (``displayName``).
    """
    return Request("PATCH", f"v1/{name}", Router.model_validate, _update_mask(fields), body=fields)


def delete_router(name: RouterName) -> Request[None]:
    """``DELETE /v1/accounts/{account}/routers/{router}``, which returns ``{}``."""
    return Request("DELETE", f"v1/{name}", _ignore)


# ---- accounts


def list_accounts() -> Pages[list[Account]]:
    """All pages of ``GET /v1/accounts``: the accounts that the key has access to."""
    return _all_pages("v1/accounts", "accounts", Account)


def list_quotas(account: str) -> Pages[list[Quota]]:
    """
    All pages of ``GET /v1/accounts/{account}/quotas``.

    :raises InvalidNameError: if the account is invalid.
    """
    return _all_pages(f"v1/accounts/{check_id(account, 'account id')}/quotas", "quotas", Quota)


def get_policy_settings(account: str) -> Request[PolicySettings]:
    """
    ``GET /v1/accounts/{account}/policySettings``. An account that has never set any has none: 404.

    :raises InvalidNameError: if the account is invalid.
    """
    path = f"v1/accounts/{check_id(account, 'account id')}/policySettings"
    return Request("GET", path, PolicySettings.model_validate)


def _ignore(parsed: dict[str, Any]) -> None:
    """Parse a response whose content does not matter."""


def _update_mask(fields: Mapping[str, Any]) -> dict[str, str]:
    """Return the query of a ``PATCH``. Without it, every field that can be changed would be replaced."""
    snake_case = (re.sub(r"[A-Z]", lambda capital: f"_{capital[0].lower()}", field) for field in fields)
    return {"updateMask": ",".join(snake_case)}


def _warnings(parsed: dict[str, Any]) -> list[str]:
    warnings = parsed.get("warnings") or []
    if not isinstance(warnings, list):
        raise ValueError("warnings is not a list")
    return [one_line(warning) for warning in warnings]


def _all_pages(
    path: str, plural: str, resource: type[ItemT], filter: str = "", more: Mapping[str, str] | None = None
) -> Pages[list[ItemT]]:
    items: list[ItemT] = []
    tokens = {""}
    query = {"pageSize": str(PAGE_SIZE)} | ({"filter": filter} if filter else {}) | dict(more or {})
    while True:
        request = Request("GET", path, lambda parsed: _page(parsed, plural, resource), query)
        page: Page[ItemT] = yield request
        items += page.items
        if not page.next_page_token:
            return items
        if page.next_page_token in tokens:
            raise ApiError("the list does not end: a page token was repeated", request=str(request))
        if len(tokens) == MAX_PAGES:
            raise ApiError(f"the list does not end: it has more than {MAX_PAGES} pages", request=str(request))
        tokens.add(page.next_page_token)
        query = query | {"pageToken": page.next_page_token}


def _page(parsed: dict[str, Any], plural: str, resource: type[ItemT]) -> Page[ItemT]:
    items = parsed.get(plural) or []
    if not isinstance(items, list):
        raise ValueError(f"{plural} is not a list")
    return Page(
        items=[resource.model_validate(item) for item in items],
        next_page_token=parsed.get("nextPageToken") or "",
    )
