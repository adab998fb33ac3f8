"""Pages of lists, and read masks."""

from __future__ import annotations

import base64
import re
from typing import TYPE_CHECKING, Any, TypeVar

from airflow_provider_fireworks.emulator.responses import ErrorResponse, Response, as_json
from airflow_provider_fireworks.emulator.schema import camel

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from airflow_provider_fireworks.emulator.routes.routing import RoutedRequest

#: Query parameters of every list.
LIST_QUERY = ("pageSize", "pageToken", "filter", "orderBy", "readMask")
DEFAULT_PAGE_SIZE = 50
MAX_PAGE_SIZE = 200

Item = TypeVar("Item")


def page(
    request: RoutedRequest,
    plural: str,
    items: Sequence[Item],
    *,
    key: Callable[[Item], str],
    payload: Callable[[Item], dict[str, Any]],
) -> Response:
    """
    Return one page of a list: ``{<plural>: […], nextPageToken, totalSize}``.

    A page token means "after this key", so that no item is repeated or left out if others are added or removed.

    :param items: all items, sorted by key.
    """
    for parameter in ("filter", "orderBy"):
        if request.query.get(parameter):
            raise ErrorResponse("INVALID_ARGUMENT", f"{parameter} is not emulated")
    size = _page_size(request.query.get("pageSize", "0"))
    collection = "/".join([*request.ids.values(), plural])
    after = _read_token(request.query.get("pageToken", ""), collection)
    rest = [item for item in items if key(item) > after]
    shown = rest[:size]
    token = _write_token(collection, key(shown[-1])) if len(rest) > size else ""
    listed = [masked(request, payload(item)) for item in shown]
    return as_json({plural: listed, "nextPageToken": token, "totalSize": len(items)})


def masked(request: RoutedRequest, payload: dict[str, Any]) -> dict[str, Any]:
    """
    Return the fields selected by the request's ``readMask``: all if it is empty or ``*``.

    Names are in camelCase or snake_case. ``a.b`` selects all of ``a``.
    """
    parts = request.query.get("readMask", "").split(",")
    names = {camel(part.strip().split(".")[0]) for part in parts if part.strip()}
    if not names or "*" in names:
        return payload
    return {name: value for name, value in payload.items() if name in names}


def _page_size(text: str) -> int:
    if not re.fullmatch(r"-?[0-9]{1,10}", text) or not 0 <= int(text) < 2**31:
        raise ErrorResponse("INVALID_ARGUMENT", f"invalid pageSize {text!r}")
    return min(int(text), MAX_PAGE_SIZE) or DEFAULT_PAGE_SIZE


def _write_token(collection: str, key: str) -> str:
    return base64.urlsafe_b64encode(f"{collection} {key}".encode()).decode()


def _read_token(token: str, collection: str) -> str:
    if not token:
        return ""
    try:
        written_for, _, key = base64.b64decode(token, altchars=b"-_", validate=True).decode().partition(" ")
    except ValueError:  # neither base64 nor UTF-8
        written_for, key = "", ""
    if written_for != collection or not key:
        raise ErrorResponse("INVALID_ARGUMENT", "invalid page token")
    return key
