"""The steps of a removal, driven by hand: no requests, no sleep, and a clock that only ``Sleep`` advances."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any, NamedTuple

import pytest

from airflow_provider_fireworks.client.api import Request
from airflow_provider_fireworks.client.errors import (
    AccessDeniedError,
    ApiError,
    ConnectError,
    NoResponseError,
    NotFoundError,
    QuotaExceededError,
    RateLimitedError,
    RefusedError,
    UnavailableError,
)
from airflow_provider_fireworks.client.names import DeploymentName
from airflow_provider_fireworks.client.resources import Deployment
from airflow_provider_fireworks.deployments import removal
from airflow_provider_fireworks.deployments.ownership import Owner
from airflow_provider_fireworks.deployments.removal import MONEY, GetTaskState, RemovalResult, Sleep, remove
from airflow_provider_fireworks.timing import DEFAULT_TIMING

NAME = DeploymentName("demo", "d")
OWNER = Owner("my_dag", "manual__1", "deploy")
OTHER = replace(OWNER, task_id="another")
MIN_DELAY, MAX_DELAY = DEFAULT_TIMING.min_delete_delay, DEFAULT_TIMING.max_delete_delay
LAG = DEFAULT_TIMING.visibility_lag


@pytest.fixture(autouse=True)
def no_jitter(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(removal.random, "random", lambda: 0.0)


NO_REPLY = object()


class Driven(NamedTuple):
    """The steps that a removal has taken, and how it ended."""

    steps: list[str]
    delays: list[float]
    result: RemovalResult


def drive(replies: Iterator[Any] | list[Any], **options: Any) -> Driven:
    """Run a removal with a reply for each request and each query of Airflow. All replies of a list must be used."""
    clock = 1000.0
    if options.get("unread") == "delete":
        # As in the delete operator: what could not be read may be in use.
        options = {"ignore_checks": lambda found: found is not None, **options}
    steps = remove(NAME, **{"timeout": 60.0, "now": lambda: clock, **options})
    given = iter(replies)
    taken: list[str] = []
    delays: list[float] = []
    reply: Any = None
    while True:
        try:
            step = steps.send(reply)
        except StopIteration as ended:
            result: RemovalResult = ended.value
            break
        if isinstance(step, Sleep):
            delays.append(step.seconds)
            clock += step.seconds
            reply = None
            continue
        taken.append(in_short(step))
        assert len(taken) < 500, "it does not end"
        reply = next(given, NO_REPLY)
        assert reply is not NO_REPLY, f"no reply is left for {taken}"
    assert not isinstance(replies, list) or next(given, NO_REPLY) is NO_REPLY, "it ended early"
    return Driven(taken, delays, result)


def in_short(step: Request[Any] | GetTaskState) -> str:
    """Return a step in short: ``GET``, ``DELETE`` with its query, or ``state``."""
    if isinstance(step, GetTaskState):
        return "state"
    assert step.path == f"v1/{NAME}"
    assert set(step.query.values()) <= {"true"}
    return " ".join([step.method, *sorted(step.query)])


def found(state: str | None = "READY", owner: Owner = OWNER) -> Deployment:
    return Deployment(name=str(NAME), state=state, description=owner.description)


FOUND = found()
LATER = found("UPDATING")
DELETED: None = None
"""The API's response to a ``DELETE`` that worked."""
GONE = NotFoundError("resource not found", status=404)
DENIED = AccessDeniedError("may not", status=403)
BAD_KEY = AccessDeniedError("bad key", status=401)
REFUSED = RefusedError("it has served recently", status=400, code="FAILED_PRECONDITION")
UNAVAILABLE = UnavailableError("bad gateway", status=502)
UNREACHABLE = ConnectError("connection refused")
NO_RESPONSE = NoResponseError("cut off")
RATE_LIMITED = RateLimitedError("slow down", status=429)
NO_QUOTA = QuotaExceededError("quota", status=429)
BROKEN = ApiError("the list does not end")
TRANSIENT = [UNAVAILABLE, UNREACHABLE, NO_RESPONSE, RATE_LIMITED]

