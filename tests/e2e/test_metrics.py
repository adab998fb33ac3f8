"""Metrics of waits arrive where Airflow sends its own."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from local_airflow.api import poll_until

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable

    from airflow_provider_fireworks.emulator import Emulator
    from local_airflow.components import LocalAirflow


@pytest.fixture
def metrics(statsd: socket.socket) -> Callable[[], dict[str, list[float]]]:
    """Return the values that Airflow has sent since the test began, by name."""

    def read() -> dict[str, list[float]]:
        values: dict[str, list[float]] = {}
        while True:
            try:
                packet = statsd.recv(65536).decode()
            except BlockingIOError:
                return values
            for line in packet.splitlines():
                name, _, value = line.removeprefix("airflow.").partition(":")
                values.setdefault(name, []).append(float(value.partition("|")[0]))

    read()
    return read


def test_metrics_of_waits_are_sent_to_statsd(
    airflow: LocalAirflow,
    emulator: Emulator,
    finish: Callable[..., None],
    metrics: Callable[[], dict[str, list[float]]],
) -> None:
    emulator.configure(precision_lists="present", duration=8)
    run = airflow.trigger("prepare_with_connection")
    poll_until(
        lambda: emulator.count("POST", ":prepare") == 2,
        timeout=90,
        what="both prepare requests",
        meanwhile=airflow.check,
    )
    emulator.fault("status", status=429, times=1, method="GET", path="/models/my-model")
    finish("prepare_with_connection", run)

    seen = metrics()
    of_prepare = 2  # Each reads the model once before its POST, which is not a wait.
    requests = emulator.count("GET", "/models/my-model") - of_prepare
    # Two waits for one model may share a request, also the one that is refused, and each counts its own poll.
    assert requests <= len(seen.pop("fireworks.polls")) <= 2 * requests
    assert len(seen.pop("fireworks.throttled")) in (1, 2)
    longest = max(seen["fireworks.wait_duration"])
    assert 0 < longest < 60_000
    assert {name: len(values) for name, values in seen.items()} == {
        "fireworks.waits_ended.ready": 2,
        "fireworks.wait_duration": 2,
    }


def test_metrics_of_failed_waits_are_not_those_of_ready_ones(
    airflow: LocalAirflow,
    emulator: Emulator,
    finish: Callable[..., None],
    metrics: Callable[[], dict[str, list[float]]],
) -> None:
    emulator.configure(precision_lists="present", duration=2, outcome="failed_status")

    run = airflow.trigger("prepare_with_connection")
    finish("prepare_with_connection", run, "failed")

    seen = metrics()
    assert sum(seen["fireworks.waits_ended.failed"]) == 2
    assert "fireworks.waits_ended.ready" not in seen
