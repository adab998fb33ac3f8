"""State machine for uploading one model: picks the next step from the last response. Does no I/O."""

from __future__ import annotations

from dataclasses import replace
from enum import Enum
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from airflow_provider_fireworks.client.names import ModelName
from airflow_provider_fireworks.client.resources import Model
from airflow_provider_fireworks.deployments.ownership import Owner
from airflow_provider_fireworks.models.source import ModelKind
from airflow_provider_fireworks.timing import DEFAULT_TIMING, Timing

_UNFINISHED = (None, "STATE_UNSPECIFIED", "UPLOADING", "FAILED")


def is_unfinished(model: Model) -> bool:
    """Whether a model has no valid files yet, so that nothing can use it. In an unknown state it counts as in use."""
    return model.state in _UNFINISHED


class UploadStep(str, Enum):
    """What the operator does next."""

    READ = "read"
    CREATE = "create"
    REPLACE = "replace"
    """Delete this task's own, unfinished model. It is created again after the next read."""
    UPLOAD = "upload"
    VALIDATE = "validate"
    PAUSE = "pause"
    DONE = "done"
    FAILED = "failed"
    CONFLICT = "conflict"


class ModelUpload(BaseModel):
    """
    How far a task has come in uploading its model: the task's resume state.

    :ivar deadline: seconds since the epoch.
    :ivar digest: of what is uploaded; see :meth:`~airflow_provider_fireworks.models.source.Source.digest`.
    :ivar step: what to do next.
    :ivar note: why this step is next, as a clause about the model, for logs and errors.
    :ivar may_exist: whether an unfinished model of this task exists or may exist.
    :ivar created_by_this_try: whether this try has or may have created it. If the model is then FAILED, so is the task;
        a FAILED model of an earlier try is replaced.
    :ivar sent_at: seconds since the epoch at which the create request was sent; ``None`` once the model was read.
    :ivar id_taken: whether the API says that the id is taken, although it shows no such model.
    """

    # Parsing a DAG file imports this class and does not use it.
    model_config = ConfigDict(extra="forbid", defer_build=True)

    model: ModelName
    deadline: float
    kind: ModelKind
    digest: str
    step: UploadStep = UploadStep.READ
    note: str = ""
    may_exist: bool = False
    created_by_this_try: bool = False
    sent_at: float | None = None
    id_taken: bool = False
    timing: Timing = Field(default=DEFAULT_TIMING, exclude=True)

    @property
    def visible_by(self) -> float | None:
        """Seconds since the epoch by which a created model must be visible."""
        return None if self.sent_at is None else self.sent_at + self.timing.visibility_lag

    def on_read(
        self, found: Model | None, owner: Owner, if_exists: Literal["fail", "skip"], now: float
    ) -> None:
        """
        Take in the model as it is now, and pick the next step.

        :param found: ``None`` if it does not exist.
        :param owner: the task that uploads.
        :param now: seconds since the epoch.
        """
        if found is None:
            self._on_not_found(now)
            return
        self.id_taken, self.sent_at = False, None
        signed = Owner.from_description(found.description)
        state = found.state or "unset"
        same_files = signed is not None and signed.digest == self.digest
        self.may_exist = False
        # The same files may have another map index in each run.
        if signed is None or not signed.same_task(replace(owner, map_index=signed.map_index)):
            whose = signed or "something else than a task of this provider"
            self._go_to(UploadStep.CONFLICT, f"it was created by {whose}")
        elif found.kind and found.kind != self.kind.value:
            self._go_to(
                UploadStep.CONFLICT, f"its kind is {found.kind}, and that of the source is {self.kind.value}"
            )
        elif signed != owner:
            self._on_other_instance(found, signed, same_files=same_files, if_exists=if_exists)
        elif is_unfinished(found):
            self.may_exist = True
            self._on_own(found, state, same_files=same_files)
        elif same_files:
            self._go_to(UploadStep.DONE, f"this task has uploaded it before, and its state is {state}")
        else:
            self._go_to(
                UploadStep.CONFLICT,
                f"an earlier try of this task has uploaded other files, and it is {state}",
            )

    def before_create(self, now: float) -> None:
        """Take in that the create request is sent next: from now on the model may exist."""
        self.may_exist = self.created_by_this_try = True
        self.sent_at = now

    def on_created(self) -> None:
        """Take in that the API has created it."""
        self._go_to(UploadStep.UPLOAD, "it was created")

    def on_missing(self, now: float) -> bool:
        """Take in a 404; return whether it may be because the model was created just now."""
        if now >= (self.visible_by or 0.0):
            return False
        self.step = UploadStep.READ
        return True

    def on_unknown_outcome(self, error: Exception) -> None:
        """Take in that the outcome of the create request is unknown: the next read shows it."""
        self.pause(f"the API may have created it all the same: {error}")

    def on_not_created(self) -> None:
        """Take in that the last request has certainly created nothing."""
        self.may_exist = self.created_by_this_try = False
        self.sent_at = None
        self.step = UploadStep.READ

    def on_id_taken(self) -> None:
        """Take in that the API says that a model with this id exists already."""
        self.sent_at, self.created_by_this_try = None, False
        self.id_taken, self.step = True, UploadStep.READ

    def on_uploaded(self, *, validates: bool) -> None:
        """Take in that every byte of every file is uploaded."""
        self.step = UploadStep.VALIDATE if validates else UploadStep.DONE
        self.note = "all files are uploaded"

    def on_deleted(self) -> None:
        """Take in that this task's own model was deleted."""
        self.may_exist = False
        self.pause("it was deleted")

    def on_validated(self, note: str) -> None:
        """Take in that the upload is validated, and that the model is READY."""
        self.may_exist = False
        self._go_to(UploadStep.DONE, note)

    def read_again(self) -> None:
        """Read the model next."""
        self.step = UploadStep.READ

    def pause(self, note: str) -> None:
        """Pause before the next request."""
        self._go_to(UploadStep.PAUSE, note)

    def begin_pause(self, poll_interval: float) -> float:
        """Return the seconds to pause. After the pause the model is read or, if its id was taken, created."""
        self.step = UploadStep.CREATE if self.id_taken else UploadStep.READ
        return self.timing.pause(poll_interval)

    def _on_other_instance(
        self, found: Model, signed: Owner, *, same_files: bool, if_exists: Literal["fail", "skip"]
    ) -> None:
        state = found.state or "unset"
        if if_exists == "skip" and same_files and not is_unfinished(found):
            self._go_to(
                UploadStep.DONE,
                f"it is {state}, and {signed} has uploaded the same files, so nothing is uploaded",
            )
        elif if_exists == "skip":
            problem = "its files were others" if not same_files else f"its state is {state}"
            self._go_to(UploadStep.CONFLICT, f"it was created by {signed}, and {problem}")
        else:
            self._go_to(UploadStep.CONFLICT, f"it was created by {signed}")

    def _on_own(self, found: Model, state: str, *, same_files: bool) -> None:
        if state == "FAILED" and self.created_by_this_try:
            self._go_to(UploadStep.FAILED, f"its state is FAILED, with the status {found.status or 'OK'}")
        elif state == "FAILED":
            self._go_to(UploadStep.REPLACE, f"it failed in an earlier try ({found.status or 'OK'})")
        elif not same_files:
            self._go_to(UploadStep.REPLACE, "an earlier try has begun to upload other files")
        elif self.created_by_this_try:
            self._go_to(UploadStep.UPLOAD, "it was created")
        else:
            self._go_to(UploadStep.UPLOAD, "an earlier try has created it, and all files are uploaded again")

    def _on_not_found(self, now: float) -> None:
        if self.id_taken:
            self.pause("the API says that its id is taken, but shows no such model")
        elif now < (self.visible_by or 0.0):
            self.pause("it may have been created just now and is not visible yet")
        else:
            self.may_exist = False
            self._go_to(UploadStep.CREATE, "there is no such model")

    def _go_to(self, step: UploadStep, note: str) -> None:
        self.step, self.note = step, note
