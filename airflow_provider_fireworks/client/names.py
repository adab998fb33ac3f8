"""Resource names (``accounts/{account}/models/{model}``), parsed and checked before anything is sent."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from pydantic_core import core_schema

from airflow_provider_fireworks.client.text import one_line

if TYPE_CHECKING:
    from typing_extensions import Self

_ID = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?", re.ASCII)
_ID_RULE = "1 to 63 of a-z, 0-9 and '-', and no '-' at either end"


class InvalidNameError(ValueError):
    """An id or a resource name is invalid, for example because it would change the path of a request."""


def check_id(value: object, what: str) -> str:
    """
    Return an id unchanged.

    :param what: the kind of id, for the message (``"model id"``).
    :raises InvalidNameError: unless it is 1 to 63 of ``[a-z0-9-]``, with no hyphen at either end.
    """
    if isinstance(value, str) and _ID.fullmatch(value):
        return value
    raise InvalidNameError(f"Invalid {what} {_shown(value)}: use {_ID_RULE}.")


@dataclass(frozen=True)
class ResourceName:
    """
    A full resource name, whose parts are checked: it can be put into the path of a request.

    As a field of a pydantic model it is parsed from text, and written to JSON as text.

    :ivar kind: ``"model"``, ``"deployment"`` or ``"router"``.
    :ivar account: the account id.
    :ivar id: the id of the model, the deployment or the router.
    :raises InvalidNameError: if the account or the id is invalid.
    """

    kind: ClassVar[str]
    account: str
    id: str

    def __post_init__(self) -> None:
        check_id(self.account, "account id")
        check_id(self.id, f"{self.kind} id")

    def __str__(self) -> str:
        return f"accounts/{self.account}/{self.kind}s/{self.id}"

    @classmethod
    def account_in(cls, name: object) -> str | None:
        """
        Return the account that a name is written with, ``None`` for a bare id.

        :param name: ``my-model`` or ``accounts/my-account/models/my-model``.
        :raises InvalidNameError: if it is neither, or if a part of it is invalid, such as ``..``.
        """
        account, resource_id = cls._split(name)
        check_id(resource_id, f"{cls.kind} id")
        return None if account is None else check_id(account, "account id")

    @classmethod
    def parse(cls, name: object, *, account: str | None = None) -> Self:
        """
        Parse a name as users write it.

        :param name: an id or a full resource name.
        :param account: the account of a bare id. A full name must belong to it; ``None`` allows any account.
        :raises InvalidNameError: if the name or the account is invalid, a bare id comes without an account, or a full
            name belongs to another account.
        """
        named, resource_id = cls._split(str(name) if isinstance(name, cls) else name)
        owner = named if account is None else account
        if owner is None:
            raise InvalidNameError(f"The {cls.kind} id {_shown(resource_id)} needs an account.")
        parsed = cls(owner, resource_id)
        if named not in (None, owner):
            raise InvalidNameError(
                f"{_shown(name)} belongs to account {_shown(named)}, but {owner!r} is expected."
            )
        return parsed

    @classmethod
    def _split(cls, name: object) -> tuple[str | None, str]:
        """Return account and id, neither of them checked."""
        if isinstance(name, str) and name and "/" not in name:
            return None, name
        parts = name.split("/") if isinstance(name, str) else []
        if len(parts) != 4 or parts[0] != "accounts" or parts[2] != f"{cls.kind}s":
            raise InvalidNameError(
                f"Invalid {cls.kind} {_shown(name)}: use its id or accounts/<account>/{cls.kind}s/<{cls.kind}>."
            )
        return parts[1], parts[3]

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: Any) -> core_schema.CoreSchema:
        return core_schema.no_info_plain_validator_function(
            cls.parse, serialization=core_schema.to_string_ser_schema()
        )


class ModelName(ResourceName):
    """The full resource name of a model: ``accounts/{account}/models/{model}``."""

    kind = "model"


class DeploymentName(ResourceName):
    """The full resource name of a deployment: ``accounts/{account}/deployments/{deployment}``."""

    kind = "deployment"


class RouterName(ResourceName):
    """The full resource name of a router: ``accounts/{account}/routers/{router}``."""

    kind = "router"


def _shown(value: object) -> str:
    # Escaped and cut: the value may be anything, and it goes into a log.
    return one_line(repr(value), limit=200)
