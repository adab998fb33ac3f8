"""What is checked, and what earlier checks have read of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from airflow_provider_fireworks.client.precision import Precision

if TYPE_CHECKING:
    from airflow_provider_fireworks.client.config import ClientConfig
    from airflow_provider_fireworks.client.names import ModelName
    from airflow_provider_fireworks.client.resources import DeploymentShapeVersion, Model
    from airflow_provider_fireworks.hooks.fireworks import FireworksHook

_UNSPECIFIED = ("", "PRECISION_UNSPECIFIED")


@dataclass
class Subject:
    """
    What is checked, and what earlier checks have read of it.

    :ivar model_given: id or full resource name of the model to check, ``None`` for none.
    :ivar accelerator_type: the accelerators of deployments without a shape, and of the GPU quota.
    :ivar progress: shows a line while a check takes long.
    :ivar config: of the connection, ``None`` if it cannot be used.
    :ivar stop: whether nothing more can be asked.
    :ivar accounts: the accounts of the key, ``None`` if they are not known.
    :ivar account: the account to use, ``None`` until it is known.
    :ivar model: the model, ``None`` until it was read.
    :ivar shapes: the shapes that fit the model.
    """

    hook: FireworksHook
    model_given: str | None
    accelerator_type: str
    progress: Callable[[str], None]
    config: ClientConfig | None = None
    stop: bool = False
    accounts: list[str] | None = None
    account: str | None = None
    model: Model | None = None
    shapes: list[DeploymentShapeVersion] | None = None

    @property
    def model_name(self) -> ModelName:
        """The full resource name of the model."""
        return self.hook.base_model_name(self.model_given or "")

    @property
    def default_precision(self) -> str:
        """The precision of the model as it was uploaded, empty if the API does not say."""
        details = self.model.base_model_details if self.model else None
        found = details.default_precision if details else None
        return "" if found is None or found in _UNSPECIFIED else found

    @property
    def listed_precisions(self) -> list[str]:
        """The precisions that the model names."""
        if self.model is None:
            return []
        supported = self.model.supported_precisions or []
        calibrated = self.model.supported_precisions_with_calibration or []
        return _distinct([self.default_precision, *supported, *calibrated])

    @property
    def shape_precisions(self) -> list[str]:
        """The precisions that the shapes name."""
        return _distinct([self.precision_of(shape) for shape in self.shapes or []])

    @staticmethod
    def precision_of(shape: DeploymentShapeVersion) -> str:
        """Return the precision of a shape, empty for the model's own."""
        found = shape.snapshot.precision if shape.snapshot else None
        return "" if found is None or found in _UNSPECIFIED else found

    @property
    def precisions_to_validate(self) -> list[str]:
        """The model's own precision, those that its lists or a shape name, and one that is not listed, if any is."""
        usual = [Precision.FP8.value, Precision.FP4.value]
        if self.model is None or not self.model.lists_precisions:
            return _distinct([self.default_precision, *(self.shape_precisions or usual)])
        listed = self.listed_precisions
        unlisted = [each for each in [*self.shape_precisions, *usual] if each not in listed]
        return _distinct([*listed, *self.shape_precisions, *unlisted[:1]])


def _distinct(precisions: list[str]) -> list[str]:
    return [each for each in dict.fromkeys(precisions) if each not in _UNSPECIFIED]
