from __future__ import annotations

import pytest
from pydantic import ValidationError

from airflow_provider_fireworks.emulator.faults import Fault
from airflow_provider_fireworks.emulator.options import Options
from airflow_provider_fireworks.gateway.precision import Precision


@pytest.mark.parametrize("shape", [Options, Fault])
def test_every_field_says_what_it_means(shape):
    undocumented = [name for name, field in shape.model_fields.items() if not field.description]
    assert undocumented in ([], ["kind"])


@pytest.mark.parametrize(
    "wrong",
    [
        {"no_such_option": 1},
        {"duration": -1},
        {"duration": float("inf")},
        {"outcome": "great"},
        {"outcomes": {"FP99": "ok"}},
        {"outcomes": {"FP8": "great"}},
        {"precision_lists": "some"},
        {"second_prepare": "ok"},
        {"same_prepare": "ignored"},
        {"unauthorized_status": 404},
        {"requests_per_minute": 0},
        {"accounts": []},
        {"accounts": ["UPPER"]},
        {"accounts": ["a", "a"]},
        {"accounts": ["fireworks"]},
        {"extra_models": ["no/id"]},
        {"api_key": ""},
    ],
)
def test_what_makes_no_sense_is_refused(wrong):
    with pytest.raises(ValidationError):
        Options().changed(**wrong)


def test_changing_some_keeps_the_others():
    options = Options(duration=3).changed(start_lag=1)
    assert (options.duration, options.start_lag) == (3, 1)


def test_members_of_precision_and_plain_numbers_are_welcome():
    options = Options().changed(outcomes={Precision.FP8: "never"}, retry_after=5)
    assert options.outcome_of("FP8") == "never"
    assert options.retry_after == "5"
