"""Where the gateway is and how it is spoken to: the base URL, the key, the headers and the limits."""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from airflow_provider_fireworks import __version__
from airflow_provider_fireworks.client.names import InvalidNameError, check_id

DEFAULT_BASE_URL = "https://api.fireworks.ai"
CONNECT_TIMEOUT = 5.0
"""Seconds until a connection must stand."""
READ_TIMEOUT = 60.0
"""Seconds of silence until an answer counts as lost."""
ANSWER_TIMEOUT = 120.0
"""Seconds until an answer must be there as a whole: one that trickles is never silent for long."""
LARGEST_ANSWER = 16 * 1024 * 1024
"""Bytes of an answer's body, unpacked, beyond which it counts as unreadable. A full page of a list has some 1 %."""
HEADERS = {
    "Accept": "application/json",
    # What the transports unpack themselves, bit by bit, so that a small answer cannot become a huge one.
    "Accept-Encoding": "gzip",
    # A firewall before the gateway answers 403 to the user agents of Python's libraries.
    "User-Agent": f"airflow-provider-fireworks/{__version__}",
}


class InvalidEndpointError(ValueError):
    """A base URL or a key that cannot be used. The key itself is never part of the message."""


_PLAIN = re.compile(r"[A-Za-z0-9._~:/-]*")


@dataclass(frozen=True)
class Endpoint:
    """
    A gateway and the key to it.

    :ivar base_url: scheme, host, port and path prefix, with no slash at its end.
    :ivar api_key: not part of the ``repr``.
    :ivar account: the account of model ids that name none, ``None`` to find it out from the key.
    """

    base_url: str
    api_key: str = field(repr=False)
    account: str | None = None

    @classmethod
    def make(
        cls,
        *,
        host: str | None,
        api_key: str | None,
        account: str | None = None,
        schema: str | None = None,
        port: int | None = None,
    ) -> Endpoint:
        """
        Make one of what a connection holds; a scheme, port and path are understood in ``host`` as well.

        :param host: a host or a whole base URL; unset means ``https://api.fireworks.ai``.
        :param api_key: the bearer token.
        :param account: the account id, if it is known.
        :param schema: ``https`` unless said otherwise, here or in ``host``.
        :param port: where it is not the scheme's own and not in ``host``.
        :raises InvalidEndpointError: without a key, for a key that cannot stand in a header, for an account or a
            URL that is none, and for plain http to anything but this machine: it would show the key to the network.
        """
        key = (api_key or "").strip()
        if not key:
            raise InvalidEndpointError("there is no API key")
        if not key.isascii() or not key.isprintable() or " " in key:
            raise InvalidEndpointError(
                "the API key has characters that no key has (blanks, line ends, non-ASCII)"
            )
        account = (account or "").strip() or None
        if account is not None:
            try:
                check_id(account, "account id")
            except InvalidNameError as error:
                raise InvalidEndpointError(str(error).rstrip(".")) from None
        return cls(_base_url(host, schema, port), key, account)

    @property
    def is_loopback(self) -> bool:
        """Whether the gateway is on this machine; proxies are passed by then."""
        return _is_loopback(urlsplit(self.base_url).hostname or "")

    def url(self, path: str) -> str:
        """Return the URL of a call's path."""
        return f"{self.base_url}/{path}"

    def hide_key(self, text: str) -> str:
        """Return a text without the key: nothing the gateway or a library says may carry it further."""
        text = text.replace(self.api_key, "***")
        # It may stand where the text was cut.
        for length in range(len(self.api_key) - 1, 3, -1):
            text = text.replace(f"{self.api_key[:length]}…", "***…")
        return text


def _base_url(host: str | None, schema: str | None, port: int | None) -> str:
    host, schema = (host or "").strip(), (schema or "").strip().removesuffix("://").lower()
    if not host:
        return DEFAULT_BASE_URL
    if "@" in host:
        # Not shown: what stands before it may be the key.
        raise InvalidEndpointError(
            "the base URL holds a user name or password; the key goes into the password field"
        )
    try:
        parts = urlsplit(host if "://" in host else f"{schema or 'https'}://{host}")
        in_host = parts.port
    except ValueError as error:
        raise InvalidEndpointError(f"the base URL {host!r} cannot be read: {error}") from None
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.query or parts.fragment:
        raise InvalidEndpointError(f"{host!r} is no base URL; it should look like {DEFAULT_BASE_URL}")
    # requests rewrites %7E and dots to what the adapter that has the key would not be asked for.
    if not _PLAIN.fullmatch(f"{parts.hostname}{parts.path}") or {".", ".."} & set(parts.path.split("/")):
        raise InvalidEndpointError(f"the base URL {host!r} has characters that none has")
    if parts.scheme == "http" and not _is_loopback(parts.hostname):
        raise InvalidEndpointError(
            f"{host!r} is plain http, which would show the API key to the network; only https will do, or http "
            "to this machine itself (localhost, 127.0.0.1)"
        )
    name = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    number = in_host or port
    return f"{parts.scheme}://{name}" + (f":{number}" if number else "") + parts.path.rstrip("/")


def _is_loopback(hostname: str) -> bool:
    if hostname == "localhost":
        return True
    try:
        return ipaddress.ip_address(hostname).is_loopback
    except ValueError:
        return False
