"""Uploading a model: create, upload endpoint, signed URLs, validation."""

from __future__ import annotations

import hashlib
import http.client
import socket
import struct
import time
from urllib.parse import urlsplit
from xml.etree import ElementTree

import pytest
import requests

MODELS = "/v1/accounts/demo/models"
NEW = f"{MODELS}/new"
BASE = {"kind": "HF_BASE_MODEL", "baseModelDetails": {"checkpointFormat": "HUGGINGFACE", "worldSize": 1}}
ADDON = {
    "kind": "HF_PEFT_ADDON",
    "peftDetails": {"baseModel": "accounts/demo/models/my-model", "r": 8, "targetModules": ["q_proj"]},
}
FILES = {"config.json": b'{"model_type": "llama"}', "weights/model-00001.safetensors": b"w" * 3_000_000}
HEADERS = {"content-type": "application/octet-stream"}


class Uploader:
    """Uploads :data:`FILES` step by step."""

    def __init__(self, client, model: dict[str, object] = BASE) -> None:
        self._client = client
        created = client("POST", MODELS, json={"modelId": "new", "model": model})
        assert created.status_code == 200, created.text
        self.created = created.json()

    def urls(self, files: dict[str, bytes] = FILES) -> dict[str, str]:
        sizes = {name: str(len(content)) for name, content in files.items()}
        response = self._client("POST", f"{NEW}:getUploadEndpoint", json={"filenameToSize": sizes})
        assert response.status_code == 200, response.text
        return response.json()["filenameToSignedUrls"]

    def put(self, files: dict[str, bytes] = FILES) -> None:
        for name, url in self.urls(files).items():
            response = put(url, files[name])
            assert response.status_code == 200, response.text

    def validate(self, **flags: str) -> requests.Response:
        return self._client.get(f"{NEW}:validateUpload", **flags)


def put(url: str, content: object, size: int | None = None, **headers: str | None) -> requests.Response:
    """Send a file as the API wants it; ``None`` leaves a header out."""
    length = len(content) if size is None else size
    sent = {**HEADERS, "x-goog-content-length-range": f"{length},{length}"}
    sent |= {name.replace("_", "-"): value for name, value in headers.items()}
    with requests.Session() as session:
        session.trust_env = False
        return session.put(
            url,
            data=content,
            headers={name: value for name, value in sent.items() if value is not None},
            allow_redirects=False,
            timeout=10,
        )


def error_code(response: requests.Response) -> tuple[int, str]:
    """Return the status and the code of an error of the object store."""
    assert response.headers["content-type"].startswith("application/xml")
    return response.status_code, str(ElementTree.fromstring(response.content).findtext("Code"))


def explain(response: requests.Response) -> tuple[int, int, str]:
    """Return the status, the code and the message of an error of the API."""
    return response.status_code, response.json()["code"], response.json()["message"]


@pytest.fixture
def upload(client):
    return Uploader(client)


@pytest.fixture
def url(upload):
    """The signed URL of a file of three bytes."""
    return upload.urls({"config.json": b"abc"})["config.json"]


def test_uploaded_model_becomes_ready_and_can_be_prepared(client, emulator, upload):
    assert upload.created["state"] == "UPLOADING"
    assert client.prepare("new").status_code == 400
    upload.put()
    assert client.model("new")["state"] == "UPLOADING"
    assert upload.validate().json() == {"warnings": []}
    assert client.model("new")["state"] == "READY"
    assert client.prepare("new").status_code == 200
    assert [(file.name, file.size, file.sha256, file.result) for file in emulator.uploads("new")] == [
        (name, len(content), hashlib.sha256(content).hexdigest(), "stored") for name, content in FILES.items()
    ]


def test_urls_are_at_another_port(emulator, upload):
    for url in upload.urls().values():
        assert url.startswith(f"{emulator.upload_url}/")
        assert not url.startswith(f"{emulator.url}/")


def test_upload_is_recorded_without_its_body(emulator, upload):
    upload.put()
    upload.validate()
    assert [
        (request.method, request.path.rpartition("/")[2].rpartition(":")[2], request.status)
        for request in emulator.requests
    ] == [
        ("POST", "models", 200),
        ("POST", "getUploadEndpoint", 200),
        ("PUT", "config.json", 200),
        ("PUT", "model-00001.safetensors", 200),
        ("GET", "validateUpload", 200),
    ]
    assert [request.body for request in emulator.requests if request.method == "PUT"] == [None, None]
    assert (emulator.count("PUT"), emulator.counts["PUT upload"]) == (2, 2)


# ---- Files on their way


@pytest.mark.parametrize(
    ("sent", "refusal"),
    [
        ({"content_type": None}, (400, "MalformedSecurityHeader")),
        ({"x_goog_content_length_range": None}, (400, "MalformedSecurityHeader")),
        ({"content_type": "application/json"}, (403, "SignatureDoesNotMatch")),
        ({"x_goog_content_length_range": "0,3"}, (403, "SignatureDoesNotMatch")),
        ({"x_goog_meta_owner": "me"}, (403, "SignatureDoesNotMatch")),
        ({"authorization": "Bearer fw_emulator_not_a_real_key"}, (400, "InvalidArgument")),
    ],
    ids=str,
)
def test_upload_with_other_headers_is_refused(client, emulator, upload, url, sent, refusal):
    assert error_code(put(url, b"abc", **sent)) == refusal
    assert [file.result for file in emulator.uploads("new")] == ["refused"]
    assert explain(upload.validate()) == (400, 9, "config.json not found")


