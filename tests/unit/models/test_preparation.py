from __future__ import annotations

import json

import pytest

from airflow_provider_fireworks.client.errors import NoResponseError, RefusedError, UnavailableError
from airflow_provider_fireworks.client.resources import Model, Status
from airflow_provider_fireworks.models.preparation import ModelPreparation, PrepareStep
from airflow_provider_fireworks.models.readiness import Baseline
from airflow_provider_fireworks.polling import Outcome, Verdict
from airflow_provider_fireworks.timing import DEFAULT_TIMING

NOW = 1_750_000_000.0
LAG = DEFAULT_TIMING.visibility_lag
MAX_PAUSE = DEFAULT_TIMING.max_pause
NO_RESPONSE = NoResponseError("connection reset", request="POST /x")


def model(state: str | None = "READY", **fields) -> Model:
    return Model(state=state, **{"supported_precisions": ["FP16"], **fields})


def without_lists(state: str | None = "READY", **fields) -> Model:
    return Model(state=state, **fields)


LISTED = model(supported_precisions=["FP16", "FP8"])


def refusal(code: str | None, status: int = 400) -> RefusedError:
    return RefusedError("not now", status=status, code=code)


BUSY = [
    pytest.param(refusal("FAILED_PRECONDITION", 400), id="400 FAILED_PRECONDITION"),
    pytest.param(refusal("ABORTED", 409), id="409 ABORTED"),
    pytest.param(refusal(None, 409), id="409 without a code"),
    pytest.param(refusal("CONFLICT", 409), id="409 with an unknown code"),
]
ALREADY_EXISTS = refusal("ALREADY_EXISTS", 409)


class Task:
    """A task that prepares a model, with its own clock."""

    def __init__(self) -> None:
        self.now = NOW
        self.preparation = ModelPreparation(model="accounts/demo/models/my-model", deadline=NOW + 7200)

    @property
    def step(self) -> PrepareStep:
        return self.preparation.step

    @property
    def baseline(self) -> Baseline | None:
        return self.preparation.baseline

    def read(self, response: Model, after: float = 0, accept: tuple[str, ...] = ()) -> PrepareStep:
        assert self.step is PrepareStep.READ
        self.now += after
        self.preparation.on_read(response, "FP8", accept, self.now)
        return self.step

    def pause(self, seconds: float = MAX_PAUSE) -> None:
        assert self.step in (PrepareStep.PAUSE, PrepareStep.WATCH_BEGIN)
        self.now += self.preparation.begin_pause(seconds)

    def request(self, error: Exception | None = None) -> PrepareStep:
        assert self.step is PrepareStep.REQUEST
        if error is None:
            self.preparation.on_accepted(self.now)
        elif isinstance(error, RefusedError):
            self.preparation.on_refused(error, self.now)
        else:
            self.preparation.on_unknown_outcome(error, self.now)
        return self.step

    def wait(self, verdict: Verdict | None = None, seconds: float = 600) -> PrepareStep:
        self.now += seconds
        self.preparation.on_waited(verdict or Verdict(Outcome.READY, "its state is READY"))
        return self.step


@pytest.fixture
def task() -> Task:
    return Task()


def test_preparation_reads_model_first(task):
    assert task.step is PrepareStep.READ
    assert task.baseline is None


def test_preparation_requests_nothing_if_precision_is_listed(task):
    assert task.read(LISTED) is PrepareStep.READY
    assert task.preparation.ready_precision == "FP8"
    assert task.baseline == Baseline.of(LISTED)
    assert task.baseline.posted is None


def test_preparation_requests_nothing_if_accepted_precision_is_listed(task):
    assert task.read(model(supported_precisions=["FP8_V2"]), accept=("NF4", "FP8_V2")) is PrepareStep.READY
    assert task.preparation.ready_precision == "FP8_V2"


def test_preparation_of_uploading_model_is_requested_even_if_listed(task):
    assert task.read(model("UPLOADING", supported_precisions=["FP8"])) is PrepareStep.REQUEST


@pytest.mark.parametrize("state", ["READY", "FAILED", "PREPARING", "NEW", None])
def test_preparation_is_requested_in_every_state(task, state):
    before = model(
        state, status=Status(code="INTERNAL"), calibrated=True, update_time="t", supported_precisions=["A"]
    )
    assert task.read(before) is PrepareStep.REQUEST
    assert task.baseline == Baseline.of(before)
    assert task.request() is PrepareStep.REQUESTED
    assert task.baseline == Baseline.of(before).after_request("accepted", NOW)


