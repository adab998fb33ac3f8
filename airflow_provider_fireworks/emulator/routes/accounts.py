"""``/verifyApiKey``, and ``/v1/accounts`` with their quotas and policy settings."""

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


def list_quotas(state: State, request: RoutedRequest) -> Response:
    return page(
        request,
        "quotas",
        state.deployments.quotas(request.ids["account"]),
        key=lambda quota: quota["name"],
        payload=dict,
    )


def get_policy_settings(state: State, request: RoutedRequest) -> Response:
    account = request.ids["account"]
    state.check_own(account)
    # The page of the real endpoint names zeroDataRetention, which is absent if it is off, but not its type. Here it
    # is always a boolean.
    settings = {
        "name": f"accounts/{account}/policySettings",
        "zeroDataRetention": state.options.zero_data_retention,
    }
    return as_json(masked(request, settings))


ROUTES = [
    Route("GET", "/verifyApiKey", "verifyApiKey", verify_api_key),
    Route("GET", "/v1/accounts", "accounts", list_accounts, LIST_QUERY),
    Route("GET", "/v1/accounts/{account}", "account", get_account, ["readMask"]),
    Route("GET", "/v1/accounts/{account}/quotas", "quotas", list_quotas, LIST_QUERY),
    Route(
        *("GET", "/v1/accounts/{account}/policySettings", "policySettings", get_policy_settings, ["readMask"])
    ),
]
