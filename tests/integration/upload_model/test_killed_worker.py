"""A worker that dies in the middle of an upload, and the retry of its task."""

from __future__ import annotations

import multiprocessing
import signal
import time
from typing import Any

from tests.integration.conftest import TaskInstance
from tests.integration.uploading import (
    CHECKPOINT,
    COMPLETE,
    NAME,
    NEW,
    hashes,
    make_task,
    sent,
    stored,
    upload,
)


def first_try(source: str) -> None:
    """Run the task in this process, whose connection is in the environment."""
    make_task(source).execute({"ti": TaskInstance("upload", max_tries=1)})


def has_sent_half(emulator: Any) -> bool:
    return NEW in {model["name"].rpartition("/")[2] for model in emulator.models} and any(
        file.name == "model.safetensors" and file.size > 1_000_000 for file in emulator.uploads(NEW)
    )


def test_retry_of_killed_worker_uploads_all_files_to_its_own_model(emulator, source):
    emulator.configure(upload_rate=2_000_000)
    worker = multiprocessing.get_context("spawn").Process(target=first_try, args=(source,))
    worker.start()
    deadline = time.monotonic() + 60
    while not has_sent_half(emulator):
        assert worker.is_alive()
        assert time.monotonic() < deadline
        time.sleep(0.02)
    worker.kill()
    worker.join()
    assert worker.exitcode == -signal.SIGKILL
    model = emulator.model(NEW)
    assert model["state"] == "UPLOADING"
    assert sent(emulator) == COMPLETE[:-1]

    emulator.clear()
    emulator.configure(upload_rate=None)
    assert upload(source, TaskInstance("upload", try_number=2, max_tries=1)) == {"model": NAME}
    # The same model, new URLs, every file, and only then the validation.
    assert sent(emulator) == COMPLETE[1:]
    assert emulator.count("PUT") == len(CHECKPOINT)
    assert stored(emulator) == hashes(CHECKPOINT)
    assert "validation early" not in emulator.counts
    assert emulator.model(NEW)["createTime"] == model["createTime"]
    assert emulator.model(NEW)["state"] == "READY"
