"""What the upload operator sends, in which order, and what the store has afterwards."""

from __future__ import annotations

import logging
import os
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from airflow.sdk.io import attach
from fsspec.implementations.local import LocalFileSystem

from airflow_provider_fireworks import exceptions
from airflow_provider_fireworks.deployments.ownership import Owner
from airflow_provider_fireworks.storage import list_files
from tests.integration.conftest import TaskInstance
from tests.integration.uploading import (
    BASE,
    CHECKPOINT,
    COMPLETE,
    LORA,
    NAME,
    NEW,
    WEIGHTS,
    exists,
    hashes,
    owner_of,
    sent,
    stored,
    upload,
    write,
)
from tests.timing import use_timing


def test_upload_sends_every_file_and_model_becomes_ready(emulator, source, run):
    instance = TaskInstance("upload")
    assert run(source, instance) == {"model": NAME}
    assert instance.xcoms["model"] == NAME
    assert emulator.model(NEW)["state"] == "READY"
    assert stored(emulator) == hashes(CHECKPOINT)
    assert sent(emulator) == COMPLETE


def test_upload_creates_signed_model_with_files_of_checkpoint(emulator, source):
    upload(source, base_model_details={"worldSize": 2})
    body = next(request.body for request in emulator.requests if request.method == "POST")
    description = body["model"].pop("description")
    assert body == {
        "modelId": NEW,
        "model": {
            "kind": "HF_BASE_MODEL",
            "baseModelDetails": {
                "checkpointFormat": "HUGGINGFACE",
                "worldSize": 2,
                "huggingfaceFiles": sorted(CHECKPOINT),
            },
        },
    }
    signed = Owner.from_description(description)
    assert signed == owner_of()
    assert signed.digest


@pytest.mark.parametrize("kind", [None, "HF_PEFT_ADDON"])
def test_upload_of_lora_sends_its_base_model_and_rank(emulator, tmp_path, kind):
    source = write(tmp_path, LORA | {"README.md": b"a model card"})
    assert upload(source, kind=kind, base_model=BASE) == {"model": NAME}
    body = next(request.body for request in emulator.requests if request.method == "POST")
    assert body["model"]["kind"] == "HF_PEFT_ADDON"
    assert body["model"]["peftDetails"] == {
        "baseModel": BASE,
        "r": 8,
        "targetModules": ["q_proj", "v_proj"],
    }
    assert stored(emulator) == hashes(LORA)


def test_base_model_of_lora_may_be_an_id(emulator, tmp_path):
    upload(write(tmp_path, LORA), base_model="my-model")
    body = next(request.body for request in emulator.requests if request.method == "POST")
    assert body["model"]["peftDetails"]["baseModel"] == "accounts/demo/models/my-model"


def test_uploaded_model_can_be_prepared(emulator, source):
    from airflow_provider_fireworks.operators.model import FireworksPrepareModelOperator

    prepare = FireworksPrepareModelOperator(task_id="prepare", **upload(source), precision="FP8")
    assert prepare.execute({"ti": TaskInstance("prepare")})["model"] == NAME


def test_file_is_sent_without_key_and_with_the_signed_headers_only(emulator, source):
    upload(source)
    for request in emulator.requests:
        if request.method == "PUT":
            assert request.headers["content-type"] == "application/octet-stream"
            size = len(CHECKPOINT[request.path.partition(f"{NEW}/")[2]])
            assert request.headers["content-length"] == str(size)
            assert request.headers["x-goog-content-length-range"] == f"{size},{size}"
            assert not {"transfer-encoding", "authorization", "cookie"} & request.headers.keys()


def test_hidden_files_are_left_out(emulator, tmp_path):
    hidden = {".git/config": b"x", ".gitattributes": b"x", ".cache/huggingface/x.lock": b""}
    upload(write(tmp_path, CHECKPOINT | hidden))
    assert stored(emulator) == hashes(CHECKPOINT)


