from __future__ import annotations

from itertools import pairwise

from hypothesis import given, strategies as st

from airflow_provider_fireworks.models.readiness import PollHistory
from tests.unit.models.examples import ERROR, OK, model, requested


def test_history_starts_with_baseline():
    assert PollHistory.since(None) == PollHistory()
    ready = PollHistory.since(requested(model(status=ERROR)))
    assert ready == PollHistory(has_polled=True, was_ready=True, first_status=ERROR)
    assert PollHistory.since(requested(model("PREPARING"))) == PollHistory(has_polled=True, is_away=True)


def test_history_counts_polls_since_return_to_ready():
    history = PollHistory.since(requested())
    seen = []
    for at, state in enumerate(["READY", "PREPARING", "NEW", "READY", "READY", "PREPARING", "READY"]):
        history = history.after_poll(model(state), at)
        seen.append((history.is_away, history.left_ready, history.ready_again_at, history.polls_ready_again))
    assert seen == [
        (False, False, None, 0),
        (True, True, None, 0),
        (True, True, None, 0),
        (False, True, 3, 1),
        (False, True, 3, 2),
        (True, True, None, 0),
        (False, True, 6, 1),
    ]


def test_history_of_model_never_ready_has_not_left_ready():
    history = PollHistory().after_poll(model("UPLOADING"), 1).after_poll(model("READY"), 2)
    assert not history.left_ready
    assert history.after_poll(model("PREPARING"), 3).left_ready


def test_history_keeps_status_of_first_poll():
    history = PollHistory().after_poll(model(status=OK), 1).after_poll(model(status=ERROR), 2)
    assert history.first_status == OK
    assert PollHistory().after_poll(model(), 1).after_poll(model(status=ERROR), 2).first_status is None


@given(
    states=st.lists(st.sampled_from(["READY", "PREPARING", "FAILED", None]), max_size=12),
    has_baseline=st.booleans(),
)
def test_history_agrees_with_list_of_all_polls(states, has_baseline):
    history = PollHistory.since(requested()) if has_baseline else PollHistory()
    for at, state in enumerate(states):
        history = history.after_poll(model(state), at)
    all_states = (["READY"] if has_baseline else []) + states
    ready = [state == "READY" for state in all_states]
    assert history.has_polled is bool(all_states)
    assert history.was_ready is any(ready)
    assert history.is_away is (bool(ready) and not ready[-1])
    assert history.left_ready is any(one and not next_one for one, next_one in pairwise(ready))
    assert history.was_preparing is (None in states or "PREPARING" in states)
    polls_ready_again = 0
    if ready and ready[-1] and False in ready:
        polls_ready_again = ready[::-1].index(False)
        assert history.ready_again_at == len(states) - polls_ready_again
    else:
        assert history.ready_again_at is None
    assert history.polls_ready_again == polls_ready_again
