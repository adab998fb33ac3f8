"""
The API's resources, as far as this package reads them.

Parsing is lenient: unknown fields are kept, and what is missing or ``null`` is unset. States and status codes are open
strings, since the API sends more of them than its schemas list.
"""

from __future__ import annotations

from typing import Annotated, Any, Generic, TypeVar

from pydantic import AfterValidator, BaseModel, ConfigDict, Field
from pydantic.alias_generators import to_camel

from airflow_provider_fireworks.client.text import one_line

Text = Annotated[str, AfterValidator(one_line)]
"""Text from the API, reduced to one printable line because it is logged and shown."""


class Resource(BaseModel):
    """JSON as the API sends it: camelCase, with fields that this package may not know."""

    model_config = ConfigDict(
        alias_generator=to_camel, populate_by_name=True, extra="allow", frozen=True, protected_namespaces=()
    )


class Status(Resource):
    """
    How the last operation on a resource ended.

    :ivar code: the name of a status code (``"OK"``, ``"INTERNAL"``), or its number; unset means OK.
    :ivar message: details, in the API's words.
    """

    code: Text | int | None = None
    message: Text | None = None

    @property
    def is_error(self) -> bool:
        """Whether the operation failed."""
        return self.code not in (None, "", "OK", 0, "0")

    @property
    def lacks_capacity(self) -> bool:
        """Whether it failed, or has not begun yet, because there are no GPUs."""
        return self.code in ("RESOURCE_EXHAUSTED", 8, "8")

    @property
    def is_aborted(self) -> bool:
        """Whether somebody stopped it."""
        return self.code in ("CANCELLED", 1, "1", "ABORTED", 10, "10")

    def __str__(self) -> str:
        return f"{self.code or 'OK'}: {self.message}" if self.message else str(self.code or "OK")


class BaseModelDetails(Resource):
    """Further details of a base model."""

    default_precision: Text | None = None


class Model(Resource):
    """
    A model, from ``GET /v1/accounts/{account}/models/{model}``.

    :ivar kind: ``HF_BASE_MODEL``, ``HF_PEFT_ADDON``, or another one.
    :ivar description: free text; this package writes its owner signature there.
    :ivar state: ``UPLOADING``, ``READY``, ``PREPARING``, ``FAILED``, or another one.
    :ivar calibrated: whether the model can be deployed at precisions other than FP16.
    :ivar supported_precisions: those at which the model can be deployed; ``None`` if the API omits the list, as newer
        schemas do.
    :ivar supported_precisions_with_calibration: those at which it can be deployed once it is calibrated.
    """

    name: Text = ""
    kind: Text | None = None
    description: str | None = None
    state: Text | None = None
    status: Status | None = None
    update_time: Text | None = None
    calibrated: bool | None = None
    supported_precisions: list[Text] | None = None
    supported_precisions_with_calibration: list[Text] | None = None
    base_model_details: BaseModelDetails | None = None

    @property
    def omits_precisions(self) -> bool:
        """Whether the API omits both lists, so that it will not fill them later either."""
        return self.supported_precisions is self.supported_precisions_with_calibration is None

    @property
    def lists_precisions(self) -> bool:
        """Whether the API lists any precision. An empty list counts as omitted."""
        return bool(self.supported_precisions or self.supported_precisions_with_calibration)


class ReplicaStats(Resource):
    """How many replicas of a deployment are at which stage."""

    pending_scheduling_replica_count: int | None = None
    downloading_model_replica_count: int | None = None
    initializing_replica_count: int | None = None
    ready_replica_count: int | None = None

    def __str__(self) -> str:
        stages = {
            "waiting for a GPU": self.pending_scheduling_replica_count,
            "downloading the model": self.downloading_model_replica_count,
            "initializing": self.initializing_replica_count,
            "ready": self.ready_replica_count,
        }
        return ", ".join(f"{count} {stage}" for stage, count in stages.items() if count)


