"""What both transports make of an answer, and of none. The key gets no further than this."""

from __future__ import annotations

import time
from collections.abc import Iterable
from typing import Any, TypeVar

from airflow_provider_fireworks.gateway.calls import Call
from airflow_provider_fireworks.gateway.endpoint import Endpoint
from airflow_provider_fireworks.gateway.errors import (
    AnswerLostError,
    GatewayError,
    UnreachableError,
    one_line,
)

ResultT = TypeVar("ResultT")


def result_of(
    call: Call[ResultT], endpoint: Endpoint, status: int, headers: Iterable[tuple[str, str]], body: bytes
) -> ResultT:
    """
    Read the answer to a call.

    :raises GatewayError: the member of the tree that fits, for anything but a success that can be read.
    """
    lowered = {name.lower(): value for name, value in headers}
    try:
        return call.result(status, lowered, body, now=time.time())
    except GatewayError as error:
        error.hide(endpoint.hide_key)
        raise


def without_answer(
    call: Call[Any], endpoint: Endpoint, error: Exception, reason: object, *, never_sent: bool
) -> GatewayError:
    """
    Return the error of a call that no answer came to.

    :param error: what the HTTP library has raised.
    :param reason: what it says.
    :param never_sent: whether it is certain that the gateway cannot have seen the call.
    """
    kind = UnreachableError if never_sent else AnswerLostError
    what = "the gateway cannot be reached" if never_sent else "no answer came back"
    told = endpoint.hide_key(one_line(f"{type(error).__name__}: {reason}"))
    return kind(f"{what} at {endpoint.base_url}: {told}", call=str(call))
