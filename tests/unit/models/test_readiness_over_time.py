"""Whole preparations, poll by poll, with the history of earlier polls or without it."""

from __future__ import annotations

import pytest
from hypothesis import given, settings, strategies as st

from airflow_provider_fireworks.client.resources import Model
from airflow_provider_fireworks.models.readiness import (
    Baseline,
    PollHistory,
    confirmed_precision,
    judge_model,
)
from airflow_provider_fireworks.polling import Outcome
from tests.unit.models.examples import ERROR, LISTS, OK, OTHER_ERROR, REQUESTED_AT, model, requested

PENDING, READY, FAILED = Outcome.PENDING, Outcome.READY, Outcome.FAILED


class Poller:
    """Polls one model, and judges each response."""

    def __init__(self, baseline: Baseline | None) -> None:
        self.baseline = baseline
        self.forget()

    def forget(self) -> None:
        self.history = PollHistory.since(self.baseline)

    def poll(self, read: Model, seconds: float, precision: str = "FP8") -> Outcome:
        now = REQUESTED_AT + seconds
        self.history = self.history.after_poll(read, now)
        return judge_model(read, precision, baseline=self.baseline, history=self.history, now=now).outcome


def poll_all(baseline: Baseline | None, *polls: tuple[float, Model]) -> list[Outcome]:
    """Return the outcome of each poll: (seconds since the request, the model as read)."""
    poller = Poller(baseline)
    return [poller.poll(read, seconds) for seconds, read in polls]


@pytest.mark.parametrize("outcome", ["accepted", "already"])
def test_repeated_request_with_lists_is_ready_at_first_poll(outcome):
    listed = model(supported_precisions=["FP16", "FP8"])
    assert poll_all(requested(listed, outcome), (1, listed)) == [READY]


@pytest.mark.parametrize("outcome", ["accepted", "already"])
def test_repeated_request_without_lists_is_ready_after_start_time(outcome):
    calibrated = model(calibrated=True)
    polls = [(1, calibrated), (299, calibrated), (301, calibrated)]
    assert poll_all(requested(calibrated, outcome), *polls) == [PENDING, PENDING, READY]


@pytest.mark.parametrize("fields", [{}, LISTS], ids=["no lists", "lists"])
def test_retry_after_failed_preparation_ignores_old_failure(fields):
    failed = model("FAILED", status=ERROR, update_time="t1", **fields)
    preparing = model("PREPARING", status=ERROR, update_time="t2", **fields)
    polls = [(1, failed), (20, failed), (30, preparing)]
    assert poll_all(requested(failed), *polls) == [PENDING, PENDING, PENDING]
    ready = model(update_time="t3", supported_precisions=["FP16", "FP8"])
    assert poll_all(requested(failed), *polls, (600, ready))[-1] is READY
    failed_again = model("FAILED", status=ERROR, update_time="t3", **fields)
    assert poll_all(requested(failed), *polls, (600, failed_again))[-1] is FAILED


def test_retry_after_error_status_ignores_old_error():
    stale = model(status=ERROR, update_time="t1")
    polls = [(1, stale), (30, model("PREPARING", status=ERROR))]
    assert poll_all(requested(stale), *polls, (600, model(update_time="t3"))) == [PENDING, PENDING, READY]
    assert poll_all(requested(stale), *polls, (600, stale))[-1] is FAILED


def test_two_runs_preparing_different_precisions_wait_for_their_own():
    # FP4 is being prepared when FP8 is requested.
    busy = model("PREPARING", supported_precisions=["FP16"])
    only_other = model(supported_precisions=["FP16", "FP4"], update_time="t1")
    own = model("PREPARING", supported_precisions=["FP16", "FP4"])
    both = model(supported_precisions=["FP16", "FP4", "FP8"], update_time="t2")
    polls = [(1, busy), (900, busy), (930, only_other), (960, own), (1500, both)]
    assert poll_all(requested(busy), *polls) == [PENDING, PENDING, PENDING, PENDING, READY]
    # If the API dropped the request for FP8, the wait does not last for ever.
    polls = [(1, busy), (930, only_other), (1000, only_other), (1231, only_other)]
    assert poll_all(requested(busy), *polls) == [PENDING, PENDING, PENDING, FAILED]
    # A failure of the other preparation does not matter while FP8 is listed.
    other_failed = model("FAILED", supported_precisions=["FP8"], status=ERROR)
    assert poll_all(requested(busy), (930, other_failed)) == [READY]


def test_model_calibrated_before_is_not_ready_at_another_precision():
    def listed(*calibrated: str) -> Model:
        return model(calibrated=True, supported_precisions_with_calibration=[*calibrated], **LISTS)

    poller = Poller(requested(listed("FP8")))
    assert poller.poll(listed("FP8"), 1, "FP4") is PENDING
    assert poller.poll(listed("FP8"), 299, "FP4") is PENDING
    assert poller.poll(listed("FP8", "FP4"), 400, "FP4") is READY
    # Without lists, that it has left READY and returned is what counts.
    poller = Poller(requested(model(calibrated=True)))
    assert poller.poll(model(calibrated=True), 1, "FP4") is PENDING
    assert poller.poll(model("PREPARING", calibrated=True), 30, "FP4") is PENDING
    assert poller.poll(model(calibrated=True), 600, "FP4") is READY


