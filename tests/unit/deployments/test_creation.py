"""Which step :class:`DeploymentCreation` picks next."""

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
from airflow_provider_fireworks.deployments.creation import CreateStep, DeploymentCreation
from airflow_provider_fireworks.deployments.ownership import Owner, Ownership
from airflow_provider_fireworks.timing import DEFAULT_TIMING

NAME = "accounts/demo/deployments/d"
MODEL = "accounts/demo/models/my-model"
OTHER_MODEL = "accounts/demo/models/my-other-model"
NOW = 1_750_000_000.0
MIN_PAUSE, MAX_PAUSE = DEFAULT_TIMING.min_pause, DEFAULT_TIMING.max_pause
LAG = DEFAULT_TIMING.visibility_lag

SPEC: dict[str, Any] = {
    "baseModel": MODEL,
    "displayName": "created",
    "precision": "FP8",
    "acceleratorType": "NVIDIA_H100_80GB",
    "minReplicaCount": 0,
    "maxReplicaCount": 2,
}
SPECS: dict[str, dict[str, Any]] = {
    "nothing": SPEC,
    "updatable": SPEC | {"maxReplicaCount": 5, "displayName": "mine"},
    "fixed": SPEC | {"precision": "FP4"},
}
"""What is requested now, by what has changed since ``SPEC``."""
OWNER = Owner("my_dag", "manual__2", "deploy", airflow="http://airflow.example", digest=digest_of(SPEC))
EARLIER = replace(OWNER, run_id="manual__1")

STATES = ["CREATING", "READY", "UPDATING", "DELETING", "DELETED", "FAILED", "SOMETHING_NEW", "", None]
ALIVE = ["CREATING", "UPDATING", "SOMETHING_NEW", "", None]
OWN = [Ownership.THIS_TASK, Ownership.EARLIER_RUN]
BOTH = [True, False]


def new(**fields: Any) -> DeploymentCreation:
    return DeploymentCreation(**{"deployment": NAME, "base_model": MODEL, "deadline": NOW + 3600} | fields)


def deployment(state: str | None = "READY", signed: Owner | None = OWNER, **fields: Any) -> Deployment:
    """Return a deployment as it was requested with ``SPEC``, with this signature."""
    description = signed.description if signed else "Created by hand."
    return Deployment.model_validate(
        SPEC | {"name": NAME, "state": state, "description": description} | fields
    )


def read(
    creation: DeploymentCreation,
    found: Deployment | None,
    ownership: Ownership = Ownership.THIS_TASK,
    spec: dict[str, Any] = SPEC,
    *,
    now: float = NOW,
) -> None:
    creation.on_read(found, ownership, spec, now=now)


# ---- a deployment was read

# States, owners, what has changed, whether this try created it → the step, whether one of this task's may exist.
ROWS: list[tuple[list[Any], list[Ownership], list[str], list[bool], CreateStep, bool]] = [
    (STATES, [Ownership.OTHER], [*SPECS], BOTH, CreateStep.CONFLICT, False),
    (["DELETING"], OWN, [*SPECS], BOTH, CreateStep.PAUSE, True),
    (["DELETED"], OWN, ["nothing", "updatable"], BOTH, CreateStep.UNDELETE, True),
    (["DELETED"], OWN, ["fixed"], [True], CreateStep.UNDELETE, True),
    (["DELETED"], OWN, ["fixed"], [False], CreateStep.REPLACE, True),
    (["FAILED"], OWN, [*SPECS], [True], CreateStep.FAILED, True),
    (["FAILED"], OWN, [*SPECS], [False], CreateStep.REPLACE, True),
    (["CREATING"], [Ownership.THIS_TASK], ["fixed"], [False], CreateStep.REPLACE, True),
    (["READY", *ALIVE[1:]], [Ownership.THIS_TASK], ["fixed"], [False], CreateStep.CHANGED, False),
    (["READY", *ALIVE], [Ownership.EARLIER_RUN], ["fixed"], [False], CreateStep.CONFLICT, False),
    (["READY", *ALIVE], [Ownership.EARLIER_RUN], ["nothing", "updatable"], [False], CreateStep.UPDATE, True),
    (["READY", *ALIVE], [Ownership.EARLIER_RUN], [*SPECS], [True], CreateStep.UPDATE, True),
    (["READY", *ALIVE], [Ownership.THIS_TASK], ["updatable"], [False], CreateStep.UPDATE, True),
    (ALIVE, [Ownership.THIS_TASK], ["nothing"], [False], CreateStep.EXISTS, True),
    (["READY"], [Ownership.THIS_TASK], ["nothing"], [False], CreateStep.READY, True),
    # What this try has created is not changed: the API may spell things its own way.
    (ALIVE, [Ownership.THIS_TASK], [*SPECS], [True], CreateStep.EXISTS, True),
    (["READY"], [Ownership.THIS_TASK], [*SPECS], [True], CreateStep.READY, True),
]
TABLE = [
    (*found, step, may_exist)
    for states, owners, changed, created_by_this_try, step, may_exist in ROWS
    for found in product(states, owners, changed, created_by_this_try)
]


