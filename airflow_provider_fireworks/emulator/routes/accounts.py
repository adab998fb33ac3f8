"""``/verifyApiKey`` and ``/v1/accounts``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from airflow_provider_fireworks.emulator.responses import Response, as_json
from airflow_provider_fireworks.emulator.routes.lists import LIST_QUERY, masked, page
from airflow_provider_fireworks.emulator.routes.routing import Route, RoutedRequest

if TYPE_CHECKING:
    from airflow_provider_fireworks.emulator.state import State


def verify_api_key(state: State, request: RoutedRequest) -> Response:
    return as_json({}, headers={"x-fireworks-account-id": state.options.accounts[0]})


def list_accounts(state: State, request: RoutedRequest) -> Response:
    return page(request, "accounts", sorted(state.options.accounts), key=str, payload=state.account)


def get_account(state: State, request: RoutedRequest) -> Response:
    return as_json(masked(request, state.account(request.ids["account"])))


ROUTES = [
    Route("GET", "/verifyApiKey", "verifyApiKey", verify_api_key),
    Route("GET", "/v1/accounts", "accounts", list_accounts, LIST_QUERY),
    Route("GET", "/v1/accounts/{account}", "account", get_account, ["readMask"]),
]