@pytest.mark.parametrize(
    "baseline",
    [requested(model(**LISTS)), requested(), Baseline.of(model()), None],
    ids=["lists", "no lists", "nothing requested", "no baseline"],
)
def test_edit_of_model_by_somebody_else_ends_no_wait(baseline):
    edits = [(at, model(update_time=f"t{at}", **LISTS)) for at in (1, 100, 299)]
    assert poll_all(baseline, *edits) == [PENDING] * 3


# ---- without history, no verdict is wrong, only later

STATUSES = st.sampled_from([None, OK, ERROR])


@st.composite
def preparations(draw):
    """What an API shows of one preparation, from the request until long after its end, and how it ended."""
    lists = draw(st.booleans())
    calibrated = draw(st.booleans())
    before = model(status=draw(STATUSES), calibrated=calibrated, **(LISTS if lists else {}))
    lag, duration = draw(st.integers(0, 250)), draw(st.integers(30, 2000))
    end = draw(st.sampled_from(["ready", "error status", "FAILED"]))
    if end == "ready":
        fields = {"supported_precisions": ["FP16", "FP8"]} if lists else {}
        after = model(update_time="t2", calibrated=draw(st.sampled_from([True, calibrated])), **fields)
    else:
        after = model(
            "FAILED" if end == "FAILED" else "READY",
            status=OTHER_ERROR,
            update_time="t2",
            calibrated=calibrated,
            **(LISTS if lists else {}),
        )
    during = before.model_copy(update={"state": "PREPARING", "update_time": "t1"})
    times = sorted(draw(st.sets(st.integers(1, lag + duration + 900), min_size=1, max_size=25)))
    times += [lag + duration + 1000 + 30 * n for n in range(15)]
    polls = [(t, before if t < lag else during if t < lag + duration else after) for t in times]
    return requested(before), polls, READY if end == "ready" else FAILED


@settings(max_examples=300)
@given(preparation=preparations(), lost=st.sets(st.integers(0, 40)))
def test_lost_history_makes_verdict_later_but_not_wrong(preparation, lost):
    baseline, polls, truth = preparation

    def end(lost: set[int]) -> tuple[int, Outcome]:
        """Return the number and the outcome of the last poll, with the history lost before some."""
        poller = Poller(baseline)
        for number, (at, read) in enumerate(polls):
            if number in lost:
                poller.forget()
            outcome = poller.poll(read, at)
            if outcome is not PENDING:
                return number, outcome
        raise AssertionError("it never ends")

    kept, partly_lost, always_lost = end(set()), end(lost), end(set(range(len(polls))))
    assert kept[1] is partly_lost[1] is always_lost[1] is truth
    assert kept[0] <= partly_lost[0] <= always_lost[0]


RESPONSES = st.builds(
    model,
    state=st.sampled_from(["READY", "PREPARING", "FAILED", "UPLOADING", "NEW", None]),
    status=STATUSES,
    update_time=st.sampled_from(["t0", "t1"]),
    calibrated=st.none() | st.booleans(),
    supported_precisions=st.none() | st.lists(st.sampled_from(["FP16", "FP8"]), unique=True),
    supported_precisions_with_calibration=st.none() | st.lists(st.sampled_from(["FP8", "FP4"]), unique=True),
)


@given(
    responses=st.lists(RESPONSES, min_size=1, max_size=6),
    before=RESPONSES,
    outcome=st.sampled_from([None, "accepted", "already"]),
    seconds=st.integers(1, 1000),
    require_confirmation=st.booleans(),
)
def test_ready_is_either_confirmed_or_marked_as_inferred(
    responses, before, outcome, seconds, require_confirmation
):
    baseline = requested(before, outcome) if outcome else Baseline.of(before)
    history = PollHistory.since(baseline)
    for read in responses:
        history = history.after_poll(read, REQUESTED_AT + seconds)
    verdict = judge_model(
        read,
        "FP8",
        baseline=baseline,
        history=history,
        now=REQUESTED_AT + seconds,
        require_confirmation=require_confirmation,
    )
    is_confirmed = confirmed_precision(read, "FP8") is not None
    assert verdict.inferred is (verdict.outcome is READY and not is_confirmed)
    assert verdict.precision == ("FP8" if verdict.outcome is READY else None)
    assert verdict.reason
    if is_confirmed:
        assert verdict.outcome is READY
    if verdict.inferred:
        assert outcome is not None
        assert not require_confirmation
        assert not read.lists_precisions
        assert read.state == "READY"