def test_table_has_one_row_for_each_combination():
    found = [row[:4] for row in TABLE]
    assert sorted(map(repr, found)) == sorted(map(repr, product(STATES, Ownership, SPECS, BOTH)))


@pytest.mark.parametrize("id_taken", BOTH, ids=["taken", "free"])
@pytest.mark.parametrize(("state", "ownership", "changed", "created_by_this_try", "step", "may_exist"), TABLE)
def test_step_after_read_follows_table(
    state, ownership, changed, created_by_this_try, id_taken, step, may_exist
):
    creation = new(created_by_this_try=created_by_this_try, id_taken=id_taken, unanswered=2, may_exist=True)
    read(creation, deployment(state), ownership, SPECS[changed])
    assert (creation.step, creation.may_exist) == (step, may_exist)
    # A read that shows a deployment resolves everything.
    assert (creation.id_taken, creation.unanswered) == (False, 0)
    assert creation.created_by_this_try is created_by_this_try


@pytest.mark.parametrize(
    ("found", "ownership", "created_by_this_try", "note"),
    [
        (None, Ownership.OTHER, False, "no such deployment"),
        (deployment(), Ownership.OTHER, False, "something else"),
        (deployment("DELETING"), Ownership.THIS_TASK, False, "being deleted"),
        (deployment("DELETED"), Ownership.THIS_TASK, False, "id is still taken"),
        (deployment("FAILED", status=Status(code="INTERNAL", message="no GPU")), Ownership.THIS_TASK, True, "no GPU"),
        (deployment("FAILED", status=Status(code="INTERNAL", message="no GPU")), Ownership.THIS_TASK, False, "no GPU"),
        (deployment(baseModel=OTHER_MODEL, description=""), Ownership.THIS_TASK, False, f"{OTHER_MODEL} → {MODEL}"),
        (deployment(), Ownership.EARLIER_RUN, False, "earlier run"),
        (deployment(None), Ownership.THIS_TASK, False, "its state is unset"),
        (deployment("NEW"), Ownership.THIS_TASK, False, "its state is NEW"),
    ],
)  # fmt: skip
def test_note_says_why_step_is_next(found, ownership, created_by_this_try, note):
    creation = new(created_by_this_try=created_by_this_try)
    read(creation, found, ownership)
    assert note in creation.note


# ---- changed arguments


@pytest.mark.parametrize("created_by_this_try", BOTH, ids=["created now", "created before"])
@pytest.mark.parametrize("changed", SPECS)
@pytest.mark.parametrize("ownership", OWN)
@pytest.mark.parametrize("state", STATES)
def test_updates_are_fields_requested_differently(state, ownership, changed, created_by_this_try):
    creation = new(created_by_this_try=created_by_this_try, updates={"displayName": "of an earlier read"})
    read(creation, deployment(state, maxReplicaCount=9), ownership, SPECS[changed])
    if created_by_this_try or changed != "updatable":
        assert creation.updates == {}
    else:
        assert creation.updates == {"displayName": "mine", "maxReplicaCount": 5}


@pytest.mark.parametrize("changed", ["nothing", "updatable"])
def test_update_that_is_signed_is_not_repeated(changed):
    creation = new()
    read(creation, deployment(signed=EARLIER), Ownership.EARLIER_RUN, SPECS[changed])
    assert creation.step is CreateStep.UPDATE
    creation.pause("It was updated.")
    signed = replace(OWNER, kept=creation.must_stay, digest=digest_of(SPECS[changed]))
    read(creation, deployment(signed=signed), spec=SPECS[changed])
    assert (creation.step, creation.updates, creation.must_stay) == (CreateStep.READY, {}, True)


