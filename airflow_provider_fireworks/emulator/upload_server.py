"""
The host of the signed URLs: an object store that receives the files of models.

It is as strict as the real one: exactly the signed headers, no ``Authorization``, a known length. A file that is sent
in chunks gets 200 and is dropped. Files are hashed and counted, not kept.
"""

from __future__ import annotations

import hashlib
import time
from typing import TYPE_CHECKING
from urllib.parse import parse_qsl, unquote

from airflow_provider_fireworks.emulator.http_server import RequestHandler, recordable
from airflow_provider_fireworks.emulator.model_upload import RANGE_HEADER
from airflow_provider_fireworks.emulator.records import ReceivedFile, ReceivedRequest
from airflow_provider_fireworks.emulator.responses import Response, store_error

if TYPE_CHECKING:
    from airflow_provider_fireworks.emulator.faults import Fault
    from airflow_provider_fireworks.emulator.model_upload import SignedUrl

_BUFFER_SIZE = 1 << 20
_ERROR_CODES = {400: "InvalidArgument", 403: "AccessDenied", 429: "SlowDown", 503: "ServiceUnavailable"}


class UploadHandler(RequestHandler):
    """Handles uploads to signed URLs."""

    def do_PUT(self) -> None:
        """Receive a file."""
        state = self.server.state
        path, _, query_text = self.path.partition("?")
        query = dict(parse_qsl(query_text))
        headers = {name.lower(): value for name, value in self.headers.items()}
        with state.lock:
            now = state.clock()
            record = ReceivedRequest("PUT", path, query, None, now, recordable(headers))
            self.record = record
            state.requests.append(record)
            state.counts["PUT upload"] += 1
            fault = state.faults.take("PUT", self.path)
            url = state.upload_urls.find(unquote(path), query.get("X-Goog-Signature", ""))
            file = ReceivedFile(url.name if url else unquote(path), 0, "", now)
            if url is not None:
                url.upload.received.append(file)
        try:
            if fault is not None:
                record.fault = fault.kind
            if not self._receive(file, headers, fault):
                file.result = "incomplete"
                self.close_connection = True
            elif fault is None:
                self.send(self._store(url, file, headers))
            else:
                file.result = "refused"
                self.fail(fault, lambda: self._store(url, file, headers))
        finally:
            if self.server.log is not None:
                self.server.log(record)

    def error(self, fault: Fault, status: int) -> Response:
        code = _ERROR_CODES.get(status, "InternalError")
        return store_error(status, code, fault.message or f"emulated fault: {status}")

    def _receive(self, file: ReceivedFile, headers: dict[str, str], fault: Fault | None) -> bool:
        """Read the body, and return whether it is complete."""
        digest = hashlib.sha256()
        if "transfer-encoding" not in headers:
            length = int(headers.get("content-length", 0))
            if fault is not None and fault.kind == "drop" and not fault.after_work:
                self._read(length // 2, file, digest)
                return False
            complete = self._read(length, file, digest)
        else:
            complete = self._read_chunks(file, digest)
        file.sha256 = digest.hexdigest()
        return complete

    def _read_chunks(self, file: ReceivedFile, digest: hashlib._Hash) -> bool:
        while True:
            size = int(self.rfile.readline().split(b";")[0] or b"-1", 16)
            if size < 0 or not self._read(size, file, digest):
                return False
            self.rfile.readline()
            if size == 0:
                return True

    def _read(self, length: int, file: ReceivedFile, digest: hashlib._Hash) -> bool:
        """Read a part of the body, and return whether it is complete."""
        rate = self.server.state.options.upload_rate
        size = min(_BUFFER_SIZE, length) if rate is None else max(1, min(_BUFFER_SIZE, int(rate / 10)))
        buffer = memoryview(bytearray(size))
        left = length
        started = time.monotonic()
        while left:
            try:
                count = self.rfile.readinto(buffer[:left])
            except ConnectionError:
                return False
            if not count:
                return False
            digest.update(buffer[:count])
            left -= count
            file.size += count
            if rate is not None:
                time.sleep(max(0, started + (length - left) / rate - time.monotonic()))
        return True

    def _store(self, url: SignedUrl | None, file: ReceivedFile, headers: dict[str, str]) -> Response:
        """Store a file that was received completely, or return why it is refused."""
        state = self.server.state
        with state.lock:
            file.ended_at = state.clock()
            refusal = self._refusal(url, file, headers)
            if refusal is not None:
                file.result = "refused"
                return refusal
            file.result = "dropped" if "transfer-encoding" in headers else "stored"
            if url is not None and file.result == "stored":
                url.upload.store(file)
            return Response(200, b"", "text/html; charset=UTF-8", {"etag": f'"{file.sha256[:32]}"'})

    def _refusal(self, url: SignedUrl | None, file: ReceivedFile, headers: dict[str, str]) -> Response | None:
        state = self.server.state
        if url is None:
            return store_error(403, "SignatureDoesNotMatch", "The signature does not match the URL.")
        if url.expires_at <= file.started_at:
            message = "The provided token has expired."
            return store_error(state.options.expired_url_status, "ExpiredToken", message)
        if "authorization" in headers:
            return store_error(400, "InvalidArgument", "A signed URL must be used without Authorization.")
        signed = {"content-type": "application/octet-stream", RANGE_HEADER: f"{url.size},{url.size}"}
        for name, value in signed.items():
            if name not in headers:
                details = f"Header {name} was included in signedheaders, but not in the request."
                return store_error(
                    400, "MalformedSecurityHeader", "Your request has a malformed header.", details
                )
            if headers[name] != value:
                return store_error(403, "SignatureDoesNotMatch", f"{name} is not as signed.")
        for name in headers:
            if name.startswith("x-goog-") and name not in signed:
                return store_error(403, "SignatureDoesNotMatch", f"{name} was not signed.")
        if "transfer-encoding" in headers:
            return None
        if "content-length" not in headers:
            return store_error(411, "MissingContentLength", "A Content-Length is required.")
        if file.size != url.size:
            code = "EntityTooLarge" if file.size > url.size else "EntityTooSmall"
            return store_error(400, code, f"{file.size} bytes instead of {url.size}.")
        return None
