from __future__ import annotations

import json
from itertools import pairwise

import pytest
from hypothesis import given, settings, strategies as st

from airflow_provider_fireworks.client.resources import BaseModelDetails, Model, Status
from airflow_provider_fireworks.models.readiness import (
    LAGGING_POLLS,
    START_GRACE,
    Baseline,
    PollHistory,
    confirmed_precision,
    is_being_prepared,
    judge_model,
)
from airflow_provider_fireworks.polling import Outcome, Verdict

PENDING, READY, FAILED = Outcome.PENDING, Outcome.READY, Outcome.FAILED
POSTED = 1_750_000_000.0
EARLY, LATE = POSTED + 10, POSTED + START_GRACE + 1
OK, BAD, WORSE = (
    Status(code="OK"),
    Status(code="INTERNAL", message="no GPU"),
    Status(code="ABORTED", message="x"),
)


def model(state: str | None = "READY", **fields) -> Model:
    return Model(state=state, **{"update_time": "t0"} | fields)


def posted(before: Model | None = None, outcome="accepted") -> Baseline:
    return Baseline.of(before or model()).after_request(outcome, POSTED)


LISTS = {"supported_precisions": ["FP16"]}
LEFT = PollHistory(
    has_polled=True, was_ready=True, left_ready=True, ready_again_at=EARLY, polls_ready_again=1
)
LEFT_A_WHILE = PollHistory(
    has_polled=True, was_ready=True, left_ready=True, ready_again_at=EARLY, polls_ready_again=LAGGING_POLLS
)
AWAY = PollHistory(has_polled=True, was_ready=True, is_away=True, left_ready=True)
BUSY = PollHistory(has_polled=True, is_away=True, was_preparing=True)


def verdict(
    now_read: Model | None, baseline: Baseline | None = None, history=None, now=EARLY, **others
) -> Verdict:
    if history is None:
        history = PollHistory.since(baseline)
        history = history if now_read is None else history.after_poll(now_read, now)
    return judge_model(now_read, "FP8", baseline=baseline, history=history, now=now, **others)


PROOFS = {
    "named in the list": {"supported_precisions": ["FP16", "FP8"]},
    "named with calibration, and calibrated": {
        "supported_precisions_with_calibration": ["FP8"],
        "calibrated": True,
    },
    "the default": {"base_model_details": BaseModelDetails(default_precision="FP8")},
}
NO_PROOFS = {
    "nothing": {},
    "empty lists": {"supported_precisions": [], "supported_precisions_with_calibration": []},
    "others named": LISTS,
    "named with calibration, but not calibrated": {"supported_precisions_with_calibration": ["FP8"]},
    "a longer name": {"supported_precisions": ["FP8_MM_V2"]},
    "another default": {"base_model_details": BaseModelDetails(default_precision="FP16")},
    "no default": {"base_model_details": BaseModelDetails()},
}


@pytest.mark.parametrize("fields", PROOFS.values(), ids=PROOFS)
def test_what_is_proof(fields):
    assert confirmed_precision(model(**fields), "FP8")[0] == "FP8"


@pytest.mark.parametrize("fields", NO_PROOFS.values(), ids=NO_PROOFS)
def test_what_is_no_proof(fields):
    assert confirmed_precision(model(**fields), "FP8") is None


def test_no_precision_stands_for_another_unless_the_user_says_so():
    read = model(supported_precisions=["FP8_MM_V2"])
    assert verdict(read, posted()).outcome is PENDING
    accepted = verdict(read, posted(), accept=["NF4", "FP8_MM_V2"])
    assert (accepted.outcome, accepted.precision) == (READY, "FP8_MM_V2")


def test_what_is_asked_for_goes_before_what_is_accepted():
    read = model(supported_precisions=["FP8_MM_V2", "FP8"])
    assert verdict(read, accept=["FP8_MM_V2"]).precision == "FP8"


@pytest.mark.parametrize(
    ("state", "going_on"),
    [
        ("READY", False),
        ("FAILED", False),
        ("PREPARING", True),
        ("UPLOADING", True),
        ("NEW", True),
        (None, True),
    ],
)
def test_when_something_is_going_on(state, going_on):
    assert is_being_prepared(model(state)) is going_on


