from __future__ import annotations

import json

import pytest

from airflow_provider_fireworks.client import api
from airflow_provider_fireworks.client.api import list_accounts, list_deployments, list_models
from airflow_provider_fireworks.client.errors import ApiError, NoResponseError
from airflow_provider_fireworks.client.resources import Account


def parse(request, content):
    return request.parse(200, {}, json.dumps(content).encode(), now=0.0, max_retry_after=60.0)


def read_all(pages, *contents):
    """Send the requests for all pages, each with the next content as its response; return items and queries."""
    queries = []
    request = next(pages)
    for content in contents:
        queries.append(dict(request.query))
        try:
            request = pages.send(parse(request, content))
        except StopIteration as end:
            return end.value, queries
    raise AssertionError("it requests another page")


def test_page_size_is_the_largest_that_the_api_allows():
    assert api.PAGE_SIZE == 200


@pytest.mark.parametrize(
    "last", [{"nextPageToken": ""}, {"nextPageToken": None}, {}], ids=["empty", "null", "missing"]
)
def test_list_reads_all_pages_with_the_same_query(last):
    models, queries = read_all(
        list_models("demo", filter="f"),
        {"models": [{"name": "1"}, {"name": "2"}], "nextPageToken": "t1", "totalSize": 3},
        {"models": [], "nextPageToken": "t2"},
        {"models": [{"name": "3"}]} | last,
    )
    assert [model.name for model in models] == ["1", "2", "3"]
    first = {"pageSize": "200", "filter": "f"}
    assert queries == [first, first | {"pageToken": "t1"}, first | {"pageToken": "t2"}]


def test_list_of_deployments_includes_deleted_ones_on_all_pages():
    deployments, queries = read_all(
        list_deployments("demo", show_deleted=True),
        {"deployments": [{"name": "1"}], "nextPageToken": "t"},
        {"deployments": [{"name": "2"}]},
    )
    assert [each.name for each in deployments] == ["1", "2"]
    first = {"pageSize": "200", "showDeleted": "true"}
    assert queries == [first, first | {"pageToken": "t"}]


def test_list_of_accounts_has_their_ids():
    accounts, _ = read_all(list_accounts(), {"accounts": [{"name": "accounts/demo", "state": "READY"}]})
    assert isinstance(accounts[0], Account)
    assert accounts[0].account_id == "demo"


@pytest.mark.parametrize("content", [{}, {"accounts": []}, {"accounts": None}, {"models": [{"name": "x"}]}])
def test_list_may_be_empty(content):
    assert read_all(list_accounts(), content) == ([], [{"pageSize": "200"}])


@pytest.mark.parametrize("tokens", [["t", "t"], ["a", "b", "a"]], ids=["at once", "in a circle"])
def test_list_with_repeated_page_token_fails(tokens):
    pages = [{"accounts": [], "nextPageToken": token} for token in tokens]
    with pytest.raises(ApiError, match="a page token was repeated") as endless:
        read_all(list_accounts(), *pages, {})
    assert endless.value.request == "GET /v1/accounts"
    assert not endless.value.is_transient


def test_list_with_too_many_pages_fails(monkeypatch):
    monkeypatch.setattr(api, "MAX_PAGES", 3)
    pages = [{"accounts": [], "nextPageToken": str(number)} for number in range(3)]
    with pytest.raises(ApiError, match="it has more than 3 pages") as endless:
        read_all(list_accounts(), *pages, {})
    assert not endless.value.is_transient


@pytest.mark.parametrize(
    "content", [{"accounts": "x"}, {"accounts": 5}, {"accounts": [5]}, {"nextPageToken": {"a": 1}}]
)
def test_page_with_unexpected_fields_is_no_response(content):
    with pytest.raises(NoResponseError):
        parse(next(list_accounts()), content)


def test_two_readings_of_a_list_do_not_share_page_tokens():
    for _ in range(2):
        assert read_all(list_accounts(), {"nextPageToken": "t"}, {})[0] == []
