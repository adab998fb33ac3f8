"""The arguments of the deployment tasks."""

from __future__ import annotations

import json
from typing import Annotated, Any

from pydantic import Field, model_validator
from pydantic.alias_generators import to_camel

from airflow_provider_fireworks.arguments.base import (
    Arguments,
    Listed,
    Seconds,
    WaitingArguments,
    check_literal,
    is_literal,
    refusing,
)
from airflow_provider_fireworks.client.names import check_id, split_deployment, split_model
from airflow_provider_fireworks.client.precision import check_precision

Count = Annotated[int, Field(ge=0)]

# What an argument or the operator itself sets. The description carries the task's signature.
_NOT_EXTRA = {
    "baseModel": "model",
    "precision": "precision",
    "acceleratorType": "accelerator_type",
    "acceleratorCount": "accelerator_count",
    "deploymentShape": "deployment_shape",
    "minReplicaCount": "min_replica_count",
    "maxReplicaCount": "max_replica_count",
    "displayName": "display_name",
    "deploymentId": "deployment_id",
    "name": "deployment_id",
    "description": None,
}


def check_create_literals(
    *,
    model: Any,
    precision: Any,
    deployment_id: Any,
    accelerator_type: Any,
    accelerator_count: Any,
    deployment_shape: Any,
    min_replica_count: Any,
    max_replica_count: Any,
    display_name: Any,
    extra_spec: Any,
) -> None:
    """
    Refuse what is wrong in the DAG file itself; templates and outputs of other tasks are left for later.

    :raises FireworksInvalidArgument: which Airflow shows as an import error of the DAG.
    """
    with refusing():
        check_literal(model, split_model)
        check_literal(precision, lambda value: check_precision(value, allow_unknown=True))
        check_literal(deployment_id, lambda value: check_id(value, "deployment_id"))
        _check_hardware(accelerator_type, accelerator_count, deployment_shape)
        for name, count in (
            ("accelerator_count", accelerator_count),
            ("min_replica_count", min_replica_count),
            ("max_replica_count", max_replica_count),
        ):
            if is_literal(count):
                _check_count(name, count)
        if is_literal(min_replica_count) and is_literal(max_replica_count):
            _check_range(int(min_replica_count), int(max_replica_count))
        check_literal(display_name, _check_display_name)
        if isinstance(extra_spec, dict):
            _check_extra(extra_spec)


def check_deployment_literals(deployment: Any) -> None:
    """
    Refuse a deployment that is none, if it stands in the DAG file itself.

    :raises FireworksInvalidArgument: which Airflow shows as an import error of the DAG.
    """
    with refusing():
        check_literal(deployment, split_deployment)


def check_scale_literals(deployment: Any, replica_count: Any) -> None:
    """
    Refuse what makes no sense, if it stands in the DAG file itself.

    :raises FireworksInvalidArgument: which Airflow shows as an import error of the DAG.
    """
    with refusing():
        check_literal(deployment, split_deployment)
        if is_literal(replica_count):
            _check_count("replica_count", replica_count)


def check_which(deployment: Any, created_by: Any) -> None:
    """
    Refuse a deletion that does not say what it is to delete, or says it twice.

    :raises FireworksInvalidArgument: which Airflow shows as an import error of the DAG.
    """
    with refusing():
        _check_one_of(deployment, created_by)
        check_literal(deployment, split_deployment)


