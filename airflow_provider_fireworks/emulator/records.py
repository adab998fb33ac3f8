"""Records of the requests that the emulator has received, for the assertions of tests."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal


@dataclass
class ReceivedRequest:
    """
    A request to the emulated API, or an upload to a signed URL. Requests to ``/emulator/…`` are not recorded.

    :ivar path: as sent, without the query.
    :ivar query: the last value of each parameter.
    :ivar body: the parsed JSON, the text if it is not JSON, ``None`` if it is empty or an upload.
    :ivar at: arrival time in seconds since the epoch.
    :ivar headers: names in lower case, without those that can carry a secret.
    :ivar status: HTTP status of the response, ``None`` until it is sent, or if no response is sent.
    :ivar fault: kind of the fault that was applied.
    """

    method: str
    path: str
    query: dict[str, str]
    body: Any
    at: float
    headers: dict[str, str]
    status: int | None = None
    fault: str | None = None


@dataclass(frozen=True)
class AcceptedPreparation:
    """
    A prepare request that started a preparation. Repeated requests do not count.

    :ivar accelerator_count: ``None`` if the request does not set it.
    """

    account: str
    model: str
    precision: str
    accelerator_count: int | None = None


@dataclass
class ReceivedFile:
    """
    A file of a model that was sent to its signed URL, completely or not.

    :ivar size: bytes received.
    :ivar sha256: of these bytes, in hexadecimal digits.
    :ivar started_at: arrival of the request in seconds since the epoch.
    :ivar ended_at: arrival of the last byte.
    :ivar result: ``stored``; ``dropped`` because it was sent in chunks; ``refused`` because of its URL, headers or
        size, or by a fault; ``incomplete`` because the connection broke; ``None`` while it is being received.
    """

    name: str
    size: int
    sha256: str
    started_at: float
    ended_at: float | None = None
    result: Literal["stored", "dropped", "refused", "incomplete"] | None = None


@dataclass(frozen=True)
class CreatedDeployment:
    """
    An accepted create request.

    :ivar base_model: full name of the model.
    :ivar precision: ``PRECISION_UNSPECIFIED`` if neither the request nor the shape sets one.
    """

    account: str
    deployment: str
    base_model: str
    precision: str
