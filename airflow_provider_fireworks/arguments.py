"""
The arguments of the tasks: one model per task.

The same model checks literals when a DAG is parsed and rendered values when the task starts. While a DAG is parsed,
a template or the output of another task is not known yet; :data:`UNRESOLVED` stands for it, and passes every check.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from datetime import timedelta
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal, NamedTuple

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
    ValidatorFunctionWrapHandler,
    field_validator,
    model_validator,
)
from pydantic.alias_generators import to_camel

from airflow_provider_fireworks.client.names import DeploymentName, ModelName, check_id
from airflow_provider_fireworks.client.precision import Precision, check_precision
from airflow_provider_fireworks.exceptions import FireworksInvalidArgument
from airflow_provider_fireworks.models.readiness import Baseline

if TYPE_CHECKING:
    from typing_extensions import Self

UNRESOLVED: Final[Any] = type("Unresolved", (), {"__repr__": lambda self: "<not resolved yet>"})()


def is_literal(value: Any) -> bool:
    """Whether a value stands in the DAG file as it is: no template, no other task's output, nothing mapped."""
    if isinstance(value, str):
        return "{{" not in value and "{%" not in value
    if isinstance(value, dict):
        return all(map(is_literal, value.values()))
    if isinstance(value, (list, tuple, set)):
        return all(map(is_literal, value))
    return value is None or isinstance(value, (bool, int, float, timedelta))


def _checked(check: Callable[[Any], object]) -> AfterValidator:
    """Return a validator that passes a value on unchanged if the check does not raise."""

    def validate(value: Any) -> Any:
        check(value)
        return value

    return AfterValidator(validate)


def _one_precision(value: Any) -> Any:
    if isinstance(value, (list, tuple, set)):
        raise ValueError(
            "pass one precision per task and map over several: .partial(…).expand(precision=[…])"
        )
    return value.value if isinstance(value, Precision) else value


def _listed(value: Any) -> Any:
    several = [value] if isinstance(value, str) else value
    if isinstance(several, (Mapping, bytes)) or not isinstance(several, Iterable):
        return value
    # A mapped task that failed or was skipped has pushed nothing: its item is None.
    return [item.value if isinstance(item, Precision) else item for item in several if item is not None]


def _listed_or_none(value: Any) -> Any:
    return [] if value is None else _listed(value)


def _seconds(value: Any) -> Any:
    return value.total_seconds() if isinstance(value, timedelta) else value


def _no_float_or_bool(value: Any) -> Any:
    if isinstance(value, (bool, float)):
        raise ValueError(f"a whole number is needed, not {value!r}")
    return value


Seconds = Annotated[float, BeforeValidator(_seconds), Field(ge=0, allow_inf_nan=False)]
Count = Annotated[int, BeforeValidator(_no_float_or_bool), Field(ge=0)]
PositiveCount = Annotated[int, BeforeValidator(_no_float_or_bool), Field(ge=1)]
Text = Annotated[str, Field(min_length=1)]
PrecisionName = Annotated[str, BeforeValidator(_one_precision)]
ModelText = Annotated[str, _checked(ModelName.account_in)]
DeploymentText = Annotated[str, _checked(DeploymentName.account_in)]


class TimeLimit(NamedTuple):
    """How long a task may wait, in seconds, and the argument that says so."""

    argument: Literal["timeout", "execution_timeout"]
    seconds: float


class Arguments(BaseModel):
    """The arguments of any task. A template renders text, and so ``"600"`` is a number."""

    model_config = ConfigDict(extra="forbid")

    account_id: str | None = None
    fireworks_conn_id: str | None = None

    @field_validator("*", mode="wrap")
    @classmethod
    def _pass_unresolved(cls, value: Any, handler: ValidatorFunctionWrapHandler) -> Any:
        return value if value is UNRESOLVED else handler(value)

    @classmethod
    def check(cls, **arguments: Any) -> Self:
        """
        Check rendered arguments.

        :raises FireworksInvalidArgument: naming each that is invalid; nothing has been sent.
        """
        try:
            return cls.model_validate(arguments)
        except ValidationError as error:
            raise FireworksInvalidArgument("; ".join(map(_problem, error.errors()))) from None

    @classmethod
    def check_literals(cls, **arguments: Any) -> None:
        """
        Check the arguments as they stand in the DAG file, as far as they are known there.

        :raises FireworksInvalidArgument: which Airflow shows as an import error of the DAG.
        """
        cls.check(**{name: value if is_literal(value) else UNRESOLVED for name, value in arguments.items()})


