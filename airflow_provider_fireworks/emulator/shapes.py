"""The deployment shapes that the emulated API has: what a deployment may be made of, by name."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from airflow_provider_fireworks.emulator.models import rfc3339
from airflow_provider_fireworks.emulator.options import PUBLIC_ACCOUNT
from airflow_provider_fireworks.emulator.schema import PRECISION_UNSPECIFIED

if TYPE_CHECKING:
    from airflow_provider_fireworks.emulator.models import EmulatedModel

_DAY = 86_400


@dataclass(frozen=True)
class ShapeVersion:
    """
    One version of a deployment shape.

    :param account: id of the account that the shape belongs to.
    :param shape: the shape's id.
    :param version: the version's id.
    :param base_model: full name of the model that it was made for. Of a shape of the key's own account the
        emulator takes it for an example: such a shape fits every model that is prepared for its precision.
    :param created: when, in seconds since 1970.
    :param precision: ``PRECISION_UNSPECIFIED`` leaves the model at its own.
    :param latest: whether it is the one that the shape's bare name means.
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
        """The full name of the shape."""
        return f"accounts/{self.account}/deploymentShapes/{self.shape}"

    @property
    def name(self) -> str:
        """The full name of this version of it."""
        return f"{self.shape_name}/versions/{self.version}"

    def fits(self, model: EmulatedModel, *, enable_addons: bool) -> bool:
        """
        Whether a model can be deployed with it.

        :param enable_addons: whether add-ons are to be loaded beside it.
        """
        if enable_addons and not self.enable_addons:
            return False
        if self.account == PUBLIC_ACCOUNT and self.base_model != model.name:
            return False
        return self.precision == PRECISION_UNSPECIFIED or model.is_prepared_for(self.precision)

    def payload(self) -> dict[str, Any]:
        """Return it as ``GET …/deploymentShapes/{shape}/versions/{version}`` sends it."""
        return {
            "createTime": rfc3339(self.created),
            "latestValidated": self.latest and self.validated,
            "name": self.name,
            "public": self.account == PUBLIC_ACCOUNT,
            "snapshot": self._snapshot(),
            "validated": self.validated,
        }

    def _snapshot(self) -> dict[str, Any]:
        return {
            "acceleratorCount": self.accelerator_count,
            "acceleratorType": self.accelerator_type,
            "baseModel": self.base_model,
            "createTime": rfc3339(self.created),
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
            "updateTime": rfc3339(self.created),
        }


def stock(home: str, born: float) -> list[ShapeVersion]:
    """
    Return the shapes that are there from the start, by name; the one for ``default`` is the first that fits.

    :param home: the account of the models to start with.
    :param born: when the API began, in seconds since 1970.
    """
    model, public = f"accounts/{home}/models/my-model", f"accounts/{PUBLIC_ACCOUNT}/models/yi-6b"
    month_ago, week_ago = born - 30 * _DAY, born - 7 * _DAY
    shapes = [
        ShapeVersion(
            *(home, "my-full-shape", "v1", model, month_ago), preset="FULL_PRECISION", enable_addons=True
        ),
        ShapeVersion(
            *(home, "my-shape", "v1", model, month_ago), accelerator_count=2, precision="FP8", latest=False
        ),
        ShapeVersion(home, "my-shape", "v2", model, week_ago, precision="FP8"),
        ShapeVersion(
            *(home, "my-unvalidated-shape", "v1", model, week_ago),
            accelerator_type="NVIDIA_B200_180GB",
            precision="FP4",
            validated=False,
        ),
        ShapeVersion(
            *(PUBLIC_ACCOUNT, "yi-6b-minimal", "v1", public, month_ago),
            accelerator_type="NVIDIA_A100_80GB",
            preset="MINIMAL",
        ),
    ]
    return sorted(shapes, key=lambda shape: shape.name)
