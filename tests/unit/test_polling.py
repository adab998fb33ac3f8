from __future__ import annotations

import json

import pytest
from hypothesis import given, strategies as st
from pydantic import ValidationError

from airflow_provider_fireworks.client.errors import (
    AccessDeniedError,
    NoResponseError,
    NotFoundError,
    QuotaExceededError,
    RateLimitedError,
    RefusedError,
    UnavailableError,
    UnreachableError,
)
from airflow_provider_fireworks.client.resources import Deployment, Model, ReplicaStats, Status
from airflow_provider_fireworks.client.retries import MAX_RETRY_AFTER
from airflow_provider_fireworks.models.readiness import Baseline
from airflow_provider_fireworks.polling import (
    JITTER,
    LONGEST_BACKOFF,
    SHORTEST_PAUSE,
    DeploymentWait,
    ModelWait,
    Outcome,
    Until,
    Verdict,
    Wait,
)

NAME = "accounts/demo/models/my-model"
NOW = 1_750_000_000.0
BLIPS = [
    UnreachableError("refused"),
    NoResponseError("cut off"),
    UnavailableError("bad emulator", status=502),
    RateLimitedError("slow down", status=429),
]


def wait(**fields) -> ModelWait:
    return ModelWait(
        **{"model": NAME, "precision": "FP8", "deadline": NOW + 7200, "poll_interval": 30} | fields
    )


def model(state: str | None = "READY", **fields) -> Model:
    return Model(name=NAME, state=state, **fields)


NAMED = model(supported_precisions=["FP8"])
# On an API that lists no precisions, a wait without a baseline fails at its first poll.
LISTS = {"supported_precisions": ["FP16"]}


@pytest.mark.parametrize(
    ("reading", "outcome"),
    [
        pytest.param(NAMED, Outcome.READY, id="proof"),
        pytest.param(model(**LISTS), Outcome.PENDING, id="no proof"),
        pytest.param(model("PREPARING", **LISTS), Outcome.PENDING, id="preparing"),
        pytest.param(model(), Outcome.FAILED, id="no lists"),
        pytest.param(model("PREPARING"), Outcome.FAILED, id="preparing, no lists"),
        pytest.param(model("FAILED"), Outcome.FAILED, id="failed"),
        pytest.param(AccessDeniedError("bad key", status=401), Outcome.ACCESS_DENIED, id="401 or 403"),
        pytest.param(
            NotFoundError("no such model", status=404), Outcome.NOT_FOUND, id="404 at the first look"
        ),
        pytest.param(RefusedError("bad request", status=400), Outcome.REFUSED, id="400"),
        *(pytest.param(error, Outcome.PENDING, id=type(error).__name__) for error in BLIPS),
    ],
)
def test_what_a_look_comes_to(reading, outcome):
    verdict = wait().observe(reading, NOW)
    assert verdict.outcome is outcome
    if isinstance(reading, Exception):
        assert str(reading) in verdict.reason


def test_a_404_after_it_was_there_means_deleted():
    for begun in (wait(baseline=Baseline.of(model())), wait()):
        if begun.baseline is None:
            begun.observe(model(**LISTS), NOW)
        verdict = begun.observe(NotFoundError("resource not found", status=404), NOW)
        assert verdict.outcome is Outcome.FAILED
        assert "deleted" in verdict.reason
        assert "resource not found" in verdict.reason


@pytest.mark.parametrize("error", BLIPS, ids=lambda error: type(error).__name__)
def test_no_number_of_blips_ends_a_wait_before_its_deadline(error):
    waiting = wait()
    assert all(waiting.observe(error, NOW + n).outcome is Outcome.PENDING for n in range(7199))
    assert waiting.observe(NAMED, NOW + 7199).outcome is Outcome.READY


@pytest.mark.parametrize(
    "reading", [model(**LISTS), model("PREPARING", **LISTS), *BLIPS], ids=lambda r: type(r).__name__
)
def test_the_deadline_ends_every_wait_with_what_was_last_seen(reading):
    assert wait().observe(reading, NOW + 7199.9).outcome is Outcome.PENDING
    timeout = wait().observe(reading, NOW + 7200)
    assert timeout.outcome is Outcome.TIMEOUT
    assert timeout.reason.startswith("last seen: ")
    assert len(timeout.reason) > len("last seen: ")


