"""
How far one task has come in having its deployment made: what to do next, told from what the gateway has answered.

Nothing here reads, posts or sleeps; the operator does as :attr:`Creation.step` says and tells what came of it.
It is kept over a deferral. The rows of :meth:`Creation.look` are tested one by one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from enum import Enum
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from airflow_provider_fireworks.changes import Changes, changes_since
from airflow_provider_fireworks.client.shapes import Deployment
from airflow_provider_fireworks.identity import Identity

START_LAG = 30.0
"""Seconds for which a deployment that was asked for may not show yet."""
SHORTEST_PAUSE = 1.0
"""Seconds between two looks at what must change before the deployment can be made …"""
LONGEST_PAUSE = 10.0
"""… and the most of them, however long the poll interval is."""


class Step(str, Enum):
    """What a task does next."""

    LOOK = "look"
    CHECK_MODEL = "check_model"
    CHECK_SHAPE = "check_shape"
    CREATE = "create"
    UNDELETE = "undelete"
    REMOVE = "remove"
    UPDATE = "update"
    PAUSE = "pause"
    CONFLICT = "conflict"
    FAILED = "failed"
    THERE = "there"


class Owner(str, Enum):
    """Whose a deployment is."""

    THIS_TASK = "this_task"
    EARLIER_RUN = "earlier_run"
    """The same task's, of a run that is over or unknown: only where the id was given, the same in all runs."""
    OTHER = "other"