Options = dict[str, Any]
OWN: Options = {"may_delete": lambda read: OWNER.created(read.description)}
CHECKED: Options = {"ignore_checks": lambda read: False}
FOR_GOOD: Options = {"hard": True}
PURGE: Options = {"hard": True, "purge": True}
INSIST: Options = {"insist": True}
INVISIBLE: Options = {"may_be_invisible": True}
CHECK_TASK: Options = {"check_task": True}
IF_DENIED: Options = {"unread": "delete if denied"}
BY_NAME: Options = {"unread": "delete"}

GET, STATE = "GET", "state"
DELETE, HARD = "DELETE ignoreChecks", "DELETE hard ignoreChecks"

# The options, the replies → the steps, the status, a part of the note.
ROWS: dict[str, tuple[Options, list[Any], list[str], str, str]] = {
    # The owner.
    "of anybody": ({}, [found(owner=OTHER), DELETED], [GET, DELETE], "deleted", "was deleted."),
    "own": (OWN, [FOUND, DELETED], [GET, DELETE], "deleted", "was deleted."),
    "own, for good": (OWN | FOR_GOOD, [FOUND, DELETED], [GET, HARD], "deleted", "was deleted."),
    "own, with checks": (OWN | CHECKED, [FOUND, DELETED], [GET, "DELETE"], "deleted", ""),
    "with checks, for good": (CHECKED | FOR_GOOD, [FOUND, DELETED], [GET, "DELETE hard"], "deleted", ""),
    "own, failed": (OWN, [found("FAILED"), DELETED], [GET, DELETE], "deleted", ""),
    "own, without a state": (OWN, [found(None), DELETED], [GET, DELETE], "deleted", ""),
    "not own": (OWN, [found(owner=OTHER)], [GET], "spared", "does not belong to this task"),
    "not own, for good": (OWN | FOR_GOOD, [found(owner=OTHER)], [GET], "spared", "Not deleting"),
    "not own, insist": (OWN | INSIST, [found(owner=OTHER)], [GET], "spared", "Not deleting"),
    "not own, already deleted": (OWN, [found("DELETED", OTHER)], [GET], "spared", "does not belong"),
    "adopted from an earlier run": (OWN, [found(owner=replace(OWNER, kept=True))], [GET], "spared", "Not deleting"),
    "own, then adopted": (OWN, [FOUND, UNAVAILABLE, found(owner=OTHER)], [GET, DELETE, GET], "spared", "Not deleting"),
    "unavailable, then not own": (OWN, [UNAVAILABLE, found(owner=OTHER)], [GET, GET], "spared", ""),
    # Already deleted.
    "being deleted": (OWN, [found("DELETING")], [GET], "gone", "was deleted already"),
    "already deleted": (OWN, [found("DELETED")], [GET], "gone", "was deleted already"),
    "already deleted, for good": (OWN | FOR_GOOD, [found("DELETED")], [GET], "gone", "already"),
    "being deleted, purge": (PURGE, [found("DELETING")], [GET], "gone", "already"),
    "already deleted, purge": (
        PURGE, [found("DELETED"), DELETED], [GET, HARD], "deleted", "",
    ),
    "already deleted, purge without hard": ({"purge": True}, [found("DELETED")], [GET], "gone", "already"),
    "not own, purge": (
        OWN | PURGE, [found("DELETED", OTHER)], [GET], "spared", "does not belong",
    ),
    "already deleted, purge refused": (
        PURGE, [found("DELETED"), REFUSED, found("DELETED")], [GET, HARD, GET], "gone", "",
    ),
    # A 404.
    "404": (OWN, [GONE], [GET], "gone", "does not exist."),
    "404, keep": ({"unread": "keep"}, [GONE], [GET], "gone", "does not exist."),
    "404, delete if denied": (IF_DENIED, [GONE], [GET], "gone", "does not exist."),
    "404, delete, 404": (BY_NAME, [GONE, GONE], [GET, "DELETE"], "gone", "any more"),
    "404, delete": (BY_NAME, [GONE, DELETED], [GET, "DELETE"], "deleted", ""),
    "404, delete for good": (
        BY_NAME | FOR_GOOD, [GONE, DELETED], [GET, "DELETE hard"], "deleted", "",
    ),
    "invisible, then found": (
        OWN | INVISIBLE, [GONE, GONE, FOUND, DELETED], [GET, GET, GET, DELETE], "deleted", "",
    ),
    "invisible, then not own": (
        OWN | INVISIBLE, [GONE, found(owner=OTHER)], [GET, GET], "spared", "",
    ),
    "found, then 404": (OWN | INVISIBLE, [FOUND, RATE_LIMITED, GONE], [GET, DELETE, GET], "gone", ""),
    # 401 and 403.
    "denied": (OWN, [DENIED], [GET], "left", "may not"),
    "wrong key": (OWN, [BAD_KEY], [GET], "left", "bad key"),
    "denied, may be invisible": (OWN | INVISIBLE, [DENIED], [GET], "left", "may not"),
    "denied, insist": (OWN | INSIST, [DENIED], [GET], "left", "may not"),
    "denied, delete if denied": (IF_DENIED, [DENIED, DELETED], [GET, DELETE], "deleted", ""),
    "wrong key, delete for good if denied": (
        IF_DENIED | FOR_GOOD, [BAD_KEY, DELETED], [GET, HARD], "deleted", "",
    ),
    "denied, delete if denied, denied": (
        IF_DENIED, [DENIED, BAD_KEY], [GET, DELETE], "left", "bad key",
    ),
    "denied, delete if denied, 404": (IF_DENIED, [DENIED, GONE], [GET, DELETE], "gone", "any more"),
    "denied, delete if denied, invisible": (
        IF_DENIED | INVISIBLE,
        [DENIED, GONE, DENIED, DELETED],
        [GET, DELETE, GET, DELETE],
        "deleted",
        "",
    ),
    "denied, delete": (BY_NAME, [DENIED, DELETED], [GET, "DELETE"], "deleted", ""),
    "denied, delete, denied": (BY_NAME, [DENIED, DENIED], [GET, "DELETE"], "left", "may not"),
    "found, denied": (OWN, [FOUND, DENIED], [GET, DELETE], "left", "may not"),
    "found, denied, insist": (OWN | INSIST, [FOUND, DENIED], [GET, DELETE], "left", "may not"),
    # Transient errors.
    **{
        f"{type(error).__name__} to the GET": (OWN, [error, FOUND, DELETED], [GET, GET, DELETE], "deleted", "")
        for error in TRANSIENT
    },
    **{
        f"{type(error).__name__} to the DELETE": (
            OWN, [FOUND, error, FOUND, DELETED], [GET, DELETE, GET, DELETE], "deleted", "",
        )
        for error in TRANSIENT
    },
    "found, 404 to the first DELETE": (OWN, [FOUND, GONE], [GET, DELETE], "gone", "any more"),
    "other error to the GET": (OWN, [BROKEN], [GET], "left", "does not end"),
    "quota error to the GET": (OWN, [NO_QUOTA], [GET], "left", "quota"),
    "other error to the DELETE": (OWN, [FOUND, BROKEN], [GET, DELETE], "left", "does not end"),
    # A DELETE whose outcome is unknown.
    **{
        f"lost response, then {state}": (OWN, [FOUND, NO_RESPONSE, found(state)], [GET, DELETE, GET], "deleted", "")
        for state in ("DELETING", "DELETED")
    },
    "lost response, then 404": (OWN, [FOUND, NO_RESPONSE, GONE], [GET, DELETE, GET], "deleted", ""),
    "lost response, then 404 to the DELETE": (
        OWN, [FOUND, UNAVAILABLE, FOUND, GONE], [GET, DELETE, GET, DELETE], "deleted", "",
    ),
    "lost response, unavailable, then 404": (
        OWN, [FOUND, NO_RESPONSE, UNAVAILABLE, GONE], [GET, DELETE, GET, GET], "deleted", "",
    ),
    "not carried out, then deleted": (OWN, [FOUND, RATE_LIMITED, found("DELETED")], [GET, DELETE, GET], "gone", ""),
    "not sent, then 404": (OWN, [FOUND, UNREACHABLE, GONE], [GET, DELETE, GET], "gone", ""),
    # Refusals.
    "refused": (OWN, [FOUND, REFUSED, FOUND], [GET, DELETE, GET], "left", "it has served recently"),
    "refused for good": (OWN | FOR_GOOD, [FOUND, REFUSED, FOUND], [GET, HARD, GET], "left", "recently"),
    "refused, then unavailable": (OWN, [FOUND, REFUSED, UNAVAILABLE], [GET, DELETE, GET], "left", "recently"),
    "refused, then being deleted": (OWN, [FOUND, REFUSED, found("DELETING")], [GET, DELETE, GET], "gone", "already"),
    "refused, then 404": (OWN, [FOUND, REFUSED, GONE], [GET, DELETE, GET], "gone", "any more"),
    "refused, then not own": (OWN, [FOUND, REFUSED, found(owner=OTHER)], [GET, DELETE, GET], "spared", ""),
    "denied, delete, refused": (BY_NAME, [DENIED, REFUSED, DENIED], [GET, "DELETE", GET], "left", "recently"),
    "refused to read": (OWN, [REFUSED, REFUSED], [GET, GET], "left", "recently"),
    "insist": (
        OWN | INSIST, [FOUND, REFUSED, LATER, REFUSED, FOUND, DELETED], [GET, DELETE] * 3, "deleted", "",
    ),
    "insist, softly after a refusal": (
        OWN | INSIST | FOR_GOOD, [FOUND, REFUSED, FOUND, DELETED], [GET, HARD, GET, DELETE], "deleted", "",
    ),
    "insist, for good over transient errors": (
        OWN | INSIST | FOR_GOOD, [FOUND, UNAVAILABLE, FOUND, DELETED], [GET, HARD, GET, HARD], "deleted", "",
    ),
    "insist, then being deleted": (
        OWN | INSIST, [FOUND, REFUSED, found("DELETING")], [GET, DELETE, GET], "gone", "already",
    ),
    "insist, then 404": (OWN | INSIST, [FOUND, REFUSED, GONE], [GET, DELETE, GET], "gone", "any more"),
    "insist, then not own": (
        OWN | INSIST, [FOUND, REFUSED, found(owner=OTHER)], [GET, DELETE, GET], "spared", "",
    ),
    "insist, refused to read": (
        OWN | INSIST, [REFUSED, FOUND, DELETED], [GET, GET, DELETE], "deleted", "",
    ),
    # The state of the task.
    **{
        f"task is {state}": (OWN | CHECK_TASK, [FOUND, state, DELETED], [GET, STATE, DELETE], "deleted", "")
        for state in ("failed", "skipped", "upstream_failed", "removed", "absent")
    },
    **{
        f"task is {state}": (
            OWN | CHECK_TASK, [FOUND, state], [GET, STATE], "spared", f"the state of its task is {state}",
        )
        for state in ("success", "running", "deferred", "queued", "scheduled", "up_for_retry", "none", "new")
    },
    "no state of the task": (
        OWN | CHECK_TASK, [FOUND, None], [GET, STATE], "left", "Airflow did not say whether",
    ),
    "not own, no query of the state": (OWN | CHECK_TASK, [found(owner=OTHER)], [GET], "spared", "belong"),
    "404, no query of the state": (OWN | CHECK_TASK, [GONE], [GET], "gone", ""),
    "already deleted, no query of the state": (OWN | CHECK_TASK, [found("DELETED")], [GET], "gone", ""),
    "denied, query of the state": (
        IF_DENIED | CHECK_TASK,
        [DENIED, "failed", DELETED],
        [GET, STATE, DELETE],
        "deleted",
        "",
    ),
    "cleared between two attempts": (
        OWN | CHECK_TASK,
        [FOUND, "failed", UNAVAILABLE, FOUND, "queued"],
        [GET, STATE, DELETE, GET, STATE],
        "spared",
        "the state of its task is queued",
    ),
    "no state before the second attempt": (
        OWN | CHECK_TASK, [FOUND, "failed", UNAVAILABLE, FOUND, None], [GET, STATE, DELETE, GET, STATE], "left", "",
    ),
    "cleared after a refusal": (
        OWN | CHECK_TASK | INSIST,
        [FOUND, "failed", REFUSED, FOUND, "running"],
        [GET, STATE, DELETE, GET, STATE],
        "spared",
        "the state of its task is running",
    ),
    "failed at both attempts": (
        OWN | CHECK_TASK,
        [FOUND, "failed", UNAVAILABLE, FOUND, "removed", DELETED],
        [GET, STATE, DELETE, GET, STATE, DELETE],
        "deleted",
        "",
    ),
}  # fmt: skip