@pytest.mark.parametrize(
    ("reading", "outcome"),
    [
        (NAMED, Outcome.READY),
        (model("FAILED"), Outcome.FAILED),
        (AccessDeniedError("m"), Outcome.ACCESS_DENIED),
        (NotFoundError("m"), Outcome.NOT_FOUND),
    ],
)
def test_what_ends_the_wait_by_itself_goes_before_the_deadline(reading, outcome):
    assert wait().observe(reading, NOW + 99_999).outcome is outcome


def test_its_looks_make_up_the_memory():
    waiting = wait(baseline=Baseline.of(model()).after_request("accepted", NOW))
    outcomes = [
        waiting.observe(reading, NOW + at).outcome
        for at, reading in enumerate([model(), model("PREPARING"), BLIPS[0], model()])
    ]
    assert outcomes == [Outcome.PENDING, Outcome.PENDING, Outcome.PENDING, Outcome.READY]


def test_what_it_was_told_reaches_the_judgement():
    lists = model(supported_precisions=["FP8_V2"])
    assert wait(accept=["FP8_V2"]).observe(lists, NOW).precision == "FP8_V2"
    baseline = Baseline.of(model()).after_request("accepted", NOW - 1000)
    assert wait(baseline=baseline).observe(model(), NOW).inferred
    assert wait(baseline=baseline, require_confirmation=True).observe(model(), NOW).outcome is Outcome.FAILED


@pytest.mark.parametrize(
    ("reading", "outcome"),
    [
        (model("PREPARING"), Outcome.PENDING),
        (model("UPLOADING"), Outcome.PENDING),
        (model("NEW"), Outcome.PENDING),
        (model(None), Outcome.PENDING),
        (model(), Outcome.READY),
        (model("FAILED"), Outcome.READY),
        (model("PREPARING", supported_precisions=["FP8"]), Outcome.READY),
        (AccessDeniedError("m"), Outcome.ACCESS_DENIED),
        (BLIPS[0], Outcome.PENDING),
    ],
)
def test_waiting_for_its_turn(reading, outcome):
    verdict = wait(until="idle").observe(reading, NOW)
    assert verdict.outcome is outcome
    assert verdict.precision is None


def test_watch_for_turn_ends_if_accepted_precision_is_named() -> None:
    reading = model("PREPARING", supported_precisions=["FP8_V2"])
    assert wait(until="idle").observe(reading, NOW).outcome is Outcome.PENDING
    assert wait(until="idle", accept=["FP8_V2"]).observe(reading, NOW).outcome is Outcome.READY


@pytest.mark.parametrize(
    ("reading", "outcome"),
    [
        (model("PREPARING"), Outcome.READY),
        (model("FAILED"), Outcome.READY),
        (NotFoundError("m"), Outcome.NOT_FOUND),
        (RefusedError("m"), Outcome.REFUSED),
        *((error, Outcome.PENDING) for error in BLIPS),
    ],
)
def test_waiting_for_an_answer(reading, outcome):
    verdict = wait(until="response").observe(reading, NOW)
    assert verdict.outcome is outcome
    assert verdict.precision is None


@pytest.mark.parametrize("until", Until)
def test_what_is_waited_for_is_told(until):
    waiting = wait(until=until)
    assert NAME in waiting.goal
    assert ("FP8" in waiting.goal) is (until is not Until.RESPONSE)
    verdict = waiting.observe(BLIPS[2], NOW)
    assert waiting.log_line(verdict, NOW + 3600) == f"my-model at FP8: {verdict.reason}. 1:00:00 left."


# ---- the pauses


def between(seconds: float, waiting: Wait, now: float = NOW) -> bool:
    return all(seconds <= waiting.pause(now) <= seconds * (1 + JITTER) for _ in range(30))


def test_the_pause_is_the_interval_and_a_little_more_of_different_length():
    assert between(30, wait())
    assert len({wait().next_delay(NOW) for _ in range(20)}) > 1