@pytest.fixture
def snapshot(tmp_path: Path) -> str:
    """The folder of a checkpoint whose files are links, as in the cache of huggingface_hub."""
    write(tmp_path / "blobs", CHECKPOINT)
    (tmp_path / "snapshot").mkdir()
    for name in ("config.json", "model.safetensors"):
        os.symlink(f"../blobs/{name}", tmp_path / "snapshot" / name)
    return f"file://{tmp_path / 'snapshot'}"


def test_folder_of_links_is_uploaded_as_the_files_they_lead_to(emulator, snapshot):
    upload(snapshot)
    assert stored(emulator) == hashes(
        {name: CHECKPOINT[name] for name in ("config.json", "model.safetensors")}
    )


def test_skip_does_not_accept_links_to_files_that_changed(emulator, snapshot, tmp_path):
    upload(snapshot)
    os.utime(tmp_path / "blobs" / "model.safetensors", (1, 1))
    with pytest.raises(exceptions.FireworksModelConflict, match="its files were others"):
        upload(snapshot, TaskInstance("upload", "manual__2"), if_exists="skip")


def test_upload_of_several_files_is_parallel(emulator, tmp_path):
    emulator.configure(upload_rate=2_000_000)
    shards = {f"model-{number}.safetensors": WEIGHTS[:1_000_000] for number in range(4)}
    upload(write(tmp_path, shards | {"config.json": b"{}"}), max_parallel=4)
    received = [file for file in emulator.uploads(NEW) if file.name in shards]
    assert max(file.started_at for file in received) < min(file.ended_at for file in received)


def test_upload_sends_at_most_max_parallel_files_at_once(emulator, tmp_path):
    emulator.configure(upload_rate=10_000_000)
    shards = {f"model-{number}.safetensors": WEIGHTS[:500_000] for number in range(4)}
    upload(write(tmp_path, shards | {"config.json": b"{}"}), max_parallel=1)
    received = sorted(emulator.uploads(NEW), key=lambda file: file.started_at)
    for earlier, later in pairwise(received):
        assert earlier.ended_at <= later.started_at


def test_upload_without_validate_leaves_model_uploading(emulator, source):
    assert upload(source, validate=False) == {"model": NAME}
    assert emulator.model(NEW)["state"] == "UPLOADING"
    assert sent(emulator) == COMPLETE[:-1]


def test_validation_trusts_remote_code_only_if_asked_to(emulator, tmp_path, source):
    upload(source, trust_remote_code=True)
    upload(source, model="other")
    queries = [request.query for request in emulator.requests if "validateUpload" in request.path]
    assert queries == [{"trustRemoteCode": "true"}, {}]


def test_progress_is_logged_while_files_are_sent(emulator, source, caplog, capsys):
    emulator.configure(upload_rate=8_000_000)
    with caplog.at_level(logging.INFO):
        upload(source)
    logged = caplog.text + "".join(capsys.readouterr())
    lines = [line for line in logged.splitlines() if "Uploaded" in line]
    assert len(lines) > 2
    assert "MB/s" in lines[0]
    assert "Uploaded 4 of 4 files, 3.1 MB of 3.1 MB" in lines[-1]


# ---- validation


def test_upload_waits_for_validation_that_takes_time(emulator, source, run):
    emulator.configure(validation_duration=0.3)
    assert run(source) == {"model": NAME}
    assert emulator.model(NEW)["state"] == "READY"
    assert emulator.count("GET", "validateUpload") > 1
    assert emulator.count("PUT") == len(CHECKPOINT)


def test_warnings_of_validation_are_logged(emulator, source, caplog, capsys):
    emulator.configure(validation_outcome="warns")
    with caplog.at_level(logging.WARNING):
        upload(source)
    assert "config.json has an unknown field 'emulated'" in caplog.text + "".join(capsys.readouterr())


