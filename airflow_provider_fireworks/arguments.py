"""
The arguments of the tasks: one pydantic model per task.

The same model checks literals when a DAG is parsed and rendered values when the task starts. While a DAG is parsed, the
value of a template or of another task's output is unknown; :data:`UNRESOLVED` replaces it and passes every check.
"""

from __future__ import annotations

import json
import re
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

from airflow_provider_fireworks.client.names import DeploymentName, ModelName, RouterName, check_id
from airflow_provider_fireworks.client.precision import Precision, check_precision
from airflow_provider_fireworks.client.text import one_line
from airflow_provider_fireworks.exceptions import FireworksInvalidArgument
from airflow_provider_fireworks.models.readiness import Baseline
from airflow_provider_fireworks.models.source import ModelKind

if TYPE_CHECKING:
    from typing_extensions import Self

    from airflow_provider_fireworks.deployments.ownership import Owner

_TAG_PREFIX = "custom/"
_MAX_TAGS = 64
_MAX_TAG_LENGTH = 128
_PASSWORD = re.compile(r"[^/]+://[^/@:]*:(?!\d*/)[^@]*@")
"""At the beginning of a URL. ``hdfs://host:8020/…`` has none."""

UNRESOLVED: Final[Any] = type("Unresolved", (), {"__repr__": lambda self: "<not resolved yet>"})()


def is_literal(value: Any) -> bool:
    """Whether a value is final when the DAG is parsed: no template, no other task's output, nothing mapped."""
    if isinstance(value, str):
        return "{{" not in value and "{%" not in value
    if isinstance(value, dict):
        return all(map(is_literal, value.values()))
    if isinstance(value, (list, tuple, set)):
        return all(map(is_literal, value))
    return value is None or isinstance(value, (bool, int, float, timedelta))


def _checked(check: Callable[[Any], object]) -> AfterValidator:
    """Return a validator that returns the value unchanged unless ``check`` raises."""

    def validate(value: Any) -> Any:
        check(value)
        return value

    return AfterValidator(validate)


def _to_text(value: Any) -> Any:
    return value.value if isinstance(value, Precision) else value


def _to_one_precision(value: Any) -> Any:
    # A template of a list renders to text.
    if isinstance(value, (list, tuple, set)) or (isinstance(value, str) and value.startswith("[")):
        raise ValueError(
            "pass one precision per task, and map over several: .partial(…).expand(precision=[…])"
        )
    return _to_text(value)


def _to_list(value: Any) -> Any:
    items = [value] if isinstance(value, str) else value
    if isinstance(items, (Mapping, bytes)) or not isinstance(items, Iterable):
        return value
    # The item of a mapped task that failed or was skipped is None.
    return [_to_text(item) for item in items if item is not None]


def _to_list_or_empty(value: Any) -> Any:
    return [] if value is None else _to_list(value)


def _check_ascii(value: str) -> None:
    if not value.isascii():
        raise ValueError("must be ASCII")


def _to_seconds(value: Any) -> Any:
    return value.total_seconds() if isinstance(value, timedelta) else value


def _to_tags(value: Any) -> Any:
    # The API refuses other keys.
    if not isinstance(value, Mapping):
        return value
    tags = {
        key if str(key).startswith(_TAG_PREFIX) else f"{_TAG_PREFIX}{key}": each
        for key, each in value.items()
    }
    if len(tags) < len(value):
        raise ValueError(f"a key is given twice, with and without {_TAG_PREFIX}")
    return tags


def _to_url(value: Any) -> Any:
    # An ObjectStoragePath, whose text has its connection.
    return str(value) if hasattr(value, "protocol") else value


def _check_password(url: str) -> None:
    if _PASSWORD.match(url):
        raise ValueError(
            "must have no password. Put it into an Airflow connection: s3://connection@bucket/path"
        )


def _reject_float_and_bool(value: Any) -> Any:
    # pydantic accepts 2.0 and True as integers.
    if isinstance(value, (bool, float)):
        raise ValueError(f"must be a whole number, not {value!r}")
    return value


