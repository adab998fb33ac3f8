"""One judgement of one model: the decision table of docs/readiness.md."""

from __future__ import annotations

import json

import pytest

from airflow_provider_fireworks.client.resources import Model, Status
from airflow_provider_fireworks.models.readiness import (
    LAGGING_POLLS,
    Baseline,
    PollHistory,
    is_being_prepared,
    judge_model,
)
from airflow_provider_fireworks.polling import Outcome, Verdict
from airflow_provider_fireworks.timing import DEFAULT_TIMING
from tests.unit.models.examples import (
    EMPTY_LISTS,
    ERROR,
    LISTS,
    OK,
    OTHER_ERROR,
    REQUESTED_AT,
    model,
    requested,
)

ABORTED = Status(code="CANCELLED", message="stopped")
PENDING, READY, FAILED = Outcome.PENDING, Outcome.READY, Outcome.FAILED
EARLY = REQUESTED_AT + 10
START = REQUESTED_AT + DEFAULT_TIMING.preparation_start
LATE = START + 1e6
LISTED = {"supported_precisions": ["FP8"]}

LEFT_READY = {"has_polled": True, "was_ready": True, "left_ready": True}
READY_AGAIN = PollHistory(**LEFT_READY, ready_again_at=EARLY, polls_ready_again=1)
READY_AGAIN_LONG = PollHistory(**LEFT_READY, ready_again_at=EARLY, polls_ready_again=LAGGING_POLLS)
WAS_OK = PollHistory(has_polled=True, was_ready=True, first_status=OK)
WAS_PREPARING = PollHistory(has_polled=True, is_away=True, was_preparing=True)


def judge(
    read: Model | None,
    baseline: Baseline | None = None,
    history: PollHistory | None = None,
    now: float = EARLY,
    **others,
) -> Verdict:
    if history is None:
        history = PollHistory.since(baseline)
        history = history if read is None else history.after_poll(read, now)
    return judge_model(read, "FP8", baseline=baseline, history=history, now=now, **others)


@pytest.mark.parametrize(
    ("state", "expected"),
    [
        ("READY", False),
        ("FAILED", False),
        ("PREPARING", True),
        ("UPLOADING", True),
        ("NEW", True),
        (None, True),
    ],
)
def test_is_being_prepared_in_every_state_but_ready_and_failed(state, expected):
    assert is_being_prepared(model(state)) is expected