@pytest.mark.parametrize(("options", "replies", "steps", "status", "note"), ROWS.values(), ids=ROWS)
def test_removal_steps_and_result_follow_table(
    options: Options, replies: list[Any], steps: list[str], status: str, note: str
) -> None:
    driven = drive(replies, **options)
    result = driven.result
    assert (driven.steps, result.status) == (steps, status)
    assert note in result.note
    assert str(NAME) in result.note
    # Somebody must be alerted to what is left, and to nothing else.
    assert (MONEY in result.note) is (status == "left")
    assert ("FireworksSweepDeploymentsOperator" in result.note) is (status == "left")
    if status != "left" or replies[-1] is None:
        assert result.error is None
    else:
        assert result.error in [reply for reply in replies if isinstance(reply, ApiError)]
        assert str(result.error) in result.note


# ---- how long

DELAYS = [1.0, 1.0, 2.0, 4.0, 8.0, 8.0]


def repeat(*replies: Any) -> Iterator[Any]:
    while True:
        yield from replies


@pytest.mark.parametrize("error", TRANSIENT, ids=lambda error: type(error).__name__)
@pytest.mark.parametrize("timeout", [0.0, 0.5, 3.0, 60.0, 600.0])
@pytest.mark.parametrize("is_read", [True, False], ids=["GET succeeds", "GET fails"])
def test_removal_over_transient_errors_ends_by_timeout(
    error: ApiError, timeout: float, is_read: bool
) -> None:
    driven = drive(repeat(FOUND, error) if is_read else repeat(error), timeout=timeout, **OWN)
    assert (driven.result.status, driven.result.error) == ("left", error)
    assert sum(driven.delays) == pytest.approx(timeout)
    # The last attempt is made when the time is over, however long the delay before it would have been.
    assert driven.delays[:-1] == (DELAYS + [MAX_DELAY] * 100)[: max(len(driven.delays) - 1, 0)]
    assert driven.steps.count(GET) == len(driven.delays) + 1


