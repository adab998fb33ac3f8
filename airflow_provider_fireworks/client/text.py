"""Text that others wrote, made fit for a log line or a message."""

from __future__ import annotations

_LIMIT = 500


def one_line(text: object, *, limit: int = _LIMIT) -> str:
    """
    Return a text as one printable line, so that nobody else's words can forge or colour a line of a log.

    :param limit: characters; the rest is cut off.
    """
    whole = str(text)
    if len(whole) <= limit and whole.isprintable() and " " not in whole:
        return whole
    # Four times as much, since runs of blanks become one. Scanning all of a huge text would take long.
    kept = "".join(letter if letter.isprintable() else " " for letter in whole[: 4 * limit])
    folded = " ".join(kept.split())
    is_cut = len(folded) > limit or len(whole) > 4 * limit
    return folded[: limit - 1] + "…" if is_cut else folded


def sentence(text: object, *, limit: int = _LIMIT) -> str:
    """Return a text as one line that ends as a sentence does, whatever it ended with."""
    line = one_line(text, limit=limit).rstrip(". ")
    return line if line.endswith(("?", "!", "…")) else f"{line}."
