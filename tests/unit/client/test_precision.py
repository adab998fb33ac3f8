from __future__ import annotations

import pickle

import pytest
from hypothesis import given, strategies as st

from airflow_provider_fireworks.client.precision import Precision, UnknownPrecisionError, check_precision

PUBLISHED = {
    "FP16", "FP8", "FP8_MM", "FP8_AR", "FP8_MM_KV_ATTN", "FP8_KV", "FP8_MM_V2", "FP8_V2", "FP8_MM_KV_ATTN_V2",
    "NF4", "FP4", "BF16", "FP4_BLOCKSCALED_MM", "FP4_MX_MOE",
}  # fmt: skip
SURPRISES = [None, True, 8, 8.0, b"FP8", ["FP8"], {"FP8": 1}, object()]


def test_the_fourteen_names_that_can_be_prepared_for_are_known():
    assert {precision.value for precision in Precision} == PUBLISHED


@pytest.mark.parametrize("name", sorted(PUBLISHED))
def test_a_known_name_and_its_member_pass_as_plain_text(name):
    for given_value in (name, Precision(name)):
        checked = check_precision(given_value)
        assert checked == name
        assert type(checked) is str


@pytest.mark.parametrize("name", sorted(PUBLISHED))
def test_a_member_reads_as_its_name_in_text(name):
    assert f"{Precision(name)}" == str(Precision(name)) == name


@pytest.mark.parametrize(
    ("typo", "meant"),
    [
        pytest.param("fp8", "FP8", id="small letters"),
        pytest.param("FP-8", "FP8", id="a hyphen"),
        pytest.param(" FP8", "FP8", id="a blank before it"),
        pytest.param("FP8\n", "FP8", id="a line end behind it"),
        pytest.param("BF61", "BF16", id="digits swapped"),
        pytest.param("FP8_MM_KV_ATTN_v2", "FP8_MM_KV_ATTN_V2", id="a small v"),
        pytest.param("F4", "FP4", id="a letter left out"),
        pytest.param("FP44", "FP4", id="a digit doubled"),
        pytest.param("N4", "NF4", id="a letter left out of NF4"),
    ],
)
def test_a_typo_is_refused_by_name_with_what_was_probably_meant(typo, meant):
    with pytest.raises(UnknownPrecisionError) as refused:
        check_precision(typo)
    told = str(refused.value)
    assert repr(typo) in told
    assert f"Did you mean {meant!r}?" in told
    assert all(name in told for name in PUBLISHED)


@pytest.mark.parametrize(("typo", "meant"), [("FP9", "'FP8' or 'FP4'"), ("FP", "'FP8' or 'FP4'")])
def test_precision_like_several_names_suggests_each(typo: str, meant: str) -> None:
    with pytest.raises(UnknownPrecisionError, match=f"Did you mean {meant}\\?"):
        check_precision(typo)


@pytest.mark.parametrize("value", ["something else", "FP32", "INT4"])
def test_nothing_is_guessed_for_what_is_like_no_precision(value):
    with pytest.raises(UnknownPrecisionError) as refused:
        check_precision(value)
    assert "Did you mean" not in str(refused.value)


@pytest.mark.parametrize("value", ["PRECISION_UNSPECIFIED", "", "INT8", *SURPRISES])
def test_anything_unknown_is_refused(value):
    with pytest.raises(UnknownPrecisionError):
        check_precision(value)


@pytest.mark.parametrize("name", ["INT8", "FP4_V3", "FP8_MM_V9"])
def test_a_newer_name_passes_where_that_is_allowed(name):
    assert check_precision(name, allow_unknown=True) == name


@pytest.mark.parametrize(
    "value", ["", " ", "FP 8", "FP8;", "8FP", "FP8\n", "FP8/../x", "ＦＰ８", "{{ p }}", *SURPRISES]
)
def test_what_is_no_name_is_refused_even_then(value):
    with pytest.raises(UnknownPrecisionError):
        check_precision(value, allow_unknown=True)


@given(st.text())
def test_only_names_ever_go_over_the_wire(text):
    try:
        checked = check_precision(text, allow_unknown=True)
    except UnknownPrecisionError:
        return
    assert checked == text
    assert checked.replace("_", "").isalnum()
    assert checked.isascii()


def test_a_member_survives_being_pickled():
    assert pickle.loads(pickle.dumps(Precision.FP8)) is Precision.FP8
