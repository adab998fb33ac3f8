"""The deployment shapes of the emulated API."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from airflow_provider_fireworks.emulator.options import PUBLIC_ACCOUNT
from airflow_provider_fireworks.emulator.resource import rfc3339
from airflow_provider_fireworks.emulator.schema import PRECISION_UNSPECIFIED

if TYPE_CHECKING:
    from airflow_provider_fireworks.emulator.emulated_model import EmulatedModel

_DAY = 86_400


@dataclass(frozen=True)
class ShapeVersion:
    """
    One version of a deployment shape.

    :param base_model: full name of its model. A shape of the key's own account fits every model that is
        prepared for its precision; a public one fits this model alone.
    :param created: seconds since the epoch.
    :param precision: ``PRECISION_UNSPECIFIED`` keeps the model's own.
    :param latest: whether the name of the shape means this version.
    """

    account: str
    shape: str
    version: str
    base_model: str
    created: float
    accelerator_type: str = "NVIDIA_H100_80GB"
    accelerator_count: int = 1
    precision: str = PRECISION_UNSPECIFIED
    preset: str = "FAST"
    enable_addons: bool = False
    validated: bool = True
    latest: bool = True

    @property
    def shape_name(self) -> str:
        return f"accounts/{self.account}/deploymentShapes/{self.shape}"

    @property
    def name(self) -> str:
        return f"{self.shape_name}/versions/{self.version}"

    def fits(self, model: EmulatedModel, *, enable_addons: bool, prepared: bool = True) -> bool:
        """
        Return whether a model, and add-ons if they are enabled, can be deployed with it.

        :param prepared: whether the model must be prepared for its precision.
        """
        if enable_addons and not self.enable_addons:
            return False
        if self.account == PUBLIC_ACCOUNT and self.base_model != model.name:
            return False
        if not prepared or self.precision == PRECISION_UNSPECIFIED:
            return True
        return model.is_prepared_for(self.precision)

    def payload(self) -> dict[str, Any]:
        """Return the version as the API sends it."""
        created = rfc3339(self.created)
        return {
            "createTime": created,
            "latestValidated": self.latest and self.validated,
            "name": self.name,
            "public": self.account == PUBLIC_ACCOUNT,
            "snapshot": {
                "acceleratorCount": self.accelerator_count,
                "acceleratorType": self.accelerator_type,
                "baseModel": self.base_model,
                "createTime": created,
                "description": "",
                "disableDeploymentSizeValidation": False,
                "disableSpeculativeDecoding": False,
                "displayName": self.shape,
                "draftModel": "",
                "draftTokenCount": 0,
                "enableAddons": self.enable_addons,
                "enableSessionAffinity": False,
                "maxContextLength": 0,
                "modelType": "",
                "name": self.shape_name,
                "ngramSpeculationLength": 0,
                "numLoraDeviceCached": 0,
                "parameterCount": "6000000000",
                "precision": self.precision,
                "presetType": self.preset,
                "updateTime": created,
            },
            "validated": self.validated,
        }


def initial_shapes(account: str, now: float) -> list[ShapeVersion]:
    """
    Return the versions that exist from the start, by name. ``default`` means the first one that fits.

    :param account: the account of the initial models.
    :param now: seconds since the epoch.
    """
    model, public = f"accounts/{account}/models/my-model", f"accounts/{PUBLIC_ACCOUNT}/models/yi-6b"
    month_ago, week_ago = now - 30 * _DAY, now - 7 * _DAY
    versions = [
        ShapeVersion(
            account, "my-full-shape", "v1", model, month_ago, preset="FULL_PRECISION", enable_addons=True
        ),
        ShapeVersion(
            account, "my-shape", "v1", model, month_ago, accelerator_count=2, precision="FP8", latest=False
        ),
        ShapeVersion(account, "my-shape", "v2", model, week_ago, precision="FP8"),
        ShapeVersion(
            *(account, "my-unvalidated-shape", "v1", model, week_ago, "NVIDIA_B200_180GB"),
            precision="FP4",
            validated=False,
        ),
        ShapeVersion(
            *(PUBLIC_ACCOUNT, "yi-6b-minimal", "v1", public, month_ago, "NVIDIA_A100_80GB"), preset="MINIMAL"
        ),
    ]
    return sorted(versions, key=lambda version: version.name)
