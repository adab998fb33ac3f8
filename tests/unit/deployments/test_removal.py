"""The steps of removing a deployment, driven by hand: no requests, no sleep, a clock that only pauses move."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any, Literal, NamedTuple

import pytest

from airflow_provider_fireworks.client.api import Request
from airflow_provider_fireworks.client.errors import (
    AccessDeniedError,
    ApiError,
    NoResponseError,
    NotFoundError,
    QuotaExceededError,
    RateLimitedError,
    RefusedError,
    UnavailableError,
    UnreachableError,
)
from airflow_provider_fireworks.client.names import DeploymentName
from airflow_provider_fireworks.client.resources import Deployment
from airflow_provider_fireworks.deployments import removal
from airflow_provider_fireworks.deployments.creation import START_LAG
from airflow_provider_fireworks.deployments.ownership import Owner
from airflow_provider_fireworks.deployments.removal import (
    FIRST_PAUSE,
    LONGEST_PAUSE,
    MONEY,
    GetTaskState,
    RemovalResult,
    Sleep,
    remove,
)

NAME = DeploymentName("demo", "d")
ME = Owner("my_dag", "manual__1", "deploy")
OTHER = replace(ME, task_id="another")


@pytest.fixture(autouse=True)
def no_jitter(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(removal.random, "random", lambda: 0.0)


UNEXPECTED = object()


class Taken(NamedTuple):
    """The steps that a removal has taken, and how it ended."""

    steps: list[str]
    pauses: list[float]
    end: RemovalResult


def drive(replies: Iterator[Any] | list[Any], **options: Any) -> Taken:
    """Take the steps of a removal, with a reply for each request and each question; all of a list are used up."""
    clock = 1000.0
    if options.get("unread") == "delete":
        # As the delete operator has it: what could not be read may be in use.
        options = {"ignore_checks": lambda found: found is not None, **options}
    steps = remove(NAME, **{"seconds": 60.0, "now": lambda: clock, **options})
    given = iter(replies)
    taken: list[str] = []
    pauses: list[float] = []
    reply: Any = None
    while True:
        try:
            step = steps.send(reply)
        except StopIteration as ended:
            end: RemovalResult = ended.value
            break
        if isinstance(step, Sleep):
            pauses.append(step.seconds)
            clock += step.seconds
            reply = None
            continue
        taken.append(shown(step))
        assert len(taken) < 500, "it does not end"
        reply = next(given, UNEXPECTED)
        assert reply is not UNEXPECTED, f"no reply is left for {taken}"
    assert not isinstance(replies, list) or next(given, UNEXPECTED) is UNEXPECTED, "it ended early"
    return Taken(taken, pauses, end)


def shown(step: Request[Any] | GetTaskState) -> str:
    """Return a step in short: ``GET``, ``DELETE`` with its query, or ``ask``."""
    if isinstance(step, GetTaskState):
        return "ask"
    assert step.path == f"v1/{NAME}"
    assert set(step.query.values()) <= {"true"}
    return " ".join([step.verb, *sorted(step.query)])


def found(state: str | None = "READY", owner: Owner = ME) -> Deployment:
    return Deployment(name=str(NAME), state=state, description=owner.description)


MINE = found()
LATER = found("UPDATING")
DELETED: None = None
"""The API's response to a ``DELETE`` that worked."""
GONE = NotFoundError("resource not found", status=404)
DENIED = AccessDeniedError("may not", status=403)
BAD_KEY = AccessDeniedError("bad key", status=401)
REFUSED = RefusedError("it has served lately", status=400, code="FAILED_PRECONDITION")
AWAY = UnavailableError("bad emulator", status=502)
UNREACHABLE = UnreachableError("connection refused")
LOST = NoResponseError("cut off")
SLOW_DOWN = RateLimitedError("slow down", status=429)
NO_QUOTA = QuotaExceededError("quota", status=429)
BROKEN = ApiError("the list does not end")
TRANSIENT = [AWAY, UNREACHABLE, LOST, SLOW_DOWN]

