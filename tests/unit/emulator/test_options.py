from __future__ import annotations

import pytest
from pydantic import ValidationError

from airflow_provider_fireworks.client.precision import Precision
from airflow_provider_fireworks.emulator.faults import Fault
from airflow_provider_fireworks.emulator.options import Options


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
        {"deploy_outcome": "great"},
        {"deploy_outcomes": {"FP99": "ok"}},
        {"deploy_duration": -1},
        {"scale_to_zero_after": -1},
        {"gpu_quota": -1},
        {"quota_status": 503},
        {"deleted_get": "maybe"},
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
    options = Options().changed(
        outcomes={Precision.FP8: "never"}, deploy_outcomes={Precision.FP4: "failed"}, retry_after=5
    )
    assert (options.outcome_of("FP8"), options.outcome_of("FP4")) == ("never", "ok")
    assert (options.deploy_outcome_of("FP4"), options.deploy_outcome_of("FP8")) == ("failed", "ok")
    assert options.retry_after == "5"
