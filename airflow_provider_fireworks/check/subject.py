"""What is checked, and what earlier checks have read of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from airflow_provider_fireworks.client.precision import Precision

if TYPE_CHECKING:
    from airflow_provider_fireworks.check.output import Report
    from airflow_provider_fireworks.client.names import ModelName
    from airflow_provider_fireworks.client.resources import DeploymentShapeVersion, Model
    from airflow_provider_fireworks.hooks.fireworks import FireworksHook


@dataclass
class Subject:
    """
    What is checked, and what earlier checks have read of it.

    :ivar model_given: id or full resource name of the model to check, ``None`` for none.
    :ivar stop: why no further check can run, empty if one can.
    :ivar accounts: the accounts of the key, ``None`` if they are not known.
    """

    hook: FireworksHook
    model_given: str | None
    accelerator_type: str
    report: Report
    stop: str = ""
    accounts: list[str] | None = None
    model: Model | None = None
    shapes: list[DeploymentShapeVersion] = field(default_factory=list)

    @property
    def model_name(self) -> ModelName:
        """The full resource name of the model."""
        return self.hook.base_model_name(self.model_given or "")

    @property
    def decides_lists(self) -> bool:
        """Whether its lists show what the API does: those of a base model that is ready do."""
        if self.model is None or self.model.state != "READY":
            return False
        return "ADDON" not in (self.model.kind or "")

    @property
    def default_precision(self) -> str:
        """The precision of the model as it was uploaded, empty if the API does not say."""
        details = self.model.base_model_details if self.model else None
        return "".join(_distinct([details.default_precision if details else None]))

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
        return _distinct([precision_of(shape) for shape in self.shapes])

    @property
    def precisions_to_validate(self) -> list[str]:
        """The model's own precision, those that its lists or a shape name, and one that is not listed, if any is."""
        usual = [Precision.FP8.value, Precision.FP4.value]
        if self.model is None or not self.model.lists_precisions:
            return _distinct([self.default_precision, *(self.shape_precisions or usual)])
        listed = self.listed_precisions
        unlisted = [each for each in _distinct([*self.shape_precisions, *usual]) if each not in listed]
        # Says most if no listed precision may cover it.
        return [*listed, *sorted(unlisted, key=lambda each: bool(self.covered([each])))[:1]]

    def unlisted(self, precisions: list[str]) -> list[str]:
        """Return those which the model does not list, none unless its lists decide."""
        if not (self.decides_lists and self.model and self.model.lists_precisions):
            return []
        return [each for each in _distinct(precisions) if each not in self.listed_precisions]

    def covered(self, unlisted: list[str]) -> str:
        """
        Return which listed precisions may cover these, empty if one of these is covered by none.

        The model may be prepared for a precision by being prepared for another one of its family (FP8, FP8_MM, …).
        """
        families = {each.partition("_")[0]: each for each in self.listed_precisions}
        covering = {each: families.get(each.partition("_")[0]) for each in unlisted}
        if not all(covering.values()):
            return ""
        return ", ".join(f"{listed} may cover {each}" for each, listed in covering.items())


def precision_of(shape: DeploymentShapeVersion) -> str:
    """Return the precision of a shape, empty for the model's own."""
    return "".join(_distinct([shape.snapshot.precision if shape.snapshot else None]))


def _distinct(precisions: Sequence[str | None]) -> list[str]:
    return [each for each in dict.fromkeys(precisions) if each and each != "PRECISION_UNSPECIFIED"]
