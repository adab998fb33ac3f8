"""Every duration that this package does not take from its users, in one place."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Timing:
    """
    Durations in seconds, with the reason for each default.

    The hook, the operators, the sensors and the triggers each have one as their class attribute ``timing`` and pass it
    on to whatever they use. Tests replace it with a faster one; users have no reason to.
    """

    # One HTTP request.
    connect_timeout: float = 5.0
    """The longest time to establish a connection."""
    read_timeout: float = 60.0
    """The longest silence in a response. One that trickles in never reaches it, hence ``response_timeout``."""
    response_timeout: float = 120.0
    """The longest time for one request, up to the last byte of its response."""
    list_timeout: float = 600.0
    """The longest time to read all pages of a list."""
    first_retry_delay: float = 0.5
    """The exponential backoff after the first failure. It doubles with every further failure in a row."""
    min_retry_delay: float = 1.0
    """The shortest delay between two attempts of one request, so that no task sends requests faster than this."""
    max_retry_delay: float = 8.0
    """The longest delay between two attempts of one request, unless the API asks for more."""
    max_retry_after: float = 60.0
    """The longest delay that the API may ask for. A longer one is shortened to this, in case it is a mistake."""
    connection_test_timeout: float = 9.0
    """The longest time for a connection test. Airflow's UI stops waiting after about ten seconds."""
    connection_test_connect_timeout: float = 3.0
    """As ``connect_timeout``, in a connection test …"""
    connection_test_response_timeout: float = 5.0
    """… and as ``response_timeout``: in total less than the test's own timeout, whose message says less."""
    connection_ttl: float = 60.0
    """The interval at which the triggerer reads a connection again, so that all waits use a replaced key."""

    # One wait.
    min_poll_delay: float = 1.0
    """The shortest delay between two polls, even if the user's interval is shorter."""
    max_poll_backoff: float = 60.0
    """The longest delay between two polls while requests fail."""
    misdirected_timeout: float = 300.0
    """
    After this time a wait fails if the Base URL leads elsewhere and the API has never responded. It leaves time to
    repair a proxy or a DNS name.
    """
    log_interval: float = 300.0
    """The interval between two log lines of a wait that sees no change."""
    first_trigger_delay: float = 6.0
    """
    The delay before a trigger's first poll. The worker has just polled, and a trigger that fires within five seconds of
    its task's deferral can fail the task (apache/airflow#71580).
    """
    last_poll_timeout: float = 60.0
    """
    How long after its deadline a trigger's last poll may end. Polls of a connection queue for their turn after a 429.
    """
    deferral_slack: float = 120.0
    """How much later than the deadline a deferral times out, so that the trigger's own, clearer timeout comes first."""

    # Preparing, deploying and routing.
    preparation_start: float = 300.0
    """The time for a preparation to begin. Until then, a model that does not change counts as pending."""
    visibility_lag: float = 30.0
    """How long something that the API has created or begun may not be visible yet."""
    termination_message_timeout: float = 10.0
    """The time to ask why a deployment has failed. The task fails anyway, and may still have to delete it."""
    min_pause: float = 1.0
    """The shortest delay between two polls for what has to change before the next request can be sent …"""
    max_pause: float = 10.0
    """… and the longest, even if the poll interval is longer."""

    # Uploading.
    upload_log_interval: float = 10.0
    """The interval between two log lines about the progress of an upload."""
    upload_check_interval: float = 0.5
    """The interval at which an upload checks whether the task is killed or its time is over."""
    upload_stop_timeout: float = 0.5
    """How long a failed or killed upload waits until the other files have stopped as well."""
    validation_lag: float = 1800.0
    """
    How long the API may refuse to validate an upload with the same message, as if files were missing, although all are
    uploaded. How long it takes the API to see the files of the largest models is not known.
    """

    # Deleting.
    model_release_timeout: float = 120.0
    """How long a model is not deleted because of deployments that are gone: up to a minute was observed."""
    min_delete_delay: float = 1.0
    """The shortest delay between two attempts to delete a deployment or a model …"""
    max_delete_delay: float = 8.0
    """… and the longest, unless the API asks for more."""
    cleanup_timeout: float = 60.0
    """The time for a failing task to delete what it created, over transient errors."""
    kill_cleanup_timeout: float = 3.0
    """The same for a task that is killed: SIGKILL follows five seconds after the first signal."""
    kill_request_timeout: float = 1.5
    """The timeout of one request in that clean-up, and of asking Airflow for the task's state."""
    trigger_cleanup_timeout: float = 25.0
    """The time for the clean-up in a trigger's ``on_kill``. Airflow's own limit is 30 s (``on_kill_timeout``)."""
    trigger_request_timeout: float = 5.0
    """The timeout of one request in that clean-up."""
    sweep_timeout: float = 30.0
    """The time for the sweep to delete one deployment, over transient errors."""

    def pause(self, poll_interval: float) -> float:
        """Return the delay between two polls for what has to change before the next request can be sent."""
        return max(min(poll_interval, self.max_pause), self.min_pause)


DEFAULT_TIMING = Timing()
