from __future__ import annotations

import json
import re
from dataclasses import asdict, replace
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import example, given, strategies as st

from airflow_provider_fireworks.client.names import check_id
from airflow_provider_fireworks.deployments.ownership import Owner

PREFIX = "Created by Apache Airflow: "
ME = Owner("my_dag", "manual__2026-01-01T00:00:00+00:00", "serve.deploy", 2, "http://airflow.example")
SIGNED = asdict(ME)

ANY_ID = st.text(min_size=1) | st.text(alphabet='aA_-.é0 "\\', min_size=1, max_size=250)
IDENTITIES = st.builds(
    Owner,
    ANY_ID,
    ANY_ID,
    ANY_ID,
    st.integers(-1, 10_000),
    st.text(max_size=100),
    st.none() | st.integers(0, 10_000),
)


def context(loop_index: int | None = None, **fields) -> Any:
    """Return the context of a running task, with a loop if it runs in one, as Airflow 3.4 has it."""
    ti = SimpleNamespace(**{"dag_id": "d", "run_id": "r", "task_id": "t", "map_index": -1} | fields)
    return {"ti": ti} | ({} if loop_index is None else {"loop": SimpleNamespace(index=loop_index)})


@given(IDENTITIES)
@example(Owner("_", "r", "_"))
@example(Owner("-", "-", "-"))
@example(Owner("数据", "r", "部署"))
@example(Owner("İ" * 40, "r", "ß" * 40))
@example(Owner("a" * 250, "r" * 250, "t" * 250))
@example(Owner("a" * 49 + "-", "r", "-b"))
def test_the_deployment_id_is_one_whatever_the_tasks_name(identity):
    assert check_id(identity.deployment_id, "deployment id") == identity.deployment_id
    assert len(identity.deployment_id) <= 63


@given(IDENTITIES, IDENTITIES)
def test_two_task_instances_have_two_deployments(one, other):
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
def test_names_that_look_alike_are_told_apart(one, other):
    assert one.deployment_id != other.deployment_id


def test_dag_and_task_can_be_read_in_the_id():
    assert re.fullmatch(r"my-dag-serve-deploy-[0-9a-f]{12}", ME.deployment_id)
    assert re.fullmatch(r"[0-9a-f]{12}", Owner("_", "r", "_").deployment_id)


def test_the_id_is_the_same_in_every_release():
    # Another one would make a second deployment beside that of a task which was upgraded between two tries.
    assert Owner("my_dag", "manual__1", "deploy").deployment_id == "my-dag-deploy-190a9224866a"


@given(IDENTITIES)
def test_a_description_tells_who_signed(identity):
    # Airflow's ids can all be printed; what cannot, a task has not signed.
    signed_by_a_task = str(identity).isprintable()
    assert Owner.from_description(identity.description) == (identity if signed_by_a_task else None)


@pytest.mark.parametrize("letter", ["a", "é", "数"])
def test_a_description_is_short_enough_however_long_the_ids_are(letter):
    identity = Owner(
        letter * 250,
        "r" * 250,
        letter * 250,
        10**9,
        "http://" + "h" * 63,
        999,
        kept=True,
        named=True,
        digest="0" * 12,
    )
    assert len(identity.description) < 1000
    assert Owner.from_description(identity.description) == identity


FOREIGN = {
    "none": None,
    "empty": "",
    "a person's": "my deployment",
    "a person's, about Airflow": "Created by Apache Airflow",
    "nothing signed": PREFIX,
    "half a JSON": PREFIX + json.dumps(SIGNED)[:-1],
    "something behind it": PREFIX + json.dumps(SIGNED) + " (do not delete)",
    "something before it": "Note: " + PREFIX + json.dumps(SIGNED),
    "a list": PREFIX + "[]",
    "text": PREFIX + '"dag_id"',
    "null": PREFIX + "null",
    "a line end in an id": PREFIX + json.dumps(SIGNED | {"run_id": "r\nINFO all is well"}),
    "a colour in an id": PREFIX + json.dumps(SIGNED | {"task_id": "\x1b[31m"}),
    "half a letter in an id": PREFIX + json.dumps(SIGNED | {"dag_id": "\ud800"}),
    "a line end in the URL": PREFIX + json.dumps(SIGNED | {"airflow": "\n"}),
    "longer than any": PREFIX + json.dumps(SIGNED | {"run_id": "r" * 3000}),
    "a number": PREFIX + "5",
    **{
        f"without {field}": PREFIX + json.dumps({k: v for k, v in SIGNED.items() if k != field})
        for field in SIGNED
        if field in ("dag_id", "run_id", "task_id", "map_index", "airflow")
    },
    "map_index no number": PREFIX + json.dumps(SIGNED | {"map_index": "x"}),
    "map_index null": PREFIX + json.dumps(SIGNED | {"map_index": None}),
    "map_index NaN": PREFIX + json.dumps(SIGNED | {"map_index": float("nan")}),
    "loop_index no number": PREFIX + json.dumps(SIGNED | {"loop_index": "x"}),
    "a number of 5000 digits": PREFIX + "1" * 5000,
}


@pytest.mark.parametrize("description", FOREIGN.values(), ids=FOREIGN)
def test_what_no_task_has_signed_is_nobodys(description):
    assert Owner.from_description(description) is None


def test_an_infinite_map_index_is_nobodys():
    assert Owner.from_description(PREFIX + json.dumps(SIGNED | {"map_index": float("inf")})) is None


def test_lists_without_end_are_nobodys():
    assert Owner.from_description(PREFIX + "[" * 970) is None


