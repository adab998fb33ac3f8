"""One deployment, its replicas and their cost: a state machine that is given the time and does nothing by itself."""

from __future__ import annotations

import copy
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from airflow_provider_fireworks.emulator.resource import OK_STATUS, check_fields, rfc3339
from airflow_provider_fireworks.emulator.responses import ErrorResponse

if TYPE_CHECKING:
    from collections.abc import Callable

    from airflow_provider_fireworks.emulator.options import Options

Stage = Literal["pendingScheduling", "downloadingModel", "initializing", "ready"]
InferenceResult = Literal["served", "scaling_up", "not_deployed"]

_HOUR = 3600.0
_REGION = "US_VIRGINIA_1"
# Share of its creation after which a replica is scheduled, and has downloaded the model.
_SCHEDULED, _DOWNLOADED = 0.25, 0.75

BLANK: dict[str, Any] = {
    "acceleratorCount": 0,
    "acceleratorType": "ACCELERATOR_TYPE_UNSPECIFIED",
    "activeModelVersion": "",
    "annotations": {},
    "autoTune": None,
    "autoscalingPolicy": None,
    "baseModel": "",
    "cluster": "",
    "createTime": "",
    "deleteTime": None,
    "deploymentShape": "",
    "deploymentTemplate": "",
    "description": "",
    "directRouteApiKeys": [],
    "directRouteHandle": "",
    "directRouteType": "DIRECT_ROUTE_TYPE_UNSPECIFIED",
    "disableDeploymentSizeValidation": False,
    "displayName": "",
    "draftModel": "",
    "draftTokenCount": 0,
    "enableAddons": False,
    "enableHotLoad": False,
    "enableHotReloadLatestAddon": False,
    "enableSessionAffinity": False,
    "expireTime": None,
    "hotLoadBucketType": "BUCKET_TYPE_UNSPECIFIED",
    "hotLoadBucketUrl": "",
    "hotLoadTrainerJob": "",
    "maxContextLength": 0,
    "maxReplicaCount": 0,
    "maxWithRevocableReplicaCount": 0,
    "minReplicaCount": 0,
    "name": "",
    "ngramSpeculationLength": 0,
    "numPeftDeviceCached": 0,
    "placement": None,
    "precision": "PRECISION_UNSPECIFIED",
    "pricingPlanId": "",
    "purgeTime": None,
    "state": "STATE_UNSPECIFIED",
    "status": OK_STATUS,
    "targetModelVersion": "",
    "updateTime": "",
}
# Computed from the replicas, unless they are forced.
_COUNTED = frozenset({"desiredReplicaCount", "region", "replicaCount", "replicaStats"})
# enableMtp is sent by the official SDK, but is not in schema 4.259.0.
DEPLOYMENT_FIELDS = frozenset({*BLANK, *_COUNTED, "enableMtp"})


@dataclass
class Replica:
    """
    One replica and the times of its stages; ``math.inf`` for those it never reaches.

    :ivar scheduled_at: when it gets a node and starts to download the model. It is billed from then on.
    :ivar gone_at: when it is removed, and no longer billed.
    """

    gpus: int
    scheduled_at: float
    initializing_at: float
    ready_at: float
    gone_at: float = math.inf

    @property
    def stays(self) -> bool:
        return self.gone_at == math.inf

    def stage(self, at: float) -> Stage:
        if at < self.scheduled_at:
            return "pendingScheduling"
        if at < self.initializing_at:
            return "downloadingModel"
        return "initializing" if at < self.ready_at else "ready"

    def remove(self, at: float, gone_at: float) -> None:
        """Remove it by ``gone_at``, or at once if it is not scheduled yet."""
        if at < self.scheduled_at:
            self.scheduled_at = self.gone_at = at
            return
        self.gone_at = min(self.gone_at, gone_at)
        if at < self.ready_at:
            self.ready_at = math.inf

    def gpu_seconds(self, until: float) -> float:
        return max(0.0, min(until, self.gone_at) - self.scheduled_at) * self.gpus


