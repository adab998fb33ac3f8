"""All deployments of the emulated API: which may be made, who may touch them, what they cost."""

from __future__ import annotations

import copy
import random
import re
import string
from typing import TYPE_CHECKING, Any

from airflow_provider_fireworks.client.names import InvalidNameError, ModelName, check_id
from airflow_provider_fireworks.emulator import shapes
from airflow_provider_fireworks.emulator.deployments import BLANK, MUTABLE, EmulatedDeployment
from airflow_provider_fireworks.emulator.options import PUBLIC_ACCOUNT
from airflow_provider_fireworks.emulator.records import CreatedDeployment
from airflow_provider_fireworks.emulator.responses import ErrorResponse, not_found
from airflow_provider_fireworks.emulator.schema import (
    PRECISION_UNSPECIFIED,
    AutoscalingPolicy,
    AutoTune,
    camel,
)

if TYPE_CHECKING:
    from pydantic import BaseModel

    from airflow_provider_fireworks.emulator.deployments import Served
    from airflow_provider_fireworks.emulator.models import EmulatedModel
    from airflow_provider_fireworks.emulator.shapes import ShapeVersion
    from airflow_provider_fireworks.emulator.state import State

_NO_ACCELERATOR = "ACCELERATOR_TYPE_UNSPECIFIED"
_DEPLOYMENT = re.compile(r"accounts/([^/]+)/deployments/([^/]+)")
_MESSAGES: dict[str, type[BaseModel]] = {"autoTune": AutoTune, "autoscalingPolicy": AutoscalingPolicy}
_RANDOM_ID = string.ascii_lowercase + string.digits