# In the order of the table: (the model as read, baseline, history, time, outcome)
ROWS = {
    "deleted": (None, requested(), None, EARLY, FAILED),
    "deleted, without baseline": (None, None, READY_AGAIN, EARLY, FAILED),
    "uploading": (model("UPLOADING"), requested(), None, LATE, PENDING),
    "uploading, listed": (model("UPLOADING", **LISTED), requested(), None, LATE, PENDING),
    "listed": (model(**LISTED), requested(), None, EARLY, READY),
    "listed, PREPARING": (model("PREPARING", **LISTED), requested(), None, EARLY, READY),
    "listed, unknown state": (model("NEW", **LISTED), requested(), None, EARLY, READY),
    "listed, no state": (model(None, **LISTED), requested(), None, EARLY, READY),
    "listed, FAILED": (model("FAILED", status=ERROR, **LISTED), requested(), None, EARLY, READY),
    "listed, error": (model(status=ERROR, **LISTED), requested(), None, EARLY, READY),
    "listed, late": (model(**LISTED), requested(), None, LATE, READY),
    "listed, without baseline": (model(**LISTED), None, None, EARLY, READY),
    "listed, nothing requested": (model(**LISTED), Baseline.of(model()), None, EARLY, READY),
    "FAILED, was READY": (model("FAILED", status=ERROR), requested(), None, EARLY, FAILED),
    "FAILED again, other status": (
        model("FAILED", status=OTHER_ERROR), requested(model("FAILED", status=ERROR)), None, EARLY, FAILED,
    ),
    "FAILED again, other updateTime": (
        model("FAILED", status=ERROR, update_time="t1"), requested(model("FAILED", status=ERROR)), None, EARLY, FAILED,
    ),
    "FAILED again, status OK": (
        model("FAILED", status=OK), requested(model("FAILED", status=ERROR)), None, EARLY, FAILED,
    ),
    "FAILED unchanged": (
        model("FAILED", status=ERROR), requested(model("FAILED", status=ERROR)), None, EARLY, PENDING,
    ),
    "FAILED unchanged, was PREPARING": (
        model("FAILED", status=ERROR), requested(model("FAILED", status=ERROR)), WAS_PREPARING, EARLY, FAILED,
    ),
    "PREPARING": (model("PREPARING"), requested(), None, EARLY, PENDING),
    "PREPARING for hours": (model("PREPARING"), requested(), None, LATE, PENDING),
    "PREPARING, error": (model("PREPARING", status=ERROR), requested(), None, LATE, PENDING),
    "unknown state": (model("NEW"), requested(), None, LATE, PENDING),
    "unspecified state": (model("STATE_UNSPECIFIED"), requested(), None, LATE, PENDING),
    "no state": (model(None), requested(), None, LATE, PENDING),
    "new error": (model(status=ERROR), requested(), None, EARLY, FAILED),
    "new error, lists": (model(status=ERROR, **LISTS), requested(model(**LISTS)), None, EARLY, FAILED),
    "aborted": (model(status=ABORTED), requested(), None, EARLY, FAILED),
    "aborted, READY again": (model(status=ABORTED), requested(model(status=ABORTED)), READY_AGAIN, EARLY, FAILED),
    "aborted before": (model(status=ABORTED), requested(model(status=ABORTED)), None, EARLY, PENDING),
    "other error": (model(status=OTHER_ERROR), requested(model(status=ERROR)), None, EARLY, FAILED),
    "FAILED before, READY again": (
        model(), requested(model("FAILED", status=ERROR)), WAS_PREPARING, EARLY, READY,
    ),
    "FAILED before, READY again with the same error": (
        model(status=ERROR), requested(model("FAILED", status=ERROR)), WAS_PREPARING, EARLY, FAILED,
    ),
    "old error, READY again": (model(status=ERROR), requested(model(status=ERROR)), READY_AGAIN, EARLY, FAILED),
    "old error, READY again, calibrated since": (
        model(status=ERROR, calibrated=True), requested(model(status=ERROR)), READY_AGAIN, EARLY, READY,
    ),
    "new error, calibrated since": (
        model(status=ERROR, calibrated=True), requested(), READY_AGAIN, EARLY, FAILED,
    ),
    "old error, READY again, lists, calibrated since": (
        model(status=ERROR, calibrated=True, **LISTS), requested(model(status=ERROR, **LISTS)), READY_AGAIN, EARLY,
        FAILED,
    ),
    "old error": (model(status=ERROR), requested(model(status=ERROR)), None, EARLY, PENDING),
    "no lists, calibrated since": (model(calibrated=True), requested(model(calibrated=False)), None, EARLY, READY),
    "no lists, calibrated since unset": (model(calibrated=True), requested(), None, EARLY, READY),
    "no lists, calibrated before": (
        model(calibrated=True), requested(model(calibrated=True)), None, EARLY, PENDING,
    ),
    "no lists, READY again": (model(), requested(), READY_AGAIN, EARLY, READY),
    "empty lists, READY again": (model(**EMPTY_LISTS), requested(), READY_AGAIN, EARLY, READY),
    "no lists, READY again, already": (model(), requested(outcome="already"), READY_AGAIN, EARLY, READY),
    "no lists, READY again, nothing requested": (model(), Baseline.of(model()), READY_AGAIN, LATE, PENDING),
    "lists, calibrated since": (
        model(calibrated=True, **LISTS), requested(model(calibrated=False, **LISTS)), None, EARLY, PENDING,
    ),
    "lists, READY again": (model(**LISTS), requested(model(**LISTS)), READY_AGAIN, EARLY, PENDING),
    "lists, READY again for some polls": (
        model(**LISTS), requested(model(**LISTS)), READY_AGAIN_LONG, EARLY, FAILED,
    ),
    "lists, unchanged, before start": (model(**LISTS), requested(model(**LISTS)), None, START - 1, PENDING),
    "no lists, unchanged, before start": (model(), requested(), None, START - 1, PENDING),
    "no lists, unchanged, after start": (model(), requested(), None, START, READY),
    "no lists, unchanged, after start, already": (model(), requested(outcome="already"), None, START, READY),
    "no lists, other updateTime": (model(update_time="t1"), requested(), None, EARLY, PENDING),
    "lists, never begun": (model(**LISTS), requested(model(**LISTS)), None, START, FAILED),
    "no lists, old error, never begun": (model(status=ERROR), requested(model(status=ERROR)), None, LATE, FAILED),
    "FAILED unchanged, never begun": (
        model("FAILED", status=ERROR), requested(model("FAILED", status=ERROR)), None, LATE, FAILED,
    ),
    "FAILED without status, never begun": (model("FAILED"), requested(model("FAILED")), None, LATE, FAILED),
    "without baseline, no lists, READY again": (model(calibrated=True), None, READY_AGAIN, LATE, FAILED),
    "without baseline, lists, READY again": (model(**LISTS), None, READY_AGAIN_LONG, LATE, PENDING),
    "without baseline, lists, calibrated": (model(calibrated=True, **LISTS), None, READY_AGAIN, LATE, PENDING),
    "without baseline, lists, error at first poll": (model(status=ERROR, **LISTS), None, None, LATE, PENDING),
    "without baseline, lists, error since": (
        model(status=ERROR, **LISTS), None, WAS_OK, EARLY, FAILED,
    ),
    "nothing requested, new error": (model(status=ERROR), Baseline.of(model()), None, EARLY, FAILED),
    "nothing requested, hours later": (model(), Baseline.of(model()), None, LATE, PENDING),
}  # fmt: skip


