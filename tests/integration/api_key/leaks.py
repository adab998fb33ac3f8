"""Finds the API key in anything that a tool prints, logs or stores of an exception."""

from __future__ import annotations

import logging
import pickle
import traceback
from collections.abc import Iterator
from io import StringIO

from rich.console import Console
from rich.traceback import Traceback

KEY = "fw_this_must_not_show_9f83c1"


def with_causes(error: BaseException) -> Iterator[BaseException]:
    """Return an exception with all its causes and contexts, even those that ``from None`` hides."""
    pending, seen = [error], set()
    while pending:
        each = pending.pop()
        if id(each) not in seen:
            seen.add(id(each))
            yield each
            pending += filter(None, (each.__cause__, each.__context__))


def representations(error: BaseException) -> dict[str, str]:
    """Return everything that tools make of an exception, by the tool."""
    rich, log = StringIO(), StringIO()
    trace = Traceback.from_exception(type(error), error, error.__traceback__, show_locals=True)
    Console(file=rich, width=500).print(trace)
    logger = logging.Logger("test")
    logger.addHandler(logging.StreamHandler(log))
    logger.error("It failed: %s", error, exc_info=error)
    found = {"rich traceback": rich.getvalue(), "log": log.getvalue()}
    for number, each in enumerate(with_causes(error)):
        kind = f"{type(each).__module__}.{type(each).__name__}, number {number}"
        with_locals = traceback.TracebackException.from_exception(each, capture_locals=True)
        found |= {
            f"str of {kind}": str(each),
            f"repr of {kind}": repr(each),
            f"attributes of {kind}": repr(vars(each)),
            f"pickle of {kind}": pickle.dumps(each).decode("latin-1"),
            f"locals of {kind}": "".join(with_locals.format()),
        }
    return found


def assert_hides_key(error: BaseException) -> None:
    """Assert that no tool shows the key with an exception."""
    assert [tool for tool, text in representations(error).items() if KEY in text] == []


def subclasses(kind: type) -> set[type]:
    """Return all classes below a class."""
    return {each for child in kind.__subclasses__() for each in (child, *subclasses(child))}
