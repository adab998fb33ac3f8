"""States of a task instance that Airflow may return when the task is killed."""

from __future__ import annotations

from typing import Any

from tests.integration.creating import OWNER

MONEY = "IT MAY COST MONEY"

OVER = ["failed", "skipped", "upstream_failed", "removed"]
IN_USE = [
    "success",
    "deferred",
    "running",
    "restarting",
    "queued",
    "scheduled",
    "up_for_retry",
    "up_for_reschedule",
    None,
    "a_state_of_a_later_airflow",
]


def response_with(state: Any) -> dict[str, Any]:
    """Return what ``get_task_states`` returns if the task has this state."""
    return {OWNER.run_id: {OWNER.task_id: state}}