# One block of rows for each row of the table, in its order.
ROWS = {
    "404: deleted": (None, posted(), None, EARLY, FAILED),
    "404: deleted, without a baseline": (None, None, LEFT, EARLY, FAILED),
    "uploading": (model("UPLOADING"), posted(), None, LATE, PENDING),
    "uploading, before proof": (model("UPLOADING", supported_precisions=["FP8"]), posted(), None, LATE, PENDING),
    "proof": (model(supported_precisions=["FP8"]), posted(), None, EARLY, READY),
    "proof, while another is prepared": (
        model("PREPARING", supported_precisions=["FP8"]), posted(), None, EARLY, READY,
    ),
    "proof, in an unknown state": (model("NEW", supported_precisions=["FP8"]), posted(), None, EARLY, READY),
    "proof, with no state": (model(None, supported_precisions=["FP8"]), posted(), None, EARLY, READY),
    "proof, and FAILED": (model("FAILED", supported_precisions=["FP8"], status=BAD), posted(), None, EARLY, READY),
    "proof, with a bad status": (model(status=BAD, supported_precisions=["FP8"]), posted(), None, EARLY, READY),
    "proof, after the grace": (model(supported_precisions=["FP8"]), posted(), None, LATE, READY),
    "proof, without a baseline": (model(supported_precisions=["FP8"]), None, None, EARLY, READY),
    "proof, where no POST was made": (model(supported_precisions=["FP8"]), Baseline.of(model()), None, EARLY, READY),
    "FAILED, was READY": (model("FAILED", status=BAD), posted(), None, EARLY, FAILED),
    "FAILED again, with another status": (
        model("FAILED", status=WORSE), posted(model("FAILED", status=BAD)), None, EARLY, FAILED,
    ),
    "FAILED again, at another time": (
        model("FAILED", status=BAD, update_time="t1"), posted(model("FAILED", status=BAD)), None, EARLY, FAILED,
    ),
    "FAILED again, with a status that is OK": (
        model("FAILED", status=OK), posted(model("FAILED", status=BAD)), None, EARLY, FAILED,
    ),
    "FAILED without a baseline": (model("FAILED"), None, None, EARLY, FAILED),
    "FAILED still, as before": (
        model("FAILED", status=BAD), posted(model("FAILED", status=BAD)), None, EARLY, PENDING,
    ),
    "FAILED again, as before, and seen in preparation": (
        model("FAILED", status=BAD), posted(model("FAILED", status=BAD)), BUSY, EARLY, FAILED,
    ),
    "preparing": (model("PREPARING"), posted(), None, EARLY, PENDING),
    "preparing for hours": (model("PREPARING"), posted(), None, LATE + 1e6, PENDING),
    "preparing, with a bad status": (model("PREPARING", status=BAD), posted(), None, LATE, PENDING),
    "an unknown state": (model("NEW"), posted(), None, LATE, PENDING),
    "an unspecified state": (model("STATE_UNSPECIFIED"), posted(), None, LATE, PENDING),
    "no state": (model(None), posted(), None, LATE, PENDING),
    "bad, was OK": (model(status=BAD), posted(), None, EARLY, FAILED),
    "bad, otherwise than before": (model(status=WORSE), posted(model(status=BAD)), None, EARLY, FAILED),
    "bad as before, but it left READY": (model(status=BAD), posted(model(status=BAD)), LEFT, EARLY, FAILED),
    "bad as before": (model(status=BAD), posted(model(status=BAD)), None, EARLY, PENDING),
    "bad, was OK, lists there": (model(status=BAD, **LISTS), posted(model(**LISTS)), None, EARLY, FAILED),
    "no lists, calibrated since": (model(calibrated=True), posted(model(calibrated=False)), None, EARLY, READY),
    "no lists, calibrated since unset": (model(calibrated=True), posted(), None, EARLY, READY),
    "no lists, calibrated before": (
        model(calibrated=True), posted(model(calibrated=True)), None, EARLY, PENDING,
    ),
    "no lists, left READY and back": (model(), posted(), LEFT, EARLY, READY),
    "empty lists, left READY and back": (
        model(supported_precisions=[], supported_precisions_with_calibration=[]), posted(), LEFT, EARLY, READY,
    ),
    "no lists, back, the POST was answered already": (model(), posted(outcome="already"), LEFT, EARLY, READY),
    "no lists, back, no POST was made": (model(), Baseline.of(model()), LEFT, LATE, PENDING),
    "lists, calibrated since": (
        model(calibrated=True, **LISTS), posted(model(calibrated=False, **LISTS)), None, EARLY, PENDING,
    ),
    "lists, just back": (model(**LISTS), posted(model(**LISTS)), LEFT, EARLY, PENDING),
    "lists, back for a few polls": (model(**LISTS), posted(model(**LISTS)), LEFT_A_WHILE, EARLY, FAILED),
    "lists, within the grace": (model(**LISTS), posted(model(**LISTS)), None, POSTED + 299, PENDING),
    "no lists, within the grace": (model(), posted(), None, POSTED + 299, PENDING),
    "no lists, nothing has moved": (model(), posted(), None, POSTED + 300, READY),
    "no lists, nothing has moved, answered already": (model(), posted(outcome="already"), None, LATE, READY),
    "no lists, only updateTime has moved": (model(update_time="t1"), posted(), None, EARLY, PENDING),
    "lists, never begun": (model(**LISTS), posted(model(**LISTS)), None, POSTED + 300, FAILED),
    "no lists, bad as before, never begun": (model(status=BAD), posted(model(status=BAD)), None, LATE, FAILED),
    "FAILED as before, never begun": (
        model("FAILED", status=BAD), posted(model("FAILED", status=BAD)), None, LATE, FAILED,
    ),
    "no lists, FAILED as before with no status, never begun": (
        model("FAILED"), posted(model("FAILED")), None, LATE, FAILED,
    ),
    "no baseline, no lists": (model(), None, None, LATE, FAILED),
    "no baseline, no lists, calibrated": (model(calibrated=True), None, LEFT, LATE, FAILED),
    "no baseline, no lists, back": (model(), None, LEFT, LATE, FAILED),
    "no baseline, no lists, bad from the first look on": (model(status=BAD), None, None, LATE, FAILED),
    "no baseline, lists": (model(**LISTS), None, None, LATE, PENDING),
    "no baseline, lists, calibrated": (model(calibrated=True, **LISTS), None, LEFT, LATE, PENDING),
    "no baseline, lists, back": (model(**LISTS), None, LEFT, LATE, PENDING),
    "no baseline, lists, back for a few polls": (model(**LISTS), None, LEFT_A_WHILE, LATE, PENDING),
    "no baseline, lists, bad from the first look on": (model(status=BAD, **LISTS), None, None, LATE, PENDING),
    "no baseline, bad since": (
        model(status=BAD, **LISTS), None, PollHistory(has_polled=True, was_ready=True, first_status=OK), EARLY, FAILED,
    ),
    "no POST, bad since": (model(status=BAD), Baseline.of(model()), None, EARLY, FAILED),
    "no POST, hours later": (model(), Baseline.of(model()), None, LATE, PENDING),
}  # fmt: skip


