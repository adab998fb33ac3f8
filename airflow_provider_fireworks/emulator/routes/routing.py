"""Finding the handler of a request, and the checks that all requests share."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING
from urllib.parse import unquote

from pydantic import ValidationError

from airflow_provider_fireworks.client.names import check_id
from airflow_provider_fireworks.emulator.responses import ErrorResponse, Response, as_text

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from airflow_provider_fireworks.emulator.state import State


@dataclass(frozen=True)
class RoutedRequest:
    """
    A request as its handler sees it.

    :ivar ids: ids in the path, by their name in the path of the route.
    :ivar body: as sent.
    """

    ids: dict[str, str]
    query: dict[str, str]
    body: bytes

    @property
    def resource(self) -> tuple[str, str]:
        """The account and the id of a resource."""
        account, resource_id = self.ids.values()
        return account, resource_id

    def flag(self, name: str) -> bool:
        return self.query.get(name) == "true"


@dataclass(frozen=True)
class Route:
    """
    A method and path of the API, and what handles them.

    :ivar path: as in ``/v1/accounts/{account}/models/{model}:prepare``.
    :ivar label: what follows the method in :attr:`Emulator.counts`.
    :ivar query: names of its query parameters.
    :ivar flags: names of further query parameters, which are ``true`` or ``false``.
    :ivar wildcards: ids in the path that can be ``-``, which means any.
    :ivar on_error: makes the response for a refusal.
    """

    method: str
    path: str
    label: str
    handler: Callable[[State, RoutedRequest], Response]
    query: Sequence[str] = ()
    flags: Sequence[str] = ()
    wildcards: Sequence[str] = ()
    on_error: Callable[[ErrorResponse], Response] = ErrorResponse.response

    @cached_property
    def pattern(self) -> re.Pattern[str]:
        return re.compile(re.sub(r"\{(\w+)\}", r"(?P<\1>[^/:]+)", self.path))

    def respond(
        self, state: State, ids: dict[str, str], query: list[tuple[str, str]], body: bytes
    ) -> Response:
        """Check the ids and the query, and call the handler."""
        try:
            for name, value in ids.items():
                if not (value == "-" and name in self.wildcards):
                    check_id(value, f"{name} id")
            self._check_query(query)
            return self.handler(state, RoutedRequest(ids, dict(query), body))
        except ErrorResponse as error:
            return self.on_error(error)
        except ValueError as error:  # an invalid id, body or field
            return self.on_error(ErrorResponse("INVALID_ARGUMENT", _explain(error)))

    def _check_query(self, query: list[tuple[str, str]]) -> None:
        # A typo must not go unnoticed.
        for name, times in Counter(name for name, _ in query).items():
            if name not in (*self.query, *self.flags):
                raise ErrorResponse("INVALID_ARGUMENT", f"unknown query parameter {name!r}")
            if times > 1:
                raise ErrorResponse("INVALID_ARGUMENT", f"query parameter {name!r} is repeated")
        for name, value in query:
            if name in self.flags and value not in ("true", "false"):
                raise ErrorResponse("INVALID_ARGUMENT", f"{name}: {value!r} is neither true nor false")


def find_route(routes: list[Route], method: str, path: str) -> tuple[Route, dict[str, str]] | Response:
    """
    Return the route of a request and the ids in its path, or a plain-text 404 or 405.

    :param path: as sent, percent-encoded.
    """
    # Clients may encode the colon of a custom verb.
    path = path.replace("%3A", ":").replace("%3a", ":")
    matches = [(route, match) for route in routes if (match := route.pattern.fullmatch(path))]
    for route, match in matches:
        if route.method == method:
            return route, {name: unquote(text) for name, text in match.groupdict().items()}
    return as_text(405, "Method Not Allowed\n") if matches else as_text(404, "404 page not found\n")


def _explain(error: ValueError) -> str:
    """Return the message of an error; of pydantic's, the first one with the name of its field."""
    if not isinstance(error, ValidationError):
        return str(error)
    first = error.errors(include_url=False)[0]
    field = ".".join(str(part) for part in first["loc"])
    if first["type"] == "extra_forbidden":
        return f"unknown field {field!r}"
    return f"{field}: {first['msg']}" if field else first["msg"]
