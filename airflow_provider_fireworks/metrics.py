"""What those who run Airflow see of the waits: Airflow's own ``Stats``, in a worker and in the triggerer alike."""

from __future__ import annotations

from datetime import timedelta

POLLS = "fireworks.polls"
"""Counter: answers of the gateway, or their absence, that a waiting task has judged."""
THROTTLED = "fireworks.throttled"
"""Counter: those among them that were 429 for too many requests."""
WAITS_ENDED = "fireworks.waits_ended"
"""Counter, with the verdict as the last part of its name: waits that are over."""
WAIT_DURATION = "fireworks.wait_duration"
"""Timer: from the first look to the end of a wait."""


def count_poll(tags: dict[str, str], *, throttled: bool) -> None:
    """
    Count a look at the gateway.

    :param tags: what is waited for, and until when.
    :param throttled: whether the gateway asked for fewer requests.
    """
    from airflow.providers.common.compat.sdk import Stats

    Stats.incr(POLLS, tags=tags)
    if throttled:
        Stats.incr(THROTTLED, tags=tags)


def count_end(tags: dict[str, str], *, verdict: str, seconds: float) -> None:
    """
    Count a wait that is over.

    :param tags: what was waited for, and until when.
    :param verdict: how it ended, as a verdict's outcome is called.
    :param seconds: that it lasted.
    """
    from airflow.providers.common.compat.sdk import Stats

    # Plain StatsD knows no tags, so the verdict is in the name as well.
    Stats.incr(f"{WAITS_ENDED}.{verdict}", tags=tags)
    Stats.timing(WAIT_DURATION, timedelta(seconds=seconds), tags={**tags, "verdict": verdict})