@pytest.mark.parametrize("interval", [0, 0.001, -5])
def test_the_pause_is_never_shorter_than_a_second(interval):
    assert between(SHORTEST_PAUSE, wait(poll_interval=interval))


def test_the_pause_ends_with_the_deadline():
    assert wait().next_delay(NOW + 7195) == 5
    assert wait().next_delay(NOW + 7200) == 0
    assert wait().next_delay(NOW + 9999) == 0


def test_a_growing_interval_doubles_with_every_look_up_to_the_longest():
    for longest, expected in [(None, [10, 10, 20, 40, 80]), (25, [10, 10, 20, 25, 25])]:
        waiting = wait(poll_interval=10, exponential=True, max_interval=longest)
        for seconds in expected:
            assert between(seconds, waiting)
            waiting.observe(model(), NOW)
    steady = wait(poll_interval=10)
    for _ in range(5):
        steady.observe(model(), NOW)
    assert between(10, steady)


def test_blips_in_a_row_make_the_pauses_grow_and_an_answer_ends_that():
    waiting = wait(poll_interval=1)
    for failures in range(1, 12):
        waiting.observe(UnavailableError("m"), NOW)
        longest = max(1, min(0.5 * 2 ** (failures - 1), LONGEST_BACKOFF))
        for _ in range(20):
            assert max(1, longest * 0.75) <= waiting.next_delay(NOW) <= longest * (1 + JITTER)
    waiting.observe(model(), NOW)
    assert between(1, waiting)
    waiting.observe(UnavailableError("m"), NOW)
    assert between(1, waiting)


def test_a_gateway_that_asks_to_be_left_alone_is():
    waiting = wait(poll_interval=5)
    waiting.observe(RateLimitedError("m", retry_after=45), NOW)
    assert between(45, waiting)
    waiting.observe(model(), NOW)
    assert between(5, waiting)


@given(
    interval=st.floats(0, 1e6),
    exponential=st.booleans(),
    longest=st.none() | st.floats(0, 1e5),
    looks=st.lists(st.none() | st.floats(0, 60), max_size=60),
    left=st.floats(-100, 1e6),
)
def test_no_pause_is_too_short_too_long_or_past_the_deadline(interval, growing, longest, looks, left):
    waiting = wait(poll_interval=interval, exponential=growing, max_interval=longest, deadline=NOW + 1e7)
    for asked in looks:
        waiting.observe(model() if asked is None else RateLimitedError("m", retry_after=asked), NOW)
    waiting.deadline = NOW + left
    pause = waiting.next_delay(NOW)
    remaining = max(waiting.deadline - NOW, 0)
    assert 0 <= pause <= remaining
    if remaining > SHORTEST_PAUSE:
        assert pause >= SHORTEST_PAUSE
    if looks and looks[-1] is not None:
        assert pause >= min(looks[-1], remaining)
    if not growing and not looks:
        assert pause >= min(interval, remaining)


# ---- on the way to the triggerer


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"until": "turn", "accept": ["FP8_V2"], "require_confirmation": True},
        {"growing": True, "longest_interval": 600.0, "precision": "FP4"},
        {
            "baseline": Baseline.of(model(status=Status(code="INTERNAL", message="x"))).after_request(
                "accepted", NOW
            )
        },
    ],
    ids=["the least", "a turn", "growing", "a baseline"],
)
def test_its_arguments_are_plain_json_that_make_the_same_wait(fields):
    waiting = wait(**fields)
    arguments = waiting.as_arguments()
    assert json.loads(json.dumps(arguments)) == arguments
    assert ModelWait.model_validate(arguments).model_dump() == waiting.model_dump()


def test_the_baseline_given_is_kept_whatever_was_seen():
    baseline = Baseline.of(model()).after_request("accepted", NOW)
    waiting = wait(baseline=baseline)
    waiting.observe(model("PREPARING"), NOW)
    assert ModelWait.model_validate(waiting.as_arguments()).baseline == baseline


