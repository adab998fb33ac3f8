"""Which options are valid, and which have a description for the help."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from airflow_provider_fireworks.client.precision import Precision
from airflow_provider_fireworks.emulator.faults import Fault
from airflow_provider_fireworks.emulator.options import Options


@pytest.mark.parametrize("model", [Options, Fault])
def test_every_field_has_a_description(model):
    undocumented = [name for name, field in model.model_fields.items() if not field.description]
    assert undocumented in ([], ["kind"])


@pytest.mark.parametrize(
    "changes",
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
        {"prepare_fields": "some"},
        {"prepare_refusal": "later"},
        {"abort_precision": "forbidden"},
        {"abort_idle": "aborted"},
        {"abort_status": "failed"},
        {"outcome": "stays_creating"},
        {"model_release_lag": -1},
        {"capacity_after": -1},
        {"inference_names": "model"},
        {"shapeless": "sometimes"},
        {"validate_only": "ignored"},
        {"match_shapes": "none"},
        {"router_duration": -1},
        {"router_outcome": "failed"},
        {"router_updating": "both"},
        {"router_regions": "single"},
        {"delete_routed": "ignored"},
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
def test_invalid_option_is_refused(changes):
    with pytest.raises(ValidationError):
        Options().changed(**changes)


def test_changed_keeps_the_other_options():
    options = Options(duration=3).changed(start_lag=1)
    assert (options.duration, options.start_lag) == (3, 1)


def test_options_accept_precision_members_and_numbers():
    options = Options().changed(
        outcomes={Precision.FP8: "never"}, deploy_outcomes={Precision.FP4: "failed"}, retry_after=5
    )
    assert (options.outcome_of("FP8"), options.outcome_of("FP4")) == ("never", "ok")
    assert (options.deploy_outcome_of("FP4"), options.deploy_outcome_of("FP8")) == ("failed", "ok")
    assert options.retry_after == "5"
