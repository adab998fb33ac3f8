"""What must hold for deployments whatever is killed or frozen, judged by what the API and Airflow report."""

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

#: Entry in a history of states where another deployment of the same name begins.
_RECREATED = "created again"
_GONE = frozenset({"DELETING", "DELETED", _RECREATED})

Kind = Literal["deleted", "duplicate", "orphaned", "not ready", "unsigned", "unexpected", "unfinished"]


class Api(Protocol):
    """The part of the emulator that is read."""

    @property
    def creations(self) -> Sequence[Any]: ...

    @property
    def deployments(self) -> list[dict[str, Any]]: ...


@dataclass(frozen=True)
class Violation:
    """
    An invariant that does not hold.

    :param run_id: of the DAG run, ``""`` if unknown.
    :param subject: the task, with its map index, or a deployment.
    :param text: what was observed.
    """

    kind: Kind
    run_id: str
    subject: str
    text: str

    def __str__(self) -> str:
        return f"{self.kind.upper()}: {' '.join(filter(None, [self.run_id, self.subject]))}: {self.text}"


@dataclass
class History:
    """The states of one deployment so far."""

    name: str
    owner: Owner | None
    precision: str
    created: str
    states: list[str] = field(default_factory=list)
    #: Times in seconds since 1970 at which it was found deleted without having failed.
    deletions: list[float] = field(default_factory=list)

    @property
    def was_ready(self) -> bool:
        """Whether the last deployment of this name has been READY."""
        return "READY" in "/".join(self.states).rsplit(_RECREATED)[-1].split("/")

    @property
    def exists(self) -> bool:
        return self.states[-1] != "DELETED"

    @property
    def was_undeleted(self) -> bool:
        return any(
            before == "DELETED" and after not in _GONE for before, after in itertools.pairwise(self.states)
        )

    def add(self, state: str, now: float) -> None:
        """Record a state, unless it is the last one."""
        last = self.states[-1] if self.states else None
        if state in _GONE and last not in _GONE and last != "FAILED":
            self.deletions.append(now)
        if state != last:
            self.states.append(state)

    def __str__(self) -> str:
        return f"{self.name.rsplit('/', 1)[-1]} at {self.precision} ({' → '.join(self.states)})"