OWN = {"is_own": lambda read: ME.created(read.description)}
CHECKED = {"ignore_checks": lambda read: False}
Ending = Literal["deleted", "gone", "kept", "left"]

GET, DELETE, ASK = "GET", "DELETE ignoreChecks", "ask"
HARD = "DELETE hard ignoreChecks"

# The options, the replies → the steps, how it ends, what the note says.
ROWS: dict[str, tuple[dict[str, Any], list[Any], list[str], Ending, str]] = {
    # Whose it is.
    "anybody's": ({}, [found(owner=OTHER), DELETED], [GET, DELETE], "deleted", "was deleted."),
    "own": (OWN, [MINE, DELETED], [GET, DELETE], "deleted", "was deleted."),
    "own, for good": (OWN | {"hard": True}, [MINE, DELETED], [GET, HARD], "deleted", "was deleted."),
    "own, checked": (OWN | CHECKED, [MINE, DELETED], [GET, "DELETE"], "deleted", ""),
    "own, checked, for good": (CHECKED | {"hard": True}, [MINE, DELETED], [GET, "DELETE hard"], "deleted", ""),
    "own, failed": (OWN, [found("FAILED"), DELETED], [GET, DELETE], "deleted", ""),
    "own, no state": (OWN, [found(None), DELETED], [GET, DELETE], "deleted", ""),
    "not own": (OWN, [found(owner=OTHER)], [GET], "kept", "does not belong to this task"),
    "not own, for good": (OWN | {"hard": True}, [found(owner=OTHER)], [GET], "kept", "Not deleting"),
    "not own, insisting": (OWN | {"insist": True}, [found(owner=OTHER)], [GET], "kept", "Not deleting"),
    "not own, already deleted": (OWN, [found("DELETED", OTHER)], [GET], "kept", "does not belong"),
    "adopted from an earlier run": (OWN, [found(owner=replace(ME, kept=True))], [GET], "kept", "Not deleting"),
    "own at first, then adopted": (OWN, [MINE, AWAY, found(owner=OTHER)], [GET, DELETE, GET], "kept", "Not deleting"),
    "own, unreadable at first, then not own": (OWN, [AWAY, found(owner=OTHER)], [GET, GET], "kept", ""),
    # What is deleted already.
    "being deleted": (OWN, [found("DELETING")], [GET], "gone", "was deleted already"),
    "deleted already": (OWN, [found("DELETED")], [GET], "gone", "was deleted already"),
    "deleted already, for good": (OWN | {"hard": True}, [found("DELETED")], [GET], "gone", "already"),
    "being deleted, to be purged": ({"hard": True, "purge": True}, [found("DELETING")], [GET], "gone", "already"),
    "deleted already, to be purged": (
        {"hard": True, "purge": True}, [found("DELETED"), DELETED], [GET, HARD], "deleted", "",
    ),
    "deleted already, purge without hard": ({"purge": True}, [found("DELETED")], [GET], "gone", "already"),
    "not own, to be purged": (
        OWN | {"hard": True, "purge": True}, [found("DELETED", OTHER)], [GET], "kept", "does not belong",
    ),
    "deleted already, purging refused": (
        {"hard": True, "purge": True}, [found("DELETED"), REFUSED, found("DELETED")], [GET, HARD, GET], "gone", "",
    ),
    # A 404.
    "none": (OWN, [GONE], [GET], "gone", "does not exist."),
    "none, keep": ({"unread": "keep"}, [GONE], [GET], "gone", "does not exist."),
    "none, delete if denied": ({"unread": "delete if denied"}, [GONE], [GET], "gone", "does not exist."),
    "none, by its name": ({"unread": "delete"}, [GONE, GONE], [GET, "DELETE"], "gone", "any more"),
    "not shown, by its name": ({"unread": "delete"}, [GONE, DELETED], [GET, "DELETE"], "deleted", ""),
    "not shown, by its name, for good": (
        {"unread": "delete", "hard": True}, [GONE, DELETED], [GET, "DELETE hard"], "deleted", "",
    ),
    "not shown yet, then there": (
        OWN | {"may_be_invisible": True}, [GONE, GONE, MINE, DELETED], [GET, GET, GET, DELETE], "deleted", "",
    ),
    "not shown yet, then another's": (
        OWN | {"may_be_invisible": True}, [GONE, found(owner=OTHER)], [GET, GET], "kept", "",
    ),
    "shown once, then none": (OWN | {"may_be_invisible": True}, [MINE, SLOW_DOWN, GONE], [GET, DELETE, GET], "gone", ""),
    # 401 and 403.
    "denied": (OWN, [DENIED], [GET], "left", "may not"),
    "bad key": (OWN, [BAD_KEY], [GET], "left", "bad key"),
    "denied, may yet appear": (OWN | {"may_be_invisible": True}, [DENIED], [GET], "left", "may not"),
    "denied, insisting": (OWN | {"insist": True}, [DENIED], [GET], "left", "may not"),
    "denied to read only": ({"unread": "delete if denied"}, [DENIED, DELETED], [GET, DELETE], "deleted", ""),
    "denied to read only, for good": (
        {"unread": "delete if denied", "hard": True}, [BAD_KEY, DELETED], [GET, HARD], "deleted", "",
    ),
    "denied to read and delete": (
        {"unread": "delete if denied"}, [DENIED, BAD_KEY], [GET, DELETE], "left", "bad key",
    ),
    "denied to read, none": ({"unread": "delete if denied"}, [DENIED, GONE], [GET, DELETE], "gone", "any more"),
    "denied to read, created just now and not visible yet": (
        {"unread": "delete if denied", "may_be_invisible": True},
        [DENIED, GONE, DENIED, DELETED],
        [GET, DELETE, GET, DELETE],
        "deleted",
        "",
    ),
    "denied to read, by its name": ({"unread": "delete"}, [DENIED, DELETED], [GET, "DELETE"], "deleted", ""),
    "denied both, by its name": ({"unread": "delete"}, [DENIED, DENIED], [GET, "DELETE"], "left", "may not"),
    "denied to delete": (OWN, [MINE, DENIED], [GET, DELETE], "left", "may not"),
    "denied to delete, insisting": (OWN | {"insist": True}, [MINE, DENIED], [GET, DELETE], "left", "may not"),
    # Transient errors.
    **{
        f"{type(error).__name__} to the GET": (OWN, [error, MINE, DELETED], [GET, GET, DELETE], "deleted", "")
        for error in TRANSIENT
    },
    **{
        f"{type(error).__name__} to the DELETE": (
            OWN, [MINE, error, MINE, DELETED], [GET, DELETE, GET, DELETE], "deleted", "",
        )
        for error in TRANSIENT
    },
    "404 to the first DELETE": (OWN, [MINE, GONE], [GET, DELETE], "gone", "any more"),
    "other errors to the GET": (OWN, [BROKEN], [GET], "left", "does not end"),
    "no quota for the GET": (OWN, [NO_QUOTA], [GET], "left", "quota"),
    "other errors to the DELETE": (OWN, [MINE, BROKEN], [GET, DELETE], "left", "does not end"),
    # A DELETE whose outcome is unknown.
    **{
        f"lost response, then {state}": (OWN, [MINE, LOST, found(state)], [GET, DELETE, GET], "deleted", "")
        for state in ("DELETING", "DELETED")
    },
    "lost response, then none": (OWN, [MINE, LOST, GONE], [GET, DELETE, GET], "deleted", ""),
    "lost response, then none to the DELETE": (
        OWN, [MINE, AWAY, MINE, GONE], [GET, DELETE, GET, DELETE], "deleted", "",
    ),
    "lost response, still unreadable, then none": (
        OWN, [MINE, LOST, AWAY, GONE], [GET, DELETE, GET, GET], "deleted", "",
    ),
    "not resume_state out, then deleted": (OWN, [MINE, SLOW_DOWN, found("DELETED")], [GET, DELETE, GET], "gone", ""),
    "not sent, then none": (OWN, [MINE, UNREACHABLE, GONE], [GET, DELETE, GET], "gone", ""),
    # Refusals.
    "refused": (OWN, [MINE, REFUSED, MINE], [GET, DELETE, GET], "left", "it has served lately"),
    "refused for good": (OWN | {"hard": True}, [MINE, REFUSED, MINE], [GET, HARD, GET], "left", "lately"),
    "refused, then unreadable": (OWN, [MINE, REFUSED, AWAY], [GET, DELETE, GET], "left", "lately"),
    "refused, since being deleted": (OWN, [MINE, REFUSED, found("DELETING")], [GET, DELETE, GET], "gone", "already"),
    "refused, then none": (OWN, [MINE, REFUSED, GONE], [GET, DELETE, GET], "gone", "any more"),
    "refused, then another's": (OWN, [MINE, REFUSED, found(owner=OTHER)], [GET, DELETE, GET], "kept", ""),
    "refused by its name": ({"unread": "delete"}, [DENIED, REFUSED, DENIED], [GET, "DELETE", GET], "left", "lately"),
    "refused to read": (OWN, [REFUSED, REFUSED], [GET, GET], "left", "lately"),
    "insisting": (
        OWN | {"insist": True}, [MINE, REFUSED, LATER, REFUSED, MINE, DELETED], [GET, DELETE] * 3, "deleted", "",
    ),
    "insisting, softly after a refusal": (
        OWN | {"insist": True, "hard": True}, [MINE, REFUSED, MINE, DELETED], [GET, HARD, GET, DELETE], "deleted", "",
    ),
    "insisting, hard over transient errors": (
        OWN | {"insist": True, "hard": True}, [MINE, AWAY, MINE, DELETED], [GET, HARD, GET, HARD], "deleted", "",
    ),
    "insisting, then being deleted": (
        OWN | {"insist": True}, [MINE, REFUSED, found("DELETING")], [GET, DELETE, GET], "gone", "already",
    ),
    "insisting, then none": (OWN | {"insist": True}, [MINE, REFUSED, GONE], [GET, DELETE, GET], "gone", "any more"),
    "insisting, then another's": (
        OWN | {"insist": True}, [MINE, REFUSED, found(owner=OTHER)], [GET, DELETE, GET], "kept", "",
    ),
    "insisting, refused to read": (
        OWN | {"insist": True}, [REFUSED, MINE, DELETED], [GET, GET, DELETE], "deleted", "",
    ),
    # What Airflow says.
    **{
        f"its task is {state}": (OWN | {"check_task": True}, [MINE, state, DELETED], [GET, ASK, DELETE], "deleted", "")
        for state in ("failed", "skipped", "upstream_failed", "removed", "absent")
    },
    **{
        f"its task is {state}": (OWN | {"check_task": True}, [MINE, state], [GET, ASK], "kept", f"its task is {state}")
        for state in ("success", "running", "deferred", "queued", "scheduled", "up_for_retry", "none", "new")
    },
    "Airflow does not answer": (
        OWN | {"check_task": True}, [MINE, None], [GET, ASK], "left", "Airflow did not say whether",
    ),
    "not own, so Airflow is not asked": (OWN | {"check_task": True}, [found(owner=OTHER)], [GET], "kept", "belong"),
    "none, so Airflow is not asked": (OWN | {"check_task": True}, [GONE], [GET], "gone", ""),
    "deleted, so Airflow is not asked": (OWN | {"check_task": True}, [found("DELETED")], [GET], "gone", ""),
    "unread, and Airflow is asked": (
        {"unread": "delete if denied", "check_task": True},
        [DENIED, "failed", DELETED],
        [GET, ASK, DELETE],
        "deleted",
        "",
    ),
    "cleared between two attempts": (
        OWN | {"check_task": True},
        [MINE, "failed", AWAY, MINE, "queued"],
        [GET, ASK, DELETE, GET, ASK],
        "kept",
        "its task is queued",
    ),
    "Airflow goes between two attempts": (
        OWN | {"check_task": True}, [MINE, "failed", AWAY, MINE, None], [GET, ASK, DELETE, GET, ASK], "left", "",
    ),
    "cleared after a refusal": (
        OWN | {"check_task": True, "insist": True},
        [MINE, "failed", REFUSED, MINE, "running"],
        [GET, ASK, DELETE, GET, ASK],
        "kept",
        "its task is running",
    ),
    "failed at both attempts": (
        OWN | {"check_task": True},
        [MINE, "failed", AWAY, MINE, "removed", DELETED],
        [GET, ASK, DELETE, GET, ASK, DELETE],
        "deleted",
        "",
    ),
}  # fmt: skip


