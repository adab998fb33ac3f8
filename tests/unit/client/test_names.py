from __future__ import annotations

import re
from urllib.parse import urlsplit

import pytest
from hypothesis import example, given, strategies as st

from airflow_provider_fireworks.client.api import (
    create_deployment,
    delete_deployment,
    get_deployment,
    get_model,
    scale_deployment,
    undelete_deployment,
    update_deployment,
)
from airflow_provider_fireworks.client.names import (
    DeploymentName,
    InvalidNameError,
    ModelName,
    check_id,
)

IDS = st.from_regex(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?", fullmatch=True)
NO_IDS = [
    pytest.param("", id="empty"),
    pytest.param("-a", id="a hyphen first"),
    pytest.param("a-", id="a hyphen last"),
    pytest.param("-", id="only a hyphen"),
    pytest.param("a" * 64, id="64 long"),
    pytest.param("My-Model", id="capitals"),
    pytest.param("a_b", id="an underscore"),
    pytest.param("a.b", id="a dot"),
    pytest.param("..", id="two dots"),
    pytest.param("a b", id="a blank"),
    pytest.param("a\n", id="a line end"),
    pytest.param("a\x00", id="a NUL"),
    pytest.param("a?x=1", id="a query"),
    pytest.param("a#b", id="a fragment"),
    pytest.param("a%2fb", id="an escape"),
    pytest.param("a:prepare", id="a verb"),
    pytest.param("a\\b", id="a backslash"),
    pytest.param("é", id="an accent"),
    pytest.param("٣", id="a digit that is not ASCII"),
    pytest.param(None, id="None"),
    pytest.param(5, id="a number"),
    pytest.param(b"abc", id="bytes"),
    pytest.param(["a"], id="a list"),
]


@pytest.mark.parametrize("value", ["a", "0", "my-model", "a--b", "0-0", "a" * 63])
def test_an_id_comes_back_unchanged(value):
    assert check_id(value, "model id") == value


@pytest.mark.parametrize("value", NO_IDS)
def test_what_is_no_id_is_refused_and_said_what_it_was_to_be(value):
    with pytest.raises(InvalidNameError, match=re.escape(f"{value!r} is no account id")):
        check_id(value, "account id")


@pytest.mark.parametrize("value", [row for row in NO_IDS if isinstance(row.values[0], str)])
def test_what_is_no_id_is_refused_in_every_place(value):
    for model in (value, f"accounts/{value}/models/m", f"accounts/a/models/{value}"):
        with pytest.raises(InvalidNameError):
            ModelName.account_in(model)


@pytest.mark.parametrize("value", [None, 5, b"accounts/a/models/m", ["m"]])
def test_what_is_no_text_is_no_model(value):
    with pytest.raises(InvalidNameError, match="is no model"):
        ModelName.account_in(value)


@pytest.mark.parametrize(
    "name",
    [
        "/",
        "a/b",
        "accounts/a",
        "accounts/a/models",
        "accounts/a/models/m/",
        "/accounts/a/models/m",
        "accounts/a/models/m/versions/1",
        "accounts/a/deployments/m",
        "account/a/models/m",
        "accounts//models/m",
        "accounts/a/models/",
        "accounts/../models/m",
        "accounts/a/models/..",
        "accounts/a/models/m:prepare",
        "https://api.fireworks.ai/v1/accounts/a/models/m",
    ],
)
def test_what_is_no_full_name_is_refused(name):
    with pytest.raises(InvalidNameError):
        ModelName.account_in(name)


@given(account=IDS, model=IDS)
def test_a_full_name_is_read_and_written_alike(account, model):
    name = f"accounts/{account}/models/{model}"
    assert ModelName.account_in(name) == (account, model)
    assert str(ModelName.parse(name)) == name
    assert str(ModelName.parse(name, account=account)) == name


@given(account=IDS, model=IDS)
def test_a_bare_id_belongs_to_the_account_given(account, model):
    assert ModelName.parse(model, account=account) == ModelName(account, model)


def test_a_bare_id_without_an_account_is_refused():
    with pytest.raises(InvalidNameError, match="'my-model' needs an account"):
        ModelName.parse("my-model")


def test_a_full_name_of_another_account_is_refused():
    with pytest.raises(InvalidNameError, match="belongs to account 'fireworks', not to 'mine'"):
        ModelName.parse("accounts/fireworks/models/m", account="mine")


@pytest.mark.parametrize("account", ["", "a/b", "..", "A"])
def test_an_account_that_is_none_is_refused_beside_any_name(account):
    for model in ("m", "accounts/a/models/m"):
        with pytest.raises(InvalidNameError):
            ModelName.parse(model, account=account)


@given(
    model=st.text() | st.text(alphabet="ab/.:?#%-\\ \n", max_size=20),
    account=st.none() | st.text(alphabet="ab/.:?#%-", max_size=5),
)
@example(model="../../verifyApiKey", account="a")
@example(model="accounts/a/models/../../x")
def test_no_name_leads_a_request_elsewhere(model, account):
    try:
        path = get_model(ModelName.parse(model, account=account)).path
    except InvalidNameError:
        return
    parts = urlsplit(f"https://emulator/{path}")
    assert (parts.netloc, parts.query, parts.fragment) == ("emulator", "", "")
    assert re.fullmatch(r"/v1/accounts/[a-z0-9-]+/models/[a-z0-9-]+", parts.path)


# ---- deployments


@pytest.mark.parametrize("value", [row for row in NO_IDS if isinstance(row.values[0], str)])
def test_what_is_no_id_is_no_deployments_either(value):
    for deployment in (value, f"accounts/{value}/deployments/d", f"accounts/a/deployments/{value}"):
        with pytest.raises(InvalidNameError):
            DeploymentName.account_in(deployment)


@pytest.mark.parametrize(
    "name",
    [
        None,
        5,
        b"accounts/a/deployments/d",
        "a/b",
        "accounts/a/deployments",
        "accounts/a/deployments/d/",
        "/accounts/a/deployments/d",
        "accounts/a/models/d",
        "accounts/a/deployment/d",
        "accounts//deployments/d",
        "accounts/a/deployments/d:scale",
        "accounts/a/models/m#accounts/a/deployments/d",
    ],
)
def test_what_is_no_deployment_is_refused_as_such(name):
    with pytest.raises(InvalidNameError, match=r"is no (deployment|account)"):
        DeploymentName.account_in(name)


@given(account=IDS, deployment=IDS)
def test_a_deployments_full_name_is_read_and_written_alike(account, deployment):
    name = f"accounts/{account}/deployments/{deployment}"
    assert DeploymentName.account_in(name) == (account, deployment)
    assert str(DeploymentName.parse(name)) == name
    assert str(DeploymentName.parse(name, account=account)) == name
    assert DeploymentName.parse(deployment, account=account) == DeploymentName(account, deployment)


def test_a_deployment_belongs_to_an_account():
    with pytest.raises(InvalidNameError, match="The deployment id 'd' needs an account"):
        DeploymentName.parse("d")
    with pytest.raises(InvalidNameError, match="belongs to account 'other', not to 'mine'"):
        DeploymentName.parse("accounts/other/deployments/d", account="mine")


@given(
    deployment=st.text() | st.text(alphabet="ab/.:?#%-\\ \n", max_size=20),
    account=st.none() | st.text(alphabet="ab/.:?#%-", max_size=5),
)
@example(deployment="../../verifyApiKey", account="a")
@example(deployment="accounts/a/deployments/..")
def test_no_deployment_leads_a_request_elsewhere(deployment, account):
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
        parts = urlsplit(f"https://emulator/{request.path}")
        assert (parts.netloc, parts.query, parts.fragment) == ("emulator", "", "")
        assert re.fullmatch(
            r"/v1/accounts/[a-z0-9-]+/deployments(/[a-z0-9-]+(:scale|:undelete)?)?", parts.path
        )
