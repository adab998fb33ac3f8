"""The cells: every fault of the emulator, in every call and every way of waiting."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any, get_args

import pytest

from airflow_provider_fireworks.client.sync_client import SyncClient
from airflow_provider_fireworks.emulator import ReceivedRequest
from airflow_provider_fireworks.emulator.faults import FaultKind
from tests.faults.cases import CASES, FINAL, LEFT_OUT, Case, Lasts, Means, expected, left_out
from tests.faults.cell import PATIENCE, SHORT_TIMEOUT, TIMEOUT, Row, pauses
from tests.faults.scenarios import SCENARIOS, WAYS, Scenario
from tests.timing import use_timing


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
        name, call = self.case.name, self.scenario.call
        if name in ("429, Retry-After", "503, Retry-After"):
            return self.way == "deferrable" and (name == "429, Retry-After" or self.scenario.can_duplicate)
        if name == "drop":
            return not (self.after_effect and self.lasts is Lasts.LASTING)
        return (name == "401" and "," not in call) or (name == "gzip" and call == "get model")

    @property
    def times(self) -> int:
        """How often it happens. What cannot have acted is asked three times by the hook alone."""
        if self.lasts is Lasts.LASTING:
            return -1
        if self.lasts is Lasts.ONCE:
            return 1
        return self.scenario.times or (2 if self.scenario.reads or self.case.may_act else 4)

    @property
    def why_left_out(self) -> str:
        return left_out(self.scenario, self.way, self.case, after_effect=self.after_effect)


def lastings(case: Case) -> tuple[Lasts, ...]:
    if case.means is Means.ENDLESS:
        return (Lasts.LASTING,)
    if case.means is not Means.NOTHING:
        return (Lasts.ONCE,)
    return (Lasts.PASSING, Lasts.LASTING) if case.lasting else (Lasts.PASSING,)


COMBINATIONS = [
    Cell(scenario, way, case, lasts, after_effect)
    for scenario, way, case in product(SCENARIOS, WAYS, CASES)
    for lasts, after_effect in product(lastings(case), (False, True))
]


def order(emulator: Any, cell: Cell) -> None:
    """Order the fault, now or as soon as the write that its request follows was resume_state out."""
    fields = {**cell.case.fields, "after_work": cell.after_effect, "times": cell.times}

    def fault() -> None:
        emulator.fault(**fields, method=cell.scenario.method, path=cell.scenario.path)

    def hear(request: ReceivedRequest) -> None:
        if request.method == cell.scenario.after and request.status == 200:
            emulator.heard.clear()
            fault()

    if cell.scenario.after:
        emulator.heard.append(hear)
    else:
        fault()


@pytest.fixture
def impatience(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Shorten what nothing ends but the client's own patience; return the seconds that it then has."""

    def shorten(case: Case) -> float:
        if case.name == "hang":
            # Its default is bound when the function is made.
            monkeypatch.setitem(SyncClient.__init__.__kwdefaults__, "timeout", (5.0, PATIENCE))
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
            marks=[] if cell.in_slice else [pytest.mark.whole_matrix],
            id=f"{cell.scenario.call} - {cell.way} - {cell.fault}",
        )
        for cell in COMBINATIONS
        if not cell.why_left_out
    ],
)
def test_cell(cell: Cell, emulator: Any, table: Any, impatience: Any, capsys: Any) -> None:
    scenario, case = cell.scenario, cell.case
    longest_call = impatience(case)
    verdict = expected(scenario.call, cell.way, case, cell.lasts, after_effect=cell.after_effect)
    row = Row(scenario.call, cell.way, cell.fault, verdict)
    well = verdict in ("success", "ready")
    short = cell.lasts is Lasts.LASTING and not well
    for timeout in (SHORT_TIMEOUT, 2.0, TIMEOUT / 2) if short else (TIMEOUT,):
        emulator.reset()
        scenario.prepare(emulator)
        order(emulator, cell)
        row.run(scenario, timeout)
        requests = emulator.requests
        met = [each for each in requests if each.fault]
        if met:
            break
        # A busy machine has not even come to it.
    times = [each.at for each in requests]
    row.measure(scenario, emulator, times)
    table(row)

    row.check(times, longest_call=longest_call)
    assert row.lasted < TIMEOUT
    if cell.lasts is Lasts.LASTING:
        assert met
    elif cell.after_effect and (scenario.can_duplicate or scenario.method == "DELETE"):
        # The look that follows finds it.
        assert len(met) == 1
    else:
        assert len(met) == cell.times
    if well and case.means is not Means.MISSING:
        assert scenario.done(emulator)
    if case.means in FINAL:
        assert len(requests) - requests.index(met[0]) - 1 <= scenario.follow_ups
    if cell.lasts is Lasts.PASSING and case.at_least:
        after = [pause for pause, each in zip(pauses(times), requests, strict=False) if each.fault]
        assert min(after) >= case.at_least - 0.05
    if scenario.call.startswith("create") and verdict != "success":
        assert emulator.deployments_left == [] or "IT MAY COST MONEY" in "".join(capsys.readouterr())


def test_every_kind_of_fault_is_in_it() -> None:
    assert {case.fields["kind"] for case in CASES} == set(get_args(FaultKind))


def test_what_is_left_out_has_a_reason() -> None:
    reasons = {cell.why_left_out for cell in COMBINATIONS} - {""}
    assert LEFT_OUT.keys() - reasons == {"state", "no looks", "no chat"}
    assert reasons < LEFT_OUT.keys()


def test_the_docs_tell_what_is_left_out() -> None:
    page = (Path(__file__).parents[2] / "docs" / "faults.md").read_text().split("## What is left out")[1]
    rows = [
        line.replace("`", "").strip("| ").split(" | ") for line in page.splitlines() if line.startswith("| ")
    ]
    assert rows[1:] == [[each.what, each.why] for each in LEFT_OUT.values()]