@pytest.mark.parametrize(("options", "replies", "steps", "status", "told"), ROWS.values(), ids=ROWS)
def test_removal_takes_these_steps(
    options: dict[str, Any], replies: list[Any], steps: list[str], status: Ending, told: str
) -> None:
    taken = drive(replies, **options)
    assert (taken.steps, taken.end.status) == (steps, status)
    assert told in taken.end.note
    assert str(NAME) in taken.end.note
    # A person must know of what is left, and of nothing else.
    assert (MONEY in taken.end.note) is (status == "left")
    assert ("FireworksSweepDeploymentsOperator" in taken.end.note) is (status == "left")


@pytest.mark.parametrize(("options", "replies", "steps", "status", "told"), ROWS.values(), ids=ROWS)
def test_removal_leaves_with_the_error_of_a_request(
    options: dict[str, Any], replies: list[Any], steps: list[str], status: Ending, told: str
) -> None:
    error = drive(replies, **options).end.error
    if status != "left" or replies[-1] is None:
        assert error is None
    else:
        assert isinstance(error, ApiError)
        assert error in replies
        assert str(error) in drive(replies, **options).end.note


# ---- how long


PAUSES = [1.0, 1.0, 2.0, 4.0, 8.0, 8.0]


def repeatedly(*replies: Any) -> Iterator[Any]:
    while True:
        yield from replies


