from __future__ import annotations

import dataclasses

import pytest
from hypothesis import given, strategies as st

from airflow_provider_fireworks import __version__
from airflow_provider_fireworks.client.config import HEADERS, ClientConfig, InvalidConfigError

KEY = "fw_secret123"


def made(
    host: str | None = None, *, schema: str | None = None, port: int | None = None, **others
) -> ClientConfig:
    return ClientConfig.make(**{"host": host, "schema": schema, "port": port, "api_key": KEY} | others)


@pytest.mark.parametrize(
    ("host", "schema", "port", "base_url"),
    [
        pytest.param(None, None, None, "https://api.fireworks.ai", id="nothing"),
        pytest.param("  ", "", None, "https://api.fireworks.ai", id="blanks"),
        pytest.param("us.api.fireworks.ai", None, None, "https://us.api.fireworks.ai", id="a host"),
        pytest.param("https://us.api.fireworks.ai", None, None, "https://us.api.fireworks.ai", id="a URL"),
        pytest.param("https://us.api.fireworks.ai/", None, None, "https://us.api.fireworks.ai", id="a slash"),
        pytest.param(" https://h.example \n", None, None, "https://h.example", id="blanks around"),
        pytest.param("HTTPS://H.Example", None, None, "https://h.example", id="capitals"),
        pytest.param("h.example:8443", None, None, "https://h.example:8443", id="a port in the host"),
        pytest.param("https://h.example:8443", None, None, "https://h.example:8443", id="a port in the URL"),
        pytest.param("h.example", None, 8443, "https://h.example:8443", id="a port beside"),
        pytest.param("h.example:1", None, 2, "https://h.example:1", id="the host's port goes first"),
        pytest.param("h.example", "https", None, "https://h.example", id="a scheme beside"),
        pytest.param("h.example", "https://", None, "https://h.example", id="a scheme with its slashes"),
        pytest.param(
            "https://h.example", "http", None, "https://h.example", id="the URL's scheme goes first"
        ),
        pytest.param("h.example/fw/gw/", None, None, "https://h.example/fw/gw", id="a path in the host"),
        pytest.param("https://h.example:1/fw", None, None, "https://h.example:1/fw", id="port and path"),
        pytest.param("h.example/fw", "https", 1, "https://h.example:1/fw", id="path in host, port beside"),
        pytest.param("localhost:8080", "http", None, "http://localhost:8080", id="this machine, by scheme"),
        pytest.param("http://localhost", None, 8080, "http://localhost:8080", id="this machine, by URL"),
        pytest.param("http://LOCALHOST:1", None, None, "http://localhost:1", id="this machine, in capitals"),
        pytest.param("http://127.0.0.1:1", None, None, "http://127.0.0.1:1", id="this machine, by IPv4"),
        pytest.param("http://127.9.9.9", None, None, "http://127.9.9.9", id="this machine, by another IPv4"),
        pytest.param("http://[::1]:1/x", None, None, "http://[::1]:1/x", id="this machine, by IPv6"),
        pytest.param("[::1]", "http", 9, "http://[::1]:9", id="this machine, by IPv6 in three fields"),
        pytest.param("https://[2001:db8::1]", None, None, "https://[2001:db8::1]", id="IPv6 elsewhere"),
    ],
)
def test_the_base_url_wherever_its_parts_are(host, schema, port, base_url):
    config = made(host, schema=schema, port=port)
    assert config.base_url == base_url
    assert config.url("v1/accounts") == f"{base_url}/v1/accounts"


@pytest.mark.parametrize(
    ("host", "schema"),
    [
        ("http://api.fireworks.ai", None),
        ("api.fireworks.ai", "http"),
        ("http://10.0.0.1", None),
        ("http://0.0.0.0:8080", None),
        ("http://[2001:db8::1]", None),
        ("http://localhost.example", None),
        ("http://127.0.0.1.example", None),
        ("http://localhost@elsewhere.example", None),
        ("HTTP://api.fireworks.ai", None),
    ],
)
def test_plain_http_to_elsewhere_is_refused(host, schema):
    with pytest.raises(InvalidConfigError) as refused:
        made(host, schema=schema)
    assert KEY not in str(refused.value)


@pytest.mark.parametrize(
    "host",
    [
        "ftp://h.example",
        "file:///etc/passwd",
        "https://",
        "https:///v1",
        "https://h.example?x=1",
        "https://h.example/a#x",
        "https://h.example:port",
        "https://h.example:70000",
        "https://[::1",
        "https://u:p@h.example",
        "https://u@h.example",
    ],
)
def test_what_is_no_base_url_is_refused(host):
    with pytest.raises(InvalidConfigError):
        made(host)


