"""How the emulated API behaves. Whatever is not known of the real one is an option here."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator

from airflow_provider_fireworks.client.names import check_id
from airflow_provider_fireworks.client.precision import Precision

Outcome = Literal["ok", "calibrated", "failed_status", "failed_state", "without_precision", "never"]
Repeated = Literal["ok", "aborted", "already_exists", "failed_precondition"]
Second = Literal["accepted", "aborted", "already_exists", "failed_precondition", "ignored"]

DeployOutcome = Literal["ok", "failed", "never"]

Seconds = Annotated[float, Field(ge=0, allow_inf_nan=False)]

#: The account that public models live in; the key may read there, and nothing else.
PUBLIC_ACCOUNT = "fireworks"


def header_text(value: object) -> object:
    """Let a ``Retry-After`` be given as a number of seconds too."""
    return str(value) if isinstance(value, (int, float)) else value


class Options(BaseModel):
    """
    All that can be chosen about the emulated API; each field is also a flag of the command line.

    Changed options hold for what is asked from then on; a preparation keeps those it was accepted under.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    accounts: list[str] = Field(
        default=["demo"],
        min_length=1,
        description="The accounts of the API key. The models to start with are in the first one.",
    )
    api_key: str = Field(
        default="fw_emulator_not_a_real_key", min_length=1, description="The only API key that is accepted."
    )
    extra_models: list[str] = Field(
        default=[],
        description="Ids of base models to start with, READY at FP16, beside those that are always there.",
    )
    precision_lists: Literal["present", "empty", "absent"] = Field(
        default="present",
        description="Both lists of precisions in a model: filled in, always empty, or left out together with "
        "the newer fields sent instead (as in schema 5).",
    )
    second_prepare: Second = Field(
        default="accepted",
        description="A prepare while the model is being prepared at another precision: both run, "
        "409 ABORTED, 409 ALREADY_EXISTS, 400 FAILED_PRECONDITION, or 200 with nothing done.",
    )
    same_prepare: Repeated = Field(
        default="ok",
        description="A prepare while the model is being prepared at that very precision: 200, 409 or 400.",
    )
    already_prepared: Repeated = Field(
        default="ok",
        description="A prepare at a precision that the model is prepared for already: 200, 409 or 400.",
    )
    start_lag: Seconds = Field(
        default=0, description="Seconds between an accepted prepare and the first sign of it in what is read."
    )
    duration: Seconds = Field(default=20, description="Seconds that a model is PREPARING.")
    lists_lag: Seconds = Field(
        default=0, description="Seconds by which the lists of precisions lag behind the end of PREPARING."
    )
    outcome: Outcome = Field(
        default="ok",
        description="How preparations end: the precision is in supportedPrecisions; in "
        "supportedPrecisionsWithCalibration; READY with a bad status; FAILED with a bad status; READY "
        "without the precision; or the prepare is accepted and nothing ever happens.",
    )
    outcomes: dict[str, Outcome] = Field(
        default={}, description="Outcomes of single precisions, before the one for all: FP4=failed_state."
    )
    bump_update_time: bool = Field(
        default=True, description="Whether a preparation moves updateTime when it begins and when it ends."
    )
    stale_status: bool = Field(
        default=False,
        description="Whether models that are well carry an INTERNAL status of an earlier operation. "
        "Successful preparations then leave status alone.",
    )
    upload_duration: Seconds = Field(
        default=0, description="Seconds that a new model is UPLOADING. The upload itself is not emulated."
    )
    deploy_duration: Seconds = Field(default=8, description="Seconds that a new deployment is CREATING.")
    deploy_outcome: DeployOutcome = Field(
        default="ok",
        description="How new deployments end: READY; FAILED with a bad status; or CREATING for ever, with "
        "replicas that are billed and never ready.",
    )
    deploy_outcomes: dict[str, DeployOutcome] = Field(
        default={},
        description="Outcomes of deployments at single precisions, before the one for all: FP4=failed.",
    )
    start_at_zero: bool = Field(
        default=False,
        description="Whether a deployment with minReplicaCount 0 begins without a replica; else with one.",
    )
    scale_duration: Seconds = Field(
        default=2, description="Seconds that a deployment is UPDATING while replicas come or go."
    )
    scale_to_zero_after: Seconds | None = Field(
        default=None,
        description="Seconds without a request after which a deployment with minReplicaCount 0 goes to zero. "
        "Unset: its scaleToZeroWindow, by default an hour.",
    )
    create_lag: Seconds = Field(
        default=0,
        description="Seconds between an accepted create of a deployment and the first sign of it in what is "
        "read. Its id is taken at once.",
    )
    serving_lag: Seconds = Field(
        default=0, description="Seconds by which inference lags behind a replica that is ready."
    )
    recent_traffic: Seconds = Field(
        default=3600,
        description="Seconds after an answered request in which a deployment is deleted with ignoreChecks only.",
    )
    delete_duration: Seconds = Field(
        default=0, description="Seconds that a deployment is DELETING, and still billed."
    )
    purge_after: Seconds = Field(
        default=7 * 86_400,
        description="Seconds that a deleted deployment can be undeleted and its id is taken.",
    )
    deleted_get: Literal["deleted", "not_found"] = Field(
        default="deleted", description="A GET of a deleted deployment: the deployment, or 404."
    )
    shape_exclusive: bool = Field(
        default=True,
        description="Whether a deployment with a shape is refused if it names accelerators or a precision "
        "too; else those of the shape are taken.",
    )
    gpu_quota: int | None = Field(
        default=None,
        ge=0,
        description="GPUs that the deployments of an account may occupy at once. Unset: no limit.",
    )
    quota_status: Literal[429, 400, 403] = Field(
        default=429, description="HTTP status that answers what would exceed the quota of GPUs."
    )
    unauthorized_status: Literal[401, 403] = Field(
        default=403, description="HTTP status that answers a missing or wrong API key."
    )
    requests_per_minute: int | None = Field(
        default=None,
        ge=1,
        description="Requests answered within any 60 seconds; those beyond get 429. Unset: no limit.",
    )
    retry_after: str | None = Field(
        default=None,
        description="Retry-After header of those 429: seconds or an HTTP date. Unset: no header.",
    )

    @field_validator("accounts")
    @classmethod
    def _own_accounts(cls, value: list[str]) -> list[str]:
        for account in value:
            if check_id(account, "account id") == PUBLIC_ACCOUNT:
                raise ValueError(f"{PUBLIC_ACCOUNT!r} is the account of the public models, nobody's own")
        if len(set(value)) < len(value):
            raise ValueError("an account is named twice")
        return value

    @field_validator("retry_after", mode="before")
    @classmethod
    def _header(cls, value: object) -> object:
        return header_text(value)

    @field_validator("extra_models")
    @classmethod
    def _model_ids(cls, value: list[str]) -> list[str]:
        return [check_id(model, "model id") for model in value]

    @field_validator("outcomes", "deploy_outcomes")
    @classmethod
    def _known_precisions(cls, value: dict[str, str]) -> dict[str, str]:
        for name in value:
            Precision(name)
        # str() so that members of Precision, which are welcome in Python, are plain keys afterwards.
        return {str(name): outcome for name, outcome in value.items()}

    def outcome_of(self, precision: str) -> Outcome:
        """Return how a preparation at this precision ends."""
        return self.outcomes.get(precision, self.outcome)

    def deploy_outcome_of(self, precision: str) -> DeployOutcome:
        """Return how a deployment at this precision ends."""
        return self.deploy_outcomes.get(precision, self.deploy_outcome)

    def changed(self, /, **changes: object) -> Options:
        """
        Return these options with some of them changed.

        :raises pydantic.ValidationError: for a name that is no option, or a value that it cannot take.
        """
        return Options.model_validate({**self.model_dump(), **changes})
