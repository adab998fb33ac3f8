"""Which precisions are validated."""

from __future__ import annotations

import pytest

from airflow_provider_fireworks.check.subject import Subject
from airflow_provider_fireworks.client.resources import DeploymentShapeVersion, Model


def subject(model, *shape_precisions):
    shapes = [
        DeploymentShapeVersion.model_validate({"snapshot": {"precision": each}}) for each in shape_precisions
    ]
    return Subject(None, "my-model", "", None, model=Model.model_validate(model), shapes=shapes)


LISTS = {"supportedPrecisions": ["FP16", "FP8"], "supportedPrecisionsWithCalibration": ["BF16"]}


@pytest.mark.parametrize(
    ("model", "shapes", "expected"),
    [
        ({}, [], ["FP8", "FP4"]),
        ({}, ["NF4", "PRECISION_UNSPECIFIED", "NF4"], ["NF4"]),
        ({"baseModelDetails": {"defaultPrecision": "FP16"}}, [], ["FP16", "FP8", "FP4"]),
        ({"baseModelDetails": {"defaultPrecision": "PRECISION_UNSPECIFIED"}}, [], ["FP8", "FP4"]),
        ({"supportedPrecisions": []}, [], ["FP8", "FP4"]),
        (LISTS, [], ["FP16", "FP8", "BF16", "FP4"]),
        ({"supportedPrecisions": ["FP8_MM"]}, [], ["FP8_MM", "FP4"]),
        (LISTS, ["FP8", "NF4"], ["FP16", "FP8", "BF16", "NF4"]),
    ],
)
def test_precisions_to_validate_are_listed_named_by_shapes_or_usual(model, shapes, expected):
    assert subject(model, *shapes).precisions_to_validate == expected
