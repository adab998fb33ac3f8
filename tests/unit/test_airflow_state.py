from __future__ import annotations

import pytest

from airflow_provider_fireworks.airflow_state import ABSENT, RunState, is_over, parse_task_state, run_state
from airflow_provider_fireworks.deployments.ownership import Owner


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
        ("queued", RunState.ACTIVE),
        ("running", RunState.ACTIVE),
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


# ---- the state of one task instance

MINE = Owner("my_dag", "manual__1", "deploy")
MAPPED = Owner("my_dag", "manual__1", "deploy", 3)
LOOPED = Owner("my_dag", "manual__1", "deploy", loop_index=1)

OVER = ["failed", "skipped", "upstream_failed", "removed", ABSENT]
IN_USE = [
    "success",
    "deferred",
    "running",
    "restarting",
    "queued",
    "scheduled",
    "up_for_retry",
    "up_for_reschedule",
    "awaiting_input",
    "none",
    "",
    "FAILED",
    "a_state_of_a_later_airflow",
]


@pytest.mark.parametrize("state", OVER)
def test_is_over_after_states_that_no_other_task_follows(state: str) -> None:
    assert is_over(state)


@pytest.mark.parametrize("state", IN_USE)
def test_is_over_is_false_while_the_deployment_may_be_used(state: str) -> None:
    assert not is_over(state)


def test_is_over_decides_on_every_state_of_airflow() -> None:
    from airflow.utils.state import TaskInstanceState

    assert {state.value for state in TaskInstanceState} <= {*OVER, *IN_USE}


@pytest.mark.parametrize("state", [*OVER[:-1], *IN_USE[:-3]])
@pytest.mark.parametrize(("identity", "key"), [(MINE, "deploy"), (MAPPED, "deploy_3")], ids=["", "mapped"])
def test_parse_state_finds_the_task_instance(identity: Owner, key: str, state: str) -> None:
    assert parse_task_state({"manual__1": {key: state}}, identity) == state
    others = {"deploy_2": "failed", "deploy_33": "failed", "another": "failed"}
    assert (
        parse_task_state({"manual__0": {key: "failed"}, "manual__1": others | {key: state}}, identity)
        == state
    )


@pytest.mark.parametrize(
    ("answer", "identity", "state"),
    [
        # One that has no state yet.
        ({"manual__1": {"deploy": None}}, MINE, "none"),
        ({"manual__1": {"deploy_3": None}}, MAPPED, "none"),
        # None such: its run, its DAG or its map index was deleted.
        ({}, MINE, ABSENT),
        ({"manual__1": {}}, MINE, ABSENT),
        ({"manual__2": {"deploy": "failed"}}, MINE, ABSENT),
        ({"manual__1": {"another": "failed"}}, MINE, ABSENT),
        ({"manual__1": {"deploy": "failed"}}, MAPPED, ABSENT),
        ({"manual__1": {"deploy_4": "failed"}}, MAPPED, ABSENT),
        ({"manual__1": {"deploy_3": "failed"}}, MINE, ABSENT),
        # No answer to the question.
        (None, MINE, None),
        ("failed", MINE, None),
        ([], MINE, None),
        (["manual__1"], MINE, None),
        (5, MINE, None),
        ({"manual__1": None}, MINE, None),
        ({"manual__1": "failed"}, MINE, None),
        ({"manual__1": [{"deploy": "failed"}]}, MINE, None),
        # Of a task in a loop, it may be that of another pass.
        ({"manual__1": {"deploy": "failed"}}, LOOPED, None),
        ({}, LOOPED, None),
    ],
    ids=str,
)
def test_parse_state_tells_absent_from_no_answer(answer: object, identity: Owner, state: str | None) -> None:
    assert parse_task_state(answer, identity) == state


def test_parse_state_reads_an_enum_of_airflow_as_its_value() -> None:
    from airflow.utils.state import TaskInstanceState

    for state in TaskInstanceState:
        parsed = parse_task_state({"manual__1": {"deploy": state}}, MINE)
        assert parsed is not None
        assert is_over(parsed) is is_over(state.value)
