"""The cells that no answer of the API makes: names, connections, certificates, proxies and the clock."""

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
from tests.faults.cases import Case, Lasts, expected
from tests.faults.cell import BUSY, SHORT_TIMEOUT, TIMEOUT, Row
from tests.faults.network import NOT_LOOPBACK, Attempts, Clock, Proxy, TlsServer, certificate, spy_on
from tests.faults.scenarios import SCENARIOS, Scenario

CLOCK = "503, clock set back 1 s"
SET_BACK = 1.0
"""Seconds by which the clock is set back."""


class Place:
    """Where a cell takes place: what it may change, until the cell is over."""

    def __init__(self, emulator: Any, monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
        self.emulator, self.folder = emulator, folder
        self.set, self.setenv = monkeypatch.setattr, monkeypatch.setenv

    def move(self, url: str) -> None:
        """Let the connection lead elsewhere."""
        connection = {**json.loads(self.emulator.connection), "host": url}
        self.setenv("AIRFLOW_CONN_FIREWORKS_DEFAULT", json.dumps(connection))

    @property
    def port(self) -> int:
        return int(self.emulator.url.rpartition(":")[2])


@contextmanager
def no_such_name(place: Place) -> Iterator[list[float]]:
    met = Attempts()
    name = "emulator.invalid"
    looks_it_up = spy_on(socket.getaddrinfo, lambda host, *_: host in (name, name.encode()), met)
    place.set(socket, "getaddrinfo", looks_it_up)
    place.move(f"https://{name}")
    yield met


@contextmanager
def refused(place: Place) -> Iterator[list[float]]:
    met = Attempts()
    place.emulator.stop()
    knocks = spy_on(socket.socket.connect, lambda _, address: address[1] == place.port, met)
    place.set(socket.socket, "connect", knocks)
    yield met


@contextmanager
def refused_then_back(place: Place) -> Iterator[None]:
    place.emulator.stop()
    back = Timer(0.3, place.emulator.start)
    back.start()
    try:
        yield
    finally:
        back.join()


@contextmanager
def not_trusted(place: Place) -> Iterator[list[float]]:
    with TlsServer(certificate(place.folder), place.port) as server:
        place.move(f"https://127.0.0.1:{server.port}")
        yield server.met


@contextmanager
def behind_a_proxy(place: Place, *, refuses: bool = False, passed_by: bool = False) -> Iterator[list[float]]:
    """Behind TLS that is trusted, at an address for which the environment names a proxy."""
    pem = certificate(place.folder)
    place.setenv("REQUESTS_CA_BUNDLE", str(pem))
    place.setenv("SSL_CERT_FILE", str(pem))
    async_client._tls_context.cache_clear()
    try:
        with TlsServer(pem, place.port) as server, Proxy(refuses=refuses) as proxy:
            place.setenv("HTTPS_PROXY", f"http://127.0.0.1:{proxy.port}")
            if passed_by:
                place.setenv("NO_PROXY", NOT_LOOPBACK)
            place.move(f"https://{NOT_LOOPBACK}:{server.port}")
            yield proxy.met
            assert bool(proxy.met) is not passed_by
            assert bool(server.met) is not refuses
    finally:
        async_client._tls_context.cache_clear()


@contextmanager
def behind_a_proxy_that_refuses(place: Place) -> Iterator[list[float]]:
    with behind_a_proxy(place, refuses=True) as met:
        yield met


@contextmanager
def passed_by(place: Place) -> Iterator[None]:
    with behind_a_proxy(place, passed_by=True):
        yield


@contextmanager
def on_this_machine(place: Place) -> Iterator[None]:
    with Proxy(refuses=True) as proxy:
        for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY"):
            place.setenv(name, f"http://127.0.0.1:{proxy.port}")
        yield
        assert not proxy.met


@contextmanager
def clock_set_back(place: Place) -> Iterator[None]:
    """The clock is patched, where the provider reads it; the system's own is left alone."""
    clock = Clock()
    for name, module in list(sys.modules.items()):
        ours = name.startswith("airflow_provider_fireworks.") and ".emulator" not in name
        if ours and getattr(module, "time", None) is time:
            place.set(module, "time", clock)
    place.emulator.fault("status", times=-1)
    timer = Timer(SHORT_TIMEOUT / 2, setattr, (clock, "set_back", SET_BACK))
    timer.start()
    try:
        yield
        assert clock.asked, "it was not read after it was set back"
    finally:
        timer.join()


SET_UPS: dict[str, tuple[Callable[[Place], Any], Lasts]] = {
    "DNS: no such name": (no_such_name, Lasts.LASTING),
    "connection refused": (refused, Lasts.LASTING),
    "connection refused, then back": (refused_then_back, Lasts.PASSING),
    "TLS: certificate not trusted": (not_trusted, Lasts.LASTING),
    "HTTPS_PROXY": (behind_a_proxy, Lasts.PASSING),
    "HTTPS_PROXY, which refuses": (behind_a_proxy_that_refuses, Lasts.LASTING),
    "HTTPS_PROXY, but NO_PROXY": (passed_by, Lasts.PASSING),
    "HTTP_PROXY, but on this machine": (on_this_machine, Lasts.PASSING),
    CLOCK: (clock_set_back, Lasts.LASTING),
}
NO_WAIT = ("connection refused, then back", CLOCK)
SLICE = {("get model", "worker"), ("get model", "trigger"), ("create", "worker")}


def cells() -> Iterator[Any]:
    for name in SET_UPS:
        for scenario in SCENARIOS:
            if "look" in scenario.call or (name in NO_WAIT and scenario.call == "list"):
                continue
            for way in scenario.ways:
                marks = [] if (scenario.call, way) in SLICE else [pytest.mark.whole_matrix]
                yield pytest.param(scenario, way, name, id=f"{scenario.call} - {way} - {name}", marks=marks)


@pytest.mark.parametrize(("scenario", "way", "name"), [*cells()])
def test_cell(
    scenario: Scenario,
    way: str,
    name: str,
    emulator: Any,
    table: Any,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    set_up, lasts = SET_UPS[name]
    scenario.prepare(emulator)
    verdict = expected(scenario.call, way, Case(name, {}), lasts, after_effect=False)
    row = Row(scenario.call, way, name, verdict)
    with set_up(Place(emulator, monkeypatch, tmp_path)) as met:
        row.run(scenario, SHORT_TIMEOUT if lasts is Lasts.LASTING else TIMEOUT)
    times = met or [request.at for request in emulator.requests]
    row.measure(scenario, emulator, times)
    table(row)

    # A name server that does not answer takes its time, and nobody can hurry it.
    took = getattr(met, "took", 0.0)
    row.check(times, longest_call=took)
    if lasts is Lasts.PASSING:
        assert scenario.done(emulator)
    else:
        assert row.lasted < SHORT_TIMEOUT + SET_BACK + took + BUSY
        assert met or name == CLOCK
        assert name == CLOCK or not emulator.requests
