"""Options of the emulator. Each behaviour of the real API that is not known is an option."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator

from airflow_provider_fireworks.client.names import check_id
from airflow_provider_fireworks.client.precision import Precision

PreparationOutcome = Literal[
    "ok", "calibrated", "failed_status", "failed_state", "without_precision", "never"
]
DeploymentOutcome = Literal["ok", "failed", "never", "stays_creating"]
RepeatedPrepare = Literal["ok", "aborted", "already_exists", "failed_precondition"]
SecondPrepare = Literal["accepted", "aborted", "already_exists", "failed_precondition", "ignored"]

#: The account of the public models. The API key can only read there.
PUBLIC_ACCOUNT = "fireworks"


def header_text(value: object) -> object:
    """Return a ``Retry-After`` given as a number of seconds as text."""
    return str(value) if isinstance(value, (int, float)) else value


def _seconds(default: float | None, description: str) -> Any:
    return Field(default=default, ge=0, allow_inf_nan=False, description=description)


class Options(BaseModel):
    """
    Options of the emulator. Each is also a flag of the command line.

    A changed option applies to later requests; a running preparation keeps the options it was accepted with.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    accounts: list[str] = Field(
        default=["demo"],
        min_length=1,
        description="Account id that the API key has access to. The initial models are in the first one.",
    )
    api_key: str = Field(
        default="fw_emulator_not_a_real_key", min_length=1, description="The only accepted API key."
    )
    extra_models: list[str] = Field(
        default=[],
        description="Id of an additional initial model, READY at FP16.",
    )
    precision_lists: Literal["present", "empty", "absent"] = Field(
        default="absent",
        description="supportedPrecisions and supportedPrecisionsWithCalibration of a model: filled in, empty, "
        "or absent, with the newer fields of schema 5 instead.",
    )
    second_prepare: SecondPrepare = Field(
        default="accepted",
        description="Response to a prepare request while another precision is being prepared: accepted (both "
        "run), 409 ABORTED, 409 ALREADY_EXISTS, 400 FAILED_PRECONDITION, or ignored (200, but nothing happens).",
    )
    same_prepare: RepeatedPrepare = Field(
        default="ok",
        description="Response to a prepare request while the same precision is being prepared.",
    )
    already_prepared: RepeatedPrepare = Field(
        default="ok",
        description="Response to a prepare request for a precision that the model is already prepared for.",
    )
    start_lag: float = _seconds(
        0, "Seconds from an accepted prepare request until the model shows that it is being prepared."
    )
    duration: float = _seconds(20, "Seconds that a model is PREPARING.")
    lists_lag: float = _seconds(
        0, "Seconds from the end of PREPARING until the precision lists have the new precision."
    )
    outcome: PreparationOutcome = Field(
        default="ok",
        description="How a preparation ends: precision in supportedPrecisions (ok) or in "
        "supportedPrecisionsWithCalibration (calibrated), READY with an error status (failed_status), FAILED "
        "with an error status (failed_state), READY without the precision (without_precision), or nothing "
        "ever happens (never).",
    )
    outcomes: dict[str, PreparationOutcome] = Field(
        default={}, description="Outcome for one precision, overriding --outcome: FP4=failed_state."
    )
    bump_update_time: bool = Field(
        default=True, description="Whether a preparation changes updateTime when it begins and when it ends."
    )
    stale_status: bool = Field(
        default=False,
        description="Whether healthy models carry the INTERNAL status of an earlier operation. Successful "
        "preparations do not clear it.",
    )
    prepare_fields: Literal["known", "unknown"] = Field(
        default="known",
        description="Whether a prepare request can have the fields acceleratorCount and abort: known, or unknown "
        "as in schema 4.259.0 (400).",
    )
    prepare_refusal: Literal["none", "quota", "entitlement"] = Field(
        default="none",
        description="How a prepare request that would start a preparation is refused: not at all (none), with "
        "RESOURCE_EXHAUSTED and the status of --quota-status (quota), or with 403 PERMISSION_DENIED (entitlement).",
    )
    abort_precision: Literal["optional", "required"] = Field(
        default="optional",
        description="Whether a prepare request with abort needs a precision. It stops the preparations for all "
        "precisions in any case.",
    )
    abort_idle: Literal["ok", "not_found", "failed_precondition"] = Field(
        default="ok",
        description="Response to a prepare request with abort while nothing is being prepared.",
    )
    abort_status: Literal["cancelled", "ok"] = Field(
        default="cancelled",
        description="Status of a model, which is READY, after its preparations were aborted: CANCELLED or OK.",
    )
    zero_data_retention: bool = Field(
        default=False,
        description="Whether the accounts have zero data retention, for which every prepare request is refused "
        "with 400 FAILED_PRECONDITION.",
    )
    model_release_lag: float = _seconds(
        0, "Seconds after the deletion of its last deployment in which a model cannot be deleted."
    )
    upload_url_ttl: float = _seconds(3600, "Seconds after which the signed URL of an upload expires.")
    expired_url_status: Literal[400, 403] = Field(
        default=400, description="HTTP status of the response to an upload to an expired URL."
    )
    upload_rate: float | None = Field(
        default=None,
        gt=0,
        allow_inf_nan=False,
        description="Bytes per second at which each file is received. Unset: as fast as it is sent.",
    )
    validation_duration: float = _seconds(
        0,
        "Seconds from the first validateUpload after the last file was received until validateUpload succeeds. "
        "Until then it gets 400 FAILED_PRECONDITION.",
    )
    validation_outcome: Literal["ok", "warns", "invalid", "never"] = Field(
        default="ok",
        description="How the validation of an upload ends: READY (ok), READY with a warning (warns), 400 "
        "INVALID_ARGUMENT (invalid), or 400 FAILED_PRECONDITION forever (never).",
    )
    deploy_duration: float = _seconds(8, "Seconds that a created deployment is CREATING.")
    deploy_outcome: DeploymentOutcome = Field(
        default="ok",
        description="How the creation of a deployment ends: READY (ok), FAILED with an error status (failed), "
        "CREATING forever, with replicas that are billed but never ready (never), or CREATING forever although "
        "its replicas become ready and inference succeeds (stays_creating).",
    )
    deploy_outcomes: dict[str, DeploymentOutcome] = Field(
        default={}, description="Outcome for one precision, overriding --deploy-outcome: FP4=failed."
    )
    capacity_after: float = _seconds(
        0,
        "Seconds that a created deployment waits for capacity before its creation begins: CREATING with the status "
        "RESOURCE_EXHAUSTED, not billed.",
    )
    start_at_zero: bool = Field(
        default=False,
        description="Whether a deployment with minReplicaCount 0 starts without a replica instead of with one.",
    )
    scale_duration: float = _seconds(
        2, "Seconds that a deployment is UPDATING while replicas are added or removed."
    )
    scale_to_zero_after: float | None = _seconds(
        None,
        "Seconds without a request after which a deployment with minReplicaCount 0 is scaled to zero. Unset: "
        "its scaleToZeroWindow, or one hour.",
    )
    create_lag: float = _seconds(
        0,
        "Seconds from an accepted create request until the deployment can be read. Its id is taken at once.",
    )
    serving_lag: float = _seconds(0, "Seconds from a ready replica until inference succeeds.")
    inference_names: Literal["with_model", "deployment", "both"] = Field(
        default="with_model",
        description="What inference accepts as the model: <model name>#<deployment name> (with_model), the "
        "deployment name alone (deployment), or both. The other one gets 404.",
    )
    quality: dict[str, Annotated[float, Field(ge=0, le=1)]] = Field(
        default={},
        description="Share of right answers at one precision, from 0 to 1: FP4=0.8. Unset: 1. Known questions are "
        "those like: What is 12 * 3?",
    )
    speed: dict[str, Annotated[float, Field(gt=0, allow_inf_nan=False)]] = Field(
        default={},
        description="Tokens per second at one precision: FP4=200. Unset: all at once. The first token takes as long "
        "as ten others.",
    )
    recent_traffic: float = _seconds(
        3600, "Seconds after an inference request in which deleting the deployment needs ignoreChecks."
    )
    delete_duration: float = _seconds(0, "Seconds that a deployment is DELETING, and still billed.")
    purge_after: float = _seconds(
        7 * 86_400, "Seconds that a deleted deployment can be undeleted and its id stays taken."
    )
    deleted_get: Literal["deleted", "not_found"] = Field(
        default="deleted", description="Response to a GET of a deleted deployment: the deployment, or 404."
    )
    shape_exclusive: bool = Field(
        default=True,
        description="Whether a deployment with a shape is refused if it also sets accelerators or a precision. "
        "If not, the values of the shape override them.",
    )
    shapeless: Literal["accepted", "with_risk", "refused"] = Field(
        default="accepted",
        description="Response to a create request without a deploymentShape: accepted, accepted only with "
        "acceptShapelessRisk=true (with_risk), or 400 INVALID_ARGUMENT (refused).",
    )
    validate_only: Literal["checks", "blind", "creates"] = Field(
        default="checks",
        description="What a create request with validateOnly=true does: check everything (checks), check all but "
        "whether the model is prepared (blind), or create the deployment, as if it were not set (creates).",
    )
    match_shapes: Literal["prepared", "all"] = Field(
        default="prepared",
        description="Which shapes deploymentShapeVersions:match returns: those at precisions that the model is "
        "prepared for (prepared), or also those at other precisions (all).",
    )
    router_duration: float = _seconds(
        2, "Seconds that a router is CREATING, UPDATING or DELETING after a request."
    )
    router_outcome: Literal["ok", "never"] = Field(
        default="ok",
        description="How creating and updating a router end: READY (ok), or not at all (never).",
    )
    router_updating: Literal["old", "new", "unavailable"] = Field(
        default="old",
        description="Where a router that is UPDATING routes requests to: its old deployments (old), those of the "
        "update (new), or nowhere: 404 (unavailable).",
    )
    router_regions: Literal["multi", "any"] = Field(
        default="multi",
        description="Which deployments a router can route to: those without a single region in their placement "
        "(multi), or all (any). Others get 400 FAILED_PRECONDITION.",
    )
    delete_routed: Literal["allowed", "refused"] = Field(
        default="allowed",
        description="Whether a deployment that a router routes to can be deleted: allowed, or 400 "
        "FAILED_PRECONDITION (refused).",
    )
    gpu_quota: int | None = Field(
        default=None, ge=0, description="GPUs that the deployments of one account can use. Unset: no limit."
    )
    quota_status: Literal[429, 400, 403] = Field(
        default=429, description="HTTP status of a response that refuses to exceed the GPU quota."
    )
    unauthorized_status: Literal[401, 403] = Field(
        default=403, description="HTTP status of the response to a missing or wrong API key."
    )
    requests_per_minute: int | None = Field(
        default=None,
        ge=1,
        description="Requests allowed in 60 seconds; further ones get 429. Unset: no limit.",
    )
    retry_after: str | None = Field(
        default=None,
        description="Retry-After header of these 429: seconds or an HTTP date. Unset: no header.",
    )

    @field_validator("accounts")
    @classmethod
    def _check_accounts(cls, value: list[str]) -> list[str]:
        for account in value:
            if check_id(account, "account id") == PUBLIC_ACCOUNT:
                raise ValueError(f"{PUBLIC_ACCOUNT!r} is reserved for the public models")
        if len(set(value)) < len(value):
            raise ValueError("an account is listed twice")
        return value

    @field_validator("retry_after", mode="before")
    @classmethod
    def _header(cls, value: object) -> object:
        return header_text(value)

    @field_validator("extra_models")
    @classmethod
    def _check_models(cls, value: list[str]) -> list[str]:
        return [check_id(model, "model id") for model in value]

    @field_validator("outcomes", "deploy_outcomes", "quality", "speed", mode="before")
    @classmethod
    def _check_precisions(cls, value: object) -> object:
        if isinstance(value, dict):
            return {Precision(name).value: setting for name, setting in value.items()}
        return value

    def outcome_of(self, precision: str) -> PreparationOutcome:
        """Return how a preparation for this precision ends."""
        return self.outcomes.get(precision, self.outcome)

    def deploy_outcome_of(self, precision: str) -> DeploymentOutcome:
        """Return how the creation of a deployment at this precision ends."""
        return self.deploy_outcomes.get(precision, self.deploy_outcome)

    def changed(self, /, **changes: object) -> Options:
        """
        Return a copy with some options changed.

        :raises pydantic.ValidationError: for an unknown option or an invalid value.
        """
        return Options.model_validate({**self.model_dump(), **changes})
