from __future__ import annotations

import pickle

import pytest
from hypothesis import given, strategies as st

from airflow_provider_fireworks.client.precision import Precision, UnknownPrecisionError, check_precision

PUBLISHED = {
    "FP16", "FP8", "FP8_MM", "FP8_AR", "FP8_MM_KV_ATTN", "FP8_KV", "FP8_MM_V2", "FP8_V2", "FP8_MM_KV_ATTN_V2",
    "NF4", "FP4", "BF16", "FP4_BLOCKSCALED_MM", "FP4_MX_MOE",
}  # fmt: skip
NO_TEXTS = [None, True, 8, 8.0, b"FP8", ["FP8"], {"FP8": 1}, object()]


def test_precision_has_all_published_names():
    assert {precision.value for precision in Precision} == PUBLISHED


@pytest.mark.parametrize("name", sorted(PUBLISHED))
def test_check_returns_known_name_and_member_as_plain_text(name):
    for given_value in (name, Precision(name)):
        checked = check_precision(given_value)
        assert checked == name
        assert type(checked) is str


@pytest.mark.parametrize("name", sorted(PUBLISHED))
def test_member_formats_as_its_name(name):
    assert f"{Precision(name)}" == str(Precision(name)) == name


@pytest.mark.parametrize(
    ("typo", "meant"),
    [
        pytest.param("fp8", "FP8", id="lower case"),
        pytest.param("FP-8", "FP8", id="hyphen"),
        pytest.param(" FP8", "FP8", id="leading blank"),
        pytest.param("FP8\n", "FP8", id="trailing line end"),
        pytest.param("BF61", "BF16", id="swapped digits"),
        pytest.param("FP8_MM_KV_ATTN_v2", "FP8_MM_KV_ATTN_V2", id="lower-case v"),
        pytest.param("F4", "FP4", id="missing letter"),
        pytest.param("FP44", "FP4", id="doubled digit"),
        pytest.param("N4", "NF4", id="missing letter of NF4"),
    ],
)
def test_typo_is_rejected_with_a_suggestion(typo, meant):
    with pytest.raises(UnknownPrecisionError) as rejected:
        check_precision(typo)
    message = str(rejected.value)
    assert f"Unknown precision {typo!r}" in message
    assert f"Did you mean {meant!r}?" in message
    assert all(name in message for name in PUBLISHED)


@pytest.mark.parametrize(("typo", "meant"), [("FP9", "'FP8' or 'FP4'"), ("FP", "'FP8' or 'FP4'")])
def test_typo_similar_to_several_names_suggests_each(typo: str, meant: str) -> None:
    with pytest.raises(UnknownPrecisionError, match=f"Did you mean {meant}\\?"):
        check_precision(typo)


@pytest.mark.parametrize("value", ["something else", "FP32", "INT4"])
def test_dissimilar_name_gets_no_suggestion(value):
    with pytest.raises(UnknownPrecisionError) as rejected:
        check_precision(value)
    assert "Did you mean" not in str(rejected.value)


@pytest.mark.parametrize("value", ["PRECISION_UNSPECIFIED", "", "INT8", *NO_TEXTS])
def test_unknown_value_is_rejected(value):
    with pytest.raises(UnknownPrecisionError):
        check_precision(value)


@pytest.mark.parametrize("name", ["INT8", "FP4_V3", "FP8_MM_V9"])
def test_newer_name_is_accepted_if_unknown_ones_are_allowed(name):
    assert check_precision(name, allow_unknown=True) == name


@pytest.mark.parametrize(
    "value", ["", " ", "FP 8", "FP8;", "8FP", "FP8\n", "FP8/../x", "ＦＰ８", "{{ p }}", *NO_TEXTS]
)
def test_malformed_name_is_rejected_even_if_unknown_ones_are_allowed(value):
    with pytest.raises(UnknownPrecisionError):
        check_precision(value, allow_unknown=True)


@given(st.text())
def test_accepted_text_is_a_plain_name(text):
    try:
        checked = check_precision(text, allow_unknown=True)
    except UnknownPrecisionError:
        return
    assert checked == text
    assert checked.replace("_", "").isalnum()
    assert checked.isascii()


def test_member_survives_pickling():
    assert pickle.loads(pickle.dumps(Precision.FP8)) is Precision.FP8
