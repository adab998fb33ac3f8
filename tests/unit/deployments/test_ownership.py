"""Who owns a deployment: the id and the signature that a task instance makes, and what it reads from others."""

from __future__ import annotations

import json
import re
from dataclasses import asdict, replace
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import example, given, strategies as st

from airflow_provider_fireworks.client.names import check_id
from airflow_provider_fireworks.deployments.ownership import ABSENT, Owner, is_over
from tests.task_states import IN_USE, OVER

PREFIX = "Created by Apache Airflow: "
OWNER = Owner("my_dag", "manual__2026-01-01T00:00:00+00:00", "serve.deploy", 2, "http://airflow.example")
FIELDS = asdict(OWNER)

ANY_ID = st.text(min_size=1) | st.text(alphabet='aA_-.é0 "\\', min_size=1, max_size=250)
OWNERS = st.builds(
    Owner,
    ANY_ID,
    ANY_ID,
    ANY_ID,
    st.integers(-1, 10_000),
    st.text(max_size=100),
    st.none() | st.integers(0, 10_000),
)


def context(loop_index: int | None = None, **fields: Any) -> Any:
    """Return the context of a running task; inside a task loop it has a loop, as in Airflow 3.4."""
    ti = SimpleNamespace(**{"dag_id": "d", "run_id": "r", "task_id": "t", "map_index": -1} | fields)
    return {"ti": ti} | ({} if loop_index is None else {"loop": SimpleNamespace(index=loop_index)})


# ---- from the context


@pytest.mark.parametrize(
    ("base_url", "airflow"),
    [
        ("http://airflow.example", "http://airflow.example"),
        ("http://airflow.example/", "http://airflow.example"),
        ("http://" + "h" * 200, "http://" + "h" * 63),
        ("", ""),
    ],
)
def test_owner_has_base_url_of_its_airflow(monkeypatch, base_url, airflow):
    monkeypatch.setenv("AIRFLOW__API__BASE_URL", base_url)
    assert Owner.from_context(context()) == Owner("d", "r", "t", -1, airflow)


@pytest.mark.parametrize(("map_index", "expected"), [(None, -1), (-1, -1), (0, 0), (7, 7)])
def test_owner_has_map_index_of_task_instance(map_index, expected):
    assert Owner.from_context(context(map_index=map_index)).map_index == expected


def test_owner_is_the_same_in_every_try():
    owners = {Owner.from_context(context(try_number=number)) for number in (1, 2, 3)}
    assert len(owners) == 1
    assert len({owner.deployment_id for owner in owners}) == 1


def test_owner_differs_in_each_loop_iteration():
    owners = [Owner.from_context(context(index)) for index in (None, 0, 1)]
    assert [owner.loop_index for owner in owners] == [None, 0, 1]
    assert len({owner.deployment_id for owner in owners}) == 3
    assert [Owner.from_description(owner.description) for owner in owners] == owners


def test_owner_in_words():
    assert str(OWNER) == f"task serve.deploy[2] of DAG my_dag, run {OWNER.run_id} of http://airflow.example"
    assert str(Owner("d", "r", "t")) == "task t of DAG d, run r"
    assert str(Owner("d", "r", "t", loop_index=1)) == "task t of DAG d, run r, loop iteration 1"


# ---- the deployment id


@given(OWNERS)
@example(Owner("_", "r", "_"))
@example(Owner("-", "-", "-"))
@example(Owner("数据", "r", "部署"))
@example(Owner("İ" * 40, "r", "ß" * 40))
@example(Owner("a" * 250, "r" * 250, "t" * 250))
@example(Owner("a" * 49 + "-", "r", "-b"))
def test_deployment_id_is_valid_for_any_airflow_ids(owner):
    assert check_id(owner.deployment_id, "deployment id") == owner.deployment_id
    assert len(owner.deployment_id) <= 63