def test_request_not_carried_out_takes_new_baseline(task):
    task.read(model())
    task.preparation.step = PrepareStep.READ
    assert task.read(model(update_time="t1")) is PrepareStep.REQUEST
    assert task.baseline.update_time == "t1"


# ---- without lists


@pytest.mark.parametrize("state", ["PREPARING", "UPLOADING", "NEW", None])
def test_without_lists_busy_model_is_requested_only_once_idle(task, state):
    assert task.read(without_lists(state)) is PrepareStep.WAIT_UNTIL_IDLE
    assert task.wait() is PrepareStep.READ
    assert task.read(without_lists(update_time="t1")) is PrepareStep.REQUEST
    assert task.baseline == Baseline.of(without_lists(update_time="t1"))


@pytest.mark.parametrize(
    "begun", [without_lists("PREPARING"), without_lists("NEW"), without_lists(calibrated=True)]
)
def test_without_lists_accepted_request_is_polled_until_it_begins(task, begun):
    task.read(without_lists())
    assert task.request() is PrepareStep.READ
    assert task.read(without_lists()) is PrepareStep.WATCH_BEGIN
    task.pause()
    assert task.read(begun) is PrepareStep.REQUESTED
    assert task.baseline == Baseline.of(without_lists()).after_request("accepted", NOW, began=True)


def test_without_lists_poll_for_the_beginning_ends_after_visibility_lag(task):
    task.read(without_lists())
    task.request()
    while task.read(without_lists(update_time="edited")) is PrepareStep.WATCH_BEGIN:
        task.pause()
    assert task.step is PrepareStep.REQUESTED
    assert task.now == NOW + LAG
    assert task.baseline == Baseline.of(without_lists()).after_request("accepted", NOW)


def test_without_lists_poll_for_the_beginning_ends_at_the_deadline(task):
    task.preparation.deadline = NOW + 5
    task.read(without_lists())
    task.request()
    assert task.read(without_lists()) is PrepareStep.WATCH_BEGIN
    task.pause()
    assert task.read(without_lists()) is PrepareStep.REQUESTED


def test_without_lists_failure_before_is_not_the_beginning(task):
    task.read(without_lists("FAILED"))
    task.request()
    assert task.read(without_lists("FAILED")) is PrepareStep.WATCH_BEGIN


# ---- unknown outcome


@pytest.mark.parametrize(
    "error",
    [NO_RESPONSE, UnavailableError("bad gateway", status=502)],
    ids=lambda error: type(error).__name__,
)
def test_unknown_outcome_is_followed_by_read(task, error):
    task.read(model())
    assert task.request(error) is PrepareStep.READ
    assert str(error) in task.preparation.note


@pytest.mark.parametrize("state", ["PREPARING", "NEW", "FAILED"])
@pytest.mark.parametrize("after", [0, LAG - 1, LAG + 1])
def test_unknown_outcome_counts_as_accepted_if_state_changed(task, state, after):
    task.read(model())
    task.request(NO_RESPONSE)
    assert task.read(model(state), after) is PrepareStep.REQUESTED
    assert (task.baseline.state, task.baseline.posted, task.baseline.posted_at) == ("READY", "accepted", NOW)
    assert task.baseline.began
    assert task.preparation.unknown_since is None


def test_unknown_outcome_requests_again_only_after_visibility_lag(task):
    task.read(model())
    task.request(NO_RESPONSE)
    polls = 0
    while task.read(model()) is PrepareStep.PAUSE:
        polls += 1
        task.pause()
    assert task.step is PrepareStep.REQUEST
    assert task.now == NOW + LAG
    assert polls == LAG / MAX_PAUSE
    assert task.request() is PrepareStep.REQUESTED
    assert task.baseline.posted_at == NOW + LAG


def test_unknown_outcome_is_not_requested_again_if_visible_within_lag(task):
    task.read(model())
    task.request(NO_RESPONSE)
    assert task.read(model(), 20) is PrepareStep.PAUSE
    task.pause()
    assert task.read(model("PREPARING")) is PrepareStep.REQUESTED
    assert task.baseline.posted_at == NOW