@pytest.mark.parametrize("error", TRANSIENT, ids=lambda error: type(error).__name__)
@pytest.mark.parametrize("seconds", [0.0, 0.5, 3.0, 60.0, 600.0])
@pytest.mark.parametrize("read", [True, False], ids=["GET answered", "GET not answered"])
def test_removal_over_transient_errors_ends_by_its_time_limit(
    error: ApiError, seconds: float, read: bool
) -> None:
    taken = drive(repeatedly(MINE, error) if read else repeatedly(error), timeout=seconds, **OWN)
    assert (taken.end.status, taken.end.error) == ("left", error)
    assert sum(taken.pauses) == pytest.approx(seconds)
    # The last attempt is made at the limit, however long the pause before it should have been.
    assert taken.pauses[:-1] == (PAUSES + [LONGEST_PAUSE] * 100)[: max(len(taken.pauses) - 1, 0)]
    assert taken.steps.count(GET) == len(taken.pauses) + 1


def test_removal_pauses_grow_and_go_on_over_changing_errors() -> None:
    replies = [AWAY, MINE, LOST, UNREACHABLE, SLOW_DOWN, MINE, AWAY, AWAY, MINE, DELETED]
    taken = drive(replies, **OWN)
    assert taken.pauses == PAUSES
    assert taken.end.status == "deleted"


