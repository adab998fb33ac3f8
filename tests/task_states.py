"""The states of a task instance, by whether the deployment that it created may still be used."""

from __future__ import annotations

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
    "awaiting_input",
    "a_state_of_a_later_airflow",
]
