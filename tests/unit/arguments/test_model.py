from __future__ import annotations

from datetime import timedelta

import pytest

from airflow_provider_fireworks.arguments.model import ModelArguments, check_literals
from airflow_provider_fireworks.client.precision import Precision
from airflow_provider_fireworks.exceptions import FireworksInvalidArgument

GOOD = {"model": "my-model", "precision": "FP8", "poll_interval": 30, "timeout": 7200}


def literals(**fields) -> None:
    check_literals(
        **{
            "model": "my-model",
            "precision": "FP8",
            "accept_precisions": (),
            "allow_unknown_precision": False,
        }
        | fields
    )


class Output:
    """What stands for another task's output while a DAG is parsed."""

    def __str__(self) -> str:
        raise AssertionError("it is not to be looked into")


@pytest.mark.parametrize(
    "fields",
    [
        pytest.param({}, id="an id"),
        pytest.param({"model": "accounts/demo/models/m"}, id="a full name"),
        pytest.param({"precision": Precision.FP8}, id="a member"),
        pytest.param({"precision": ["FP8", "FP4"]}, id="several"),
        pytest.param({"accept_precisions": ["FP8_V2"]}, id="others accepted"),
        pytest.param({"accept_precisions": "FP8_V2"}, id="another accepted, as text"),
        pytest.param({"model": "{{ params.model }}", "precision": "{{ params.p }}"}, id="templates"),
        pytest.param({"model": "{% if x %}a{% endif %}"}, id="a template's block"),
        pytest.param({"precision": ["FP8", "{{ params.p }}"]}, id="a template among them"),
        pytest.param({"model": Output(), "precision": Output()}, id="outputs of other tasks"),
        pytest.param({"accept_precisions": [Output()]}, id="an output among them"),
        pytest.param({"accept_precisions": None}, id="none accepted"),
        pytest.param({"precision": "NEW", "allow_unknown_precision": True}, id="a newer one, allowed"),
        pytest.param(
            {"precision": "NEW", "allow_unknown_precision": "{{ x }}"}, id="a newer one, perhaps allowed"
        ),
        pytest.param(
            {"precision": "NEW", "allow_unknown_precision": Output()}, id="a newer one, allowed by a task"
        ),
    ],
)
def test_what_may_be_right_is_left_for_later(fields):
    literals(**fields)


@pytest.mark.parametrize(
    ("fields", "told"),
    [
        pytest.param({"model": "My Model"}, "'My Model' is no model id", id="a model"),
        pytest.param({"model": ""}, "is no model", id="an empty model"),
        pytest.param({"model": "accounts/a/deployments/m"}, "is no model", id="another resource"),
        pytest.param({"precision": "fp8"}, "Did you mean 'FP8'", id="a precision"),
        pytest.param({"precision": ["FP8", "FP9"]}, "'FP9' is no precision", id="one of several"),
        pytest.param({"precision": ("FP9",)}, "'FP9' is no precision", id="one of a tuple"),
        pytest.param({"accept_precisions": ["fp8"]}, "'fp8' is no precision", id="an accepted one"),
        pytest.param(
            {"model": "a/b", "allow_unknown_precision": True},
            "is no model",
            id="a model, unknown ones allowed",
        ),
    ],
)
def test_a_literal_that_is_wrong_is_refused_while_the_dag_is_parsed(fields, told):
    with pytest.raises(FireworksInvalidArgument, match=told):
        literals(**fields)


def test_rendered_arguments_have_the_right_types():
    rendered = {
        "model": "my-model",
        "precision": "FP8",
        "accept_precisions": ("FP8_V2", Precision.FP4),
        "allow_unknown_precision": "False",
        "require_confirmation": "true",
        "deferrable": "1",
        "wait_for_completion": "no",
        "poll_interval": "30",
        "timeout": "600.5",
        "account_id": None,
        "fireworks_conn_id": "c",
    }
    arguments = ModelArguments.check(**rendered)
    assert arguments.precision == ["FP8"]
    assert arguments.accept_precisions == ["FP8_V2", "FP4"]
    assert (arguments.allow_unknown_precision, arguments.require_confirmation) == (False, True)
    assert (arguments.deferrable, arguments.wait_for_completion) == (True, False)
    assert (arguments.poll_interval, arguments.timeout) == (30.0, 600.5)