@pytest.mark.parametrize(("content", "code"), [(b"ab", "EntityTooSmall"), (b"abcd", "EntityTooLarge")])
def test_upload_of_another_size_is_refused(url, content, code):
    assert error_code(put(url, content, x_goog_content_length_range="3,3")) == (400, code)


def test_upload_to_another_path_or_signature_is_refused(url):
    assert error_code(put(url.replace("config.json", "other.json"), b"abc")) == (403, "SignatureDoesNotMatch")
    assert error_code(put(url[:-1], b"abc")) == (403, "SignatureDoesNotMatch")
    assert error_code(put(url.partition("?")[0], b"abc")) == (403, "SignatureDoesNotMatch")


def test_upload_without_length_is_refused(url):
    parts = urlsplit(url)
    connection = http.client.HTTPConnection(parts.netloc, timeout=5)
    connection.putrequest("PUT", f"{parts.path}?{parts.query}")
    for name, value in {**HEADERS, "x-goog-content-length-range": "3,3"}.items():
        connection.putheader(name, value)
    connection.endheaders()
    response = connection.getresponse()
    assert (response.status, b"MissingContentLength" in response.read()) == (411, True)
    connection.close()


def test_upload_in_chunks_is_dropped_silently(emulator, upload, url):
    assert put(url, iter([b"ab", b"c"]), size=3).status_code == 200
    [file] = emulator.uploads("new")
    assert (file.size, file.sha256, file.result) == (3, hashlib.sha256(b"abc").hexdigest(), "dropped")
    assert explain(upload.validate()) == (400, 9, "config.json not found")


def test_upload_to_expired_url_is_refused_until_a_new_one_is_used(emulator, upload, url):
    emulator.expire_upload_urls()
    assert error_code(put(url, b"abc")) == (400, "ExpiredToken")
    emulator.configure(expired_url_status=403)
    assert error_code(put(url, b"abc")) == (403, "ExpiredToken")
    upload.put({"config.json": b"abc"})
    assert upload.validate().status_code == 200


def test_url_expires_after_its_ttl(emulator, upload):
    emulator.configure(upload_url_ttl=0)
    [url] = upload.urls({"config.json": b"abc"}).values()
    assert error_code(put(url, b"abc")) == (400, "ExpiredToken")


def test_url_that_expires_during_an_upload_is_accepted(emulator, upload):
    emulator.configure(upload_url_ttl=0.2, upload_rate=10)
    [url] = upload.urls({"config.json": b"abcd"}).values()
    assert put(url, b"abcd").status_code == 200


def test_upload_rate_limits_each_file(emulator, url):
    emulator.configure(upload_rate=10)
    assert put(url, b"abc").status_code == 200
    [file] = emulator.uploads("new")
    assert file.ended_at - file.started_at >= 0.25


# ---- Faults


def test_upload_broken_in_the_middle_is_not_stored(emulator, upload):
    emulator.fault("drop", method="PUT", path="weights")
    urls = upload.urls()
    with pytest.raises(requests.ConnectionError):
        put(urls["weights/model-00001.safetensors"], FILES["weights/model-00001.safetensors"])
    [file] = emulator.uploads("new")
    assert (file.size, file.result) == (1_500_000, "incomplete")
    upload.put()
    assert upload.validate().status_code == 200


def test_upload_with_lost_response_is_stored(emulator, upload, url):
    emulator.fault("drop", method="PUT", after_work=True)
    with pytest.raises(requests.ConnectionError):
        put(url, b"abc")
    assert [file.result for file in emulator.uploads("new")] == ["stored"]
    assert upload.validate().status_code == 200


def test_upload_that_fails_is_not_stored(emulator, url):
    emulator.fault("status", method="PUT", status=503, message="Try <again>.", retry_after=1)
    response = put(url, b"abc")
    assert error_code(response) == (503, "ServiceUnavailable")
    assert ("Try &lt;again&gt;." in response.text, response.headers["retry-after"]) == (True, "1")
    assert [file.result for file in emulator.uploads("new")] == ["refused"]
    assert put(url, b"abc").status_code == 200


def test_slow_upload_is_stored(emulator, url):
    emulator.fault("slow", method="PUT", delay=0.3)
    began = time.monotonic()
    assert put(url, b"abc").status_code == 200
    assert time.monotonic() - began >= 0.3


def test_client_that_disconnects_leaves_file_incomplete(emulator, url):
    parts = urlsplit(url)
    with socket.create_connection((parts.hostname, parts.port), timeout=5) as connection:
        head = f"PUT {parts.path}?{parts.query} HTTP/1.1\r\nHost: {parts.netloc}\r\nContent-Length: 3\r\n"
        connection.sendall(f"{head}\r\na".encode())
    deadline = time.monotonic() + 5
    while [file.result for file in emulator.uploads("new")] in ([], [None]):
        assert time.monotonic() < deadline
        time.sleep(0.02)
    assert [(file.size, file.result) for file in emulator.uploads("new")] == [(1, "incomplete")]


