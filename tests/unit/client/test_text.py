from __future__ import annotations

import pytest
from hypothesis import given, strategies as st

from airflow_provider_fireworks.client.text import hide_queries, one_line, sentence


@given(st.text() | st.text(alphabet="a \n", min_size=400, max_size=3000))
def test_one_line_of_any_text_is_printable_and_short(text):
    line = one_line(text)
    assert len(line) <= 500
    assert line.isprintable()
    assert one_line(line) == line


@pytest.mark.parametrize(
    ("text", "line"),
    [
        pytest.param("a\r\n[2026-01-01] INFO b", "a [2026-01-01] INFO b", id="line ends"),
        pytest.param("a\u2028b \x85 c", "a b c", id="Unicode line ends"),
        pytest.param("\x1b[31mred", "[31mred", id="terminal colour"),
        pytest.param("right \u202e to left", "right to left", id="writing direction"),
        pytest.param("no\u200bthing", "no thing", id="zero width"),
        pytest.param("half \ud800 a letter", "half a letter", id="surrogate"),
        pytest.param("  a   b ", "a b", id="runs of blanks"),
        pytest.param(5, "5", id="number"),
    ],
)
def test_one_line_folds_what_could_forge_a_log_line(text, line):
    assert one_line(text) == line


def test_one_line_marks_where_it_cuts():
    assert one_line("x" * 500) == "x" * 500
    assert one_line("x" * 501) == "x" * 499 + "…"
    assert one_line("x" * 11, limit=10) == "x" * 9 + "…"
    assert one_line(" " * 10_000 + "x") == "…"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("out of memory", "out of memory."),
        ("out of memory.", "out of memory."),
        ("out of memory. . ", "out of memory."),
        ("why?", "why?"),
        ("no!", "no!"),
        ("two\nlines", "two lines."),
    ],
)
def test_sentence_ends_with_one_full_stop(text, shown):
    assert sentence(text) == shown


def test_sentence_that_is_cut_ends_with_its_mark():
    assert sentence("x" * 11, limit=10) == "x" * 9 + "…"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("why? because", "why? because"),
        ("no access to https://a/b?X=1&Y=2 today", "no access to https://a/b?… today"),
        ('{"a": "https://a/b?X=1", "b": "/c?Y=2"}', '{"a": "https://a/b?…", "b": "/c?…"}'),
        ("(url: /b?X=1)", "(url: /b?…)"),
    ],
)
def test_queries_of_urls_are_hidden(text, shown):
    assert hide_queries(text) == shown
