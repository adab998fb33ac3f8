"""The deployments of the emulated API, and what the API key can do with them."""

from __future__ import annotations

import copy
import math
import random
import string
from typing import TYPE_CHECKING, Any

from airflow_provider_fireworks.client.names import (
    DeploymentName,
    InvalidNameError,
    ModelName,
    check_id,
)
from airflow_provider_fireworks.emulator.emulated_deployment import BLANK, EmulatedDeployment
from airflow_provider_fireworks.emulator.options import PUBLIC_ACCOUNT
from airflow_provider_fireworks.emulator.records import CreatedDeployment
from airflow_provider_fireworks.emulator.responses import (
    ErrorResponse,
    not_found,
    quota_exceeded,
    quota_name,
)
from airflow_provider_fireworks.emulator.schema import PRECISION_UNSPECIFIED, DeploymentBody, camel
from airflow_provider_fireworks.emulator.shapes import initial_shapes

if TYPE_CHECKING:
    from airflow_provider_fireworks.emulator.emulated_deployment import InferenceResult
    from airflow_provider_fireworks.emulator.emulated_model import EmulatedModel
    from airflow_provider_fireworks.emulator.shapes import ShapeVersion
    from airflow_provider_fireworks.emulator.state import State

# What a shape sets, with the values that mean "unset" in a request.
_SET_BY_SHAPE = {
    "acceleratorType": "ACCELERATOR_TYPE_UNSPECIFIED",
    "acceleratorCount": 0,
    "precision": PRECISION_UNSPECIFIED,
}
_ANNOTATION_PREFIX = "custom/"
_MAX_ANNOTATIONS, _MAX_ANNOTATION_LENGTH = 64, 128
# The accelerators that quotas are listed for.
_QUOTA_TYPES = ("NVIDIA_H100_80GB", "NVIDIA_H200_141GB", "NVIDIA_B200_180GB")
#: Fields that ``PATCH`` can change. The real list is not published: those that need new replicas are left out.
MUTABLE = DeploymentBody.model_fields.keys() - {
    "acceleratorCount",
    "acceleratorType",
    "activeModelVersion",
    "annotations",
    "baseModel",
    "deploymentShape",
    "deploymentTemplate",
    "disableDeploymentSizeValidation",
    "enableAddons",
    "hotLoadBucketUrl",
    "hotLoadTrainerJob",
    "maxContextLength",
    "placement",
    "precision",
}