class Fleet:
    """
    The deployments of an API. Like its models they are brought up to the present when they are looked at.

    :param state: the API.
    """

    def __init__(self, state: State) -> None:
        self._state = state
        self._deployments: dict[tuple[str, str], EmulatedDeployment] = {}
        self._spent = 0.0
        self._shapes = shapes.stock(state.options.accounts[0], state.born)

    @property
    def gpu_seconds(self) -> float:
        """What all deployments ever cost together."""
        self._settle()
        return self._spent + sum(deployment.gpu_seconds for deployment in self._deployments.values())

    def all(self) -> list[EmulatedDeployment]:
        """Every deployment there is, deleted ones too, by account and name."""
        self._settle()
        return [deployment for _, deployment in sorted(self._deployments.items())]

    def left(self) -> list[str]:
        """The names of those that nobody deleted."""
        return [deployment.name for deployment in self.all() if deployment.state != "DELETED"]

    def visible(self, account: str, *, deleted: bool) -> list[EmulatedDeployment]:
        """The deployments of an account that the key can read, by name."""
        self._state.check_own(account)
        return [
            deployment
            for deployment in self.all()
            if deployment.account == account
            and self._can_be_read(deployment)
            and (deleted or deployment.state != "DELETED")
        ]

    def own(self, account: str, deployment: str) -> EmulatedDeployment:
        """A deployment of the key's, deleted or not."""
        self._state.check_own(account)
        found = self.find(account, deployment)
        if found is None or not self._can_be_read(found):
            raise not_found()
        return found

    def find(self, account: str, deployment: str) -> EmulatedDeployment | None:
        """A deployment, brought up to the present, also one that cannot be read yet."""
        self._settle()
        return self._deployments.get((account, deployment))

    def create(
        self,
        account: str,
        deployment: str | None,
        fields: dict[str, Any],
        *,
        validate_only: bool = False,
        skip_shape_validation: bool = False,
    ) -> EmulatedDeployment:
        """
        Create a deployment for the key, as ``POST …/deployments`` does.

        :param deployment: its id; a random one if there is none.
        :param fields: what the request has of it.
        :param validate_only: check all, and change nothing.
        :param skip_shape_validation: take a shape that is not validated too.
        """
        self._state.check_own(account)
        deployment = check_id(deployment or _random_id(), "deployment id")
        if self.find(account, deployment) is not None:
            raise ErrorResponse(
                "ALREADY_EXISTS", f"deployment accounts/{account}/deployments/{deployment} already exists"
            )
        model = self._model(fields.get("baseModel", ""))
        fields = self._shaped(account, model, fields, skip_shape_validation)
        precision = self._precision(model, fields)
        _fill_counts(self._base(model), fields)
        now, options = self._state.clock(), self._state.options
        created = EmulatedDeployment(account, deployment, now, options, precision, **fields)
        self._check_quota(created, created.start_count(options) * created.gpus_per_replica)
        if not validate_only:
            self._deployments[account, deployment] = created
            self._state.creations.append(
                CreatedDeployment(account, deployment, created.base_model, created.precision, now)
            )
            self._state.counts["deployment created"] += 1
        return created

    def scale(self, account: str, deployment: str, replicas: int) -> None:
        """Scale a deployment for the key; see :meth:`EmulatedDeployment.scale`."""
        found = self.own(account, deployment)
        self._check_quota(found, found.gpus_to_add(replicas))
        found.scale(replicas, self._state.clock(), self._state.options)

    def edit(self, account: str, deployment: str, body: dict[str, Any], mask: str) -> EmulatedDeployment:
        """
        Change a deployment for the key, as ``PATCH …/deployments/{deployment}`` does.

        :param body: the fields that were sent.
        :param mask: the names of those to change, camelCase or snake_case; empty for all that can be.
        """
        found = self.own(account, deployment)
        fields = _edited(found.payload(), body, mask)
        _check_limits({**found.payload(), **fields})
        self._check_quota(found, found.gpus_to_add(found.count_within_limits(fields)))
        found.edit(self._state.clock(), self._state.options, fields)
        return found

    def delete(self, account: str, deployment: str, *, hard: bool, ignore_checks: bool) -> None:
        """Delete a deployment for the key; see :meth:`EmulatedDeployment.delete`."""
        found = self.own(account, deployment)
        found.delete(self._state.clock(), self._state.options, hard=hard, ignore_checks=ignore_checks)
        self._settle()

    def undelete(self, account: str, deployment: str) -> EmulatedDeployment:
        """Bring a deployment back for the key; see :meth:`EmulatedDeployment.undelete`."""
        found = self.own(account, deployment)
        options = self._state.options
        if found.state == "DELETED":
            self._check_quota(found, found.start_count(options) * found.gpus_per_replica)
        found.undelete(self._state.clock(), options)
        return found

    def serve(self, model: str) -> Served:
        """
        Meet a request for inference.

        :param model: ``<model name>#<deployment name>``. Without a deployment nothing serves: the emulator
            has no serverless models.
        """
        base_model, _, name = model.partition("#")
        match = _DEPLOYMENT.fullmatch(name)
        found = self.find(*match.groups()) if match else None
        if (
            found is None
            or found.base_model != base_model
            or found.account not in self._state.options.accounts
        ):
            return "not_deployed"
        quota = self._state.options.gpu_quota
        one = found.gpus_per_replica
        may_grow = quota is None or self._gpus(found.account) + one <= quota
        return found.serve(self._state.clock(), self._state.options, may_grow=may_grow)

    def remove(self, account: str, deployment: str) -> bool:
        """Let a deployment vanish; whether it was there. What it cost is not forgotten."""
        self._settle()
        found = self._deployments.pop((account, deployment), None)
        if found is not None:
            self._spent += found.gpu_seconds
        return found is not None

    def shape_versions(self, account: str | None, shape: str | None) -> list[ShapeVersion]:
        """
        The versions of shapes that the key can read, by name.

        :param account: of this account only.
        :param shape: of this shape only.
        """
        readable = [*self._state.options.accounts, PUBLIC_ACCOUNT]
        if account is not None and account not in readable:
            raise not_found()
        return [
            version
            for version in self._shapes
            if version.account in ([account] if account else readable) and shape in (None, version.shape)
        ]

    def matching(self, account: str, base_model: str, *, enable_addons: bool) -> list[ShapeVersion]:
        """The latest validated versions of the shapes that a model can be deployed with."""
        self._state.check_own(account)
        model = self._base(self._model(base_model))
        return [
            version
            for version in self.shape_versions(None, None)
            if version.latest and version.validated and version.fits(model, enable_addons=enable_addons)
        ]

    def _settle(self) -> None:
        now = self._state.clock()
        for key, deployment in list(self._deployments.items()):
            deployment.settle(now)
            if deployment.purged:
                self._spent += self._deployments.pop(key).gpu_seconds

    def _can_be_read(self, deployment: EmulatedDeployment) -> bool:
        return deployment.visible_at <= self._state.clock()

    def _model(self, name: str) -> EmulatedModel:
        try:
            model = ModelName.parse(name)
        except InvalidNameError as error:
            raise ErrorResponse("INVALID_ARGUMENT", f"baseModel: {error}") from error
        found = self._state.readable_model(model.account, model.id)
        if found.state == "UPLOADING":
            raise ErrorResponse("FAILED_PRECONDITION", f"model {found.name} is still being uploaded")
        return found

    def _base(self, model: EmulatedModel) -> EmulatedModel:
        """Return the model whose weights are deployed: of an add-on the one that it belongs to."""
        return self._model(model.adds_to) if model.adds_to else model

    def _precision(self, model: EmulatedModel, fields: dict[str, Any]) -> str:
        """Return the precision that a deployment serves at, if its model is prepared for it."""
        base = self._base(model)
        asked = fields.get("precision", PRECISION_UNSPECIFIED)
        if asked == PRECISION_UNSPECIFIED:
            return str(base.details.get("defaultPrecision", PRECISION_UNSPECIFIED))
        if not base.is_prepared_for(asked):
            raise ErrorResponse(
                "FAILED_PRECONDITION", f"model {base.name} is not prepared for precision {asked}"
            )
        return str(asked)

    def _shaped(
        self, account: str, model: EmulatedModel, fields: dict[str, Any], skip_validation: bool
    ) -> dict[str, Any]:
        """Return a deployment's fields with those of its shape filled in."""
        name = fields.get("deploymentShape", "")
        own = [
            field
            for field, unset in (
                ("acceleratorType", _NO_ACCELERATOR),
                ("acceleratorCount", 0),
                ("precision", PRECISION_UNSPECIFIED),
            )
            if fields.get(field, unset) != unset
        ]
        if not name:
            if "acceleratorType" not in own:
                raise ErrorResponse(
                    "INVALID_ARGUMENT", "acceleratorType: needed unless a deploymentShape is given"
                )
            return dict(fields)
        if own and self._state.options.shape_exclusive:
            raise ErrorResponse("INVALID_ARGUMENT", f"{own[0]}: must not be set beside a deploymentShape")
        shape = self._shape(account, model, name, bool(fields.get("enableAddons")))
        if not (shape.validated or skip_validation):
            raise ErrorResponse("FAILED_PRECONDITION", f"deployment shape {shape.name} is not validated")
        return {
            **fields,
            "deploymentShape": shape.name,
            "acceleratorType": shape.accelerator_type,
            "acceleratorCount": shape.accelerator_count,
            "precision": shape.precision,
        }

    def _shape(self, account: str, model: EmulatedModel, name: str, enable_addons: bool) -> ShapeVersion:
        if name == "default":
            fitting = self.matching(account, model.name, enable_addons=enable_addons)
            if not fitting:
                raise ErrorResponse(
                    "FAILED_PRECONDITION", f"no validated deployment shape fits model {model.name}"
                )
            return fitting[0]
        for version in self.shape_versions(None, None):
            if name == version.name or (name == version.shape_name and version.latest):
                return version
        raise ErrorResponse("NOT_FOUND", f"deployment shape {name} not found")

    def _gpus(self, account: str) -> int:
        return sum(deployment.gpus for deployment in self.all() if deployment.account == account)

    def _check_quota(self, deployment: EmulatedDeployment, requesting: int) -> None:
        options = self._state.options
        if options.gpu_quota is None or not requesting:
            return
        in_use = self._gpus(deployment.account)
        if in_use + requesting > options.gpu_quota:
            raise ErrorResponse(
                "RESOURCE_EXHAUSTED",
                f"global--{_short(deployment.accelerator_type)}-count for account {deployment.account}, "
                f"in use: {in_use}, quota: {options.gpu_quota}, requesting: {requesting}",
                status=options.quota_status,
            )


