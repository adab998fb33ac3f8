"""What a log line and an exception's message have to look like, whatever they quote."""

from __future__ import annotations

MAX_LENGTH = 4500


def assert_plain(text: str) -> None:
    """Assert that a text is one printable line of limited length."""
    assert text.isprintable(), ascii(text)
    assert len(text) <= MAX_LENGTH
