from __future__ import annotations

import json
from dataclasses import replace
from itertools import product
from typing import Any

import pytest
from pydantic import ValidationError

from airflow_provider_fireworks.client.errors import NoResponseError
from airflow_provider_fireworks.client.resources import Deployment, Status
from airflow_provider_fireworks.deployments.changes import digest_of
from airflow_provider_fireworks.deployments.creation import (
    LONGEST_PAUSE,
    SHORTEST_PAUSE,
    CreateStep,
    DeploymentCreation,
    Ownership,
)
from airflow_provider_fireworks.deployments.ownership import Owner

NAME = "accounts/demo/deployments/d"
MODEL = "accounts/demo/models/my-model"
OTHERS_MODEL = "accounts/demo/models/my-other-model"
NOW = 1_750_000_000.0

STATES = ["CREATING", "READY", "UPDATING", "DELETING", "DELETED", "FAILED", "SOMETHING_NEW", "", None]
ALIVE = ["CREATING", "READY", "UPDATING", "SOMETHING_NEW", "", None]
MINE = [Ownership.THIS_TASK, Ownership.EARLIER_RUN]
BOTH = [True, False]

CHANGED = ["nothing", "updatable", "fixed"]

# What is found: state, owner, changed arguments, made in this try → (step, there may be one of ours)
ROWS = [
    (STATES, [Ownership.OTHER], CHANGED, BOTH, CreateStep.CONFLICT, False),
    (["DELETING"], MINE, CHANGED, BOTH, CreateStep.PAUSE, True),
    (["DELETED"], MINE, ["nothing", "updatable"], BOTH, CreateStep.UNDELETE, True),
    (["DELETED"], MINE, ["fixed"], [True], CreateStep.UNDELETE, True),
    (["DELETED"], MINE, ["fixed"], [False], CreateStep.REPLACE, True),
    (["FAILED"], MINE, CHANGED, [True], CreateStep.FAILED, True),
    (["FAILED"], MINE, CHANGED, [False], CreateStep.REPLACE, True),
    (["CREATING"], [Ownership.THIS_TASK], ["fixed"], [False], CreateStep.REPLACE, True),
    (["CREATING"], [Ownership.EARLIER_RUN], ["fixed"], [False], CreateStep.CONFLICT, False),
    ([state for state in ALIVE if state != "CREATING"], MINE, ["fixed"], [False], CreateStep.CONFLICT, False),
    (ALIVE, [Ownership.EARLIER_RUN], ["nothing", "updatable"], [False], CreateStep.UPDATE, True),
    (ALIVE, [Ownership.EARLIER_RUN], CHANGED, [True], CreateStep.UPDATE, True),
    (ALIVE, [Ownership.THIS_TASK], ["updatable"], [False], CreateStep.UPDATE, True),
    (ALIVE, [Ownership.THIS_TASK], ["nothing"], [False], CreateStep.EXISTS, True),
    # What this try has made is not given up because the API spells things otherwise.
    (ALIVE, [Ownership.THIS_TASK], CHANGED, [True], CreateStep.EXISTS, True),
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
ME = Owner("my_dag", "manual__2", "deploy", airflow="http://airflow.example", digest=digest_of(SPEC))
EARLIER = replace(ME, run_id="manual__1")


def creation(**fields: Any) -> DeploymentCreation:
    return DeploymentCreation(**{"deployment": NAME, "base_model": MODEL, "deadline": NOW + 3600} | fields)


def deployment(state: str | None = "READY", signed: Owner | None = ME, **fields: Any) -> Deployment:
    """Return a deployment as it was requested with ``SPEC``, signed so."""
    description = signed.description if signed else "Made by hand."
    return Deployment.model_validate(
        SPEC | {"name": NAME, "state": state, "description": description} | fields
    )


def test_the_table_has_one_row_for_everything_that_can_be_found():
    found = [row[:4] for row in TABLE]
    assert sorted(map(repr, found)) == sorted(map(repr, product(STATES, Ownership, CHANGED, BOTH)))


@pytest.mark.parametrize("taken", BOTH, ids=["taken", "free"])
@pytest.mark.parametrize(("state", "owner", "changed", "made", "step", "ours"), TABLE)
def test_what_is_found_decides_the_step(state, owner, changed, made, taken, step, ours):
    standing = creation(created_now=made, taken=taken, uncertain=True, was_uncertain=True, may_exist=True)
    standing.on_read(deployment(state), owner, NOW_ASKED[changed], now=NOW)
    assert (standing.step, standing.may_exist) == (step, ours)
    # It has been seen, so nothing is left to guess.
    assert (standing.taken, standing.uncertain, standing.was_uncertain) == (False, False, False)
    assert standing.made is made


@pytest.mark.parametrize("made", BOTH, ids=["made", "not made"])
@pytest.mark.parametrize("changed", CHANGED)
@pytest.mark.parametrize("owner", MINE)
@pytest.mark.parametrize("state", STATES)
def test_creation_updates_only_what_was_requested_otherwise(
    state: str | None, owner: Ownership, changed: str, made: bool
) -> None:
    standing = creation(created_now=made, updates={"displayName": "of an earlier look"})
    standing.on_read(deployment(state, maxReplicaCount=9), owner, NOW_ASKED[changed], now=NOW)
    if made or changed != "updatable":
        assert standing.updates == {}
    else:
        assert standing.updates == {"displayName": "mine", "maxReplicaCount": 5}


@pytest.mark.parametrize("changed", ["nothing", "updatable"])
def test_creation_is_there_again_once_the_update_is_signed(changed: str) -> None:
    standing = creation()
    asked = NOW_ASKED[changed]
    standing.on_read(deployment(signed=EARLIER), Ownership.EARLIER_RUN, asked, now=NOW)
    assert standing.step is CreateStep.UPDATE
    standing.pause("It was updated.")
    standing.pause(15, NOW)
    signed = replace(ME, kept=standing.kept, digest=digest_of(asked))
    standing.on_read(deployment(signed=signed), Ownership.THIS_TASK, asked, now=NOW)
    assert (standing.step, standing.updates, standing.kept) == (CreateStep.EXISTS, {}, True)


def test_creation_conflict_names_each_changed_field_old_and_new() -> None:
    standing = creation()
    standing.on_read(
        deployment(), Ownership.THIS_TASK, SPEC | {"precision": "FP4", "baseModel": OTHERS_MODEL}, now=NOW
    )
    assert standing.step is CreateStep.CONFLICT
    assert "precision FP8 → FP4" in standing.note
    assert f"base_model {MODEL} → {OTHERS_MODEL}" in standing.note
    assert "may cost money" in standing.note


def test_creation_notes_name_what_is_replaced_and_updated() -> None:
    standing = creation()
    standing.on_read(deployment("CREATING"), Ownership.THIS_TASK, NOW_ASKED["fixed"], now=NOW)
    assert (standing.step, "precision FP8 → FP4" in standing.note) == (CreateStep.REPLACE, True)
    standing.on_read(deployment(), Ownership.THIS_TASK, NOW_ASKED["updatable"], now=NOW)
    assert standing.note == "Its arguments have changed: display_name made → mine, max_replica_count 2 → 5."
    standing.on_read(deployment(), Ownership.EARLIER_RUN, NOW_ASKED["updatable"], now=NOW)
    assert standing.note.startswith(
        "It was created in an earlier run, which is over. Its arguments have changed: "
    )
    standing.on_read(deployment(), Ownership.EARLIER_RUN, SPEC, now=NOW)
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
    standing.on_read(found, Ownership.THIS_TASK, asked, now=NOW)
    assert standing.step is CreateStep.EXISTS


@pytest.mark.parametrize(
    ("state", "fields", "step"),
    [
        ("READY", {}, CreateStep.EXISTS),
        ("READY", {"precision": None}, CreateStep.EXISTS),
        ("READY", {"precision": "FP4"}, CreateStep.CONFLICT),
        ("READY", {"baseModel": OTHERS_MODEL}, CreateStep.CONFLICT),
        ("READY", {"maxReplicaCount": 5}, CreateStep.UPDATE),
        ("READY", {"maxReplicaCount": None}, CreateStep.EXISTS),
        ("READY", {"deploymentShape": "s"}, CreateStep.EXISTS),
        ("CREATING", {"precision": "FP4"}, CreateStep.REPLACE),
        ("DELETED", {"precision": "FP4"}, CreateStep.REPLACE),
        ("DELETED", {}, CreateStep.UNDELETE),
    ],
)
def test_creation_without_digest_compares_what_both_sides_have(
    state: str, fields: dict[str, Any], step: CreateStep
) -> None:
    # An earlier version of this package has signed it.
    standing = creation()
    standing.on_read(deployment(state, replace(ME, digest=""), **fields), Ownership.THIS_TASK, SPEC, now=NOW)
    assert standing.step is step


@pytest.mark.parametrize(
    "signed", [ME, replace(ME, kept=True), replace(ME, named=True)], ids=["", "kept", "named"]
)
@pytest.mark.parametrize("made", BOTH, ids=["made", "not made"])
@pytest.mark.parametrize("state", STATES)
def test_creation_of_this_task_stays_kept_if_it_was_signed_so(
    signed: Owner, made: bool, state: str | None
) -> None:
    standing = creation(created_now=made)
    found = deployment(state, signed)
    standing.on_read(found, Ownership.THIS_TASK, SPEC, now=NOW)
    # What was READY before this try under an id that the user gave is meant to stay.
    stays = signed.named and state == "READY" and not made
    assert standing.kept is (signed.kept or stays)
    # Whatever it turns to later in the same try.
    standing.on_read(deployment("UPDATING", signed), Ownership.THIS_TASK, SPEC, now=NOW)
    assert standing.kept is (signed.kept or stays)
    assert standing.previous_owner is None
    assert standing.is_own(found, ME) is not signed.kept


@pytest.mark.parametrize("signed", [EARLIER, replace(EARLIER, named=True)], ids=["not named", "named"])
@pytest.mark.parametrize("state", [state for state in STATES if state != "DELETED"])
def test_creation_of_earlier_run_is_kept_and_not_its_own(signed: Owner, state: str | None) -> None:
    standing = creation()
    found = deployment(state, signed)
    standing.on_read(found, Ownership.EARLIER_RUN, SPEC, now=NOW)
    assert standing.kept
    assert standing.previous_owner is None
    assert not standing.is_own(found, ME)


def test_creation_brought_back_from_earlier_run_is_its_own() -> None:
    standing = creation()
    found = deployment("DELETED", EARLIER)
    standing.on_read(found, Ownership.EARLIER_RUN, SPEC, now=NOW)
    assert (standing.step, standing.previous_owner) == (CreateStep.UNDELETE, EARLIER)
    standing.before_request(NOW)
    standing.on_undeleted()
    for state in ("CREATING", "READY"):
        found = deployment(state, EARLIER)
        standing.on_read(found, Ownership.EARLIER_RUN, SPEC, now=NOW)
        assert (standing.step, standing.kept) == (CreateStep.UPDATE, False)
        assert standing.is_own(found, ME)
        # A third run's, or somebody else's, is not.
        assert not standing.is_own(deployment(signed=replace(ME, run_id="manual__3")), ME)
        assert not standing.is_own(deployment(signed=None), ME)
    standing.on_read(deployment(), Ownership.THIS_TASK, SPEC, now=NOW)
    assert (standing.step, standing.kept, standing.previous_owner) == (CreateStep.EXISTS, False, None)


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
def test_creation_owns_what_this_task_signed_and_was_not_kept(signed: Owner | None, own: bool) -> None:
    assert creation().is_own(deployment(signed=signed), ME) is own


@pytest.mark.parametrize("owner", Ownership)
@pytest.mark.parametrize("made", BOTH, ids=["made", "not made"])
@pytest.mark.parametrize("uncertain", BOTH, ids=["uncertain", "certain"])
@pytest.mark.parametrize(("taken", "step"), [(False, CreateStep.CHECK_MODEL), (True, CreateStep.PAUSE)])
def test_where_there_is_none_it_is_made_unless_its_id_is_taken(taken, step, owner, made, uncertain):
    standing = creation(taken=taken, created_now=made, may_exist=True, uncertain=uncertain)
    standing.on_read(None, owner, SPEC, now=NOW)
    assert standing.step is step
    # That it does not show is no proof that there is none.
    assert (standing.may_exist, standing.uncertain, standing.taken) == (True, uncertain, taken)


@pytest.mark.parametrize("state", STATES)
def test_whether_it_is_ready_is_remembered_of_the_last_look(state):
    standing = creation(ready=True)
    standing.on_read(deployment(state), Ownership.THIS_TASK, SPEC, now=NOW)
    assert standing.ready is (state == "READY")


@pytest.mark.parametrize(
    ("found", "owner", "made", "told"),
    [
        (None, Ownership.OTHER, False, "no such deployment"),
        (deployment(), Ownership.OTHER, False, "something else"),
        (deployment("DELETING"), Ownership.THIS_TASK, False, "being deleted"),
        (deployment("DELETED"), Ownership.THIS_TASK, False, "id is still taken"),
        (deployment("FAILED", status=Status(code="INTERNAL", message="no GPU")), Ownership.THIS_TASK, True, "no GPU"),
        (deployment("FAILED", status=Status(code="INTERNAL", message="no GPU")), Ownership.THIS_TASK, False, "no GPU"),
        (deployment(baseModel=OTHERS_MODEL, description=""), Ownership.THIS_TASK, False, f"{OTHERS_MODEL} → {MODEL}"),
        (deployment(), Ownership.EARLIER_RUN, False, "earlier run"),
        (deployment(None), Ownership.THIS_TASK, False, "its state is unset"),
        (deployment("NEW"), Ownership.THIS_TASK, False, "its state is NEW"),
    ],
)  # fmt: skip
def test_the_note_says_why(found, owner, made, told):
    standing = creation(created_now=made)
    standing.on_read(found, owner, SPEC, now=NOW)
    assert told in standing.note


def test_it_begins_with_a_look_and_owns_nothing():
    standing = creation()
    assert standing.step is CreateStep.READ
    assert not any((standing.may_exist, standing.uncertain, standing.made, standing.taken, standing.ready))


def test_a_model_that_is_ready_is_deployed():
    standing = creation(step=CreateStep.CHECK_MODEL)
    standing.model_is_ready()
    assert standing.step is CreateStep.CREATE
    standing.model_is_ready(check_shape=True)
    assert standing.step is CreateStep.CHECK_SHAPE
    standing.shape_fits()
    assert standing.step is CreateStep.CREATE


def test_from_the_post_on_there_may_be_one():
    standing = creation()
    standing.before_request(NOW)
    assert (standing.may_exist, standing.uncertain, standing.was_uncertain) == (True, True, False)
    assert standing.sent_at == NOW
    assert not standing.made


def test_what_was_accepted_is_there_and_may_not_show_yet():
    standing = creation()
    standing.before_request(NOW)
    standing.on_created()
    assert (standing.step, standing.made, standing.may_exist, standing.uncertain) == (
        CreateStep.EXISTS,
        True,
        True,
        True,
    )
    assert not standing.ready


@pytest.mark.parametrize(
    ("after", "step"), [(0, CreateStep.PAUSE), (29, CreateStep.PAUSE), (30, CreateStep.FAILED)]
)
def test_what_was_made_just_now_and_does_not_show_yet_is_waited_for(after, step):
    standing = creation()
    standing.before_request(NOW)
    standing.on_created()
    standing.on_read(None, Ownership.OTHER, SPEC, now=NOW + after)
    assert (standing.step, standing.may_exist, standing.uncertain) == (step, True, True)


def test_what_was_brought_back_is_looked_at_and_a_failure_of_it_is_news():
    standing = creation()
    standing.on_read(deployment("DELETED"), Ownership.THIS_TASK, SPEC, now=NOW)
    standing.before_request(NOW)
    standing.on_undeleted()
    assert (standing.step, standing.made, standing.may_exist) == (CreateStep.PAUSE, True, True)
    standing.on_read(deployment("FAILED"), Ownership.THIS_TASK, SPEC, now=NOW)
    assert standing.step is CreateStep.FAILED


def test_after_a_lost_answer_only_a_look_can_tell():
    standing = creation()
    standing.before_request(NOW)
    standing.on_unknown_outcome(NoResponseError("cut off"))
    assert (standing.step, standing.may_exist, standing.uncertain) == (CreateStep.PAUSE, True, True)
    assert "cut off" in standing.note
    standing.on_read(deployment("FAILED"), Ownership.THIS_TASK, SPEC, now=NOW)
    assert standing.step is CreateStep.FAILED


def test_after_a_refusal_there_is_none_of_ours():
    standing = creation()
    standing.before_request(NOW)
    standing.on_not_carried_out()
    assert (standing.step, standing.may_exist, standing.uncertain) == (CreateStep.READ, False, False)


def test_a_refusal_says_nothing_of_an_earlier_answer_that_was_lost():
    standing = creation()
    standing.before_request(NOW)
    standing.on_unknown_outcome(NoResponseError("cut off"))
    standing.on_read(None, Ownership.OTHER, SPEC, now=NOW)
    standing.before_request(NOW + 1)
    standing.on_not_carried_out()
    assert (standing.may_exist, standing.uncertain) == (True, True)
    standing.before_request(NOW + 2)
    standing.on_id_taken()
    assert (standing.may_exist, standing.uncertain, standing.taken) == (True, True, True)


def test_an_id_that_is_taken_and_shows_nothing_is_waited_for_and_tried_again():
    standing = creation()
    standing.before_request(NOW)
    standing.on_not_carried_out()
    standing.on_id_taken()
    assert (standing.step, standing.taken, standing.may_exist) == (CreateStep.READ, True, False)
    standing.on_read(None, Ownership.OTHER, SPEC, now=NOW)
    assert standing.step is CreateStep.PAUSE
    standing.pause(15, NOW)
    assert (standing.step, standing.taken) == (CreateStep.CHECK_MODEL, True)
    standing.on_read(deployment(), Ownership.THIS_TASK, SPEC, now=NOW)
    assert (standing.step, standing.taken, standing.may_exist) == (CreateStep.EXISTS, False, True)


def test_after_a_pause_for_a_deletion_comes_a_look():
    standing = creation()
    standing.on_read(deployment("DELETING"), Ownership.THIS_TASK, SPEC, now=NOW)
    standing.pause(15, NOW)
    assert standing.step is CreateStep.READ


@pytest.mark.parametrize(
    ("interval", "seconds"),
    [(0, SHORTEST_PAUSE), (-1, SHORTEST_PAUSE), (5, 5), (15, LONGEST_PAUSE), (3600, LONGEST_PAUSE)],
)
def test_a_pause_is_neither_too_short_nor_too_long(interval, seconds):
    assert creation().pause(interval, NOW) == seconds


@pytest.mark.parametrize(("after", "seconds"), [(0, SHORTEST_PAUSE), (4, 4), (29, LONGEST_PAUSE)])
def test_what_was_asked_for_just_now_is_looked_for_soon(after, seconds):
    standing = creation()
    standing.before_request(NOW)
    assert standing.pause(15, NOW + after) == seconds


def test_something_done_calls_for_a_look():
    standing = creation(step=CreateStep.REPLACE)
    standing.step = CreateStep.READ
    assert standing.step is CreateStep.READ


def test_inference_is_asked_by_model_and_deployment():
    assert creation().inference_model == f"{MODEL}#{NAME}"


def test_it_is_kept_as_plain_json_over_a_deferral():
    standing = creation(updates={"maxReplicaCount": 5}, previous_owner=EARLIER, kept=True)
    standing.before_request(NOW)
    standing.on_created()
    resume_state = standing.model_dump(mode="json", exclude_defaults=True)
    assert json.loads(json.dumps(resume_state)) == resume_state
    assert DeploymentCreation.model_validate(resume_state) == standing
    with pytest.raises(ValidationError):
        DeploymentCreation.model_validate(resume_state | {"api_key": "fw_x"})
