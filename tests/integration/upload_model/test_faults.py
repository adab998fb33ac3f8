"""Broken uploads, expired URLs, lost responses and changing files: nothing is lost, and nothing validated too early."""

from __future__ import annotations

import errno
import logging
import time
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from airflow_provider_fireworks import exceptions, storage
from airflow_provider_fireworks.client import ModelName, api
from airflow_provider_fireworks.client.errors import ApiError, RefusedError
from airflow_provider_fireworks.client.files import SourceFile
from airflow_provider_fireworks.hooks.fireworks import FireworksHook
from tests.integration.api_key.leaks import representations
from tests.integration.conftest import TaskInstance
from tests.integration.creating import UNKNOWN_OUTCOMES, act_when, fault_id
from tests.integration.servers import Server, http_response, json_response
from tests.integration.uploading import (
    CHECKPOINT,
    COMPLETE,
    NAME,
    NEW,
    WEIGHTS,
    create_by_hand,
    exists,
    hashes,
    sent,
    stored,
    upload,
)
from tests.timing import use_timing

BROKEN: list[dict[str, Any]] = [
    {"kind": "drop"},
    {"kind": "drop", "after_work": True},
    {"kind": "truncate", "status": 503},
    {"kind": "status", "status": 408},
    {"kind": "status", "status": 429, "retry_after": "0.1"},
    {"kind": "status", "status": 500, "after_work": True},
    {"kind": "status", "status": 503},
    {"kind": "html", "status": 403},
    {"kind": "html", "status": 502},
    {"kind": "text", "status": 404},
    {"kind": "redirect", "location": "http://127.0.0.1:9/"},
    {"kind": "slow", "delay": 0.1},
]


def no_validation_before_all_bytes(emulator: Any) -> bool:
    return "validation early" not in emulator.counts


# ---- PUT


@pytest.mark.parametrize("fault", BROKEN, ids=fault_id)
def test_broken_upload_is_repeated(emulator, source, fault):
    emulator.fault(**fault, times=3, method="PUT", path="model.safetensors")
    assert upload(source) == {"model": NAME}
    assert stored(emulator) == hashes(CHECKPOINT)
    assert emulator.model(NEW)["state"] == "READY"
    assert no_validation_before_all_bytes(emulator)


def test_upload_without_response_is_repeated(emulator, source, monkeypatch):
    use_timing(monkeypatch, response_timeout=0.3)
    emulator.fault("hang", method="PUT", path="model.safetensors")
    assert upload(source) == {"model": NAME}
    assert stored(emulator) == hashes(CHECKPOINT)


def trickling() -> Iterator[bytes]:
    """Return a response whose bytes each come in time, but that is never complete."""
    yield b"HTTP/1.1 200 OK\r\nX-Header: "
    while True:
        time.sleep(0.05)
        yield b"x"


def page() -> Iterator[bytes]:
    """Return the page of a proxy, behind which nothing is stored."""
    yield http_response(b"<html><title>Sign in</title></html>", "Connection: close")


@pytest.mark.parametrize(
    ("response", "problem"),
    [(trickling, "no response: "), (page, "HTML page: Sign in")],
    ids=["trickle", "page"],
)
def test_response_that_is_not_the_stores_is_no_success(source, connect, monkeypatch, response, problem):
    use_timing(monkeypatch, response_timeout=0.3)
    (file,) = [each for each in storage.list_files(source) if each.name == "config.json"]
    with Server(response) as store:
        urls = json_response({"filenameToSignedUrls": {file.name: f"{store.url}/x?signature"}})
        with Server(lambda: [urls]) as server:
            connect(host=server.url)
            with pytest.raises(ApiError, match=f"is not uploaded after 1 s: PUT .*{problem}"):
                FireworksHook().upload_files(NEW, [file], timeout=1)
    assert len(store.requests) > 1


def test_upload_of_huge_response_reads_little_of_it(emulator, source):
    emulator.fault("huge", method="PUT", path="model.safetensors", status=503)
    assert upload(source) == {"model": NAME}


@pytest.mark.parametrize(
    "fault", [{"kind": "status"}, {"kind": "drop"}, {"kind": "html", "status": 403}], ids=fault_id
)
def test_upload_that_never_succeeds_times_out(emulator, source, fault):
    emulator.fault(**fault, times=-1, method="PUT", path="model.safetensors")
    with pytest.raises(exceptions.FireworksTimeout, match=r"last seen: PUT model\.safetensors to 127"):
        upload(source, timeout=2)
    assert emulator.count("GET", "validateUpload") == 0
    assert not exists(emulator)