Seconds = Annotated[float, BeforeValidator(_to_seconds), Field(ge=0, allow_inf_nan=False)]
Count = Annotated[int, BeforeValidator(_reject_float_and_bool), Field(ge=0)]
PositiveCount = Annotated[int, BeforeValidator(_reject_float_and_bool), Field(ge=1)]
NonEmptyText = Annotated[str, Field(min_length=1)]
PrecisionText = Annotated[str, BeforeValidator(_to_one_precision)]
# Checked only: the account of a bare id may take a request to look up, and the hook then parses the full name.
ModelText = Annotated[str, _checked(ModelName.account_in)]
DeploymentText = Annotated[str, _checked(DeploymentName.account_in)]
RouterText = Annotated[str, _checked(RouterName.account_in)]
TagKey = Annotated[str, Field(max_length=_MAX_TAG_LENGTH), _checked(_check_ascii)]
TagValue = Annotated[str, Field(min_length=1, max_length=_MAX_TAG_LENGTH)]
Tags = Annotated[dict[TagKey, TagValue], BeforeValidator(_to_tags), Field(max_length=_MAX_TAGS)]


class TimeLimit(NamedTuple):
    """How long a task may wait, in seconds, and the argument that sets the limit."""

    argument: Literal["timeout", "execution_timeout"]
    seconds: float


class Arguments(BaseModel):
    """The arguments of any task. As templates render to text, text is converted: ``"600"`` to a number."""

    # A DAG file imports all of these models, and uses few of them.
    model_config = ConfigDict(extra="forbid", defer_build=True)

    account_id: str | None = None
    fireworks_conn_id: str | None = None

    @field_validator("*", mode="wrap")
    @classmethod
    def _pass_unresolved(cls, value: Any, handler: ValidatorFunctionWrapHandler) -> Any:
        return value if value is UNRESOLVED else handler(value)

    @classmethod
    def check(cls, **arguments: Any) -> Self:
        """
        Check rendered arguments, and return them converted.

        :raises FireworksInvalidArgument: naming every invalid argument.
        """
        try:
            return cls.model_validate(arguments)
        except ValidationError as error:
            raise FireworksInvalidArgument("; ".join(map(_describe, error.errors()))) from None

    @classmethod
    def check_literals(cls, **arguments: Any) -> None:
        """
        Check those arguments whose values are known when the DAG is parsed.

        :raises FireworksInvalidArgument: naming every invalid argument. Airflow shows it as an import error of the DAG.
        """
        cls.check(**{name: value if is_literal(value) else UNRESOLVED for name, value in arguments.items()})


class WaitingArguments(Arguments):
    """The arguments of any task that waits."""

    deferrable: bool = False
    poll_interval: Seconds
    timeout: Seconds

    def time_limit(self, execution_timeout: timedelta | None) -> TimeLimit:
        """
        Return the shorter of the task's two time limits.

        Airflow itself does not apply ``execution_timeout`` to a deferred task.
        """
        if execution_timeout is not None and execution_timeout.total_seconds() < self.timeout:
            return TimeLimit("execution_timeout", execution_timeout.total_seconds())
        return TimeLimit("timeout", self.timeout)


class _ModelArguments(WaitingArguments):
    model: ModelText
    precision: PrecisionText
    accept_precisions: Annotated[list[str], BeforeValidator(_to_list_or_empty)] = Field(default_factory=list)
    allow_unknown_precision: bool = False
    require_confirmation: bool = False

    @property
    def _was_checked(self) -> bool:
        """Whether another task has checked the precision, with its own ``allow_unknown_precision``."""
        return False

    @model_validator(mode="after")
    def _check_precisions(self) -> Self:
        allow_unknown = self.allow_unknown_precision
        if allow_unknown is UNRESOLVED:
            return self
        if self.precision is not UNRESOLVED:
            check_precision(self.precision, allow_unknown=allow_unknown or self._was_checked)
        for precision in [] if self.accept_precisions is UNRESOLVED else self.accept_precisions:
            if precision is not UNRESOLVED:
                check_precision(precision, allow_unknown=allow_unknown)
        return self


class PrepareArguments(_ModelArguments):
    """The arguments of :class:`FireworksPrepareModelOperator`."""

    accelerator_count: PositiveCount | None = None
    wait_for_completion: bool = False