def test_conflict_names_each_changed_field_old_and_new():
    creation = new()
    read(creation, deployment(), spec=SPEC | {"precision": "FP4", "baseModel": OTHER_MODEL})
    assert creation.step is CreateStep.CHANGED
    assert "precision FP8 → FP4" in creation.note
    assert f"base_model {MODEL} → {OTHER_MODEL}" in creation.note
    assert "may cost money" in creation.note


def test_changed_named_deployment_is_conflict():
    # Under an id that the user chose, it may be more than this task's: a task downstream must not delete it.
    creation = new()
    read(creation, deployment(signed=replace(OWNER, named=True)), spec=SPECS["fixed"])
    assert creation.step is CreateStep.CONFLICT


def test_note_names_changes_of_replaced_and_updated_deployment():
    creation = new()
    read(creation, deployment("CREATING"), spec=SPECS["fixed"])
    assert (creation.step, "precision FP8 → FP4" in creation.note) == (CreateStep.REPLACE, True)
    read(creation, deployment(), spec=SPECS["updatable"])
    changes = "its arguments have changed: display_name created → mine, max_replica_count 2 → 5"
    assert creation.note == changes
    read(creation, deployment(), Ownership.EARLIER_RUN, SPECS["updatable"])
    assert creation.note == f"it was created in an earlier run, which is over; {changes}"
    read(creation, deployment(), Ownership.EARLIER_RUN)
    assert creation.note == "it was created in an earlier run, which is over"


@pytest.mark.parametrize("state", ["CREATING", "READY", "UPDATING"])
@pytest.mark.parametrize(
    "spelling",
    [
        {"deploymentShape": "accounts/fireworks/deploymentShapes/default/versions/abc"},
        {"autoscalingPolicy": {"scaleToZeroWindow": "5m0s"}},
        {"acceleratorCount": 8, "maxReplicaCount": 1, "displayName": "x"},
        {"precision": "fp8"},
    ],
    ids=str,
)
def test_retry_adopts_deployment_whatever_the_api_shows(spelling, state):
    spec = {
        "baseModel": MODEL,
        "deploymentShape": "default",
        "autoscalingPolicy": {"scaleToZeroWindow": "300s"},
    }
    creation = new()
    read(creation, deployment(state, replace(OWNER, digest=digest_of(spec)), **spelling), spec=spec)
    assert creation.step is (CreateStep.READY if state == "READY" else CreateStep.EXISTS)


@pytest.mark.parametrize(
    ("state", "fields", "step"),
    [
        ("READY", {}, CreateStep.READY),
        ("READY", {"precision": None}, CreateStep.READY),
        ("READY", {"precision": "FP4"}, CreateStep.CHANGED),
        ("READY", {"baseModel": OTHER_MODEL}, CreateStep.CHANGED),
        ("READY", {"maxReplicaCount": 5}, CreateStep.UPDATE),
        ("READY", {"maxReplicaCount": None}, CreateStep.READY),
        ("READY", {"deploymentShape": "s"}, CreateStep.READY),
        ("CREATING", {"precision": "FP4"}, CreateStep.REPLACE),
        ("DELETED", {"precision": "FP4"}, CreateStep.REPLACE),
        ("DELETED", {}, CreateStep.UNDELETE),
    ],
)
def test_signature_without_digest_compares_fields_set_on_both_sides(state, fields, step):
    # An earlier version of this package has signed it.
    creation = new()
    read(creation, deployment(state, replace(OWNER, digest=""), **fields))
    assert creation.step is step


# ---- whose it is, and whether it is kept


@pytest.mark.parametrize(
    "signed",
    [OWNER, replace(OWNER, kept=True), replace(OWNER, named=True)],
    ids=["no marks", "kept", "named"],
)
@pytest.mark.parametrize("created_by_this_try", BOTH, ids=["created now", "created before"])
@pytest.mark.parametrize("state", STATES)
def test_deployment_of_this_task_is_kept_if_marked_or_ready_before(signed, created_by_this_try, state):
    creation = new(created_by_this_try=created_by_this_try)
    found = deployment(state, signed)
    read(creation, found)
    # READY before this try under an id that the user chose: it is meant to stay.
    stays = signed.named and state == "READY" and not created_by_this_try
    assert creation.must_stay is (signed.kept or stays)
    # Also if it changes its state later in the same try.
    read(creation, deployment("UPDATING", signed))
    assert creation.must_stay is (signed.kept or stays)
    assert creation.previous_owner is None
    assert creation.is_own(found, OWNER) is not signed.kept