class Deployment(Resource):
    """
    A deployment, from ``GET /v1/accounts/{account}/deployments/{deployment}``.

    :ivar state: ``CREATING``, ``READY``, ``UPDATING``, ``DELETING``, ``DELETED`` (softly: its id is taken),
        ``FAILED``, or another one.
    :ivar description: free text; this package writes its owner signature there.
    :ivar desired_replica_count: the replicas that the deployment should have now.
    :ivar replica_count: the replicas that it has.
    """

    name: Text = ""
    base_model: Text | None = None
    precision: Text | None = None
    state: Text | None = None
    status: Status | None = None
    display_name: Text | None = None
    description: str | None = None
    accelerator_type: Text | None = None
    accelerator_count: int | None = None
    deployment_shape: Text | None = None
    min_replica_count: int | None = None
    max_replica_count: int | None = None
    autoscaling_policy: Any = None
    desired_replica_count: int | None = None
    replica_count: int | None = None
    replica_stats: ReplicaStats | None = None
    create_time: Text | None = None
    update_time: Text | None = None

    @property
    def ready_replicas(self) -> int | None:
        """The number of replicas that serve, ``None`` if the API does not say."""
        if self.replica_stats is not None and self.replica_stats.ready_replica_count is not None:
            return self.replica_stats.ready_replica_count
        return self.replica_count


class Router(Resource):
    """
    A router, from ``GET /v1/accounts/{account}/routers/{router}``: a stable name in front of deployments.

    :ivar state: ``CREATING``, ``READY``, ``UPDATING``, ``DELETING``, or another one.
    :ivar display_name: free text; this package writes its mark of the owner there.
    :ivar deployments: the full names of the deployments that requests are routed to.
    :ivar weighted_random: an object, which has no fields, if traffic is split by the number of replicas.
    :ivar even_load: an object, which has no fields, if traffic is split so that the load of all replicas is equal.
    :ivar auto_generated: whether Fireworks generated it for a deployment, so that it cannot be changed.
    """

    name: Text = ""
    state: Text | None = None
    status: Status | None = None
    display_name: Text | None = None
    deployments: list[Text] | None = None
    model: Text | None = None
    weighted_random: Any = None
    even_load: Any = None
    aliases: list[Text] | None = None
    auto_generated: bool | None = None
    public: bool | None = None

    @property
    def strategy(self) -> str | None:
        """How traffic is split, as the API spells it: ``weightedRandom`` or ``evenLoad``."""
        if self.weighted_random is not None:
            return "weightedRandom"
        return "evenLoad" if self.even_load is not None else None


class DeploymentShape(Resource):
    """A hardware configuration in which a model can be deployed."""

    name: Text = ""
    base_model: Text | None = None
    precision: Text | None = None
    accelerator_type: Text | None = None
    accelerator_count: int | None = None
    preset_type: Text | None = None


class DeploymentShapeVersion(Resource):
    """
    A version of a deployment shape.

    :ivar snapshot: the shape at this version.
    """

    name: Text = ""
    snapshot: DeploymentShape | None = None
    validated: bool | None = None
    latest_validated: bool | None = None


class Account(Resource):
    """An account that the API key has access to."""

    name: Text = ""
    display_name: Text | None = None

    @property
    def account_id(self) -> str:
        """The id, without ``accounts/``."""
        return self.name.removeprefix("accounts/")


class Quota(Resource):
    """
    A quota of an account, such as its number of GPUs of one type.

    :ivar value: the enforced limit; at most ``max_value``.
    :ivar usage: how much of it is in use.
    """

    name: Text = ""
    value: int | None = None
    max_value: int | None = None
    usage: float | None = None


class PolicySettings(Resource):
    """
    The governance settings of an account.

    :ivar zero_data_retention: the zero data retention policy; unset if it is off.
    """

    name: Text = ""
    zero_data_retention: Any = None


ItemT = TypeVar("ItemT")


class Page(BaseModel, Generic[ItemT]):
    """
    One page of a list.

    :ivar next_page_token: what to send for the next page; empty on the last page.
    """

    items: list[ItemT] = Field(default_factory=list)
    next_page_token: str = ""