def test_removal_delays_grow_over_different_errors() -> None:
    replies = [UNAVAILABLE, FOUND, NO_RESPONSE, UNREACHABLE, RATE_LIMITED, FOUND]
    driven = drive([*replies, UNAVAILABLE, UNAVAILABLE, FOUND, DELETED], **OWN)
    assert driven.delays == DELAYS
    assert driven.result.status == "deleted"


@pytest.mark.parametrize("random", [0.0, 0.5, 0.999])
def test_removal_delays_have_jitter_within_bounds(monkeypatch: pytest.MonkeyPatch, random: float) -> None:
    monkeypatch.setattr(removal.random, "random", lambda: random)
    delays = drive(repeat(UNAVAILABLE), timeout=200.0).delays[:-1]
    assert all(MIN_DELAY <= delay <= MAX_DELAY for delay in delays)
    assert delays[-1] == pytest.approx(MAX_DELAY * (1 - random / 4))


@pytest.mark.parametrize(
    ("retry_after", "timeout", "delay"),
    [(0.2, 60.0, 1.0), (5.0, 60.0, 5.0), (45.0, 60.0, 45.0), (45.0, 3.0, 3.0)],
)
def test_removal_respects_retry_after_within_timeout(
    retry_after: float, timeout: float, delay: float
) -> None:
    limited = RateLimitedError("slow down", status=429, retry_after=retry_after)
    for replies in ([limited, FOUND, DELETED], [FOUND, limited, FOUND, DELETED]):
        driven = drive(replies, timeout=timeout, **OWN)
        assert (driven.delays, driven.result.status) == ([delay], "deleted")