@pytest.mark.parametrize("signed", [EARLIER, replace(EARLIER, named=True)], ids=["not named", "named"])
@pytest.mark.parametrize("state", [state for state in STATES if state != "DELETED"])
def test_deployment_of_earlier_run_is_kept_and_not_own(signed, state):
    creation = new()
    found = deployment(state, signed)
    read(creation, found, Ownership.EARLIER_RUN)
    assert creation.must_stay
    assert creation.previous_owner is None
    assert not creation.is_own(found, OWNER)


def test_deployment_of_earlier_run_is_own_after_it_is_undeleted():
    creation = new()
    read(creation, deployment("DELETED", EARLIER), Ownership.EARLIER_RUN)
    assert (creation.step, creation.previous_owner) == (CreateStep.UNDELETE, EARLIER)
    creation.before_request(NOW)
    creation.on_undeleted()
    for state in ("CREATING", "READY"):
        found = deployment(state, EARLIER)
        read(creation, found, Ownership.EARLIER_RUN)
        assert (creation.step, creation.must_stay) == (CreateStep.UPDATE, False)
        assert creation.is_own(found, OWNER)
        # One of a third run, or of somebody else, is not.
        assert not creation.is_own(deployment(signed=replace(OWNER, run_id="manual__3")), OWNER)
        assert not creation.is_own(deployment(signed=None), OWNER)
    read(creation, deployment())
    assert (creation.step, creation.must_stay, creation.previous_owner) == (CreateStep.READY, False, None)


@pytest.mark.parametrize(
    ("signed", "own"),
    [
        (OWNER, True),
        (replace(OWNER, digest="", named=True), True),
        (replace(OWNER, kept=True), False),
        (EARLIER, False),
        (None, False),
    ],
)
def test_deployment_is_own_if_signed_by_this_task_and_not_kept(signed, own):
    assert new().is_own(deployment(signed=signed), OWNER) is own


# ---- none was found


@pytest.mark.parametrize("ownership", Ownership)
@pytest.mark.parametrize("created_by_this_try", BOTH, ids=["created now", "created before"])
@pytest.mark.parametrize("unanswered", [0, 1])
@pytest.mark.parametrize(("id_taken", "step"), [(False, CreateStep.CHECK_MODEL), (True, CreateStep.PAUSE)])
def test_missing_deployment_is_created_unless_id_is_taken(
    id_taken, step, ownership, created_by_this_try, unanswered
):
    creation = new(
        id_taken=id_taken, created_by_this_try=created_by_this_try, may_exist=True, unanswered=unanswered
    )
    read(creation, None, ownership)
    assert creation.step is step
    # That it is not visible does not prove that there is none.
    assert (creation.may_exist, creation.unanswered, creation.id_taken) == (True, unanswered, id_taken)


@pytest.mark.parametrize(
    ("after", "step"),
    [(0, CreateStep.PAUSE), (LAG - 1, CreateStep.PAUSE), (LAG, CreateStep.FAILED)],
)
def test_missing_accepted_deployment_fails_after_visibility_lag(after, step):
    creation = new()
    creation.before_request(NOW)
    creation.on_created()
    read(creation, None, now=NOW + after)
    assert (creation.step, creation.may_exist, creation.unanswered) == (step, True, 1)


@pytest.mark.parametrize(("after", "step"), [(0, CreateStep.PAUSE), (LAG, CreateStep.CHECK_MODEL)])
def test_missing_deployment_after_unknown_outcome_is_created_again(after, step):
    creation = new()
    creation.before_request(NOW)
    creation.on_unknown_outcome(NoResponseError("cut off"))
    read(creation, None, now=NOW + after)
    assert (creation.step, creation.may_exist, creation.unanswered) == (step, True, 1)


# ---- requests


def test_creation_begins_with_read_and_owns_nothing():
    creation = new()
    assert creation.step is CreateStep.READ
    assert not any((creation.may_exist, creation.unanswered, creation.created_by_this_try, creation.id_taken))


def test_request_may_have_created_deployment():
    creation = new(must_stay=True)
    creation.before_request(NOW)
    assert (creation.may_exist, creation.unanswered, creation.must_stay) == (True, 1, False)
    assert creation.sent_at == NOW
    assert not creation.created_by_this_try


