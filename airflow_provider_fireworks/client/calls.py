"""
What is asked of the gateway: every call as a value.

A :class:`Call` says what goes over the wire and what its result is read as; the transports do the rest. A
longer errand (all pages of a list) is a generator that yields calls and is sent their results, so that workers
and the triggerer run the same one.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

from pydantic import ValidationError

from airflow_provider_fireworks.client.errors import (
    AnswerLostError,
    GatewayError,
    error_of,
    excerpt,
    one_line,
)
from airflow_provider_fireworks.client.names import DeploymentName, ModelName, check_id
from airflow_provider_fireworks.client.retrying import retry_after
from airflow_provider_fireworks.client.shapes import (
    Account,
    Deployment,
    DeploymentShapeVersion,
    Model,
    Page,
    Shape,
)

ResultT = TypeVar("ResultT")
ItemT = TypeVar("ItemT", bound=Shape)
Errand = Generator["Call[Any]", Any, ResultT]

PAGE_SIZE = 200
"""The most items that the gateway puts on a page."""
MOST_PAGES = 200
"""Pages of a list, beyond which it counts as endless."""


@dataclass(frozen=True)
class Call(Generic[ResultT]):
    """
    One request: what is sent, and how a good answer's JSON is read.

    :ivar verb: the HTTP method.
    :ivar path: below the base URL, with no leading slash; made of checked names only.
    :ivar read: makes the result of the answer's JSON object.
    :ivar only_asks: a ``POST`` that changes nothing, so that it may be repeated as a ``GET`` may.
    """

    verb: str
    path: str
    read: Callable[[dict[str, Any]], ResultT]
    query: Mapping[str, str] = field(default_factory=dict)
    body: Mapping[str, Any] | None = None
    only_asks: bool = False

    @property
    def writes(self) -> bool:
        """Whether it changes anything."""
        return self.verb != "GET" and not self.only_asks

    def __str__(self) -> str:
        return f"{self.verb} /{self.path}"

    def result(self, status: int, headers: Mapping[str, str], body: bytes, *, now: float) -> ResultT:
        """
        Read an answer.

        :param status: the HTTP status.
        :param headers: by lower-case name.
        :param body: all of it.
        :param now: seconds since the epoch.
        :raises GatewayError: the member of the tree that fits, for anything but a success that can be read.
        """
        if not 200 <= status < 300:
            raise error_of(str(self), status, headers, body, retry_after=retry_after(headers, now=now))
        try:
            parsed = json.loads(body)
            if not isinstance(parsed, dict):
                raise ValueError("no JSON object")
            return self.read(parsed)
        except ValidationError as error:
            places = ", ".join(sorted({".".join(map(str, e["loc"])) for e in error.errors()}))
            problem = f"the answer's shape is not the expected one: {places}"
        except (ValueError, RecursionError) as error:
            problem = f"the answer cannot be read: {error}"
        # What was cut off begins as JSON does.
        misdirected = bool(body.strip()) and not body.lstrip().startswith((b"{", b"["))
        raise AnswerLostError(
            excerpt(status, headers, body) if misdirected else one_line(problem),
            call=str(self),
            status=status,
            request_id=headers.get("x-request-id"),
            misdirected=misdirected,
        )


def get_model(name: ModelName) -> Call[Model]:
    """``GET /v1/accounts/{account}/models/{model}``."""
    return Call("GET", f"v1/{name}", Model.model_validate)


def prepare_model(name: ModelName, precision: str) -> Call[None]:
    """``POST /v1/accounts/{account}/models/{model}:prepare``, which answers ``{}`` and hands out no operation."""
    return Call("POST", f"v1/{name}:prepare", lambda _: None, body={"precision": precision})


def list_models(account: str, *, filter: str = "") -> Errand[list[Model]]:
    """All pages of ``GET /v1/accounts/{account}/models``, with an AIP-160 ``filter``."""
    return _all_pages(f"v1/accounts/{check_id(account, 'account id')}/models", "models", Model, filter)


def create_deployment(
    name: DeploymentName, spec: Mapping[str, Any], *, validate_only: bool = False
) -> Call[Deployment]:
    """
    ``POST /v1/accounts/{account}/deployments?deploymentId=…``.

    :param spec: the deployment, with fields as the gateway spells them (``baseModel``).
    :param validate_only: create nothing, and return what would be created.
    """
    query = {"deploymentId": name.deployment} | ({"validateOnly": "true"} if validate_only else {})
    path = f"v1/accounts/{name.account}/deployments"
    return Call("POST", path, Deployment.model_validate, query, body=spec, only_asks=validate_only)


def get_deployment(name: DeploymentName) -> Call[Deployment]:
    """``GET /v1/accounts/{account}/deployments/{deployment}``."""
    return Call("GET", f"v1/{name}", Deployment.model_validate)


def list_deployments(
    account: str, *, filter: str = "", show_deleted: bool = False
) -> Errand[list[Deployment]]:
    """All pages of ``GET /v1/accounts/{account}/deployments``, with the softly deleted ones if asked for."""
    path = f"v1/accounts/{check_id(account, 'account id')}/deployments"
    return _all_pages(
        path, "deployments", Deployment, filter, {"showDeleted": "true"} if show_deleted else {}
    )


def update_deployment(
    name: DeploymentName, fields: Mapping[str, Any], *, base_model: str
) -> Call[Deployment]:
    """
    ``PATCH /v1/accounts/{account}/deployments/{deployment}?updateMask=…``: these fields and no others.

    :param fields: as the gateway spells them (``displayName``).
    :param base_model: the deployment's, which the gateway wants to be told again.
    """
    # Without the mask, every field that can be changed would be replaced.
    mask = ",".join(re.sub(r"[A-Z]", lambda capital: f"_{capital[0].lower()}", field) for field in fields)
    body = {"baseModel": base_model, **fields}
    return Call("PATCH", f"v1/{name}", Deployment.model_validate, {"updateMask": mask}, body=body)


def scale_deployment(name: DeploymentName, replica_count: int) -> Call[None]:
    """``PATCH /v1/accounts/{account}/deployments/{deployment}:scale``, which answers ``{}``."""
    return Call("PATCH", f"v1/{name}:scale", lambda _: None, body={"replicaCount": replica_count})


def delete_deployment(name: DeploymentName, *, hard: bool = False, ignore_checks: bool = False) -> Call[None]:
    """
    ``DELETE /v1/accounts/{account}/deployments/{deployment}``, which answers ``{}``.

    :param hard: for good, so that the id is free again.
    :param ignore_checks: also where it has served lately.
    """
    query = {"hard": "true"} if hard else {}
    query |= {"ignoreChecks": "true"} if ignore_checks else {}
    return Call("DELETE", f"v1/{name}", lambda _: None, query)


def undelete_deployment(name: DeploymentName) -> Call[Deployment]:
    """``POST /v1/accounts/{account}/deployments/{deployment}:undelete``."""
    return Call("POST", f"v1/{name}:undelete", Deployment.model_validate, body={})


def match_deployment_shapes(account: str, model: ModelName) -> Call[list[DeploymentShapeVersion]]:
    """
    ``POST /v1/accounts/{account}/deploymentShapeVersions:match``: the shapes that a model can be deployed in.

    The official SDK has this call, the published schemas do not.
    """
    parent = f"accounts/{check_id(account, 'account id')}"
    request = {"parent": parent, "deployment": {"baseModel": str(model)}}
    return Call(
        "POST",
        f"v1/{parent}/deploymentShapeVersions:match",
        lambda answer: _page(answer, "deploymentShapeVersions", DeploymentShapeVersion).items,
        body={"createDeploymentRequest": request},
        only_asks=True,
    )


def ask_deployment(inference_model: str) -> Call[None]:
    """
    ``POST /inference/v1/chat/completions`` for one token, to see whether a deployment serves.

    A deployment at zero replicas is woken by it.

    :param inference_model: ``<model name>#<deployment name>``.
    """
    body = {
        "model": inference_model,
        "messages": [{"role": "user", "content": "ping"}],
        "max_tokens": 1,
    }
    return Call("POST", "inference/v1/chat/completions", lambda _: None, body=body, only_asks=True)


def list_accounts() -> Errand[list[Account]]:
    """All pages of ``GET /v1/accounts``: the accounts that the key opens."""
    return _all_pages("v1/accounts", "accounts", Account)


def _all_pages(
    path: str, plural: str, shape: type[ItemT], filter: str = "", more: Mapping[str, str] | None = None
) -> Errand[list[ItemT]]:
    everything: list[ItemT] = []
    tokens = {""}
    query = {"pageSize": str(PAGE_SIZE)} | ({"filter": filter} if filter else {}) | dict(more or {})
    while True:
        call = Call("GET", path, lambda answer: _page(answer, plural, shape), query)
        page: Page[ItemT] = yield call
        everything += page.items
        if not page.next_page_token:
            return everything
        if page.next_page_token in tokens:
            raise GatewayError("the list does not end: a page token came twice", call=str(call))
        if len(tokens) == MOST_PAGES:
            raise GatewayError(
                f"the list does not end: there are more than {MOST_PAGES} pages", call=str(call)
            )
        tokens.add(page.next_page_token)
        query = query | {"pageToken": page.next_page_token}


def _page(answer: dict[str, Any], plural: str, shape: type[ItemT]) -> Page[ItemT]:
    items = answer.get(plural) or []
    if not isinstance(items, list):
        raise ValueError(f"{plural} is no list")
    return Page(
        items=[shape.model_validate(item) for item in items],
        next_page_token=answer.get("nextPageToken") or "",
    )