# ---- signed URLs


@pytest.mark.parametrize("status", [400, 403])
def test_expired_url_is_requested_anew(emulator, source, status):
    emulator.configure(expired_url_status=status, upload_rate=3_000_000)
    # After the first file was begun, those that are left expire.
    with act_when(lambda: emulator.count("PUT") > 0, emulator.expire_upload_urls):
        assert upload(source, max_parallel=1) == {"model": NAME}
    assert stored(emulator) == hashes(CHECKPOINT)
    # All files share the new URLs.
    assert emulator.count("POST", ":getUploadEndpoint") == 2


def test_new_urls_after_a_page_of_a_proxy_are_requested_after_a_pause(emulator, source):
    emulator.fault("html", times=4, status=403, method="PUT", path="model.safetensors")
    assert upload(source, max_parallel=1) == {"model": NAME}
    requests = emulator.requests
    pauses = [later.at - each.at for each, later in pairwise(requests) if each.fault]
    assert len(pauses) == 4
    # The emulator records a request when it begins, and the pause begins later.
    assert min(pauses) >= FireworksHook.timing.min_retry_delay


def test_url_that_is_refused_again_is_final(emulator, source):
    emulator.fault(
        "status", times=-1, status=403, method="PUT", path="model.safetensors", message="Not allowed"
    )
    with pytest.raises(
        exceptions.FireworksRefused, match=r"AccessDenied: Not allowed.*will not help"
    ) as refused:
        upload(source, TaskInstance("upload", max_tries=3))
    # Not even in the local variables of its traceback.
    assert not [text for text in representations(refused.value).values() if "X-Goog-Signature" in text]
    assert emulator.count("POST", ":getUploadEndpoint") == 2
    assert emulator.count("GET", "validateUpload") == 0
    assert not exists(emulator)


def test_signed_url_is_in_no_log(emulator, source, caplog, capsys):
    caplog.set_level(logging.DEBUG)
    for kind in ("drop", "status", "hang"):
        emulator.fault(kind, method="PUT")
    emulator.fault("status", status=403, method="PUT")
    use = pytest.MonkeyPatch()
    use_timing(use, response_timeout=0.2)
    upload(source)
    use.undo()
    logged = caplog.text + "".join(capsys.readouterr())
    assert "PUT" in logged
    assert "X-Goog" not in logged
    assert emulator.api_key not in logged


@pytest.mark.parametrize("status", ["302 Found", "403 Forbidden", "502 Bad Gateway", "200 OK"])
def test_broken_response_with_signed_urls_is_not_quoted(source, connect, status):
    file = storage.list_files(source)[0]
    page = (
        f'<html>{{"filenameToSignedUrls": {{"{file.name}": "https://a.example/x?Signature=secret"}}}}</html>'
    )
    location = "Location: https://b.example/?to=https://a.example/x?Signature=secret"
    response = http_response(page.encode(), location, "Connection: close", status=status)
    with Server(lambda: [response]) as server:
        connect(host=server.url)
        with pytest.raises(ApiError, match=r"\?…") as broken:
            FireworksHook().upload_files(NEW, [file])
    assert "secret" not in str(broken.value)


def test_store_that_repeats_the_url_is_quoted_without_query(source, connect):
    file = storage.list_files(source)[0]
    refused = b"<Error><Code>Denied</Code><Message>No access to https://a.example/x?Signature=secret</Message></Error>"
    with Server(lambda: [http_response(refused, "Connection: close", status="403 Forbidden")]) as store:
        urls = json_response({"filenameToSignedUrls": {file.name: f"{store.url}/x?signature"}})
        with Server(lambda: [urls]) as server:
            connect(host=server.url)
            with pytest.raises(ApiError, match=r"No access to https://a\.example/x\?…$"):
                FireworksHook().upload_files(NEW, [file])


@pytest.mark.parametrize(
    "url",
    ["http://198.51.100.7/x", "ftp://127.0.0.1/x", "https://user:word@127.0.0.1/x", "//x/y", "", "http://["],
)
def test_unsafe_signed_url_is_not_used(monkeypatch, source, connect, url):
    file = storage.list_files(source)[0]
    with Server(lambda: [json_response({"filenameToSignedUrls": {file.name: url}})]) as server:
        connect(host=server.url)
        with pytest.raises(RefusedError, match="must be https, or http to this machine"):
            FireworksHook().upload_files(NEW, [file])
        assert len(server.requests) == 1