def test_history_travels_so_that_a_status_that_turns_bad_is_noticed():
    waiting = wait()
    waiting.observe(BLIPS[0], NOW)
    waiting.observe(model(status=Status(code="OK"), **LISTS), NOW)
    waiting.observe(model("PREPARING", **LISTS), NOW)
    elsewhere = ModelWait.model_validate(waiting.as_arguments())
    assert elsewhere.history == waiting.history
    assert elsewhere.baseline is None
    turned_bad = elsewhere.observe(model(status=Status(code="INTERNAL", message="no GPU"), **LISTS), NOW)
    assert turned_bad.outcome is Outcome.FAILED
    assert "no GPU" in turned_bad.reason


def test_history_travels_so_that_a_preparation_seen_running_needs_no_grace():
    waiting = wait(baseline=Baseline.of(model()).after_request("accepted", NOW))
    waiting.observe(model("PREPARING"), NOW + 1)
    elsewhere = ModelWait.model_validate(json.loads(json.dumps(waiting.as_arguments())))
    verdict = elsewhere.observe(model(), NOW + 2)
    assert (verdict.outcome, verdict.inferred) == (Outcome.READY, True)


def test_a_status_that_was_bad_before_does_not_fail_a_wait_that_went_elsewhere():
    stale = model(status=Status(code="INTERNAL", message="old"), **LISTS)
    waiting = wait()
    waiting.observe(stale, NOW)
    elsewhere = ModelWait.model_validate(waiting.as_arguments())
    assert [elsewhere.observe(stale, NOW + at).outcome for at in (1, 1000)] == [Outcome.PENDING] * 2


def test_a_gateway_that_asks_to_be_left_alone_is_elsewhere_too():
    waiting = wait(poll_interval=5)
    waiting.observe(RateLimitedError("m", retry_after=45), NOW)
    elsewhere = ModelWait.model_validate(waiting.as_arguments())
    assert 35 <= elsewhere.next_delay(NOW + 10) <= 35 * (1 + JITTER)
    assert elsewhere.next_delay(NOW - 1e6) <= MAX_RETRY_AFTER * (1 + JITTER), "the clock was set back"
    elsewhere.observe(model(), NOW + 46)
    assert between(5, elsewhere)
    assert "retry_not_before" not in elsewhere.as_arguments()


def test_what_a_watch_does_not_know_is_refused():
    with pytest.raises(ValidationError):
        wait(api_key="fw_x")


# ---- a wait for a deployment

DEPLOYMENT = "accounts/demo/deployments/d"
GONE = NotFoundError("resource not found", status=404)
SCALING_UP = UnavailableError("scaling up from zero", status=503, code="DEPLOYMENT_SCALING_UP")
NO_CHAT = RefusedError("this model takes no chat", status=400)
DENIED = AccessDeniedError("bad key", status=403)


def deployment_watch(**fields) -> DeploymentWait:
    return DeploymentWait(**{"deployment": DEPLOYMENT, "deadline": NOW + 3600, "poll_interval": 15} | fields)


def deployment(state: str | None = "READY", ready: int | None = 1, **fields) -> Deployment:
    stats = ReplicaStats(ready_replica_count=ready)
    return Deployment(
        **{"name": DEPLOYMENT, "base_model": NAME, "state": state, "replica_stats": stats} | fields
    )


@pytest.mark.parametrize("until", Until)
def test_the_first_look_at_a_deployment_reads_it(until):
    call = deployment_watch(until=until).next_request()
    assert str(call) == f"GET /v1/{DEPLOYMENT}"
    assert not call.writes


LOOKS = {
    # What a first look brings: (the reading, until ready, until serving, until there is an answer)
    "ready": (deployment(), "ready", "asks", "ready"),
    "scaled to zero": (deployment(ready=0), "ready", "asks", "ready"),
    "creating": (deployment("CREATING"), "pending", "pending", "ready"),
    "updating": (deployment("UPDATING"), "pending", "pending", "ready"),
    "never heard of": (deployment("NEW"), "pending", "pending", "ready"),
    "unset": (deployment(None), "pending", "pending", "ready"),
    "failed": (deployment("FAILED"), "failed", "failed", "ready"),
    "deleting": (deployment("DELETING"), "failed", "failed", "ready"),
    "deleted": (deployment("DELETED"), "failed", "failed", "ready"),
    "404": (GONE, "not_found", "not_found", "ready"),
    "403": (DENIED, "access_denied", "access_denied", "access_denied"),
    "400": (RefusedError("no", status=400), "refused", "refused", "refused"),
    "no quota": (QuotaExceededError("none", status=429), "refused", "refused", "refused"),
    **{type(error).__name__: (error, "pending", "pending", "pending") for error in BLIPS},
}


