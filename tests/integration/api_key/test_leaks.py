"""The search for leaked keys finds what it searches for."""

from __future__ import annotations

import pytest

from tests.integration.api_key.leaks import KEY, assert_hides_key, representations


def fail(key: str) -> None:
    error = ValueError(f"bad {key}")
    error.key = key
    raise error


def fail_with_hidden_context(key: str) -> None:
    try:
        fail(key)
    except ValueError:
        raise RuntimeError("hidden") from None


def test_key_is_found_in_every_representation():
    with pytest.raises(ValueError, match="bad") as failure:
        fail(KEY)
    assert [tool for tool, text in representations(failure.value).items() if KEY not in text] == []


def test_key_is_found_in_a_hidden_context():
    with pytest.raises(RuntimeError) as failure:
        fail_with_hidden_context(KEY)
    tools = {
        tool.partition(" of ")[0] for tool, text in representations(failure.value).items() if KEY in text
    }
    assert tools >= {"str", "repr", "attributes", "pickle", "locals"}
    with pytest.raises(AssertionError):
        assert_hides_key(failure.value)