class EmulatedDeployment:
    """
    A deployment of the emulated API.

    Call :meth:`advance` before anything else: it applies the changes that are due.

    :param at: creation time in seconds since the epoch.
    :param options: apply until the next request that changes the deployment.
    :param precision: the precision it serves at, even if the field ``precision`` is unset.
    :param fields: fields as the API sends them.
    """

    def __init__(
        self,
        account: str,
        deployment_id: str,
        at: float,
        options: Options,
        precision: str,
        /,
        **fields: Any,
    ) -> None:
        self.account = account
        self.id = deployment_id
        self.visible_at = at + options.create_lag
        #: Whether it no longer exists, not even as DELETED.
        self.purged = False
        #: The precision it serves at, even if the field ``precision`` is unset.
        self.served_precision = precision
        #: Known questions that it has answered, rightly or not.
        self.answered = 0
        self._fields: dict[str, Any] = copy.deepcopy(
            {**BLANK, "name": self.name, "createTime": rfc3339(at), **fields}
        )
        self._forced: dict[str, Any] = {}
        #: When it was DELETED.
        self.deleted_at = -math.inf
        self._pinned = self._failing = self._stays_creating = self._hard = False
        self._replicas: list[Replica] = []
        self._desired = 0
        self._past_gpu_seconds = 0.0
        self._now = at
        self._ready_at = self._served_at = -math.inf
        self._capacity_at = self._purge_at = math.inf
        self._create(at, options)

    @property
    def name(self) -> str:
        return f"accounts/{self.account}/deployments/{self.id}"

    @property
    def state(self) -> str:
        return str(self._fields["state"])

    @property
    def base_model(self) -> str:
        return str(self._fields["baseModel"])

    @property
    def precision(self) -> str:
        return str(self._fields["precision"])

    @property
    def accelerator_type(self) -> str:
        return str(self._fields["acceleratorType"])

    @property
    def gpus_per_replica(self) -> int:
        return int(self._fields["acceleratorCount"])

    @property
    def gpus(self) -> int:
        """The GPUs of all replicas, including those that are being added or removed."""
        return sum(replica.gpus for replica in self._replicas)

    @property
    def gpu_seconds(self) -> float:
        """The cost so far."""
        return self._past_gpu_seconds + sum(replica.gpu_seconds(self._now) for replica in self._replicas)

    @property
    def termination_message(self) -> str:
        """Why it FAILED, or ``""``."""
        failed = self.state == "FAILED"
        return (
            f"a replica ran out of memory while loading the weights at {self.served_precision}"
            if failed
            else ""
        )

    @property
    def ready_replicas(self) -> int:
        return sum(replica.stage(self._now) == "ready" for replica in self._replicas)

    @property
    def is_single_region(self) -> bool:
        """Whether it was created for one region. Without a placement, it is in several."""
        return "region" in (self._fields["placement"] or {})

    def gpus_to_add(self, wanted: int) -> int:
        """Return how many GPUs scaling to this number of replicas would add."""
        return max(0, wanted - self._desired) * self.gpus_per_replica

    def start_count(self, options: Options) -> int:
        """Return how many replicas it is created with."""
        minimum = int(self._fields["minReplicaCount"])
        first = 0 if options.start_at_zero and not minimum else max(minimum, 1)
        return min(first, int(self._fields["maxReplicaCount"]))

    def count_within_limits(self, changes: dict[str, Any] | None = None) -> int:
        """Return the number of replicas that its limits, with these changes, lead to."""
        fields = {**self._fields, **(changes or {})}
        return int(min(max(self._desired, fields["minReplicaCount"]), fields["maxReplicaCount"]))

    def advance(self, now: float) -> None:
        """Apply all changes that are due, each at its own time."""
        while True:
            at, change = min(self._next_changes(), key=lambda due: due[0])
            if at > now or at == math.inf:
                break
            change(at)
        self._now = max(self._now, now)
        for replica in [replica for replica in self._replicas if replica.gone_at <= self._now]:
            self._past_gpu_seconds += replica.gpu_seconds(self._now)
            self._replicas.remove(replica)

    def scale(self, wanted: int, at: float, options: Options) -> None:
        """
        Respond to ``PATCH …:scale``. A number above the maximum raises the maximum.

        :raises ErrorResponse: if it is DELETING, DELETED or FAILED.
        """
        self._check_alive()
        self._fields["maxReplicaCount"] = max(wanted, self._fields["maxReplicaCount"])
        self._scale_to(wanted, at, options)

    def edit(self, at: float, options: Options, fields: dict[str, Any]) -> None:
        """
        Respond to ``PATCH``. Changed limits add or remove replicas.

        :raises ErrorResponse: if it is DELETING, DELETED or FAILED.
        """
        self._check_alive()
        self._fields.update(copy.deepcopy(fields))
        self._fields["updateTime"] = rfc3339(at)
        self._options = options
        self._scale_to(self.count_within_limits(), at, options)

    def delete(self, at: float, options: Options, *, hard: bool, ignore_checks: bool) -> None:
        """
        Respond to ``DELETE``.

        :param hard: remove it completely, and free its id.
        :raises ErrorResponse: if it served recently, or is DELETED and ``hard`` is not set.
        """
        if self.state == "DELETED":
            if not hard:
                raise ErrorResponse("NOT_FOUND", f"deployment {self.name} is already deleted")
            self.purged = True
            return
        if self.state == "DELETING":
            self._hard = self._hard or hard
            return
        if at - self._served_at < options.recent_traffic and not ignore_checks:
            raise ErrorResponse(
                "FAILED_PRECONDITION",
                f"deployment {self.name} served requests within the last {options.recent_traffic:g} seconds; "
                "set ignore_checks to delete it anyway",
            )
        end = at + options.delete_duration
        for replica in self._replicas:
            replica.remove(at, end)
        self._start_operation("DELETING", at, end, options)
        self._desired = 0
        self._hard = hard
        self.advance(at)

    def undelete(self, at: float, options: Options) -> None:
        """
        Respond to ``POST …:undelete``: it is created again under its old name.

        :raises ErrorResponse: unless it is DELETED.
        """
        if self.state != "DELETED":
            raise ErrorResponse("FAILED_PRECONDITION", f"deployment {self.name} is not deleted")
        self._fields.update(deleteTime=None, purgeTime=None)
        self._purge_at = math.inf
        # Requests before the deletion do not count as recent traffic.
        self._served_at = -math.inf
        self._create(at, options)

    def infer(self, at: float, options: Options, *, can_grow: bool) -> InferenceResult:
        """
        Respond to an inference request. At zero replicas it adds one.

        :param can_grow: whether the quota has room for one more.
        """
        ready = [replica.ready_at for replica in self._replicas if replica.stage(at) == "ready"]
        serves_early = self._stays_creating and bool(ready)
        if self.state not in ("READY", "UPDATING") and not serves_early:
            return "not_deployed"
        if any(ready_at + options.serving_lag <= at for ready_at in ready):
            self._served_at = at
            self._options = options
            return "served"
        if ready or not self._fields["maxReplicaCount"]:
            return "not_deployed"
        if not self._desired and can_grow:
            self._scale_to(1, at, options)
        return "scaling_up"

    def force(self, fields: dict[str, Any], at: float) -> None:
        """
        Set fields to any value. ``updateTime`` changes only if it is among them.

        A forced ``state`` stays until the next request that changes the deployment. Replicas follow it: DELETED
        and FAILED have none, and those of READY are ready. Forced replica counts stay as long, and change
        nothing but the response.

        :raises ValueError: for an unknown field.
        """
        check_fields(fields, DEPLOYMENT_FIELDS, "deployment")
        fields = copy.deepcopy(fields)
        for name, value in fields.items():
            (self._forced if name in _COUNTED else self._fields)[name] = value
        if "state" not in fields:
            return
        if self._waits_for_capacity and "status" not in fields:
            self._fields["status"] = dict(OK_STATUS)
        self._pinned = True
        self._failing = self._stays_creating = False
        self._ends_at = self._capacity_at = self._purge_at = math.inf
        over = self.state in ("DELETED", "FAILED")
        self.deleted_at = at if self.state == "DELETED" else self.deleted_at
        for replica in self._replicas:
            if over:
                replica.remove(at, at)
            elif self.state == "READY" and replica.stays:
                replica.scheduled_at = min(replica.scheduled_at, at)
                replica.initializing_at = min(replica.initializing_at, at)
                replica.ready_at = min(replica.ready_at, at)
        if over:
            self._desired = 0
        self.advance(at)

    def payload(self) -> dict[str, Any]:
        """Return the deployment as the API sends it."""
        stages = [replica.stage(self._now) for replica in self._replicas]
        running = sum(stage != "pendingScheduling" for stage in stages)
        counted = {
            "desiredReplicaCount": self._desired,
            "region": _REGION if running else "REGION_UNSPECIFIED",
            "replicaCount": running,
            "replicaStats": {
                "downloadingModelReplicaCount": stages.count("downloadingModel"),
                "initializingReplicaCount": stages.count("initializing"),
                "partialReplicaCount": 0,
                "pendingSchedulingReplicaCount": stages.count("pendingScheduling"),
                "readyReplicaCount": stages.count("ready"),
                "revocableReplicaCount": 0,
            },
        }
        return copy.deepcopy(dict(sorted({**self._fields, **counted, **self._forced}.items())))

    def _create(self, at: float, options: Options) -> None:
        outcome = options.deploy_outcome_of(self.served_precision)
        self._desired = self.start_count(options)
        # Without a replica there is no need for capacity.
        begin = at + options.capacity_after if self._desired else at
        end = begin + options.deploy_duration
        ready_at = math.inf if outcome == "never" else end
        self._replicas += [self._new_replica(begin, end, ready_at) for _ in range(self._desired)]
        stays = outcome == "stays_creating"
        self._start_operation("CREATING", at, math.inf if stays else ready_at, options)
        self._failing, self._stays_creating = outcome == "failed", stays
        if begin > at:
            self._wait_for_capacity(begin)
        self.advance(at)

    @property
    def _waits_for_capacity(self) -> bool:
        return self._capacity_at < math.inf

    def _wait_for_capacity(self, until: float) -> None:
        message = f"no capacity for {self.accelerator_type}"
        self._fields["status"] = {"code": "RESOURCE_EXHAUSTED", "message": message}
        self._capacity_at = until

    def _get_capacity(self, at: float) -> None:
        self._capacity_at = math.inf
        self._fields.update(status=dict(OK_STATUS), updateTime=rfc3339(at))

    def _scale_to(self, wanted: int, at: float, options: Options) -> None:
        """Add replicas, or remove the newest ones."""
        if wanted == self._desired:
            return
        # New replicas wait for capacity as well, unless no replica is left.
        capacity_at = self._capacity_at if wanted else math.inf
        waits = capacity_at < math.inf
        begin = capacity_at if waits else at
        end = begin + options.scale_duration
        staying = [replica for replica in self._replicas if replica.stays]
        for replica in staying[wanted:]:
            replica.remove(at, end)
        self._replicas += [self._new_replica(begin, end, end) for _ in range(wanted - len(staying))]
        self._desired = wanted
        ends = [replica.ready_at if replica.stays else replica.gone_at for replica in self._replicas]
        # A creation that is to fail still fails at its time, unless no replica is left.
        fails, stays = self._failing and wanted > 0, self._stays_creating
        ends_at = self._ends_at if fails or stays else max([at, *ends])
        self._start_operation("CREATING" if self.state == "CREATING" else "UPDATING", at, ends_at, options)
        self._failing, self._stays_creating = fails, stays
        if waits:
            self._wait_for_capacity(capacity_at)
        self.advance(at)

    def _start_operation(self, state: str, at: float, ends_at: float, options: Options) -> None:
        self._forced.clear()
        self._pinned = self._failing = self._stays_creating = self._hard = False
        self._capacity_at = math.inf
        self._fields.update(state=state, status=dict(OK_STATUS), updateTime=rfc3339(at))
        self._ends_at = ends_at
        self._options = options

    def _new_replica(self, at: float, end: float, ready_at: float) -> Replica:
        takes = end - at
        return Replica(self.gpus_per_replica, at + takes * _SCHEDULED, at + takes * _DOWNLOADED, ready_at)

    def _next_changes(self) -> list[tuple[float, Callable[[float], None]]]:
        return [
            (self._capacity_at, self._get_capacity),
            (self._ends_at, self._end_operation),
            (self._idle_at(), lambda at: self._scale_to(0, at, self._options)),
            (self._purge_at, self._purge),
        ]

    def _end_operation(self, at: float) -> None:
        self._ends_at = math.inf
        self._fields["updateTime"] = rfc3339(at)
        if self.state == "DELETING":
            self.deleted_at = at
            self._purge_at = at + self._options.purge_after
            self._fields.update(state="DELETED", deleteTime=rfc3339(at), purgeTime=rfc3339(self._purge_at))
            self.purged = self._hard
        elif self._failing:
            self._failing = False
            for replica in self._replicas:
                replica.remove(at, at)
            wanted = f"{self._desired} x {self.gpus_per_replica} {self.accelerator_type}"
            self._desired = 0
            message = f"the deployment could not be created: the replicas on {wanted} did not start"
            self._fields.update(state="FAILED", status={"code": "INTERNAL", "message": message})
        else:
            self._fields["state"] = "READY"
            self._ready_at = at

    def _idle_at(self) -> float:
        """Return when it is scaled to zero if it gets no request."""
        if self.state != "READY" or self._pinned or self._fields["minReplicaCount"] or not self._desired:
            return math.inf
        window = self._options.scale_to_zero_after
        if window is None:
            policy = self._fields["autoscalingPolicy"] or {}
            given = str(policy.get("scaleToZeroWindow") or "")
            window = float(given.removesuffix("s")) if given else _HOUR
        return max(self._ready_at, self._served_at) + window

    def _purge(self, at: float) -> None:
        self._purge_at = math.inf
        self.purged = True

    def _check_alive(self) -> None:
        if self.state in ("DELETING", "DELETED", "FAILED"):
            raise ErrorResponse("FAILED_PRECONDITION", f"deployment {self.name} is {self.state}")