@pytest.mark.parametrize(("reading", "ready", "serving", "answer"), LOOKS.values(), ids=LOOKS)
def test_what_a_look_at_a_deployment_comes_to(reading, ready, serving, answer):
    for until, expected in (("ready", ready), ("serving", serving), ("answer", answer)):
        waiting = deployment_watch(until=until)
        verdict = waiting.observe(reading, NOW)
        assert verdict.outcome.value == ("pending" if expected == "asks" else expected), until
        assert waiting.is_mid_poll is (expected == "asks")
        if isinstance(reading, Exception) and until != "answer":
            assert str(reading) in verdict.reason


def test_the_replicas_that_are_wanted_are_judged():
    waiting = deployment_watch(replica_count=2)
    outcomes = [
        waiting.observe(reading, NOW).outcome
        for reading in (deployment(), deployment("UPDATING", ready=2), deployment(ready=2))
    ]
    assert outcomes == [Outcome.PENDING, Outcome.PENDING, Outcome.READY]


MISSING = {
    # A 404: (what the wait knows, when, outcome, what is told)
    "at the first look": ({}, NOW, Outcome.NOT_FOUND, "resource not found"),
    "of what is known": ({"known": True}, NOW, Outcome.FAILED, "deleted"),
    "made just now": ({"visible_by": NOW + 30}, NOW, Outcome.PENDING, "does not show yet"),
    "made a while ago": ({"visible_by": NOW}, NOW, Outcome.NOT_FOUND, "resource not found"),
    "made just now, and known": ({"known": True, "visible_by": NOW + 30}, NOW, Outcome.FAILED, "deleted"),
    "made just now, at the deadline": (
        {"visible_by": NOW + 30, "deadline": NOW}, NOW, Outcome.TIMEOUT, "does not show yet",
    ),
}  # fmt: skip


@pytest.mark.parametrize("until", ["ready", "serving"])
@pytest.mark.parametrize(("fields", "now", "outcome", "told"), MISSING.values(), ids=MISSING)
def test_what_a_404_means(fields, now, outcome, told, until):
    verdict = deployment_watch(until=until, **fields).observe(GONE, now)
    assert verdict.outcome is outcome
    assert told in verdict.reason
    assert "resource not found" in verdict.reason


@pytest.mark.parametrize("fields", [{}, {"visible_by": NOW + 30}])
def test_what_was_seen_once_is_known_also_elsewhere(fields):
    waiting = deployment_watch(**fields)
    waiting.observe(BLIPS[0], NOW)
    assert not waiting.known
    waiting.observe(deployment("CREATING"), NOW)
    elsewhere = DeploymentWait.model_validate(waiting.as_arguments())
    for each in (waiting, elsewhere):
        assert each.observe(GONE, NOW).outcome is Outcome.FAILED


@pytest.mark.parametrize("error", BLIPS, ids=lambda error: type(error).__name__)
@pytest.mark.parametrize("until", ["ready", "serving", "answer"])
def test_no_number_of_blips_ends_a_wait_for_a_deployment(error, until):
    waiting = deployment_watch(until=until)
    assert all(waiting.observe(error, NOW + n).outcome is Outcome.PENDING for n in range(0, 3600, 9))
    assert waiting.observe(error, NOW + 3600).outcome is Outcome.TIMEOUT


# ---- whether it serves


def asking(**fields) -> DeploymentWait:
    waiting = deployment_watch(until="inference", **fields)
    assert waiting.observe(deployment(), NOW).outcome is Outcome.PENDING
    assert waiting.is_mid_poll
    return waiting


