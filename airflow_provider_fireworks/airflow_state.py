"""Asks Airflow for the states of runs and tasks, to decide whether what they created may still be in use."""

from __future__ import annotations

import logging
from contextlib import suppress
from enum import Enum
from threading import Thread
from typing import TYPE_CHECKING, Any

from asgiref.sync import sync_to_async

from airflow_provider_fireworks.deployments.ownership import ABSENT, is_over

if TYPE_CHECKING:
    from airflow_provider_fireworks.deployments.ownership import Owner

_log = logging.getLogger(__name__)

RUNNING = "running"
"""The state of a task instance whose process is killed although nobody changed its state: an eviction, a shutdown."""

_TRY_KEY = "try_number"
FOR_NEXT_TRY = "for the next try, which adopts it"
"""What :func:`reason_to_keep` returns if a retry is left."""


class RunState(str, Enum):
    """Whether a run may still use what its tasks created."""

    ACTIVE = "active"
    ENDED = "ended"
    UNKNOWN = "unknown"
    """Airflow does not have the run, perhaps no longer."""


def run_state(ti: Any, dag_id: str, run_id: str) -> RunState:
    """
    Ask Airflow for the state of a run, of any DAG.

    :param ti: the running task instance, for its ``get_dr_count``.
    """
    if ti.get_dr_count(dag_id, run_ids=[run_id], states=["queued", "running"]):
        return RunState.ACTIVE
    return RunState.ENDED if ti.get_dr_count(dag_id, run_ids=[run_id]) else RunState.UNKNOWN


def parse_task_state(response: object, owner: Owner) -> str | None:
    """
    Return the state of one task instance from what ``RuntimeTaskInstance.get_task_states`` returned.

    :param response: ``{run_id: {"task_id" or "task_id_index": state}}``.
    :returns: the state (``"none"`` if the task instance has no state yet), ``ABSENT`` if Airflow has no such task
        instance, ``None`` if the response does not say.
    """
    # For a task in a loop, Airflow returns the state of the latest iteration, which may be another one.
    if not isinstance(response, dict) or owner.loop_index is not None:
        return None
    states = response.get(owner.run_id, {})
    if not isinstance(states, dict):
        return None
    key = owner.task_id if owner.map_index < 0 else f"{owner.task_id}_{owner.map_index}"
    if key not in states:
        return ABSENT
    return "none" if states[key] is None else str(states[key])


def task_state_in_worker(ti: Any, owner: Owner, *, timeout: float) -> str | None:
    """
    Ask Airflow for the state of the task that runs in this process and is being killed.

    The signal may have interrupted a request to Airflow. Its channel is then locked for ever, or still holds the
    response to that request. So a thread asks, and the response is used only if it is about this task instance alone.
    After ``None``, nothing more may be sent to Airflow.

    :param ti: the running task instance.
    :param timeout: seconds.
    :returns: the state, ``None`` without a usable response.
    """
    responses: list[object] = []

    def query() -> None:
        with suppress(Exception):
            responses.append(ti.get_task_states(**_query(owner)))

    thread = Thread(target=query, daemon=True)
    thread.start()
    thread.join(timeout)
    response = responses[0] if responses else None
    if not isinstance(response, dict) or len(response.get(owner.run_id) or ()) != 1:
        return None
    state = parse_task_state(response, owner)
    # A task that runs here exists, so a response without it is about something else.
    return None if state == ABSENT else state


def reason_to_keep(
    ti: Any, owner: Owner, *, delete_on_failure: bool, delete_on_kill: bool, timeout: float
) -> str | None:
    """
    Return why a task that is being killed keeps what it has created, to follow "is kept" in a message.

    :param ti: the running task instance.
    :param timeout: seconds to ask Airflow for its state.
    :returns: ``None`` if it is to be deleted, because no other try and no other task will use it.
    """
    state = task_state_in_worker(ti, owner, timeout=timeout)
    if state == RUNNING:
        # Nobody changed its state: an eviction or a shutdown ends its process.
        if has_retry(ti):
            return FOR_NEXT_TRY
        delete = delete_on_failure
    else:
        delete = delete_on_kill and state is not None and is_over(state)
    if delete:
        return None
    if state is None:
        return "because Airflow did not say whether it will still be used"
    return f"because the state of its task is {state}"


def has_retry(ti: Any) -> bool:
    """Whether a task has a retry left after the running try."""
    return bool(ti.try_number <= ti.max_tries)


def mark_try(ti: Any) -> None:
    """
    Push the number of the running try as an XCom, for :func:`is_latest_try`.

    Airflow deletes it, like all XComs of a task, when another try of the task begins.
    """
    ti.xcom_push(key=_TRY_KEY, value=ti.try_number)


def is_latest_try(ti: Any) -> bool:
    """
    Ask Airflow whether no other try of the task has begun since :func:`mark_try`.

    A worker that Airflow has lost contact with may run for hours after its task has failed, was cleared, and began
    again elsewhere.
    """
    number = ti.xcom_pull(task_ids=ti.task_id, key=_TRY_KEY, map_indexes=ti.map_index)
    return bool(number == ti.try_number)


async def task_state_in_triggerer(owner: Owner) -> str | None:
    """
    Ask Airflow for the state of a task whose trigger is cancelled (Airflow 3.3 and later).

    :returns: the state, ``ABSENT`` if there is no such task instance, ``None`` without a response.
    """

    def query() -> object:
        # The first import in a triggerer takes seconds, so it must not run on the event loop.
        from airflow.sdk.execution_time.task_runner import RuntimeTaskInstance

        return RuntimeTaskInstance.get_task_states(**_query(owner))

    try:
        return parse_task_state(await sync_to_async(query)(), owner)
    except Exception as error:
        _log.warning("Airflow did not return the state of %s: %s", owner, error or type(error).__name__)
        return None


def _query(owner: Owner) -> dict[str, Any]:
    return {
        "dag_id": owner.dag_id,
        "map_index": owner.map_index,
        "task_ids": [owner.task_id],
        "run_ids": [owner.run_id],
    }