class DeploymentStore:
    """All deployments and deployment shapes."""

    def __init__(self, state: State) -> None:
        self._state = state
        self._deployments: dict[tuple[str, str], EmulatedDeployment] = {}
        self._past_gpu_seconds = 0.0
        # Deployments that no longer exist: when the last one of a model was DELETED.
        self._past_deletions: dict[str, float] = {}
        self._shapes = initial_shapes(state.options.accounts[0], state.started_at)

    @property
    def gpu_seconds(self) -> float:
        """The cost of all deployments, including those that no longer exist."""
        existing = sum(deployment.gpu_seconds for deployment in self.all())
        return existing + self._past_gpu_seconds

    def all(self) -> list[EmulatedDeployment]:
        """Return the deployments of all accounts, including DELETED ones, by name."""
        self._advance()
        return [deployment for _, deployment in sorted(self._deployments.items())]

    def used_until(self, model: str) -> float:
        """
        Return when the last deployment of a model was DELETED.

        :return: ``math.inf`` if one is not DELETED, ``-math.inf`` if there never was one.
        """
        ends = [
            deployment.deleted_at if deployment.state == "DELETED" else math.inf
            for deployment in self.all()
            if deployment.base_model == model
        ]
        return max([self._past_deletions.get(model, -math.inf), *ends])

    def gpus_in_use(self, account: str, accelerator_type: str | None = None) -> int:
        """
        Return the GPUs of all replicas of an account, including those that are being added or removed.

        :param accelerator_type: only those of this type.
        """
        return sum(
            deployment.gpus
            for deployment in self.all()
            if deployment.account == account and accelerator_type in (None, deployment.accelerator_type)
        )

    def quotas(self, account: str) -> list[dict[str, Any]]:
        """Return the GPU quotas of an account as the API sends them, by name."""
        self._state.check_own(account)
        quota = self._state.options.gpu_quota
        if quota is None:
            return []
        listed = [
            {
                "name": f"accounts/{account}/quotas/{quota_name(accelerator_type)}",
                "value": str(quota),
                "maxValue": str(quota),
                "usage": self.gpus_in_use(account, accelerator_type),
            }
            for accelerator_type in _QUOTA_TYPES
        ]
        return sorted(listed, key=lambda one: str(one["name"]))

    def left(self) -> list[str]:
        """Return the names of all deployments that are not DELETED."""
        return [deployment.name for deployment in self.all() if deployment.state != "DELETED"]

    def find(self, account: str, deployment_id: str) -> EmulatedDeployment | None:
        """Return a deployment of any account, even if it cannot be read yet."""
        self._advance()
        return self._deployments.get((account, deployment_id))

    def visible(self, account: str, *, deleted: bool) -> list[EmulatedDeployment]:
        """Return the deployments of an account that the key can read, by name."""
        self._state.check_own(account)
        return [
            deployment
            for deployment in self.all()
            if deployment.account == account
            and deployment.visible_at <= self._state.clock()
            and (deleted or deployment.state != "DELETED")
        ]

    def own(self, account: str, deployment_id: str) -> EmulatedDeployment:
        """Return a deployment that the key can read, even if it is DELETED."""
        self._state.check_own(account)
        found = self.find(account, deployment_id)
        if found is None or found.visible_at > self._state.clock():
            raise not_found()
        return found

    def create(
        self,
        account: str,
        deployment_id: str | None,
        fields: dict[str, Any],
        *,
        validate_only: bool = False,
        skip_shape_validation: bool = False,
        accept_shapeless_risk: bool = False,
    ) -> EmulatedDeployment:
        """
        Respond to ``POST …/deployments``.

        :param deployment_id: random if it is ``None``.
        :param fields: the fields of the request.
        """
        self._state.check_own(account)
        now, options = self._state.clock(), self._state.options
        validate_only = validate_only and options.validate_only != "creates"
        _check_annotations(fields.get("annotations", {}))
        self._check_shapeless(bool(fields.get("deploymentShape")), accept_shapeless_risk)
        deployment_id = check_id(deployment_id or random_id(), "deployment id")
        if self.find(account, deployment_id) is not None:
            message = f"deployment accounts/{account}/deployments/{deployment_id} already exists"
            raise ErrorResponse("ALREADY_EXISTS", message)
        model = self._model(fields.get("baseModel", ""))
        fields = self._with_shape(account, model, fields, skip_shape_validation)
        blind = validate_only and options.validate_only == "blind"
        precision = self._served_precision(model, fields, check=not blind)
        minimum = fields.setdefault("minReplicaCount", 0)
        fields.setdefault("maxReplicaCount", max(minimum, 1))
        fields["acceleratorCount"] = fields.get("acceleratorCount") or self._base(model).world_size
        _check_limits(fields)
        created = EmulatedDeployment(account, deployment_id, now, options, precision, **fields)
        self._check_quota(created, created.start_count(options) * created.gpus_per_replica)
        if not validate_only:
            self._deployments[account, deployment_id] = created
            self._state.creations.append(
                CreatedDeployment(account, deployment_id, created.base_model, created.precision)
            )
            self._state.counts["deployment created"] += 1
        return created

    def scale(self, account: str, deployment_id: str, replicas: int) -> None:
        """Respond to ``PATCH …:scale``; see :meth:`EmulatedDeployment.scale`."""
        found = self.own(account, deployment_id)
        self._check_quota(found, found.gpus_to_add(replicas))
        found.scale(replicas, self._state.clock(), self._state.options)

    def edit(self, account: str, deployment_id: str, body: dict[str, Any], mask: str) -> EmulatedDeployment:
        """
        Respond to ``PATCH …/deployments/{deployment}``.

        :param body: the fields of the request.
        :param mask: names of the fields to change; empty or ``*`` for all that can be changed.
        """
        found = self.own(account, deployment_id)
        current = found.payload()
        fields = _changes(current, body, mask)
        _check_limits({**current, **fields})
        self._check_quota(found, found.gpus_to_add(found.count_within_limits(fields)))
        found.edit(self._state.clock(), self._state.options, fields)
        return found

    def delete(self, account: str, deployment_id: str, *, hard: bool, ignore_checks: bool) -> None:
        """Respond to ``DELETE …/deployments/{deployment}``; see :meth:`EmulatedDeployment.delete`."""
        found = self.own(account, deployment_id)
        router = self._state.routers.routes_to(found.name)
        if router is not None and self._state.options.delete_routed == "refused":
            raise ErrorResponse("FAILED_PRECONDITION", f"router {router} routes to deployment {found.name}")
        found.delete(self._state.clock(), self._state.options, hard=hard, ignore_checks=ignore_checks)

    def undelete(self, account: str, deployment_id: str) -> EmulatedDeployment:
        """Respond to ``POST …:undelete``; see :meth:`EmulatedDeployment.undelete`."""
        found = self.own(account, deployment_id)
        options = self._state.options
        if found.state == "DELETED":
            self._check_quota(found, found.start_count(options) * found.gpus_per_replica)
        found.undelete(self._state.clock(), options)
        return found

    def infer(self, model: str) -> InferenceResult:
        """
        Respond to an inference request; see :meth:`EmulatedDeployment.infer`.

        :param model: ``<model name>#<deployment name>`` or the deployment name, as the option ``inference_names``
            says. There are no serverless models.
        """
        found, options = self.named(model), self._state.options
        if found is None:
            return "not_deployed"
        needed = self.gpus_in_use(found.account) + found.gpus_per_replica
        can_grow = options.gpu_quota is None or needed <= options.gpu_quota
        return found.infer(self._state.clock(), options, can_grow=can_grow)

    def named(self, model: str) -> EmulatedDeployment | None:
        """Return the deployment that an inference request is for; see :meth:`infer`."""
        base_model, has_model, deployment = model.rpartition("#")
        if self._state.options.inference_names not in ("both", "with_model" if has_model else "deployment"):
            return None
        try:
            name = DeploymentName.parse(deployment)
        except InvalidNameError:
            return None
        found = self.find(name.account, name.id)
        if found is None or found.account not in self._state.options.accounts:
            return None
        return None if has_model and found.base_model != base_model else found

    def remove(self, account: str, deployment_id: str) -> bool:
        """Remove a deployment without a trace but its cost, and return whether it existed."""
        found = self.find(account, deployment_id)
        if found is not None:
            found.purged = True
            self._advance()
        return found is not None

    def shape_versions(self, account: str | None, shape: str | None) -> list[ShapeVersion]:
        """
        Return the versions of shapes that the key can read, by name.

        :param account: only those of this account.
        :param shape: only those of this shape.
        """
        readable = [*self._state.options.accounts, PUBLIC_ACCOUNT]
        if account is not None and account not in readable:
            raise not_found()
        return [
            version
            for version in self._shapes
            if version.account in ([account] if account else readable) and shape in (None, version.shape)
        ]

    def matching_shapes(
        self, account: str, base_model: str, *, enable_addons: bool, prepared: bool = True
    ) -> list[ShapeVersion]:
        """
        Return the latest validated versions of the shapes that fit a model.

        :param prepared: only those at precisions that the model is prepared for.
        """
        self._state.check_own(account)
        model = self._base(self._model(base_model))
        return [
            version
            for version in self.shape_versions(None, None)
            if version.latest
            and version.validated
            and version.fits(model, enable_addons=enable_addons, prepared=prepared)
        ]

    def _advance(self) -> None:
        now = self._state.clock()
        for key, deployment in list(self._deployments.items()):
            deployment.advance(now)
            if deployment.purged:
                self._past_gpu_seconds += self._deployments.pop(key).gpu_seconds
                ends = (deployment.deleted_at, self._past_deletions.get(deployment.base_model, -math.inf))
                self._past_deletions[deployment.base_model] = max(ends)

    def _model(self, name: str) -> EmulatedModel:
        try:
            model = ModelName.parse(name)
        except InvalidNameError as error:
            raise ErrorResponse("INVALID_ARGUMENT", f"baseModel: {error}") from error
        found = self._state.models.read(model.account, model.id)
        if found.state == "UPLOADING":
            raise ErrorResponse("FAILED_PRECONDITION", f"model {found.name} is still being uploaded")
        return found

    def _base(self, model: EmulatedModel) -> EmulatedModel:
        """Return the base model of an add-on, or the model itself."""
        return self._model(model.base_model) if model.base_model else model

    def _served_precision(self, model: EmulatedModel, fields: dict[str, Any], *, check: bool) -> str:
        """
        Return the precision that a deployment serves at.

        :param check: whether the model must be prepared for it.
        """
        base = self._base(model)
        precision = str(fields.get("precision", PRECISION_UNSPECIFIED))
        if precision == PRECISION_UNSPECIFIED:
            return base.default_precision or PRECISION_UNSPECIFIED
        if check and not base.is_prepared_for(precision):
            message = f"model {base.name} is not prepared for precision {precision}"
            raise ErrorResponse("FAILED_PRECONDITION", message)
        return precision

    def _check_shapeless(self, has_shape: bool, accept_risk: bool) -> None:
        allowed = self._state.options.shapeless
        if has_shape and accept_risk:
            message = "acceptShapelessRisk: not allowed with a deploymentShape"
        elif has_shape or allowed == "accepted" or (allowed == "with_risk" and accept_risk):
            return
        elif allowed == "with_risk":
            message = "deploymentShape: required unless acceptShapelessRisk is true"
        else:
            message = "deploymentShape: required"
        raise ErrorResponse("INVALID_ARGUMENT", message)

    def _with_shape(
        self, account: str, model: EmulatedModel, fields: dict[str, Any], skip_validation: bool
    ) -> dict[str, Any]:
        """Return a deployment's fields with those of its shape."""
        given = [name for name, unset in _SET_BY_SHAPE.items() if fields.get(name, unset) != unset]
        if not fields.get("deploymentShape"):
            if "acceleratorType" not in given:
                raise ErrorResponse("INVALID_ARGUMENT", "acceleratorType: required without a deploymentShape")
            return dict(fields)
        if given and self._state.options.shape_exclusive:
            raise ErrorResponse("INVALID_ARGUMENT", f"{given[0]}: not allowed with a deploymentShape")
        shape = self._shape(account, model, fields["deploymentShape"], bool(fields.get("enableAddons")))
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
            matching = self.matching_shapes(account, model.name, enable_addons=enable_addons)
            if not matching:
                message = f"no validated deployment shape fits model {model.name}"
                raise ErrorResponse("FAILED_PRECONDITION", message)
            return matching[0]
        for version in self.shape_versions(None, None):
            if name == version.name or (name == version.shape_name and version.latest):
                return version
        raise ErrorResponse("NOT_FOUND", f"deployment shape {name} not found")

    def _check_quota(self, deployment: EmulatedDeployment, requesting: int) -> None:
        options = self._state.options
        if options.gpu_quota is None or not requesting:
            return
        in_use = self.gpus_in_use(deployment.account)
        if in_use + requesting > options.gpu_quota:
            raise quota_exceeded(
                *(deployment.accelerator_type, deployment.account),
                in_use=in_use,
                quota=options.gpu_quota,
                requesting=requesting,
                status=options.quota_status,
            )


