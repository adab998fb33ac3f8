"""States of a task instance that Airflow may return when the task is killed."""

from __future__ import annotations

from typing import Any

from tests import task_states
from tests.integration.creating import OWNER
from tests.task_states import OVER as OVER

MONEY = "IT MAY COST MONEY"

# Airflow returns no state for a task that has none yet.
IN_USE = [*task_states.IN_USE, None]


def response_with(state: Any) -> dict[str, Any]:
    """Return what ``get_task_states`` returns if the task has this state."""
    return {OWNER.run_id: {OWNER.task_id: state}}
