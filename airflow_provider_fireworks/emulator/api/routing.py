"""Which handler answers which request, and what handlers are told."""

from __future__ import annotations

import json
import math
import re
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

from airflow_provider_fireworks.client.names import InvalidNameError, check_id
from airflow_provider_fireworks.emulator.responses import ErrorResponse, Response, as_text

if TYPE_CHECKING:
    from collections.abc import Callable

    from airflow_provider_fireworks.emulator.state import State


@dataclass(frozen=True)
class Call:
    """
    One request, as a handler sees it.

    :param ids: the ids that the path names, by the names that its route has for them.
    :param query: the parameters of the query.
    :param body: as it was sent.
    :param twice: a parameter that the query has more than once.
    """

    method: str
    ids: dict[str, str]
    query: dict[str, str]
    body: bytes
    twice: str | None = None

    def allow_query(self, *names: str) -> None:
        """
        Refuse parameters that the endpoint does not have, and those given twice.

        A typo there must not pass for working.
        """
        if self.twice is not None:
            raise ErrorResponse("INVALID_ARGUMENT", f"query parameter {self.twice!r} is given twice")
        for name in self.query:
            if name not in names:
                raise ErrorResponse("INVALID_ARGUMENT", f"unknown query parameter {name!r}")

    def flag(self, name: str) -> bool:
        """Return a parameter that is ``true`` or ``false``; left out it is false."""
        value = self.query.get(name, "false")
        if value not in ("true", "false"):
            raise ErrorResponse("INVALID_ARGUMENT", f"{name}: {value!r} is neither true nor false")
        return value == "true"


@dataclass(frozen=True)
class Route:
    """
    A method and a path that is answered.

    :param what: the name that it is counted under, after the method.
    :param path: as in ``/v1/accounts/{account}/models/{model}:prepare``.
    :param any_of: the ids of the path that may be ``-``, for any.
    """

    method: str
    path: str
    what: str
    handler: Callable[[State, Call], Response]
    any_of: tuple[str, ...] = ()

    @cached_property
    def pattern(self) -> re.Pattern[str]:
        return re.compile(re.sub(r"\{(\w+)\}", r"(?P<\1>[^/:]+)", self.path))


def find(routes: list[Route], method: str, path: str) -> tuple[Route, dict[str, str]] | Response:
    """
    Find the route of a request, and the ids that its path names.

    :param path: as it was sent, percent signs and all.
    :return: the plain-text 404 or 405 where there is none.
    """
    matches = [(route, match) for route in routes if (match := route.pattern.fullmatch(_colons(path)))]
    for route, match in matches:
        if route.method == method:
            return route, {name: unquote(text) for name, text in match.groupdict().items()}
    return as_text(405, "Method Not Allowed\n") if matches else as_text(404, "404 page not found\n")


def answer(route: Route, state: State, call: Call) -> Response:
    """Run a handler; ids that are none, and whatever it refuses, become errors in the API's words."""
    try:
        for name, value in call.ids.items():
            if not (value == "-" and name in route.any_of):
                check_id(value, f"{name} id")
        return route.handler(state, call)
    except InvalidNameError as error:
        return ErrorResponse("INVALID_ARGUMENT", str(error)).answer()
    except ErrorResponse as error:
        return error.answer()


def read_body(body: bytes) -> Any:
    """Return a body for the records: its JSON, else its text, ``None`` if there is none."""
    if not body:
        return None
    try:
        return json.loads(body, parse_float=_finite, parse_constant=str)
    except (ValueError, RecursionError):
        return body.decode(errors="replace")


def _finite(text: str) -> float | str:
    # The records are shown as JSON, which has no infinite numbers.
    number = float(text)
    return number if math.isfinite(number) else text


def _colons(path: str) -> str:
    # Clients differ in whether they encode the colon of a custom verb; it means the same.
    return path.replace("%3A", ":").replace("%3a", ":")