class WaitingArguments(Arguments):
    """Those of a task that waits."""

    deferrable: bool = False
    poll_interval: Seconds
    timeout: Seconds

    def time_limit(self, execution_timeout: timedelta | None) -> TimeLimit:
        """
        Return how long the task may wait: the smaller of its two time limits.

        Airflow itself does not end a deferred task by ``execution_timeout``.
        """
        if execution_timeout is not None and execution_timeout.total_seconds() < self.timeout:
            return TimeLimit("execution_timeout", execution_timeout.total_seconds())
        return TimeLimit("timeout", self.timeout)


class _PrecisionArguments(WaitingArguments):
    accept_precisions: Annotated[list[str], BeforeValidator(_listed_or_none)] = Field(default_factory=list)
    allow_unknown_precision: bool = False
    require_confirmation: bool = False

    @model_validator(mode="after")
    def _check_precisions(self) -> Self:
        accepted = [] if self.accept_precisions is UNRESOLVED else self.accept_precisions
        for precision in (getattr(self, "precision", None), *accepted):
            if precision not in (None, UNRESOLVED) and self.allow_unknown_precision is not UNRESOLVED:
                check_precision(precision, allow_unknown=self.allow_unknown_precision)
        return self


class PrepareArguments(_PrecisionArguments):
    """The arguments of :class:`FireworksPrepareModelOperator`."""

    model: ModelText
    precision: PrecisionName
    wait_for_completion: bool = False


class ModelReadyArguments(_PrecisionArguments):
    """The arguments of :class:`FireworksModelReadySensor`; ``prepared`` is unpacked into the other three."""

    model: ModelText
    precision: PrecisionName
    baseline: Baseline | None = None

    @model_validator(mode="before")
    @classmethod
    def _unpack(cls, arguments: Any) -> Any:
        return _unpack_prepared(
            arguments, ("model", "precision", "baseline"), required=("model", "precision")
        )

    @field_validator("baseline", mode="before")
    @classmethod
    def _check_baseline(cls, baseline: Any) -> Any:
        if baseline is None or baseline is UNRESOLVED:
            return baseline
        if isinstance(baseline, dict) and baseline.keys() == Baseline.model_fields.keys():
            return baseline
        how = "pass the whole result of FireworksPrepareModelOperator instead: prepared=prepare.output"
        raise ValueError(f"invalid baseline {baseline!r}: {how}")


class CreateArguments(WaitingArguments):
    """
    The arguments of :class:`FireworksCreateDeploymentOperator`; ``prepared`` is unpacked into model and precision.

    :ivar extra_spec: further fields of the deployment, as the API spells them.
    """

    model: ModelText
    precision: PrecisionName | None = None
    deployment_id: Annotated[str, _checked(lambda value: check_id(value, "deployment_id"))] | None = None
    accelerator_type: Text | None = None
    accelerator_count: PositiveCount | None = None
    deployment_shape: Text | None = None
    min_replica_count: Count | None = None
    max_replica_count: Count | None = None
    display_name: Annotated[str, Field(max_length=63)] | None = None
    extra_spec: dict[str, Any] | None = None
    wait_for_completion: bool = True
    wait_for_inference: bool = False
    delete_on_failure: bool = True
    delete_on_kill: bool | None = None
    validate_only: bool = False

    @model_validator(mode="before")
    @classmethod
    def _unpack(cls, arguments: Any) -> Any:
        return _unpack_prepared(arguments, ("model", "precision"), required=("model",))

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.precision not in (None, UNRESOLVED):
            # A newer one than this package knows was let through by the task that prepared for it.
            check_precision(self.precision, allow_unknown=True)
        # A template or an output may turn out to be None.
        unset = (None, UNRESOLVED)
        has_hardware = self.accelerator_type not in unset or self.accelerator_count not in unset
        if self.deployment_shape not in unset and has_hardware:
            raise ValueError(
                "deployment_shape cannot be combined with accelerator_type or accelerator_count: a shape has its own"
            )
        if self.deployment_shape is None and self.accelerator_type is None:
            raise ValueError(
                "accelerator_type or deployment_shape: one of them is needed. "
                'deployment_shape="default" lets Fireworks choose'
            )
        least, most = self.min_replica_count, self.max_replica_count
        if isinstance(least, int) and isinstance(most, int) and least > most:
            raise ValueError(f"min_replica_count is {least}, more than max_replica_count, which is {most}")
        if isinstance(self.extra_spec, dict):
            _check_extra(self.extra_spec)
        return self

    @property
    def deletes_on_kill(self) -> bool:
        """Whether to delete the deployment if the task is killed."""
        return self.delete_on_failure if self.delete_on_kill is None else self.delete_on_kill

    def spec(self, *, base_model: str, display_name: str) -> dict[str, Any]:
        """
        Return the deployment as it is requested, with fields as the API spells them, without a description.

        A shape brings its own precision and accelerators.
        """
        asked = {
            "baseModel": base_model,
            "displayName": self.display_name or display_name,
            "precision": None if self.deployment_shape else self.precision,
            "acceleratorType": self.accelerator_type,
            "acceleratorCount": self.accelerator_count,
            "deploymentShape": self.deployment_shape,
            # Always sent: a deployment with a minimum of zero costs nothing once it has scaled down.
            "minReplicaCount": self.min_replica_count or 0,
            "maxReplicaCount": self.max_replica_count,
        }
        return {name: value for name, value in asked.items() if value is not None} | (self.extra_spec or {})


