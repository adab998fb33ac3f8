from __future__ import annotations

import json
from dataclasses import replace
from itertools import product
from typing import Any

import pytest
from pydantic import ValidationError

from airflow_provider_fireworks.changes import digest_of
from airflow_provider_fireworks.client.errors import AnswerLostError
from airflow_provider_fireworks.client.shapes import Deployment, Status
from airflow_provider_fireworks.creation import LONGEST_PAUSE, SHORTEST_PAUSE, Creation, Owner, Step
from airflow_provider_fireworks.identity import Identity

NAME = "accounts/demo/deployments/d"
MODEL = "accounts/demo/models/my-model"
OTHERS_MODEL = "accounts/demo/models/my-other-model"
NOW = 1_750_000_000.0

STATES = ["CREATING", "READY", "UPDATING", "DELETING", "DELETED", "FAILED", "SOMETHING_NEW", "", None]
ALIVE = ["CREATING", "READY", "UPDATING", "SOMETHING_NEW", "", None]
MINE = [Owner.THIS_TASK, Owner.EARLIER_RUN]
BOTH = [True, False]

CHANGED = ["nothing", "updatable", "fixed"]

# What is found: state, owner, changed arguments, made in this try → (step, there may be one of ours)
ROWS = [
    (STATES, [Owner.OTHER], CHANGED, BOTH, Step.CONFLICT, False),
    (["DELETING"], MINE, CHANGED, BOTH, Step.PAUSE, True),
    (["DELETED"], MINE, ["nothing", "updatable"], BOTH, Step.UNDELETE, True),
    (["DELETED"], MINE, ["fixed"], [True], Step.UNDELETE, True),
    (["DELETED"], MINE, ["fixed"], [False], Step.REMOVE, True),
    (["FAILED"], MINE, CHANGED, [True], Step.FAILED, True),
    (["FAILED"], MINE, CHANGED, [False], Step.REMOVE, True),
    (["CREATING"], [Owner.THIS_TASK], ["fixed"], [False], Step.REMOVE, True),
    (["CREATING"], [Owner.EARLIER_RUN], ["fixed"], [False], Step.CONFLICT, False),
    ([state for state in ALIVE if state != "CREATING"], MINE, ["fixed"], [False], Step.CONFLICT, False),
    (ALIVE, [Owner.EARLIER_RUN], ["nothing", "updatable"], [False], Step.UPDATE, True),
    (ALIVE, [Owner.EARLIER_RUN], CHANGED, [True], Step.UPDATE, True),
    (ALIVE, [Owner.THIS_TASK], ["updatable"], [False], Step.UPDATE, True),
    (ALIVE, [Owner.THIS_TASK], ["nothing"], [False], Step.THERE, True),
    # What this try has made is not given up because the API spells things otherwise.
    (ALIVE, [Owner.THIS_TASK], CHANGED, [True], Step.THERE, True),
]
TABLE = [
    (*found, step, ours)
    for states, owners, changed, made, step, ours in ROWS
    for found in product(states, owners, changed, made)
]

SPEC: dict[str, Any] = {
    "baseModel": MODEL,
    "displayName": "made",
    "precision": "FP8",
    "acceleratorType": "NVIDIA_H100_80GB",
    "minReplicaCount": 0,
    "maxReplicaCount": 2,
}
NOW_ASKED: dict[str, dict[str, Any]] = {
    "nothing": SPEC,
    "updatable": SPEC | {"maxReplicaCount": 5, "displayName": "mine"},
    "fixed": SPEC | {"precision": "FP4"},
}
ME = Identity("my_dag", "manual__2", "deploy", airflow="http://airflow.example", digest=digest_of(SPEC))
EARLIER = replace(ME, run_id="manual__1")


def creation(**fields: Any) -> Creation:
    return Creation(**{"deployment": NAME, "base_model": MODEL, "deadline": NOW + 3600} | fields)


def deployment(state: str | None = "READY", signed: Identity | None = ME, **fields: Any) -> Deployment:
    """Return a deployment as it was requested with ``SPEC``, signed so."""
    description = signed.description if signed else "Made by hand."
    return Deployment.model_validate(
        SPEC | {"name": NAME, "state": state, "description": description} | fields
    )


def test_the_table_has_one_row_for_everything_that_can_be_found():
    found = [row[:4] for row in TABLE]
    assert sorted(map(repr, found)) == sorted(map(repr, product(STATES, Owner, CHANGED, BOTH)))