def test_once_it_is_ready_it_is_asked_something_at_once():
    waiting = asking()
    call = waiting.next_request()
    assert str(call) == "POST /inference/v1/chat/completions"
    assert call.body["model"] == f"{NAME}#{DEPLOYMENT}"
    assert call.body["max_tokens"] == 1
    assert waiting.next_delay(NOW) == 0


INFERENCE = {
    # What asking it brings: (the reading, outcome, what is told)
    "an answer": (None, Outcome.READY, "inference answers"),
    "404": (GONE, Outcome.PENDING, "inference does not answer yet"),
    "scaling up": (SCALING_UP, Outcome.PENDING, "DEPLOYMENT_SCALING_UP"),
    "400": (NO_CHAT, Outcome.REFUSED, "without wait_for_inference"),
    "another 4xx": (RefusedError("no", status=405), Outcome.REFUSED, "without wait_for_inference"),
    "403": (DENIED, Outcome.ACCESS_DENIED, "bad key"),
    **{type(error).__name__: (error, Outcome.PENDING, error.message) for error in BLIPS},
}


@pytest.mark.parametrize(("reading", "outcome", "told"), INFERENCE.values(), ids=INFERENCE)
def test_what_asking_it_comes_to(reading, outcome, told):
    waiting = asking()
    verdict = waiting.observe(reading, NOW)
    assert verdict.outcome is outcome
    assert told in verdict.reason
    # Whatever came of it, the next look reads the deployment again.
    assert not waiting.is_mid_poll
    assert waiting.next_request().verb == "GET"


@pytest.mark.parametrize("silence", [GONE, SCALING_UP], ids=["404", "scaling up"])
def test_silence_of_a_ready_one_is_no_blip(silence):
    waiting = asking(poll_interval=5)
    for _ in range(8):
        waiting.observe(silence, NOW)
        assert between(5, waiting)
        waiting.observe(deployment(), NOW)
        assert waiting.is_mid_poll


def test_a_404_of_inference_does_not_mean_deleted():
    waiting = asking(known=True)
    assert waiting.observe(GONE, NOW).outcome is Outcome.PENDING
    assert waiting.observe(GONE, NOW).outcome is Outcome.FAILED


def test_blips_of_inference_make_the_pauses_grow():
    waiting = asking(poll_interval=1)
    waiting.observe(RateLimitedError("slow down", retry_after=40), NOW)
    assert between(40, waiting)


def test_what_is_not_ready_is_not_asked():
    waiting = deployment_watch(until="inference")
    for state in ("CREATING", "UPDATING", "NEW", None):
        waiting.observe(deployment(state), NOW)
        assert not waiting.is_mid_poll


def test_a_deployment_that_never_serves_ends_with_the_deadline():
    waiting = asking()
    timeout = waiting.observe(GONE, NOW + 3600)
    assert timeout.outcome is Outcome.TIMEOUT
    assert "inference does not answer yet" in timeout.reason


def test_an_answer_goes_before_the_deadline():
    assert asking().observe(None, NOW + 9999).outcome is Outcome.READY


def test_the_replicas_that_are_wanted_come_before_it_is_asked():
    waiting = deployment_watch(until="inference", replica_count=2)
    waiting.observe(deployment(ready=1), NOW)
    assert not waiting.is_mid_poll
    waiting.observe(deployment(ready=2), NOW)
    assert waiting.is_mid_poll


def test_a_growing_interval_doubles_with_every_look_that_has_two_parts():
    waiting = deployment_watch(until="inference", exponential=True, poll_interval=10)
    for seconds in (10, 20, 40):
        waiting.observe(deployment(), NOW)
        waiting.observe(GONE, NOW)
        assert between(seconds, waiting)


@pytest.mark.parametrize(
    ("fields", "wanted"),
    [
        ({}, f"{DEPLOYMENT} to be ready"),
        ({"until": "serving"}, f"{DEPLOYMENT} to be serving"),
        ({"replica_count": 0}, f"{DEPLOYMENT} to be ready with 0 replicas"),
        ({"until": "answer", "replica_count": 2}, f"an answer about {DEPLOYMENT}"),
    ],
    ids=str,
)
def test_what_is_waited_for_of_a_deployment_is_told(fields, wanted):
    waiting = deployment_watch(**fields)
    assert waiting.goal == wanted
    verdict = waiting.observe(BLIPS[2], NOW)
    assert waiting.log_line(verdict, NOW + 3500) == f"d: {verdict.reason}. 0:01:40 left."


