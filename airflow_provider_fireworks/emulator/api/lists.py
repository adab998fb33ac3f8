"""Pages of a list, and the masks that choose what is read."""

from __future__ import annotations

import base64
import re
from typing import TYPE_CHECKING, Any, TypeVar

from airflow_provider_fireworks.emulator.responses import ErrorResponse, Response, as_json
from airflow_provider_fireworks.emulator.schema import camel

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from airflow_provider_fireworks.emulator.api.routing import Call

DEFAULT_PAGE = 50
LARGEST_PAGE = 200

Item = TypeVar("Item")


def page(
    call: Call,
    plural: str,
    items: Sequence[Item],
    *,
    name: Callable[[Item], str],
    payload: Callable[[Item], dict[str, Any]],
    also: Sequence[str] = (),
) -> Response:
    """
    Response a list: ``{<plural>: […], nextPageToken, totalSize}``.

    A token means "after this name", so that what is added or removed between two pages neither repeats nor
    hides anything else.

    :param items: all of them, by name.
    :param also: further parameters that this list has in its query.
    """
    call.allow_query("pageSize", "pageToken", "filter", "orderBy", "readMask", *also)
    for parameter in ("filter", "orderBy"):
        if call.query.get(parameter):
            raise ErrorResponse("INVALID_ARGUMENT", f"{parameter} is not emulated")
    size = _page_size(call.query.get("pageSize", "0"))
    collection = "/".join([*call.ids.values(), plural])
    after = _read_token(call.query.get("pageToken", ""), collection)
    rest = [item for item in items if name(item) > after]
    shown = rest[:size]
    token = _write_token(collection, name(shown[-1])) if len(rest) > size else ""
    mask = call.query.get("readMask", "")
    listed = [masked(payload(item), mask) for item in shown]
    return as_json({plural: listed, "nextPageToken": token, "totalSize": len(items)})


def masked(payload: dict[str, Any], mask: str) -> dict[str, Any]:
    """
    Return the fields that a ``readMask`` names.

    :param mask: names of fields, camelCase or snake_case, with commas between; of ``a.b`` all of ``a`` is
        returned. Empty or ``*``: everything.
    """
    names = {camel(part.strip().split(".")[0]) for part in mask.split(",") if part.strip()}
    if not names or "*" in names:
        return payload
    return {name: value for name, value in payload.items() if name in names}


def _page_size(text: str) -> int:
    if not re.fullmatch(r"-?[0-9]{1,10}", text) or not 0 <= int(text) < 2**31:
        raise ErrorResponse("INVALID_ARGUMENT", f"invalid pageSize {text!r}")
    return min(int(text), LARGEST_PAGE) or DEFAULT_PAGE


def _write_token(collection: str, name: str) -> str:
    return base64.urlsafe_b64encode(f"{collection} {name}".encode()).decode()


def _read_token(token: str, collection: str) -> str:
    if not token:
        return ""
    try:
        of, _, name = base64.b64decode(token, altchars=b"-_", validate=True).decode().partition(" ")
    except ValueError:  # neither base64 nor text
        of, name = "", ""
    if of != collection or not name:
        raise ErrorResponse("INVALID_ARGUMENT", "invalid page token")
    return name