@pytest.mark.parametrize("row", ROWS.values(), ids=ROWS)
def test_every_row_of_the_table(row):
    read, baseline, history, now, outcome = row
    assert verdict(read, baseline, history, now).outcome is outcome


NO_BASELINE = {
    # Without a baseline: the state → the outcome where the lists of precisions are present, empty, absent.
    "READY": (PENDING, FAILED, FAILED),
    "PREPARING": (PENDING, PENDING, FAILED),
    "UPLOADING": (PENDING, PENDING, PENDING),
    "FAILED": (FAILED, FAILED, FAILED),
    "STATE_UNSPECIFIED": (PENDING, PENDING, FAILED),
    "SOMETHING_NEW": (PENDING, PENDING, FAILED),
    "": (PENDING, PENDING, FAILED),
    None: (PENDING, PENDING, FAILED),
}
EMPTY = {"supported_precisions": [], "supported_precisions_with_calibration": []}


@pytest.mark.parametrize("now", [EARLY, LATE, LATE + 1e6])
@pytest.mark.parametrize(("state", "outcomes"), NO_BASELINE.items(), ids=map(str, NO_BASELINE))
def test_judge_without_baseline_fails_where_it_could_only_time_out(state, outcomes, now):
    lists: list[dict] = [LISTS, EMPTY, {}]
    verdicts = [verdict(model(state, **fields), now=now) for fields in lists]
    assert tuple(each.outcome for each in verdicts) == outcomes
    for each in verdicts:
        if each.outcome is FAILED and state != "FAILED":
            assert "prepared=prepare.output" in each.reason
            assert not each.can_prepare_again


