"""The arguments that all tasks, or all tasks that wait, have in common."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from airflow_provider_fireworks.arguments import (
    Arguments,
    CreateArguments,
    DeleteArguments,
    DeleteRouterArguments,
    DeploymentReadyArguments,
    ModelReadyArguments,
    PrepareArguments,
    RouteArguments,
    ScaleArguments,
    SweepArguments,
    TimeLimit,
    UploadArguments,
    WaitingArguments,
)
from airflow_provider_fireworks.exceptions import FireworksInvalidArgument
from tests.unit.arguments.samples import REQUIRED, assert_invalid, checked, short_id

DEFAULTS: dict[type[Arguments], dict[str, Any]] = {
    UploadArguments: {
        "kind": None,
        "base_model": None,
        "base_model_details": None,
        "if_exists": "fail",
        "validates": True,
        "trust_remote_code": False,
        "max_parallel": 4,
        "delete_on_failure": True,
    },
    PrepareArguments: {"wait_for_completion": False},
    ModelReadyArguments: {"baseline": None},
    CreateArguments: {
        "precision": None,
        "wait_for_completion": True,
        "wait_for_inference": False,
        "delete_on_failure": True,
        "delete_on_kill": None,
        "validate_only": False,
    },
    DeploymentReadyArguments: {"wait_for_inference": False},
    ScaleArguments: {"wait_for_completion": False},
    DeleteArguments: {"hard": False, "ignore_checks": None},
    SweepArguments: {"delete": False, "keep": [], "include_kept": False, "ignore_checks": False},
    RouteArguments: {"weights": None, "adopt": False, "wait_for_completion": True},
    DeleteRouterArguments: {},
}
WAITING = [kind for kind in REQUIRED if issubclass(kind, WaitingArguments)]
FLAGS = [
    (kind, field.alias or name)
    for kind in REQUIRED
    for name, field in kind.model_fields.items()
    if field.annotation in (bool, bool | None)
]


@pytest.mark.parametrize("kind", REQUIRED, ids=short_id)
def test_optional_arguments_have_their_defaults(kind):
    arguments = checked(kind).model_dump()
    assert {name: arguments[name] for name in DEFAULTS[kind]} == DEFAULTS[kind]
    assert (arguments["account_id"], arguments["fireworks_conn_id"]) == (None, None)


@pytest.mark.parametrize("kind", REQUIRED, ids=short_id)
def test_argument_with_an_unknown_name_is_invalid(kind):
    assert_invalid(kind, "pool_interval: ", pool_interval=5)


@pytest.mark.parametrize("name", ["account_id", "fireworks_conn_id"])
@pytest.mark.parametrize("kind", REQUIRED, ids=short_id)
def test_connection_and_account_must_be_text(kind, name):
    assert getattr(checked(kind, **{name: "demo"}), name) == "demo"
    assert_invalid(kind, f"{name}: ", **{name: 5})


@pytest.mark.parametrize(("kind", "name"), FLAGS, ids=short_id)
def test_flag_is_parsed_from_text(kind, name):
    for text, value in {
        "True": True,
        "yes": True,
        "1": True,
        "false": False,
        "no": False,
        "0": False,
    }.items():
        assert checked(kind, **{name: text}).model_dump(by_alias=True)[name] is value
    assert_invalid(kind, f"{name}: .*'perhaps'", **{name: "perhaps"})


def test_check_names_every_invalid_argument():
    for name in ("timeout: .*'soon'", "replica_count: .*-1", "Invalid deployment id 'My_Id'"):
        assert_invalid(ScaleArguments, name, timeout="soon", replica_count=-1, deployment="My_Id")


@pytest.mark.parametrize("wrong", ["a\nb", "\x1b[31m", "\ud800", "x" * 100_000], ids=short_id)
def test_message_is_one_printable_line_whatever_the_value(wrong):
    with pytest.raises(FireworksInvalidArgument) as raised:
        CreateArguments.check(**REQUIRED[CreateArguments] | {"model": wrong, "timeout": wrong})
    assert str(raised.value).isprintable()
    assert len(str(raised.value)) <= 4000


def test_tasks_share_no_default_list():
    checked(ModelReadyArguments).accept_precisions.append("x")
    assert checked(ModelReadyArguments).accept_precisions == []
    checked(SweepArguments).keep.append("x")
    assert checked(SweepArguments).keep == []


# Durations


@pytest.mark.parametrize(
    ("value", "seconds"), [("30", 30.0), ("600.5", 600.5), (timedelta(minutes=1), 60.0), (0, 0.0)], ids=str
)
def test_duration_is_converted_to_seconds(value, seconds):
    for kind in WAITING:
        arguments = checked(kind, poll_interval=value, timeout=value)
        assert (arguments.poll_interval, arguments.timeout) == (seconds, seconds)
    assert checked(DeleteArguments, timeout=value).timeout == seconds


@pytest.mark.parametrize(
    "value", [-1, "-0.1", "soon", "", "inf", float("nan"), timedelta(seconds=-1), None], ids=short_id
)
def test_duration_that_is_no_time_span_is_invalid(value):
    for kind in WAITING:
        assert_invalid(kind, "timeout: .*, not ", timeout=value)
        assert_invalid(kind, "poll_interval: .*, not ", poll_interval=value)
    assert_invalid(DeleteArguments, "timeout: ", timeout=value)


@pytest.mark.parametrize("kind", WAITING, ids=short_id)
@pytest.mark.parametrize(
    ("execution_timeout", "limit"),
    [
        (None, TimeLimit("timeout", 7200)),
        (timedelta(hours=2), TimeLimit("timeout", 7200)),
        (timedelta(hours=3), TimeLimit("timeout", 7200)),
        (timedelta(hours=2) - timedelta(seconds=1), TimeLimit("execution_timeout", 7199)),
        (timedelta(), TimeLimit("execution_timeout", 0)),
    ],
    ids=str,
)
def test_time_limit_is_the_shorter_of_two(kind, execution_timeout, limit):
    assert checked(kind).time_limit(execution_timeout) == limit
