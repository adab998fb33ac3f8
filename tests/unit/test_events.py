"""The payloads of triggers' events, and what comes back that is none of them."""

from __future__ import annotations

import json

import pytest
from hypothesis import given, strategies as st

from airflow_provider_fireworks.exceptions import FireworksInvalidEvent
from airflow_provider_fireworks.polling import Event, Outcome, Verdict
from airflow_provider_fireworks.task import parse_resumed

WAIT = {"model": "accounts/demo/models/my-model", "deadline": 1.5}
STATE = {"step": "requested"}
READY = {
    "outcome": "ready",
    "reason": "listed",
    "precision": "FP8",
    "inferred": False,
    "nothing_seen": False,
    "can_prepare_again": False,
    "inference_model": None,
}
PAYLOAD = {"verdict": READY, "wait": WAIT, "resume_state": STATE}


def parse(payload: object) -> Event:
    return parse_resumed(Event, payload)


@pytest.mark.parametrize("outcome", [outcome for outcome in Outcome if outcome is not Outcome.PENDING])
def test_event_survives_json(outcome):
    verdict = Verdict(outcome, "why", precision="FP8", inferred=True, can_prepare_again=True)
    event = Event(verdict=verdict, wait=WAIT, resume_state=STATE)
    assert parse(json.loads(json.dumps(event.model_dump(mode="json")))) == event


def test_event_is_plain_json():
    verdict = Verdict(Outcome.READY, "listed", precision="FP8")
    assert Event(verdict=verdict, wait=WAIT, resume_state=STATE).model_dump(mode="json") == PAYLOAD


def test_event_parses_minimal_verdict():
    event = parse({"verdict": {"outcome": "failed", "reason": "r"}, "wait": {}, "resume_state": {}})
    assert event == Event(verdict=Verdict(Outcome.FAILED, "r"), wait={}, resume_state={})


INVALID = {
    # payload, the beginning of the problem
    "None": (None, "event: Input should be a valid dictionary"),
    "text": ("ready", "event: Input should be a valid dictionary"),
    "list": (["resume_state", "verdict", "wait"], "event: Input should be a valid dictionary"),
    "empty": ({}, "verdict: Field required; wait: Field required; resume_state: Field required"),
    "of another trigger": ({"status": "success"}, "verdict: Field required"),
    "without verdict": ({"wait": WAIT, "resume_state": STATE}, "verdict: Field required"),
    "without wait": ({"verdict": READY, "resume_state": STATE}, "wait: Field required"),
    "without state": ({"verdict": READY, "wait": WAIT}, "resume_state: Field required"),
    "wait is None": (PAYLOAD | {"wait": None}, "wait: Input should be a valid dictionary"),
    "state is None": (PAYLOAD | {"resume_state": None}, "resume_state: Input should be a valid dictionary"),
    "state is text": (PAYLOAD | {"resume_state": "x"}, "resume_state: Input should be a valid dictionary"),
    "unknown field": (PAYLOAD | {"x": 1}, "x: Extra inputs are not permitted"),
    "verdict is None": (PAYLOAD | {"verdict": None}, "verdict: "),
    "verdict is text": (PAYLOAD | {"verdict": "ready"}, "verdict: "),
    "verdict is empty": (PAYLOAD | {"verdict": {}}, "verdict.outcome: Field required"),
    "verdict has unknown field": (PAYLOAD | {"verdict": READY | {"x": 1}}, "verdict.x: Unexpected"),
    "pending": (PAYLOAD | {"verdict": READY | {"outcome": "pending"}}, "verdict: the wait is not over"),
    "unknown outcome": (PAYLOAD | {"verdict": READY | {"outcome": "done"}}, "verdict.outcome: "),
    "outcome is None": (PAYLOAD | {"verdict": READY | {"outcome": None}}, "verdict.outcome: "),
    "precision is a list": (PAYLOAD | {"verdict": READY | {"precision": ["FP8"]}}, "verdict.precision: "),
    "precision is a number": (PAYLOAD | {"verdict": READY | {"precision": 8}}, "verdict.precision: "),
    "reason is None": (PAYLOAD | {"verdict": READY | {"reason": None}}, "verdict.reason: "),
    "inferred is text": (PAYLOAD | {"verdict": READY | {"inferred": "perhaps"}}, "verdict.inferred: "),
}


@pytest.mark.parametrize(("payload", "problem"), INVALID.values(), ids=INVALID)
def test_invalid_event_raises_with_its_problem(payload, problem):
    with pytest.raises(FireworksInvalidEvent) as failure:
        parse(payload)
    assert str(failure.value).startswith(f"The trigger's event is invalid: {problem}")


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=5,
)


@given(
    payload=JSON | st.fixed_dictionaries({"verdict": JSON, "wait": st.just({}), "resume_state": st.just({})})
)
def test_any_other_event_raises_nothing_else(payload):
    with pytest.raises(FireworksInvalidEvent):
        parse(payload)
