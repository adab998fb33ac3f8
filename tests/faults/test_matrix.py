"""Every fault of the emulator, for every request and in every way of waiting."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product
from typing import Any, get_args

import pytest

from airflow_provider_fireworks.deployments.removal import MONEY
from airflow_provider_fireworks.emulator import ReceivedRequest
from airflow_provider_fireworks.emulator.faults import FaultKind
from tests.faults.cases import (
    CASES,
    FINAL,
    FOUND_BY_READING,
    LEFT_OUT,
    Case,
    Frequency,
    Meaning,
    expected,
    reason_left_out,
)
from tests.faults.cell import PATIENCE, SHORT_TIMEOUT, TIMEOUT, Row, delays
from tests.faults.scenarios import SCENARIOS, WAYS, Scenario
from tests.timing import use_timing


@dataclass(frozen=True)
class Cell:
    scenario: Scenario
    way: str
    case: Case
    frequency: Frequency
    after_effect: bool

    @property
    def fault(self) -> str:
        effect = ", after its effect" if self.after_effect else ""
        return f"{self.case.name}{effect}, {self.frequency.value}"

    @property
    def always_runs(self) -> bool:
        """Whether the cell belongs to the part that ``make test`` runs."""
        name, request = self.case.name, self.scenario.request
        if name in ("429, Retry-After", "503, Retry-After"):
            return self.way == "deferrable" and (name == "429, Retry-After" or self.scenario.can_duplicate)
        if name == "drop":
            return not (self.after_effect and self.frequency is Frequency.LASTING)
        return (name == "401" and ":" not in request) or (name == "gzip" and request == "get model")

    @property
    def times(self) -> int:
        """How often the fault occurs. The hook alone sends a request three times if it cannot have been executed."""
        if self.frequency is Frequency.LASTING:
            return -1
        if self.frequency is Frequency.ONCE:
            return 1
        return self.scenario.times or (2 if self.scenario.reads or self.case.may_execute else 4)

    @property
    def reason_left_out(self) -> str | None:
        return reason_left_out(self.scenario, self.way, self.case, after_effect=self.after_effect)


def frequencies(case: Case) -> tuple[Frequency, ...]:
    if case.meaning is Meaning.ENDLESS_LIST:
        return (Frequency.LASTING,)
    if case.meaning is not Meaning.TRANSIENT:
        return (Frequency.ONCE,)
    return (Frequency.TEMPORARY, Frequency.LASTING) if case.lasting else (Frequency.TEMPORARY,)


COMBINATIONS = [
    Cell(scenario, way, case, frequency, after_effect)
    for scenario, way, case in product(SCENARIOS, WAYS, CASES)
    for frequency, after_effect in product(frequencies(case), (False, True))
]


def order_fault(emulator: Any, cell: Cell) -> None:
    """Order the fault now, or once the write that its requests follow has been carried out."""
    fields = {**cell.case.fields, "after_work": cell.after_effect, "times": cell.times}

    def order() -> None:
        emulator.fault(**fields, method=cell.scenario.method, path=cell.scenario.path)

    def on_request(request: ReceivedRequest) -> None:
        if request.method == cell.scenario.after and request.status == 200:
            emulator.listeners.clear()
            order()

    if cell.scenario.after:
        emulator.listeners.append(on_request)
    else:
        order()


@pytest.fixture
def shorten_timeouts(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Shorten the timeouts of requests that nothing else ends; return the seconds that a request then takes."""

    def shorten(case: Case) -> float:
        if case.name == "hang":
            use_timing(monkeypatch, read_timeout=PATIENCE)
            return PATIENCE
        if case.name == "trickle":
            use_timing(monkeypatch, response_timeout=PATIENCE)
            return PATIENCE
        return float(case.fields.get("delay", 0.0))

    return shorten


@pytest.mark.parametrize(
    "cell",
    [
        pytest.param(
            cell,
            marks=[] if cell.always_runs else [pytest.mark.whole_matrix],
            id=f"{cell.scenario.request} - {cell.way} - {cell.fault}",
        )
        for cell in COMBINATIONS
        if cell.reason_left_out is None
    ],
)
def test_cell(cell: Cell, emulator: Any, table: Any, shorten_timeouts: Any, capsys: Any) -> None:
    scenario, case = cell.scenario, cell.case
    longest_request = shorten_timeouts(case)
    result = expected(scenario.request, cell.way, case, cell.frequency, after_effect=cell.after_effect)
    row = Row(scenario.request, cell.way, cell.fault, result)
    succeeds = result in ("success", "ready")
    times_out = cell.frequency is Frequency.LASTING and not succeeds
    for timeout in (SHORT_TIMEOUT, 2.0, TIMEOUT / 2) if times_out else (TIMEOUT,):
        emulator.reset()
        # A preparation outlasts a request that is given up, as in production.
        emulator.configure(duration=emulator.options.duration + longest_request)
        scenario.prepare(emulator)
        order_fault(emulator, cell)
        row.run(scenario, timeout)
        requests = emulator.requests
        faulty = [each for each in requests if each.fault]
        if faulty:
            break
        # On a busy machine the task timed out before it sent the request.
    times = [each.at for each in requests]
    row.measure(scenario, emulator, times)
    table(row)

    row.check(times, longest_request=longest_request)
    assert row.lasted < TIMEOUT
    if cell.frequency is Frequency.LASTING:
        assert faulty
    elif cell.after_effect and scenario.request in FOUND_BY_READING:
        # The next read finds the result, so the request is not sent again.
        assert len(faulty) == 1
    else:
        assert len(faulty) == cell.times
    if succeeds and case.meaning is not Meaning.NOT_FOUND:
        assert scenario.done(emulator)
    if case.meaning in FINAL:
        assert len(requests) - requests.index(faulty[0]) - 1 <= scenario.follow_ups
    if cell.frequency is Frequency.TEMPORARY and case.min_delay:
        after_fault = [delay for delay, each in zip(delays(times), requests, strict=False) if each.fault]
        assert min(after_fault) >= case.min_delay - 0.05
    if scenario.request.startswith("create") and result != "success":
        assert emulator.deployments_left == [] or MONEY in "".join(capsys.readouterr())


def test_matrix_has_every_kind_of_fault() -> None:
    assert {case.fields["kind"] for case in CASES} == set(get_args(FaultKind))


def test_combinations_that_are_left_out_have_a_reason() -> None:
    reasons = {cell.reason_left_out for cell in COMBINATIONS} - {None}
    # No combination of this module has the others.
    assert LEFT_OUT.keys() - reasons == {"state", "network", "inference"}
    assert reasons < LEFT_OUT.keys()