def _check_limits(fields: dict[str, Any]) -> None:
    """Refuse limits of replicas that contradict each other."""
    least, most = fields["minReplicaCount"], fields["maxReplicaCount"]
    if most < least:
        raise ErrorResponse(
            "INVALID_ARGUMENT", f"maxReplicaCount: {most} is less than minReplicaCount {least}"
        )


def _fill_counts(model: EmulatedModel, fields: dict[str, Any]) -> None:
    """Put in what a request may leave out: the limits of replicas, the GPUs of one."""
    fields["minReplicaCount"] = fields.get("minReplicaCount", 0)
    fields.setdefault("maxReplicaCount", max(fields["minReplicaCount"], 1))
    fields["acceleratorCount"] = fields.get("acceleratorCount") or int(model.details.get("worldSize") or 1)
    _check_limits(fields)


def _edited(present: dict[str, Any], body: dict[str, Any], mask: str) -> dict[str, Any]:
    """
    Return the fields that a ``PATCH`` sets.

    :param present: the deployment as it is.
    :param body: the fields that were sent.
    :param mask: an ``updateMask``; empty or ``*``: every field that can be changed.
    """
    names = [camel(part.strip()) for part in mask.split(",") if part.strip()]
    if not names or "*" in names:
        # What is sent and cannot be changed is judged too: a change must not be dropped in silence.
        names = sorted((MUTABLE & BLANK.keys()) | body.keys())
    for name in names:
        whole, dot, part = name.partition(".")
        if dot and whole in MUTABLE and not _has_part(whole, part):
            raise ErrorResponse("INVALID_ARGUMENT", f"updateMask: unknown field {name!r}")
    tops = dict.fromkeys(name.partition(".")[0] for name in names)
    for name in tops:
        if name not in present and name not in MUTABLE:
            raise ErrorResponse("INVALID_ARGUMENT", f"updateMask: unknown field {name!r}")
        if name not in MUTABLE and not _same(name, body.get(name), present[name]):
            raise ErrorResponse("INVALID_ARGUMENT", f"{name}: cannot be changed")
    fields = {name: copy.deepcopy(body.get(name, BLANK.get(name))) for name in tops if name in MUTABLE}
    for whole, _, part in (name.partition(".") for name in names):
        if part and whole in fields:
            before, sent = present.get(whole) or {}, body.get(whole) or {}
            kept = {key: value for key, value in before.items() if key != part}
            fields[whole] = {**kept, **({part: sent[part]} if part in sent else {})}
    # Unset, the maximum is no 0 but what it is in a create.
    if "maxReplicaCount" in fields and "maxReplicaCount" not in body:
        least = int(fields.get("minReplicaCount", present["minReplicaCount"]))
        fields["maxReplicaCount"] = max(least, 1)
    return fields


def _has_part(whole: str, part: str) -> bool:
    # Annotations are a map: any key may be in it.
    message = _MESSAGES.get(whole)
    return part in message.model_fields if message else whole == "annotations"


def _same(name: str, sent: Any, present: Any) -> bool:
    # A shape is sent by its name and becomes that of a version.
    return bool(
        sent == present or (name == "deploymentShape" and f"{present}".startswith(f"{sent}/versions/"))
    )


def _short(accelerator: str) -> str:
    """Return ``h100`` for ``NVIDIA_H100_80GB``, as the names of quotas have it."""
    return accelerator.split("_")[1].lower()


def _random_id() -> str:
    return "".join(random.choices(_RANDOM_ID, k=8))
