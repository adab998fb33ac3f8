"""What an upload task does next, by what it has read."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from airflow_provider_fireworks.client.errors import NoResponseError
from airflow_provider_fireworks.client.resources import Model
from airflow_provider_fireworks.deployments.ownership import Owner
from airflow_provider_fireworks.models.upload import ModelUpload, UploadStep
from airflow_provider_fireworks.timing import DEFAULT_TIMING

NAME = "accounts/demo/models/m"
NOW = 1_750_000_000.0
OWNER = Owner("my_dag", "manual__1", "upload")
EARLIER = replace(OWNER, run_id="manual__0")
DIGEST, OTHER_DIGEST = "d" * 32, "e" * 32
LAG = DEFAULT_TIMING.visibility_lag


def new_upload(**fields) -> ModelUpload:
    return ModelUpload(
        **{"model": NAME, "deadline": NOW + 60, "kind": "HF_BASE_MODEL", "digest": DIGEST} | fields
    )


def model(state: str | None = "UPLOADING", owner: Owner = OWNER, digest: str = DIGEST, **fields) -> Model:
    description = replace(owner, digest=digest).description
    return Model(**{"state": state, "kind": "HF_BASE_MODEL", "description": description} | fields)


def step_after(found: Model | None, upload: ModelUpload | None = None, if_exists: str = "fail") -> str:
    upload = upload or new_upload()
    upload.on_read(found, OWNER, if_exists, NOW)
    return upload.step.value


# What is read: (the model, the next step, the step with if_exists="skip", whether the model may have to be deleted)
READS = {
    "none": (None, "create", "create", False),
    "own": (model(), "upload", "upload", True),
    "own, no state": (model(None), "upload", "upload", True),
    "own, no kind": (model(kind=None), "upload", "upload", True),
    "own, other files": (model(digest=OTHER_DIGEST), "replace", "replace", True),
    "own, FAILED": (model("FAILED"), "replace", "replace", True),
    "own, READY": (model("READY"), "done", "done", False),
    "own, PREPARING": (model("PREPARING"), "done", "done", False),
    "own, READY, other files": (model("READY", digest=OTHER_DIGEST), "conflict", "conflict", False),
    "own, other kind": (model(kind="HF_PEFT_ADDON"), "conflict", "conflict", False),
    "earlier run": (model(owner=EARLIER), "conflict", "conflict", False),
    "earlier run, READY": (model("READY", owner=EARLIER), "conflict", "done", False),
    "earlier run, PREPARING": (model("PREPARING", owner=EARLIER), "conflict", "done", False),
    "earlier run, other map index": (
        model("READY", owner=replace(EARLIER, map_index=1)),
        "conflict",
        "done",
        False,
    ),
    "earlier run, FAILED": (model("FAILED", owner=EARLIER), "conflict", "conflict", False),
    "earlier run, READY, other files": (
        model("READY", owner=EARLIER, digest=OTHER_DIGEST),
        "conflict",
        "conflict",
        False,
    ),
    "earlier run, READY, other kind": (
        model("READY", owner=EARLIER, kind="EMBEDDING_MODEL"),
        "conflict",
        "conflict",
        False,
    ),
    "other task": (model("READY", owner=replace(OWNER, task_id="x")), "conflict", "conflict", False),
    "other Airflow": (model("READY", owner=replace(OWNER, airflow="x")), "conflict", "conflict", False),
    "other map index": (model("READY", owner=replace(OWNER, map_index=1)), "conflict", "done", False),
    "other map index, UPLOADING": (model(owner=replace(OWNER, map_index=1)), "conflict", "conflict", False),
    "not signed": (Model(state="READY"), "conflict", "conflict", False),
    "signed by something else": (Model(state="READY", description="mine"), "conflict", "conflict", False),
}


@pytest.mark.parametrize(("found", "step", "skip", "may_exist"), READS.values(), ids=READS)
def test_model_that_is_read_leads_to_next_step(found, step, skip, may_exist):
    upload = new_upload(may_exist=True)
    assert step_after(found, upload) == step
    assert upload.may_exist is may_exist
    assert step_after(found, if_exists="skip") == skip


def test_model_that_this_try_created_and_that_failed_is_a_failure():
    assert step_after(model("FAILED"), new_upload(created_by_this_try=True)) == "failed"


# ---- creating


def test_created_model_is_uploaded_to():
    upload = new_upload()
    upload.before_create(NOW)
    assert upload.may_exist
    upload.on_created()
    assert upload.step is UploadStep.UPLOAD


def test_model_of_unknown_outcome_is_read_until_it_must_be_visible():
    upload = new_upload()
    upload.before_create(NOW)
    upload.on_unknown_outcome(NoResponseError("lost"))
    assert upload.step is UploadStep.PAUSE
    assert upload.begin_pause(30) == DEFAULT_TIMING.max_pause
    upload.on_read(None, OWNER, "fail", NOW + LAG - 1)
    assert upload.step is UploadStep.PAUSE
    upload.on_read(None, OWNER, "fail", NOW + LAG)
    assert upload.step is UploadStep.CREATE
    assert not upload.may_exist


def test_created_model_that_is_not_visible_yet_is_read_again():
    upload = new_upload()
    upload.before_create(NOW)
    upload.on_created()
    assert upload.on_missing(NOW + LAG - 1)
    assert upload.step is UploadStep.READ
    assert not upload.on_missing(NOW + LAG)


def test_id_that_is_taken_without_a_model_is_tried_again_after_a_pause():
    upload = new_upload()
    upload.before_create(NOW)
    upload.on_id_taken()
    assert upload.step is UploadStep.READ
    assert step_after(None, upload) == "pause"
    upload.begin_pause(30)
    assert upload.step is UploadStep.CREATE


def test_model_of_an_earlier_try_that_failed_is_replaced_after_a_conflict():
    upload = new_upload(step=UploadStep.CREATE)
    upload.before_create(NOW)
    upload.on_id_taken()

    assert step_after(model("FAILED"), upload) == "replace"


def test_request_that_created_nothing_leaves_nothing():
    upload = new_upload()
    upload.before_create(NOW)
    upload.on_not_created()
    assert (upload.may_exist, upload.step) == (False, UploadStep.READ)


# ---- afterwards


@pytest.mark.parametrize(("validates", "step"), [(True, "validate"), (False, "done")])
def test_uploaded_files_are_validated_if_asked_to(validates, step):
    upload = new_upload(step="upload", may_exist=True)
    upload.on_uploaded(validates=validates)
    assert upload.step.value == step


def test_validated_model_is_not_to_be_deleted():
    upload = new_upload(step="validate", may_exist=True)
    upload.on_validated("its state is READY")
    assert (upload.step, upload.may_exist) == (UploadStep.DONE, False)


def test_state_continues_elsewhere():
    upload = new_upload(step="validate", may_exist=True, created_by_this_try=True, sent_at=NOW)
    text = json.dumps(upload.model_dump(mode="json", exclude_defaults=True))
    assert ModelUpload.model_validate(json.loads(text)) == upload
