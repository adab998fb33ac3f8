"""How far an upload has come."""

from __future__ import annotations

import threading
from datetime import timedelta

_UNITS = ("bytes", "kB", "MB", "GB", "TB")


class Progress:
    """
    Counts what several threads upload.

    :param files: how many there are.
    :param size: bytes of all of them.
    :param now: seconds of a monotonic clock.
    :ivar last_error: the error of the last failed attempt; empty if none has failed.
    """

    def __init__(self, files: int, size: int, *, now: float) -> None:
        self._files = files
        self._size = size
        self._lock = threading.Lock()
        self._files_done = 0
        self._sent = 0
        """Bytes of files that are uploaded, or of attempts that have not failed."""
        self._transferred = 0
        """All bytes that were sent, those of failed attempts included."""
        self._line_at, self._line_transferred = now, 0
        self.last_error = ""

    @property
    def is_complete(self) -> bool:
        """Whether every byte of every file is uploaded."""
        return self._files_done == self._files and self._sent == self._size

    def add(self, size: int) -> None:
        """Count bytes that were sent."""
        with self._lock:
            self._sent += size
            self._transferred += size

    def take_back(self, size: int, error: object) -> None:
        """Subtract the bytes of a failed attempt, and keep its error."""
        with self._lock:
            self._sent -= size
            self.last_error = str(error)

    def finish_file(self) -> None:
        """Count a file that is uploaded."""
        with self._lock:
            self._files_done += 1

    def line(self, now: float) -> str:
        """Return a line with files, bytes, speed since the last line, and the time left at that speed."""
        with self._lock:
            seconds = max(now - self._line_at, 0.001)
            speed = (self._transferred - self._line_transferred) / seconds
            self._line_at, self._line_transferred = now, self._transferred
            files, sent = self._files_done, self._sent
        left = str(timedelta(seconds=round((self._size - sent) / speed))) if speed else "unknown time"
        return (
            f"{files} of {self._files} files, {in_bytes(sent)} of {in_bytes(self._size)}, "
            f"{speed / 1e6:.1f} MB/s, {left} left"
        )


def in_bytes(size: float) -> str:
    """Return a number of bytes in the unit that suits it: ``4.2 GB``."""
    unit = 0
    while size >= 1000 and unit < len(_UNITS) - 1:
        size, unit = size / 1000, unit + 1
    return f"{size:.1f} {_UNITS[unit]}" if unit else f"{size:.0f} {_UNITS[0]}"
