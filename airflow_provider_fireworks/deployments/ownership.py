"""
Who created a deployment or a model.

The owner is a task instance: DAG, run, task, map index and loop index, but never the number of the try. It makes the id
of the deployment and is, as the signature, part of its description. So a retry finds what an earlier try created, and
nobody else's deployment is ever touched. Owners are compared as parsed objects, never as text.
"""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import asdict, dataclass, field, replace
from enum import Enum
from typing import TYPE_CHECKING, Any

from airflow.providers.common.compat.sdk import conf

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import Context

_PREFIX = "Created by Apache Airflow: "
_MAX_ID = 63
_HASH_DIGITS = 12
_MAX_DESCRIPTION = 2000
"""Longer descriptions are not parsed. The API allows 1000 characters, so no task signed them."""
_MAX_URL = 70
"""Of Airflow's URL, so that a description stays below the API's 1000 characters, however long the ids are."""

_OVER = frozenset({"failed", "skipped", "upstream_failed", "removed"})
"""
States of a task instance after which no other try and no other task of the run uses its deployment.

``dagrun_timeout`` and ``fail_fast`` set ``skipped``. After ``success`` the tasks downstream use it, and any other state
leads to another try or is unknown to this package.
"""
ABSENT = "absent"
"""Not a state of Airflow's: there is no such task instance, because its run or its DAG was deleted."""


def is_over(state: str) -> bool:
    """Whether neither a task instance in this state nor any other task of its run needs the deployment any more."""
    return state in _OVER or state == ABSENT


class Ownership(str, Enum):
    """Whose a deployment is, for a task that is about to create it."""

    THIS_TASK = "this_task"
    EARLIER_RUN = "earlier_run"
    """The same task's in a run that is over or unknown. Only a ``deployment_id`` is the same in all runs."""
    OTHER = "other"


@dataclass(frozen=True)
class Owner:
    """
    A task instance, as the owner of what it creates.

    :ivar map_index: -1 for a task that is not mapped.
    :ivar airflow: base URL of its Airflow, ``""`` if that has none. Several Airflows may share an account.
    :ivar loop_index: iteration of its task loop (Airflow 3.4), ``None`` outside of loops. Unlike the task instance's
        id and its ``region_id``, it stays the same when the task is cleared.
    :ivar kept: whether the deployment was adopted from an earlier run, which had kept it.
    :ivar named: whether it has an id that the user chose, and so is meant to outlive its run.
    :ivar digest: of what was requested, to notice that arguments have changed since.

    The last three are part of the signature, but two owners that differ only in these are equal.
    """

    dag_id: str
    run_id: str
    task_id: str
    map_index: int = -1
    airflow: str = ""
    loop_index: int | None = None
    kept: bool = field(default=False, compare=False)
    named: bool = field(default=False, compare=False)
    digest: str = field(default="", compare=False)

    @classmethod
    def from_context(cls, context: Context) -> Owner:
        """Return the running task instance as an owner."""
        ti: Any = context["ti"]
        # Only Airflow 3.4 and later have task loops, and the key only inside of one.
        loop: Any = context.get("loop")
        url = conf.get("api", "base_url", fallback=None) or ""
        return cls(
            dag_id=ti.dag_id,
            run_id=ti.run_id,
            task_id=ti.task_id,
            map_index=-1 if ti.map_index is None else ti.map_index,
            airflow=url.rstrip("/")[:_MAX_URL],
            loop_index=None if loop is None else int(loop.index),
        )

    @classmethod
    def from_description(cls, description: str | None) -> Owner | None:
        """Parse the signature in a description, ``None`` unless a task of this provider signed it."""
        if not description or not description.startswith(_PREFIX) or len(description) > _MAX_DESCRIPTION:
            return None
        try:
            signed = json.loads(description.removeprefix(_PREFIX))
            loop_index = signed.get("loop_index")
            owner = cls(
                dag_id=str(signed["dag_id"]),
                run_id=str(signed["run_id"]),
                task_id=str(signed["task_id"]),
                map_index=int(signed["map_index"]),
                airflow=str(signed["airflow"]),
                loop_index=None if loop_index is None else int(loop_index),
                kept=signed.get("kept") is True,
                named=signed.get("named") is True,
                digest=str(signed.get("digest", "")),
            )
        except (AttributeError, ValueError, TypeError, KeyError, OverflowError, RecursionError):
            return None
        # Anybody can write a description. Ids that no task can have must reach no log and no XCom.
        return owner if str(owner).isprintable() else None

    @property
    def description(self) -> str:
        """The signature, as the description of what the task creates."""
        always = ("dag_id", "run_id", "task_id", "map_index", "airflow")
        signed = {
            name: value
            for name, value in asdict(self).items()
            if name in always or (value is not None and value is not False and value != "")
        }
        return _PREFIX + json.dumps(signed, ensure_ascii=False, separators=(",", ":"))

    @property
    def deployment_id(self) -> str:
        """
        The id of the deployment that the task creates unless it is given one.

        It is 1 to 63 of ``[a-z0-9-]``: as much of DAG and task as fits, and a hash.
        """
        parts = [self.dag_id, self.run_id, self.task_id, str(self.map_index)]
        if self.loop_index is not None:
            parts.append(str(self.loop_index))
        # None of them has a NUL, so a_b and c do not make the same hash as a and b_c.
        digest = hashlib.sha256("\x00".join(parts).encode()).hexdigest()[:_HASH_DIGITS]
        readable = re.sub(r"[^a-z0-9]+", "-", f"{self.dag_id}-{self.task_id}".lower())
        readable = readable[: _MAX_ID - _HASH_DIGITS - 1].strip("-")
        return f"{readable}-{digest}" if readable else digest

    def same_task(self, other: Owner) -> bool:
        """Whether both are the same task, in whatever runs of its DAG."""
        return replace(self, run_id="") == replace(other, run_id="")

    def same_run(self, other: Owner) -> bool:
        """Whether both are in one run of a DAG, in the same Airflow."""
        return (self.dag_id, self.run_id, self.airflow) == (other.dag_id, other.run_id, other.airflow)

    def created(self, description: str | None) -> bool:
        """
        Whether this task created what has this description, so that it may delete it.

        A deployment that it adopted from an earlier run is marked as kept, and is not its own to delete.
        """
        signed = Owner.from_description(description)
        return signed == self and not signed.kept

    def __str__(self) -> str:
        index = f"[{self.map_index}]" if self.map_index >= 0 else ""
        where = f" of {self.airflow}" if self.airflow else ""
        iteration = "" if self.loop_index is None else f", loop iteration {self.loop_index}"
        return f"task {self.task_id}{index} of DAG {self.dag_id}, run {self.run_id}{iteration}{where}"
