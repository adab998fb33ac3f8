"""One deployment, its replicas and what they cost: a state machine that is told the time; nothing runs by itself."""

from __future__ import annotations

import copy
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from airflow_provider_fireworks.emulator.models import rfc3339
from airflow_provider_fireworks.emulator.responses import ErrorResponse

if TYPE_CHECKING:
    from collections.abc import Callable

    from airflow_provider_fireworks.emulator.options import Options

Stage = Literal["pendingScheduling", "downloadingModel", "initializing", "ready"]

#: What a request for inference meets: an answer, replicas that are on their way, or nothing that serves.
Served = Literal["served", "scaling_up", "not_deployed"]

_OK = {"code": "OK", "message": ""}
_HOUR = 3600.0
_REGION = "US_VIRGINIA_1"
# Parts of the time that a replica takes: up to the first it waits for a node, up to the second it downloads.
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
    "status": _OK,
    "targetModelVersion": "",
    "updateTime": "",
}
# Told by the replicas, unless they are forced.
_COUNTED = frozenset({"desiredReplicaCount", "region", "replicaCount", "replicaStats"})
# Fields that schema 4.259.0 does not have yet and the official SDK sends: kept where they are given.
_NEWER_FIELDS = frozenset({"enableMtp"})
_KNOWN_FIELDS = frozenset({*BLANK, *_COUNTED, *_NEWER_FIELDS})

#: What may be changed by ``PATCH``. The real API's list is not published; this leaves out what would need
#: other replicas.
MUTABLE = frozenset(
    {
        "annotations",
        "autoTune",
        "autoscalingPolicy",
        "description",
        "directRouteApiKeys",
        "directRouteType",
        "displayName",
        "draftModel",
        "draftTokenCount",
        "enableHotLoad",
        "enableHotReloadLatestAddon",
        "enableMtp",
        "enableSessionAffinity",
        "expireTime",
        "hotLoadBucketType",
        "maxReplicaCount",
        "maxWithRevocableReplicaCount",
        "minReplicaCount",
        "ngramSpeculationLength",
        "numPeftDeviceCached",
        "pricingPlanId",
        "targetModelVersion",
    }
)


def check_fields(fields: dict[str, Any]) -> None:
    """
    Refuse fields that no deployment has. Their values are free.

    :raises ValueError: naming the first one.
    """
    for name in fields:
        if name not in _KNOWN_FIELDS:
            raise ValueError(
                f"{name!r} is no field of a deployment; those are: {', '.join(sorted(_KNOWN_FIELDS))}"
            )


@dataclass
class Replica:
    """
    One replica, by the times of what happens to it; ``math.inf`` for what never does.

    :param gpus: how many GPUs it occupies.
    :param scheduled_at: when it has a node and begins to download the model. It is billed from then on.
    :param initializing_at: when it has the model.
    :param ready_at: when it is ready.
    :param gone_at: when it is gone. It is billed until then.
    """

    gpus: int
    scheduled_at: float
    initializing_at: float
    ready_at: float
    gone_at: float = math.inf

    @property
    def stays(self) -> bool:
        """Whether nobody sent it away."""
        return self.gone_at == math.inf

    def stage(self, at: float) -> Stage:
        """Return how far it is."""
        if at < self.scheduled_at:
            return "pendingScheduling"
        if at < self.initializing_at:
            return "downloadingModel"
        return "initializing" if at < self.ready_at else "ready"

    def leave(self, at: float, gone_at: float) -> None:
        """Be sent away; one that is not scheduled yet is gone at once."""
        if at < self.scheduled_at:
            self.scheduled_at = self.gone_at = at
            return
        self.gone_at = min(self.gone_at, gone_at)
        if at < self.ready_at:
            self.ready_at = math.inf

    def gpu_seconds(self, until: float) -> float:
        """Return what it cost by then."""
        return max(0.0, min(until, self.gone_at) - self.scheduled_at) * self.gpus


