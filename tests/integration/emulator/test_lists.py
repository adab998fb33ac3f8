"""Pages of lists, and read masks."""

from __future__ import annotations

import pytest

MODELS = "/v1/accounts/demo/models"


@pytest.fixture
def models(emulator):
    """The names of 230 models."""
    for number in range(226):
        emulator.add_model(f"model-{number:03}")
    return sorted(model["name"] for model in emulator.models if model["name"].startswith("accounts/demo/"))


def pages(client, **query):
    token, found = "", []
    while True:
        page = client.get(MODELS, **query, **({"pageToken": token} if token else {})).json()
        found.append([model["name"] for model in page["models"]])
        token = page["nextPageToken"]
        if not token:
            return found


@pytest.mark.parametrize(
    ("size", "lengths"),
    [
        (None, [50, 50, 50, 50, 30]),
        (0, [50, 50, 50, 50, 30]),
        (115, [115, 115]),
        (200, [200, 30]),
        (9999, [200, 30]),
    ],
)
def test_pages_have_every_item_once_and_in_order(client, models, size, lengths):
    found = pages(client, **({} if size is None else {"pageSize": size}))
    assert [len(page) for page in found] == lengths
    assert [name for page in found for name in page] == models


def test_total_size_counts_all_pages(client, models):
    assert client.get(MODELS, pageSize=1).json()["totalSize"] == len(models) == 230


def test_deletion_between_two_pages_hides_no_item(client, emulator, models):
    first = client.get(MODELS, pageSize=10).json()
    emulator.delete_model("model-000")
    second = client.get(MODELS, pageSize=10, pageToken=first["nextPageToken"]).json()
    assert [model["name"] for model in second["models"]] == models[10:20]


@pytest.mark.parametrize(
    "query",
    [
        {"pageToken": "bogus"},
        {"pageToken": "Ym9ndXM="},
        {"pageToken": "é"},
        {"pageSize": "-1"},
        {"pageSize": "ten"},
        {"pageSize": "1.5"},
        {"filter": 'state="READY"'},
        {"orderBy": "name desc"},
    ],
)
def test_invalid_or_unsupported_parameter_is_refused(client, query):
    response = client.get(MODELS, **query)
    assert (response.status_code, response.json()["code"]) == (400, 3)
    assert "token" in response.text or next(iter(query)) in response.text


def test_page_token_of_another_list_is_refused(client, emulator):
    emulator.configure(accounts=["demo", "other"])
    token = client.get("/v1/accounts", pageSize=1).json()["nextPageToken"]
    assert client.get(MODELS, pageToken=token).status_code == 400
    token = client.get(MODELS, pageSize=1).json()["nextPageToken"]
    assert client.get("/v1/accounts/other/models", pageToken=token).status_code == 400


@pytest.mark.parametrize(
    ("mask", "names"),
    [
        ("state", {"state"}),
        ("state,updateTime", {"state", "updateTime"}),
        ("update_time, baseModelDetails.defaultPrecision", {"updateTime", "baseModelDetails"}),
    ],
)
def test_read_mask_selects_fields(client, mask, names):
    assert set(client.get(f"{MODELS}/my-model", readMask=mask).json()) == names
    assert all(set(model) == names for model in client.get(MODELS, readMask=mask).json()["models"])


@pytest.mark.parametrize("mask", ["", "*"])
def test_empty_read_mask_selects_all_fields(client, mask):
    assert client.get(f"{MODELS}/my-model", readMask=mask).json() == client.model()
