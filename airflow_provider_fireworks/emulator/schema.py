"""The bodies that the API takes. Unknown fields, wrong types and wrong enum values are refused."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import datetime, timezone
from typing import Annotated, Any, Literal, TypeVar

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, model_validator

from airflow_provider_fireworks.client.precision import Precision
from airflow_provider_fireworks.emulator.responses import ErrorResponse

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

AcceleratorType = Literal[
    "ACCELERATOR_TYPE_UNSPECIFIED",
    "NVIDIA_A100_80GB",
    "NVIDIA_H100_80GB",
    "AMD_MI300X_192GB",
    "NVIDIA_A10G_24GB",
    "NVIDIA_A100_40GB",
    "NVIDIA_L4_24GB",
    "NVIDIA_H200_141GB",
    "NVIDIA_B200_180GB",
    "AMD_MI325X_256GB",
    "AMD_MI350X_288GB",
    "NVIDIA_B300_288GB",
]

Region = Literal[
    "REGION_UNSPECIFIED",
    "US_IOWA_1",
    "US_VIRGINIA_1",
    "US_VIRGINIA_2",
    "US_ILLINOIS_1",
    "AP_TOKYO_1",
    "US_ARIZONA_1",
    "US_TEXAS_1",
    "US_ILLINOIS_2",
    "EU_FRANKFURT_1",
    "US_TEXAS_2",
    "EU_ICELAND_1",
    "EU_ICELAND_2",
    "US_WASHINGTON_1",
    "US_WASHINGTON_2",
    "US_WASHINGTON_3",
    "AP_TOKYO_2",
    "US_CALIFORNIA_1",
    "US_UTAH_1",
    "US_GEORGIA_1",
    "US_GEORGIA_2",
    "US_WASHINGTON_4",
    "US_GEORGIA_3",
    "NA_BRITISHCOLUMBIA_1",
    "US_GEORGIA_4",
    "US_OHIO_1",
    "US_NEWYORK_1",
    "EU_NETHERLANDS_1",
    "US_WASHINGTON_5",
    "US_MINNESOTA_1",
    "US_CALIFORNIA_2",
    "AP_MALAYSIA_1",
    "US_OHIO_2",
]


def _precision(value: str) -> str:
    if value not in _PRECISIONS:
        raise ValueError(f"invalid value for enum: {value!r}")
    return value


def _int64(value: int | str) -> str:
    # As in protobuf's JSON: a string, but a number is understood as well.
    if isinstance(value, str) and not re.fullmatch(r"-?[0-9]{1,19}", value):
        raise ValueError(f"no int64: {value!r}")
    number = int(value)
    if not -_INT64 <= number < _INT64:
        raise ValueError(f"no int64: {value!r}")
    return str(number)


def _duration(value: str) -> str:
    if not re.fullmatch(r"[0-9]{1,12}(\.[0-9]{1,9})?s", value):
        raise ValueError(f"no duration: {value!r}")
    return value


def _timestamp(value: str) -> str:
    found = re.fullmatch(
        r"([0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2})(\.[0-9]{1,9})?(Z|[+-][0-9]{2}:[0-9]{2})",
        value.upper(),
    )
    if found is None:
        raise ValueError(f"no time: {value!r}")
    seconds, fraction, zone = found.groups()
    try:
        utc = datetime.fromisoformat(seconds + zone.replace("Z", "+00:00")).astimezone(timezone.utc)
    except OverflowError as error:
        raise ValueError(f"not within the years 1 to 9999: {value!r}") from error
    # It is sent back with 3, 6 or 9 digits of a fraction, or none.
    digits = (fraction or "")[1:]
    padded = f".{digits}{'0' * (-len(digits) % 3)}" if digits else ""
    return f"{utc.replace(tzinfo=None).isoformat()}{padded}Z"


def _at_least(seconds: float) -> Callable[[str], str]:
    def check(value: str) -> str:
        if float(value.removesuffix("s")) < seconds:
            raise ValueError(f"{value!r} is less than {seconds:g} seconds")
        return value

    return check


def _at_most(seconds: float) -> Callable[[str], str]:
    def check(value: str) -> str:
        if float(value.removesuffix("s")) > seconds:
            raise ValueError(f"{value!r} is more than {seconds:g} seconds")
        return value

    return check


PrecisionName = Annotated[str, AfterValidator(_precision)]
Int32 = Annotated[int, Field(ge=-(2**31), lt=2**31)]
Count = Annotated[int, Field(ge=0, lt=2**31)]
# Each replica is kept one by one; so many are enough for anything that is tried here.
Replicas = Annotated[int, Field(ge=0, le=1000)]
Duration = Annotated[str, AfterValidator(_duration)]
Int64 = Annotated[int | str, AfterValidator(_int64)]
Timestamp = Annotated[str, AfterValidator(_timestamp)]


class _Body(BaseModel):
    # JSON has no infinite numbers: one that is too large would come back as what no client can read.
    model_config = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False)

    def given(self) -> dict[str, Any]:
        """Return what was sent; a null means unset, as in every message of the API."""
        return self.model_dump(exclude_none=True)


class PrepareBody(_Body):
    """Body of ``POST …/models/{model}:prepare``."""

    precision: PrecisionName | None = None
    readMask: str | None = None


class BaseModelDetails(_Body):
    worldSize: Count | None = None
    checkpointFormat: (
        Literal["CHECKPOINT_FORMAT_UNSPECIFIED", "NATIVE", "HUGGINGFACE", "UNINITIALIZED"] | None
    ) = None
    huggingfaceFiles: list[str] | None = None
    parameterCount: Int64 | None = None
    moe: bool | None = None
    tunable: bool | None = None
    modelType: str | None = None
    supportsFireattention: bool | None = None
    supportsMtp: bool | None = None

    defaultPrecision: Any = Field(default=None, exclude=True)


class PeftDetails(_Body):
    baseModel: str
    r: Int32
    targetModules: list[str]
    mergeAddonModelName: str | None = None

    baseModelType: Any = Field(default=None, exclude=True)


class TeftDetails(_Body):
    """It has no fields."""


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

    The fields that only the API sets are known here, and ignored, as output-only fields are.
    """

    displayName: str | None = Field(default=None, max_length=63)
    description: str | None = Field(default=None, max_length=999)
    kind: Kind | None = None
    githubUrl: str | None = None
    huggingFaceUrl: str | None = None
    baseModelDetails: BaseModelDetails | None = None
    peftDetails: PeftDetails | None = None
    teftDetails: TeftDetails | None = None
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