def test_second_unknown_outcome_restarts_visibility_lag(task):
    task.read(model())
    task.request(NO_RESPONSE)
    assert task.read(model(), LAG) is PrepareStep.REQUEST
    task.request(NO_RESPONSE)
    assert task.read(model(), LAG - 1) is PrepareStep.PAUSE
    task.pause()
    assert task.read(model("PREPARING")) is PrepareStep.REQUESTED
    assert task.baseline.posted_at == NOW + LAG


@pytest.mark.parametrize("state", ["PREPARING", "NEW", None])
def test_unknown_outcome_on_busy_model_requests_again_once_idle(task, state):
    task.read(model(state))
    task.request(NO_RESPONSE)
    assert task.read(model(state), 1) is PrepareStep.PAUSE
    task.pause()
    assert task.read(model(state), LAG) is PrepareStep.WAIT_UNTIL_IDLE
    assert task.wait() is PrepareStep.READ
    # It was not carried out: the new request has the model as it is now for its baseline.
    assert task.read(model(update_time="t9")) is PrepareStep.REQUEST
    assert (task.baseline.state, task.baseline.update_time) == ("READY", "t9")


def test_unknown_outcome_on_busy_model_is_resolved_by_listed_precision(task):
    task.read(model("PREPARING"))
    task.request(NO_RESPONSE)
    task.read(model("PREPARING"), LAG)
    task.wait()
    assert task.read(LISTED) is PrepareStep.READY
    assert task.preparation.ready_precision == "FP8"


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
def test_refusal_that_cannot_mean_busy_is_final_at_once(task, error):
    task.read(model())
    assert task.request(error) is PrepareStep.REFUSED
    assert str(error) in task.preparation.note


@pytest.mark.parametrize("error", BUSY)
def test_refusal_by_busy_model_waits_until_idle_and_requests_again(task, error):
    task.read(model())
    # The model may be busy again each time, any number of times.
    for attempt in range(20):
        assert task.request(error) is PrepareStep.READ
        assert task.read(model("PREPARING")) is PrepareStep.WAIT_UNTIL_IDLE
        assert task.wait() is PrepareStep.READ
        assert task.read(model(update_time=f"t{attempt}")) is PrepareStep.REQUEST
        assert task.baseline.update_time == f"t{attempt}"
    assert task.request() is PrepareStep.REQUESTED
    assert task.baseline.posted_at == task.now


@pytest.mark.parametrize("error", [*BUSY, pytest.param(ALREADY_EXISTS, id="409 ALREADY_EXISTS")])
def test_refusal_by_preparation_not_visible_yet_waits_until_idle(task, error):
    task.read(model())
    task.request(error)
    assert task.read(model()) is PrepareStep.PAUSE
    task.pause()
    assert task.read(model("PREPARING")) is PrepareStep.WAIT_UNTIL_IDLE


@pytest.mark.parametrize("error", BUSY)
def test_refusal_by_preparation_that_has_ended_requests_again(task, error):
    task.read(model())
    task.request(error)
    assert task.read(model()) is PrepareStep.PAUSE
    task.pause()
    assert task.read(model()) is PrepareStep.REQUEST
    assert task.request() is PrepareStep.REQUESTED


def refuse_while_idle(task: Task, error: RefusedError) -> int:
    """Refuse every request while nothing is in progress; return the number of requests."""
    requests = 0
    while task.step is PrepareStep.REQUEST:
        task.request(error)
        requests += 1
        assert requests < 20
        if task.read(model()) is PrepareStep.PAUSE:
            task.pause()
            task.read(model())
    return requests


@pytest.mark.parametrize("error", BUSY)
def test_refusals_of_idle_model_are_final_after_visibility_lag(task, error):
    task.read(model())
    assert refuse_while_idle(task, error) > 1
    assert task.step is PrepareStep.REFUSED
    assert LAG <= task.now - NOW <= LAG + MAX_PAUSE


def test_repeated_already_exists_counts_as_requested_at_the_first(task):
    task.read(model())
    assert refuse_while_idle(task, ALREADY_EXISTS) > 1
    assert task.step is PrepareStep.REQUESTED
    assert LAG <= task.now - NOW <= LAG + MAX_PAUSE
    assert (task.baseline.posted, task.baseline.posted_at) == ("already", NOW)


@pytest.mark.parametrize("error", [*BUSY, pytest.param(ALREADY_EXISTS, id="409 ALREADY_EXISTS")])
def test_single_refusal_is_never_final_however_late_the_read(task, error):
    task.read(model())
    task.request(error)
    assert task.read(model(), LAG * 10) is PrepareStep.PAUSE