@pytest.mark.parametrize(
    "fields", [{"supported_precisions": []}, {"supported_precisions_with_calibration": []}]
)
def test_judge_without_baseline_waits_if_one_empty_list_is_there(fields):
    # Lists that exist may be filled at the end of the preparation.
    assert verdict(model("PREPARING", **fields)).outcome is PENDING
    assert verdict(model(**fields)).outcome is FAILED


@pytest.mark.parametrize("fields", PROOFS.values(), ids=PROOFS)
def test_judge_without_baseline_succeeds_if_precision_is_named(fields):
    named = verdict(model(**fields))
    assert (named.outcome, named.precision, named.inferred) == (READY, "FP8", False)


@pytest.mark.parametrize(
    ("read", "baseline", "memory", "now"),
    [
        pytest.param(model(calibrated=True), posted(), None, EARLY, id="calibrated since"),
        pytest.param(model(), posted(), LEFT, EARLY, id="back"),
        pytest.param(model(), posted(), None, LATE, id="nothing has moved"),
    ],
)
def test_what_is_inferred_says_so_and_fails_where_proof_is_required(read, baseline, history, now):
    inferred = verdict(read, baseline, history, now)
    assert (inferred.inferred, inferred.precision) == (True, "FP8")
    assert "inferred" in inferred.reason
    required = verdict(read, baseline, history, now, require_confirmation=True)
    assert required.outcome is FAILED
    assert "require_confirmation" in required.reason
    assert not required.can_prepare_again


def test_proof_is_not_inferred_and_satisfies_who_requires_it():
    proof = verdict(model(supported_precisions=["FP8"]), posted(), require_confirmation=True)
    assert (proof.outcome, proof.inferred, proof.precision) == (READY, False, "FP8")


@pytest.mark.parametrize(
    "read", [model("FAILED", status=BAD), model(status=BAD)], ids=["by its state", "by its status"]
)
def test_a_failure_tells_the_gateways_code_and_message(read):
    failed = verdict(read, posted())
    assert "INTERNAL: no GPU" in failed.reason
    assert not failed.can_prepare_again


def test_what_finished_without_the_precision_has_to_be_prepared_again_and_says_so():
    read = model(supported_precisions=["FP16"], supported_precisions_with_calibration=["NF4"])
    failed = verdict(read, posted(), LEFT_A_WHILE)
    assert "finished without FP8: the API names FP16, NF4" in failed.reason
    assert "has to be prepared again" in failed.reason
    assert failed.can_prepare_again


def test_what_never_began_says_so_with_the_last_status():
    failed = verdict(model(status=BAD), posted(model(status=BAD)), now=LATE)
    assert "has not begun" in failed.reason
    assert "INTERNAL: no GPU" in failed.reason
    assert failed.can_prepare_again


def test_the_grace_counts_from_the_return_to_ready_where_that_is_known():
    before = model("PREPARING", **LISTS)
    history = PollHistory.since(posted(before)).after_poll(before, EARLY)
    back = model(**LISTS)
    for look, outcome in [(1000, PENDING), (1299, PENDING), (1300, FAILED)]:
        history = history.after_poll(back, POSTED + look)
        assert verdict(back, posted(before), history, POSTED + look).outcome is outcome


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (None, Status()),
        (None, Status(code="OK", message="")),
        (Status(code="INTERNAL"), Status(code="INTERNAL", message="")),
    ],
)
def test_unset_and_empty_are_no_news(one, other):
    failed_before = posted(model("FAILED", status=one))
    assert verdict(model("FAILED", status=other), failed_before).outcome is PENDING


def test_a_baseline_survives_json_and_what_a_newer_package_adds():
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
    baseline = Baseline.of(before).after_request("accepted", POSTED)
    travelled = json.loads(json.dumps(baseline.model_dump(mode="json"))) | {"new_field": 1}
    assert Baseline.model_validate(travelled) == baseline
    assert (baseline.posted, baseline.posted_at, baseline.precisions) == ("accepted", POSTED, ["FP16", "FP8"])