class ScalingSchedule(_Body):
    minReplicaCount: Replicas
    schedule: str
    duration: Duration
    timezone: str
    description: str | None = None
    disabled: bool | None = None


class AutoscalingPolicy(_Body):
    scaleUpWindow: Annotated[Duration, AfterValidator(_at_most(3600))] | None = None
    scaleDownWindow: Annotated[Duration, AfterValidator(_at_most(3600))] | None = None
    scaleToZeroWindow: Annotated[Duration, AfterValidator(_at_least(300))] | None = None
    loadTargets: dict[str, float] | None = None
    scalingSchedules: Annotated[dict[str, ScalingSchedule], Field(max_length=5)] | None = None


class Placement(_Body):
    multiRegion: Literal["MULTI_REGION_UNSPECIFIED", "GLOBAL", "US", "EUROPE", "APAC"] | None = None
    region: Region | None = None
    regions: list[Region] | None = None

    @model_validator(mode="after")
    def _one(self) -> Placement:
        if len(self.given()) != 1:
            raise ValueError("exactly one of multiRegion, region and regions is needed")
        return self


class AutoTune(_Body):
    longPrompt: bool | None = None


class DeploymentBody(_Body):
    """
    Body of ``POST …/deployments`` and ``PATCH …/deployments/{deployment}``.

    The fields that only the API sets are known here, and ignored, as output-only fields are.
    """

    baseModel: Annotated[str, Field(min_length=1)]
    displayName: str | None = Field(default=None, max_length=63)
    description: str | None = Field(default=None, max_length=999)
    expireTime: Timestamp | None = None
    annotations: dict[str, str] | None = None
    minReplicaCount: Replicas | None = None
    maxReplicaCount: Replicas | None = None
    maxWithRevocableReplicaCount: Replicas | None = None
    autoscalingPolicy: AutoscalingPolicy | None = None
    acceleratorCount: Count | None = None
    acceleratorType: AcceleratorType | None = None
    precision: PrecisionName | None = None
    enableAddons: bool | None = None
    draftTokenCount: Int32 | None = None
    draftModel: str | None = None
    ngramSpeculationLength: Int32 | None = None
    enableSessionAffinity: bool | None = None
    directRouteApiKeys: list[str] | None = None
    numPeftDeviceCached: Int32 | None = None
    directRouteType: (
        Literal["DIRECT_ROUTE_TYPE_UNSPECIFIED", "INTERNET", "GCP_PRIVATE_SERVICE_CONNECT", "AWS_PRIVATELINK"]
        | None
    ) = None
    deploymentTemplate: str | None = None
    autoTune: AutoTune | None = None
    placement: Placement | None = None
    maxContextLength: Int32 | None = None
    disableDeploymentSizeValidation: bool | None = None
    enableHotLoad: bool | None = None
    hotLoadBucketType: Literal["BUCKET_TYPE_UNSPECIFIED", "MINIO", "S3", "NEBIUS", "FW_HOSTED"] | None = None
    enableHotReloadLatestAddon: bool | None = None
    deploymentShape: str | None = None
    activeModelVersion: str | None = None
    targetModelVersion: str | None = None
    hotLoadBucketUrl: str | None = None
    hotLoadTrainerJob: str | None = None
    pricingPlanId: str | None = None
    # Newer than schema 4.259.0; the official SDK sends it.
    enableMtp: bool | None = None

    name: Any = Field(default=None, exclude=True)
    createTime: Any = Field(default=None, exclude=True)
    updateTime: Any = Field(default=None, exclude=True)
    deleteTime: Any = Field(default=None, exclude=True)
    purgeTime: Any = Field(default=None, exclude=True)
    state: Any = Field(default=None, exclude=True)
    status: Any = Field(default=None, exclude=True)
    cluster: Any = Field(default=None, exclude=True)
    desiredReplicaCount: Any = Field(default=None, exclude=True)
    replicaCount: Any = Field(default=None, exclude=True)
    replicaStats: Any = Field(default=None, exclude=True)
    region: Any = Field(default=None, exclude=True)
    directRouteHandle: Any = Field(default=None, exclude=True)


