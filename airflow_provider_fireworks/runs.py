"""What Airflow says of a DAG run: whether a deployment that was made in it may still be in use."""

from __future__ import annotations

from enum import Enum
from typing import Any


class RunState(str, Enum):
    """Whether a run may still use what its tasks have made."""

    GOING = "going on"
    ENDED = "ended"
    UNKNOWN = "unknown"
    """This Airflow has no such run (any more)."""


def run_state(ti: Any, dag_id: str, run_id: str) -> RunState:
    """
    Ask Airflow for the state of a run of any DAG.

    :param ti: the running task instance, which has Airflow's ``get_dr_count``.
    """
    if ti.get_dr_count(dag_id, run_ids=[run_id], states=["queued", "running"]):
        return RunState.GOING
    return RunState.ENDED if ti.get_dr_count(dag_id, run_ids=[run_id]) else RunState.UNKNOWN