@pytest.mark.parametrize("precision", ["FP8", ["FP8"], ("FP8",), Precision.FP8, [Precision.FP8]])
def test_a_precision_is_a_list_of_one(precision):
    checked = ModelArguments.check(**GOOD | {"precision": precision}).precision
    assert checked == ["FP8"]
    assert [f"{each}" for each in checked] == ["FP8"]


def test_durations_may_be_timedeltas():
    arguments = ModelArguments.check(
        **GOOD | {"poll_interval": timedelta(minutes=1), "timeout": timedelta(hours=2)}
    )
    assert (arguments.poll_interval, arguments.timeout) == (60, 7200)


@pytest.mark.parametrize(
    ("fields", "told"),
    [
        pytest.param({"model": "a/../b"}, "'a/../b' is no model", id="a path"),
        pytest.param({"model": "None"}, "'None' is no model id", id="a template that rendered to None"),
        pytest.param({"model": None}, "model: ", id="no model"),
        pytest.param({"precision": "fp8"}, "Did you mean 'FP8'", id="a misspelt precision"),
        pytest.param({"precision": []}, "precision: ", id="no precision"),
        pytest.param({"precision": None}, "precision: ", id="precision None"),
        pytest.param({"precision": {"a": 1}}, "precision: ", id="precision a dict"),
        pytest.param({"precision": [8]}, "precision.0: ", id="precision a number"),
        pytest.param({"precision": "['FP8', 'FP4']"}, "is no precision", id="a list rendered to text"),
        pytest.param({"accept_precisions": ["x"]}, "'x' is no precision", id="accepted"),
        pytest.param(
            {"precision": ["FP8", "FP4"], "accept_precisions": ["NF4"]},
            "accept_precisions goes with one precision",
            id="accepted beside several",
        ),
        pytest.param({"timeout": -1}, "timeout: ", id="a negative timeout"),
        pytest.param({"timeout": "soon"}, "timeout: .*not 'soon'", id="a timeout in words"),
        pytest.param({"timeout": "inf"}, "timeout: ", id="an infinite timeout"),
        pytest.param({"timeout": float("nan")}, "timeout: ", id="a timeout that is no number"),
        pytest.param({"timeout": None}, "timeout: ", id="no timeout"),
        pytest.param({"timeout": timedelta(seconds=-1)}, "timeout: ", id="a timedelta back in time"),
        pytest.param({"poll_interval": ""}, "poll_interval: ", id="an empty interval"),
        pytest.param({"poll_interval": "-0.1"}, "poll_interval: ", id="a negative interval"),
        pytest.param({"deferrable": "perhaps"}, "deferrable: .*not 'perhaps'", id="no boolean"),
        pytest.param({"account_id": 5}, "account_id: ", id="an account that is no text"),
        pytest.param({"pool_interval": 5}, "pool_interval: ", id="an argument that there is not"),
    ],
)
def test_what_is_wrong_is_named(fields, told):
    with pytest.raises(FireworksInvalidArgument, match=told):
        ModelArguments.check(**GOOD | fields)


def test_all_that_is_wrong_is_named_at_once():
    with pytest.raises(FireworksInvalidArgument) as refused:
        ModelArguments.check(**GOOD | {"timeout": "soon", "deferrable": "perhaps"})
    assert "timeout: " in str(refused.value)
    assert "deferrable: " in str(refused.value)


def test_a_newer_precision_passes_where_it_is_allowed():
    fields = {"precision": "INT8", "accept_precisions": ["INT8_V2"]}
    assert ModelArguments.check(**GOOD | fields | {"allow_unknown_precision": "True"}).precision == ["INT8"]
    with pytest.raises(FireworksInvalidArgument, match="'INT8' is no precision"):
        ModelArguments.check(**GOOD | fields)


def test_arguments_share_no_list():
    ModelArguments.check(**GOOD).accept_precisions.append("x")
    assert ModelArguments.check(**GOOD).accept_precisions == []
