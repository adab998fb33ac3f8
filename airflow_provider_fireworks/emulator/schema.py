"""The bodies that the gateway takes. Unknown fields, wrong types and wrong enum values are refused."""

from __future__ import annotations

from typing import Annotated, Any, Literal, TypeVar

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

from airflow_provider_fireworks.emulator.answers import GatewayError
from airflow_provider_fireworks.gateway.precision import Precision

PRECISION_UNSPECIFIED = "PRECISION_UNSPECIFIED"
_PRECISIONS = frozenset({PRECISION_UNSPECIFIED, *(precision.value for precision in Precision)})
_INT64 = 2**63

Kind = Literal[
    "KIND_UNSPECIFIED",
    "HF_BASE_MODEL",
    "HF_PEFT_ADDON",
    "HF_TEFT_ADDON",
    "FLUMINA_BASE_MODEL",
    "FLUMINA_ADDON",
    "DRAFT_ADDON",
    "FIRE_AGENT",
    "LIVE_MERGE",
    "CUSTOM_MODEL",
    "EMBEDDING_MODEL",
    "SNAPSHOT_MODEL",
]


def _precision(value: str) -> str:
    if value not in _PRECISIONS:
        raise ValueError(f"invalid value for enum: {value!r}")
    return value


def _int64(value: int | str) -> str:
    # As in protobuf's JSON: a string, but a number is understood as well.
    number = int(value)
    if not -_INT64 <= number < _INT64:
        raise ValueError(f"no int64: {value!r}")
    return str(number)


PrecisionName = Annotated[str, AfterValidator(_precision)]
Int32 = Annotated[int, Field(ge=-(2**31), lt=2**31)]
Int64 = Annotated[int | str, AfterValidator(_int64)]


class _Body(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)

    def given(self) -> dict[str, Any]:
        """Return what was sent; a null means unset, as in every message of the gateway."""
        return self.model_dump(exclude_none=True)


class PrepareBody(_Body):
    """Body of ``POST …/models/{model}:prepare``."""

    precision: PrecisionName | None = None
    readMask: str | None = None


class BaseModelDetails(_Body):
    worldSize: Int32 | None = None
    checkpointFormat: (
        Literal["CHECKPOINT_FORMAT_UNSPECIFIED", "NATIVE", "HUGGINGFACE", "UNINITIALIZED"] | None
    ) = None
    huggingfaceFiles: list[str] | None = None
    parameterCount: Int64 | None = None
    moe: bool | None = None
    tunable: bool | None = None
    modelType: str | None = None
    supportsFireattention: bool | None = None
    defaultPrecision: PrecisionName | None = None
    supportsMtp: bool | None = None


class PeftDetails(_Body):
    baseModel: str
    r: Int32
    targetModules: list[str]
    baseModelType: str | None = None
    mergeAddonModelName: str | None = None


class ConversationConfig(_Body):
    style: str
    system: str | None = None
    template: str | None = None


class Date(_Body):
    year: Int32 | None = None
    month: Int32 | None = None
    day: Int32 | None = None


class ModelBody(_Body):
    """
    Body of ``PATCH …/models/{model}``, and ``model`` in that of a create.

    The fields that only the gateway sets are known here, and ignored, as output-only fields are.
    """

    displayName: str | None = Field(default=None, max_length=63)
    description: str | None = Field(default=None, max_length=999)
    kind: Kind | None = None
    githubUrl: str | None = None
    huggingFaceUrl: str | None = None
    baseModelDetails: BaseModelDetails | None = None
    peftDetails: PeftDetails | None = None
    teftDetails: dict[str, Any] | None = None
    public: bool | None = None
    conversationConfig: ConversationConfig | None = None
    contextLength: Int32 | None = None
    supportsImageInput: bool | None = None
    supportsTools: bool | None = None
    defaultDraftModel: str | None = None
    defaultDraftTokenCount: Int32 | None = None
    deprecationDate: Date | None = None
    supportsLora: bool | None = None
    useHfApplyChatTemplate: bool | None = None
    trainingContextLength: Int32 | None = None
    snapshotType: Literal["FULL_SNAPSHOT", "INCREMENTAL_SNAPSHOT"] | None = None

    name: Any = Field(default=None, exclude=True)
    createTime: Any = Field(default=None, exclude=True)
    updateTime: Any = Field(default=None, exclude=True)
    state: Any = Field(default=None, exclude=True)
    status: Any = Field(default=None, exclude=True)
    importedFrom: Any = Field(default=None, exclude=True)
    fineTuningJob: Any = Field(default=None, exclude=True)
    deployedModelRefs: Any = Field(default=None, exclude=True)
    cluster: Any = Field(default=None, exclude=True)
    calibrated: Any = Field(default=None, exclude=True)
    tunable: Any = Field(default=None, exclude=True)
    defaultSamplingParams: Any = Field(default=None, exclude=True)
    rlTunable: Any = Field(default=None, exclude=True)
    supportsServerless: Any = Field(default=None, exclude=True)
    supervisedLoraTunable: Any = Field(default=None, exclude=True)
    supervisedFullParameterTunable: Any = Field(default=None, exclude=True)
    rlLoraTunable: Any = Field(default=None, exclude=True)
    rlFullParameterTunable: Any = Field(default=None, exclude=True)
    supportedPrecisions: Any = Field(default=None, exclude=True)
    supportedPrecisionsWithCalibration: Any = Field(default=None, exclude=True)


class CreateModelBody(_Body):
    """Body of ``POST …/models``."""

    modelId: str
    model: ModelBody | None = None
    cluster: str | None = None


BodyT = TypeVar("BodyT", bound=BaseModel)


def parse(shape: type[BodyT], body: bytes) -> BodyT:
    """
    Read a request's body, or refuse it in the gateway's words.

    :param body: as it was sent; none at all is an empty message.
    :raises GatewayError: ``INVALID_ARGUMENT``, naming the first field that is wrong.
    """
    try:
        return shape.model_validate_json(body.strip() or b"{}")
    except ValidationError as error:
        raise GatewayError("INVALID_ARGUMENT", explain(error)) from error


def explain(error: ValidationError) -> str:
    """Return the first thing that is wrong, with the name of its field."""
    first = error.errors(include_url=False)[0]
    field = ".".join(str(part) for part in first["loc"])
    if first["type"] == "extra_forbidden":
        return f"unknown field {field!r}"
    return f"{field}: {first['msg']}" if field else first["msg"]
