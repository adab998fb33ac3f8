from __future__ import annotations

import json
from itertools import product

import pytest
from pydantic import ValidationError

from airflow_provider_fireworks.client.errors import AnswerLostError
from airflow_provider_fireworks.client.shapes import Deployment, Status
from airflow_provider_fireworks.creation import LONGEST_PAUSE, SHORTEST_PAUSE, Creation, Owner, Step

NAME = "accounts/demo/deployments/d"
MODEL = "accounts/demo/models/my-model"
OTHERS_MODEL = "accounts/demo/models/my-other-model"
NOW = 1_750_000_000.0

STATES = ["CREATING", "READY", "UPDATING", "DELETING", "DELETED", "FAILED", "SOMETHING_NEW", "", None]
ALIVE = ["CREATING", "READY", "UPDATING", "SOMETHING_NEW", "", None]
MINE = [Owner.THIS_TASK, Owner.EARLIER_RUN]
BOTH = [True, False]

# What is found: state, owner, of the same model and precision, made in this try → (step, there may be one of ours)
ROWS = [
    (STATES, [Owner.OTHER], BOTH, BOTH, Step.CONFLICT, False),
    (["DELETING"], MINE, BOTH, BOTH, Step.PAUSE, True),
    (["DELETED"], MINE, [True], BOTH, Step.UNDELETE, True),
    (["DELETED"], MINE, [False], BOTH, Step.REMOVE, True),
    (["FAILED"], MINE, BOTH, [True], Step.FAILED, True),
    (["FAILED"], MINE, BOTH, [False], Step.REMOVE, True),
    (ALIVE, MINE, [False], [False], Step.CONFLICT, False),
    (ALIVE, [Owner.EARLIER_RUN], [True], BOTH, Step.SIGN, True),
    (ALIVE, [Owner.EARLIER_RUN], [False], [True], Step.SIGN, True),
    (ALIVE, [Owner.THIS_TASK], [True], BOTH, Step.THERE, True),
    (ALIVE, [Owner.THIS_TASK], [False], [True], Step.THERE, True),
]
TABLE = [
    (*found, step, ours)
    for states, owners, same, made, step, ours in ROWS
    for found in product(states, owners, same, made)
]


def creation(**fields) -> Creation:
    return Creation(**{"deployment": NAME, "base_model": MODEL, "deadline": NOW + 3600} | fields)


def deployment(state: str | None = "READY", **fields) -> Deployment:
    return Deployment(**{"name": NAME, "base_model": MODEL, "precision": "FP8", "state": state} | fields)


def test_the_table_has_one_row_for_everything_that_can_be_found():
    found = [row[:4] for row in TABLE]
    assert sorted(map(repr, found)) == sorted(map(repr, product(STATES, Owner, BOTH, BOTH)))


@pytest.mark.parametrize("taken", BOTH, ids=["taken", "free"])
@pytest.mark.parametrize(("state", "owner", "same", "made", "step", "ours"), TABLE)
def test_what_is_found_decides_the_step(state, owner, same, made, taken, step, ours):
    standing = creation(made=made, taken=taken, uncertain=True, was_uncertain=True, ours=True)
    found = deployment(state, base_model=MODEL if same else OTHERS_MODEL)
    standing.look(found, owner, "FP8", now=NOW)
    assert (standing.step, standing.ours) == (step, ours)
    # It has been seen, so nothing is left to guess.
    assert (standing.taken, standing.uncertain, standing.was_uncertain) == (False, False, False)
    assert standing.made is made


@pytest.mark.parametrize("owner", Owner)
@pytest.mark.parametrize("made", BOTH, ids=["made", "not made"])
@pytest.mark.parametrize("uncertain", BOTH, ids=["uncertain", "certain"])
@pytest.mark.parametrize(("taken", "step"), [(False, Step.CHECK_MODEL), (True, Step.PAUSE)])
def test_where_there_is_none_it_is_made_unless_its_id_is_taken(taken, step, owner, made, uncertain):
    standing = creation(taken=taken, made=made, ours=True, uncertain=uncertain)
    standing.look(None, owner, "FP8", now=NOW)
    assert standing.step is step
    # That it does not show is no proof that there is none.
    assert (standing.ours, standing.uncertain, standing.taken) == (True, uncertain, taken)


