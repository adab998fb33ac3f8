"""A worker that dies in the middle of an upload, and the retry of its task."""

from __future__ import annotations

import multiprocessing
import os
import signal
import time
from typing import Any

from airflow_provider_fireworks.hooks.fireworks import FireworksHook
from airflow_provider_fireworks.storage import list_files
from airflow_provider_fireworks.timing import DEFAULT_TIMING
from tests.integration.conftest import TaskInstance
from tests.integration.uploading import (
    CHECKPOINT,
    COMPLETE,
    NAME,
    NEW,
    create_by_hand,
    hashes,
    make_task,
    sent,
    stored,
    upload,
)


def first_try(source: str) -> None:
    """Run the task in this process, whose connection is in the environment."""
    make_task(source).execute({"ti": TaskInstance("upload", max_tries=1)})


def interrupted_upload(source: str) -> None:
    """Upload with the hook, as in a script."""
    # Whoever runs the tests may have set it to be ignored.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    FireworksHook().upload_files(NEW, list_files(source))


def test_interrupted_upload_ends_while_the_store_stalls(emulator, source):
    create_by_hand(emulator)
    emulator.fault("hang", times=-1, method="PUT")
    script = multiprocessing.get_context("spawn").Process(target=interrupted_upload, args=(source,))
    script.start()
    deadline = time.monotonic() + 60
    while emulator.count("PUT") < len(CHECKPOINT):
        assert script.is_alive()
        assert time.monotonic() < deadline
        time.sleep(0.02)
    os.kill(script.pid or 0, signal.SIGINT)
    # Less than the timeout of a response, which would end the upload as well.
    script.join(timeout=DEFAULT_TIMING.read_timeout / 2)
    exit_code = script.exitcode
    script.kill()
    assert exit_code == 1


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
