from __future__ import annotations

import dataclasses

import pytest
from hypothesis import given, strategies as st

from airflow_provider_fireworks import __version__
from airflow_provider_fireworks.client.config import HEADERS, ClientConfig, InvalidConfigError

KEY = "fw_secret123"


def make(
    host: str | None = None, *, schema: str | None = None, port: int | None = None, **others
) -> ClientConfig:
    return ClientConfig.make(**{"host": host, "schema": schema, "port": port, "api_key": KEY} | others)


# ---- base URL


@pytest.mark.parametrize(
    ("host", "schema", "port", "base_url"),
    [
        pytest.param(None, None, None, "https://api.fireworks.ai", id="unset"),
        pytest.param("  ", "", None, "https://api.fireworks.ai", id="blanks"),
        pytest.param("us.api.fireworks.ai", None, None, "https://us.api.fireworks.ai", id="host"),
        pytest.param("https://us.api.fireworks.ai", None, None, "https://us.api.fireworks.ai", id="URL"),
        pytest.param(
            "https://us.api.fireworks.ai/", None, None, "https://us.api.fireworks.ai", id="trailing slash"
        ),
        pytest.param(" https://h.example \n", None, None, "https://h.example", id="surrounding blanks"),
        pytest.param("HTTPS://H.Example", None, None, "https://h.example", id="capitals"),
        pytest.param("h.example:8443", None, None, "https://h.example:8443", id="port in host"),
        pytest.param("https://h.example:8443", None, None, "https://h.example:8443", id="port in URL"),
        pytest.param("h.example", None, 8443, "https://h.example:8443", id="port in its field"),
        pytest.param("h.example:1", None, 2, "https://h.example:1", id="port in host wins"),
        pytest.param("h.example", "https", None, "https://h.example", id="scheme in its field"),
        pytest.param("h.example", "https://", None, "https://h.example", id="scheme with slashes"),
        pytest.param("https://h.example", "http", None, "https://h.example", id="scheme in URL wins"),
        pytest.param("h.example/fw/v2/", None, None, "https://h.example/fw/v2", id="path in host"),
        pytest.param("https://h.example:1/fw", None, None, "https://h.example:1/fw", id="port and path"),
        pytest.param(
            "h.example/fw", "https", 1, "https://h.example:1/fw", id="path in host, port in its field"
        ),
        pytest.param(
            "localhost:8080", "http", None, "http://localhost:8080", id="localhost, scheme in its field"
        ),
        pytest.param("http://localhost", None, 8080, "http://localhost:8080", id="localhost, scheme in URL"),
        pytest.param("http://LOCALHOST:1", None, None, "http://localhost:1", id="localhost in capitals"),
        pytest.param("http://127.0.0.1:1", None, None, "http://127.0.0.1:1", id="127.0.0.1"),
        pytest.param("http://127.9.9.9", None, None, "http://127.9.9.9", id="other loopback address"),
        pytest.param("http://[::1]:1/x", None, None, "http://[::1]:1/x", id="::1"),
        pytest.param("[::1]", "http", 9, "http://[::1]:9", id="::1 in three fields"),
        pytest.param("https://[2001:db8::1]", None, None, "https://[2001:db8::1]", id="IPv6"),
    ],
)
def test_base_url_is_built_from_any_field(host, schema, port, base_url):
    config = make(host, schema=schema, port=port)
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
def test_plain_http_to_another_machine_is_rejected(host, schema):
    with pytest.raises(InvalidConfigError) as rejected:
        make(host, schema=schema)
    assert KEY not in str(rejected.value)


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
def test_invalid_base_url_is_rejected(host):
    with pytest.raises(InvalidConfigError):
        make(host)


def test_invalid_scheme_in_its_field_is_rejected():
    with pytest.raises(InvalidConfigError):
        make("h.example", schema="ftp")


@pytest.mark.parametrize(
    "host",
    [
        pytest.param(f"https://user:{KEY}@h.example", id="valid otherwise"),
        pytest.param(f"http://user:{KEY}@h.example", id="plain http"),
        pytest.param(f"https://user:{KEY}@h.example:port", id="invalid port"),
        pytest.param(f"https://user:{KEY}@h.example?x=1", id="query"),
        pytest.param(f"ftp://user:{KEY}@h.example", id="other scheme"),
    ],
)
def test_key_in_base_url_is_rejected_and_not_shown(host):
    with pytest.raises(InvalidConfigError) as rejected:
        make(host)
    assert KEY not in str(rejected.value)


@pytest.mark.parametrize(
    "host",
    [
        pytest.param(f"http://h.example/{KEY}", id="path"),
        pytest.param(f"https://h.example/?key={KEY}", id="query"),
        pytest.param("https://h.example/?key=other_secret", id="query with another key"),
        pytest.param("https://h.example/#other_secret", id="fragment"),
        pytest.param(f"https://h.example:{KEY}", id="port"),
        pytest.param(f"{KEY}!", id="invalid characters"),
        pytest.param("fw_other_secret", id="another key as the host"),
        pytest.param("FW_OTHER_SECRET", id="another key in capitals"),
        pytest.param("http://h.example/fw_other_secret", id="another key in the path"),
    ],
)
def test_invalid_base_url_that_may_hold_a_key_is_not_shown(host):
    with pytest.raises(InvalidConfigError) as rejected:
        make(host)
    assert KEY not in str(rejected.value)
    assert "other_secret" not in str(rejected.value).lower()