class Monitor:
    """
    Polls the deployments of the API and reports violations.

    :param dag_id: the DAG that creates them.
    :param grace: seconds after the end of a run in which deployments of it may still exist.
    :param failing: precisions whose deployments fail. A failed deployment may be deleted at any time, and can be gone
        before a poll finds it FAILED.
    """

    def __init__(self, api: Api, dag_id: str, *, grace: float = 5, failing: Collection[str] = ()) -> None:
        self._api = api
        self._dag_id = dag_id
        self._grace = grace
        self._failing = failing
        self._histories: dict[str, History] = {}
        self._run_ends: dict[str, float] = {}
        self._violations: dict[tuple[Kind, str], Violation] = {}
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None
        self._error: Exception | None = None

    @property
    def violations(self) -> list[Violation]:
        """All violations so far, the oldest first."""
        with self._lock:
            return list(self._violations.values())

    def start(self, interval: float = 0.7) -> None:
        """
        Poll in a thread, until :meth:`stop`.

        :param interval: seconds. A deployment is READY for longer than that.
        """

        def run() -> None:
            try:
                while not self._stop.wait(interval):
                    self.poll()
            except Exception as error:
                self._error = error

        self._thread = threading.Thread(target=run, name="monitor", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Stop the thread."""
        self._stop.set()
        if self._thread is not None:
            self._thread.join()
            self._thread = None

    def check(self) -> None:
        """Raise the error that ended the thread, if any: nothing has been polled since."""
        if self._error is not None:
            raise self._error

    def poll(self) -> None:
        """Poll once."""
        # Under the lock, so that an older response never counts after a newer one of another thread.
        with self._lock:
            found = self._api.deployments
            # After the states were read, so that no deletion is recorded earlier than it happened.
            now = time.time()
            unseen = self._histories.keys() - {str(payload["name"]) for payload in found}
            for payload in found:
                self._record(str(payload["name"]), payload, now)
            for name in unseen:  # Purged, which is as good as deleted.
                self._histories[name].add("DELETED", now)
            self._judge_duplicates(found)
            self._judge_orphans(time.monotonic())
            self._judge_undeletes()

    def count_existing(self) -> int:
        """Return the number of deployments that are not deleted."""
        with self._lock:
            return sum(history.exists for history in self._histories.values())

    def on_run_finished(
        self,
        run_id: str,
        state: str,
        tasks: Iterable[TaskInstance],
        *,
        fails: bool,
        removals: Mapping[str, float] | None = None,
    ) -> None:
        """
        Judge the successes and the deletions of a run that has finished.

        :param state: of the run.
        :param tasks: of the run.
        :param fails: whether one of its deployments fails, so that the run must not succeed.
        :param removals: start of the first try of each ``remove`` task, in seconds since 1970, by the name of the task.
            The deletion of a deployment without one is not judged.
        """
        self.poll()
        with self._lock:
            self._run_ends[run_id] = time.monotonic()
            tasks = list(tasks)
            for task in tasks:
                self._judge_success(task)
            self._judge_deletions(run_id, removals or {})
            if fails and state == "success":
                self._add("not ready", run_id, "", "succeeded although a deployment fails", key=run_id)
            if not fails and state != "success":
                ends = ", ".join(
                    f"{task.name} {task.state} at try {task.try_number}"
                    for task in tasks
                    if task.state not in ("success", "upstream_failed")
                )
                self._add("unexpected", run_id, "", f"{state} without a reason: {ends}", key=run_id)

    def on_run_unfinished(self, run_id: str, text: str) -> None:
        """Report a run that does not finish."""
        with self._lock:
            self._add("unfinished", run_id, "", text, key=run_id)

    def finish(self) -> None:
        """Judge what can only be judged at the end."""
        self.poll()
        with self._lock:
            for creation in self._api.creations:
                name = f"accounts/{creation.account}/deployments/{creation.deployment}"
                if name not in self._histories:
                    self._add("unsigned", "", name, "created, and gone before a poll found it", key=name)

    def _record(self, name: str, payload: dict[str, Any], now: float) -> None:
        history = self._histories.get(name)
        if history is None:
            owner = Owner.from_description(payload.get("description"))
            if owner is not None and owner.dag_id != self._dag_id:
                owner = None
            created = str(payload["createTime"])
            history = self._histories[name] = History(name, owner, str(payload.get("precision")), created)
            if owner is None:
                self._add("unsigned", "", name, f"description {payload.get('description')!r}", key=name)
        elif history.created != payload["createTime"]:
            history.created = str(payload["createTime"])
            history.add(_RECREATED, now)
        history.add(str(payload["state"]), now)

    def _judge_duplicates(self, found: Sequence[dict[str, Any]]) -> None:
        of_task: dict[tuple[str, str], list[History]] = {}
        for history in self._histories.values():
            if history.owner is not None:
                of_task.setdefault(_run_and_task(history), []).append(history)
        # A deployment that is created again keeps its name. Another name is a duplicate, even if it appears later.
        for (run_id, task), histories in of_task.items():
            if len(histories) > 1:
                text = ", ".join(map(str, histories))
                self._add("duplicate", run_id, task, text, key=f"{run_id} {task}")
        for name, count in Counter(str(payload["name"]) for payload in found).items():
            if count > 1:
                text = f"{count} deployments named {name} at once"
                self._add("duplicate", *_run_and_task(self._histories[name]), text, key=name)

    def _judge_orphans(self, now: float) -> None:
        for history in self._histories.values():
            if not history.exists or history.owner is None:
                continue
            end = self._run_ends.get(history.owner.run_id)
            if end is not None and now - end > self._grace:
                text = f"{history} {now - end:.0f} s after the end of the run"
                self._add("orphaned", *_run_and_task(history), text, key=history.name)

    def _judge_undeletes(self) -> None:
        for history in self._histories.values():
            if history.was_undeleted:
                text = f"undeleted after its deletion: {history}"
                self._add("deleted", *_run_and_task(history), text, key=history.name)

    def _judge_deletions(self, run_id: str, removals: Mapping[str, float]) -> None:
        for history in self._histories.values():
            owner = history.owner
            if owner is None or owner.run_id != run_id or history.precision in self._failing:
                continue
            group = owner.task_id.rpartition(".")[0]
            removal = _task(replace(owner, task_id=f"{group}.remove"))
            for deleted in history.deletions:
                if deleted < removals.get(removal, 0):
                    text = f"deleted before {removal} started: {history}"
                    self._add("deleted", *_run_and_task(history), text, key=history.name)

    def _judge_success(self, task: TaskInstance) -> None:
        group, _, step = task.task_id.rpartition(".")
        # The create operator in the group "serve" does not wait.
        if task.state != "success" or step not in ("up", "deploy") or task.task_id == "serve.deploy":
            return
        of_task = [
            history
            for history in self._histories.values()
            if history.owner is not None
            and history.owner.run_id == task.run_id
            and (history.owner.task_id, history.owner.map_index) == (f"{group}.deploy", task.map_index)
        ]
        if not any(history.was_ready for history in of_task):
            text = f"success with {', '.join(map(str, of_task)) or 'no deployment'}"
            self._add("not ready", task.run_id, task.name, text, key=f"{task.run_id} {task.name}")

    def _add(self, kind: Kind, run_id: str, subject: str, text: str, *, key: str) -> None:
        self._violations.setdefault((kind, key), Violation(kind, run_id, subject, text))


def _task(owner: Owner) -> str:
    return owner.task_id if owner.map_index < 0 else f"{owner.task_id}[{owner.map_index}]"


def _run_and_task(history: History) -> tuple[str, str]:
    return ("", history.name) if history.owner is None else (history.owner.run_id, _task(history.owner))
