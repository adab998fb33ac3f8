"""
Uploads files to signed URLs, several at a time.

The URLs lead to a host other than the API's: an object store, which does not receive the API key. The signature in a
URL gives access to whoever has it, so no URL is part of a message.
"""

from __future__ import annotations

import errno
import logging
import math
import random
import re
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_EXCEPTION, Future, wait
from contextlib import contextmanager, suppress
from queue import Empty, SimpleQueue
from typing import BinaryIO
from urllib.parse import SplitResult, urlsplit

import requests
import urllib3.exceptions

from airflow_provider_fireworks.client.config import HEADERS, is_loopback_host
from airflow_provider_fireworks.client.deadline import (
    DeadlineAdapter,
    response_deadline,
    set_response_deadline,
)
from airflow_provider_fireworks.client.errors import (
    ApiError,
    NoResponseError,
    RateLimitedError,
    RefusedError,
    UnavailableError,
    excerpt,
)
from airflow_provider_fireworks.client.files import SourceError, SourceFile
from airflow_provider_fireworks.client.progress import Progress
from airflow_provider_fireworks.client.responses import clear_locals
from airflow_provider_fireworks.client.retries import backoff, parse_retry_after
from airflow_provider_fireworks.client.sync_client import make_plain_session
from airflow_provider_fireworks.client.text import hide_queries, one_line
from airflow_provider_fireworks.timing import DEFAULT_TIMING, Timing

_BLOCK_BYTES = 1024 * 1024
"""How much of a file is sent at once. Each parallel file takes this and its file system's buffer of memory."""
_MAX_RESPONSE_BYTES = 16 * 1024
_ERROR_FIELD = r"<{0}>\s*([^<]*?)\s*</{0}>"
_THREAD_NAME = "fireworks-upload"

# urllib3 logs the URL of each request at DEBUG, and of each response with invalid headers at WARNING.
logging.getLogger("urllib3.connectionpool").addFilter(
    lambda record: threading.current_thread().name != _THREAD_NAME
)


class _StoppedError(Exception):
    """Another file has failed, or the task was killed."""


