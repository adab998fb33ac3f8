from __future__ import annotations

import pytest

from airflow_provider_fireworks.runs import RunState, run_state


class Airflow:
    """A task instance whose Airflow has one run, or none."""

    def __init__(self, state: str | None) -> None:
        self.state = state
        self.asked: list[tuple[str, list[str]]] = []

    def get_dr_count(self, dag_id, logical_dates=None, run_ids=None, states=None) -> int:
        self.asked.append((dag_id, run_ids))
        return int(self.state is not None and (states is None or self.state in states))


@pytest.mark.parametrize(
    ("state", "expected"),
    [
        ("queued", RunState.GOING),
        ("running", RunState.GOING),
        ("success", RunState.ENDED),
        ("failed", RunState.ENDED),
        (None, RunState.UNKNOWN),
    ],
)
def test_what_airflow_says_of_a_run(state, expected):
    ti = Airflow(state)
    assert run_state(ti, "another_dag", "manual__1") is expected
    assert set(map(repr, ti.asked)) == {repr(("another_dag", ["manual__1"]))}


def test_all_states_of_airflow_are_thought_of():
    from airflow.utils.state import DagRunState

    assert {state.value for state in DagRunState} == {"queued", "running", "success", "failed"}
