"""``/verifyApiKey`` and ``/v1/accounts``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from airflow_provider_fireworks.emulator.api.lists import masked, page
from airflow_provider_fireworks.emulator.api.routing import Call, Route
from airflow_provider_fireworks.emulator.responses import Response, as_json

if TYPE_CHECKING:
    from airflow_provider_fireworks.emulator.state import State


def verify_api_key(state: State, call: Call) -> Response:
    call.allow_query()
    return as_json({}, x_fireworks_account_id=state.options.accounts[0])


def list_accounts(state: State, call: Call) -> Response:
    return page(call, "accounts", state.accounts(), name=str, payload=state.account)


def get_account(state: State, call: Call) -> Response:
    call.allow_query("readMask")
    return as_json(masked(state.account(call.ids["account"]), call.query.get("readMask", "")))


ROUTES = [
    Route("GET", "/verifyApiKey", "verifyApiKey", verify_api_key),
    Route("GET", "/v1/accounts", "accounts", list_accounts),
    Route("GET", "/v1/accounts/{account}", "account", get_account),
]