# ---- what is logged


def test_news_of_a_wait_are_changes_and_a_line_now_and_then():
    waiting = wait()
    told = [
        at
        for at, state in enumerate(["PREPARING"] * 30 + ["NEW"] * 3)
        if waiting.log_line(waiting.observe(model(state), NOW + 60 * at), NOW + 60 * at)
    ]
    # A poll a minute: every tenth one, as five minutes are over by then.
    assert told == [0, 10, 20, 30]
    often = wait(poll_interval=2)
    told = [
        at for at in range(400) if often.log_line(often.observe(model("PREPARING"), NOW + 2 * at), NOW + 2 * at)
    ]
    # A poll every two seconds: every five minutes.
    assert told == [0, 150, 300]


def test_news_do_not_count_the_id_of_a_request():
    waiting = wait()
    lines = [
        waiting.log_line(waiting.observe(UnavailableError("away", request_id=str(at)), NOW + at), NOW + at)
        for at in range(3)
    ]
    assert [line is not None for line in lines] == [True, False, False]


def test_news_are_one_short_line_with_single_punctuation():
    waiting = wait()
    verdict = Verdict(Outcome.PENDING, "has it been prepared?")
    assert waiting.log_line(verdict, NOW) == "my-model at FP8: has it been prepared? 2:00:00 left."
    long = waiting.log_line(Verdict(Outcome.PENDING, "x" * 900), NOW)
    assert len(long) < 210


# ---- a Base URL that leads elsewhere

ELSEWHERE = UnavailableError("redirected", status=302, misdirected=True)


def test_wrong_address_ends_the_wait_after_five_minutes():
    waiting = wait()
    outcomes = [waiting.observe(ELSEWHERE, NOW + at).outcome for at in (0, 100, 299, 300)]
    assert outcomes == [Outcome.PENDING] * 3 + [Outcome.UNREACHABLE]


def test_wrong_address_is_counted_over_a_deferral():
    waiting = wait()
    waiting.observe(ELSEWHERE, NOW)
    elsewhere = ModelWait.model_validate(waiting.as_arguments())
    assert elsewhere.observe(ELSEWHERE, NOW + 301).outcome is Outcome.UNREACHABLE


@pytest.mark.parametrize(
    "answer", [model("PREPARING"), UnavailableError("away", code="UNAVAILABLE")], ids=["success", "envelope"]
)
def test_wrong_address_is_borne_once_the_api_has_answered(answer):
    waiting = wait()
    waiting.observe(answer, NOW)
    waiting.observe(ELSEWHERE, NOW + 1)
    elsewhere = ModelWait.model_validate(waiting.as_arguments())
    assert elsewhere.observe(ELSEWHERE, NOW + 1000).outcome is Outcome.PENDING


def test_wrong_address_between_other_errors_is_counted_anew():
    waiting = wait()
    waiting.observe(ELSEWHERE, NOW)
    waiting.observe(BLIPS[0], NOW + 200)
    assert waiting.observe(ELSEWHERE, NOW + 301).outcome is Outcome.PENDING


@pytest.mark.parametrize(
    "fields",
    [{}, {"until": "serving", "known": True, "replica_count": 0}, {"visible_by": NOW + 30, "growing": True}],
    ids=str,
)
def test_a_wait_for_a_deployment_is_plain_json_too(fields):
    waiting = deployment_watch(**fields)
    arguments = waiting.as_arguments()
    assert json.loads(json.dumps(arguments)) == arguments
    assert DeploymentWait.model_validate(arguments).model_dump() == waiting.model_dump()
    with pytest.raises(ValidationError):
        DeploymentWait.model_validate(arguments | {"api_key": "fw_x"})


def test_a_wait_that_went_elsewhere_half_way_reads_first():
    elsewhere = DeploymentWait.model_validate(asking().as_arguments())
    assert not elsewhere.is_mid_poll
    assert elsewhere.next_request().verb == "GET"
