"""The base URL and the API key, checked before they are used."""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from airflow_provider_fireworks import __version__
from airflow_provider_fireworks.client.names import InvalidNameError, check_id
from airflow_provider_fireworks.timing import DEFAULT_TIMING, Timing

DEFAULT_BASE_URL = "https://api.fireworks.ai"
HEADERS = {
    "Accept": "application/json",
    # The one encoding that the clients decompress themselves, piece by piece: a small response cannot become huge.
    "Accept-Encoding": "gzip",
    # A firewall in front of the API answers 403 to the user agents of Python's libraries.
    "User-Agent": f"airflow-provider-fireworks/{__version__}",
}

_URL_CHARACTERS = re.compile(r"[A-Za-z0-9._~:/-]*")
_LIKE_A_KEY = re.compile(r"fw_[A-Za-z0-9]", re.IGNORECASE)
"""Fireworks' keys begin with ``fw_``."""


class InvalidConfigError(ValueError):
    """A base URL, a key or an account that is invalid. The key itself is never part of the message."""


@dataclass(frozen=True)
class ClientConfig:
    """
    What a client needs to send requests.

    :ivar base_url: scheme, host, port and path prefix, without a slash at the end.
    :ivar api_key: the bearer token. It is not part of the ``repr``.
    :ivar account: the account of bare ids, ``None`` to look it up from the key.
    :ivar timing: the timeouts and retry delays of the client.
    :ivar requests_per_minute: the most that a triggerer polls over the connection; ``None`` for no limit of its own.
    """

    base_url: str
    api_key: str = field(repr=False)
    account: str | None = None
    timing: Timing = DEFAULT_TIMING
    requests_per_minute: int | None = None

    @classmethod
    def make(
        cls,
        *,
        host: str | None,
        api_key: str | None,
        account: str | None = None,
        schema: str | None = None,
        port: int | None = None,
        timing: Timing = DEFAULT_TIMING,
        requests_per_minute: object = None,
    ) -> ClientConfig:
        """
        Make a configuration from the fields of a connection, in which blanks around a value are ignored.

        :param host: a host or a base URL, which may have a scheme, a port and a path; unset means
            ``https://api.fireworks.ai``.
        :param api_key: the bearer token.
        :param account: the account id; unset means that it is looked up from the key.
        :param schema: used unless ``host`` has one; ``https`` if both are unset.
        :param port: used unless ``host`` has one.
        :param timing: the timeouts and retry delays of the client.
        :param requests_per_minute: a whole number, also as text; unset means no limit.
        :raises InvalidConfigError: if the key is missing or cannot be sent in a header, if the account, the URL or the
            limit is invalid, or if the URL is plain http to another machine, which would show the key to the network.
        """
        key = (api_key or "").strip()
        if not key:
            raise InvalidConfigError("there is no API key")
        if not key.isascii() or not key.isprintable() or " " in key:
            raise InvalidConfigError(
                "the API key has characters that no key has (blanks, line ends, non-ASCII)"
            )
        account = (account or "").strip() or None
        if account is not None:
            try:
                check_id(account, "account id")
            except InvalidNameError as error:
                if _may_hold_key(account, key):
                    raise InvalidConfigError(
                        "the account id seems to be an API key; the key goes into the password field"
                    ) from None
                # The hook puts the message into the middle of a sentence.
                raise InvalidConfigError(str(error).rstrip(".").replace("Invalid", "invalid", 1)) from None
        try:
            base_url = _base_url(host, schema, port)
        except InvalidConfigError:
            if _may_hold_key(host or "", key):
                raise InvalidConfigError(
                    "the base URL is invalid and seems to hold an API key; the key goes into the password field"
                ) from None
            raise
        return cls(base_url, key, account, timing, _requests_per_minute(requests_per_minute))

    @property
    def is_loopback(self) -> bool:
        """Whether the base URL is on this machine, so that no proxy is used."""
        return is_loopback_host(urlsplit(self.base_url).hostname or "")

    def url(self, path: str) -> str:
        """Return the URL of a path, which has no leading slash."""
        return f"{self.base_url}/{path}"

    def hide_key(self, text: str) -> str:
        """Return a text with every occurrence of the key replaced by ``***``."""
        text = text.replace(self.api_key, "***")
        # one_line() may have cut the text in the middle of the key.
        for length in range(len(self.api_key) - 1, 3, -1):
            text = text.replace(f"{self.api_key[:length]}…", "***…")
        return text


def _requests_per_minute(value: object) -> int | None:
    # A connection that is written as a URI has it as text.
    text = "" if value is None else str(value).strip()
    if not text:
        return None
    if not (text.isascii() and text.isdigit()) or not 0 < int(text[:9]) <= 1_000_000:
        # Not shown, as it may hold the key.
        raise InvalidConfigError("requests_per_minute is not a whole number from 1 to 1000000")
    return int(text)


def _may_hold_key(value: str, key: str) -> bool:
    """Return whether a field may hold the key by mistake, so that it must not be shown."""
    return key in value or _LIKE_A_KEY.search(value) is not None


def _base_url(host: str | None, schema: str | None, port: int | None) -> str:
    host, schema = (host or "").strip(), (schema or "").strip().removesuffix("://").lower()
    if not host:
        return DEFAULT_BASE_URL
    # Not shown, as they may hold the key.
    if "@" in host:
        raise InvalidConfigError(
            "the base URL holds a user name or password; the key goes into the password field"
        )
    if "?" in host or "#" in host:
        raise InvalidConfigError(
            f"the base URL has a query or a fragment; it should look like {DEFAULT_BASE_URL}"
        )
    try:
        parts = urlsplit(host if "://" in host else f"{schema or 'https'}://{host}")
        in_host = parts.port
    except ValueError as error:
        raise InvalidConfigError(f"the base URL {host!r} is invalid: {error}") from None
    is_key = _LIKE_A_KEY.match(parts.hostname or "") is not None
    if parts.scheme not in ("http", "https") or not parts.hostname or is_key:
        raise InvalidConfigError(f"the base URL {host!r} is invalid; it should look like {DEFAULT_BASE_URL}")
    # requests normalizes "%7E" and "..", and would then not find the adapter that adds the key.
    if not _URL_CHARACTERS.fullmatch(f"{parts.hostname}{parts.path}") or {".", ".."} & set(
        parts.path.split("/")
    ):
        raise InvalidConfigError(f"the base URL {host!r} has characters that are not allowed in it")
    if parts.scheme == "http" and not is_loopback_host(parts.hostname):
        raise InvalidConfigError(
            f"the base URL {host!r} is plain http, which would show the API key to the network; use https, or http to "
            "this machine only (localhost, 127.0.0.1)"
        )
    name = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    number = in_host or port
    return f"{parts.scheme}://{name}" + (f":{number}" if number else "") + parts.path.rstrip("/")


def is_loopback_host(hostname: str) -> bool:
    """Whether a host name or an address is this machine's own."""
    if hostname == "localhost":
        return True
    try:
        return ipaddress.ip_address(hostname).is_loopback
    except ValueError:
        return False
