"""The arguments of the model tasks."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import Field, model_validator

from airflow_provider_fireworks.arguments.base import (
    Listed,
    WaitingArguments,
    check_literal,
    refusing,
    several,
)
from airflow_provider_fireworks.client.names import split_model
from airflow_provider_fireworks.client.precision import check_precision


def check_literals(
    *, model: Any, precision: Any, accept_precisions: Any, allow_unknown_precision: Any
) -> None:
    """
    Refuse what is wrong in the DAG file itself; templates and outputs of other tasks are left for later.

    :raises FireworksInvalidArgument: which Airflow shows as an import error of the DAG.
    """
    with refusing():
        check_literal(model, split_model)
        if allow_unknown_precision is False:
            for each in [*several(precision), *several(accept_precisions)]:
                check_literal(each, check_precision)


class ModelArguments(WaitingArguments):
    """
    The rendered arguments of a model task.

    :ivar precision: one or more, as the gateway spells them.
    """

    model: str
    precision: Annotated[Listed, Field(min_length=1)]
    accept_precisions: Listed = Field(default_factory=list)
    allow_unknown_precision: bool = False
    require_confirmation: bool = False
    wait_for_completion: bool = False

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
