"""The arguments of the model tasks: literals are checked when a DAG is parsed, all of them when they are rendered."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator

from airflow_provider_fireworks.exceptions import FireworksInvalidArgument
from airflow_provider_fireworks.gateway.names import split_model
from airflow_provider_fireworks.gateway.precision import check_precision


def check_literals(
    *, model: Any, precision: Any, accept_precisions: Any, allow_unknown_precision: Any
) -> None:
    """
    Refuse what is wrong in the DAG file itself; templates and outputs of other tasks are left for later.

    :raises FireworksInvalidArgument: which Airflow shows as an import error of the DAG.
    """
    try:
        if _is_literal(model):
            split_model(model)
        if allow_unknown_precision is False:
            for each in [*_several(precision), *_several(accept_precisions)]:
                if _is_literal(each):
                    check_precision(each)
    except ValueError as error:
        raise FireworksInvalidArgument(str(error)) from None


def _is_literal(value: Any) -> bool:
    return isinstance(value, str) and "{{" not in value and "{%" not in value


def _several(value: Any) -> Sequence[Any]:
    return value if isinstance(value, (list, tuple)) else [value]


def _listed(value: Any) -> Any:
    return list(_several(value)) if isinstance(value, (str, list, tuple)) else value


def _seconds(value: Any) -> Any:
    return value.total_seconds() if isinstance(value, timedelta) else value


Seconds = Annotated[float, BeforeValidator(_seconds), Field(ge=0, allow_inf_nan=False)]


class ModelArguments(BaseModel):
    """
    The rendered arguments, checked and of the right types: a template renders to text, and so ``"600"`` is a number.

    :ivar precision: one or more, as the gateway spells them.
    """

    model_config = ConfigDict(extra="forbid")

    model: str
    precision: Annotated[list[str], BeforeValidator(_listed), Field(min_length=1)]
    accept_precisions: Annotated[list[str], BeforeValidator(_listed)] = []
    allow_unknown_precision: bool = False
    require_proof: bool = False
    deferrable: bool = False
    wait_for_completion: bool = False
    poll_interval: Seconds
    timeout: Seconds
    account_id: str | None = None
    fireworks_conn_id: str | None = None

    @model_validator(mode="after")
    def _check(self) -> ModelArguments:
        split_model(self.model)
        for precision in [*self.precision, *self.accept_precisions]:
            check_precision(precision, allow_unknown=self.allow_unknown_precision)
        if self.accept_precisions and len(self.precision) > 1:
            raise ValueError(
                "accept_precisions goes with one precision; of several it would not be clear which one it stands for"
            )
        return self

    @classmethod
    def check(cls, **arguments: Any) -> ModelArguments:
        """
        Check rendered arguments.

        :raises FireworksInvalidArgument: naming each that is wrong; nothing has been sent.
        """
        try:
            return cls(**arguments)
        except ValidationError as error:
            raise FireworksInvalidArgument("; ".join(map(_told, error.errors()))) from None


def _told(problem: Any) -> str:
    message = problem["msg"].removeprefix("Value error, ")
    place = ".".join(map(str, problem["loc"]))
    return f"{place}: {message}, not {problem['input']!r}" if place else message
