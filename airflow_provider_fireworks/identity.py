"""
Which task a deployment belongs to.

The identity of a task instance (DAG, run, task, map index and loop index, never the number of the try) makes the
id of the deployment that it creates, and is the signature in the deployment's description. So a retry finds what
an earlier try created, and a deployment of somebody else's is never touched. Identities are compared as parsed
objects, never as text.
"""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import asdict, dataclass, field, replace
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import Context

_PREFIX = "Created by Apache Airflow: "
_LONGEST_ID = 63
_HASH_DIGITS = 12
_LONGEST_DESCRIPTION = 2000
_LONGEST_URL = 70
"""Of Airflow's URL, so that a description stays below the gateway's 1000 characters, however long the ids are."""


@dataclass(frozen=True)
class Identity:
    """
    A task instance, as it signs what it creates.

    :ivar map_index: -1 for a task that is not mapped.
    :ivar airflow: base URL of the Airflow that it runs in, ``""`` where that has none: several may share an
        account.
    :ivar loop_index: iteration of the task loop that it runs in (Airflow 3.4), ``None`` outside of loops. Unlike
        the task instance's id and its ``region_id``, it is the same after a clear.
    :ivar kept: whether what it signs was adopted from an earlier run, which had kept it.
    :ivar named: whether it was created under an id that the user gave, and so is meant to outlive its run.
    :ivar digest: of what was requested, to notice that the arguments have changed since.

    The last three are part of the signature, but not of who signed it.
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
    def of(cls, context: Context) -> Identity:
        """Return the identity of the running task instance, from the context that its task is executed with."""
        from airflow.providers.common.compat.sdk import conf

        ti: Any = context["ti"]
        # Only Airflow 3.4 and later have task loops, and the key only inside of one.
        loop: Any = context.get("loop")
        url = conf.get("api", "base_url", fallback=None) or ""
        return cls(
            dag_id=ti.dag_id,
            run_id=ti.run_id,
            task_id=ti.task_id,
            map_index=-1 if ti.map_index is None else ti.map_index,
            airflow=url.rstrip("/")[:_LONGEST_URL],
            loop_index=None if loop is None else int(loop.index),
        )

    @classmethod
    def of_description(cls, description: str | None) -> Identity | None:
        """Parse the signature in a deployment's description; ``None`` where no task of this provider signed it."""
        if not description or not description.startswith(_PREFIX) or len(description) > _LONGEST_DESCRIPTION:
            return None
        try:
            signed = json.loads(description.removeprefix(_PREFIX))
            loop_index = signed.get("loop_index")
            found = cls(
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
        # Anybody can write a description. What no task has for an id goes into no log and no XCom.
        return found if str(found).isprintable() else None

    @property
    def description(self) -> str:
        """The signature, for the description of what the task creates."""
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

        1 to 63 of ``[a-z0-9-]``: DAG and task in clear, as far as there is room, and a hash of the identity.
        """
        parts = [self.dag_id, self.run_id, self.task_id, str(self.map_index)]
        if self.loop_index is not None:
            parts.append(str(self.loop_index))
        # A separator that is in none of them, since a_b and c must not make the same as a and b_c.
        digest = hashlib.sha256("\x00".join(parts).encode()).hexdigest()[:_HASH_DIGITS]
        told = re.sub(r"[^a-z0-9]+", "-", f"{self.dag_id}-{self.task_id}".lower())
        told = told[: _LONGEST_ID - _HASH_DIGITS - 1].strip("-")
        return f"{told}-{digest}" if told else digest

    def same_task(self, other: Identity) -> bool:
        """Whether both are of one task, in whatever runs of its DAG."""
        return replace(self, run_id="") == replace(other, run_id="")

    def same_run(self, other: Identity) -> bool:
        """Whether both are of one run of a DAG, in the same Airflow."""
        return (self.dag_id, self.run_id, self.airflow) == (other.dag_id, other.run_id, other.airflow)

    def created(self, description: str | None) -> bool:
        """
        Whether this task created the deployment of this description, so that it may also delete it.

        What it adopted from an earlier run that had kept it is marked ``kept``, and not its own to delete.
        """
        signed = Identity.of_description(description)
        return signed == self and not signed.kept

    def __str__(self) -> str:
        index = f"[{self.map_index}]" if self.map_index >= 0 else ""
        where = f" of {self.airflow}" if self.airflow else ""
        iteration = "" if self.loop_index is None else f", loop iteration {self.loop_index}"
        return f"task {self.task_id}{index} of DAG {self.dag_id}, run {self.run_id}{iteration}{where}"