class UploadArguments(WaitingArguments):
    """
    The arguments of :class:`FireworksUploadModelOperator`.

    :ivar validates: the argument ``validate``, which pydantic has a method for.
    """

    model_config = ConfigDict(populate_by_name=True)

    model: ModelText
    source: Annotated[NonEmptyText, BeforeValidator(_to_url), _checked(_check_password)]
    kind: ModelKind | None = None
    base_model: ModelText | None = None
    base_model_details: dict[str, Any] | None = None
    if_exists: Literal["fail", "skip"] = "fail"
    validates: bool = Field(default=True, alias="validate")
    trust_remote_code: bool = False
    max_parallel: Annotated[PositiveCount, Field(le=64)] = 4
    delete_on_failure: bool = True

    @field_validator("model")
    @classmethod
    def _check_first_letter(cls, model: Any) -> Any:
        if model is not UNRESOLVED and model.rpartition("/")[2][0].isdigit():
            raise ValueError(f"Invalid model id {model!r}: the API accepts none that begins with a digit")
        return model

    @model_validator(mode="after")
    def _check_kind(self) -> Self:
        if self.kind is ModelKind.LORA and self.base_model is None:
            raise ValueError("Missing base_model: a LoRA needs the model that it was trained on")
        is_base = self.kind is ModelKind.BASE
        if is_base and self.base_model not in (None, UNRESOLVED):
            raise ValueError("base_model: only a LoRA has one, not a model of the kind HF_BASE_MODEL")
        if self.kind is ModelKind.LORA and self.base_model_details not in (None, UNRESOLVED):
            raise ValueError("base_model_details: only a base model has them, not a LoRA")
        if isinstance(self.base_model_details, dict):
            for field in ("checkpointFormat", "huggingfaceFiles"):
                if field in map(to_camel, self.base_model_details):
                    raise ValueError(f"base_model_details: {field} is not allowed: the operator sets it")
            _check_json("base_model_details", self.base_model_details)
        return self


class ModelReadyArguments(_ModelArguments):
    """The arguments of :class:`FireworksModelReadySensor`; ``prepared`` is unpacked into the other three."""

    baseline: Baseline | None = None

    @model_validator(mode="before")
    @classmethod
    def _unpack(cls, arguments: Any) -> Any:
        return _unpack_prepared(
            arguments, ("model", "precision", "baseline"), required=("model", "precision")
        )

    @property
    def _was_checked(self) -> bool:
        # Only the prepare operator makes a baseline.
        return self.baseline is not None

    @field_validator("baseline", mode="before")
    @classmethod
    def _check_baseline(cls, baseline: Any) -> Any:
        if baseline is None or baseline is UNRESOLVED:
            return baseline
        fields = Baseline.model_fields.keys()
        # An earlier version of this package did not add the last one.
        if isinstance(baseline, dict) and fields - {"began"} <= baseline.keys() <= fields:
            return baseline
        shown = one_line(repr(baseline), limit=100)
        raise ValueError(
            f"Invalid baseline {shown}: pass the whole result of FireworksPrepareModelOperator instead, "
            "prepared=prepare.output"
        )