def test_already_exists_of_busy_model_waits_until_idle(task):
    task.read(model())
    task.request(ALREADY_EXISTS)
    assert task.read(model("PREPARING")) is PrepareStep.WAIT_UNTIL_IDLE


@pytest.mark.parametrize("error", [*BUSY, pytest.param(ALREADY_EXISTS, id="409 ALREADY_EXISTS")])
def test_refusal_followed_by_listed_precision_is_ready(task, error):
    task.read(model())
    task.request(error)
    assert task.read(LISTED) is PrepareStep.READY
    assert task.baseline == Baseline.of(LISTED)


def test_unknown_outcome_after_refusal_is_resolved_like_any(task):
    task.read(model())
    task.request(refusal("ABORTED", 409))
    task.read(model())
    task.pause()
    assert task.read(model()) is PrepareStep.REQUEST
    sent_at = task.now
    task.request(NO_RESPONSE)
    assert task.read(model("PREPARING"), 1) is PrepareStep.REQUESTED
    assert task.baseline.posted_at == sent_at
    assert task.preparation.refused_at is None


@pytest.mark.parametrize(
    ("message", "outcome"),
    [
        ("model my-model is already prepared at FP8", "requested"),
        ("precision FP8 has already been prepared", "requested"),
        ("model my-model already has an active prepare job", "refused"),
        ("the model is already being prepared", "refused"),
        ("the account has already used its monthly preparations", "refused"),
    ],
)
def test_refusal_of_idle_model_is_a_success_only_if_it_says_prepared(task, message, outcome):
    task.read(model())
    refuse_while_idle(task, RefusedError(message, status=400, code="FAILED_PRECONDITION"))
    assert task.step.value == outcome


# ---- a read that fails right after a request


@pytest.mark.parametrize("error", [None, NO_RESPONSE], ids=["accepted", "unknown outcome"])
def test_failed_read_after_request_is_repeated_until_visibility_lag(task, error):
    task.read(without_lists())
    assert task.preparation.on_failed_read(task.now) is False
    task.request(error)
    assert task.preparation.on_failed_read(NOW + LAG - 1) is True
    task.pause()
    assert task.step is PrepareStep.READ
    assert task.preparation.on_failed_read(NOW + LAG) is False


# ---- waiting until ready, and requesting again


def test_wait_that_ends_ready_keeps_its_precision(task):
    task.read(model())
    task.request()
    assert task.wait(Verdict(Outcome.READY, "listed", precision="FP8_V2")) is PrepareStep.READY
    assert task.preparation.ready_precision == "FP8_V2"
    assert task.baseline.posted == "accepted"


def test_request_again_starts_over_once(task):
    task.read(model(update_time="t0"))
    task.request()
    assert task.preparation.request_again() is True
    assert task.baseline is None
    assert task.read(model(update_time="t1"), 900) is PrepareStep.REQUEST
    task.request()
    assert (task.baseline.update_time, task.baseline.posted_at) == ("t1", NOW + 900)
    assert task.preparation.request_again() is False
    assert task.step is PrepareStep.REQUESTED


def test_request_again_sends_nothing_if_precision_is_listed_by_then(task):
    task.read(model())
    task.request()
    task.preparation.request_again()
    assert task.read(LISTED) is PrepareStep.READY


@pytest.mark.parametrize("error", BUSY)
def test_request_again_forgets_earlier_refusals(task, error):
    task.read(model())
    task.request(error)
    task.read(model())
    task.pause()
    task.read(model())
    task.request()
    task.preparation.request_again()
    task.read(model(), 900)
    task.request(error)
    assert task.read(model(), LAG + 1) is PrepareStep.PAUSE


@pytest.mark.parametrize(
    ("poll_interval", "pause"), [(0, 1), (0.5, 1), (3, 3), (30, MAX_PAUSE), (1e9, MAX_PAUSE)]
)
def test_pause_is_poll_interval_within_limits(task, poll_interval, pause):
    task.read(model())
    task.request(NO_RESPONSE)
    task.read(model())
    assert task.preparation.begin_pause(poll_interval) == pause
    assert task.step is PrepareStep.READ


def test_preparation_survives_json(task):
    task.read(model(status=Status(code="OK")))
    task.request(refusal("ABORTED", 409))
    task.read(model("PREPARING"))
    state = json.loads(json.dumps(task.preparation.model_dump(mode="json")))
    assert ModelPreparation.model_validate(state) == task.preparation