def test_valid_path_that_looks_like_a_key_is_accepted():
    assert make("https://h.example/fw_proxy").base_url == "https://h.example/fw_proxy"


@given(
    host=st.text(max_size=30) | st.text(alphabet="htps:/[]@.?#1a%\\", max_size=20),
    schema=st.none() | st.text(max_size=5) | st.sampled_from(["http", "https"]),
    port=st.none() | st.integers(0, 65535),
)
def test_any_text_makes_a_safe_base_url_or_is_rejected(host, schema, port):
    try:
        config = make(host, schema=schema, port=port)
    except InvalidConfigError:
        return
    assert config.base_url.startswith("https://") or config.is_loopback
    assert not config.base_url.endswith("/")


# ---- key and account


@pytest.mark.parametrize("key", [None, "", "  ", "\n"])
def test_missing_key_is_rejected(key):
    with pytest.raises(InvalidConfigError, match="there is no API key"):
        make(api_key=key)


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
def test_key_that_fits_no_header_is_rejected_and_not_shown(key):
    with pytest.raises(InvalidConfigError) as rejected:
        make(api_key=key)
    for part in (key, repr(key), *key.split()):
        assert part not in str(rejected.value)


@given(st.text(min_size=1))
def test_accepted_key_fits_a_header(key):
    try:
        accepted = make(api_key=key).api_key
    except InvalidConfigError:
        return
    assert accepted
    assert all(0x21 <= ord(character) <= 0x7E for character in accepted)


def test_blanks_around_key_and_account_are_stripped():
    config = make(api_key=f" {KEY}\n", account=" demo ")
    assert (config.api_key, config.account) == (KEY, "demo")
    assert make(account=" ").account is None


def test_repr_and_hide_key_omit_the_key():
    config = make(account="demo")
    for text in (repr(config), str(config), f"{config}", repr([config])):
        assert KEY not in text
        assert "demo" in text
    assert config.hide_key(f"a {KEY} b{KEY}") == "a *** b***"


def test_hide_key_finds_a_key_that_was_cut():
    config = make()
    for length in range(4, len(KEY)):
        assert config.hide_key(f"a {KEY} {KEY[:length]}… b") == "a *** ***… b"
    assert config.hide_key("a …") == "a …"
    assert config.hide_key(f"{KEY[:8]} b…") == f"{KEY[:8]} b…"


@pytest.mark.parametrize("account", ["../x", "a/b", "a\r\nb", "A", "a b", "x" * 64, "\x1b[31m"])
def test_invalid_account_is_rejected(account):
    with pytest.raises(InvalidConfigError, match=r"^invalid account id") as rejected:
        make(account=account)
    assert str(rejected.value).isprintable()


@pytest.mark.parametrize(
    ("account", "key"), [(KEY, KEY), ("fw_other_secret", KEY), ("A_other_secret", "other_secret")]
)
def test_key_as_the_account_is_rejected_and_not_shown(account, key):
    with pytest.raises(InvalidConfigError, match="password field") as rejected:
        make(account=account, api_key=key)
    assert "secret" not in str(rejected.value)


def test_config_is_immutable():
    with pytest.raises(dataclasses.FrozenInstanceError):
        make().api_key = "other"


@pytest.mark.parametrize(
    ("host", "is_loopback"),
    [
        ("https://localhost", True),
        ("https://127.0.0.1", True),
        ("https://[::1]", True),
        ("https://api.fireworks.ai", False),
        ("https://localhost.example", False),
        ("https://10.0.0.1", False),
    ],
)
def test_is_loopback_recognizes_this_machine(host, is_loopback):
    assert make(host).is_loopback is is_loopback


def test_user_agent_names_the_package_and_its_version():
    assert HEADERS["User-Agent"] == f"airflow-provider-fireworks/{__version__}"


# ---- requests per minute


@pytest.mark.parametrize(
    ("value", "limit"), [(None, None), ("", None), (" ", None), (10, 10), ("10", 10), (" 6000\n", 6000)]
)
def test_requests_per_minute_is_a_number_or_text(value, limit):
    assert make(requests_per_minute=value).requests_per_minute == limit


@pytest.mark.parametrize(
    "value", [0, -1, "-1", "0", 1.5, "ten", "1e3", "١٠", True, [], {}, 10**9, "9" * 5000, KEY], ids=repr
)
def test_invalid_requests_per_minute_are_rejected_and_not_shown(value):
    with pytest.raises(InvalidConfigError, match="requests_per_minute is not a whole number") as rejected:
        make(requests_per_minute=value)
    assert KEY not in str(rejected.value)