@pytest.mark.parametrize("taken", BOTH, ids=["taken", "free"])
@pytest.mark.parametrize(("state", "owner", "changed", "made", "step", "ours"), TABLE)
def test_what_is_found_decides_the_step(state, owner, changed, made, taken, step, ours):
    standing = creation(made=made, taken=taken, uncertain=True, was_uncertain=True, ours=True)
    standing.look(deployment(state), owner, NOW_ASKED[changed], now=NOW)
    assert (standing.step, standing.ours) == (step, ours)
    # It has been seen, so nothing is left to guess.
    assert (standing.taken, standing.uncertain, standing.was_uncertain) == (False, False, False)
    assert standing.made is made


@pytest.mark.parametrize("made", BOTH, ids=["made", "not made"])
@pytest.mark.parametrize("changed", CHANGED)
@pytest.mark.parametrize("owner", MINE)
@pytest.mark.parametrize("state", STATES)
def test_creation_updates_only_what_was_requested_otherwise(
    state: str | None, owner: Owner, changed: str, made: bool
) -> None:
    standing = creation(made=made, updates={"displayName": "of an earlier look"})
    standing.look(deployment(state, maxReplicaCount=9), owner, NOW_ASKED[changed], now=NOW)
    if made or changed != "updatable":
        assert standing.updates == {}
    else:
        assert standing.updates == {"displayName": "mine", "maxReplicaCount": 5}


@pytest.mark.parametrize("changed", ["nothing", "updatable"])
def test_creation_is_there_again_once_the_update_is_signed(changed: str) -> None:
    standing = creation()
    asked = NOW_ASKED[changed]
    standing.look(deployment(signed=EARLIER), Owner.EARLIER_RUN, asked, now=NOW)
    assert standing.step is Step.UPDATE
    standing.changed("It was updated.")
    standing.pause(15, NOW)
    signed = replace(ME, kept=standing.kept, digest=digest_of(asked))
    standing.look(deployment(signed=signed), Owner.THIS_TASK, asked, now=NOW)
    assert (standing.step, standing.updates, standing.kept) == (Step.THERE, {}, True)


def test_creation_conflict_names_each_changed_field_old_and_new() -> None:
    standing = creation()
    standing.look(
        deployment(), Owner.THIS_TASK, SPEC | {"precision": "FP4", "baseModel": OTHERS_MODEL}, now=NOW
    )
    assert standing.step is Step.CONFLICT
    assert "precision FP8 → FP4" in standing.note
    assert f"base_model {MODEL} → {OTHERS_MODEL}" in standing.note
    assert "may cost money" in standing.note


def test_creation_notes_name_what_is_replaced_and_updated() -> None:
    standing = creation()
    standing.look(deployment("CREATING"), Owner.THIS_TASK, NOW_ASKED["fixed"], now=NOW)
    assert (standing.step, "precision FP8 → FP4" in standing.note) == (Step.REMOVE, True)
    standing.look(deployment(), Owner.THIS_TASK, NOW_ASKED["updatable"], now=NOW)
    assert standing.note == "Its arguments have changed: display_name made → mine, max_replica_count 2 → 5."
    standing.look(deployment(), Owner.EARLIER_RUN, NOW_ASKED["updatable"], now=NOW)
    assert standing.note.startswith(
        "It was created in an earlier run, which is over. Its arguments have changed: "
    )
    standing.look(deployment(), Owner.EARLIER_RUN, SPEC, now=NOW)
    assert standing.note == "It was created in an earlier run, which is over."


SPELLINGS: list[dict[str, Any]] = [
    {"deploymentShape": "accounts/fireworks/deploymentShapes/default/versions/abc"},
    {"autoscalingPolicy": {"scaleToZeroWindow": "5m0s"}},
    {"acceleratorCount": 8, "maxReplicaCount": 1, "displayName": "x"},
    {"precision": "fp8"},
]


@pytest.mark.parametrize("state", ["CREATING", "READY", "UPDATING"])
@pytest.mark.parametrize("spelling", SPELLINGS, ids=str)
def test_creation_retry_adopts_whatever_the_api_spells_otherwise(
    spelling: dict[str, Any], state: str
) -> None:
    asked = {
        "baseModel": MODEL,
        "deploymentShape": "default",
        "autoscalingPolicy": {"scaleToZeroWindow": "300s"},
    }
    standing = creation()
    found = deployment(state, replace(ME, digest=digest_of(asked)), **spelling)
    standing.look(found, Owner.THIS_TASK, asked, now=NOW)
    assert standing.step is Step.THERE