@pytest.mark.parametrize("random", [0.0, 0.5, 0.999])
def test_removal_pauses_have_jitter_and_stay_in_bounds(
    monkeypatch: pytest.MonkeyPatch, random: float
) -> None:
    monkeypatch.setattr(removal.random, "random", lambda: random)
    pauses = drive(repeatedly(AWAY), timeout=200.0).pauses[:-1]
    assert all(FIRST_PAUSE <= pause <= LONGEST_PAUSE for pause in pauses)
    assert pauses[-1] == pytest.approx(LONGEST_PAUSE * (1 - random / 4))


@pytest.mark.parametrize(
    ("asked", "seconds", "pauses"),
    [
        (0.2, 60.0, [1.0]),
        (5.0, 60.0, [5.0]),
        (45.0, 60.0, [45.0]),
        (45.0, 3.0, [3.0]),
    ],
)
def test_removal_heeds_retry_after_within_its_time_limit(
    asked: float, seconds: float, pauses: list[float]
) -> None:
    slow_down = RateLimitedError("slow down", status=429, retry_after=asked)
    for replies in ([slow_down, MINE, DELETED], [MINE, slow_down, MINE, DELETED]):
        taken = drive(replies, timeout=seconds, **OWN)
        assert (taken.pauses, taken.end.status) == (pauses, "deleted")