def test_missing_signed_url_is_an_error(source, connect):
    file = storage.list_files(source)[0]
    with Server(lambda: [json_response({"filenameToSignedUrls": {}})]) as server:
        connect(host=server.url)
        with pytest.raises(ApiError, match="not a signed URL for every file"):
            FireworksHook().upload_files(NEW, [file])


def test_key_is_not_sent_to_signed_url_at_the_host_of_the_api(source, connect):
    (file,) = [each for each in storage.list_files(source) if each.name == "config.json"]
    with Server(lambda: [http_response(b"", "Connection: close")]) as store:
        urls = json_response({"filenameToSignedUrls": {file.name: f"{store.url}/x?signature"}})
        with Server(lambda: [urls]) as server:
            connect(host=server.url)
            FireworksHook().upload_files(NEW, [file])
    (request,) = store.requests
    head = request.partition(b"\r\n\r\n")[0].lower()
    assert b"authorization" not in head
    assert b"content-length: 23" in head
    assert request.endswith(CHECKPOINT["config.json"])


# ---- requests to the API


@pytest.mark.parametrize("after_work", [False, True], ids=["not executed", "executed"])
@pytest.mark.parametrize("fault", UNKNOWN_OUTCOMES, ids=fault_id)
def test_model_is_created_once_after_lost_response(emulator, source, run, fault, after_work):
    emulator.fault(**fault, method="POST", path="/models", after_work=after_work)
    assert run(source) == {"model": NAME}
    assert [step for step in sent(emulator) if step != "POST models"] == COMPLETE[1:]
    assert stored(emulator) == hashes(CHECKPOINT)


@pytest.mark.parametrize(
    ("method", "path"), [("GET", f"/models/{NEW}$"), ("POST", "getUploadEndpoint"), ("GET", "validateUpload")]
)
@pytest.mark.parametrize("fault", [{"kind": "status"}, {"kind": "drop"}, {"kind": "html"}], ids=fault_id)
def test_upload_continues_over_transient_errors_of_the_api(emulator, source, run, method, path, fault):
    emulator.fault(**fault, times=5, method=method, path=path)
    assert run(source) == {"model": NAME}
    assert no_validation_before_all_bytes(emulator)


@pytest.mark.parametrize(
    ("method", "path"), [("POST", "/models"), ("POST", "getUploadEndpoint"), ("GET", "validateUpload")]
)
def test_refusal_of_the_api_is_quoted(emulator, source, run, method, path):
    emulator.fault("status", status=400, method=method, path=path, message="no such thing", code=3)
    with pytest.raises(exceptions.FireworksRefused, match="no such thing"):
        run(source)
    assert not exists(emulator)


def test_model_that_is_deleted_during_its_upload_is_created_again_by_a_retry(emulator, source, monkeypatch):
    emulator.configure(upload_rate=3_000_000)
    # Until then a 404 may mean that it was created just now.
    use_timing(monkeypatch, visibility_lag=0)

    def delete() -> None:
        FireworksHook().delete_model(NEW)
        emulator.expire_upload_urls()

    with (
        act_when(lambda: emulator.count("PUT") > 0, delete),
        pytest.raises(exceptions.FireworksUploadFailed, match=r"it was deleted: .*A retry uploads all files"),
    ):
        upload(source, TaskInstance("upload", max_tries=1), max_parallel=1)
    emulator.configure(upload_rate=None)
    assert upload(source, TaskInstance("upload", try_number=2, max_tries=1)) == {"model": NAME}
    assert stored(emulator) == hashes(CHECKPOINT)


def test_new_urls_are_requested_over_transient_errors(emulator, source):
    emulator.configure(upload_rate=3_000_000)

    def expire() -> None:
        emulator.expire_upload_urls()
        emulator.fault("status", times=4, method="POST", path="getUploadEndpoint")

    with act_when(lambda: emulator.count("PUT") > 0, expire):
        assert upload(source, max_parallel=1) == {"model": NAME}
    assert stored(emulator) == hashes(CHECKPOINT)


# ---- the source changes, or cannot be read