class Wait:
    """One wait for FP8: what each look brings, with the history of the looks before, or without it."""

    def __init__(self, baseline: Baseline | None, *, forgetful: bool = False) -> None:
        self.baseline, self.forgetful = baseline, forgetful
        self.history = PollHistory.since(baseline)

    def look(self, read: Model, seconds: float, precision: str = "FP8") -> Outcome:
        if self.forgetful:
            self.history = PollHistory.since(self.baseline)
        now = POSTED + seconds
        self.history = self.history.after_poll(read, now)
        return judge_model(read, precision, baseline=self.baseline, history=self.history, now=now).outcome


def walk(baseline: Baseline | None, *looks: tuple[float, Model], forgetful: bool = False) -> list[Outcome]:
    wait = Wait(baseline, forgetful=forgetful)
    return [wait.look(read, seconds) for seconds, read in looks]


def test_walk_repeated_prepare_of_what_is_prepared():
    # The lists name it: ready at the first look, whatever became of the POST.
    named = model(supported_precisions=["FP16", "FP8"])
    for outcome in ("accepted", "already"):
        assert walk(posted(named, outcome), (1, named)) == [READY]
    # Without lists there is nothing to tell it by but that nothing moves for the whole grace.
    for outcome in ("accepted", "already"):
        calibrated = model(calibrated=True)
        looks = [(1, calibrated), (299, calibrated), (301, calibrated)]
        assert walk(posted(calibrated, outcome), *looks) == [PENDING, PENDING, READY]


@pytest.mark.parametrize("fields", [{}, LISTS], ids=["no lists", "lists"])
def test_walk_the_first_preparation_failed_and_the_task_is_retried(fields):
    failed = model("FAILED", status=BAD, update_time="t1", **fields)
    # The old failure still stands there for a while: no news.
    preparing = model("PREPARING", status=BAD, update_time="t2", **fields)
    assert walk(posted(failed), (1, failed), (20, failed), (30, preparing)) == [PENDING, PENDING, PENDING]
    # It ends well with lists that name it, badly with the same words at another time.
    good = model(update_time="t3", supported_precisions=["FP16", "FP8"])
    assert walk(posted(failed), (1, failed), (30, preparing), (600, good))[-1] is READY
    again = model("FAILED", status=BAD, update_time="t3", **fields)
    assert walk(posted(failed), (1, failed), (30, preparing), (600, again))[-1] is FAILED


def test_walk_a_retry_after_a_failure_that_left_the_model_ready_with_a_bad_status():
    stale = model(status=BAD, update_time="t1")
    assert walk(posted(stale), (1, stale), (30, model("PREPARING", status=BAD)), (600, model(update_time="t3"))) == [
        PENDING, PENDING, READY,
    ]  # fmt: skip
    assert walk(posted(stale), (1, stale), (30, model("PREPARING", status=BAD)), (600, stale))[-1] is FAILED


def test_walk_two_runs_prepare_one_model_at_different_precisions():
    # FP4 is in preparation when FP8 is asked for. The model is back with FP4 alone at first, and begins again.
    busy = model("PREPARING", supported_precisions=["FP16"])
    only_other = model(supported_precisions=["FP16", "FP4"], update_time="t1")
    both = model(supported_precisions=["FP16", "FP4", "FP8"], update_time="t2")
    ours = model("PREPARING", supported_precisions=["FP16", "FP4"])
    outcomes = walk(posted(busy), (1, busy), (900, busy), (930, only_other), (960, ours), (1500, both))
    assert outcomes == [PENDING, PENDING, PENDING, PENDING, READY]
    # Only one of them was done: not for ever pending.
    stuck = walk(posted(busy), (1, busy), (930, only_other), (1000, only_other), (1231, only_other))
    assert stuck == [PENDING, PENDING, PENDING, FAILED]
    # The other run's end is no failure of ours while ours is named.
    assert walk(posted(busy), (930, model("FAILED", supported_precisions=["FP8"], status=BAD))) == [READY]


