"""Whose a model is that exists already, and what becomes of it: adopted, left alone, skipped, replaced or deleted."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from airflow_provider_fireworks import exceptions
from airflow_provider_fireworks.airflow_state import mark_try
from airflow_provider_fireworks.hooks.fireworks import FireworksHook
from tests.integration.conftest import TaskInstance
from tests.integration.creating import act_when, signal_when
from tests.integration.uploading import (
    BASE,
    CHECKPOINT,
    COMPLETE,
    LORA,
    NAME,
    NEW,
    create_by_hand,
    exists,
    hashes,
    make_task,
    owner_of,
    sent,
    stored,
    upload,
    write,
)
from tests.task_states import OVER


def interrupted(emulator: Any, source: str) -> None:
    """Let a first try be evicted in the middle of its upload, with a retry left."""
    kill(emulator, source, TaskInstance("upload", state="running", max_tries=1))
    emulator.configure(upload_rate=None, validation_outcome="ok")
    assert emulator.model(NEW)["state"] == "UPLOADING"
    emulator.clear()


def run_rendered(source: str, instance: TaskInstance, **rendered: Any) -> Any:
    """Run a task with arguments that no DAG can have literally, but that a template may render."""
    task = make_task(source)
    for name, value in rendered.items():
        setattr(task, name, value)
    return task.execute({"ti": instance})


# ---- retries


def test_retry_keeps_its_model_and_uploads_all_files_again(emulator, source):
    interrupted(emulator, source)
    assert upload(source, TaskInstance("upload", try_number=2, max_tries=1)) == {"model": NAME}
    assert sent(emulator) == COMPLETE[1:]
    assert emulator.count("PUT") == len(CHECKPOINT)
    assert stored(emulator) == hashes(CHECKPOINT)


def test_retry_with_other_files_replaces_its_model(emulator, source, tmp_path):
    interrupted(emulator, source)
    other = write(tmp_path / "other", {"config.json": b"{}", "model.safetensors": b"other"})
    assert upload(other, TaskInstance("upload", try_number=2, max_tries=1)) == {"model": NAME}
    assert sent(emulator) == [f"DELETE {NEW}", *COMPLETE]


def test_retry_replaces_its_model_that_failed(emulator, source):
    interrupted(emulator, source)
    emulator.set_model(NEW, state="FAILED")
    upload(source, TaskInstance("upload", try_number=2, max_tries=1))
    assert sent(emulator) == [f"DELETE {NEW}", *COMPLETE]


def test_cleared_task_succeeds_with_the_model_that_it_uploaded(emulator, source, run):
    run(source)
    emulator.clear()
    assert run(source, TaskInstance("upload", try_number=2)) == {"model": NAME}
    assert sent(emulator) == []


def test_cleared_task_with_other_files_is_a_conflict(emulator, source, tmp_path):
    upload(source)
    emulator.clear()
    other = write(tmp_path / "other", {"config.json": b"{}", "model.safetensors": b"other"})
    with pytest.raises(
        exceptions.FireworksModelConflict, match="an earlier try of this task has uploaded other"
    ):
        upload(other, TaskInstance("upload", try_number=2))
    assert sent(emulator) == []


# ---- conflicts


def test_model_created_by_somebody_else_meanwhile_is_in_no_xcom(emulator, source):
    emulator.fault("status", status=409, method="POST", path="/models", code=6)
    instance = TaskInstance("upload")
    description = owner_of(TaskInstance("other")).description
    with (
        act_when(
            lambda: emulator.count("POST", "/models"),
            lambda: create_by_hand(emulator, description=description),
        ),
        pytest.raises(exceptions.FireworksModelConflict, match="task other"),
    ):
        upload(source, instance)
    assert instance.xcoms["model"] is None


def test_interrupted_upload_has_its_model_in_an_xcom(emulator, source):
    instance = TaskInstance("upload", state="running", max_tries=1)
    kill(emulator, source, instance)
    assert instance.xcoms["model"] == NAME


@pytest.mark.parametrize("if_exists", ["fail", "skip"])
@pytest.mark.parametrize(
    ("description", "whose"),
    [
        ("a model", "something else than a task of this provider"),
        (owner_of(TaskInstance("other")).description, "task other of DAG my_dag"),
        (owner_of(TaskInstance("upload", dag_id="other")).description, "task upload of DAG other"),
        (replace(owner_of(), airflow="https://airflow.example").description, "of https://airflow.example"),
    ],
)
def test_model_of_another_owner_is_left_alone(emulator, source, run, if_exists, description, whose):
    create_by_hand(emulator, description=description)
    instance = TaskInstance("upload")
    with pytest.raises(exceptions.FireworksModelConflict, match=f"it was created by .*{whose}"):
        run(source, instance, if_exists=if_exists)
    # A task that deletes whatever this one pushed must not find it.
    assert instance.xcoms["model"] is None
    assert sent(emulator) == []
    assert exists(emulator)


def test_model_of_another_kind_is_left_alone(emulator, source):
    peft = {"baseModel": BASE, "r": 8, "targetModules": ["q_proj"]}
    create_by_hand(
        emulator,
        kind="HF_PEFT_ADDON",
        peftDetails=peft,
        description=owner_of().description,
    )
    with pytest.raises(exceptions.FireworksModelConflict, match="its kind is HF_PEFT_ADDON"):
        upload(source)
    assert sent(emulator) == []


def test_model_of_an_earlier_run_is_a_conflict_by_default(emulator, source):
    upload(source)
    emulator.clear()
    with pytest.raises(
        exceptions.FireworksModelConflict, match=r"run manual__1.*another id, .* the run in it"
    ):
        upload(source, TaskInstance("upload", "manual__2"))
    assert sent(emulator) == []


# ---- if_exists="skip"


def test_skip_succeeds_if_the_same_files_were_uploaded(emulator, source, run):
    run(source)
    emulator.clear()
    assert run(source, TaskInstance("upload", "manual__2"), if_exists="skip") == {"model": NAME}
    assert sent(emulator) == []


def test_skip_accepts_model_that_is_being_prepared(emulator, source):
    upload(source)
    emulator.configure(duration=60)
    FireworksHook().prepare_model(NEW, "FP8")
    assert upload(source, TaskInstance("upload", "manual__2"), if_exists="skip") == {"model": NAME}


def test_skip_accepts_files_that_another_map_index_uploaded(emulator, source, run):
    run(source, TaskInstance("upload", map_index=1))
    emulator.clear()
    shifted = TaskInstance("upload", "manual__2", map_index=0)
    assert run(source, shifted, if_exists="skip") == {"model": NAME}
    assert sent(emulator) == []


def test_skip_does_not_accept_other_files(emulator, source, tmp_path):
    upload(source)
    emulator.clear()
    other = write(tmp_path / "checkpoint", CHECKPOINT | {"tokenizer/vocab.txt": b"a\nc\n"})
    with pytest.raises(exceptions.FireworksModelConflict, match="its files were others"):
        upload(other, TaskInstance("upload", "manual__2"), if_exists="skip")
    assert sent(emulator) == []


def test_skip_does_not_accept_model_that_is_not_ready(emulator, source):
    interrupted(emulator, source)
    with pytest.raises(exceptions.FireworksModelConflict, match="its state is UPLOADING"):
        upload(source, TaskInstance("upload", "manual__2"), if_exists="skip")
    assert exists(emulator)


def test_skip_requires_versions_of_all_files(emulator, source):
    # Midnight of 1 January 1970 is what a file system shows that knows no time.
    os.utime(Path(source.removeprefix("file://")) / "model.safetensors", (0, 0))
    with pytest.raises(
        exceptions.FireworksInvalidArgument, match=r"model\.safetensors has neither an ETag nor"
    ):
        upload(source, if_exists="skip")
    assert emulator.requests == []
    assert upload(source) == {"model": NAME}


def test_skip_uploads_if_there_is_no_such_model(emulator, source):
    assert upload(source, if_exists="skip") == {"model": NAME}
    assert sent(emulator) == COMPLETE


# ---- delete_on_failure


FINAL = {"kind": "status", "status": 400, "method": "GET", "path": "validateUpload", "code": 3}
TEMPORARY = {"kind": "status", "times": -1, "method": "PUT", "path": "model.safetensors"}


@pytest.mark.parametrize(
    ("fault", "max_tries", "arguments", "is_deleted"),
    [
        (FINAL, 1, {}, True),
        (FINAL, 0, {"delete_on_failure": False}, False),
        (TEMPORARY, 1, {}, False),
        (TEMPORARY, 0, {}, True),
        (TEMPORARY, 0, {"delete_on_failure": False}, False),
    ],
    ids=["final error", "final error, keep", "retry left", "no retry left", "no retry left, keep"],
)
def test_failed_task_deletes_its_model_if_no_try_is_left(
    emulator, source, run, fault, max_tries, arguments, is_deleted
):
    emulator.fault(**fault)
    with pytest.raises(exceptions.FireworksError) as failure:
        run(source, TaskInstance("upload", max_tries=max_tries), timeout=2, **arguments)
    assert exists(emulator) is not is_deleted
    assert ("is kept, because delete_on_failure is False" in str(failure.value)) is bool(arguments)


@pytest.mark.parametrize(
    ("rendered", "is_deleted"),
    [("False", False), ("false", False), ("no", False), ("0", False), ("yes", True)],
)
def test_delete_on_failure_may_be_rendered_text(emulator, source, rendered, is_deleted):
    emulator.fault(**FINAL)
    with pytest.raises(exceptions.FireworksError):
        upload(source, delete_on_failure=rendered)
    assert exists(emulator) is not is_deleted


def test_retry_with_invalid_argument_keeps_model(emulator, source):
    interrupted(emulator, source)
    with pytest.raises(
        exceptions.FireworksInvalidArgument,
        match=f"delete_on_failure.*{NEW} is kept if an earlier try of this task has created it",
    ):
        run_rendered(source, TaskInstance("upload", try_number=2, max_tries=2), delete_on_failure="perhaps")
    assert exists(emulator)


def test_failed_task_deletes_model_over_transient_errors(emulator, source):
    emulator.fault(**FINAL)
    emulator.fault("status", times=2, method="DELETE")
    with pytest.raises(exceptions.FireworksRefused):
        upload(source)
    assert not exists(emulator)


def test_failed_task_names_model_that_it_could_not_delete(emulator, source):
    emulator.fault(**FINAL)
    emulator.fault("status", times=-1, status=403, method="DELETE")
    with pytest.raises(exceptions.FireworksRefused, match=f"{NAME} was not deleted: "):
        upload(source)


def test_retry_whose_source_is_gone_deletes_what_the_first_try_created(emulator, source):
    interrupted(emulator, source)
    with pytest.raises(exceptions.FireworksInvalidArgument):
        upload("file:///does/not/exist", TaskInstance("upload", try_number=2, max_tries=2))
    assert not exists(emulator)


def test_failed_retry_leaves_model_of_somebody_else_alone(emulator):
    create_by_hand(emulator, description="a model")
    with pytest.raises(exceptions.FireworksInvalidArgument):
        upload("file:///does/not/exist", TaskInstance("upload", try_number=2))
    assert exists(emulator)


def test_failed_retry_keeps_model_that_is_ready(emulator, source):
    upload(source)
    with pytest.raises(exceptions.FireworksInvalidArgument):
        upload("file:///does/not/exist", TaskInstance("upload", try_number=2))
    assert exists(emulator)


def test_failed_retry_keeps_model_that_is_being_prepared(emulator, source):
    upload(source)
    emulator.configure(duration=60)
    FireworksHook().prepare_model(NEW, "FP8")
    with pytest.raises(exceptions.FireworksInvalidArgument):
        upload("file:///does/not/exist", TaskInstance("upload", try_number=2))
    assert emulator.model(NEW)["state"] == "PREPARING"


def test_wait_that_ends_without_an_event_deletes_the_model(emulator, source):
    create_by_hand(emulator, description=owner_of().description)
    instance = TaskInstance("upload")
    mark_try(instance)
    task = make_task(source, deferrable=True)
    with pytest.raises(Exception, match="Trigger timeout"):
        task.resume_execution("__fail__", {"error": "Trigger timeout"}, {"ti": instance})
    assert not exists(emulator)


def test_failed_task_keeps_model_of_a_later_try(emulator, source):
    # Airflow lost sight of the worker and failed the task, and a person cleared it.
    lost = TaskInstance("upload")
    emulator.fault("status", times=-1, method="PUT", path="model.safetensors")

    def run_next_try() -> None:
        with pytest.raises(exceptions.FireworksTimeout):
            upload(source, lost.next_try(), timeout=0.5)
        emulator.clear_faults()
        emulator.fault("status", times=-1, status=403, method="PUT", path="model.safetensors")

    with (
        act_when(lambda: emulator.count("PUT", "model.safetensors"), run_next_try),
        pytest.raises(exceptions.FireworksRefused, match="was not deleted: another try of this task has"),
    ):
        upload(source, lost)
    assert exists(emulator)


def test_failed_task_keeps_its_model_if_airflow_does_not_respond(emulator, source, monkeypatch):
    def fail(*_: Any, **__: Any) -> None:
        raise OSError("no response from Airflow")

    monkeypatch.setattr(TaskInstance, "xcom_pull", fail)
    emulator.fault(**FINAL)
    with pytest.raises(exceptions.FireworksRefused, match="was not deleted: no response from Airflow"):
        upload(source)
    assert exists(emulator)


# ---- on_kill


def kill(
    emulator: Any, source: str, instance: TaskInstance, *, during: str = "PUT"
) -> exceptions.FireworksError:
    """Kill a task while it uploads, or while it waits for the validation."""
    emulator.configure(upload_rate=1_000_000 if during == "PUT" else None, validation_outcome="never")
    task = make_task(source, poll_interval=30)
    # Every file is on its way, so none is begun after the kill.
    what, times = (("PUT", ""), len(CHECKPOINT)) if during == "PUT" else (("GET", "validateUpload"), 1)
    with (
        signal_when(lambda: emulator.count(*what) >= times, task.on_kill),
        pytest.raises(exceptions.FireworksError, match="This task was killed") as failure,
    ):
        task.execute({"ti": instance})
    return failure.value


@pytest.mark.parametrize("during", ["PUT", "validation"])
@pytest.mark.parametrize("state", OVER)
def test_killed_task_deletes_its_model_if_it_is_over(emulator, source, state, during):
    kill(emulator, source, TaskInstance("upload", state=state), during=during)
    assert not exists(emulator)


def test_killed_task_that_will_be_retried_keeps_its_model(emulator, source):
    failure = kill(emulator, source, TaskInstance("upload", state="running", max_tries=1))
    assert f"{NAME} is kept for the next try" in str(failure)
    assert exists(emulator)
    emulator.configure(upload_rate=None, validation_outcome="ok")
    upload(source, TaskInstance("upload", try_number=2, max_tries=1))
    assert stored(emulator) == hashes(CHECKPOINT)


def test_killed_task_that_airflow_says_is_running_keeps_its_model(emulator, source):
    # Its worker is shut down, or Airflow has lost sight of it, and another try is running.
    failure = kill(emulator, source, TaskInstance("upload", state="running"))
    assert f"{NAME} is kept because the state of its task is running" in str(failure)
    assert exists(emulator)


def test_killed_task_that_was_marked_as_success_keeps_its_model(emulator, source):
    failure = kill(emulator, source, TaskInstance("upload", state="success"))
    assert f"{NAME} is kept because the state of its task is success" in str(failure)
    assert exists(emulator)


def test_lora_is_uploaded_again_by_a_retry(emulator, tmp_path):
    source = write(tmp_path, LORA)
    emulator.fault("status", times=-1, method="PUT")
    with pytest.raises(exceptions.FireworksTimeout):
        upload(source, TaskInstance("upload", max_tries=1), timeout=2, base_model="my-model")
    emulator.clear_faults()
    upload(source, TaskInstance("upload", try_number=2, max_tries=1), base_model="my-model")
    assert stored(emulator) == hashes(LORA)
