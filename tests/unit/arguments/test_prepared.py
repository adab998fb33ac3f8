"""``prepared``, the result of the prepare operator or of the model sensor, instead of its items."""

from __future__ import annotations

from typing import Any

import pytest

from airflow_provider_fireworks.arguments import Arguments, CreateArguments, ModelReadyArguments
from airflow_provider_fireworks.exceptions import FireworksInvalidArgument
from airflow_provider_fireworks.models.readiness import Baseline
from tests.unit.arguments.samples import (
    BASELINE,
    DEPLOYMENT,
    MODEL,
    OUTPUT,
    PREPARED,
    READY,
    REQUIRED,
    LazySequence,
    assert_invalid,
    checked,
    short_id,
)

BOTH = pytest.mark.parametrize("kind", [ModelReadyArguments, CreateArguments], ids=short_id)
UNSET = {"model": None, "precision": None}


@BOTH
@pytest.mark.parametrize("prepared", [PREPARED, READY], ids=["of the operator", "of the sensor"])
def test_prepared_is_unpacked_and_left_unchanged(kind: type[Arguments], prepared: dict[str, Any]):
    before = dict(prepared)
    arguments = checked(kind, **UNSET, prepared=prepared)
    assert (arguments.model, arguments.precision) == (MODEL, "FP8")
    if kind is ModelReadyArguments:
        assert arguments.baseline == (Baseline(**BASELINE) if "baseline" in prepared else None)
    assert prepared == before


def test_prepared_may_have_no_baseline():
    arguments = checked(ModelReadyArguments, **UNSET, prepared=PREPARED | {"baseline": None})
    assert arguments.baseline is None


@BOTH
@pytest.mark.parametrize("given", [{"model": "my-model"}, {"precision": "FP8"}, dict(READY)], ids=str)
def test_prepared_with_one_of_its_items_is_invalid(kind, given):
    message = f"Pass either prepared or {' and '.join(given)}, not both"
    assert_invalid(kind, message, **UNSET | given, prepared=PREPARED)
    for unknown in ("{{ x }}", OUTPUT):
        with pytest.raises(FireworksInvalidArgument, match=message):
            kind.check_literals(**REQUIRED[kind] | UNSET | given | {"prepared": unknown})


def test_prepared_with_a_baseline_is_invalid():
    message = "Pass either prepared or baseline, not both"
    assert_invalid(ModelReadyArguments, message, **UNSET, prepared=PREPARED, baseline=BASELINE)


@pytest.mark.parametrize(
    ("kind", "given", "message"),
    [
        (ModelReadyArguments, {}, "Missing model and precision: pass model and precision, or prepared="),
        (ModelReadyArguments, {"model": "m"}, "Missing precision: pass model and precision, or prepared="),
        (ModelReadyArguments, {"precision": "FP8"}, "Missing model: .*or prepared=prepare.output"),
        (ModelReadyArguments, {"baseline": BASELINE}, "Missing model and precision: "),
        (CreateArguments, {"precision": "FP8"}, "Missing model: pass model, or prepared=prepare.output"),
    ],
    ids=short_id,
)
def test_neither_prepared_nor_its_items_is_invalid(kind, given, message):
    assert_invalid(kind, f"^{message}", **UNSET | given)


@BOTH
@pytest.mark.parametrize("several", [[PREPARED, PREPARED], [PREPARED], [], (READY,)], ids=short_id)
def test_prepared_with_several_results_advises_to_map(kind, several):
    message = r"^Invalid prepared .*map over .*: \.partial\(…\)\.expand\(prepared=prepare\.output\)"
    assert_invalid(kind, message, **UNSET, prepared=several)


@BOTH
def test_prepared_with_lazy_results_advises_to_map(kind):
    for several in (LazySequence(PREPARED, PREPARED), iter([PREPARED])):
        with pytest.raises(FireworksInvalidArgument, match=r"\.expand\(prepared=prepare\.output\)"):
            kind.check(**REQUIRED[kind] | UNSET | {"prepared": several})


@BOTH
@pytest.mark.parametrize(
    "prepared",
    [
        "my-model",
        "",
        str(PREPARED),
        {},
        BASELINE,
        {"model": MODEL},
        {"precision": "FP8"},
        {"model": MODEL, "baseline": BASELINE},
        PREPARED | {"more": 1},
        {"deployment": DEPLOYMENT},
        5,
        True,
    ],
    ids=short_id,
)
def test_prepared_that_is_not_a_result_is_invalid(kind, prepared):
    message = (
        "^Invalid prepared .*: pass the whole result of FireworksPrepareModelOperator or "
        "FireworksModelReadySensor, prepare.output"
    )
    assert_invalid(kind, message, **UNSET, prepared=prepared)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"model": "My Model"}, "Invalid model id 'My Model'"),
        ({"model": None}, "model: "),
        ({"precision": "fp8"}, "Did you mean 'FP8'"),
        ({"precision": ["FP8", "FP4"]}, r"\.expand\(precision="),
        ({"baseline": "x"}, "Invalid baseline 'x'"),
        ({"baseline": {}}, "Invalid baseline {}"),
        ({"baseline": BASELINE | {"posted": "perhaps"}}, r"baseline\.posted: "),
    ],
    ids=str,
)
def test_prepared_with_an_invalid_item_names_it(change, message):
    assert_invalid(ModelReadyArguments, message, **UNSET, prepared=PREPARED | change)


def test_prepared_precision_was_checked_by_the_prepare_task():
    newer = PREPARED | {"precision": "INT8"}
    assert checked(ModelReadyArguments, **UNSET, prepared=newer).precision == "INT8"
    assert checked(CreateArguments, **UNSET, prepared=newer).precision == "INT8"
    # Accepted precisions are the sensor's own argument.
    assert_invalid(
        ModelReadyArguments, "Unknown precision 'FP9'", **UNSET, prepared=newer, accept_precisions=["FP9"]
    )


def test_prepared_without_a_baseline_needs_permission_for_a_newer_precision():
    newer = READY | {"precision": "INT8"}
    assert_invalid(ModelReadyArguments, "Unknown precision 'INT8'", **UNSET, prepared=newer)
    allowed = checked(ModelReadyArguments, **UNSET, prepared=newer, allow_unknown_precision=True)
    assert allowed.precision == "INT8"
    assert checked(CreateArguments, **UNSET, prepared=newer).precision == "INT8"
