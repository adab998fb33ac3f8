from __future__ import annotations

import json

import pytest

from airflow_provider_fireworks.client.errors import NoResponseError, RefusedError, UnavailableError
from airflow_provider_fireworks.client.resources import Model, Status
from airflow_provider_fireworks.models.preparation import (
    LONGEST_PAUSE,
    START_LAG,
    ModelPreparation,
    PrepareStep,
)
from airflow_provider_fireworks.models.readiness import Baseline
from airflow_provider_fireworks.polling import Outcome, Verdict

NOW = 1_750_000_000.0
LOST = NoResponseError("connection reset", request="POST /x")
AGAIN = [LOST, UnavailableError("bad emulator", status=502)]
READY_TURN = Verdict(Outcome.READY, "its state is READY")


def model(state: str | None = "READY", **fields) -> Model:
    return Model(state=state, **fields)


NAMED = model(supported_precisions=["FP16", "FP8"])


def refusal(code: str | None, status: int = 400) -> RefusedError:
    return RefusedError("not now", status=status, code=code)


BUSY = [
    pytest.param(refusal("FAILED_PRECONDITION", 400), id="400 FAILED_PRECONDITION"),
    pytest.param(refusal("ABORTED", 409), id="409 ABORTED"),
    pytest.param(refusal(None, 409), id="409 without a code"),
    pytest.param(refusal("CONFLICT", 409), id="409 with a code of its own"),
]


class Task:
    """A task that has one model prepared, at a clock of its own."""

    def __init__(self) -> None:
        self.now = NOW
        self.preparation = ModelPreparation(model="accounts/demo/models/my-model", deadline=NOW + 7200)

    @property
    def step(self) -> PrepareStep:
        return self.preparation.step

    @property
    def baseline(self) -> Baseline | None:
        return self.preparation.baseline

    def look(self, read: Model, after: float = 0, accept: tuple[str, ...] = ()) -> PrepareStep:
        assert self.step is PrepareStep.READ
        self.now += after
        self.preparation.on_read(read, "FP8", accept, self.now)
        return self.step

    def pause(self, seconds: float = LONGEST_PAUSE) -> None:
        assert self.step is PrepareStep.PAUSE
        self.now += self.preparation.begin_pause(seconds)

    def post(self, error: Exception | None = None) -> PrepareStep:
        assert self.step is PrepareStep.REQUEST
        if error is None:
            self.preparation.on_accepted(self.now)
        elif isinstance(error, RefusedError):
            self.preparation.on_refused(error, self.now)
        else:
            self.preparation.on_unknown_outcome(error, self.now)
        return self.step

    def wait(self, verdict: Verdict = READY_TURN, seconds: float = 600) -> PrepareStep:
        self.now += seconds
        self.preparation.on_waited(verdict)
        return self.step


@pytest.fixture
def task() -> Task:
    return Task()


def test_it_looks_before_it_asks(task):
    assert task.step is PrepareStep.READ
    assert task.baseline is None


def test_what_is_named_already_is_not_asked_for(task):
    assert task.look(NAMED) is PrepareStep.READY
    assert task.preparation.ready_precision == "FP8"
    assert task.baseline == Baseline.of(NAMED)
    assert task.baseline.posted is None


def test_what_is_accepted_in_its_stead_is_not_asked_for_either(task):
    assert task.look(model(supported_precisions=["FP8_V2"]), accept=("NF4", "FP8_V2")) is PrepareStep.READY
    assert task.preparation.ready_precision == "FP8_V2"


def test_a_model_that_is_still_uploaded_is_not_done(task):
    assert task.look(model("UPLOADING", supported_precisions=["FP8"])) is not PrepareStep.READY


@pytest.mark.parametrize("state", ["READY", "FAILED", "PREPARING", "NEW", None])
def test_else_it_asks_whatever_the_state_since_the_gateway_decides(task, state):
    before = model(
        state, status=Status(code="INTERNAL"), calibrated=True, update_time="t", supported_precisions=["A"]
    )
    assert task.look(before) is PrepareStep.REQUEST
    assert task.baseline == Baseline.of(before)
    assert task.post() is PrepareStep.REQUESTED
    assert task.baseline == Baseline.of(before).after_request("accepted", NOW)


# ---- lost answers


@pytest.mark.parametrize("error", AGAIN, ids=lambda error: type(error).__name__)
def test_after_a_lost_answer_it_looks(task, error):
    task.look(model())
    assert task.post(error) is PrepareStep.READ
    assert str(error) in task.preparation.note


@pytest.mark.parametrize("state", ["PREPARING", "NEW", "FAILED"])
@pytest.mark.parametrize("after", [0, START_LAG - 1, START_LAG + 1])
def test_a_state_that_has_turned_since_shows_that_it_worked(task, state, after):
    task.look(model())
    task.post(LOST)
    assert task.look(model(state), after) is PrepareStep.REQUESTED
    assert (task.baseline.state, task.baseline.posted, task.baseline.posted_at) == ("READY", "accepted", NOW)
    assert task.preparation.unknown_since is None


