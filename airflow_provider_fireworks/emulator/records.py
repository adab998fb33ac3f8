"""What the emulator remembers of what it was asked, for tests to look at."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

#: Headers that may carry a secret: they are never kept.
_SECRET_HEADERS = frozenset({"authorization", "cookie", "proxy-authorization", "x-api-key"})


@dataclass
class ReceivedRequest:
    """
    One request to the API. Those to the emulator's own admin path are not recorded.

    :param method: ``GET``, ``POST``, ``PATCH``, ``DELETE``, …
    :param path: as it was sent, without the query.
    :param query: the query's parameters; the last one of those given twice.
    :param body: the JSON that was sent, the bare text if it was no JSON, ``None`` if nothing.
    :param at: when it arrived, in seconds since 1970.
    :param user_agent: the header of that name, ``""`` if there was none.
    :param headers: its headers, names in lower case, without any that carries a secret.
    :param status: the HTTP status of the answer; ``None`` as long as there is none.
    :param fault: the kind of the fault that it met.
    """

    method: str
    path: str
    query: dict[str, str]
    body: Any
    at: float
    user_agent: str = ""
    headers: dict[str, str] = field(default_factory=dict)
    status: int | None = None
    fault: str | None = None


@dataclass(frozen=True)
class AcceptedPreparation:
    """
    One prepare that was accepted as a new preparation (not as a repetition of one).

    :param account: the account's id.
    :param model: the model's id.
    :param precision: the precision's name.
    :param at: when it was accepted, in seconds since 1970.
    :param outcome: how it ends, a value of :attr:`Options.outcome`.
    """

    account: str
    model: str
    precision: str
    at: float
    outcome: str


@dataclass(frozen=True)
class CreatedDeployment:
    """
    One create of a deployment that was accepted.

    :param account: the account's id.
    :param deployment: the deployment's id.
    :param base_model: the full name of its model.
    :param precision: the deployment's precision, ``PRECISION_UNSPECIFIED`` where neither the request nor the
        shape has one.
    :param at: when it was accepted, in seconds since 1970.
    """

    account: str
    deployment: str
    base_model: str
    precision: str
    at: float


def without_secrets(headers: Mapping[str, str]) -> dict[str, str]:
    """Return the headers that may be shown."""
    return {name: value for name, value in headers.items() if name not in _SECRET_HEADERS}