def test_another_scheme_in_its_field_is_refused():
    with pytest.raises(InvalidConfigError):
        made("h.example", schema="ftp")


@pytest.mark.parametrize(
    "host",
    [
        pytest.param(f"https://user:{KEY}@h.example", id="a good URL"),
        pytest.param(f"http://user:{KEY}@h.example", id="plain http"),
        pytest.param(f"https://user:{KEY}@h.example:port", id="a bad port"),
        pytest.param(f"https://user:{KEY}@h.example?x=1", id="a query"),
        pytest.param(f"ftp://user:{KEY}@h.example", id="another scheme"),
    ],
)
def test_a_key_in_the_url_is_refused_without_being_shown(host):
    with pytest.raises(InvalidConfigError) as refused:
        made(host)
    assert KEY not in str(refused.value)


@given(
    host=st.text(max_size=30) | st.text(alphabet="htps:/[]@.?#1a%\\", max_size=20),
    schema=st.none() | st.text(max_size=5) | st.sampled_from(["http", "https"]),
    port=st.none() | st.integers(0, 65535),
)
def test_any_field_makes_an_endpoint_or_is_refused(host, schema, port):
    try:
        config = made(host, schema=schema, port=port)
    except InvalidConfigError:
        return
    assert config.base_url.startswith("https://") or config.is_loopback
    assert not config.base_url.endswith("/")


@pytest.mark.parametrize("key", [None, "", "  ", "\n"])
def test_no_key_is_refused(key):
    with pytest.raises(InvalidConfigError, match="there is no API key"):
        made(api_key=key)


@pytest.mark.parametrize(
    "key",
    [
        "fw_qz\r\nX-Evil: 1",
        "fw_qz\nzq",
        "fw_qz zq",
        "fw_qz\tzq",
        "fw_qz\x00zq",
        "fw_é",
        "fw_qz\u2028zq",
        "“fw_qz”",
    ],
    ids=ascii,
)
def test_a_key_that_cannot_stand_in_a_header_is_refused_without_being_shown(key):
    with pytest.raises(InvalidConfigError) as refused:
        made(api_key=key)
    for part in (key, repr(key), *key.split()):
        assert part not in str(refused.value)


@given(st.text(min_size=1))
def test_any_key_that_is_taken_can_stand_in_a_header(key):
    try:
        taken = made(api_key=key).api_key
    except InvalidConfigError:
        return
    assert taken
    assert all(0x21 <= ord(character) <= 0x7E for character in taken)


def test_blanks_around_the_key_and_the_account_are_taken_off():
    config = made(api_key=f" {KEY}\n", account=" demo ")
    assert (config.api_key, config.account) == (KEY, "demo")
    assert made(account=" ").account is None


def test_the_key_is_hidden():
    config = made(account="demo")
    for told in (repr(config), str(config), f"{config}", repr([config])):
        assert KEY not in told
        assert "demo" in told
    assert config.hide_key(f"a {KEY} b{KEY}") == "a *** b***"


def test_the_key_is_hidden_where_it_was_cut():
    config = made()
    for length in range(4, len(KEY)):
        assert config.hide_key(f"a {KEY} {KEY[:length]}… b") == "a *** ***… b"
    assert config.hide_key("a …") == "a …"
    assert config.hide_key(f"{KEY[:8]} b…") == f"{KEY[:8]} b…"


@pytest.mark.parametrize("account", ["../x", "a/b", "a\r\nb", "A", "a b", "x" * 64, "\x1b[31m"])
def test_an_account_that_is_none_is_refused(account):
    with pytest.raises(InvalidConfigError, match="is no account id") as refused:
        made(account=account)
    assert str(refused.value).isprintable()


def test_an_endpoint_does_not_change():
    with pytest.raises(dataclasses.FrozenInstanceError):
        made().api_key = "other"


@pytest.mark.parametrize(
    ("host", "here"),
    [
        ("https://localhost", True),
        ("https://127.0.0.1", True),
        ("https://[::1]", True),
        ("https://api.fireworks.ai", False),
        ("https://localhost.example", False),
        ("https://10.0.0.1", False),
    ],
)
def test_what_is_this_machine(host, here):
    assert made(host).is_loopback is here


def test_requests_come_with_a_user_agent_of_their_own():
    assert HEADERS["User-Agent"] == f"airflow-provider-fireworks/{__version__}"
