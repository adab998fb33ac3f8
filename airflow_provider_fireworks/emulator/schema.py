"""Request bodies of the API. Unknown fields, wrong types and unknown enum values are refused."""

from __future__ import annotations

import math
import re
from datetime import datetime, timezone
from typing import Annotated, Any, ClassVar, Literal, TypeVar

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

from airflow_provider_fireworks.client.precision import Precision
from airflow_provider_fireworks.emulator.emulated_deployment import DEPLOYMENT_FIELDS
from airflow_provider_fireworks.emulator.emulated_model import (
    BLANK_DETAILS,
    BLANK_PEFT_DETAILS,
    MODEL_FIELDS,
)
from airflow_provider_fireworks.emulator.emulated_router import ROUTER_FIELDS

PRECISION_UNSPECIFIED = "PRECISION_UNSPECIFIED"
_PRECISIONS = frozenset({PRECISION_UNSPECIFIED, *(precision.value for precision in Precision)})
_INT64 = 2**63

ModelKind = Literal[
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
    # A string, as in the JSON of protobuf, which accepts a number as well.
    if isinstance(value, str) and not re.fullmatch(r"-?[0-9]{1,19}", value):
        raise ValueError(f"invalid int64: {value!r}")
    number = int(value)
    if not -_INT64 <= number < _INT64:
        raise ValueError(f"invalid int64: {value!r}")
    return str(number)


def _duration(minimum: float = 0, maximum: float = math.inf) -> AfterValidator:
    def check(value: str) -> str:
        if not re.fullmatch(r"[0-9]{1,12}(\.[0-9]{1,9})?s", value):
            raise ValueError(f"invalid duration: {value!r}")
        seconds = float(value.removesuffix("s"))
        if seconds < minimum:
            raise ValueError(f"{value!r} is less than {minimum:g}s")
        if seconds > maximum:
            raise ValueError(f"{value!r} is more than {maximum:g}s")
        return value

    return AfterValidator(check)


def _timestamp(value: str) -> str:
    found = re.fullmatch(
        r"([0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2})(\.[0-9]{1,9})?(Z|[+-][0-9]{2}:[0-9]{2})",
        value.upper(),
    )
    if found is None:
        raise ValueError(f"invalid time: {value!r}")
    seconds, fraction, zone = found.groups()
    try:
        utc = datetime.fromisoformat(seconds + zone.replace("Z", "+00:00")).astimezone(timezone.utc)
    except OverflowError as error:
        raise ValueError(f"not within the years 1 to 9999: {value!r}") from error
    # Responses have 0, 3, 6 or 9 fractional digits.
    digits = (fraction or "")[1:]
    padded = f".{digits}{'0' * (-len(digits) % 3)}" if digits else ""
    return f"{utc.replace(tzinfo=None).isoformat()}{padded}Z"


PrecisionValue = Annotated[str, AfterValidator(_precision)]
Int32 = Annotated[int, Field(ge=-(2**31), lt=2**31)]
UnsignedInt32 = Annotated[int, Field(ge=0, lt=2**31)]
# Each replica is an object; more are not needed here.
Replicas = Annotated[int, Field(ge=0, le=1000)]
Int64 = Annotated[int | str, AfterValidator(_int64)]
Timestamp = Annotated[str, AfterValidator(_timestamp)]


class _Message(BaseModel):
    # JSON has no infinite numbers: a number that is too large must not be sent back.
    model_config = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False)

    #: Fields in responses. Those that only the API sets are ignored here, so that a response can be sent back.
    response_fields: ClassVar[frozenset[str]] = frozenset()

    @model_validator(mode="before")
    @classmethod
    def _drop_output_fields(cls, data: Any) -> Any:
        if not isinstance(data, dict):
            return data
        ignored = cls.response_fields - cls.model_fields.keys()
        return {name: value for name, value in data.items() if name not in ignored}

    def given(self) -> dict[str, Any]:
        """Return the fields that are set; ``null`` means unset, as in every message of the API."""
        return self.model_dump(exclude_none=True)


class OlderPrepareBody(_Message):
    """Body of ``POST …/models/{model}:prepare`` in schema 4.259.0."""

    precision: PrecisionValue | None = None
    readMask: str | None = None


class PrepareBody(OlderPrepareBody):
    """Body of ``POST …/models/{model}:prepare``."""

    acceleratorCount: Annotated[int, Field(ge=1, lt=2**31)] | None = None
    abort: bool | None = None


class BaseModelDetailsBody(_Message):
    response_fields = frozenset(BLANK_DETAILS)

    worldSize: UnsignedInt32 | None = None
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


class PeftDetailsBody(_Message):
    response_fields = frozenset(BLANK_PEFT_DETAILS)

    baseModel: str
    r: Int32
    targetModules: list[str]
    mergeAddonModelName: str | None = None


class TeftDetailsBody(_Message):
    """Has no fields."""


class ConversationConfigBody(_Message):
    style: str
    system: str | None = None
    template: str | None = None


class DateBody(_Message):
    year: Int32 | None = None
    month: Int32 | None = None
    day: Int32 | None = None