def test_removal_that_insists_ends_by_timeout() -> None:
    driven = drive(repeat(FOUND, REFUSED), timeout=25.0, **OWN | INSIST | FOR_GOOD)
    assert (driven.result.status, driven.result.error) == ("left", REFUSED)
    assert sum(driven.delays) == pytest.approx(25.0)
    assert driven.steps[:4] == [GET, HARD, GET, DELETE]
    assert HARD not in driven.steps[2:]


def test_removal_reads_again_once_after_refusal() -> None:
    assert drive([FOUND, REFUSED, FOUND], **OWN).delays == [MIN_DELAY]


def test_removal_refused_when_time_is_over_ends_at_once() -> None:
    driven = drive([FOUND, REFUSED], timeout=0.0, **OWN)
    assert (driven.delays, driven.result.status, driven.result.error) == ([], "left", REFUSED)


@pytest.mark.parametrize("unread", ["keep", "delete if denied"])
@pytest.mark.parametrize(("timeout", "waits"), [(0.0, 0.0), (3.0, 3.0), (60.0, LAG), (600.0, LAG)])
def test_removal_waits_for_what_may_be_invisible(unread: str, timeout: float, waits: float) -> None:
    driven = drive(repeat(GONE), timeout=timeout, unread=unread, **OWN | INVISIBLE)
    assert set(driven.steps) == {GET}
    assert (driven.result.status, driven.result.error) == ("left", None)
    assert "may still appear" in driven.result.note
    assert waits <= sum(driven.delays) <= min(waits + MAX_DELAY, timeout)


