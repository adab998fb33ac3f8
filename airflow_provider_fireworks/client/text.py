"""Makes text from outside safe for a log line or a message."""

from __future__ import annotations

import re

_LIMIT = 500
_QUERY = re.compile(r"\?[^\s'\")]+")


def one_line(text: object, *, limit: int = _LIMIT) -> str:
    """
    Return a text as one printable line, so that text from outside can neither forge nor colour a line of a log.

    :param limit: the most characters to return; a longer text ends with ``…``.
    """
    whole = str(text)
    # Nearly every text is one already. The only printable blank is the space.
    if len(whole) <= limit and whole.isprintable() and "  " not in whole and whole == whole.strip():
        return whole
    # Scanning all of a huge text would take long. Four times the limit leaves room for runs of blanks to collapse.
    kept = "".join(letter if letter.isprintable() else " " for letter in whole[: 4 * limit])
    folded = " ".join(kept.split())
    is_cut = len(folded) > limit or len(whole) > 4 * limit
    return folded[: limit - 1] + "…" if is_cut else folded


def hide_queries(text: str) -> str:
    """Return a text without the queries of the URLs in it, as those of signed URLs have the signature."""
    return _QUERY.sub("?…", text)


def sentence(text: object, *, limit: int = _LIMIT) -> str:
    """Return a text as one line that ends with a full stop, unless it ends with ``?``, ``!`` or ``…``."""
    line = one_line(text, limit=limit).rstrip(". ")
    return line if line.endswith(("?", "!", "…")) else f"{line}."
