"""Every duration that this package does not take from its users, in one place."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Timing:
    """
    Durations in seconds, with the reason for each default.

    Operators, sensors, triggers and the hook each have one as their class attribute ``timing`` and hand it to whatever
    they use. Tests replace it by a faster one; users have no reason to.
    """

    # One HTTP request.
    connect_timeout: float = 5.0
    read_timeout: float = 60.0
    """Of silence. A response that trickles in never reaches it, hence the next one."""
    response_timeout: float = 120.0
    """For a complete response."""
    list_timeout: float = 600.0
    """After which no further page of a list is requested."""
    first_retry_delay: float = 0.5
    """Doubles with every failure in a row."""
    min_retry_delay: float = 1.0
    """Between two attempts of one request: no task sends them faster than that."""
    max_retry_delay: float = 8.0
    max_retry_after: float = 60.0
    """The API may ask for a longer pause. It is not trusted with more at once."""
    connection_test_timeout: float = 9.0
    """Airflow's UI gives up on its Test button after some ten."""
    connection_ttl: float = 60.0
    """After which the triggerer reads the connection again, so that a replaced key reaches all waits."""

    # One wait.
    min_poll_delay: float = 1.0
    """However short the user's interval is."""
    max_poll_backoff: float = 60.0
    """While requests fail."""
    misdirected_timeout: float = 300.0
    """For a Base URL that leads elsewhere, as long as the API has not responded once: time to fix a proxy or a name."""
    log_interval: float = 300.0
    """Between two log lines of a wait that sees no change."""
    first_trigger_delay: float = 6.0
    """
    Before a trigger's first poll. The worker has just polled, and a trigger that fires within five seconds of its
    task's deferral can fail the task (apache/airflow#71580).
    """
    deferral_slack: float = 120.0
    """By which a deferral outlasts the deadline, so that the trigger's own timeout, which says more, comes first."""

    # Preparing and deploying.
    preparation_start: float = 300.0
    """That a preparation may take to begin, before a model on which nothing changes is judged."""
    visibility_lag: float = 30.0
    """For which a preparation or a deployment that the API has accepted may not be visible yet."""
    min_pause: float = 1.0
    """Between two polls for what must change before the next request can be sent …"""
    max_pause: float = 10.0
    """… and at most, however long the poll interval is."""

    # Deleting.
    min_delete_delay: float = 1.0
    """Between two attempts to delete a deployment …"""
    max_delete_delay: float = 8.0
    """… and at most, unless the API asks for more."""
    cleanup_timeout: float = 60.0
    """For a task that fails to delete what it created, over transient errors."""
    kill_cleanup_timeout: float = 3.0
    """The same for a task that is killed: SIGKILL follows five seconds after the first signal."""
    kill_request_timeout: float = 1.5
    """For one request of that clean-up, and for Airflow's response to it."""
    trigger_cleanup_timeout: float = 25.0
    """For the clean-up in a trigger's ``on_kill``, which Airflow gives 30: ``[triggerer] on_kill_timeout``."""
    trigger_request_timeout: float = 5.0
    """For one request of that."""
    sweep_timeout: float = 30.0
    """For the sweep to delete one deployment, over transient errors."""


DEFAULT_TIMING = Timing()