class CreateArguments(WaitingArguments):
    """
    The arguments of :class:`FireworksCreateDeploymentOperator`; ``prepared`` is unpacked into model and precision.

    :ivar extra_spec: further fields of the deployment, as the API spells them.
    """

    model: ModelText
    precision: PrecisionText | None = None
    deployment_id: Annotated[str, _checked(lambda value: check_id(value, "deployment_id"))] | None = None
    accelerator_type: NonEmptyText | None = None
    accelerator_count: PositiveCount | None = None
    deployment_shape: NonEmptyText | None = None
    min_replica_count: Count | None = None
    max_replica_count: Count | None = None
    display_name: Annotated[str, Field(max_length=63)] | None = None
    tags: Tags | None = None
    extra_spec: dict[str, Any] | None = None
    accept_shapeless_risk: bool = False
    wait_for_completion: bool = True
    wait_for_inference: bool = False
    capacity_timeout: Seconds | None = None
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
            # The task that prepared for it has checked it, with its own allow_unknown_precision.
            check_precision(self.precision, allow_unknown=True)
        # What is unanswered may turn out to be None.
        unset = (None, UNRESOLVED)
        has_hardware = self.accelerator_type not in unset or self.accelerator_count not in unset
        if self.deployment_shape not in unset and has_hardware:
            raise ValueError(
                "deployment_shape cannot be combined with accelerator_type or accelerator_count: a shape defines both"
            )
        if self.deployment_shape is None and self.accelerator_type is None:
            raise ValueError(
                "Missing accelerator_type or deployment_shape: pass one of them. With "
                'deployment_shape="default", Fireworks chooses the accelerators'
            )
        if self.deployment_shape not in unset and self.accept_shapeless_risk is True:
            raise ValueError(
                "accept_shapeless_risk cannot be combined with deployment_shape: omit one of them"
            )
        if (
            self.capacity_timeout not in unset
            and self.wait_for_completion is self.wait_for_inference is False
        ):
            raise ValueError(
                "capacity_timeout needs wait_for_completion, as a task that does not wait cannot notice it. Pass it to "
                "the FireworksDeploymentReadySensor instead"
            )
        low, high = self.min_replica_count, self.max_replica_count
        if isinstance(low, int) and isinstance(high, int) and low > high:
            raise ValueError(f"min_replica_count is {low}, which is more than max_replica_count, {high}")
        if isinstance(self.extra_spec, dict):
            _check_extra(self.extra_spec)
        return self

    @property
    def deletes_on_kill(self) -> bool:
        """Whether to delete the deployment if the task is killed."""
        return self.delete_on_failure if self.delete_on_kill is None else self.delete_on_kill

    def spec(self, *, base_model: str, display_name: str) -> dict[str, Any]:
        """
        Return the deployment to request, with the API's names of its fields and without a description.

        A shape defines precision and accelerators itself.
        """
        fields = {
            "baseModel": base_model,
            "displayName": self.display_name or display_name,
            "precision": None if self.deployment_shape else self.precision,
            "acceleratorType": self.accelerator_type,
            "acceleratorCount": self.accelerator_count,
            "deploymentShape": self.deployment_shape,
            # Always sent: a deployment that may scale to zero costs nothing while it is idle.
            "minReplicaCount": self.min_replica_count or 0,
            "maxReplicaCount": self.max_replica_count,
        }
        return {name: value for name, value in fields.items() if value is not None} | (self.extra_spec or {})

    def annotations(self, owner: Owner) -> dict[str, str]:
        """Return the tags to create a deployment with, those of its owner included; none without ``tags``."""
        if self.tags is None:
            return {}
        own = {"airflow-dag": owner.dag_id, "airflow-run": owner.run_id, "airflow-task": owner.task_id}
        tags = dict(self.tags)
        for key, value in own.items():
            if len(tags) < _MAX_TAGS:
                tags.setdefault(f"{_TAG_PREFIX}{key}", value[:_MAX_TAG_LENGTH])
        return tags


class DeploymentReadyArguments(WaitingArguments):
    """The arguments of :class:`FireworksDeploymentReadySensor`."""

    deployment: DeploymentText
    wait_for_inference: bool = False
    capacity_timeout: Seconds | None = None


class ScaleArguments(WaitingArguments):
    """The arguments of :class:`FireworksScaleDeploymentOperator`."""

    deployment: DeploymentText
    replica_count: Count
    wait_for_completion: bool = False


class DeleteArguments(Arguments):
    """The arguments of :class:`FireworksDeleteDeploymentOperator`; ``deployment`` is a list of any length."""

    deployment: Annotated[list[DeploymentText], BeforeValidator(_to_list_or_empty)]
    hard: bool = False
    ignore_checks: bool | None = None
    timeout: Seconds


class SweepArguments(Arguments):
    """The arguments of :class:`FireworksSweepDeploymentsOperator`."""

    delete: bool = False
    keep: Annotated[list[DeploymentText], BeforeValidator(_to_list)] = Field(default_factory=list)
    include_kept: bool = False
    ignore_checks: bool = False


