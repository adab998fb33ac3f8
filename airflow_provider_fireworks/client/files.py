"""A file to upload, wherever it is stored."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import BinaryIO


class SourceError(Exception):
    """
    A file to upload cannot be read, or is not what was listed.

    :ivar is_transient: whether reading it again may help.
    :ivar retry_after: always ``None``; here because the backoff expects it, as an ``ApiError`` has it.
    """

    retry_after: float | None = None

    def __init__(self, message: str, *, is_transient: bool = False) -> None:
        super().__init__(message)
        self.is_transient = is_transient


@dataclass(frozen=True)
class SourceFile:
    """
    A file to upload.

    :ivar name: path relative to its folder, with slashes.
    :ivar size: in bytes.
    :ivar version: what changes when its content does: an ETag, or the time of the last change.
    :ivar open: opens it for reading. Called in another thread, and again for each attempt.
    """

    name: str
    size: int
    version: str = ""
    open: Callable[[], AbstractContextManager[BinaryIO]] = field(kw_only=True, compare=False, repr=False)