class DeploymentReadyArguments(WaitingArguments):
    """The arguments of :class:`FireworksDeploymentReadySensor`."""

    deployment: DeploymentText
    wait_for_inference: bool = False


class ScaleArguments(WaitingArguments):
    """The arguments of :class:`FireworksScaleDeploymentOperator`."""

    deployment: DeploymentText
    replica_count: Count
    wait_for_completion: bool = False


class DeleteArguments(Arguments):
    """The arguments of :class:`FireworksDeleteDeploymentOperator`; ``deployment`` is a list of any length."""

    deployment: Annotated[list[DeploymentText], BeforeValidator(_listed_or_none)]
    hard: bool = False
    ignore_checks: bool | None = None
    timeout: Seconds


class SweepArguments(Arguments):
    """The arguments of :class:`FireworksSweepDeploymentsOperator`."""

    delete: bool = False
    keep: Annotated[list[DeploymentText], BeforeValidator(_listed)] = Field(default_factory=list)
    include_kept: bool = False
    ignore_checks: bool = False


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


def _unpack_prepared(arguments: Any, names: tuple[str, ...], *, required: tuple[str, ...]) -> Any:
    """Replace ``prepared``, the result of the prepare operator or of the model sensor, by what it holds."""
    arguments = dict(arguments)
    prepared = arguments.pop("prepared", None)
    given = [name for name in names if arguments.get(name) is not None]
    if prepared is None:
        missing = [name for name in required if name not in given]
        if missing:
            needed = " and ".join(required)
            raise ValueError(f"{' and '.join(missing)} missing: give {needed}, or prepared=prepare.output")
        return arguments
    if given:
        raise ValueError(f"prepared goes without {' and '.join(given)}: it brings its own")
    if prepared is UNRESOLVED:
        return arguments | dict.fromkeys(required, UNRESOLVED)
    keys = prepared.keys() if isinstance(prepared, Mapping) else set()
    if {"model", "precision"} <= keys <= {"model", "precision", "baseline"}:
        return arguments | {name: prepared[name] for name in names if name in prepared}
    if not isinstance(prepared, (str, Mapping)) and isinstance(prepared, Iterable):
        how = "it holds several results; map over them: .partial(…).expand(prepared=prepare.output)"
    else:
        how = "pass the whole result of FireworksPrepareModelOperator or FireworksModelReadySensor: prepare.output"
    raise ValueError(f"invalid prepared {prepared!r}: {how}")


def _check_extra(extra_spec: dict[str, Any]) -> None:
    for field in extra_spec:
        # The API understands snake_case as well.
        if (spelt := to_camel(str(field))) in _NOT_EXTRA:
            argument = _NOT_EXTRA[spelt]
            how = f"give {argument}" if argument else "the operator writes it, to find its deployment again"
            raise ValueError(f"extra_spec: {field} does not belong there: {how}")
    try:
        json.dumps(extra_spec, allow_nan=False)
    except (TypeError, ValueError, RecursionError) as error:
        raise ValueError(f"extra_spec is not valid JSON: {error}") from None


def _problem(error: Any) -> str:
    place = ".".join(map(str, error["loc"]))
    message = error["msg"].removeprefix("Value error, ")
    if error["type"] != "value_error":
        message = f"{message}, not {error['input']!r}"
    return f"{place}: {message}" if place else message
