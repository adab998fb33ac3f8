from __future__ import annotations

import json

import pytest
from hypothesis import given, strategies as st

from airflow_provider_fireworks.polling import Outcome, Verdict

CARRY = {"model": "accounts/demo/models/my-model", "started_at": 1.5}
READY = {
    "outcome": "ready",
    "reason": "named",
    "precision": "FP8",
    "inferred": False,
    "can_prepare_again": False,
}


@pytest.mark.parametrize("outcome", Outcome)
def test_every_outcome_but_pending_ends_a_wait(outcome):
    assert Verdict(outcome, "r").is_terminal is (outcome is not Outcome.PENDING)


@pytest.mark.parametrize("outcome", [outcome for outcome in Outcome if outcome is not Outcome.PENDING])
def test_a_verdict_survives_the_way_through_an_event_with_what_the_task_gave_along(outcome):
    verdict = Verdict(outcome, "why", precision="FP8", inferred=True, can_prepare_again=True)
    event = json.loads(json.dumps(verdict.to_event(CARRY)))
    assert Verdict.from_event(event) == (verdict, CARRY)


def test_an_event_is_plain_json():
    event = Verdict(Outcome.READY, "named", precision="FP8").to_event(CARRY)
    assert event == {"verdict": READY, "resume_state": CARRY}


def test_an_event_of_the_least_that_a_verdict_has():
    event = {"verdict": {"outcome": "failed", "reason": "r"}, "resume_state": {}}
    assert Verdict.from_event(event) == (Verdict(Outcome.FAILED, "r"), {})


@pytest.mark.parametrize(
    ("event", "why"),
    [
        pytest.param(None, "no verdict", id="nothing"),
        pytest.param("ready", "no verdict", id="text"),
        pytest.param(["resume_state", "verdict"], "no verdict", id="a list"),
        pytest.param({}, "no verdict", id="empty"),
        pytest.param({"status": "success"}, "no verdict", id="another trigger's"),
        pytest.param({"resume_state": CARRY}, "no verdict", id="no verdict in it"),
        pytest.param({"verdict": READY}, "no verdict", id="nothing given along"),
        pytest.param({"verdict": READY, "resume_state": None}, "no verdict", id="None given along"),
        pytest.param({"verdict": READY, "resume_state": "x"}, "no verdict", id="text given along"),
        pytest.param({"resume_state": CARRY, "verdict": READY, "x": 1}, "no verdict", id="more than that"),
        pytest.param({"resume_state": CARRY, "verdict": None}, None, id="verdict nothing"),
        pytest.param({"resume_state": CARRY, "verdict": "ready"}, None, id="verdict text"),
        pytest.param({"resume_state": CARRY, "verdict": {}}, None, id="verdict empty"),
        pytest.param({"resume_state": CARRY, "verdict": READY | {"x": 1}}, None, id="verdict with more"),
        pytest.param(
            {"resume_state": CARRY, "verdict": READY | {"outcome": "pending"}}, "not over", id="pending"
        ),
        pytest.param(
            {"resume_state": CARRY, "verdict": READY | {"outcome": "done"}},
            None,
            id="an outcome that is none",
        ),
        pytest.param({"resume_state": CARRY, "verdict": READY | {"outcome": None}}, None, id="no outcome"),
        pytest.param(
            {"resume_state": CARRY, "verdict": READY | {"precision": ["FP8"]}},
            None,
            id="a list of precisions",
        ),
        pytest.param(
            {"resume_state": CARRY, "verdict": READY | {"precision": 8}}, None, id="precision a number"
        ),
        pytest.param({"resume_state": CARRY, "verdict": READY | {"reason": None}}, None, id="no reason"),
        pytest.param(
            {"resume_state": CARRY, "verdict": READY | {"inferred": "perhaps"}}, None, id="inferred a word"
        ),
    ],
)
def test_an_event_that_makes_no_sense_is_refused(event, why):
    with pytest.raises(ValueError, match=why):
        Verdict.from_event(event)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=5,
)


@given(event=JSON | st.fixed_dictionaries({"resume_state": st.just(CARRY), "verdict": JSON}))
def test_no_event_at_all_raises_anything_but_a_value_error(event):
    with pytest.raises(ValueError, match=r"."):
        Verdict.from_event(event)
