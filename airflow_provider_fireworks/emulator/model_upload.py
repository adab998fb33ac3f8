"""The upload of a model's files: what is expected, what was received, and the signed URLs for it."""

from __future__ import annotations

import secrets
import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING
from urllib.parse import quote, urlencode

from airflow_provider_fireworks.emulator.responses import ErrorResponse

if TYPE_CHECKING:
    from collections.abc import Iterable

    from airflow_provider_fireworks.emulator.emulated_model import EmulatedModel
    from airflow_provider_fireworks.emulator.options import Options
    from airflow_provider_fireworks.emulator.records import ReceivedFile
    from airflow_provider_fireworks.emulator.state import State

#: The header that limits the size of an upload. It is signed, as the content type is.
RANGE_HEADER = "x-goog-content-length-range"
_WARNING = "config.json has an unknown field 'emulated'"


class ModelUpload:
    """
    The files of one model.

    :ivar received: every file that was sent, whether it was stored or not, in the order of their first bytes.
    """

    def __init__(self) -> None:
        self.received: list[ReceivedFile] = []
        self._expected: dict[str, int] = {}
        self._stored: dict[str, int] = {}
        self._validation_began: float | None = None

    @property
    def is_complete(self) -> bool:
        """Whether every file that a URL was requested for has been stored with its size."""
        return bool(self._expected) and not self._missing()

    def announce(self, sizes: dict[str, int]) -> None:
        """Expect files, in addition to those that are expected already."""
        self._expected.update(sizes)
        self._validation_began = None

    def store(self, file: ReceivedFile) -> None:
        self._stored[file.name] = file.size
        self._validation_began = None

    def validate(self, required: Iterable[frozenset[str]], at: float, options: Options) -> list[str]:
        """
        Check that all files are there.

        :param required: one file of each set must be there, beside those that are expected.
        :return: the warnings.
        :raises ErrorResponse: if a file is missing, or as the options say.
        """
        if not self._expected:
            raise ErrorResponse("FAILED_PRECONDITION", "no file was uploaded")
        missing = [*self._missing(), *(min(names) for names in required if not names & self._stored.keys())]
        if missing:
            raise ErrorResponse("FAILED_PRECONDITION", f"{missing[0]} not found")
        if self._validation_began is None:
            self._validation_began = at
        if options.validation_outcome == "never" or at < self._validation_began + options.validation_duration:
            raise ErrorResponse("FAILED_PRECONDITION", "the uploaded files are being validated")
        if options.validation_outcome == "invalid":
            raise ErrorResponse("INVALID_ARGUMENT", "config.json: unsupported architecture 'Emulated'")
        return [_WARNING] if options.validation_outcome == "warns" else []

    def _missing(self) -> list[str]:
        return [name for name, size in self._expected.items() if self._stored.get(name) != size]


@dataclass(frozen=True)
class SignedUrl:
    """
    Where one file can be uploaded.

    :ivar path: of the URL, decoded.
    :ivar expires_at: seconds since the epoch. An upload that begins before is accepted, however long it takes.
    """

    path: str
    upload: ModelUpload
    name: str
    size: int
    expires_at: float


class UploadUrls:
    """All signed URLs. A signature is random, and known here."""

    def __init__(self, state: State) -> None:
        self._state = state
        self._urls: dict[str, SignedUrl] = {}

    def sign(self, model: EmulatedModel, name: str, size: int) -> str:
        """Return a new URL for a file."""
        signature = secrets.token_hex(32)
        now, ttl = self._state.clock(), self._state.options.upload_url_ttl
        path = f"/emulated-bucket/{model.account}/{model.id}/{name}"
        self._urls[signature] = SignedUrl(path, model.upload, name, size, now + ttl)
        query = {
            "X-Goog-Algorithm": "GOOG4-RSA-SHA256",
            "X-Goog-Date": time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(now)),
            "X-Goog-Expires": f"{ttl:.0f}",
            "X-Goog-SignedHeaders": f"content-type;host;{RANGE_HEADER}",
            "X-Goog-Signature": signature,
        }
        return f"{self._state.upload_url}{quote(path)}?{urlencode(query)}"

    def find(self, path: str, signature: str) -> SignedUrl | None:
        """
        Return the URL with this path and signature.

        :param path: decoded.
        """
        found = self._urls.get(signature)
        return found if found is not None and found.path == path else None

    def expire(self) -> None:
        """Let all URLs expire that exist now."""
        now = self._state.clock()
        self._urls = {signature: replace(url, expires_at=now) for signature, url in self._urls.items()}