def test_client_that_resets_the_connection_leaves_file_incomplete(emulator, url):
    parts = urlsplit(url)
    with socket.create_connection((parts.hostname, parts.port), timeout=5) as connection:
        head = f"PUT {parts.path}?{parts.query} HTTP/1.1\r\nHost: {parts.netloc}\r\nContent-Length: 3\r\n"
        connection.sendall(f"{head}\r\n".encode())
        deadline = time.monotonic() + 5
        while not emulator.uploads("new"):
            assert time.monotonic() < deadline
            time.sleep(0.02)
        # Closing it sends RST, as the end of a killed process may do.
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    while emulator.uploads("new")[0].result is None:
        assert time.monotonic() < deadline
        time.sleep(0.02)
    assert [file.result for file in emulator.uploads("new")] == ["incomplete"]


def test_stopped_emulator_ends_uploads_and_keeps_its_ports(emulator, url):
    emulator.configure(upload_rate=1)
    parts = urlsplit(url)
    with socket.create_connection((parts.hostname, parts.port), timeout=5) as connection:
        head = f"PUT {parts.path}?{parts.query} HTTP/1.1\r\nHost: {parts.netloc}\r\nContent-Length: 3\r\n"
        connection.sendall(f"{head}\r\n".encode())
        emulator.stop()
    before = emulator.upload_url
    emulator.configure(upload_rate=None)
    emulator.start()
    assert emulator.upload_url == before
    assert put(url, b"abc").status_code == 200


# ---- Upload endpoint and validation


@pytest.mark.parametrize(
    ("body", "named"),
    [
        ({}, "filenameToSize"),
        ({"filenameToSize": {}}, "filenameToSize"),
        ({"filenameToSize": {"config.json": "many"}}, "config.json"),
        ({"filenameToSize": {"config.json": "-1"}}, "invalid size -1"),
        ({"filenameToSize": {"../config.json": "1"}}, "'../config.json'"),
        ({"filenameToSize": {"config.json": "1"}, "enableResumableUpload": True}, "enableResumableUpload"),
    ],
    ids=str,
)
def test_upload_endpoint_names_the_invalid_field(client, upload, body, named):
    status, code, message = explain(client("POST", f"{NEW}:getUploadEndpoint", json=body))
    assert (status, code) == (400, 3)
    assert named in message


def test_addon_needs_its_two_files(client):
    upload = Uploader(client, ADDON)
    refused = client("POST", f"{NEW}:getUploadEndpoint", json={"filenameToSize": {"config.json": "1"}})
    assert "unexpected file 'config.json'" in explain(refused)[2]
    upload.put({"adapter_config.json": b"{}"})
    assert explain(upload.validate())[2] == "adapter_model.bin not found"
    upload.put({"adapter_model.safetensors": b"weights"})
    assert upload.validate().status_code == 200


def test_validation_is_refused_while_files_are_missing(emulator, upload):
    assert explain(upload.validate()) == (400, 9, "no file was uploaded")
    urls = upload.urls()
    put(urls["config.json"], FILES["config.json"])
    assert explain(upload.validate()) == (400, 9, "weights/model-00001.safetensors not found")
    assert emulator.counts["validation early"] == 2
    upload.put()
    assert upload.validate(trustRemoteCode="true").status_code == 200
    assert (emulator.counts["validation early"], emulator.counts["validation accepted"]) == (2, 1)


def test_validation_that_takes_time_is_refused_meanwhile(emulator, upload):
    emulator.configure(validation_duration=0.3)
    upload.put()
    assert explain(upload.validate())[2] == "the uploaded files are being validated"
    time.sleep(0.35)
    assert upload.validate().status_code == 200
    assert "validation early" not in emulator.counts


@pytest.mark.parametrize(
    ("outcome", "status", "text", "state"),
    [
        ("warns", 200, "unknown field", "READY"),
        ("invalid", 400, "unsupported architecture", "UPLOADING"),
        ("never", 400, "being validated", "UPLOADING"),
    ],
)
def test_validation_ends_as_configured(client, emulator, upload, outcome, status, text, state):
    emulator.configure(validation_outcome=outcome)
    upload.put()
    for _ in range(2 if status == 400 else 1):
        response = upload.validate()
        assert (response.status_code, text in response.text) == (status, True)
    assert client.model("new")["state"] == state


def test_every_step_can_be_repeated(client, upload):
    for _ in range(2):
        upload.put()
        assert upload.validate().json() == {"warnings": []}
        assert client.model("new")["state"] == "READY"


def test_deleted_model_can_be_created_and_uploaded_again(client, emulator, upload, url):
    assert client("DELETE", NEW).status_code == 200
    again = Uploader(client)
    put(url, b"abc")
    assert emulator.uploads("new") == []
    again.put()
    assert again.validate().status_code == 200