@pytest.mark.parametrize(
    ("asked", "found", "same"),
    [
        ("FP8", "FP8", True),
        ("FP8", "FP4", False),
        ("FP8", "fp8", False),
        ("FP8", None, True),
        ("FP8", "", True),
        ("FP8", "PRECISION_UNSPECIFIED", True),
        (None, "FP4", True),
        (None, None, True),
    ],
)
def test_when_it_is_the_precision_that_was_asked_for(asked, found, same):
    standing = creation()
    standing.look(deployment(precision=found), Owner.THIS_TASK, asked, now=NOW)
    assert standing.step is (Step.THERE if same else Step.CONFLICT)


@pytest.mark.parametrize("state", STATES)
def test_whether_it_is_ready_is_remembered_of_the_last_look(state):
    standing = creation(ready=True)
    standing.look(deployment(state), Owner.THIS_TASK, None, now=NOW)
    assert standing.ready is (state == "READY")


@pytest.mark.parametrize(
    ("found", "owner", "made", "told"),
    [
        (None, Owner.OTHER, False, "no such deployment"),
        (deployment(), Owner.OTHER, False, "something else"),
        (deployment("DELETING"), Owner.THIS_TASK, False, "being deleted"),
        (deployment("DELETED"), Owner.THIS_TASK, False, "id is still taken"),
        (deployment("FAILED", status=Status(code="INTERNAL", message="no GPU")), Owner.THIS_TASK, True, "no GPU"),
        (deployment("FAILED", status=Status(code="INTERNAL", message="no GPU")), Owner.THIS_TASK, False, "no GPU"),
        (deployment(base_model=OTHERS_MODEL), Owner.THIS_TASK, False, f"serves {OTHERS_MODEL} at FP8"),
        (deployment(), Owner.EARLIER_RUN, False, "earlier run"),
        (deployment(None), Owner.THIS_TASK, False, "its state is unset"),
        (deployment("NEW"), Owner.THIS_TASK, False, "its state is NEW"),
    ],
)  # fmt: skip
def test_the_note_says_why(found, owner, made, told):
    standing = creation(made=made)
    standing.look(found, owner, "FP8", now=NOW)
    assert told in standing.note


def test_it_begins_with_a_look_and_owns_nothing():
    standing = creation()
    assert standing.step is Step.LOOK
    assert not any((standing.ours, standing.uncertain, standing.made, standing.taken, standing.ready))


def test_a_model_that_is_ready_is_deployed():
    standing = creation(step=Step.CHECK_MODEL)
    standing.model_is_ready()
    assert standing.step is Step.CREATE


def test_from_the_post_on_there_may_be_one():
    standing = creation()
    standing.sending(NOW)
    assert (standing.ours, standing.uncertain, standing.was_uncertain) == (True, True, False)
    assert standing.made_at == NOW
    assert not standing.made


def test_what_was_accepted_is_there_and_may_not_show_yet():
    standing = creation()
    standing.sending(NOW)
    standing.was_accepted()
    assert (standing.step, standing.made, standing.ours, standing.uncertain) == (Step.THERE, True, True, True)
    assert not standing.ready


@pytest.mark.parametrize(("after", "step"), [(0, Step.PAUSE), (29, Step.PAUSE), (30, Step.FAILED)])
def test_what_was_made_just_now_and_does_not_show_yet_is_waited_for(after, step):
    standing = creation()
    standing.sending(NOW)
    standing.was_accepted()
    standing.look(None, Owner.OTHER, "FP8", now=NOW + after)
    assert (standing.step, standing.ours, standing.uncertain) == (step, True, True)


