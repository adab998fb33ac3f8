"""Helpers for tests of the operator that uploads models."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from airflow_provider_fireworks.deployments.ownership import Owner
from airflow_provider_fireworks.hooks.fireworks import FireworksHook
from airflow_provider_fireworks.operators.model import FireworksUploadModelOperator
from tests.integration.conftest import TaskInstance, run_task

NEW = "new-model"
NAME = f"accounts/demo/models/{NEW}"
BASE = "accounts/fireworks/models/yi-6b"
WEIGHTS = bytes(range(256)) * 12_000
CHECKPOINT = {
    "config.json": b'{"model_type": "llama"}',
    "model.safetensors": WEIGHTS,
    "tokenizer/vocab.txt": b"a\nb\n",
    "empty.txt": b"",
}
LORA = {
    "adapter_config.json": json.dumps({"r": 8, "target_modules": ["q_proj", "v_proj"]}).encode(),
    "adapter_model.safetensors": WEIGHTS[:1000],
}


def write(folder: Path, files: dict[str, bytes]) -> str:
    """Write files, and return the URL of their folder."""
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    return f"file://{folder}"


@cache
def checkpoint() -> TemporaryDirectory[str]:
    """Return a folder with a small checkpoint, which is removed when the tests end."""
    folder = TemporaryDirectory()
    write(Path(folder.name), {"config.json": b"{}", "model.safetensors": b"weights"})
    return folder


def make_task(source: str, **arguments: Any) -> FireworksUploadModelOperator:
    arguments = {"task_id": "upload", "model": NEW, "poll_interval": 0.05, "timeout": 20, **arguments}
    return FireworksUploadModelOperator(source=source, **arguments)


def upload(source: str, instance: TaskInstance | None = None, **arguments: Any) -> Any:
    """Run a task to its end."""
    return run_task(lambda: make_task(source, **arguments), instance or TaskInstance("upload"))


def owner_of(instance: TaskInstance | None = None) -> Owner:
    return Owner.from_context({"ti": instance or TaskInstance("upload")})


def create_by_hand(emulator: Any, **fields: Any) -> None:
    """Create the model without a task, and clear the emulator's records of that."""
    details = {"checkpointFormat": "HUGGINGFACE", "worldSize": 1}
    spec = {"kind": "HF_BASE_MODEL", "baseModelDetails": details} if "kind" not in fields else {}
    FireworksHook().create_model(NEW, {**spec, **fields})
    emulator.clear()


def stored(emulator: Any) -> dict[str, str]:
    """Return the SHA-256 of each file that the store has received completely, the last one of each name."""
    return {file.name: file.sha256 for file in emulator.uploads(NEW) if file.result == "stored"}


def hashes(files: dict[str, bytes]) -> dict[str, str]:
    return {name: hashlib.sha256(content).hexdigest() for name, content in files.items()}


def sent(emulator: Any) -> list[str]:
    """Return the requests that change or validate something, in their order, and all uploads as one."""
    steps: list[str] = []
    for request in emulator.requests:
        step = f"{request.method} {request.path.rpartition('/')[2]}"
        if request.method == "PUT":
            step = "PUT"
        if (request.method != "GET" or "validateUpload" in step) and steps[-1:] != [step]:
            steps.append(step)
    return steps


COMPLETE = ["POST models", f"POST {NEW}:getUploadEndpoint", "PUT", f"GET {NEW}:validateUpload"]
"""What a task sends if nothing goes wrong, beside reads."""


def exists(emulator: Any) -> bool:
    return any(model["name"] == NAME for model in emulator.models)


Run = Callable[..., dict[str, Any]]