def test_removal_waits_for_what_may_be_invisible_over_transient_errors() -> None:
    driven = drive([UNAVAILABLE, GONE, NO_RESPONSE, GONE, FOUND, DELETED], **OWN | INVISIBLE)
    assert driven.result.status == "deleted"
    assert driven.delays == DELAYS[:4]


def test_removal_does_not_wait_for_what_it_has_found() -> None:
    driven = drive([GONE, FOUND, RATE_LIMITED, GONE], **OWN | INVISIBLE)
    assert (driven.result.status, driven.delays) == ("gone", DELAYS[:2])


# ---- what the caller decides


def test_removal_asks_for_owner_and_checks_before_each_attempt() -> None:
    queries: list[tuple[str, Deployment]] = []

    def is_own(read: Deployment) -> bool:
        queries.append(("is_own", read))
        return True

    def ignore_checks(read: Deployment) -> bool:
        queries.append(("ignore_checks", read))
        return read is LATER

    driven = drive([FOUND, UNAVAILABLE, LATER, DELETED], may_delete=is_own, ignore_checks=ignore_checks)
    assert queries == [
        ("is_own", FOUND),
        ("ignore_checks", FOUND),
        ("is_own", LATER),
        ("ignore_checks", LATER),
    ]
    assert driven.steps == [GET, "DELETE", GET, DELETE]


@pytest.mark.parametrize("reply", [GONE, DENIED, UNAVAILABLE])
@pytest.mark.parametrize("unread", ["keep", "delete if denied", "delete"])
def test_removal_does_not_ask_for_owner_of_what_it_could_not_read(reply: ApiError, unread: str) -> None:
    def is_own(read: Deployment) -> bool:
        raise AssertionError("nothing was read")

    def ignore_checks(read: Deployment | None) -> bool:
        assert read is None
        return False

    driven = drive(repeat(reply), timeout=0.0, may_delete=is_own, ignore_checks=ignore_checks, unread=unread)
    assert driven.result.status in ("gone", "left")