@pytest.mark.parametrize(("read", "baseline", "history", "now", "outcome"), ROWS.values(), ids=ROWS)
def test_judge_follows_decision_table(read, baseline, history, now, outcome):
    assert judge(read, baseline, history, now).outcome is outcome


def test_judge_takes_accepted_precision_only_if_given():
    read = model(supported_precisions=["FP8_MM_V2"])
    assert judge(read, requested()).outcome is PENDING
    accepted = judge(read, requested(), accept=["NF4", "FP8_MM_V2"])
    assert (accepted.outcome, accepted.precision) == (READY, "FP8_MM_V2")


# ---- without a baseline

WITHOUT_BASELINE = {
    # state → outcome with lists, with empty lists, without lists
    "READY": (PENDING, FAILED, FAILED),
    "PREPARING": (PENDING, PENDING, FAILED),
    "UPLOADING": (PENDING, PENDING, PENDING),
    "FAILED": (FAILED, FAILED, FAILED),
    "STATE_UNSPECIFIED": (PENDING, PENDING, FAILED),
    "SOMETHING_NEW": (PENDING, PENDING, FAILED),
    "": (PENDING, PENDING, FAILED),
    None: (PENDING, PENDING, FAILED),
}


@pytest.mark.parametrize("now", [EARLY, LATE])
@pytest.mark.parametrize(("state", "outcomes"), WITHOUT_BASELINE.items(), ids=map(str, WITHOUT_BASELINE))
def test_judge_without_baseline_fails_where_it_could_only_time_out(state, outcomes, now):
    lists: list[dict] = [LISTS, EMPTY_LISTS, {}]
    verdicts = [judge(model(state, **fields), now=now) for fields in lists]
    assert tuple(each.outcome for each in verdicts) == outcomes
    for each in verdicts:
        if each.outcome is FAILED and state != "FAILED":
            assert "prepared=prepare.output" in each.reason
            assert not each.can_prepare_again


@pytest.mark.parametrize(
    "fields", [{"supported_precisions": []}, {"supported_precisions_with_calibration": []}], ids=str
)
def test_judge_without_baseline_waits_for_one_empty_list(fields):
    # The list may be filled at the end of the preparation.
    assert judge(model("PREPARING", **fields)).outcome is PENDING
    assert judge(model(**fields)).outcome is FAILED


# ---- what a verdict says


@pytest.mark.parametrize(
    ("read", "history", "now"),
    [
        pytest.param(model(calibrated=True), None, EARLY, id="calibrated since"),
        pytest.param(model(), READY_AGAIN, EARLY, id="READY again"),
        pytest.param(model(), None, LATE, id="unchanged"),
    ],
)
def test_inferred_readiness_is_marked_and_fails_require_confirmation(read, history, now):
    inferred = judge(read, requested(), history, now)
    assert (inferred.inferred, inferred.precision) == (True, "FP8")
    assert inferred.nothing_seen is (now == LATE)
    assert "inferred" in inferred.reason
    required = judge(read, requested(), history, now, require_confirmation=True)
    assert required.outcome is FAILED
    assert "require_confirmation" in required.reason
    assert not required.can_prepare_again


def test_confirmed_readiness_satisfies_require_confirmation():
    confirmed = judge(model(**LISTED), requested(), require_confirmation=True)
    assert (confirmed.outcome, confirmed.inferred, confirmed.precision) == (READY, False, "FP8")