class ScaleBody(_Body):
    """Body of ``PATCH …/deployments/{deployment}:scale``. Unset is 0, as in every message of the API."""

    replicaCount: Replicas | None = None


class UndeleteBody(_Body):
    """Body of ``POST …/deployments/{deployment}:undelete``."""


class MatchedDeployment(_Body):
    model_config = ConfigDict(extra="ignore", strict=True)

    baseModel: str
    enableAddons: bool | None = None


class MatchedRequest(_Body):
    model_config = ConfigDict(extra="ignore", strict=True)

    parent: str
    deployment: MatchedDeployment


class MatchBody(_Body):
    """Body of ``POST …/deploymentShapeVersions:match``: a create, of which little is looked at."""

    createDeploymentRequest: MatchedRequest
    pageSize: Int32 | None = None
    pageToken: str | None = None


class ChatMessage(_Body):
    model_config = ConfigDict(extra="allow", strict=True)

    role: str
    content: str | list[dict[str, Any]] | None = None


class ChatBody(_Body):
    """Body of ``POST /inference/v1/chat/completions``. Whatever else steers a model is taken as it comes."""

    model_config = ConfigDict(extra="allow", strict=True)

    model: str
    messages: Annotated[list[ChatMessage], Field(min_length=1)]
    stream: bool | None = None


BodyT = TypeVar("BodyT", bound=BaseModel)


def parse(shape: type[BodyT], body: bytes) -> BodyT:
    """
    Read a request's body, or refuse it in the API's words.

    :param body: as it was sent; none at all is an empty message.
    :raises ErrorResponse: ``INVALID_ARGUMENT``, naming the first field that is wrong.
    """
    try:
        return shape.model_validate_json(body.strip() or b"{}")
    except ValidationError as error:
        raise ErrorResponse("INVALID_ARGUMENT", explain(error)) from error


def camel(name: str) -> str:
    """Return a field's name in camelCase, however it is written."""
    head, *rest = name.split("_")
    return head + "".join(part[:1].upper() + part[1:] for part in rest)


def explain(error: ValidationError) -> str:
    """Return the first thing that is wrong, with the name of its field."""
    first = error.errors(include_url=False)[0]
    field = ".".join(str(part) for part in first["loc"])
    if first["type"] == "extra_forbidden":
        return f"unknown field {field!r}"
    return f"{field}: {first['msg']}" if field else first["msg"]