@given(st.text())
@example("{}")
@example('{"dag_id": 1}')
def test_any_description_is_read_or_nobodys(text):
    for description in (text, PREFIX + text):
        assert Owner.from_description(description) is None or description.startswith(PREFIX)


def test_more_fields_than_are_known_do_no_harm():
    # A later release may sign more.
    assert Owner.from_description(PREFIX + json.dumps(SIGNED | {"try": 1})) == ME


@pytest.mark.parametrize(
    ("change", "same"),
    [
        ({}, True),
        ({"run_id": "another"}, True),
        ({"dag_id": "another"}, False),
        ({"task_id": "another"}, False),
        ({"map_index": 3}, False),
        ({"loop_index": 0}, False),
        ({"airflow": "http://other.example"}, False),
    ],
    ids=str,
)
def test_when_it_is_the_same_task(change, same):
    assert ME.same_task(replace(ME, **change)) is same
    assert replace(ME, **change).same_task(ME) is same


@pytest.mark.parametrize(
    ("base_url", "airflow"),
    [
        ("http://airflow.example", "http://airflow.example"),
        ("http://airflow.example/", "http://airflow.example"),
        ("http://" + "h" * 200, "http://" + "h" * 63),
        ("", ""),
    ],
)
def test_it_names_the_airflow_it_runs_in(monkeypatch, base_url, airflow):
    monkeypatch.setenv("AIRFLOW__API__BASE_URL", base_url)
    assert Owner.from_context(context()) == Owner("d", "r", "t", -1, airflow)


@pytest.mark.parametrize(("given_index", "index"), [(None, -1), (-1, -1), (0, 0), (7, 7)])
def test_the_map_index_of_an_instance(given_index, index):
    assert Owner.from_context(context(map_index=given_index)).map_index == index


def test_the_number_of_the_try_is_no_part_of_it():
    tries = {Owner.from_context(context(try_number=number)) for number in (1, 2, 3)}
    assert len(tries) == 1
    assert len({each.deployment_id for each in tries}) == 1


def test_in_words():
    assert str(ME) == f"task serve.deploy[2] of DAG my_dag, run {ME.run_id} of http://airflow.example"
    assert str(Owner("d", "r", "t")) == "task t of DAG d, run r"
    assert str(Owner("d", "r", "t", loop_index=1)) == "task t of DAG d, run r, loop iteration 1"


def test_identity_in_a_loop_names_the_iteration():
    passes = [Owner.from_context(context(index)) for index in (None, 0, 1)]
    assert [each.loop_index for each in passes] == [None, 0, 1]
    assert len({each.deployment_id for each in passes}) == 3
    assert [Owner.from_description(each.description) for each in passes] == passes


@pytest.mark.parametrize(
    ("description", "own"),
    [
        (ME.description, True),
        (PREFIX + json.dumps(SIGNED | {"kept": False}, indent=1), True),
        (replace(ME, kept=True).description, False),
        (replace(ME, run_id="another").description, False),
        (replace(ME, loop_index=0).description, False),
        ("Made by hand.", False),
        (None, False),
    ],
)
def test_created_compares_parsed_identities_and_spares_what_was_adopted(description, own):
    assert ME.created(description) is own


def test_what_was_kept_is_signed_so_and_is_the_same_task_instances():
    mine = Owner("d", "r", "t")
    kept = Owner("d", "r", "t", kept=True)
    assert kept == mine
    assert kept.description != mine.description
    assert Owner.from_description(kept.description).kept
    assert not Owner.from_description(mine.description).kept


@pytest.mark.parametrize(
    ("change", "same"),
    [
        ({}, True),
        ({"task_id": "another"}, True),
        ({"map_index": 7}, True),
        ({"loop_index": 3}, True),
        ({"kept": True, "named": True, "digest": "0123456789ab"}, True),
        ({"run_id": "another"}, False),
        ({"dag_id": "another"}, False),
        ({"airflow": "http://other.example"}, False),
        ({"airflow": ""}, False),
    ],
    ids=str,
)
def test_same_run_compares_dag_run_and_airflow(change: dict[str, Any], same: bool) -> None:
    assert ME.same_run(replace(ME, **change)) is same
    assert replace(ME, **change).same_run(ME) is same


@pytest.mark.parametrize(
    "mark", [{"kept": True}, {"named": True}, {"digest": "0123456789ab"}], ids=lambda mark: next(iter(mark))
)
def test_signature_carries_mark_that_does_not_change_who_signed(mark: dict[str, Any]) -> None:
    marked = replace(ME, **mark)
    ((name, value),) = mark.items()
    assert marked == ME
    assert marked.deployment_id == ME.deployment_id
    assert marked.description != ME.description
    assert name not in json.loads(ME.description.removeprefix(PREFIX))
    read = Owner.from_description(marked.description)
    assert read is not None
    assert getattr(read, name) == value
    assert ME.created(marked.description) is (name != "kept")


def test_signature_of_earlier_version_has_no_marks() -> None:
    old = {name: value for name, value in SIGNED.items() if name not in ("named", "digest")}
    read = Owner.from_description(PREFIX + json.dumps(old))
    assert read is not None
    assert (read, read.named, read.digest) == (ME, False, "")


@pytest.mark.parametrize("mark", [{"named": "yes"}, {"named": 1}, {"kept": "true"}, {"kept": 1}])
def test_signature_mark_counts_only_if_it_is_true(mark: dict[str, Any]) -> None:
    read = Owner.from_description(PREFIX + json.dumps(SIGNED | mark))
    assert read is not None
    assert (read.named, read.kept) == (False, False)