def test_what_was_brought_back_is_looked_at_and_a_failure_of_it_is_news():
    standing = creation()
    standing.look(deployment("DELETED"), Owner.THIS_TASK, None, now=NOW)
    standing.sending(NOW)
    standing.brought_back()
    assert (standing.step, standing.made, standing.ours) == (Step.PAUSE, True, True)
    standing.look(deployment("FAILED"), Owner.THIS_TASK, None, now=NOW)
    assert standing.step is Step.FAILED


def test_after_a_lost_answer_only_a_look_can_tell():
    standing = creation()
    standing.sending(NOW)
    standing.lost(AnswerLostError("cut off"))
    assert (standing.step, standing.ours, standing.uncertain) == (Step.PAUSE, True, True)
    assert "cut off" in standing.note
    standing.look(deployment("FAILED"), Owner.THIS_TASK, None, now=NOW)
    assert standing.step is Step.FAILED


def test_after_a_refusal_there_is_none_of_ours():
    standing = creation()
    standing.sending(NOW)
    standing.not_made()
    assert (standing.step, standing.ours, standing.uncertain) == (Step.LOOK, False, False)


def test_a_refusal_says_nothing_of_an_earlier_answer_that_was_lost():
    standing = creation()
    standing.sending(NOW)
    standing.lost(AnswerLostError("cut off"))
    standing.look(None, Owner.OTHER, None, now=NOW)
    standing.sending(NOW + 1)
    standing.not_made()
    assert (standing.ours, standing.uncertain) == (True, True)
    standing.sending(NOW + 2)
    standing.id_taken()
    assert (standing.ours, standing.uncertain, standing.taken) == (True, True, True)


def test_an_id_that_is_taken_and_shows_nothing_is_waited_for_and_tried_again():
    standing = creation()
    standing.sending(NOW)
    standing.not_made()
    standing.id_taken()
    assert (standing.step, standing.taken, standing.ours) == (Step.LOOK, True, False)
    standing.look(None, Owner.OTHER, None, now=NOW)
    assert standing.step is Step.PAUSE
    standing.pause(15, NOW)
    assert (standing.step, standing.taken) == (Step.CHECK_MODEL, True)
    standing.look(deployment(), Owner.THIS_TASK, None, now=NOW)
    assert (standing.step, standing.taken, standing.ours) == (Step.THERE, False, True)


def test_after_a_pause_for_a_deletion_comes_a_look():
    standing = creation()
    standing.look(deployment("DELETING"), Owner.THIS_TASK, None, now=NOW)
    standing.pause(15, NOW)
    assert standing.step is Step.LOOK


@pytest.mark.parametrize(
    ("interval", "seconds"),
    [(0, SHORTEST_PAUSE), (-1, SHORTEST_PAUSE), (5, 5), (15, LONGEST_PAUSE), (3600, LONGEST_PAUSE)],
)
def test_a_pause_is_neither_too_short_nor_too_long(interval, seconds):
    assert creation().pause(interval, NOW) == seconds


@pytest.mark.parametrize(("after", "seconds"), [(0, SHORTEST_PAUSE), (4, 4), (29, LONGEST_PAUSE)])
def test_what_was_asked_for_just_now_is_looked_for_soon(after, seconds):
    standing = creation()
    standing.sending(NOW)
    assert standing.pause(15, NOW + after) == seconds


def test_something_done_calls_for_a_look():
    standing = creation(step=Step.REMOVE)
    standing.look_again()
    assert standing.step is Step.LOOK


def test_inference_is_asked_by_model_and_deployment():
    assert creation().inference_model == f"{MODEL}#{NAME}"


def test_it_is_kept_as_plain_json_over_a_deferral():
    standing = creation()
    standing.sending(NOW)
    standing.was_accepted()
    carried = standing.model_dump(mode="json", exclude_defaults=True)
    assert json.loads(json.dumps(carried)) == carried
    assert Creation.model_validate(carried) == standing
    with pytest.raises(ValidationError):
        Creation.model_validate(carried | {"api_key": "fw_x"})
