"""``/v1/accounts/{account}/routers``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow_provider_fireworks.emulator.responses import Response, as_json
from airflow_provider_fireworks.emulator.router_store import check_strategy
from airflow_provider_fireworks.emulator.routes.lists import LIST_QUERY, masked, page
from airflow_provider_fireworks.emulator.routes.routing import Route, RoutedRequest
from airflow_provider_fireworks.emulator.schema import RouterBody, parse

if TYPE_CHECKING:
    from airflow_provider_fireworks.emulator.state import State


def list_routers(state: State, request: RoutedRequest) -> Response:
    return page(
        request,
        "routers",
        state.routers.visible(request.ids["account"]),
        key=lambda router: router.id,
        payload=lambda router: router.payload(),
    )


def create_router(state: State, request: RoutedRequest) -> Response:
    router_id = request.query.get("routerId") or None
    return as_json(state.routers.create(request.ids["account"], router_id, _fields(request)).payload())


def get_router(state: State, request: RoutedRequest) -> Response:
    return as_json(masked(request, state.routers.own(*request.resource).payload()))


def update_router(state: State, request: RoutedRequest) -> Response:
    mask = request.query.get("updateMask", "")
    return as_json(state.routers.edit(*request.resource, _fields(request), mask).payload())


def delete_router(state: State, request: RoutedRequest) -> Response:
    state.routers.delete(*request.resource)
    return as_json({})


def _fields(request: RoutedRequest) -> dict[str, Any]:
    fields = parse(RouterBody, request.body).given()
    check_strategy(fields)
    return fields


_ROUTERS = "/v1/accounts/{account}/routers"
_ROUTER = f"{_ROUTERS}/{{router}}"

ROUTES = [
    Route("GET", _ROUTERS, "routers", list_routers, LIST_QUERY),
    Route("POST", _ROUTERS, "router", create_router, ["routerId"]),
    Route("GET", _ROUTER, "router", get_router, ["readMask"]),
    Route("PATCH", _ROUTER, "router", update_router, ["updateMask"]),
    Route("DELETE", _ROUTER, "router", delete_router),
]
