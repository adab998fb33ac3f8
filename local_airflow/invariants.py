"""What must hold of deployments whatever is killed or frozen, judged from what the API and Airflow say."""

from __future__ import annotations

import itertools
import threading
import time
from collections import Counter
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Literal, Protocol

from airflow_provider_fireworks.deployments.ownership import Owner

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping, Sequence

    from local_airflow.api import TaskInstance

#: Stands among a deployment's states where another one of the same name begins.
_ANEW = "made anew"
_GONE = frozenset({"DELETING", "DELETED", _ANEW})

Kind = Literal["deleted", "doubled", "left", "not ready", "unsigned", "unexpected", "unfinished"]


class Gateway(Protocol):
    """What is asked of the emulated API."""

    @property
    def creations(self) -> Sequence[Any]: ...

    @property
    def deployments(self) -> list[dict[str, Any]]: ...


@dataclass(frozen=True)
class Violation:
    """
    Something that must not be.

    :param run_id: the DAG run that it was seen in.
    :param task: the task, with its map index.
    :param seen: what was seen, for people.
    """

    kind: Kind
    run_id: str
    task: str
    seen: str

    def __str__(self) -> str:
        return f"{self.kind.upper()}: {' '.join(filter(None, [self.run_id, self.task]))}: {self.seen}"


@dataclass
class Seen:
    """What has been seen of one deployment."""

    name: str
    identity: Owner | None
    precision: str
    created: str
    states: list[str] = field(default_factory=list)
    #: When it was seen that it had been deleted without having failed, in seconds since 1970.
    deletions: list[float] = field(default_factory=list)

    @property
    def was_ready(self) -> bool:
        """Whether the last one of this name was."""
        return "READY" in "/".join(self.states).rsplit(_ANEW)[-1].split("/")

    @property
    def living(self) -> bool:
        return self.states[-1] != "DELETED"

    @property
    def brought_back(self) -> bool:
        """Whether it has been undeleted."""
        return any(
            before == "DELETED" and after not in _GONE for before, after in itertools.pairwise(self.states)
        )

    def change(self, state: str, now: float) -> None:
        """Note a state, if it is a new one."""
        last = self.states[-1] if self.states else None
        if state in _GONE and last not in _GONE and last != "FAILED":
            self.deletions.append(now)
        if state != last:
            self.states.append(state)


