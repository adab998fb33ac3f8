"""
The gateway's resources, as far as this package reads them.

Every shape is lenient: what it does not know it keeps, and what is missing or ``null`` is unset. States and
status codes are open strings, since the gateway sends more of them than its schemas name.
"""

from __future__ import annotations

from typing import Generic, TypeVar

from pydantic import BaseModel, ConfigDict, Field
from pydantic.alias_generators import to_camel


class Shape(BaseModel):
    """JSON as the gateway sends it: camelCase, with fields that this package has never heard of."""

    model_config = ConfigDict(
        alias_generator=to_camel, populate_by_name=True, extra="allow", frozen=True, protected_namespaces=()
    )


class Status(Shape):
    """
    How the last operation on a resource ended.

    :ivar code: the name of a status code (``"OK"``, ``"INTERNAL"``), or its number.
    """

    code: str | int | None = None
    message: str | None = None

    @property
    def bad(self) -> bool:
        """Whether it tells of a failure; unset is none."""
        return self.code not in (None, "", "OK", 0, "0")

    def __str__(self) -> str:
        return f"{self.code or 'OK'}: {self.message}" if self.message else str(self.code or "OK")


class BaseModelDetails(Shape):
    """What is told of a base model beside the resource itself."""

    default_precision: str | None = None


class Model(Shape):
    """
    A model, from ``GET /v1/accounts/{account}/models/{model}``.

    :ivar state: ``UPLOADING``, ``READY``, ``PREPARING``, ``FAILED`` or one that is yet to be heard of.
    :ivar calibrated: whether it can be deployed at precisions other than FP16.
    :ivar supported_precisions: what it can be deployed at; ``None`` where the gateway leaves the list out, as
        newer schemas do.
    :ivar supported_precisions_with_calibration: the same, once it is calibrated.
    """

    name: str = ""
    state: str | None = None
    status: Status | None = None
    update_time: str | None = None
    calibrated: bool | None = None
    supported_precisions: list[str] | None = None
    supported_precisions_with_calibration: list[str] | None = None
    base_model_details: BaseModelDetails | None = None

    @property
    def lists_precisions(self) -> bool:
        """Whether the gateway speaks of precisions at all: an empty list is an unset one."""
        return bool(self.supported_precisions or self.supported_precisions_with_calibration)


class Account(Shape):
    """An account that the API key opens."""

    name: str = ""
    display_name: str | None = None

    @property
    def account_id(self) -> str:
        """The id behind ``accounts/``."""
        return self.name.removeprefix("accounts/")


ItemT = TypeVar("ItemT")


class Page(BaseModel, Generic[ItemT]):
    """
    One page of a list.

    :ivar next_page_token: ``""`` on the last page.
    """

    items: list[ItemT] = Field(default_factory=list)
    next_page_token: str = ""