def test_a_preparation_that_shows_late_is_waited_for_before_it_is_asked_for_again(task):
    task.look(model())
    task.post(LOST)
    looks = 0
    while task.look(model()) is PrepareStep.PAUSE:
        looks += 1
        task.pause()
    assert task.step is PrepareStep.REQUEST
    assert task.now == NOW + START_LAG
    assert looks == START_LAG / LONGEST_PAUSE
    assert task.post() is PrepareStep.REQUESTED
    assert task.baseline.posted_at == NOW + START_LAG


def test_a_preparation_that_shows_within_the_lag_is_not_asked_for_twice(task):
    task.look(model())
    task.post(LOST)
    assert task.look(model(), 20) is PrepareStep.PAUSE
    task.pause()
    assert task.look(model("PREPARING")) is PrepareStep.REQUESTED
    assert task.baseline.posted_at == NOW


def test_a_second_answer_may_be_lost_as_well(task):
    task.look(model())
    task.post(LOST)
    assert task.look(model(), START_LAG) is PrepareStep.REQUEST
    task.post(LOST)
    # The lag counts from the second one.
    assert task.look(model(), START_LAG - 1) is PrepareStep.PAUSE
    task.pause()
    assert task.look(model("PREPARING")) is PrepareStep.REQUESTED
    assert task.baseline.posted_at == NOW + START_LAG


@pytest.mark.parametrize("state", ["PREPARING", "NEW", None])
def test_where_another_was_in_preparation_before_only_its_end_tells(task, state):
    task.look(model(state))
    task.post(LOST)
    assert task.look(model(state), 1) is PrepareStep.PAUSE
    task.pause()
    assert task.look(model(state), START_LAG) is PrepareStep.WAIT_UNTIL_IDLE
    assert task.wait() is PrepareStep.READ
    # It did not work: it is asked for now, and judged by the model as it is now.
    assert task.look(model(update_time="t9")) is PrepareStep.REQUEST
    assert (task.baseline.state, task.baseline.update_time) == ("READY", "t9")


def test_where_another_was_in_preparation_before_the_precision_at_its_end_shows_that_it_worked(task):
    task.look(model("PREPARING"))
    task.post(LOST)
    task.look(model("PREPARING"), START_LAG)
    task.wait()
    assert task.look(NAMED) is PrepareStep.READY
    assert task.preparation.ready_precision == "FP8"


def test_a_post_that_was_not_carried_out_calls_for_a_look(task):
    task.look(model())
    task.preparation.step = PrepareStep.READ
    assert task.look(model(update_time="t1")) is PrepareStep.REQUEST
    assert task.baseline.update_time == "t1"


# ---- refusals


@pytest.mark.parametrize(
    "error",
    [
        refusal("INVALID_ARGUMENT"),
        refusal("OUT_OF_RANGE"),
        refusal(None),
        refusal("UNPROCESSABLE", 422),
        refusal("INVALID_ARGUMENT", 405),
    ],
    ids=str,
)
def test_what_is_refused_for_good_ends_it_at_once(task, error):
    task.look(model())
    assert task.post(error) is PrepareStep.REFUSED
    assert str(error) in task.preparation.note


@pytest.mark.parametrize("error", BUSY)
def test_what_may_be_busy_waits_for_its_turn_and_asks_again(task, error):
    task.look(model())
    assert task.post(error) is PrepareStep.READ
    assert task.look(model("PREPARING")) is PrepareStep.WAIT_UNTIL_IDLE
    assert task.wait() is PrepareStep.READ
    assert task.look(model(update_time="t9")) is PrepareStep.REQUEST
    assert task.baseline.update_time == "t9"
    assert task.post() is PrepareStep.REQUESTED
    assert task.baseline.posted_at == task.now


@pytest.mark.parametrize("error", BUSY)
def test_a_turn_may_be_missed_any_number_of_times(task, error):
    task.look(model())
    for _ in range(20):
        assert task.post(error) is PrepareStep.READ
        assert task.look(model("PREPARING")) is PrepareStep.WAIT_UNTIL_IDLE
        assert task.wait() is PrepareStep.READ
        assert task.look(model()) is PrepareStep.REQUEST
    assert task.post() is PrepareStep.REQUESTED


@pytest.mark.parametrize("error", BUSY)
def test_what_it_is_busy_with_may_show_late(task, error):
    task.look(model())
    task.post(error)
    assert task.look(model()) is PrepareStep.PAUSE
    task.pause()
    assert task.look(model("PREPARING")) is PrepareStep.WAIT_UNTIL_IDLE


@pytest.mark.parametrize("error", BUSY)
def test_what_it_was_busy_with_may_have_ended_in_between(task, error):
    task.look(model())
    task.post(error)
    assert task.look(model()) is PrepareStep.PAUSE
    task.pause()
    assert task.look(model()) is PrepareStep.REQUEST
    assert task.post() is PrepareStep.REQUESTED