class EmulatedDeployment:
    """
    A deployment of the emulated API.

    ``settle(now)`` lets everything happen that was due by then, each thing at its own time; ask for nothing
    else before it.

    :param account: id of the account that it belongs to.
    :param deployment: its id.
    :param at: when it was created, in seconds since 1970.
    :param options: hold for what was asked of it, until it is asked for something else.
    :param precision: what its model is served at, also where the field ``precision`` is unset.
    :param fields: fields as the API sends them, over the unset ones.
    """

    def __init__(
        self,
        account: str,
        deployment: str,
        at: float,
        options: Options,
        precision: str,
        /,
        **fields: Any,
    ) -> None:
        check_fields(fields)
        self.account = account
        self.deployment = deployment
        #: From when on it can be read.
        self.visible_at = at + options.create_lag
        #: Whether there is nothing left of it, its id included.
        self.purged = False
        self._precision = precision
        self._fields: dict[str, Any] = {
            **copy.deepcopy(BLANK),
            "name": self.name,
            "createTime": rfc3339(at),
            **copy.deepcopy(fields),
        }
        self._forced: dict[str, Any] = {}
        self._pinned = self._failing = self._hard = False
        self._replicas: list[Replica] = []
        self._desired = 0
        self._spent = 0.0
        self._now = at
        self._ready_at = self._served_at = -math.inf
        self._purge_at = math.inf
        self._begin(at, options)

    @property
    def name(self) -> str:
        """The full resource name."""
        return f"accounts/{self.account}/deployments/{self.deployment}"

    @property
    def state(self) -> str:
        """The state, as it is read."""
        return str(self._fields["state"])

    @property
    def base_model(self) -> str:
        """The full name of the model that it serves."""
        return str(self._fields["baseModel"])

    @property
    def precision(self) -> str:
        """The field of that name."""
        return str(self._fields["precision"])

    @property
    def accelerator_type(self) -> str:
        """The field of that name."""
        return str(self._fields["acceleratorType"])

    @property
    def gpus_per_replica(self) -> int:
        """How many GPUs one replica occupies."""
        return int(self._fields["acceleratorCount"])

    @property
    def gpus(self) -> int:
        """How many GPUs its replicas occupy, those on their way and those about to leave too."""
        return sum(replica.gpus for replica in self._replicas)

    @property
    def gpu_seconds(self) -> float:
        """What it cost so far."""
        return self._spent + sum(replica.gpu_seconds(self._now) for replica in self._replicas)

    def gpus_to_add(self, wanted: int) -> int:
        """How many GPUs more it would occupy if it were scaled to so many replicas."""
        return max(0, wanted - self._desired) * self.gpus_per_replica

    def start_count(self, options: Options) -> int:
        """With how many replicas it begins."""
        least = int(self._fields["minReplicaCount"])
        first = 0 if options.start_at_zero and not least else max(least, 1)
        return min(first, int(self._fields["maxReplicaCount"]))

    def count_within_limits(self, changes: dict[str, Any] | None = None) -> int:
        """To how many replicas its limits bring it, with changes to them."""
        fields = {**self._fields, **(changes or {})}
        return int(min(max(self._desired, fields["minReplicaCount"]), fields["maxReplicaCount"]))

    def settle(self, now: float) -> None:
        """Let everything happen that was due by ``now``, in order."""
        while True:
            at, happen = min(self._due(), key=lambda due: due[0])
            if at > now or at == math.inf:
                break
            happen(at)
        self._now = max(self._now, now)
        for replica in [replica for replica in self._replicas if replica.gone_at <= self._now]:
            self._spent += replica.gpu_seconds(self._now)
            self._replicas.remove(replica)

    def scale(self, wanted: int, at: float, options: Options) -> None:
        """
        Ask for a number of replicas, as ``PATCH …:scale`` does. A number beyond the maximum raises it.

        :raises ErrorResponse: for a deployment that is deleted, being deleted or FAILED.
        """
        self._check_alive()
        self._fields["maxReplicaCount"] = max(wanted, self._fields["maxReplicaCount"])
        self._aim(wanted, at, options)

    def edit(self, at: float, options: Options, fields: dict[str, Any]) -> None:
        """
        Change fields as a user does with ``PATCH``; replicas come and go where the limits ask for it.

        :raises ErrorResponse: as for :meth:`scale`.
        """
        self._check_alive()
        self._fields.update(copy.deepcopy(fields))
        self._touch(at)
        self._options = options
        if self.count_within_limits() != self._desired:
            self._aim(self.count_within_limits(), at, options)

    def delete(self, at: float, options: Options, *, hard: bool, ignore_checks: bool) -> None:
        """
        Delete it, as ``DELETE`` does. It is DELETING and billed for :attr:`Options.delete_duration` seconds.

        :param hard: leave nothing of it, and free its id.
        :param ignore_checks: also if it served lately.
        :raises ErrorResponse: if it served lately, or is deleted already and ``hard`` is not asked for.
        """
        if self.state == "DELETED":
            if not hard:
                raise ErrorResponse("NOT_FOUND", f"deployment {self.name} is deleted already")
            self.purged = True
            return
        if self.state == "DELETING":
            self._hard = self._hard or hard
            return
        if at - self._served_at < options.recent_traffic and not ignore_checks:
            raise ErrorResponse(
                "FAILED_PRECONDITION",
                f"deployment {self.name} served requests within the last {options.recent_traffic:g} seconds; "
                "set ignore_checks to delete it all the same",
            )
        end = at + options.delete_duration
        for replica in self._replicas:
            replica.leave(at, end)
        self._operate("DELETING", at, end, options)
        self._desired = 0
        self._hard = hard
        self.settle(at)

    def undelete(self, at: float, options: Options) -> None:
        """
        Bring it back, as ``POST …:undelete`` does: it is created anew under its old name.

        :raises ErrorResponse: unless it is deleted.
        """
        if self.state != "DELETED":
            raise ErrorResponse("FAILED_PRECONDITION", f"deployment {self.name} is not deleted")
        self._fields.update(deleteTime=None, purgeTime=None)
        self._purge_at = math.inf
        # What it served before its deletion says nothing of what it is used for now.
        self._served_at = -math.inf
        self._begin(at, options)

    def serve(self, at: float, options: Options, *, may_grow: bool) -> Served:
        """
        Meet a request for inference. One that meets no replica brings the deployment back from zero.

        :param may_grow: whether there is a GPU left for that.
        """
        if self.state not in ("READY", "UPDATING"):
            return "not_deployed"
        ready = [replica.ready_at for replica in self._replicas if replica.stage(at) == "ready"]
        if any(ready_at + options.serving_lag <= at for ready_at in ready):
            self._served_at = at
            self._options = options
            return "served"
        if ready or not self._fields["maxReplicaCount"]:
            return "not_deployed"
        if not self._desired and may_grow:
            self._aim(1, at, options)
        return "scaling_up"

    def force(self, fields: dict[str, Any], at: float) -> None:
        """
        Set fields to anything, past all rules. ``updateTime`` stays unless it is among them.

        A forced state stays, until something is asked of the deployment that changes it. Replicas follow it
        as far as it says something of them: there are none where it is DELETED or FAILED, and none that are
        still coming where it is READY. Forced counts of replicas stay as long; they change nothing but what
        is read.
        """
        check_fields(fields)
        self._forced.update({name: value for name, value in fields.items() if name in _COUNTED})
        self._fields.update(
            {name: copy.deepcopy(value) for name, value in fields.items() if name not in _COUNTED}
        )
        if "state" not in fields:
            return
        self._pinned = True
        self._failing = False
        self._ends_at = self._purge_at = math.inf
        for replica in self._replicas:
            if self.state in ("DELETED", "FAILED"):
                replica.leave(at, at)
            elif self.state == "READY" and replica.stays:
                replica.scheduled_at = min(replica.scheduled_at, at)
                replica.initializing_at = min(replica.initializing_at, at)
                replica.ready_at = min(replica.ready_at, at)
        if self.state in ("DELETED", "FAILED"):
            self._desired = 0
        self.settle(at)

    def payload(self) -> dict[str, Any]:
        """Return the deployment as ``GET …/deployments/{deployment}`` sends it."""
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
        return dict(sorted(copy.deepcopy({**self._fields, **counted, **self._forced}).items()))

    def _begin(self, at: float, options: Options) -> None:
        """Start as new, with the outcome that the options have for it."""
        outcome = options.deploy_outcome_of(self._precision)
        end = at + options.deploy_duration
        self._desired = self.start_count(options)
        ready_at = math.inf if outcome == "never" else end
        self._replicas += [self._coming(at, end, ready_at) for _ in range(self._desired)]
        self._operate("CREATING", at, ready_at, options)
        self._failing = outcome == "failed"
        self.settle(at)

    def _aim(self, wanted: int, at: float, options: Options) -> None:
        """Let replicas come or go until there are so many. The youngest go first."""
        if wanted == self._desired:
            return
        end = at + options.scale_duration
        staying = [replica for replica in self._replicas if replica.stays]
        for replica in staying[wanted:]:
            replica.leave(at, end)
        self._replicas += [self._coming(at, end, end) for _ in range(wanted - len(staying))]
        self._desired = wanted
        over = [replica.ready_at if replica.stays else replica.gone_at for replica in self._replicas]
        # Where it is to fail it fails when it was to, unless nothing is left that could.
        fails = self._failing and wanted > 0
        ends_at = self._ends_at if fails else max([at, *over])
        self._operate("CREATING" if self.state == "CREATING" else "UPDATING", at, ends_at, options)
        self._failing = fails
        self.settle(at)

    def _operate(self, state: str, at: float, ends_at: float, options: Options) -> None:
        self._forced.clear()
        self._pinned = self._failing = self._hard = False
        self._fields.update(state=state, status=dict(_OK))
        self._touch(at)
        self._ends_at = ends_at
        self._options = options

    def _coming(self, at: float, end: float, ready_at: float) -> Replica:
        takes = end - at
        return Replica(self.gpus_per_replica, at + takes * _SCHEDULED, at + takes * _DOWNLOADED, ready_at)

    def _due(self) -> list[tuple[float, Callable[[float], None]]]:
        """What comes next, whatever it is."""
        return [(self._ends_at, self._end), (self._idle_at(), self._rest), (self._purge_at, self._purge)]

    def _end(self, at: float) -> None:
        """Come to the end of what is going on: a creation, coming and going replicas, a deletion."""
        self._ends_at = math.inf
        self._touch(at)
        if self.state == "DELETING":
            self._purge_at = at + self._options.purge_after
            self._fields.update(state="DELETED", deleteTime=rfc3339(at), purgeTime=rfc3339(self._purge_at))
            self.purged = self._hard
        elif self._failing:
            self._failing = False
            for replica in self._replicas:
                replica.leave(at, at)
            wanted = f"{self._desired} x {self.gpus_per_replica} {self.accelerator_type}"
            self._desired = 0
            message = f"the deployment could not be created: no capacity for {wanted}"
            self._fields.update(state="FAILED", status={"code": "INTERNAL", "message": message})
        else:
            self._fields["state"] = "READY"
            self._ready_at = at

    def _idle_at(self) -> float:
        """When it goes to zero if nobody uses it until then."""
        if self.state != "READY" or self._pinned or self._fields["minReplicaCount"] or not self._desired:
            return math.inf
        window = self._options.scale_to_zero_after
        if window is None:
            policy = self._fields["autoscalingPolicy"] or {}
            given = str(policy.get("scaleToZeroWindow") or "")
            window = float(given.removesuffix("s")) if given else _HOUR
        return max(self._ready_at, self._served_at) + window

    def _rest(self, at: float) -> None:
        self._aim(0, at, self._options)

    def _purge(self, at: float) -> None:
        self._purge_at = math.inf
        self.purged = True

    def _touch(self, at: float) -> None:
        self._fields["updateTime"] = rfc3339(at)

    def _check_alive(self) -> None:
        if self.state in ("DELETING", "DELETED", "FAILED"):
            raise ErrorResponse("FAILED_PRECONDITION", f"deployment {self.name} is {self.state}")