def test_walk_calibrated_by_an_earlier_fp8_and_now_fp4_is_asked_for():
    # With lists: being calibrated for FP8 is no proof of FP4.
    before = model(
        calibrated=True, supported_precisions=["FP16"], supported_precisions_with_calibration=["FP8"]
    )
    wait = Wait(posted(before))
    assert wait.look(before, 1, "FP4") is PENDING
    assert wait.look(before, 299, "FP4") is PENDING
    done = model(
        calibrated=True, supported_precisions=["FP16"], supported_precisions_with_calibration=["FP8", "FP4"]
    )
    assert wait.look(done, 400, "FP4") is READY
    # Without lists: calibrated is old, and so no inference; that it left READY and is back is one.
    wait = Wait(posted(model(calibrated=True)))
    assert wait.look(model(calibrated=True), 1, "FP4") is PENDING
    assert wait.look(model("PREPARING", calibrated=True), 30, "FP4") is PENDING
    assert wait.look(model(calibrated=True), 600, "FP4") is READY


def test_another_ones_edit_ends_no_wait():
    for baseline in (posted(model(**LISTS)), posted(), Baseline.of(model()), None):
        edits = [(at, model(update_time=f"t{at}", **LISTS)) for at in (1, 100, 299)]
        assert walk(baseline, *edits) == [PENDING] * 3


# ---- PollHistory


def test_memory_begins_with_what_the_baseline_tells():
    assert PollHistory.since(None) == PollHistory()
    ready = PollHistory.since(posted(model(status=BAD)))
    assert ready == PollHistory(has_polled=True, was_ready=True, first_status=BAD)
    assert PollHistory.since(posted(model("PREPARING"))) == PollHistory(has_polled=True, is_away=True)


def test_memory_counts_the_looks_since_the_return_and_forgets_them_when_it_leaves_again():
    history = PollHistory.since(posted())
    seen = []
    for at, state in enumerate(["READY", "PREPARING", "NEW", "READY", "READY", "PREPARING", "READY"]):
        history = history.after_poll(model(state), at)
        seen.append((history.away, history.left_ready, history.ready_again_at, history.polls_ready_again))
    assert seen == [
        (False, False, None, 0),
        (True, True, None, 0),
        (True, True, None, 0),
        (False, True, 3, 1),
        (False, True, 3, 2),
        (True, True, None, 0),
        (False, True, 6, 1),
    ]


def test_a_model_that_was_never_ready_has_not_left_it():
    history = PollHistory().after_poll(model("UPLOADING"), 1).after_poll(model("READY"), 2)
    assert not history.left_ready
    assert history.after_poll(model("PREPARING"), 3).left_ready


def test_memory_keeps_the_first_status_of_all():
    history = PollHistory().after_poll(model(status=OK), 1).after_poll(model(status=BAD), 2)
    assert history.first_status == OK
    assert PollHistory().after_poll(model(), 1).after_poll(model(status=BAD), 2).first_status is None


@given(
    states=st.lists(st.sampled_from(["READY", "PREPARING", "FAILED", None]), max_size=12), began=st.booleans()
)
def test_memory_is_what_a_reader_of_the_whole_history_would_say(states, began):
    history = PollHistory.since(posted()) if began else PollHistory()
    history = (["READY"] if began else []) + states
    for at, state in enumerate(states):
        history = history.after_poll(model(state), at)
    ready = [state == "READY" for state in history]
    assert history.has_polled is bool(history)
    assert history.was_ready is any(ready)
    assert history.away is (bool(ready) and not ready[-1])
    assert history.left_ready is any(a and not b for a, b in pairwise(ready))
    polls_ready_again = 0
    if ready and ready[-1] and False in ready:
        polls_ready_again = ready[::-1].index(False)
        assert history.ready_again_at == len(states) - polls_ready_again
    else:
        assert history.ready_again_at is None
    assert history.polls_ready_again == polls_ready_again


# ---- without history no verdict is wrong, only later

STATUSES = st.sampled_from([None, OK, BAD])


