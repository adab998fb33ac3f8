"""What the emulated models say."""

from __future__ import annotations

import math
import operator
import re

_REPLY = "This is the emulated API. There is no model behind it."
_KNOWN = re.compile(r"\bWhat is (\d{1,9}) ?([-+*]) ?(\d{1,9})\?")
_OPERATORS = {"+": operator.add, "-": operator.sub, "*": operator.mul}
# The first token takes as long as this many others.
_FIRST = 10


def answer(prompt: str, quality: float, answered: int) -> tuple[str, bool]:
    """
    Return the answer to a prompt, and whether it is a known question.

    Of any number of known questions in a row, the share ``quality`` is answered correctly.

    :param answered: how many known questions the deployment has answered before.
    """
    found = _KNOWN.search(prompt)
    if found is None:
        return _REPLY, False
    left, operation, right = found.groups()
    result = _OPERATORS[operation](int(left), int(right))
    rights = [math.floor(known * quality + 1e-9) for known in (answered, answered + 1)]
    return str(result if rights[1] > rights[0] else result + 1), True


def pauses(tokens: int, speed: float | None) -> list[float]:
    """
    Return the seconds before each token.

    :param speed: tokens per second; ``None`` for all at once.
    """
    if speed is None:
        return [0.0] * tokens
    return [_FIRST / speed, *[1 / speed] * (tokens - 1)]
