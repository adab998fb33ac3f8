from __future__ import annotations

import re
from urllib.parse import urlsplit

import pytest
from hypothesis import example, given, strategies as st
from pydantic import BaseModel, ValidationError

from airflow_provider_fireworks.client.api import (
    create_deployment,
    create_router,
    delete_deployment,
    delete_router,
    get_deployment,
    get_model,
    get_router,
    prepare_model,
    scale_deployment,
    undelete_deployment,
    update_deployment,
    update_router,
)
from airflow_provider_fireworks.client.names import (
    DeploymentName,
    InvalidNameError,
    ModelName,
    RouterName,
    check_id,
)

IDS = st.from_regex(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?", fullmatch=True)
INVALID_TEXTS = [
    pytest.param("", id="empty"),
    pytest.param("-a", id="hyphen first"),
    pytest.param("a-", id="hyphen last"),
    pytest.param("-", id="only a hyphen"),
    pytest.param("a" * 64, id="64 characters"),
    pytest.param("My-Model", id="capitals"),
    pytest.param("a_b", id="underscore"),
    pytest.param("a.b", id="dot"),
    pytest.param("..", id="two dots"),
    pytest.param("a b", id="blank"),
    pytest.param("a\n", id="line end"),
    pytest.param("a\x00", id="NUL"),
    pytest.param("a?x=1", id="query"),
    pytest.param("a#b", id="fragment"),
    pytest.param("a%2fb", id="percent encoding"),
    pytest.param("a:prepare", id="custom method"),
    pytest.param("a\\b", id="backslash"),
    pytest.param("é", id="accent"),
    pytest.param("٣", id="digit outside ASCII"),
]
NO_TEXTS = [
    pytest.param(None, id="None"),
    pytest.param(5, id="number"),
    pytest.param(b"abc", id="bytes"),
    pytest.param(["a"], id="list"),
]
BOTH = pytest.mark.parametrize("kind", [ModelName, DeploymentName])


@pytest.mark.parametrize("value", ["a", "0", "my-model", "a--b", "0-0", "a" * 63])
def test_check_id_returns_valid_id_unchanged(value):
    assert check_id(value, "model id") == value


@pytest.mark.parametrize("value", [*INVALID_TEXTS, *NO_TEXTS])
def test_check_id_rejects_invalid_id_and_shows_it(value):
    with pytest.raises(InvalidNameError, match=re.escape(f"Invalid account id {value!r}: use 1 to 63")):
        check_id(value, "account id")


def test_check_id_shows_long_value_cut():
    with pytest.raises(InvalidNameError) as rejected:
        check_id("\x1b" * 100_000, "model id")
    assert len(str(rejected.value)) < 400
    assert str(rejected.value).isprintable()


@BOTH
@pytest.mark.parametrize("value", INVALID_TEXTS)
def test_name_with_invalid_part_is_rejected(kind, value):
    for name in (value, f"accounts/{value}/{kind.kind}s/x", f"accounts/a/{kind.kind}s/{value}"):
        with pytest.raises(InvalidNameError):
            kind.account_in(name)
        with pytest.raises(InvalidNameError):
            kind.parse(name, account="a")


@BOTH
@pytest.mark.parametrize("value", INVALID_TEXTS)
def test_name_cannot_be_made_from_invalid_parts(kind, value):
    with pytest.raises(InvalidNameError, match="Invalid account id"):
        kind(value, "x")
    with pytest.raises(InvalidNameError, match=f"Invalid {kind.kind} id"):
        kind("a", value)


@BOTH
@pytest.mark.parametrize(
    "name",
    [
        *NO_TEXTS,
        "/",
        "a/b",
        "accounts/a",
        "accounts/a/{kind}s",
        "accounts/a/{kind}s/x/",
        "/accounts/a/{kind}s/x",
        "accounts/a/{kind}s/x/versions/1",
        "accounts/a/others/x",
        "accounts/a/{kind}/x",
        "account/a/{kind}s/x",
        "https://api.fireworks.ai/v1/accounts/a/{kind}s/x",
        "accounts/a/models/m#accounts/a/deployments/d",
    ],
)
def test_name_of_another_form_is_rejected(kind, name):
    name = name.format(kind=kind.kind) if isinstance(name, str) else name
    with pytest.raises(InvalidNameError, match=f"Invalid {kind.kind} .*: use its id or accounts/<account>/"):
        kind.account_in(name)


def test_name_of_another_kind_is_rejected():
    with pytest.raises(InvalidNameError, match="Invalid model"):
        ModelName.parse("accounts/a/deployments/d")
    with pytest.raises(InvalidNameError, match="Invalid deployment"):
        DeploymentName.parse("accounts/a/models/m")


@BOTH
@given(account=IDS, resource_id=IDS)
def test_full_name_survives_parsing_and_formatting(kind, account, resource_id):
    name = f"accounts/{account}/{kind.kind}s/{resource_id}"
    assert kind.account_in(name) == account
    parsed = kind.parse(name)
    assert (parsed.account, parsed.id, str(parsed)) == (account, resource_id, name)
    assert kind.parse(name, account=account) == kind.parse(parsed) == parsed


@BOTH
@given(account=IDS, resource_id=IDS)
def test_bare_id_belongs_to_given_account(kind, account, resource_id):
    assert kind.account_in(resource_id) is None
    assert kind.parse(resource_id, account=account) == kind(account, resource_id)


@BOTH
def test_bare_id_without_account_is_rejected(kind):
    with pytest.raises(InvalidNameError, match=f"The {kind.kind} id 'x' needs an account"):
        kind.parse("x")


@BOTH
def test_full_name_of_another_account_is_rejected(kind):
    with pytest.raises(InvalidNameError, match="belongs to account 'other', but 'mine' is expected"):
        kind.parse(f"accounts/other/{kind.kind}s/x", account="mine")


@pytest.mark.parametrize("account", ["", "a/b", "..", "A"])
def test_invalid_account_is_rejected_beside_any_name(account):
    for model in ("m", "accounts/a/models/m"):
        with pytest.raises(InvalidNameError, match="Invalid account id"):
            ModelName.parse(model, account=account)


def test_name_as_pydantic_field_is_parsed_from_text_and_written_as_text():
    class Holder(BaseModel):
        model: ModelName

    holder = Holder.model_validate({"model": "accounts/a/models/m"})
    assert holder.model == ModelName("a", "m")
    assert holder.model_dump(mode="json") == {"model": "accounts/a/models/m"}
    assert Holder(model=holder.model) == holder
    with pytest.raises(ValidationError, match="needs an account"):
        Holder.model_validate({"model": "m"})


HOSTILE_TEXT = st.text() | st.text(alphabet="ab/.:?#%-\\ \n", max_size=20)
HOSTILE_ACCOUNT = st.none() | st.text(alphabet="ab/.:?#%-", max_size=5)


def path_of(request):
    """Return the path below ``/v1/`` as a server sees it."""
    parts = urlsplit(f"https://api.example/{request.path}")
    assert (parts.netloc, parts.query, parts.fragment) == ("api.example", "", "")
    return parts.path.removeprefix("/v1/")


@given(model=HOSTILE_TEXT, account=HOSTILE_ACCOUNT)
@example(model="../../verifyApiKey", account="a")
@example(model="accounts/a/models/../../x", account=None)
def test_no_model_changes_the_path_of_a_request(model, account):
    try:
        name = ModelName.parse(model, account=account)
    except InvalidNameError:
        return
    for request in (get_model(name), prepare_model(name, "FP8")):
        assert re.fullmatch(r"accounts/[a-z0-9-]+/models/[a-z0-9-]+(:prepare)?", path_of(request))


@given(deployment=HOSTILE_TEXT, account=HOSTILE_ACCOUNT)
@example(deployment="../../verifyApiKey", account="a")
@example(deployment="accounts/a/deployments/..", account=None)
def test_no_deployment_changes_the_path_of_a_request(deployment, account):
    try:
        name = DeploymentName.parse(deployment, account=account)
    except InvalidNameError:
        return
    for request in (
        get_deployment(name),
        create_deployment(name, {}),
        update_deployment(name, {}, base_model="m"),
        scale_deployment(name, 1),
        delete_deployment(name),
        undelete_deployment(name),
    ):
        path = path_of(request)
        assert re.fullmatch(r"accounts/[a-z0-9-]+/deployments(/[a-z0-9-]+(:scale|:undelete)?)?", path)


@given(router=HOSTILE_TEXT, account=HOSTILE_ACCOUNT)
@example(router="../../verifyApiKey", account="a")
@example(router="accounts/a/routers/..", account=None)
def test_no_router_changes_the_path_of_a_request(router, account):
    try:
        name = RouterName.parse(router, account=account)
    except InvalidNameError:
        return
    for request in (get_router(name), create_router(name, {}), update_router(name, {}), delete_router(name)):
        assert re.fullmatch(r"accounts/[a-z0-9-]+/routers(/[a-z0-9-]+)?", path_of(request))