class Creation(BaseModel):
    """
    Where a task stands.

    :ivar deployment: its full resource name.
    :ivar base_model: full resource name of what it serves.
    :ivar deadline: seconds since the epoch.
    :ivar step: what to do next.
    :ivar note: why it stands so, for the log.
    :ivar ours: whether there is, or may be, a deployment by this task's hand.
    :ivar uncertain: whether it may yet appear: it was asked for, and has not been seen since.
    :ivar was_uncertain: whether that was so before the last ``POST`` already.
    :ivar accepted: whether the gateway has said that it made it, so that it is not asked for again.
    :ivar made: whether it was made, or brought back, in this try, so that a failure of it is news.
    :ivar made_at: when it was asked for, in seconds since the epoch.
    :ivar taken: whether the gateway said that the id is taken, while it showed no such deployment.
    :ivar ready: whether it was READY at the last look.
    :ivar kept: whether the one that was found is not this try's to delete: it was adopted from an earlier run, or was
        READY under an id that the user gave.
    :ivar own_conflict: whether a conflict is with what this task created in this run, so that it may be deleted.
    :ivar updates: the fields of it to update, as the API spells them.
    :ivar taken_over: whose one was that this try has brought back, until it is signed anew.
    :ivar delete_on_failure: as it was asked for, like ``delete_on_kill``.
    """

    model_config = ConfigDict(extra="forbid")

    deployment: str
    base_model: str
    deadline: float
    step: Step = Step.LOOK
    note: str = ""
    ours: bool = False
    uncertain: bool = False
    was_uncertain: bool = False
    accepted: bool = False
    made: bool = False
    made_at: float | None = None
    taken: bool = False
    ready: bool = False
    kept: bool = False
    own_conflict: bool = False
    updates: dict[str, Any] = Field(default_factory=dict)
    taken_over: Identity | None = None
    delete_on_failure: bool = True
    delete_on_kill: bool = True

    def is_own(self, found: Deployment, mine: Identity) -> bool:
        """Whether a deployment that was read is the task's to delete: it created it, or brought it back."""
        brought_back = self.taken_over is not None and (
            Identity.of_description(found.description) == self.taken_over
        )
        return brought_back or mine.created(found.description)

    @property
    def appears_by(self) -> float | None:
        """When what was asked for must have come to show, in seconds since the epoch."""
        return None if self.made_at is None else self.made_at + START_LAG

    @property
    def inference_model(self) -> str:
        """What inference is asked by."""
        return f"{self.base_model}#{self.deployment}"

    def look(
        self,
        found: Deployment | None,
        owner: Owner,
        spec: Mapping[str, Any],
        *,
        now: float,
        whose: str = "",
    ) -> None:
        """
        Take in the deployment as it is now; decides between all steps but ``LOOK``, ``CHECK_SHAPE`` and ``CREATE``.

        :param found: ``None`` where there is none.
        :param owner: whose it is.
        :param spec: what is requested, without the description.
        :param now: seconds since the epoch.
        :param whose: the same as ``owner``, in words.
        """
        if found is None and self.taken:
            self._decide(Step.PAUSE, "The gateway says that its id is taken, but shows no such deployment.")
            return
        if found is None and self.uncertain and now < (self.appears_by or 0.0):
            self._decide(Step.PAUSE, "It was made just now, and does not show yet.")
            return
        if found is None and self.uncertain and self.accepted:
            self._decide(
                Step.FAILED, f"the gateway has accepted it, but has not shown it for {START_LAG:.0f} s"
            )
            return
        if found is None:
            self._decide(Step.CHECK_MODEL, "There is no such deployment.")
            return
        self.taken = self.uncertain = self.was_uncertain = False
        if owner is Owner.OTHER:
            self.ours = False
            self._decide(Step.CONFLICT, f"it was made by {whose or 'something else'}")
            return
        self.ours = True
        self.ready = found.state == "READY"
        state = found.state or "unset"
        signed = Identity.of_description(found.description)
        earlier = owner is Owner.EARLIER_RUN and (self.made or state == "DELETED")
        self.taken_over = signed if earlier else None
        # What was READY before this try under an id that the user gave is meant to stay, whatever becomes of the try.
        stays = signed is not None and signed.named and state == "READY"
        self.kept = (signed is not None and signed.kept) or (
            not self.made and (self.kept or stays or owner is Owner.EARLIER_RUN)
        )
        # What this try has created is not given up because the API spells things otherwise.
        changes = Changes() if self.made else changes_since(found, signed.digest if signed else "", spec)
        self.updates = changes.updates
        same = not changes.fixed
        if state == "DELETING":
            self._decide(Step.PAUSE, "It is being deleted.")
        elif state == "DELETED":
            self._decide(Step.UNDELETE if same else Step.REMOVE, "It was deleted, and its id is still taken.")
        elif state == "FAILED" and self.made:
            self._decide(Step.FAILED, f"its state is FAILED, with the status {found.status or 'OK'}")
        elif state == "FAILED":
            self._decide(Step.REMOVE, f"An earlier one of this task has failed ({found.status or 'OK'}).")
        elif not same and owner is Owner.THIS_TASK and state == "CREATING" and not self.kept:
            self._decide(
                Step.REMOVE, f"Its arguments have changed while it is created: {_listing(changes.fixed)}."
            )
        elif not same:
            self.ours = False
            self.own_conflict = owner is Owner.THIS_TASK and not (signed and signed.named)
            self._decide(
                Step.CONFLICT,
                f"it belongs to this task and may cost money, but these arguments have changed and cannot be updated: "
                f"{_listing(changes.fixed)}",
            )
        elif owner is Owner.EARLIER_RUN or changes.updates or changes.notes:
            earlier_run = "It was created in an earlier run, which is over." * (owner is Owner.EARLIER_RUN)
            updates = f"Its arguments have changed: {_listing(changes.notes)}." * bool(changes.notes)
            self._decide(Step.UPDATE, f"{earlier_run} {updates}".strip())
        else:
            self._decide(Step.THERE, f"its state is {state}")

    def model_is_ready(self, *, check_shape: bool = False) -> None:
        """The model can be deployed; ``check_shape``: the shape is to be looked at first."""
        self.step = Step.CHECK_SHAPE if check_shape else Step.CREATE

    def shape_fits(self) -> None:
        """The shape is for the precision that was asked for."""
        self.step = Step.CREATE

    def sending(self, now: float) -> None:
        """A ``POST`` that makes it is about to be sent: from now on there may be one."""
        self.was_uncertain = self.uncertain
        self.ours = self.uncertain = True
        self.kept = False
        self.made_at = now

    def was_accepted(self) -> None:
        """The gateway has made it."""
        self.made = self.accepted = True
        self._decide(Step.THERE, "it was made")

    def brought_back(self) -> None:
        """The gateway has undeleted it."""
        self.made = True
        self._decide(Step.PAUSE, "It was undeleted.")

    def changed(self, note: str) -> None:
        """It was removed, or updated: a look must show that, after a pause."""
        self._decide(Step.PAUSE, note)

    def lost(self, error: Exception) -> None:
        """The answer was lost, or a 5xx: only a look can tell what came of it."""
        self.made = True
        self._decide(Step.PAUSE, f"It may have worked nevertheless: {error}.")

    def not_made(self) -> None:
        """It is certain that the last ``POST`` has made nothing."""
        self.ours = self.uncertain = self.was_uncertain
        self.step = Step.LOOK

    def id_taken(self) -> None:
        """The gateway says that there is one of this id already."""
        self.taken, self.step = True, Step.LOOK

    def settled(self) -> None:
        """It has been seen, or was looked for long enough: a 404 means from now on that there is none."""
        self.uncertain = self.was_uncertain = False

    def look_again(self) -> None:
        """A call has failed, or a wait has ended, which calls for a look."""
        self.step = Step.LOOK

    def pause(self, poll_interval: float, now: float) -> float:
        """Return the seconds of a ``PAUSE``, after which comes a look, or another try."""
        self.step = Step.CHECK_MODEL if self.taken else Step.LOOK
        longest = LONGEST_PAUSE
        if self.uncertain and self.made_at is not None:
            # What was asked for just now shows soon, if it does.
            longest = min(longest, now - self.made_at)
        return max(min(poll_interval, longest), SHORTEST_PAUSE)

    def _decide(self, step: Step, note: str) -> None:
        self.step, self.note = step, note


def _listing(phrases: Sequence[str]) -> str:
    return ", ".join(phrases)
