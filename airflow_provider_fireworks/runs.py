"""What Airflow says of runs and task instances: whether a deployment that was created there may still be in use."""

from __future__ import annotations

import logging
from contextlib import suppress
from enum import Enum
from threading import Thread
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from airflow_provider_fireworks.identity import Identity

_log = logging.getLogger(__name__)

WORKER_QUERY_TIMEOUT = 1.5
"""Seconds that a killed task waits for Airflow's answer: SIGKILL follows five seconds after the first signal."""

RUNNING = "running"
"""The state of a task instance whose process is ended although nobody acted on the task: an eviction, a shutdown."""
ABSENT = "absent"
"""Stands for the state of a task instance that Airflow does not have: its run or its DAG was deleted."""

_OVER = frozenset({"failed", "skipped", "upstream_failed", "removed", ABSENT})
"""
States after which no other try and no other task of the run uses what the task created.

``dagrun_timeout`` and ``fail_fast`` set ``skipped``. After ``success`` the tasks downstream use it, and any other
state leads to another try, or is one that this package does not know.
"""


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


def is_over(state: str) -> bool:
    """Whether a task instance in this state needs its deployment no more: no other try, no other task uses it."""
    return state in _OVER


def parse_state(answer: object, identity: Identity) -> str | None:
    """
    Return the state of one task instance from what ``RuntimeTaskInstance.get_task_states`` answers.

    :param answer: ``{run_id: {"task_id" or "task_id_index": state}}``.
    :returns: the state (``"none"`` for one that has none yet), :data:`ABSENT` if Airflow has no such task instance,
        ``None`` if this is no answer to the question.
    """
    # Of a task in a loop, Airflow reports the latest pass, which may be another one.
    if not isinstance(answer, dict) or identity.loop_index is not None:
        return None
    of_run = answer.get(identity.run_id, {})
    if not isinstance(of_run, dict):
        return None
    key = identity.task_id if identity.map_index < 0 else f"{identity.task_id}_{identity.map_index}"
    if key not in of_run:
        return ABSENT
    return "none" if of_run[key] is None else str(of_run[key])


def state_in_worker(ti: Any, identity: Identity) -> str | None:
    """
    Ask Airflow for the state of the task that runs here and is being killed.

    The signal may have interrupted a request to Airflow, whose channel is then locked for ever, or still holds the
    response to that request. So the question is asked in a thread, waits for :data:`WORKER_QUERY_TIMEOUT` only, and
    counts only where the answer holds just this task instance. After ``None``, nothing more may be sent to Airflow.

    :param ti: the running task instance.
    :returns: the state, ``None`` if Airflow gave no answer that counts.
    """
    answers: list[object] = []

    def ask() -> None:
        with suppress(Exception):
            answers.append(ti.get_task_states(**_question(identity)))

    thread = Thread(target=ask, daemon=True)
    thread.start()
    thread.join(WORKER_QUERY_TIMEOUT)
    answer = answers[0] if answers else None
    if not isinstance(answer, dict) or len(answer.get(identity.run_id) or ()) != 1:
        return None
    state = parse_state(answer, identity)
    return None if state == ABSENT else state


async def state_in_triggerer(identity: Identity) -> str | None:
    """
    Ask Airflow for the state of a task whose trigger is cancelled (Airflow 3.3 and later).

    :returns: the state, :data:`ABSENT` if there is no such task instance, ``None`` if Airflow gave no answer.
    """
    from asgiref.sync import sync_to_async

    def ask() -> object:
        # Takes seconds when nothing in this triggerer has imported it yet.
        from airflow.sdk.execution_time.task_runner import RuntimeTaskInstance

        return RuntimeTaskInstance.get_task_states(**_question(identity))

    try:
        return parse_state(await sync_to_async(ask)(), identity)
    except Exception as error:
        _log.warning(
            "Airflow could not be asked for the state of %s: %s", identity, error or type(error).__name__
        )
        return None


def _question(identity: Identity) -> dict[str, Any]:
    return {
        "dag_id": identity.dag_id,
        "map_index": identity.map_index,
        "task_ids": [identity.task_id],
        "run_ids": [identity.run_id],
    }