@given(OWNERS, OWNERS)
def test_deployment_id_differs_for_each_task_instance(one, other):
    same = replace(one, airflow="") == replace(other, airflow="")
    assert (one.deployment_id == other.deployment_id) is same


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (Owner("a_b", "r", "c"), Owner("a", "r", "b_c")),
        (Owner("a", "r_b", "c"), Owner("a", "r", "b_c")),
        (Owner("a", "r", "c", 1), Owner("a", "r1", "c")),
        (Owner("a", "r", "c", 1), Owner("a", "r", "c", 11)),
        (Owner("a", "r", "c"), Owner("A", "r", "c")),
        (Owner("a" * 60, "r", "x"), Owner("a" * 60, "r", "y")),
        (Owner("a-b", "r", "c"), Owner("a.b", "r", "c")),
    ],
    ids=str,
)
def test_deployment_id_differs_for_similar_airflow_ids(one, other):
    assert one.deployment_id != other.deployment_id


def test_deployment_id_begins_with_dag_and_task():
    assert re.fullmatch(r"my-dag-serve-deploy-[0-9a-f]{12}", OWNER.deployment_id)
    assert re.fullmatch(r"[0-9a-f]{12}", Owner("_", "r", "_").deployment_id)


def test_deployment_id_is_the_same_in_every_release():
    # Otherwise a task that is upgraded between two tries would create a second deployment.
    assert Owner("my_dag", "manual__1", "deploy").deployment_id == "my-dag-deploy-190a9224866a"


# ---- the signature


@given(OWNERS)
def test_signature_is_parsed_back_to_its_owner(owner):
    # Airflow's ids are all printable, so no task has signed what is not.
    is_signature = str(owner).isprintable()
    assert Owner.from_description(owner.description) == (owner if is_signature else None)


@pytest.mark.parametrize("letter", ["a", "é", "数"])
def test_signature_of_longest_airflow_ids_fits_description(letter):
    owner = Owner(
        letter * 250,
        "r" * 250,
        letter * 250,
        10**9,
        "http://" + "h" * 63,
        999,
        kept=True,
        named=True,
        digest="0" * 18,
    )
    assert len(owner.description) < 1000
    assert Owner.from_description(owner.description) == owner


@pytest.mark.parametrize("mark", [{"kept": True}, {"named": True}, {"digest": "0123456789ab"}], ids=str)
def test_signature_has_mark_that_does_not_change_owner(mark: dict[str, Any]) -> None:
    marked = replace(OWNER, **mark)
    ((name, value),) = mark.items()
    assert marked == OWNER
    assert marked.deployment_id == OWNER.deployment_id
    assert marked.description != OWNER.description
    assert name not in json.loads(OWNER.description.removeprefix(PREFIX))
    parsed = Owner.from_description(marked.description)
    assert parsed is not None
    assert getattr(parsed, name) == value
    assert OWNER.created(marked.description) is (name != "kept")


@pytest.mark.parametrize("mark", [{"named": "yes"}, {"named": 1}, {"kept": "true"}, {"kept": 1}], ids=str)
def test_signature_mark_counts_only_if_true(mark: dict[str, Any]) -> None:
    parsed = Owner.from_description(PREFIX + json.dumps(FIELDS | mark))
    assert parsed is not None
    assert (parsed.named, parsed.kept) == (False, False)


def test_signature_of_earlier_version_has_no_marks() -> None:
    fields = {name: value for name, value in FIELDS.items() if name not in ("named", "digest")}
    parsed = Owner.from_description(PREFIX + json.dumps(fields))
    assert parsed is not None
    assert (parsed, parsed.named, parsed.digest) == (OWNER, False, "")


def test_signature_of_later_version_may_have_more_fields():
    assert Owner.from_description(PREFIX + json.dumps(FIELDS | {"try": 1})) == OWNER