class Witness:
    """
    Looks at the API's deployments all the time, and says what must not have been.

    :param emulator: where they are.
    :param dag_id: the DAG that creates them.
    :param grace: seconds between the end of a run and the time when nothing of it may be left.
    :param failing: precisions whose deployments fail. A failed deployment may be deleted at any time, and can be
        gone before it is seen to be FAILED.
    """

    def __init__(
        self, emulator: Gateway, dag_id: str, *, grace: float = 5, failing: Collection[str] = ()
    ) -> None:
        self._emulator = emulator
        self._dag_id = dag_id
        self._grace = grace
        self._failing = failing
        self._deployments: dict[str, Seen] = {}
        self._ended: dict[str, float] = {}
        self._violations: dict[tuple[Kind, str], Violation] = {}
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None
        self._failure: Exception | None = None

    @property
    def violations(self) -> list[Violation]:
        """All of them, in the order in which they were seen."""
        with self._lock:
            return list(self._violations.values())

    def start(self, every: float = 0.7) -> None:
        """
        Begin to look, in a thread.

        :param every: seconds between two looks. A deployment is READY for longer than that.
        """

        def run() -> None:
            try:
                while not self._stop.wait(every):
                    self.look()
            except Exception as error:
                self._failure = error

        self._thread = threading.Thread(target=run, name="witness", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Look no more."""
        self._stop.set()
        if self._thread is not None:
            self._thread.join()
            self._thread = None

    def check(self) -> None:
        """Raise what has ended the thread, if anything has: then nobody has looked since."""
        if self._failure is not None:
            raise self._failure

    def look(self) -> None:
        """Look once."""
        # Under the lock, so that what one thread has read does not count after what another one has read later.
        with self._lock:
            found = self._emulator.deployments
            # Read after the states, so that a deletion is never noted earlier than it happened.
            now = time.time()
            unseen = self._deployments.keys() - {str(payload["name"]) for payload in found}
            for payload in found:
                self._note(str(payload["name"]), payload, now)
            for name in unseen:  # Purged, which is as good as deleted.
                self._deployments[name].change("DELETED", now)
            self._judge_doubled(found)
            self._judge_left(time.monotonic())
            self._judge_brought_back()

    def living(self) -> int:
        """Return how many deployments there are that are not deleted."""
        with self._lock:
            return sum(seen.living for seen in self._deployments.values())

    def end_of_run(
        self,
        run_id: str,
        state: str,
        tasks: Iterable[TaskInstance],
        *,
        fails: bool,
        removals: Mapping[str, float] | None = None,
    ) -> None:
        """
        Take note that a run has ended, and judge its successes and deletions.

        :param state: of the run.
        :param tasks: of the run.
        :param fails: whether one of its deployments fails, so that the run must not succeed.
        :param removals: the names of its ``remove`` tasks, with the time when the first try of each started, in
            seconds since 1970. The deletion of a deployment that has none is not judged.
        """
        self.look()
        with self._lock:
            self._ended[run_id] = time.monotonic()
            tasks = list(tasks)
            for task in tasks:
                self._judge_success(task)
            self._judge_deletions(run_id, removals or {})
            if fails and state == "success":
                self._add("not ready", run_id, "", "it succeeded with a deployment that fails", run_id)
            if not fails and state != "success":
                ends = ", ".join(
                    f"{task.name} {task.state} at try {task.try_number}"
                    for task in tasks
                    if task.state not in ("success", "upstream_failed")
                )
                self._add("unexpected", run_id, "", f"it {state} with nothing in its way: {ends}", run_id)

    def unfinished(self, run_id: str, seen: str) -> None:
        """Take note of a run that does not come to an end."""
        with self._lock:
            self._add("unfinished", run_id, "", seen, run_id)

    def finish(self) -> None:
        """Judge what can be judged at the end only."""
        self.look()
        with self._lock:
            for made in self._emulator.creations:
                name = f"accounts/{made.account}/deployments/{made.deployment}"
                if name not in self._deployments:
                    self._add("unsigned", "", name, "created, and gone before it was seen", name)

    def _note(self, name: str, payload: dict[str, Any], now: float) -> None:
        seen = self._deployments.get(name)
        if seen is None:
            identity = Owner.from_description(payload.get("description"))
            if identity is not None and identity.dag_id != self._dag_id:
                identity = None
            created = str(payload["createTime"])
            seen = self._deployments[name] = Seen(name, identity, str(payload.get("precision")), created)
            if identity is None:
                told = f"its description is {payload.get('description')!r}"
                self._add("unsigned", "", name, told, name)
        elif seen.created != payload["createTime"]:
            seen.created = str(payload["createTime"])
            seen.change(_ANEW, now)
        seen.change(str(payload["state"]), now)

    def _judge_doubled(self, found: Sequence[dict[str, Any]]) -> None:
        of_task: dict[tuple[str, str], list[Seen]] = {}
        for seen in self._deployments.values():
            if seen.identity is not None:
                of_task.setdefault(_whose(seen), []).append(seen)
        # One that is made anew has its old name. Any other name is a second deployment, even if it comes later.
        for (run_id, task), several in of_task.items():
            if len(several) > 1:
                told = ", ".join(map(_history, several))
                self._add("doubled", run_id, task, told, f"{run_id} {task}")
        for name, times in Counter(str(payload["name"]) for payload in found).items():
            if times > 1:
                run_id, task = _whose(self._deployments[name])
                self._add("doubled", run_id, task, f"{times} of the name {name} at once", name)

    def _judge_left(self, now: float) -> None:
        for seen in self._deployments.values():
            if not seen.living or seen.identity is None:
                continue
            ended = self._ended.get(seen.identity.run_id)
            if ended is not None and now - ended > self._grace:
                told = f"{_history(seen)} {now - ended:.0f} s after the run's end"
                self._add("left", *_whose(seen), told, seen.name)

    def _judge_brought_back(self) -> None:
        for seen in self._deployments.values():
            if seen.brought_back:
                told = f"brought back after its deletion: {_history(seen)}"
                self._add("deleted", *_whose(seen), told, seen.name)

    def _judge_deletions(self, run_id: str, removals: Mapping[str, float]) -> None:
        for seen in self._deployments.values():
            if seen.identity is None or seen.identity.run_id != run_id or seen.precision in self._failing:
                continue
            group = seen.identity.task_id.rpartition(".")[0]
            removal = _task(replace(seen.identity, task_id=f"{group}.remove"))
            for deleted in seen.deletions:
                if deleted < removals.get(removal, 0):
                    told = f"deleted before {removal} started: {_history(seen)}"
                    self._add("deleted", *_whose(seen), told, seen.name)

    def _judge_success(self, task: TaskInstance) -> None:
        waited = task.task_id.rsplit(".", 1)
        if task.state != "success" or waited[-1] not in ("up", "deploy") or task.task_id == "serve.deploy":
            return
        creator = (f"{waited[0]}.deploy", task.map_index)
        of_task = [
            seen
            for seen in self._deployments.values()
            if seen.identity is not None
            and seen.identity.run_id == task.run_id
            and (seen.identity.task_id, seen.identity.map_index) == creator
        ]
        if not any(seen.was_ready for seen in of_task):
            told = ", ".join(map(_history, of_task)) or "no deployment at all"
            self._add(
                "not ready", task.run_id, task.name, f"success with {told}", f"{task.run_id} {task.name}"
            )

    def _add(self, kind: Kind, run_id: str, task: str, seen: str, about: str) -> None:
        self._violations.setdefault((kind, about), Violation(kind, run_id, task, seen))


def _task(identity: Owner) -> str:
    return identity.task_id if identity.map_index < 0 else f"{identity.task_id}[{identity.map_index}]"


def _whose(seen: Seen) -> tuple[str, str]:
    return ("", seen.name) if seen.identity is None else (seen.identity.run_id, _task(seen.identity))


def _history(seen: Seen) -> str:
    return f"{seen.name.rsplit('/', 1)[-1]} at {seen.precision} ({' → '.join(seen.states)})"