def _check_limits(fields: dict[str, Any]) -> None:
    minimum, maximum = fields["minReplicaCount"], fields["maxReplicaCount"]
    if maximum < minimum:
        message = f"maxReplicaCount: {maximum} is less than minReplicaCount {minimum}"
        raise ErrorResponse("INVALID_ARGUMENT", message)


def _check_annotations(annotations: dict[str, str]) -> None:
    if len(annotations) > _MAX_ANNOTATIONS:
        message = f"annotations: {len(annotations)} are more than {_MAX_ANNOTATIONS}"
        raise ErrorResponse("INVALID_ARGUMENT", message)
    for key, value in annotations.items():
        if not key.startswith(_ANNOTATION_PREFIX):
            message = f"annotations: the key {key!r} does not begin with {_ANNOTATION_PREFIX}"
            raise ErrorResponse("PERMISSION_DENIED", message)
        if not key.isascii() or not len(_ANNOTATION_PREFIX) < len(key) <= _MAX_ANNOTATION_LENGTH:
            message = (
                f"annotations: the key {key!r} is not {_ANNOTATION_PREFIX} and a name, "
                f"at most {_MAX_ANNOTATION_LENGTH} ASCII characters"
            )
            raise ErrorResponse("INVALID_ARGUMENT", message)
        if not 1 <= len(value) <= _MAX_ANNOTATION_LENGTH:
            message = f"annotations: the value of {key!r} is not 1 to {_MAX_ANNOTATION_LENGTH} characters"
            raise ErrorResponse("INVALID_ARGUMENT", message)