class ModelBody(_Message):
    """Body of ``PATCH …/models/{model}``, and ``model`` of :class:`CreateModelBody`."""

    response_fields = MODEL_FIELDS

    displayName: str | None = Field(default=None, max_length=63)
    description: str | None = Field(default=None, max_length=999)
    kind: ModelKind | None = None
    githubUrl: str | None = None
    huggingFaceUrl: str | None = None
    baseModelDetails: BaseModelDetailsBody | None = None
    peftDetails: PeftDetailsBody | None = None
    teftDetails: TeftDetailsBody | None = None
    public: bool | None = None
    conversationConfig: ConversationConfigBody | None = None
    contextLength: Int32 | None = None
    supportsImageInput: bool | None = None
    supportsTools: bool | None = None
    defaultDraftModel: str | None = None
    defaultDraftTokenCount: Int32 | None = None
    deprecationDate: DateBody | None = None
    supportsLora: bool | None = None
    useHfApplyChatTemplate: bool | None = None
    trainingContextLength: Int32 | None = None
    snapshotType: Literal["FULL_SNAPSHOT", "INCREMENTAL_SNAPSHOT"] | None = None


class CreateModelBody(_Message):
    """Body of ``POST …/models``."""

    modelId: str
    model: ModelBody | None = None
    cluster: str | None = None


class UploadEndpointBody(_Message):
    """Body of ``POST …/models/{model}:getUploadEndpoint``."""

    filenameToSize: Annotated[dict[str, Int64], Field(min_length=1)]
    enableResumableUpload: bool | None = None
    readMask: str | None = None


class ScalingScheduleBody(_Message):
    minReplicaCount: Replicas
    schedule: str
    duration: Annotated[str, _duration()]
    timezone: str
    description: str | None = None
    disabled: bool | None = None


class AutoscalingPolicyBody(_Message):
    scaleUpWindow: Annotated[str, _duration(maximum=3600)] | None = None
    scaleDownWindow: Annotated[str, _duration(maximum=3600)] | None = None
    scaleToZeroWindow: Annotated[str, _duration(minimum=300)] | None = None
    loadTargets: dict[str, float] | None = None
    scalingSchedules: Annotated[dict[str, ScalingScheduleBody], Field(max_length=5)] | None = None


class PlacementBody(_Message):
    multiRegion: Literal["MULTI_REGION_UNSPECIFIED", "GLOBAL", "US", "EUROPE", "APAC"] | None = None
    region: Region | None = None
    regions: list[Region] | None = None

    @model_validator(mode="after")
    def _check(self) -> PlacementBody:
        if len(self.given()) != 1:
            raise ValueError("exactly one of multiRegion, region and regions is required")
        return self


class AutoTuneBody(_Message):
    longPrompt: bool | None = None


class DeploymentBody(_Message):
    """Body of ``POST …/deployments`` and ``PATCH …/deployments/{deployment}``."""

    response_fields = DEPLOYMENT_FIELDS

    baseModel: Annotated[str, Field(min_length=1)]
    displayName: str | None = Field(default=None, max_length=63)
    description: str | None = Field(default=None, max_length=999)
    expireTime: Timestamp | None = None
    annotations: dict[str, str] | None = None
    minReplicaCount: Replicas | None = None
    maxReplicaCount: Replicas | None = None
    maxWithRevocableReplicaCount: Replicas | None = None
    autoscalingPolicy: AutoscalingPolicyBody | None = None
    acceleratorCount: UnsignedInt32 | None = None
    acceleratorType: AcceleratorType | None = None
    precision: PrecisionValue | None = None
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
    autoTune: AutoTuneBody | None = None
    placement: PlacementBody | None = None
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
    # Sent by the official SDK, but not in schema 4.259.0.
    enableMtp: bool | None = None


class ScaleBody(_Message):
    """Body of ``PATCH …/deployments/{deployment}:scale``. Unset means 0."""

    replicaCount: Replicas | None = None


class UndeleteBody(_Message):
    """Body of ``POST …/deployments/{deployment}:undelete``."""


class StrategyBody(_Message):
    """A strategy of a router, which has no fields."""


class RouterBody(_Message):
    """Body of ``POST …/routers`` and ``PATCH …/routers/{router}``."""

    response_fields = ROUTER_FIELDS

    displayName: str | None = Field(default=None, max_length=63)
    deployments: list[str] | None = None
    model: str | None = None
    weightedRandom: StrategyBody | None = None
    evenLoad: StrategyBody | None = None
    public: bool | None = None


class MatchedDeployment(_Message):
    model_config = ConfigDict(extra="ignore", strict=True)

    baseModel: str
    enableAddons: bool | None = None


class MatchedRequest(_Message):
    model_config = ConfigDict(extra="ignore", strict=True)

    parent: str
    deployment: MatchedDeployment


class MatchBody(_Message):
    """Body of ``POST …/deploymentShapeVersions:match``: a create request, most of which is ignored."""

    createDeploymentRequest: MatchedRequest
    pageSize: Int32 | None = None
    pageToken: str | None = None


class ChatMessage(_Message):
    model_config = ConfigDict(extra="allow", strict=True)

    role: str
    content: str | list[dict[str, Any]] | None = None


class ChatBody(_Message):
    """Body of ``POST /inference/v1/chat/completions``. Other parameters are accepted and ignored."""

    model_config = ConfigDict(extra="allow", strict=True)

    model: str
    messages: Annotated[list[ChatMessage], Field(min_length=1)]
    stream: bool | None = None
    stream_options: dict[str, Any] | None = None


BodyT = TypeVar("BodyT", bound=BaseModel)


def parse(message: type[BodyT], body: bytes) -> BodyT:
    """
    Parse a request body. An empty one is an empty message.

    :raises pydantic.ValidationError: if it is invalid.
    """
    return message.model_validate_json(body.strip() or b"{}")


def camel(name: str) -> str:
    """Return a field name in camelCase."""
    head, *rest = name.split("_")
    return head + "".join(part[:1].upper() + part[1:] for part in rest)