class Uploader:
    """
    Uploads files to their signed URLs.

    A ``PUT`` that fails is repeated with growing delays until the caller stops it. After a refusal, which may mean that
    the URL has expired, new URLs are requested; a refusal of such a new URL is final.

    :param files: to upload, with unique names.
    :param get_urls: requests the signed URLs and returns them by file name. Called from several threads, but never
        concurrently.
    :param max_parallel: files to upload at the same time.
    :param log: called with a line about each failed attempt, and regularly with a line about the progress.
    """

    def __init__(
        self,
        files: Sequence[SourceFile],
        get_urls: Callable[[], Mapping[str, str]],
        *,
        max_parallel: int,
        log: Callable[[str], object],
        timing: Timing = DEFAULT_TIMING,
    ) -> None:
        self._files = files
        self._urls = _SignedUrls(get_urls)
        self._max_parallel = max_parallel
        self._log = log
        self._timing = timing
        self._stop = threading.Event()
        self._lines: SimpleQueue[str] = SimpleQueue()
        self._progress = Progress(len(files), sum(file.size for file in files), now=time.monotonic())
        self._session = make_plain_session()
        self._session.headers.clear()
        self._session.headers["User-Agent"] = HEADERS["User-Agent"]
        for scheme in ("https://", "http://"):
            self._session.mount(scheme, DeadlineAdapter(pool_maxsize=max_parallel))

    def run(self, check: Callable[[Progress], object] = lambda progress: None) -> None:
        """
        Upload all files.

        :param check: called about twice a second. What it raises stops the upload.
        :raises ApiError: if the URLs cannot be requested, or if one is refused for good.
        :raises SourceError: if a file cannot be read, or has changed since it was listed.
        """
        self._urls.fetch()
        self._session.trust_env = not self._urls.are_loopback
        queue: SimpleQueue[tuple[SourceFile, Future[None]]] = SimpleQueue()
        pending: set[Future[None]] = set()
        # The largest first, so that no large file is left to upload alone at the end.
        for file in sorted(self._files, key=lambda file: -file.size):
            future: Future[None] = Future()
            queue.put((file, future))
            pending.add(future)
        try:
            for _ in range(min(self._max_parallel, len(pending))):
                # Not an executor: Python waits for its threads at exit, which a stalled store may block for minutes.
                threading.Thread(target=self._work, args=[queue], name=_THREAD_NAME, daemon=True).start()
            self._watch(pending, check)
        finally:
            self._stop.set()
            wait(pending, timeout=self._timing.upload_stop_timeout)
            self._session.close()

    def _work(self, queue: SimpleQueue[tuple[SourceFile, Future[None]]]) -> None:
        """Upload one file after the other. Runs in a thread."""
        with suppress(Empty):
            while True:
                file, future = queue.get_nowait()
                try:
                    self._upload(file)
                except BaseException as error:
                    future.set_exception(error)
                else:
                    future.set_result(None)

    def _watch(self, pending: set[Future[None]], check: Callable[[Progress], object]) -> None:
        interval = self._timing.upload_log_interval
        next_line = time.monotonic() + interval
        while pending:
            done, pending = wait(pending, self._timing.upload_check_interval, FIRST_EXCEPTION)
            # The log belongs to the task's own thread.
            while not self._lines.empty():
                self._log(one_line(self._lines.get()))
            with clear_locals():
                for future in done:
                    future.result()
            check(self._progress)
            if time.monotonic() >= next_line or not pending:
                next_line += interval
                self._log(f"Uploaded {self._progress.line(time.monotonic())}.")
        if not self._progress.is_complete:
            raise SourceError("not every byte was uploaded")

    def _upload(self, file: SourceFile) -> None:
        """Upload one file, however many attempts it takes."""
        failures = 0
        url, renew, url_is_new = "", False, False
        while True:
            if self._stop.is_set():
                raise _StoppedError
            try:
                url = self._urls.renew(file.name, url) if renew else self._urls.get(file.name)
                url_is_new, renew = renew, False
                with clear_locals():
                    return self._put(file, url)
            except (ApiError, SourceError) as error:
                is_refused = isinstance(error, UrlRefusedError)
                renew = renew or is_refused
                if error.is_transient:
                    failures += 1
                    self._pause(error, failures)
                elif is_refused and not url_is_new:
                    self._lines.put(f"{error}. Requesting new URLs, in case this one has expired.")
                else:
                    raise

    def _pause(self, error: ApiError | SourceError, failures: int) -> None:
        timing = self._timing
        delay = backoff(
            error,
            failures,
            first=timing.first_retry_delay,
            longest=timing.max_poll_backoff,
            jitter=random.random(),
        )
        delay = max(delay, timing.min_retry_delay)
        self._lines.put(f"{error}. Trying again in {delay:.0f} s.")
        if self._stop.wait(delay):
            raise _StoppedError

    def _put(self, file: SourceFile, url: str) -> None:
        """Make one attempt to upload a file."""
        host = _check_url(file, url)
        label = one_line(f"PUT {file.name} to {host}")
        timing = self._timing
        body: _Body | None = None
        try:
            with _opened(file) as stream, response_deadline(math.inf):
                body = _Body(file, stream, self._progress, self._stop, timing)
                with self._session.put(
                    url,
                    # requests would send an iterable of length 0 in chunks.
                    data=body if file.size else b"",
                    headers={
                        "Content-Type": "application/octet-stream",
                        "x-goog-content-length-range": f"{file.size},{file.size}",
                    },
                    # The connect timeout also limits the time to send a block.
                    timeout=(timing.read_timeout, timing.read_timeout),
                    allow_redirects=False,
                    stream=True,
                ) as response:
                    content = response.raw.read(_MAX_RESPONSE_BYTES, decode_content=False)
                    headers = {name.lower(): value for name, value in response.headers.items()}
                    if not 200 <= response.status_code < 300:
                        raise _error_from(label, response.status_code, headers, content, timing)
                    if content:
                        # A store's response is empty. This is a proxy's page, so the file may not have been stored.
                        shown = excerpt(response.status_code, headers, content)
                        raise NoResponseError(shown, request=label, status=response.status_code)
                    if body.sent != file.size:
                        raise NoResponseError("the response came before every byte was sent", request=label)
        except BaseException as error:
            # ValueError: urllib3 accepts any number as the length of a chunk, even a negative one.
            is_of_library = isinstance(
                error, (requests.RequestException, urllib3.exceptions.HTTPError, ValueError)
            )
            failure = _no_response(label, error, url, host) if is_of_library else error
            self._progress.take_back(body.sent if body else 0, failure)
            raise failure from None
        self._progress.finish_file()


class UrlRefusedError(RefusedError):
    """The store refuses a signed URL: it has expired, or the request is not the one that was signed."""