@pytest.mark.parametrize("code", ["CANCELLED", "ABORTED", 1, 10])
def test_aborted_preparation_is_named_and_not_requested_again(code):
    failed = judge(model(status=Status(code=code)), requested())
    assert f"somebody stopped its preparation, its status is {code}" in failed.reason
    assert not failed.can_prepare_again


@pytest.mark.parametrize("fields", [{}, EMPTY_LISTS], ids=["no lists", "empty lists"])
def test_preparation_that_was_seen_to_begin_is_ready_again_at_first_poll(fields):
    before = model(**fields)
    began = Baseline.of(before).after_request("accepted", REQUESTED_AT, began=True)
    assert judge(model("PREPARING", **fields), began).outcome is PENDING
    assert judge(before, began).outcome is READY
    assert judge(before, requested(before)).outcome is PENDING


@pytest.mark.parametrize(
    "read", [model("FAILED", status=ERROR), model(status=ERROR)], ids=["state", "status"]
)
def test_failure_reason_quotes_status(read):
    failed = judge(read, requested())
    assert "INTERNAL: no GPU" in failed.reason
    assert not failed.can_prepare_again


def test_failure_without_precision_can_prepare_again():
    read = model(supported_precisions=["FP16"], supported_precisions_with_calibration=["NF4"])
    failed = judge(read, requested(), READY_AGAIN_LONG)
    assert "finished without FP8: the API lists FP16, NF4" in failed.reason
    assert "has to be prepared again" in failed.reason
    assert failed.can_prepare_again


def test_failure_to_begin_quotes_status_and_can_prepare_again():
    failed = judge(model(status=ERROR), requested(model(status=ERROR)), now=LATE)
    assert "has not begun" in failed.reason
    assert "INTERNAL: no GPU" in failed.reason
    assert failed.can_prepare_again


# ---- since when nothing has changed


def test_start_time_counts_from_return_to_ready():
    before = model("PREPARING", **LISTS)
    history = PollHistory.since(requested(before)).after_poll(before, EARLY)
    again = model(**LISTS)
    for seconds, outcome in [(1000, PENDING), (1299, PENDING), (1300, FAILED)]:
        history = history.after_poll(again, REQUESTED_AT + seconds)
        assert judge(again, requested(before), history, REQUESTED_AT + seconds).outcome is outcome


@pytest.mark.parametrize(
    ("update_time", "outcome"),
    [
        pytest.param("2025-06-15T15:16:41.123456789Z", PENDING, id="a minute ago"),
        pytest.param("2025-06-15T16:00:00Z", PENDING, id="in the future"),
        pytest.param("2025-06-15T15:07:00Z", FAILED, id="long ago"),
        pytest.param("t1", FAILED, id="unreadable"),
        pytest.param("t0", FAILED, id="unchanged"),
    ],
)
def test_start_time_counts_from_change_that_no_poll_saw(update_time, outcome):
    """Lists may lag behind a preparation that ended while a triggerer was down."""
    read = model(update_time=update_time, **LISTS)
    assert judge(read, requested(model(**LISTS)), now=REQUESTED_AT + 660).outcome is outcome


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (None, Status()),
        (None, Status(code="OK", message="")),
        (Status(code="INTERNAL"), Status(code="INTERNAL", message="")),
    ],
    ids=["unset or empty", "unset or OK", "message unset or empty"],
)
def test_status_spelled_differently_is_unchanged(one, other):
    failed_before = requested(model("FAILED", status=one))
    assert judge(model("FAILED", status=other), failed_before).outcome is PENDING


# ---- Baseline


def test_baseline_survives_json_and_fields_of_newer_package():
    before = Model.model_validate(
        {
            "state": "READY",
            "status": {"code": "INTERNAL", "message": "old", "details": [1]},
            "updateTime": "t",
            "calibrated": True,
            "supportedPrecisions": ["FP16"],
            "supportedPrecisionsWithCalibration": ["FP8"],
        }
    )
    baseline = Baseline.of(before).after_request("accepted", REQUESTED_AT)
    travelled = json.loads(json.dumps(baseline.model_dump(mode="json"))) | {"new_field": 1}
    assert Baseline.model_validate(travelled) == baseline
    assert (baseline.posted, baseline.posted_at) == ("accepted", REQUESTED_AT)
    assert baseline.precisions == ["FP16", "FP8"]
