"""The arguments of the tasks that prepare a model or wait for it: model, precisions and baseline."""

from __future__ import annotations

import pytest

from airflow_provider_fireworks.arguments import (
    CreateArguments,
    ModelReadyArguments,
    PrepareArguments,
)
from airflow_provider_fireworks.client import Precision
from airflow_provider_fireworks.models.readiness import Baseline
from tests.unit.arguments.samples import (
    BASELINE,
    DEPLOYMENT,
    MODEL,
    PREPARED,
    READY,
    assert_invalid,
    checked,
    short_id,
)

PREPARING = [PrepareArguments, ModelReadyArguments]
WITH_MODEL = [*PREPARING, CreateArguments]


@pytest.mark.parametrize("kind", WITH_MODEL, ids=short_id)
@pytest.mark.parametrize("model", ["my-model", MODEL])
def test_model_is_an_id_or_a_full_name(kind, model):
    assert checked(kind, model=model).model == model


@pytest.mark.parametrize("kind", WITH_MODEL, ids=short_id)
@pytest.mark.parametrize(
    ("model", "message"),
    [
        ("My Model", "Invalid model id 'My Model': use 1 to 63"),
        ("None", "Invalid model id 'None'"),
        ("", "Invalid model '': use its id or accounts/<account>/models/<model>"),
        (DEPLOYMENT, "Invalid model "),
        ("a/../b", "Invalid model "),
        (5, "model: .*not 5"),
    ],
    ids=short_id,
)
def test_model_that_is_no_name_is_invalid(kind, model, message):
    assert_invalid(kind, message, model=model)


def test_prepare_requires_model_and_precision():
    assert_invalid(PrepareArguments, "model: .*not None", model=None)
    assert_invalid(PrepareArguments, "precision: .*not None", precision=None)
    # The sensor and the create operator take it, the prepare operator makes it.
    assert_invalid(PrepareArguments, "prepared: ", prepared=PREPARED)


# Precisions


@pytest.mark.parametrize("kind", WITH_MODEL, ids=short_id)
def test_precision_of_the_enum_becomes_text(kind):
    assert type(checked(kind, precision=Precision.FP8).precision) is str
    assert checked(kind, precision=Precision.FP8).precision == "FP8"


@pytest.mark.parametrize("kind", WITH_MODEL, ids=short_id)
@pytest.mark.parametrize("several", [["FP8"], ("FP8", "FP4"), {"FP8"}, [], [Precision.FP8]], ids=short_id)
def test_several_precisions_are_invalid_with_advice_to_map(kind, several):
    assert_invalid(kind, r"precision: .*\.partial\(…\)\.expand\(precision=\[…\]\)", precision=several)


@pytest.mark.parametrize("kind", PREPARING, ids=short_id)
@pytest.mark.parametrize(
    ("precision", "message"),
    [
        ("fp8", "^Unknown precision 'fp8'. Did you mean 'FP8'. Known: FP16, "),
        ("NEW", "Unknown precision 'NEW'.*set allow_unknown_precision=True"),
        ("['FP8', 'FP4']", "pass one precision per task"),
        ("", "Unknown precision ''"),
        (8, "precision: .*8"),
        ({"a": 1}, "precision: "),
    ],
    ids=short_id,
)
def test_precision_that_is_unknown_is_invalid(kind, precision, message):
    assert_invalid(kind, message, precision=precision)


@pytest.mark.parametrize("kind", PREPARING, ids=short_id)
def test_newer_precision_is_valid_if_it_is_allowed(kind):
    arguments = checked(kind, precision="NEW", accept_precisions=["NEW_V2"], allow_unknown_precision="True")
    assert (arguments.precision, arguments.accept_precisions) == ("NEW", ["NEW_V2"])
    for invalid in ("not a name", "PRECISION_UNSPECIFIED"):
        assert_invalid(
            kind, f"Unknown precision '{invalid}'", precision=invalid, allow_unknown_precision=True
        )


@pytest.mark.parametrize("kind", PREPARING, ids=short_id)
@pytest.mark.parametrize(
    ("given", "accepted"),
    [
        (["FP8_V2", Precision.FP4], ["FP8_V2", "FP4"]),
        ("FP8_V2", ["FP8_V2"]),
        ((), []),
        (None, []),
    ],
    ids=short_id,
)
def test_accept_precisions_is_one_any_number_or_none(kind, given, accepted):
    assert checked(kind, accept_precisions=given).accept_precisions == accepted


@pytest.mark.parametrize("kind", PREPARING, ids=short_id)
@pytest.mark.parametrize(
    ("given", "message"),
    [
        (["FP8", "fp4"], "Unknown precision 'fp4'"),
        ("x", "Unknown precision 'x'"),
        ([8], r"accept_precisions\.0: "),
        ({"FP8": 1}, "accept_precisions: "),
        (8, "accept_precisions: "),
    ],
    ids=short_id,
)
def test_accept_precisions_with_an_invalid_one_is_invalid(kind, given, message):
    assert_invalid(kind, message, accept_precisions=given)


# Baseline


def test_baseline_of_the_prepare_operator_is_parsed():
    assert checked(ModelReadyArguments, baseline=BASELINE).baseline == Baseline(**BASELINE)


def test_baseline_of_an_earlier_version_is_parsed():
    earlier = {name: value for name, value in BASELINE.items() if name != "began"}
    assert checked(ModelReadyArguments, baseline=earlier).baseline.began is False


@pytest.mark.parametrize(
    "baseline",
    [
        PREPARED,
        READY,
        {},
        {"state": "READY"},
        BASELINE | {"more": 1},
        {name: value for name, value in BASELINE.items() if name != "posted_at"},
        {"deployment": DEPLOYMENT},
        "READY",
        str(BASELINE),
        [BASELINE],
        5,
    ],
    ids=short_id,
)
def test_baseline_of_anything_else_is_invalid(baseline):
    assert_invalid(
        ModelReadyArguments, r"^Invalid baseline .*: pass .*prepared=prepare\.output", baseline=baseline
    )


@pytest.mark.parametrize(
    ("name", "value"),
    [("state", None), ("posted", "perhaps"), ("posted_at", "soon"), ("precisions", "FP8")],
)
def test_baseline_with_an_invalid_value_names_the_field(name, value):
    assert_invalid(ModelReadyArguments, rf"baseline\.{name}: ", baseline=BASELINE | {name: value})