class _Body:
    """The bytes of a file, block by block. It has a length, so that requests does not send it in chunks."""

    def __init__(
        self, file: SourceFile, stream: BinaryIO, progress: Progress, stop: threading.Event, timing: Timing
    ) -> None:
        self._file = file
        self._stream = stream
        self._progress = progress
        self._stop = stop
        self._timing = timing
        self.sent = 0

    def __len__(self) -> int:
        return self._file.size

    def __iter__(self) -> Iterator[bytes]:
        while self.sent < self._file.size:
            if self._stop.is_set():
                raise _StoppedError
            block = self._read(min(_BLOCK_BYTES, self._file.size - self.sent))
            if not block:
                raise SourceError(f"{self._file.name} has become shorter since it was listed")
            yield block
            self.sent += len(block)
            self._progress.add(len(block))
        if self._read(1):
            raise SourceError(f"{self._file.name} has become longer since it was listed")
        set_response_deadline(time.monotonic() + self._timing.response_timeout)

    def _read(self, size: int) -> bytes:
        with _source_errors(self._file):
            return self._stream.read(size)


class _SignedUrls:
    """The signed URL of each file, which all threads renew together."""

    def __init__(self, request: Callable[[], Mapping[str, str]]) -> None:
        self._request = request
        self._lock = threading.Lock()
        self._urls: Mapping[str, str] = {}

    def fetch(self) -> None:
        """Request the URLs of all files."""
        self._urls = self._request()

    @property
    def are_loopback(self) -> bool:
        """Whether all URLs lead to this machine, so that no proxy is used."""
        return all(is_loopback_host(_split(url).hostname or "") for url in self._urls.values())

    def get(self, name: str) -> str:
        """Return the URL of a file."""
        with self._lock:
            return self._urls[name]

    def renew(self, name: str, refused: str) -> str:
        """Return a new URL of a file. Requests new ones for all files, unless another thread has done so."""
        with self._lock:
            if self._urls[name] == refused:
                self._urls = self._request()
            return self._urls[name]


@contextmanager
def _source_errors(file: SourceFile) -> Iterator[None]:
    """Raise a ``SourceError`` for any error of a file system: final if the file is missing, replaced or forbidden."""
    try:
        yield
    except Exception as error:
        is_final = isinstance(error, (FileNotFoundError, IsADirectoryError, PermissionError))
        # How s3fs reports that an object was replaced since it was opened.
        is_final = is_final or getattr(error, "errno", None) == errno.EBUSY
        shown = one_line(f"{type(error).__name__}: {error}")
        raise SourceError(f"{file.name} cannot be read: {shown}", is_transient=not is_final) from None


@contextmanager
def _opened(file: SourceFile) -> Iterator[BinaryIO]:
    """Open a file. Only errors of opening it become a ``SourceError``, not those of the block."""
    with _source_errors(file):
        opened = file.open()
    with opened as stream:
        yield stream


def _check_url(file: SourceFile, url: str) -> str:
    """
    Return the host of a signed URL.

    :raises RefusedError: unless it is https, or http to this machine.
    """
    parts = _split(url)
    host = parts.hostname or ""
    is_safe = parts.scheme == "https" or (parts.scheme == "http" and is_loopback_host(host))
    if not host or not is_safe or "@" in parts.netloc:
        raise RefusedError(
            f"the signed URL of {file.name} is not used: it must be https, or http to this machine, and leads to "
            f"{one_line(f'{parts.scheme}://{host}', limit=200)}"
        )
    return one_line(f"{host}:{parts.port}" if parts.port else host, limit=200)


def _split(url: str) -> SplitResult:
    """Split a URL; an invalid one has no parts."""
    try:
        parts = urlsplit(url)
        _ = parts.port
    except ValueError:
        return urlsplit("")
    return parts


def _no_response(label: str, error: BaseException, url: str, host: str) -> ApiError:
    """Return the error of an attempt without a response. It quotes the library, but without the URL."""
    reason = getattr(error.args[0], "reason", None) if error.args else None
    shown = one_line(f"{type(error).__name__}: {reason or error}").replace(url, host)
    return NoResponseError(f"no response: {hide_queries(shown)}", request=label)


def _error_from(
    label: str, status: int, headers: Mapping[str, str], content: bytes, timing: Timing
) -> ApiError:
    """Return the error for an unsuccessful response. Stores give the reason in XML."""
    text = content.decode("utf-8", "replace")
    words = [
        hide_queries(one_line(found[1], limit=300))
        for field in ("Code", "Message", "Details")
        if (found := re.search(_ERROR_FIELD.format(field), text))
    ]
    kind: type[ApiError] = UnavailableError
    if status == 429:
        kind = RateLimitedError
    elif 300 <= status < 500 and status != 408:
        kind = UrlRefusedError
    error = kind(
        ": ".join(words) if words else excerpt(status, headers, content),
        request=label,
        status=status,
        retry_after=parse_retry_after(headers, now=time.time(), longest=timing.max_retry_after),
    )
    # A response without the store's XML comes from something in between, such as a proxy, and may be temporary.
    error.is_transient = kind is not UrlRefusedError or not words
    return error
