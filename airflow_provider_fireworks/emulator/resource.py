"""What the emulated resources have in common."""

from __future__ import annotations

import math
from collections.abc import Iterable
from datetime import datetime, timezone

OK_STATUS = {"code": "OK", "message": ""}


def rfc3339(at: float) -> str:
    """Return seconds since the epoch as the API writes times: UTC, with 0, 3, 6 or 9 fractional digits."""
    seconds = math.floor(at)
    digits = f"{int((at - seconds) * 1_000_000_000):09}"
    while digits.endswith("000"):
        digits = digits[:-3]
    text = datetime.fromtimestamp(seconds, timezone.utc).strftime("%Y-%m-%dT%H:%M:%S")
    return f"{text}.{digits}Z" if digits else f"{text}Z"


def check_fields(fields: Iterable[str], known: Iterable[str], kind: str) -> None:
    """
    Check the names of fields. Their values are free, so that a test can set one that no schema has yet.

    :raises ValueError: for the first unknown one.
    """
    for name in fields:
        if name not in known:
            raise ValueError(f"Unknown field {name!r} of a {kind}. Known: {', '.join(sorted(known))}.")