def test_removal_insisting_ends_by_its_time_limit() -> None:
    taken = drive(repeatedly(MINE, REFUSED), timeout=25.0, insist=True, hard=True, **OWN)
    assert (taken.end.status, taken.end.error) == ("left", REFUSED)
    assert sum(taken.pauses) == pytest.approx(25.0)
    assert taken.steps[:4] == [GET, HARD, GET, DELETE]
    assert HARD not in taken.steps[2:]


def test_removal_refused_once_asks_again_after_one_pause() -> None:
    taken = drive([MINE, REFUSED, MINE], **OWN)
    assert taken.pauses == [FIRST_PAUSE]


def test_removal_refused_at_its_time_limit_is_left_at_once() -> None:
    taken = drive([MINE, REFUSED], timeout=0.0, **OWN)
    assert (taken.pauses, taken.end.status, taken.end.error) == ([], "left", REFUSED)


@pytest.mark.parametrize("unread", ["keep", "delete if denied"])
@pytest.mark.parametrize(
    ("seconds", "waits"), [(0.0, 0.0), (3.0, 3.0), (60.0, START_LAG), (600.0, START_LAG)]
)
def test_removal_waits_for_what_may_yet_appear(unread: str, seconds: float, waits: float) -> None:
    taken = drive(repeatedly(GONE), timeout=seconds, may_be_invisible=True, unread=unread, **OWN)
    assert set(taken.steps) == {GET}
    assert (taken.end.status, taken.end.error) == ("left", None)
    assert "it may yet appear" in taken.end.note
    assert waits <= sum(taken.pauses) <= min(waits + LONGEST_PAUSE, seconds)


def test_removal_over_transient_errors_waits_for_what_may_yet_appear() -> None:
    taken = drive([AWAY, GONE, LOST, GONE, MINE, DELETED], may_be_invisible=True, **OWN)
    assert taken.end.status == "deleted"
    assert taken.pauses == PAUSES[:4]


def test_removal_that_saw_it_once_does_not_wait_for_it_to_appear() -> None:
    taken = drive([GONE, MINE, SLOW_DOWN, GONE], may_be_invisible=True, **OWN)
    assert (taken.end.status, taken.pauses) == ("gone", PAUSES[:2])


def test_removal_asks_whose_it_is_and_for_checks_at_each_attempt() -> None:
    asked: list[tuple[str, Deployment]] = []

    def own(read: Deployment) -> bool:
        asked.append(("own", read))
        return True

    def ignore(read: Deployment) -> bool:
        asked.append(("ignore", read))
        return read is LATER

    taken = drive([MINE, AWAY, LATER, DELETED], is_own=own, ignore_checks=ignore)
    assert asked == [("own", MINE), ("ignore", MINE), ("own", LATER), ("ignore", LATER)]
    assert taken.steps == [GET, "DELETE", GET, DELETE]


@pytest.mark.parametrize("reply", [GONE, DENIED, AWAY])
@pytest.mark.parametrize("unread", ["keep", "delete if denied", "delete"])
def test_removal_asks_nothing_of_what_it_could_not_read(reply: ApiError, unread: str) -> None:
    def never(read: Deployment) -> bool:
        raise AssertionError("nothing was read")

    def unknown(read: Deployment | None) -> bool:
        assert read is None
        return False

    taken = drive(repeatedly(reply), timeout=0.0, is_own=never, ignore_checks=unknown, unread=unread)
    assert taken.end.status in ("gone", "left")
