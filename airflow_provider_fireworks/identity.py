"""
Which task a deployment belongs to.

The identity of a task instance (DAG, run, task and map index, never the number of the try) makes the id of the
deployment that it creates, and stands in the deployment's description. So a retry finds what an earlier try
has made, a foreign deployment is told from an own one, and one that was left behind from one that is in use.
"""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import asdict, dataclass, field, replace
from typing import Any

_PREFIX = "Created by Apache Airflow: "
_LONGEST_ID = 63
_HASH_DIGITS = 12
_LONGEST_DESCRIPTION = 2000
_LONGEST_URL = 100
"""Of Airflow's URL, so that a description stays below the gateway's 1000 characters, however long the ids are."""


@dataclass(frozen=True)
class Identity:
    """
    A task instance, as it signs what it creates.

    :ivar map_index: -1 for a task that is not mapped.
    :ivar airflow: base URL of the Airflow that it runs in, ``""`` where that has none: several may share an
        account.
    :ivar kept: whether what it signs was taken over from an earlier run, which had kept it.
    """

    dag_id: str
    run_id: str
    task_id: str
    map_index: int = -1
    airflow: str = ""
    kept: bool = field(default=False, compare=False)

    @classmethod
    def of(cls, ti: Any) -> Identity:
        """Return the identity of a running task instance."""
        from airflow.providers.common.compat.sdk import conf

        url = conf.get("api", "base_url", fallback=None) or ""
        map_index = -1 if ti.map_index is None else ti.map_index
        return cls(ti.dag_id, ti.run_id, ti.task_id, map_index, url.rstrip("/")[:_LONGEST_URL])

    @classmethod
    def of_description(cls, description: str | None) -> Identity | None:
        """Return who signed a deployment, ``None`` where no task of this provider did."""
        if not description or not description.startswith(_PREFIX) or len(description) > _LONGEST_DESCRIPTION:
            return None
        try:
            signed = json.loads(description.removeprefix(_PREFIX))
            found = cls(
                dag_id=str(signed["dag_id"]),
                run_id=str(signed["run_id"]),
                task_id=str(signed["task_id"]),
                map_index=int(signed["map_index"]),
                airflow=str(signed["airflow"]),
                kept=signed.get("kept") is True,
            )
        except (AttributeError, ValueError, TypeError, KeyError, OverflowError, RecursionError):
            return None
        # Anybody can write a description. What no task has for an id goes into no log and no XCom.
        return found if str(found).isprintable() else None

    @property
    def description(self) -> str:
        """The signature, for the description of what the task creates."""
        signed = asdict(self)
        if not self.kept:
            del signed["kept"]
        return _PREFIX + json.dumps(signed, ensure_ascii=False)

    @property
    def deployment_id(self) -> str:
        """
        The id of the deployment that the task creates unless it is given one.

        1 to 63 of ``[a-z0-9-]``: DAG and task in clear, as far as there is room, and a hash of the identity.
        """
        parts = (self.dag_id, self.run_id, self.task_id, str(self.map_index))
        # A separator that is in none of them, since a_b and c must not make the same as a and b_c.
        digest = hashlib.sha256("\x00".join(parts).encode()).hexdigest()[:_HASH_DIGITS]
        told = re.sub(r"[^a-z0-9]+", "-", f"{self.dag_id}-{self.task_id}".lower())
        told = told[: _LONGEST_ID - _HASH_DIGITS - 1].strip("-")
        return f"{told}-{digest}" if told else digest

    def same_task(self, other: Identity) -> bool:
        """Whether both are of one task, in whatever runs of its DAG."""
        return replace(self, run_id="") == replace(other, run_id="")

    def __str__(self) -> str:
        index = f"[{self.map_index}]" if self.map_index >= 0 else ""
        where = f" of {self.airflow}" if self.airflow else ""
        return f"task {self.task_id}{index} of DAG {self.dag_id}, run {self.run_id}{where}"