def folder_of(source: str) -> Path:
    return Path(source.removeprefix("file://"))


@pytest.mark.parametrize("change", ["longer", "shorter", "other", "gone", "new"])
def test_source_that_changes_during_upload_is_not_validated(emulator, source, change):
    emulator.configure(upload_rate=6_000_000)
    weights = folder_of(source) / "model.safetensors"

    def act() -> None:
        if change == "longer":
            with weights.open("ab") as file:
                file.write(b"more")
        elif change == "shorter":
            weights.write_bytes(WEIGHTS[:100])
        elif change == "other":
            time.sleep(0.02)
            weights.write_bytes(WEIGHTS[::-1])
        elif change == "gone":
            (folder_of(source) / "tokenizer" / "vocab.txt").unlink()
        else:
            (folder_of(source) / "more.json").write_bytes(b"{}")

    with (
        act_when(lambda: emulator.count("PUT") > 0, act),
        pytest.raises(exceptions.FireworksUploadFailed, match="A retry uploads all files again"),
    ):
        upload(source, TaskInstance("upload", max_tries=1))
    assert emulator.count("GET", "validateUpload") == 0
    # The retry uploads what is there now, to a new model.
    assert upload(source, TaskInstance("upload", try_number=2, max_tries=1)) == {"model": NAME}
    assert emulator.model(NEW)["state"] == "READY"
    assert stored(emulator)["model.safetensors"] == hashes({"": weights.read_bytes()})[""]


def break_reads(monkeypatch: pytest.MonkeyPatch, *errors: Exception) -> None:
    """Raise errors, one after the other, when the weights are opened."""
    list_files = storage.list_files
    failures = iter(errors)

    def flaky(folder: str) -> list[SourceFile]:
        def opened(file: SourceFile) -> Any:
            if error := next(failures, None):
                raise error
            return file.open()

        return [
            SourceFile(file.name, file.size, file.version, open=lambda file=file: opened(file))
            if file.name == "model.safetensors"
            else file
            for file in list_files(folder)
        ]

    monkeypatch.setattr(storage, "list_files", flaky)


def test_broken_read_of_a_file_is_repeated(emulator, monkeypatch, source):
    break_reads(monkeypatch, OSError("the network is down"), TimeoutError())
    assert upload(source) == {"model": NAME}
    assert stored(emulator) == hashes(CHECKPOINT)


@pytest.mark.parametrize(
    "error",
    [OSError(errno.EBUSY, "no longer exists"), IsADirectoryError("x"), PermissionError("x")],
    ids=repr,
)
def test_file_that_cannot_be_read_for_good_fails_the_try(emulator, monkeypatch, source, error):
    break_reads(monkeypatch, error)
    with pytest.raises(
        exceptions.FireworksUploadFailed, match=r"model\.safetensors cannot be read: .*A retry"
    ):
        upload(source)


# ---- the hook


def test_hook_uploads_and_validates(emulator, source):
    hook = FireworksHook()
    details = {"checkpointFormat": "HUGGINGFACE", "worldSize": 1}
    assert hook.create_model(NEW, {"kind": "HF_BASE_MODEL", "baseModelDetails": details}).state == "UPLOADING"
    with pytest.raises(ApiError, match="FAILED_PRECONDITION"):
        hook.validate_upload(NEW)
    hook.upload_files(NEW, storage.list_files(source), max_parallel=2)
    emulator.configure(validation_outcome="warns")
    assert hook.validate_upload(NEW, config_only=True) == ["config.json has an unknown field 'emulated'"]
    assert hook.get_model(NEW).state == "READY"
    assert stored(emulator) == hashes(CHECKPOINT)


def test_url_request_has_sizes_as_text(emulator, source):
    create_by_hand(emulator)
    urls = FireworksHook().send(api.get_upload_endpoint(ModelName.parse(NAME), {"a": 2**40}))
    assert urls["a"].startswith(emulator.upload_url)
    assert emulator.requests[-1].body == {"filenameToSize": {"a": str(2**40)}}


def test_hook_gives_up_after_its_timeout(emulator, source):
    create_by_hand(emulator)
    emulator.fault("status", times=-1, method="PUT", path="model.safetensors")
    with pytest.raises(ApiError, match="is not uploaded after 1 s: PUT model"):
        FireworksHook().upload_files(NEW, storage.list_files(source), timeout=1)
