"""State machine for creating one deployment: picks the next step from the last response. Sends nothing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from enum import Enum
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from airflow_provider_fireworks.client.names import DeploymentName, ModelName
from airflow_provider_fireworks.client.resources import Deployment
from airflow_provider_fireworks.deployments.changes import Changes, changes_since
from airflow_provider_fireworks.deployments.ownership import Owner, Ownership
from airflow_provider_fireworks.timing import DEFAULT_TIMING, Timing


class CreateStep(str, Enum):
    """What the operator does next."""

    READ = "read"
    CHECK_MODEL = "check_model"
    CHECK_SHAPE = "check_shape"
    CREATE = "create"
    UNDELETE = "undelete"
    REPLACE = "replace"
    """Delete this task's own deployment for good; the next read leads to a new one."""
    UPDATE = "update"
    PAUSE = "pause"
    EXISTS = "exists"
    READY = "ready"
    FAILED = "failed"
    CONFLICT = "conflict"
    """The deployment belongs to somebody else."""
    CHANGED = "changed"
    """It belongs to this task, but arguments have changed that cannot be updated."""


class DeploymentCreation(BaseModel):
    """
    How far a task has come in creating its deployment. It is the task's resume state.

    :ivar deadline: seconds since the epoch.
    :ivar step: what to do next.
    :ivar note: why this step is next, as a clause about the deployment, for logs and errors.
    :ivar may_exist: whether a deployment that is this task's exists, or may exist.
    :ivar unanswered: requests that may have created it and whose result has not been seen yet.
    :ivar sent_at: seconds since the epoch of the last of them.
    :ivar created_by_this_try: whether this try has created or undeleted it, or may have, so that it is to blame for
        a failure.
    :ivar accepted: whether the API has accepted such a request, so that it is not sent again.
    :ivar id_taken: whether the API says that the id is taken, while it shows no such deployment.
    :ivar must_stay: whether it is not this try's to delete: adopted from an earlier run, or READY before under an id
        that the user chose.
    :ivar updates: the fields to update, as the API spells them.
    :ivar previous_owner: whose deployment this try has undeleted, until it is signed again.
    :ivar delete_on_failure: the argument, as it was rendered when the task began; so is ``delete_on_kill``.
    """

    # Parsing a DAG file imports this class and does not use it.
    model_config = ConfigDict(extra="forbid", defer_build=True)

    deployment: DeploymentName
    base_model: ModelName
    deadline: float
    step: CreateStep = CreateStep.READ
    note: str = ""
    may_exist: bool = False
    unanswered: int = 0
    sent_at: float | None = None
    created_by_this_try: bool = False
    accepted: bool = False
    id_taken: bool = False
    must_stay: bool = False
    updates: dict[str, Any] = Field(default_factory=dict)
    previous_owner: Owner | None = None
    delete_on_failure: bool = True
    delete_on_kill: bool = True
    timing: Timing = Field(default=DEFAULT_TIMING, exclude=True)

    @property
    def inference_model(self) -> str:
        """The ``model`` of an inference request."""
        return f"{self.base_model}#{self.deployment}"

    @property
    def visible_by(self) -> float | None:
        """Seconds since the epoch by when what was requested must be visible."""
        return None if self.sent_at is None else self.sent_at + self.timing.visibility_lag

    def is_own(self, found: Deployment, owner: Owner) -> bool:
        """Whether a deployment that was read is this task's to delete: it created or undeleted it."""
        signed = Owner.from_description(found.description)
        undeleted = self.previous_owner is not None and signed == self.previous_owner
        return undeleted or owner.created(found.description)

    def on_read(
        self,
        found: Deployment | None,
        ownership: Ownership,
        spec: Mapping[str, Any],
        *,
        now: float,
        whose: str = "",
    ) -> None:
        """
        Take in the deployment as it is now, and pick the next step.

        :param found: ``None`` if there is none.
        :param ownership: whose it is.
        :param spec: what is requested, without the description.
        :param now: seconds since the epoch.
        :param whose: the owner in words.
        """
        if found is None:
            self._on_not_found(now)
            return
        self.id_taken, self.unanswered = False, 0
        if ownership is Ownership.OTHER:
            self.may_exist = False
            self._go_to(CreateStep.CONFLICT, f"it was created by {whose or 'something else'}")
            return
        self.may_exist = True
        state = found.state or "unset"
        signed = Owner.from_description(found.description)
        is_earlier = ownership is Ownership.EARLIER_RUN
        self.previous_owner = (
            signed if is_earlier and (self.created_by_this_try or state == "DELETED") else None
        )
        # READY before this try under an id that the user chose: it is meant to stay, whatever becomes of this try.
        stays = signed is not None and signed.named and state == "READY"
        self.must_stay = (signed is not None and signed.kept) or (
            not self.created_by_this_try and (self.must_stay or stays or is_earlier)
        )
        # What this try has created has not changed: the API may spell things its own way.
        changes = (
            Changes()
            if self.created_by_this_try
            else changes_since(found, signed.digest if signed else "", spec)
        )
        self.updates = changes.updates
        if state == "DELETING":
            self._go_to(CreateStep.PAUSE, "it is being deleted")
        elif state == "DELETED":
            step = CreateStep.REPLACE if changes.fixed else CreateStep.UNDELETE
            self._go_to(step, "it was deleted, and its id is still taken")
        elif state == "FAILED" and self.created_by_this_try:
            self._go_to(CreateStep.FAILED, f"its state is FAILED, with the status {found.status or 'OK'}")
        elif state == "FAILED":
            self._go_to(CreateStep.REPLACE, f"it failed in an earlier try or run ({found.status or 'OK'})")
        elif changes.fixed and state == "CREATING" and not is_earlier and not self.must_stay:
            listed = _listing(changes.fixed)
            self._go_to(CreateStep.REPLACE, f"its arguments changed before it was ready: {listed}")
        elif changes.fixed:
            self.may_exist = False
            may_be_deleted = not is_earlier and not (signed and signed.named)
            self._go_to(
                CreateStep.CHANGED if may_be_deleted else CreateStep.CONFLICT,
                f"it belongs to this task and may cost money, but these arguments have changed and cannot be updated: "
                f"{_listing(changes.fixed)}",
            )
        elif is_earlier or changes.updates or changes.notes:
            reasons = ["it was created in an earlier run, which is over"] if is_earlier else []
            reasons += [f"its arguments have changed: {_listing(changes.notes)}"] if changes.notes else []
            self._go_to(CreateStep.UPDATE, "; ".join(reasons))
        else:
            self._go_to(CreateStep.READY if state == "READY" else CreateStep.EXISTS, f"its state is {state}")

    def before_request(self, now: float) -> None:
        """Take in that a request that creates or undeletes is sent next: from now on the deployment may exist."""
        self.may_exist = True
        self.unanswered += 1
        self.must_stay = False
        self.sent_at = now

    def on_created(self) -> None:
        """Take in that the API has created it."""
        self.created_by_this_try = self.accepted = True
        self._go_to(CreateStep.EXISTS, "it was created")

    def on_undeleted(self) -> None:
        """Take in that the API has undeleted it."""
        self.created_by_this_try = True
        self.pause("it was undeleted")

    def on_unknown_outcome(self, error: Exception) -> None:
        """Take in that the outcome of the request is unknown: only the next read can tell."""
        self.created_by_this_try = True
        self.pause(f"the API may have carried out the request all the same: {error}")

    def on_not_carried_out(self) -> None:
        """Take in that the last request has certainly created nothing."""
        self.unanswered -= 1
        self.may_exist = self.unanswered > 0
        self.step = CreateStep.READ

    def on_checked(self) -> None:
        """Take in that the model, or the shape, passed its check."""
        is_model = self.step is CreateStep.CHECK_MODEL
        self.step = CreateStep.CHECK_SHAPE if is_model else CreateStep.CREATE

    def on_id_taken(self) -> None:
        """Take in that the API says that there is a deployment with this id already."""
        self.id_taken, self.step = True, CreateStep.READ

    def read_again(self) -> None:
        """Read the deployment next."""
        self.step = CreateStep.READ

    def pause(self, note: str) -> None:
        """Pause before the next read."""
        self._go_to(CreateStep.PAUSE, note)

    def begin_pause(self, poll_interval: float, now: float) -> float:
        """Return the seconds to pause, and pick the step after it."""
        self.step = CreateStep.CHECK_MODEL if self.id_taken else CreateStep.READ
        longest = self.timing.max_pause
        if self.unanswered and self.sent_at is not None:
            # What was requested just now becomes visible soon, if at all.
            longest = min(longest, now - self.sent_at)
        return max(min(poll_interval, longest), self.timing.min_pause)

    def _on_not_found(self, now: float) -> None:
        lag = self.timing.visibility_lag
        if self.id_taken:
            self.pause("the API says that its id is taken, but shows no such deployment")
        elif self.unanswered and now < (self.visible_by or 0.0):
            self.pause("it was created just now and is not visible yet")
        elif self.unanswered and self.accepted:
            self._go_to(CreateStep.FAILED, f"the API has accepted it, but has not shown it for {lag:.0f} s")
        else:
            self._go_to(CreateStep.CHECK_MODEL, "there is no such deployment")

    def _go_to(self, step: CreateStep, note: str) -> None:
        self.step, self.note = step, note


def _listing(phrases: Sequence[str]) -> str:
    return ", ".join(phrases)
