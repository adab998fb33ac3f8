"""The precisions that a model can be prepared for."""

from __future__ import annotations

import difflib
import re
from enum import Enum
from itertools import takewhile

_NAME = re.compile(r"[A-Z][A-Z0-9_]*", re.ASCII)
_SIMILAR = 0.65
"""The least ratio of :class:`difflib.SequenceMatcher` (1 for the same name) at which a known name is suggested."""


class UnknownPrecisionError(ValueError):
    """A precision is not in the API's published schema."""


class Precision(str, Enum):
    """
    A precision that a model can be prepared for, as the API spells it.

    The published schema has one more, ``PRECISION_UNSPECIFIED``, which marks legacy models.
    """

    FP16 = "FP16"
    FP8 = "FP8"
    FP8_MM = "FP8_MM"
    FP8_AR = "FP8_AR"
    FP8_MM_KV_ATTN = "FP8_MM_KV_ATTN"
    FP8_KV = "FP8_KV"
    FP8_MM_V2 = "FP8_MM_V2"
    FP8_V2 = "FP8_V2"
    FP8_MM_KV_ATTN_V2 = "FP8_MM_KV_ATTN_V2"
    NF4 = "NF4"
    FP4 = "FP4"
    BF16 = "BF16"
    FP4_BLOCKSCALED_MM = "FP4_BLOCKSCALED_MM"
    FP4_MX_MOE = "FP4_MX_MOE"

    def __str__(self) -> str:
        return self.value


def check_precision(value: object, *, allow_unknown: bool = False) -> str:
    """
    Return a precision as the API spells it.

    :param value: a :class:`Precision` or its name (``"FP8"``).
    :param allow_unknown: accept a name that this package does not know, as long as it is a plain name.
    :raises UnknownPrecisionError: with the nearest known names and a list of all.
    """
    if isinstance(value, Precision):
        return value.value
    known = [precision.value for precision in Precision]
    if isinstance(value, str) and value in known:
        return value
    if (
        allow_unknown
        and isinstance(value, str)
        and _NAME.fullmatch(value)
        and value != "PRECISION_UNSPECIFIED"
    ):
        return value
    near = nearest_precisions(value)
    hint = f" Did you mean {' or '.join(map(repr, near))}?" if near else ""
    newer = " If it is newer than this package, set allow_unknown_precision=True."
    raise UnknownPrecisionError(
        f"Unknown precision {value!r}.{hint} Known: {', '.join(known)}.{'' if allow_unknown else newer}"
    )


def nearest_precisions(value: object) -> list[str]:
    """
    Return the known precisions most similar to an unknown value: several if they are equally similar, or an empty list.

    Of equally similar names, those with the longest common start are returned: for ``F4``, FP4 and not NF4.
    """
    asked = str(value).strip().upper()
    matcher = difflib.SequenceMatcher(b=asked)
    scores: dict[str, tuple[float, int]] = {}
    for precision in Precision:
        matcher.set_seq1(precision.value)
        if (ratio := matcher.ratio()) >= _SIMILAR:
            same = takewhile(lambda pair: pair[0] == pair[1], zip(precision.value, asked, strict=False))
            scores[precision.value] = (ratio, len(list(same)))
    return [name for name, score in scores.items() if score == max(scores.values())]