def test_invalid_upload_fails_with_the_words_of_the_api(emulator, source, run):
    emulator.configure(validation_outcome="invalid")
    with pytest.raises(exceptions.FireworksRefused, match="unsupported architecture 'Emulated'"):
        run(source)
    assert not exists(emulator)


def test_validation_that_never_ends_times_out(emulator, source, run):
    emulator.configure(validation_outcome="never")
    with pytest.raises(exceptions.FireworksTimeout, match="the uploaded files are being validated"):
        run(source, timeout=2)
    assert not exists(emulator)


def test_validation_that_is_refused_for_long_is_final(emulator, source, run, monkeypatch):
    use_timing(monkeypatch, validation_lag=0.5)
    emulator.configure(validation_outcome="never")
    with pytest.raises(exceptions.FireworksRefused, match="the uploaded files are being validated"):
        run(source, TaskInstance("upload", max_tries=1))
    assert emulator.count("GET", "validateUpload") > 1
    assert not exists(emulator)


def test_model_deleted_during_validation_fails_the_task(emulator, source, run):
    emulator.configure(validation_outcome="never")
    from tests.integration.creating import act_when

    with (
        act_when(lambda: emulator.count("GET", "validateUpload") > 1, lambda: emulator.delete_model(NEW)),
        pytest.raises(exceptions.FireworksUploadFailed, match="it was deleted"),
    ):
        run(source)


def test_model_that_is_ready_after_a_lost_validation_succeeds(emulator, source, run):
    emulator.fault("drop", method="GET", path="validateUpload", after_work=True)
    assert run(source) == {"model": NAME}


# ---- bad sources


BAD_SOURCES = {
    "empty": ({}, "has no files, or does not exist"),
    "hidden only": ({".git/x": b""}, "has no files, or does not exist"),
    "no config": (
        {"model.safetensors": b"x", "tokenizer.json": b"{}"},
        "neither config.json nor adapter_config",
    ),
    "no weights": ({"config.json": b"{}"}, "has no weights"),
    "quantized": (
        {"config.json": b'{"quantization_config": {"bits": 4}}', "model.safetensors": b"x"},
        "config.json has a quantization_config",
    ),
    "invalid config": ({"config.json": b"{", "model.safetensors": b"x"}, "config.json is not valid JSON"),
    "odd config": ({"config.json": b"[]", "model.safetensors": b"x"}, "config.json is not a JSON object"),
    "lacking shard": (
        {
            "config.json": b"{}",
            "model-1.safetensors": b"x",
            "model.safetensors.index.json": b'{"weight_map": {"a": "model-1.safetensors", "b": "model-2.safetensors"}}',
        },
        "lacks files that model.safetensors.index.json names: model-2.safetensors",
    ),
    "LoRA without weights": ({"adapter_config.json": b"{}"}, "must have one of .* it has neither"),
    "LoRA with both weights": (LORA | {"adapter_model.bin": b"x"}, "must have one of .* it has both"),
    "LoRA with other files": (
        LORA | {"optimizer.pt": b"x", "tokenizer.json": b"{}"},
        "Move these files elsewhere: optimizer.pt, tokenizer.json",
    ),
}


@pytest.mark.parametrize(("files", "problem"), BAD_SOURCES.values(), ids=BAD_SOURCES)
def test_bad_source_is_an_error_before_anything_is_sent(emulator, tmp_path, files, problem):
    arguments = {"base_model": BASE} if "adapter_config.json" in files else {}
    with pytest.raises(exceptions.FireworksInvalidArgument, match=problem):
        upload(write(tmp_path, files), **arguments)
    assert emulator.requests == []