@pytest.mark.parametrize("error", BUSY)
def test_a_gateway_that_goes_on_refusing_with_nothing_in_preparation_means_it(task, error):
    task.look(model())
    posts = 0
    while task.step is not PrepareStep.REFUSED:
        assert task.post(error) is PrepareStep.READ
        posts += 1
        assert posts < 20
        if task.look(model()) is PrepareStep.PAUSE:
            task.pause()
            task.look(model())
    assert posts > 1
    assert START_LAG <= task.now - NOW <= START_LAG + LONGEST_PAUSE


@pytest.mark.parametrize("error", BUSY)
def test_one_refusal_alone_is_never_final_however_late_the_look(task, error):
    task.look(model())
    task.post(error)
    assert task.look(model(), START_LAG * 10) is PrepareStep.PAUSE


def test_what_it_goes_on_to_say_to_have_already_counts_as_answered_when_it_first_said_so(task):
    task.look(model())
    posts = 0
    while task.step is PrepareStep.REQUEST:
        task.post(refusal("ALREADY_EXISTS", 409))
        posts += 1
        if task.look(model()) is PrepareStep.PAUSE:
            task.pause()
            task.look(model())
    assert task.step is PrepareStep.REQUESTED
    assert posts > 1
    assert START_LAG <= task.now - NOW <= START_LAG + LONGEST_PAUSE
    assert (task.baseline.posted, task.baseline.posted_at) == ("already", NOW)


def test_what_it_says_to_have_already_once_may_be_another_that_shows_late(task):
    task.look(model())
    task.post(refusal("ALREADY_EXISTS", 409))
    assert task.look(model(), START_LAG * 10) is PrepareStep.PAUSE
    task.pause()
    assert task.look(model("PREPARING")) is PrepareStep.WAIT_UNTIL_IDLE


def test_what_it_says_to_have_already_while_it_prepares_waits_for_its_turn(task):
    task.look(model())
    task.post(refusal("ALREADY_EXISTS", 409))
    assert task.look(model("PREPARING")) is PrepareStep.WAIT_UNTIL_IDLE


@pytest.mark.parametrize(
    "error", [*BUSY, pytest.param(refusal("ALREADY_EXISTS", 409), id="409 ALREADY_EXISTS")]
)
def test_what_is_named_after_a_refusal_is_done(task, error):
    task.look(model())
    task.post(error)
    assert task.look(NAMED) is PrepareStep.READY
    assert task.baseline == Baseline.of(NAMED)


def test_an_answer_lost_after_a_refusal_is_looked_after_like_any(task):
    task.look(model())
    task.post(refusal("ABORTED", 409))
    task.look(model())
    task.pause()
    assert task.look(model()) is PrepareStep.REQUEST
    unknown_since = task.now
    task.post(LOST)
    assert task.look(model("PREPARING"), 1) is PrepareStep.REQUESTED
    assert task.baseline.posted_at == unknown_since
    assert task.preparation.refused_at is None


# ---- the wait for readiness, and the second post


def test_a_wait_that_ends_ready_is_done_with_what_is_ready(task):
    task.look(model())
    task.post()
    assert task.wait(Verdict(Outcome.READY, "named", precision="FP8_V2")) is PrepareStep.READY
    assert task.preparation.ready_precision == "FP8_V2"
    assert task.baseline.posted == "accepted"


def test_what_ended_without_its_precision_is_asked_for_once_more_and_no_more(task):
    task.look(model(update_time="t0"))
    task.post()
    assert task.preparation.request_again() is True
    assert task.baseline is None
    assert task.look(model(update_time="t1"), 900) is PrepareStep.REQUEST
    task.post()
    assert (task.baseline.update_time, task.baseline.posted_at) == ("t1", NOW + 900)
    assert task.preparation.request_again() is False
    assert task.step is PrepareStep.REQUESTED


def test_the_second_time_it_looks_first_as_well(task):
    task.look(model())
    task.post()
    task.preparation.request_again()
    assert task.look(NAMED) is PrepareStep.READY


@pytest.mark.parametrize("error", BUSY)
def test_the_second_post_is_given_as_much_patience_as_the_first(task, error):
    task.look(model())
    task.post(error)
    task.look(model())
    task.pause()
    task.look(model())
    task.post()
    task.preparation.request_again()
    task.look(model(), 900)
    task.post(error)
    # Refused once, and seen late.
    assert task.look(model(), START_LAG + 1) is PrepareStep.PAUSE


@pytest.mark.parametrize(
    ("interval", "pause"), [(0, 1), (0.5, 1), (3, 3), (30, LONGEST_PAUSE), (1e9, LONGEST_PAUSE)]
)
def test_its_pauses_are_short_but_not_too_short(task, interval, pause):
    task.look(model())
    task.post(LOST)
    task.look(model())
    assert task.preparation.begin_pause(interval) == pause
    assert task.step is PrepareStep.READ


def test_where_it_stands_survives_a_deferral(task):
    task.look(model(status=Status(code="OK")))
    task.post(refusal("ABORTED", 409))
    task.look(model("PREPARING"))
    travelled = json.loads(json.dumps(task.preparation.model_dump(mode="json")))
    assert ModelPreparation.model_validate(travelled) == task.preparation