def _changes(current: dict[str, Any], body: dict[str, Any], mask: str) -> dict[str, Any]:
    """
    Return the fields that a ``PATCH`` sets.

    :raises ErrorResponse: for a field that is unknown or cannot be changed: no change is dropped silently.
    """
    names = {camel(name.strip()) for name in mask.split(",") if name.strip()}
    if "annotations" in names:
        raise ErrorResponse("INVALID_ARGUMENT", "updateMask: annotations cannot be changed")
    if not names or "*" in names:
        names = {*(MUTABLE & BLANK.keys()), *body}
    for name in sorted(names - MUTABLE):
        if name not in current:
            raise ErrorResponse("INVALID_ARGUMENT", f"updateMask: unknown field {name!r}")
        if not _is_same(name, body.get(name), current[name]):
            raise ErrorResponse("INVALID_ARGUMENT", f"{name}: cannot be changed")
    changes = {name: copy.deepcopy(body.get(name, BLANK.get(name))) for name in names & MUTABLE}
    # An unset maximum means the same as in a create request, not 0.
    if "maxReplicaCount" in changes and "maxReplicaCount" not in body:
        changes["maxReplicaCount"] = max(int(changes.get("minReplicaCount", current["minReplicaCount"])), 1)
    return changes


def _is_same(name: str, sent: Any, current: Any) -> bool:
    # The name of a shape is stored as the name of its version.
    is_shape = name == "deploymentShape" and f"{current}".startswith(f"{sent}/versions/")
    return bool(sent == current or is_shape)


def random_id() -> str:
    """Return the id of a resource that is created without one."""
    return "".join(random.choices(string.ascii_lowercase + string.digits, k=8))