class RouteArguments(WaitingArguments):
    """The arguments of :class:`FireworksRouteOperator`."""

    router: RouterText
    deployments: Annotated[list[DeploymentText], BeforeValidator(_to_list), Field(min_length=1)]
    weights: list[PositiveCount] | None = None
    adopt: bool = False
    wait_for_completion: bool = True

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.deployments is UNRESOLVED:
            return self
        if len({name.rpartition("/")[2] for name in self.deployments}) < len(self.deployments):
            raise ValueError(f"deployments: one of them is given twice: {', '.join(self.deployments)}")
        if self.weights not in (None, UNRESOLVED) and len(self.weights) != len(self.deployments):
            raise ValueError(
                f"weights: there are {len(self.weights)} for {len(self.deployments)} deployments: pass one for each"
            )
        return self


class DeleteRouterArguments(Arguments):
    """The arguments of :class:`FireworksDeleteRouterOperator`."""

    router: RouterText | None
    timeout: Seconds


_RESERVED_FIELDS = {
    "baseModel": "model",
    "precision": "precision",
    "acceleratorType": "accelerator_type",
    "acceleratorCount": "accelerator_count",
    "deploymentShape": "deployment_shape",
    "minReplicaCount": "min_replica_count",
    "maxReplicaCount": "max_replica_count",
    "displayName": "display_name",
    "annotations": "tags",
    "deploymentId": "deployment_id",
    "name": "deployment_id",
    "description": None,
}
"""Fields that extra_spec must not contain, and the argument for each. The operator sets the description itself."""


def _unpack_prepared(arguments: Any, names: tuple[str, ...], *, required: tuple[str, ...]) -> Any:
    """
    Replace ``prepared``, the result of the prepare operator or of the model sensor, by its items.

    :param names: the arguments that it replaces.
    :param required: those that are needed without it.
    """
    arguments = dict(arguments)
    prepared = arguments.pop("prepared", None)
    given = [name for name in names if arguments.get(name) is not None]
    if prepared is None:
        if missing := [name for name in required if name not in given]:
            raise ValueError(
                f"Missing {' and '.join(missing)}: pass {' and '.join(required)}, or prepared=prepare.output"
            )
        return arguments
    if given:
        raise ValueError(f"Pass either prepared or {' and '.join(given)}, not both")
    if prepared is UNRESOLVED:
        return arguments | dict.fromkeys(required, UNRESOLVED)
    keys = prepared.keys() if isinstance(prepared, Mapping) else set()
    if {"model", "precision"} <= keys <= {"model", "precision", "baseline"}:
        return arguments | {name: prepared[name] for name in names if name in prepared}
    if isinstance(prepared, Iterable) and not isinstance(prepared, (str, Mapping)):
        how = "map over several results: .partial(…).expand(prepared=prepare.output)"
    else:
        how = "pass the whole result of FireworksPrepareModelOperator or FireworksModelReadySensor, prepare.output"
    raise ValueError(f"Invalid prepared {prepared!r}: {how}")


def _check_extra(extra_spec: dict[str, Any]) -> None:
    for field in extra_spec:
        # The API accepts snake_case as well.
        api_name = to_camel(str(field))
        if api_name in _RESERVED_FIELDS:
            argument = _RESERVED_FIELDS[api_name]
            how = f"use the argument {argument}" if argument else "the operator stores its signature in it"
            raise ValueError(f"extra_spec: {field} is not allowed: {how}")
    _check_json("extra_spec", extra_spec)


def _check_json(argument: str, value: dict[str, Any]) -> None:
    try:
        json.dumps(value, allow_nan=False)
    except (TypeError, ValueError, RecursionError) as error:
        raise ValueError(f"{argument} is not valid JSON: {error}") from None


def _describe(error: Any) -> str:
    """Describe one of pydantic's errors, without the full stop, as further ones may follow."""
    argument = ".".join(map(str, error["loc"]))
    message = error["msg"].removeprefix("Value error, ").rstrip(".")
    if error["type"] != "value_error":
        message = f"{message}, not {error['input']!r}"
    names_it = not argument or message.startswith(f"Invalid {argument} ")
    return message if names_it else f"{argument}: {message}"
