from __future__ import annotations

import pytest

from airflow_provider_fireworks.airflow_state import RunState, parse_task_state, run_state
from airflow_provider_fireworks.deployments.ownership import ABSENT, Owner
from tests.task_states import IN_USE, OVER


class TaskInstance:
    """A task instance of an Airflow that has one run, or none."""

    def __init__(self, state: str | None) -> None:
        self.state = state
        self.queries: list[tuple[str, list[str]]] = []

    def get_dr_count(self, dag_id, logical_dates=None, run_ids=None, states=None) -> int:
        self.queries.append((dag_id, run_ids))
        return int(self.state is not None and (states is None or self.state in states))


RUN_STATES = {
    "queued": RunState.ACTIVE,
    "running": RunState.ACTIVE,
    "success": RunState.ENDED,
    "failed": RunState.ENDED,
    None: RunState.UNKNOWN,
}


@pytest.mark.parametrize(("state", "expected"), RUN_STATES.items(), ids=map(str, RUN_STATES))
def test_run_state_counts_runs_of_given_dag(state, expected):
    ti = TaskInstance(state)
    assert run_state(ti, "another_dag", "manual__1") is expected
    assert all(query == ("another_dag", ["manual__1"]) for query in ti.queries)


def test_run_state_covers_all_states_of_airflow():
    from airflow.utils.state import DagRunState

    assert {state.value for state in DagRunState} == RUN_STATES.keys() - {None}


# ---- the state of one task instance

OWNER = Owner("my_dag", "manual__1", "deploy")
MAPPED = Owner("my_dag", "manual__1", "deploy", 3)
LOOPED = Owner("my_dag", "manual__1", "deploy", loop_index=1)


@pytest.mark.parametrize("state", [*OVER, *IN_USE, "none"])
@pytest.mark.parametrize(("owner", "key"), [(OWNER, "deploy"), (MAPPED, "deploy_3")], ids=["plain", "mapped"])
def test_task_state_is_found_among_others(owner: Owner, key: str, state: str) -> None:
    others = {"deploy_2": "failed", "deploy_33": "failed", "another": "failed"}
    response = {"manual__0": {key: "failed"}, "manual__1": others | {key: state}}
    assert parse_task_state(response, owner) == state


@pytest.mark.parametrize(
    ("response", "owner", "state"),
    [
        # It has no state yet.
        ({"manual__1": {"deploy": None}}, OWNER, "none"),
        ({"manual__1": {"deploy_3": None}}, MAPPED, "none"),
        # Airflow has no such task instance: its run, its DAG or its map index was deleted.
        ({}, OWNER, ABSENT),
        ({"manual__1": {}}, OWNER, ABSENT),
        ({"manual__2": {"deploy": "failed"}}, OWNER, ABSENT),
        ({"manual__1": {"another": "failed"}}, OWNER, ABSENT),
        ({"manual__1": {"deploy": "failed"}}, MAPPED, ABSENT),
        ({"manual__1": {"deploy_4": "failed"}}, MAPPED, ABSENT),
        ({"manual__1": {"deploy_3": "failed"}}, OWNER, ABSENT),
        # The response does not say.
        (None, OWNER, None),
        ("failed", OWNER, None),
        ([], OWNER, None),
        (["manual__1"], OWNER, None),
        (5, OWNER, None),
        ({"manual__1": None}, OWNER, None),
        ({"manual__1": "failed"}, OWNER, None),
        ({"manual__1": [{"deploy": "failed"}]}, OWNER, None),
        # It may be the state of another iteration.
        ({"manual__1": {"deploy": "failed"}}, LOOPED, None),
        ({}, LOOPED, None),
    ],
    ids=str,
)
def test_task_state_absent_is_not_unknown(response: object, owner: Owner, state: str | None) -> None:
    assert parse_task_state(response, owner) == state


def test_task_state_as_enum_of_airflow_is_its_value() -> None:
    from airflow.utils.state import TaskInstanceState

    for state in TaskInstanceState:
        assert parse_task_state({"manual__1": {"deploy": state}}, OWNER) == state.value