@pytest.mark.parametrize(
    ("state", "fields", "step"),
    [
        ("READY", {}, Step.THERE),
        ("READY", {"precision": None}, Step.THERE),
        ("READY", {"precision": "FP4"}, Step.CONFLICT),
        ("READY", {"baseModel": OTHERS_MODEL}, Step.CONFLICT),
        ("READY", {"maxReplicaCount": 5}, Step.UPDATE),
        ("READY", {"maxReplicaCount": None}, Step.THERE),
        ("READY", {"deploymentShape": "s"}, Step.THERE),
        ("CREATING", {"precision": "FP4"}, Step.REMOVE),
        ("DELETED", {"precision": "FP4"}, Step.REMOVE),
        ("DELETED", {}, Step.UNDELETE),
    ],
)
def test_creation_without_digest_compares_what_both_sides_have(
    state: str, fields: dict[str, Any], step: Step
) -> None:
    # An earlier version of this package has signed it.
    standing = creation()
    standing.look(deployment(state, replace(ME, digest=""), **fields), Owner.THIS_TASK, SPEC, now=NOW)
    assert standing.step is step


@pytest.mark.parametrize(
    "signed", [ME, replace(ME, kept=True), replace(ME, named=True)], ids=["", "kept", "named"]
)
@pytest.mark.parametrize("made", BOTH, ids=["made", "not made"])
@pytest.mark.parametrize("state", STATES)
def test_creation_of_this_task_stays_kept_if_it_was_signed_so(
    signed: Identity, made: bool, state: str | None
) -> None:
    standing = creation(made=made)
    found = deployment(state, signed)
    standing.look(found, Owner.THIS_TASK, SPEC, now=NOW)
    # What was READY before this try under an id that the user gave is meant to stay.
    stays = signed.named and state == "READY" and not made
    assert standing.kept is (signed.kept or stays)
    # Whatever it turns to later in the same try.
    standing.look(deployment("UPDATING", signed), Owner.THIS_TASK, SPEC, now=NOW)
    assert standing.kept is (signed.kept or stays)
    assert standing.taken_over is None
    assert standing.is_own(found, ME) is not signed.kept


@pytest.mark.parametrize("signed", [EARLIER, replace(EARLIER, named=True)], ids=["not named", "named"])
@pytest.mark.parametrize("state", [state for state in STATES if state != "DELETED"])
def test_creation_of_earlier_run_is_kept_and_not_its_own(signed: Identity, state: str | None) -> None:
    standing = creation()
    found = deployment(state, signed)
    standing.look(found, Owner.EARLIER_RUN, SPEC, now=NOW)
    assert standing.kept
    assert standing.taken_over is None
    assert not standing.is_own(found, ME)


def test_creation_brought_back_from_earlier_run_is_its_own() -> None:
    standing = creation()
    found = deployment("DELETED", EARLIER)
    standing.look(found, Owner.EARLIER_RUN, SPEC, now=NOW)
    assert (standing.step, standing.taken_over) == (Step.UNDELETE, EARLIER)
    standing.sending(NOW)
    standing.brought_back()
    for state in ("CREATING", "READY"):
        found = deployment(state, EARLIER)
        standing.look(found, Owner.EARLIER_RUN, SPEC, now=NOW)
        assert (standing.step, standing.kept) == (Step.UPDATE, False)
        assert standing.is_own(found, ME)
        # A third run's, or somebody else's, is not.
        assert not standing.is_own(deployment(signed=replace(ME, run_id="manual__3")), ME)
        assert not standing.is_own(deployment(signed=None), ME)
    standing.look(deployment(), Owner.THIS_TASK, SPEC, now=NOW)
    assert (standing.step, standing.kept, standing.taken_over) == (Step.THERE, False, None)


@pytest.mark.parametrize(
    ("signed", "own"),
    [
        (ME, True),
        (replace(ME, digest="", named=True), True),
        (replace(ME, kept=True), False),
        (EARLIER, False),
        (None, False),
    ],
)
def test_creation_owns_what_this_task_signed_and_was_not_kept(signed: Identity | None, own: bool) -> None:
    assert creation().is_own(deployment(signed=signed), ME) is own