NO_SIGNATURES = {
    "None": None,
    "empty": "",
    "a person's note": "my deployment",
    "a person's note about Airflow": "Created by Apache Airflow",
    "only the prefix": PREFIX,
    "half of the JSON": PREFIX + json.dumps(FIELDS)[:-1],
    "text after it": PREFIX + json.dumps(FIELDS) + " (do not delete)",
    "text before it": "Note: " + PREFIX + json.dumps(FIELDS),
    "a list": PREFIX + "[]",
    "a string": PREFIX + '"dag_id"',
    "null": PREFIX + "null",
    "a number": PREFIX + "5",
    "a number of 5000 digits": PREFIX + "1" * 5000,
    "deeply nested lists": PREFIX + "[" * 970,
    "a newline in an id": PREFIX + json.dumps(FIELDS | {"run_id": "r\nINFO all is well"}),
    "an escape sequence in an id": PREFIX + json.dumps(FIELDS | {"task_id": "\x1b[31m"}),
    "a lone surrogate in an id": PREFIX + json.dumps(FIELDS | {"dag_id": "\ud800"}),
    "a newline in the URL": PREFIX + json.dumps(FIELDS | {"airflow": "\n"}),
    "longer than any signature": PREFIX + json.dumps(FIELDS | {"run_id": "r" * 3000}),
    **{
        f"without {field}": PREFIX + json.dumps({k: v for k, v in FIELDS.items() if k != field})
        for field in ("dag_id", "run_id", "task_id", "map_index", "airflow")
    },
    **{
        f"map_index {value!r}": PREFIX + json.dumps(FIELDS | {"map_index": value})
        for value in ("x", None, float("nan"), float("inf"))
    },
    "loop_index 'x'": PREFIX + json.dumps(FIELDS | {"loop_index": "x"}),
}


@pytest.mark.parametrize("description", NO_SIGNATURES.values(), ids=NO_SIGNATURES)
def test_description_without_signature_has_no_owner(description):
    assert Owner.from_description(description) is None


@given(st.text())
@example("{}")
@example('{"dag_id": 1}')
def test_any_description_is_parsed_without_error(text):
    for description in (text, PREFIX + text):
        assert Owner.from_description(description) is None or description.startswith(PREFIX)


# ---- comparing owners


@pytest.mark.parametrize(
    ("change", "same_task", "same_run"),
    [
        ({}, True, True),
        ({"kept": True, "named": True, "digest": "0123456789ab"}, True, True),
        ({"run_id": "another"}, True, False),
        ({"task_id": "another"}, False, True),
        ({"map_index": 3}, False, True),
        ({"loop_index": 0}, False, True),
        ({"dag_id": "another"}, False, False),
        ({"airflow": "http://other.example"}, False, False),
        ({"airflow": ""}, False, False),
    ],
    ids=str,
)
def test_owners_are_of_same_task_or_same_run(change: dict[str, Any], same_task: bool, same_run: bool) -> None:
    other = replace(OWNER, **change)
    assert OWNER.same_task(other) is other.same_task(OWNER) is same_task
    assert OWNER.same_run(other) is other.same_run(OWNER) is same_run


@pytest.mark.parametrize(
    ("description", "created"),
    [
        (OWNER.description, True),
        (PREFIX + json.dumps(FIELDS | {"kept": False}, indent=1), True),
        (replace(OWNER, kept=True).description, False),
        (replace(OWNER, run_id="another").description, False),
        (replace(OWNER, loop_index=0).description, False),
        ("Created by hand.", False),
        (None, False),
    ],
)
def test_owner_created_what_it_signed_unless_kept(description, created):
    assert OWNER.created(description) is created


# ---- the state of the owner


@pytest.mark.parametrize("state", [*OVER, ABSENT])
def test_task_that_is_over_does_not_use_its_deployment(state):
    assert is_over(state)


@pytest.mark.parametrize("state", [*IN_USE, "none", "", "FAILED"])
def test_task_in_any_other_state_may_use_its_deployment(state):
    assert not is_over(state)


def test_states_of_tasks_are_all_that_airflow_has():
    from airflow.utils.state import TaskInstanceState

    assert {state.value for state in TaskInstanceState} <= {*OVER, *IN_USE}
