"""The precisions a model can be prepared for. Plain Python: it is loaded wherever a DAG is parsed."""

from __future__ import annotations

import difflib
import re
from enum import Enum
from itertools import takewhile

_NAME = re.compile(r"[A-Z][A-Z0-9_]*", re.ASCII)
#: From which ratio on a known name is suggested for an unknown one; 1 is the same name.
_SIMILAR = 0.65


class UnknownPrecisionError(ValueError):
    """A precision that the gateway's published schema does not name."""


class Precision(str, Enum):
    """
    A precision that a model can be prepared for, as the gateway names it.

    The published schema has one name more, ``PRECISION_UNSPECIFIED``. It marks legacy models and is nothing
    to prepare for.
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
    Return the gateway's name of a precision, or refuse it by name.

    :param value: a :class:`Precision` or its name, exactly as the gateway spells it (``"FP8"``).
    :param allow_unknown: pass a name that is newer than this package, as long as it is a name at all.
    :return: the name as it goes over the wire, a plain ``str``.
    :raises UnknownPrecisionError: with the nearest known names and the list of all of them.
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
    newer = " For one that is newer than this package, pass allow_unknown_precision=True."
    raise UnknownPrecisionError(
        f"{value!r} is no precision that a model can be prepared for.{hint} Known: {', '.join(known)}."
        f"{'' if allow_unknown else newer}"
    )


def nearest_precisions(value: object) -> list[str]:
    """
    Return the known precisions most similar to an unknown value: several if they are equally similar, or an empty list.

    Of names with the same similarity, those with the longest common start are returned: FP4, not NF4, for ``F4``.
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
