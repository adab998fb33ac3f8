"""Faults without a response: names, connections, certificates, proxies and the clock."""

from __future__ import annotations

import json
import socket
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Timer
from typing import Any

import pytest

from airflow_provider_fireworks.client import async_client
from tests.faults.cases import Case, Frequency, expected
from tests.faults.cell import BUSY, SHORT_TIMEOUT, TIMEOUT, Row
from tests.faults.network import NOT_LOOPBACK, Attempts, Clock, Proxy, TlsServer, create_certificate, spy_on
from tests.faults.scenarios import SCENARIOS, Scenario

CLOCK = "503, clock set back 1 s"
SET_BACK = 1.0
"""Seconds by which the clock is set back."""
BACK_SOON = "connection refused, then back"


class Environment:
    """What a fault may change until the end of its cell."""

    def __init__(self, emulator: Any, monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
        self.emulator, self.folder = emulator, folder
        self.set, self.setenv = monkeypatch.setattr, monkeypatch.setenv

    def set_base_url(self, url: str) -> None:
        connection = {**json.loads(self.emulator.connection), "host": url}
        self.setenv("AIRFLOW_CONN_FIREWORKS_DEFAULT", json.dumps(connection))

    @property
    def port(self) -> int:
        return int(self.emulator.url.rpartition(":")[2])


# Each yields the times of the attempts to reach the API, or None if the emulator records them.


@contextmanager
def unknown_name(environment: Environment) -> Iterator[list[float]]:
    attempts = Attempts()
    name = "emulator.invalid"
    lookup = spy_on(socket.getaddrinfo, lambda host, *_: host in (name, name.encode()), attempts)
    environment.set(socket, "getaddrinfo", lookup)
    environment.set_base_url(f"https://{name}")
    yield attempts


@contextmanager
def connection_refused(environment: Environment) -> Iterator[list[float]]:
    attempts = Attempts()
    environment.emulator.stop()
    connect = spy_on(socket.socket.connect, lambda _, address: address[1] == environment.port, attempts)
    environment.set(socket.socket, "connect", connect)
    yield attempts


@contextmanager
def connection_refused_for_a_moment(environment: Environment) -> Iterator[None]:
    environment.emulator.stop()
    start = Timer(0.3, environment.emulator.start)
    start.start()
    try:
        yield
    finally:
        start.join()


@contextmanager
def untrusted_certificate(environment: Environment) -> Iterator[list[float]]:
    with TlsServer(create_certificate(environment.folder), environment.port) as server:
        environment.set_base_url(f"https://127.0.0.1:{server.port}")
        yield server.attempts


@contextmanager
def proxy(
    environment: Environment, *, refuses: bool = False, bypassed: bool = False
) -> Iterator[list[float]]:
    """Put the API behind trusted TLS, at an address for which the environment names a proxy."""
    pem = create_certificate(environment.folder)
    environment.setenv("REQUESTS_CA_BUNDLE", str(pem))
    environment.setenv("SSL_CERT_FILE", str(pem))
    async_client._tls_context.cache_clear()
    try:
        with TlsServer(pem, environment.port) as server, Proxy(refuses=refuses) as used:
            environment.setenv("HTTPS_PROXY", f"http://127.0.0.1:{used.port}")
            if bypassed:
                environment.setenv("NO_PROXY", NOT_LOOPBACK)
            environment.set_base_url(f"https://{NOT_LOOPBACK}:{server.port}")
            yield used.attempts
            assert bool(used.attempts) is not bypassed
            assert bool(server.attempts) is not refuses
    finally:
        async_client._tls_context.cache_clear()


@contextmanager
def proxy_that_refuses(environment: Environment) -> Iterator[list[float]]:
    with proxy(environment, refuses=True) as attempts:
        yield attempts


@contextmanager
def bypassed_proxy(environment: Environment) -> Iterator[None]:
    with proxy(environment, bypassed=True):
        yield


@contextmanager
def proxy_for_loopback(environment: Environment) -> Iterator[None]:
    with Proxy(refuses=True) as unused:
        for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY"):
            environment.setenv(name, f"http://127.0.0.1:{unused.port}")
        yield
        assert not unused.attempts


@contextmanager
def clock_set_back(environment: Environment) -> Iterator[None]:
    """Set the clock back during the wait, in the provider's modules only."""
    clock = Clock()
    for name, module in list(sys.modules.items()):
        is_ours = name.startswith("airflow_provider_fireworks.") and ".emulator" not in name
        if is_ours and getattr(module, "time", None) is time:
            environment.set(module, "time", clock)
    environment.emulator.fault("status", times=-1)
    timer = Timer(SHORT_TIMEOUT / 2, setattr, (clock, "set_back", SET_BACK))
    timer.start()
    try:
        yield
        assert clock.was_read_after_it, "the clock was not read after it was set back"
    finally:
        timer.join()


FAULTS: dict[str, tuple[Callable[[Environment], Any], Frequency]] = {
    "DNS: no such name": (unknown_name, Frequency.LASTING),
    "connection refused": (connection_refused, Frequency.LASTING),
    BACK_SOON: (connection_refused_for_a_moment, Frequency.TEMPORARY),
    "TLS: certificate not trusted": (untrusted_certificate, Frequency.LASTING),
    "HTTPS_PROXY": (proxy, Frequency.TEMPORARY),
    "HTTPS_PROXY, which refuses": (proxy_that_refuses, Frequency.LASTING),
    "HTTPS_PROXY, but NO_PROXY": (bypassed_proxy, Frequency.TEMPORARY),
    "HTTP_PROXY, but on this machine": (proxy_for_loopback, Frequency.TEMPORARY),
    CLOCK: (clock_set_back, Frequency.LASTING),
}
ALWAYS_RUN = {("get model", "worker"), ("get model", "trigger"), ("create", "worker")}


def cells() -> Iterator[Any]:
    for fault in FAULTS:
        for scenario in SCENARIOS:
            does_not_wait = fault in (BACK_SOON, CLOCK) and scenario.request == "list"
            if scenario.is_read_of_an_operator or does_not_wait:
                continue
            for way in scenario.ways:
                marks = [] if (scenario.request, way) in ALWAYS_RUN else [pytest.mark.whole_matrix]
                yield pytest.param(
                    scenario, way, fault, id=f"{scenario.request} - {way} - {fault}", marks=marks
                )


@pytest.mark.parametrize(("scenario", "way", "fault"), [*cells()])
def test_cell(
    scenario: Scenario,
    way: str,
    fault: str,
    emulator: Any,
    table: Any,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    set_up, frequency = FAULTS[fault]
    scenario.prepare(emulator)
    result = expected(scenario.request, way, Case(fault, {}), frequency, after_effect=False)
    row = Row(scenario.request, way, fault, result)
    with set_up(Environment(emulator, monkeypatch, tmp_path)) as attempts:
        row.run(scenario, SHORT_TIMEOUT if frequency is Frequency.LASTING else TIMEOUT)
    times = attempts or [request.at for request in emulator.requests]
    row.measure(scenario, emulator, times)
    table(row)

    # A name server may take long to respond, and no timeout limits that.
    lookups = getattr(attempts, "took", 0.0)
    row.check(times, longest_request=lookups)
    if frequency is Frequency.LASTING:
        assert row.lasted < SHORT_TIMEOUT + SET_BACK + lookups + BUSY
        assert attempts or fault == CLOCK
        assert fault == CLOCK or not emulator.requests
    else:
        assert scenario.done(emulator)