@st.composite
def preparations(draw):
    """What an API shows of one preparation, from the POST until long after its end, and whether it lists."""
    lists = draw(st.booleans())
    stale = draw(STATUSES)
    calibrated = draw(st.booleans())
    before = model(status=stale, calibrated=calibrated, **(LISTS if lists else {}))
    lag, duration = draw(st.integers(0, 250)), draw(st.integers(30, 2000))
    end = draw(st.sampled_from(["done", "bad status", "FAILED"]))
    if end == "done":
        fields = {"supported_precisions": ["FP16", "FP8"]} if lists else {}
        after = model(update_time="t2", calibrated=draw(st.sampled_from([True, calibrated])), **fields)
    else:
        after = model(
            "FAILED" if end == "FAILED" else "READY",
            status=WORSE,
            update_time="t2",
            calibrated=calibrated,
            **(LISTS if lists else {}),
        )
    during = before.model_copy(update={"state": "PREPARING", "update_time": "t1"})
    times = sorted(draw(st.sets(st.integers(1, lag + duration + 900), min_size=1, max_size=25)))
    times += [lag + duration + 1000 + 30 * n for n in range(15)]
    looks = [(t, before if t < lag else during if t < lag + duration else after) for t in times]
    return posted(before), looks, READY if end == "done" else FAILED


@settings(max_examples=300)
@given(preparation=preparations(), lost=st.sets(st.integers(0, 40)))
def test_memory_lost_at_any_point_makes_no_verdict_wrong(preparation, lost):
    baseline, looks, truth = preparation

    def ends(lost: set[int]) -> tuple[int, Outcome]:
        wait = Wait(baseline)
        for number, (at, read) in enumerate(looks):
            if number in lost:
                wait.history = PollHistory.since(baseline)
            outcome = wait.look(read, at)
            if outcome is not PENDING:
                return number, outcome
        raise AssertionError("it never ends")

    remembering, forgetting, forgetful = ends(set()), ends(lost), ends(set(range(len(looks))))
    assert remembering[1] is forgetting[1] is forgetful[1] is truth
    assert remembering[0] <= forgetting[0] <= forgetful[0]


READS = st.builds(
    model,
    state=st.sampled_from(["READY", "PREPARING", "FAILED", "UPLOADING", "NEW", None]),
    status=STATUSES,
    update_time=st.sampled_from(["t0", "t1"]),
    calibrated=st.none() | st.booleans(),
    supported_precisions=st.none() | st.lists(st.sampled_from(["FP16", "FP8"]), unique=True),
    supported_precisions_with_calibration=st.none() | st.lists(st.sampled_from(["FP8", "FP4"]), unique=True),
)


@given(
    reads=st.lists(READS, min_size=1, max_size=6),
    before=READS,
    outcome=st.sampled_from([None, "accepted", "already"]),
    now=st.integers(1, 1000),
    require_confirmation=st.booleans(),
)
def test_whatever_is_read_ready_is_proven_or_told_as_inferred(
    reads, before, outcome, now, require_confirmation
):
    baseline = Baseline.of(before).after_request(outcome, POSTED) if outcome else Baseline.of(before)
    history = PollHistory.since(baseline)
    for read in reads:
        history = history.after_poll(read, POSTED + now)
    told = judge_model(
        read,
        "FP8",
        baseline=baseline,
        history=history,
        now=POSTED + now,
        require_confirmation=require_confirmation,
    )
    proof = confirmed_precision(read, "FP8") is not None and read.state != "UPLOADING"
    assert told.inferred is (told.outcome is READY and not proof)
    assert told.precision == ("FP8" if told.outcome is READY else None)
    assert told.reason
    if proof:
        assert told.outcome is READY
    if told.inferred:
        assert outcome is not None
        assert not require_confirmation
        assert not read.lists_precisions
        assert read.state == "READY"


@pytest.mark.parametrize(
    ("changed", "outcome"),
    [
        pytest.param("2025-06-15T15:16:41.123456789Z", PENDING, id="a minute ago"),
        pytest.param("2025-06-15T16:00:00Z", PENDING, id="in the future, by the API's clock"),
        pytest.param("2025-06-15T15:07:00Z", FAILED, id="long ago"),
        pytest.param("t1", FAILED, id="at no time that can be read"),
        pytest.param("t0", FAILED, id="not since the baseline"),
    ],
)
def test_a_change_that_nobody_saw_is_given_the_grace_as_well(changed, outcome):
    """Lists may lag behind a preparation that ended while a triggerer was down."""
    baseline = posted(model(**LISTS))
    now = POSTED + 660
    assert verdict(model(update_time=changed, **LISTS), baseline, now=now).outcome is outcome
