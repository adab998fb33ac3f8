"""Uploading a model: create, upload endpoint, signed URLs, validation."""

from __future__ import annotations

import hashlib
import time

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
HEADERS = {"Content-Type": "application/octet-stream"}


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


@pytest.fixture
def upload(client):
    return Uploader(client)


def test_uploaded_model_becomes_ready_and_can_be_prepared(client, emulator, upload):
    assert upload.created["state"] == "UPLOADING"
    assert client.prepare("new").status_code == 400
    upload.put()
    assert client.model("new")["state"] == "UPLOADING"
    assert upload.validate().json() == {"warnings": []}
    assert client.model("new")["state"] == "READY"
    assert client.prepare("new").status_code == 200
    assert [(file.name, file.size, file.sha256, file.result) for file in emulator.uploads("new")] == [
        (name, len(content), hashlib.sha256(content).hexdigest(), "stored")
        for name, content in FILES.items()
    ]


def test_urls_are_at_another_port(emulator, upload):
    for url in upload.urls().values():
        assert url.startswith(f"{emulator.upload_url}/")
        assert not url.startswith(f"{emulator.url}/")
