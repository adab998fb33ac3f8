"""
What is asked of the gateway: every call as a value.

A :class:`Call` says what goes over the wire and what its result is read as; the transports do the rest. A
longer errand (all pages of a list) is a generator that yields calls and is sent their results, so that workers
and the triggerer run the same one.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

from pydantic import ValidationError

from airflow_provider_fireworks.gateway.errors import AnswerLostError, GatewayError, error_of, one_line
from airflow_provider_fireworks.gateway.names import ModelName, check_id
from airflow_provider_fireworks.gateway.retrying import retry_after
from airflow_provider_fireworks.gateway.shapes import Account, Model, Page

ResultT = TypeVar("ResultT")
ItemT = TypeVar("ItemT", Account, Model)
Errand = Generator["Call[Any]", Any, ResultT]

PAGE_SIZE = 200
"""The most items that the gateway puts on a page."""


@dataclass(frozen=True)
class Call(Generic[ResultT]):
    """
    One request: what is sent, and how a good answer's JSON is read.

    :ivar verb: the HTTP method.
    :ivar path: below the base URL, with no leading slash; made of checked names only.
    :ivar read: makes the result of the answer's JSON object.
    """

    verb: str
    path: str
    read: Callable[[dict[str, Any]], ResultT]
    query: Mapping[str, str] = field(default_factory=dict)
    body: Mapping[str, Any] | None = None

    @property
    def writes(self) -> bool:
        """Whether it changes anything."""
        return self.verb != "GET"

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
        raise AnswerLostError(
            one_line(problem), call=str(self), status=status, request_id=headers.get("x-request-id")
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


def list_accounts() -> Errand[list[Account]]:
    """All pages of ``GET /v1/accounts``: the accounts that the key opens."""
    return _all_pages("v1/accounts", "accounts", Account)


def _all_pages(path: str, plural: str, shape: type[ItemT], filter: str = "") -> Errand[list[ItemT]]:
    def read(answer: dict[str, Any]) -> Page[ItemT]:
        items = answer.get(plural) or []
        if not isinstance(items, list):
            raise ValueError(f"{plural} is no list")
        return Page(
            items=[shape.model_validate(item) for item in items],
            next_page_token=answer.get("nextPageToken") or "",
        )

    everything: list[ItemT] = []
    tokens = {""}
    query = {"pageSize": str(PAGE_SIZE)} | ({"filter": filter} if filter else {})
    while True:
        call = Call("GET", path, read, query)
        page: Page[ItemT] = yield call
        everything += page.items
        if not page.next_page_token:
            return everything
        if page.next_page_token in tokens:
            raise GatewayError("the list does not end: a page token came twice", call=str(call))
        tokens.add(page.next_page_token)
        query = query | {"pageToken": page.next_page_token}