@pytest.mark.parametrize("owner", Owner)
@pytest.mark.parametrize("made", BOTH, ids=["made", "not made"])
@pytest.mark.parametrize("uncertain", BOTH, ids=["uncertain", "certain"])
@pytest.mark.parametrize(("taken", "step"), [(False, Step.CHECK_MODEL), (True, Step.PAUSE)])
def test_where_there_is_none_it_is_made_unless_its_id_is_taken(taken, step, owner, made, uncertain):
    standing = creation(taken=taken, made=made, ours=True, uncertain=uncertain)
    standing.look(None, owner, SPEC, now=NOW)
    assert standing.step is step
    # That it does not show is no proof that there is none.
    assert (standing.ours, standing.uncertain, standing.taken) == (True, uncertain, taken)


@pytest.mark.parametrize("state", STATES)
def test_whether_it_is_ready_is_remembered_of_the_last_look(state):
    standing = creation(ready=True)
    standing.look(deployment(state), Owner.THIS_TASK, SPEC, now=NOW)
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
        (deployment(baseModel=OTHERS_MODEL, description=""), Owner.THIS_TASK, False, f"{OTHERS_MODEL} → {MODEL}"),
        (deployment(), Owner.EARLIER_RUN, False, "earlier run"),
        (deployment(None), Owner.THIS_TASK, False, "its state is unset"),
        (deployment("NEW"), Owner.THIS_TASK, False, "its state is NEW"),
    ],
)  # fmt: skip
def test_the_note_says_why(found, owner, made, told):
    standing = creation(made=made)
    standing.look(found, owner, SPEC, now=NOW)
    assert told in standing.note


def test_it_begins_with_a_look_and_owns_nothing():
    standing = creation()
    assert standing.step is Step.LOOK
    assert not any((standing.ours, standing.uncertain, standing.made, standing.taken, standing.ready))


def test_a_model_that_is_ready_is_deployed():
    standing = creation(step=Step.CHECK_MODEL)
    standing.model_is_ready()
    assert standing.step is Step.CREATE
    standing.model_is_ready(check_shape=True)
    assert standing.step is Step.CHECK_SHAPE
    standing.shape_fits()
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
    standing.look(None, Owner.OTHER, SPEC, now=NOW + after)
    assert (standing.step, standing.ours, standing.uncertain) == (step, True, True)


def test_what_was_brought_back_is_looked_at_and_a_failure_of_it_is_news():
    standing = creation()
    standing.look(deployment("DELETED"), Owner.THIS_TASK, SPEC, now=NOW)
    standing.sending(NOW)
    standing.brought_back()
    assert (standing.step, standing.made, standing.ours) == (Step.PAUSE, True, True)
    standing.look(deployment("FAILED"), Owner.THIS_TASK, SPEC, now=NOW)
    assert standing.step is Step.FAILED


def test_after_a_lost_answer_only_a_look_can_tell():
    standing = creation()
    standing.sending(NOW)
    standing.lost(AnswerLostError("cut off"))
    assert (standing.step, standing.ours, standing.uncertain) == (Step.PAUSE, True, True)
    assert "cut off" in standing.note
    standing.look(deployment("FAILED"), Owner.THIS_TASK, SPEC, now=NOW)
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
    standing.look(None, Owner.OTHER, SPEC, now=NOW)
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
    standing.look(None, Owner.OTHER, SPEC, now=NOW)
    assert standing.step is Step.PAUSE
    standing.pause(15, NOW)
    assert (standing.step, standing.taken) == (Step.CHECK_MODEL, True)
    standing.look(deployment(), Owner.THIS_TASK, SPEC, now=NOW)
    assert (standing.step, standing.taken, standing.ours) == (Step.THERE, False, True)


def test_after_a_pause_for_a_deletion_comes_a_look():
    standing = creation()
    standing.look(deployment("DELETING"), Owner.THIS_TASK, SPEC, now=NOW)
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
    standing = creation(updates={"maxReplicaCount": 5}, taken_over=EARLIER, kept=True)
    standing.sending(NOW)
    standing.was_accepted()
    carried = standing.model_dump(mode="json", exclude_defaults=True)
    assert json.loads(json.dumps(carried)) == carried
    assert Creation.model_validate(carried) == standing
    with pytest.raises(ValidationError):
        Creation.model_validate(carried | {"api_key": "fw_x"})
