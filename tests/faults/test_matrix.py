"""The cells: every fault of the emulator, in every call and every way of waiting."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import pairwise, product
from typing import Any

import pytest

from airflow_provider_fireworks import watch
from airflow_provider_fireworks.emulator import Emulator, Request
from airflow_provider_fireworks.gateway import retrying, triggerer
from airflow_provider_fireworks.gateway.worker import WorkerGateway
from tests.faults.cases import CASES, FINAL, LEFT_OUT, Case, Lasts, Means, expected, left_out
from tests.faults.conftest import Row
from tests.faults.scenarios import SCENARIOS, WAYS, Scenario

TIMEOUT = 20.0
SHORT_TIMEOUT = 0.4
"""The task's timeout where the fault lasts."""
SILENCE = 0.5
"""Seconds until a hanging answer counts as lost; 60 in real life."""
BUSY = 5.0
"""Seconds by which a loaded machine may be late."""
STEPS = 10
"""Requests that may follow each other without a pause: looks before and after a write, and cleaning up."""


@dataclass(frozen=True)
class Cell:
    scenario: Scenario
    way: str
    case: Case
    lasts: Lasts
    after_effect: bool

    @property
    def fault(self) -> str:
        effect = ", after its effect" if self.after_effect else ""
        return f"{self.case.name}{effect}, {self.lasts.value}"

    @property
    def in_slice(self) -> bool:
        if self.way == "deferrable" and self.case.name == "429, Retry-After 0.3":
            return True
        return self.case.name in ("drop", "401") or (
            self.case.name == "gzip" and "," not in self.scenario.call
        )

    @property
    def times(self) -> int:
        """How often it happens. A write that cannot have acted is repeated three times by the hook alone."""
        if self.lasts is Lasts.LASTING:
            return -1
        if self.lasts is Lasts.ONCE:
            return 1
        return self.scenario.attempts or (2 if self.scenario.reads or self.case.may_act else 4)


def lastings(case: Case) -> tuple[Lasts, ...]:
    if case.means is not Means.NOTHING:
        return (Lasts.ONCE,)
    return (Lasts.PASSING, Lasts.LASTING) if case.lasting else (Lasts.PASSING,)


COMBINATIONS = [
    Cell(scenario, way, case, lasts, after_effect)
    for scenario, way, case in product(SCENARIOS, WAYS, CASES)
    for lasts, after_effect in product(lastings(case), (False, True))
]


def why_left_out(cell: Cell) -> str:
    scenario = cell.scenario
    return left_out(
        scenario.call,
        cell.way,
        scenario.ways,
        cell.case,
        reads=scenario.reads,
        after_effect=cell.after_effect,
    )


CELLS = [cell for cell in COMBINATIONS if not why_left_out(cell)]


@pytest.fixture
def gateway(monkeypatch: pytest.MonkeyPatch) -> Any:
    """An emulated gateway, which calls ``after`` with each request once that is answered."""
    heard: list[Any] = []
    options = {"duration": 0.15, "deploy_duration": 0.05, "scale_duration": 0.05}
    with Emulator(**options, log=lambda request: [hear(request) for hear in heard]) as emulator:
        monkeypatch.setenv("AIRFLOW_CONN_FIREWORKS_DEFAULT", emulator.connection)
        emulator.heard = heard
        yield emulator


def order(gateway: Any, cell: Cell) -> None:
    """Order the fault, now or as soon as the write that its request follows was carried out."""
    fields = {**cell.case.fields, "after_work": cell.after_effect, "times": cell.times}

    def fault() -> None:
        gateway.fault(**fields, method=cell.scenario.method, path=cell.scenario.path)

    def hear(request: Request) -> None:
        if request.method == cell.scenario.after and request.status == 200:
            gateway.heard.clear()
            fault()

    if cell.scenario.after:
        gateway.heard.append(hear)
    else:
        fault()


def duplicates(gateway: Any, call: str) -> int:
    made = gateway.preparations if call.startswith("prepare") else gateway.creations
    return max(len(made) - 1, 0)


def run(scenario: Scenario, way: str, timeout: float) -> str:
    """Run the task, and return its verdict."""
    try:
        result = scenario.run(way, timeout)
    except Exception as error:
        return type(error).__name__
    return result if way == "trigger" else "success"


def pauses(requests: list[Request]) -> list[float]:
    return [later.at - earlier.at for earlier, later in pairwise(requests)]


@contextmanager
def no_longer_than(seconds: float) -> Iterator[None]:
    began = time.monotonic()
    yield
    assert time.monotonic() - began < seconds


@pytest.mark.parametrize(
    "cell",
    [
        pytest.param(
            cell,
            marks=[] if cell.in_slice else [pytest.mark.whole_matrix],
            id=f"{cell.scenario.call} - {cell.way} - {cell.fault}",
        )
        for cell in CELLS
    ],
)
def test_cell(cell: Cell, gateway: Any, table: Any, monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
    scenario, case = cell.scenario, cell.case
    if case.fields["kind"] == "hang":
        # Their default is bound when the function is made.
        monkeypatch.setitem(WorkerGateway.__init__.__kwdefaults__, "timeout", (5.0, SILENCE))
        monkeypatch.setattr(triggerer, "READ_TIMEOUT", SILENCE)
    scenario.set_up()
    time.sleep(0.06)
    gateway.clear()
    order(gateway, cell)
    verdict = expected(scenario.call, cell.way, case, cell.lasts, after_effect=cell.after_effect)
    row = Row(scenario.call, cell.way, cell.fault, verdict)
    table(row)
    with no_longer_than(TIMEOUT):
        row.seen = run(scenario, cell.way, SHORT_TIMEOUT if cell.lasts is Lasts.LASTING else TIMEOUT)
    requests = gateway.requests
    row.requests = len(requests)
    row.longest_pause = max(pauses(requests), default=0.0)
    row.duplicates = duplicates(gateway, scenario.call) if scenario.can_duplicate else None

    assert row.seen == verdict
    assert not row.duplicates
    met = [request for request in requests if request.fault]
    if cell.lasts is Lasts.LASTING:
        assert met
    elif cell.after_effect and scenario.can_duplicate:
        assert len(met) == 1
    else:
        assert len(met) == cell.times
    if verdict in ("success", "ready"):
        assert case.means is Means.MISSING or scenario.done(gateway)
    if case.means in FINAL:
        assert len(requests) - requests.index(met[0]) - 1 <= scenario.follow_ups
    spent = requests[-1].at - requests[0].at
    assert len(requests) <= STEPS + spent / watch.SHORTEST_PAUSE
    longest = max(watch.LONGEST_BACKOFF, retrying.LONGEST_RETRY_AFTER) * (1 + watch.JITTER)
    assert row.longest_pause <= longest + max(SILENCE, case.fields.get("delay", 0)) + BUSY
    if cell.lasts is Lasts.PASSING and case.at_least:
        after = [pause for pause, request in zip(pauses(requests), requests, strict=False) if request.fault]
        assert min(after) >= case.at_least - 0.05
    if scenario.call.startswith("create") and verdict != "success":
        assert gateway.deployments_left == [] or "IT MAY COST MONEY" in "".join(capsys.readouterr())


def test_what_is_left_out_has_a_reason() -> None:
    assert {why for cell in COMBINATIONS if (why := why_left_out(cell))} <= LEFT_OUT.keys()
    assert LEFT_OUT.keys() - {why_left_out(cell) for cell in COMBINATIONS} == {"state"}