@pytest.mark.parametrize(
    ("files", "arguments", "problem"),
    [
        (LORA, {}, "Missing base_model"),
        (LORA, {"kind": "HF_BASE_MODEL"}, "does not fit kind='HF_BASE_MODEL': it has adapter_config.json"),
        (CHECKPOINT, {"kind": "HF_PEFT_ADDON", "base_model": BASE}, "does not fit kind='HF_PEFT_ADDON'"),
        (CHECKPOINT, {"base_model": BASE}, "base_model: .* is not a LoRA"),
        (
            LORA,
            {"base_model": BASE, "base_model_details": {"worldSize": 2}},
            "base_model_details: .* is a LoRA",
        ),
        (
            LORA | {"adapter_config.json": b'{"r": 8, "target_modules": "all"}'},
            {"base_model": BASE},
            "target_modules",
        ),
        (
            LORA | {"adapter_config.json": b'{"target_modules": []}'},
            {"base_model": BASE},
            "r in adapter_config.json",
        ),
    ],
    ids=lambda value: "" if isinstance(value, dict) else value[:30],
)
def test_argument_that_does_not_fit_source_is_an_error(emulator, tmp_path, files, arguments, problem):
    with pytest.raises(exceptions.FireworksInvalidArgument, match=problem):
        upload(write(tmp_path, files), **arguments)
    assert emulator.requests == []


@pytest.mark.parametrize(
    ("source", "problem"),
    [
        ("file:///does/not/exist", "has no files, or does not exist"),
        ("s3://bucket/folder", "install apache-airflow-providers-amazon with s3fs on the workers"),
        ("gs://connection@bucket/folder", "install apache-airflow-providers-google with gcsfs"),
        ("nosuch://x/y", "cannot be read: ValueError"),
    ],
)
def test_unreadable_source_is_an_error_before_anything_is_sent(emulator, source, problem):
    with pytest.raises(exceptions.FireworksInvalidArgument, match=problem):
        upload(source)
    assert emulator.requests == []


def test_pipe_in_source_is_an_error(emulator, source):
    os.mkfifo(f"{source.removeprefix('file://')}/pipe")
    with pytest.raises(exceptions.FireworksInvalidArgument, match="has pipe, which is neither a file nor"):
        upload(source)
    assert emulator.requests == []


def test_link_to_folder_in_source_is_an_error(emulator, source, tmp_path):
    os.symlink(tmp_path, f"{source.removeprefix('file://')}/linked")
    with pytest.raises(exceptions.FireworksInvalidArgument, match="has linked, which is a link to a folder"):
        upload(source)
    assert emulator.requests == []


def test_hidden_pipe_in_source_is_left_out(source):
    os.mkfifo(f"{source.removeprefix('file://')}/.pipe")
    assert len(list_files(source)) == len(CHECKPOINT)


class FolderObjects(LocalFileSystem):
    """Lists an empty object in place of each folder, as S3 does after its console has created one."""

    def find(self, path: str, **kwargs: Any) -> dict[str, Any]:
        found = super().find(path, withdirs=True, **kwargs)
        folders = {f"{name}/" for name, info in found.items() if info["type"] == "directory"}
        files = {name: info for name, info in found.items() if info["type"] != "directory"}
        return files | {name: {"name": name, "size": 0, "type": "file"} for name in folders}


def test_objects_in_place_of_folders_are_left_out(source):
    attach("file", "console", fs=FolderObjects())
    folder = source.replace("file://", "file://console@")
    assert f"{source.removeprefix('file://')}/" in FolderObjects().find(source, detail=True)
    assert list_files(folder) == list_files(source)


def test_source_that_is_a_file_is_an_error(emulator, source):
    with pytest.raises(exceptions.FireworksInvalidArgument, match="is a file, not a folder"):
        upload(f"{source}/config.json")


def test_listed_files_have_their_sizes_and_versions(source):
    listed = {file.name: file for file in list_files(source)}
    assert {name: file.size for name, file in listed.items()} == {
        name: len(content) for name, content in CHECKPOINT.items()
    }
    assert all(file.version for file in listed.values())
    assert list_files(f"{source}/") == list_files(source) == list_files(source.removeprefix("file://"))