def test_created_deployment_exists_though_not_visible_yet():
    creation = new()
    creation.before_request(NOW)
    creation.on_created()
    assert (creation.step, creation.created_by_this_try) == (CreateStep.EXISTS, True)
    assert (creation.may_exist, creation.unanswered) == (True, 1)
    assert creation.visible_by == NOW + LAG


def test_undeleted_deployment_that_fails_is_failure_of_this_try():
    creation = new()
    read(creation, deployment("DELETED"))
    creation.before_request(NOW)
    creation.on_undeleted()
    assert (creation.step, creation.created_by_this_try, creation.may_exist) == (CreateStep.PAUSE, True, True)
    read(creation, deployment("FAILED"))
    assert creation.step is CreateStep.FAILED


def test_unknown_outcome_is_resolved_by_read():
    creation = new()
    creation.before_request(NOW)
    creation.on_unknown_outcome(NoResponseError("cut off"))
    assert (creation.step, creation.may_exist, creation.unanswered) == (CreateStep.PAUSE, True, 1)
    assert "cut off" in creation.note
    read(creation, deployment("FAILED"))
    assert (creation.step, creation.unanswered) == (CreateStep.FAILED, 0)


def test_refused_request_has_created_nothing():
    creation = new()
    creation.before_request(NOW)
    creation.on_not_carried_out()
    assert (creation.step, creation.may_exist, creation.unanswered) == (CreateStep.READ, False, 0)


def test_refused_request_does_not_resolve_earlier_unknown_outcome():
    creation = new()
    creation.before_request(NOW)
    creation.on_unknown_outcome(NoResponseError("cut off"))
    read(creation, None, now=NOW + LAG)
    creation.before_request(NOW + LAG)
    creation.on_not_carried_out()
    assert (creation.may_exist, creation.unanswered) == (True, 1)
    creation.before_request(NOW + LAG + 1)
    creation.on_not_carried_out()
    creation.on_id_taken()
    assert (creation.may_exist, creation.unanswered, creation.id_taken) == (True, 1, True)


def test_taken_id_without_deployment_is_tried_again_after_pause():
    creation = new()
    creation.before_request(NOW)
    creation.on_not_carried_out()
    creation.on_id_taken()
    assert (creation.step, creation.id_taken, creation.may_exist) == (CreateStep.READ, True, False)
    read(creation, None)
    assert creation.step is CreateStep.PAUSE
    creation.begin_pause(15, NOW)
    assert (creation.step, creation.id_taken) == (CreateStep.CHECK_MODEL, True)
    read(creation, deployment())
    assert (creation.step, creation.id_taken, creation.may_exist) == (CreateStep.READY, False, True)


# ---- pauses


def test_pause_for_deletion_is_followed_by_read():
    creation = new()
    read(creation, deployment("DELETING"))
    creation.begin_pause(15, NOW)
    assert creation.step is CreateStep.READ


@pytest.mark.parametrize(
    ("poll_interval", "seconds"),
    [(0, MIN_PAUSE), (-1, MIN_PAUSE), (5, 5), (15, MAX_PAUSE), (3600, MAX_PAUSE)],
)
def test_pause_is_bounded(poll_interval, seconds):
    assert new().begin_pause(poll_interval, NOW) == seconds


@pytest.mark.parametrize(("after", "seconds"), [(0, MIN_PAUSE), (4, 4), (29, MAX_PAUSE)])
def test_pause_after_request_grows_with_its_age(after, seconds):
    creation = new()
    creation.before_request(NOW)
    assert creation.begin_pause(15, NOW + after) == seconds


# ---- the rest


def test_inference_model_is_model_and_deployment():
    assert new().inference_model == f"{MODEL}#{NAME}"


def test_resume_state_is_plain_json_and_rejects_other_fields():
    creation = new(
        updates={"maxReplicaCount": 5},
        previous_owner=EARLIER,
        must_stay=True,
        delete_on_failure=False,
        delete_on_kill=False,
    )
    creation.before_request(NOW)
    creation.on_created()
    resume_state = creation.model_dump(mode="json", exclude_defaults=True)
    assert json.loads(json.dumps(resume_state)) == resume_state
    assert DeploymentCreation.model_validate(resume_state) == creation
    with pytest.raises(ValidationError):
        DeploymentCreation.model_validate(resume_state | {"api_key": "fw_x"})