class CreateArguments(WaitingArguments):
    """
    The rendered arguments of :class:`FireworksCreateDeploymentOperator`.

    :ivar extra_spec: further fields of the deployment, as the gateway spells them.
    """

    model: str
    precision: str | None = None
    deployment_id: str | None = None
    accelerator_type: Annotated[str, Field(min_length=1)] | None = None
    accelerator_count: Annotated[int, Field(ge=1)] | None = None
    deployment_shape: Annotated[str, Field(min_length=1)] | None = None
    min_replica_count: Count | None = None
    max_replica_count: Count | None = None
    display_name: str | None = None
    extra_spec: dict[str, Any] | None = None
    wait_for_completion: bool = True
    wait_for_inference: bool = False
    delete_on_failure: bool = True
    delete_on_kill: bool | None = None
    validate_only: bool = False

    @model_validator(mode="after")
    def _check(self) -> CreateArguments:
        split_model(self.model)
        if self.precision is not None:
            # Newer ones than this package knows have been let through by the task that prepared for them.
            check_precision(self.precision, allow_unknown=True)
        if self.deployment_id is not None:
            check_id(self.deployment_id, "deployment_id")
        _check_hardware(self.accelerator_type, self.accelerator_count, self.deployment_shape)
        if self.min_replica_count is not None and self.max_replica_count is not None:
            _check_range(self.min_replica_count, self.max_replica_count)
        if self.display_name is not None:
            _check_display_name(self.display_name)
        _check_extra(self.extra_spec or {})
        try:
            json.dumps(self.extra_spec, allow_nan=False)
        except (TypeError, ValueError, RecursionError) as error:
            raise ValueError(f"extra_spec: this is no JSON: {error}") from None
        return self

    @property
    def deletes_on_kill(self) -> bool:
        """Whether to delete the deployment if the task is killed."""
        return self.delete_on_failure if self.delete_on_kill is None else self.delete_on_kill

    def spec(self, *, base_model: str, display_name: str, description: str) -> dict[str, Any]:
        """
        Return the deployment as it is asked for, with fields as the gateway spells them.

        A shape brings its own precision and accelerators.
        """
        minimum = self.min_replica_count or 0
        asked = {
            "baseModel": base_model,
            "displayName": self.display_name or display_name,
            "description": description,
            "precision": None if self.deployment_shape else self.precision,
            "acceleratorType": self.accelerator_type,
            "acceleratorCount": self.accelerator_count,
            "deploymentShape": self.deployment_shape,
            # Always said: it is what lets the deployment cost nothing while nobody asks it.
            "minReplicaCount": minimum,
            "maxReplicaCount": self.max_replica_count,
        }
        return {name: value for name, value in asked.items() if value is not None} | (self.extra_spec or {})


class DeploymentReadyArguments(WaitingArguments):
    """The rendered arguments of :class:`FireworksDeploymentReadySensor`."""

    deployment: str
    wait_for_inference: bool = False

    @model_validator(mode="after")
    def _check(self) -> DeploymentReadyArguments:
        split_deployment(self.deployment)
        return self


class ScaleArguments(WaitingArguments):
    """The rendered arguments of :class:`FireworksScaleDeploymentOperator`."""

    deployment: str
    replica_count: Count
    wait_for_completion: bool = False

    @model_validator(mode="after")
    def _check(self) -> ScaleArguments:
        split_deployment(self.deployment)
        return self


class DeleteArguments(Arguments):
    """The rendered arguments of :class:`FireworksDeleteDeploymentOperator`."""

    deployment: str | None = None
    created_by: str | None = None
    hard: bool = False
    ignore_checks: bool = False
    timeout: Seconds

    @model_validator(mode="after")
    def _check(self) -> DeleteArguments:
        _check_one_of(self.deployment, self.created_by)
        if self.deployment is not None:
            split_deployment(self.deployment)
        return self


class SweepArguments(Arguments):
    """The rendered arguments of :class:`FireworksSweepDeploymentsOperator`."""

    delete: bool = False
    keep: Listed = Field(default_factory=list)
    ignore_checks: bool = False

    @model_validator(mode="after")
    def _check(self) -> SweepArguments:
        for deployment in self.keep:
            split_deployment(deployment)
        return self


def _check_hardware(accelerator_type: Any, accelerator_count: Any, deployment_shape: Any) -> None:
    if deployment_shape is not None and (accelerator_type is not None or accelerator_count is not None):
        raise ValueError(
            "deployment_shape goes with neither accelerator_type nor accelerator_count: a shape has its own"
        )
    if deployment_shape is None and accelerator_type is None:
        raise ValueError(
            "accelerator_type or deployment_shape: one of them is needed. "
            'deployment_shape="default" lets Fireworks choose'
        )


def _check_count(name: str, value: Any) -> None:
    least = 1 if name == "accelerator_count" else 0
    try:
        count = int(value)
    except (ValueError, TypeError):
        count = -1
    if count < least or isinstance(value, (bool, float)):
        raise ValueError(f"{name}: a whole number, {least} or more, not {value!r}")


def _check_range(minimum: int, maximum: int) -> None:
    if minimum > maximum:
        raise ValueError(f"min_replica_count is {minimum}, more than max_replica_count, which is {maximum}")


def _check_display_name(value: Any) -> None:
    if not isinstance(value, str) or len(value) > 63:
        raise ValueError(f"display_name: text of at most 63 characters, not {value!r}")


def _check_extra(extra_spec: dict[str, Any]) -> None:
    for field in extra_spec:
        # The gateway understands snake_case as well.
        if (spelt := to_camel(str(field))) in _NOT_EXTRA:
            argument = _NOT_EXTRA[spelt]
            how = f"give {argument}" if argument else "the operator writes it, to find its deployment again"
            raise ValueError(f"extra_spec: {field} does not belong there: {how}")


def _check_one_of(deployment: Any, created_by: Any) -> None:
    if (deployment is None) == (created_by is None):
        raise ValueError(
            "deployment or created_by: exactly one of them, the deployment itself or the task that created it"
        )
