"""What is checked while a DAG is parsed: literals, and nothing that is not known yet."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from airflow_provider_fireworks.arguments import (
    UNRESOLVED,
    CreateArguments,
    ModelReadyArguments,
    PrepareArguments,
    ScaleArguments,
    is_literal,
)
from airflow_provider_fireworks.client import Precision
from airflow_provider_fireworks.exceptions import FireworksInvalidArgument
from tests.unit.arguments.samples import OUTPUT, REQUIRED, LazySequence, short_id


@pytest.mark.parametrize(
    ("value", "literal"),
    [
        (None, True),
        ("text", True),
        ("", True),
        (5, True),
        (1.5, True),
        (False, True),
        (timedelta(1), True),
        (Precision.FP8, True),
        (["a", ("b", {"c"})], True),
        ({"a": {"b": [1]}}, True),
        ("{{ x }}", False),
        ("a {% if x %}b{% endif %}", False),
        (["a", "{{ x }}"], False),
        ({"a": {"b": ["{{ x }}"]}}, False),
        (OUTPUT, False),
        ([OUTPUT], False),
        ((item for item in "ab"), False),
        (LazySequence("a"), False),
    ],
    ids=lambda value: "generator" if type(value).__name__ == "generator" else short_id(value),
)
def test_is_literal_is_false_for_templates_and_outputs(value: Any, literal: bool):
    assert is_literal(value) is literal


@pytest.mark.parametrize(
    ("kind", "name"), [(kind, name) for kind in REQUIRED for name in kind.model_fields], ids=short_id
)
def test_single_unresolved_argument_is_valid(kind, name):
    kind.check_literals(**REQUIRED[kind] | {name: OUTPUT})


@pytest.mark.parametrize("kind", REQUIRED, ids=short_id)
@pytest.mark.parametrize("value", [OUTPUT, "{{ x }}"], ids=repr)
def test_arguments_that_are_all_unresolved_are_valid(kind, value):
    kind.check_literals(**dict.fromkeys(kind.model_fields, value))


@pytest.mark.parametrize("kind", [ModelReadyArguments, CreateArguments], ids=short_id)
@pytest.mark.parametrize("prepared", [OUTPUT, "{{ x }}", {"model": "{{ x }}", "precision": "FP8"}], ids=repr)
def test_unresolved_prepared_replaces_model_and_precision(kind, prepared):
    kind.check_literals(**REQUIRED[kind] | {"model": None, "precision": None, "prepared": prepared})


@pytest.mark.parametrize(
    "given",
    [
        {"deployment_shape": OUTPUT},
        {"deployment_shape": "{{ x }}", "accelerator_count": 1},
        {"deployment_shape": "s", "accelerator_type": OUTPUT},
        {"deployment_shape": "s", "accelerator_type": None, "accelerator_count": OUTPUT},
        {"accelerator_type": OUTPUT},
        {"accelerator_type": None, "deployment_shape": OUTPUT},
        {"min_replica_count": 5, "max_replica_count": OUTPUT},
        {"min_replica_count": "{{ a }}", "max_replica_count": 1},
        {"display_name": "{{ " + "x" * 70 + " }}"},
        {"extra_spec": {"baseModel": "{{ x }}"}},
    ],
    ids=str,
)
def test_literal_is_not_compared_with_an_unresolved_argument(given):
    CreateArguments.check_literals(**REQUIRED[CreateArguments] | given)


@pytest.mark.parametrize("kind", [PrepareArguments, ModelReadyArguments], ids=short_id)
@pytest.mark.parametrize(
    "given",
    [
        {"precision": "NEW", "allow_unknown_precision": "{{ x }}"},
        {"precision": "NEW", "allow_unknown_precision": OUTPUT},
        {"precision": OUTPUT, "accept_precisions": ["FP8"]},
        {"accept_precisions": ["FP8", "{{ params.p }}"]},
    ],
    ids=str,
)
def test_precision_that_may_become_valid_is_not_rejected(kind, given):
    kind.check_literals(**REQUIRED[kind] | given)


def test_literal_is_checked_next_to_unresolved_arguments():
    unresolved = dict.fromkeys(REQUIRED[PrepareArguments], OUTPUT)
    with pytest.raises(FireworksInvalidArgument, match="Unknown precision 'fp8'"):
        PrepareArguments.check_literals(**unresolved, accept_precisions=["fp8"])
    unresolved = dict.fromkeys(REQUIRED[ScaleArguments], OUTPUT)
    with pytest.raises(FireworksInvalidArgument, match="replica_count: "):
        ScaleArguments.check_literals(**unresolved | {"replica_count": -1})


def test_unresolved_has_a_readable_repr():
    assert repr(UNRESOLVED) == "<not resolved yet>"
