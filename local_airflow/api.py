"""A small client of Airflow's REST API: run DAGs, and read what became of their tasks."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

import requests
from requests.adapters import HTTPAdapter
from urllib3.util import Retry

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

#: Fields of a task's log line that :meth:`AirflowApi.log` leaves out, as all lines have them.
_CONTEXT_FIELDS = {"dag_id", "run_id", "task_id", "map_index", "ti_id", "try_number", "filename", "lineno"}
#: Fields that it does not show as ``name=value``.
_OWN_FIELDS = {"timestamp", "event", "level", "logger", "error_detail"}

#: Rows per page. Airflow returns no more.
_PAGE_SIZE = 100

#: Seconds for one response. Longer than a request can wait in the API server for a connection to the database, and for
#: SQLite's lock: 30 s each.
_TIMEOUT = 90

#: Terminal states of a DAG run.
FINISHED = frozenset({"success", "failed"})


class AirflowApiError(RuntimeError):
    """Airflow rejected a request, or a wait for it timed out."""


@dataclass(frozen=True)
class TaskInstance:
    """
    A task of a DAG run.

    :param map_index: index of a mapped task; -1 if it is not mapped.
    :param state: ``None`` until the scheduler has set one.
    :param duration: seconds; ``None`` until the task has ended.
    :param component: the component that ran it last, such as a Celery worker; ``scheduler`` with LocalExecutor.
    :param triggerer_id: job id of the triggerer that runs its trigger; ``None`` if it has no trigger.
    """

    dag_id: str
    run_id: str
    task_id: str
    map_index: int
    state: str | None
    try_number: int
    duration: float | None
    component: str | None = None
    triggerer_id: int | None = None

    @property
    def name(self) -> str:
        return self.task_id if self.map_index < 0 else f"{self.task_id}[{self.map_index}]"


@dataclass(frozen=True)
class Job:
    """
    One start of a component.

    :param heartbeat: time of the latest heartbeat.
    """

    id: int
    component: str
    heartbeat: datetime


class AirflowApi:
    """
    A client of one Airflow whose simple auth manager makes everyone an admin.

    :param url: of the API server, e.g. ``http://127.0.0.1:8080``.
    """

    def __init__(self, url: str) -> None:
        self.url = url.rstrip("/")
        self._session = requests.Session()
        # Requests to loopback must not go through a proxy that the environment names.
        self._session.trust_env = False
        # SQLite refuses a transaction that read before another one wrote, at once and whatever its timeout. Airflow has
        # rolled back what it answers with 500, so a POST can be repeated, too.
        retry = Retry(
            total=5,
            backoff_factor=0.2,
            status_forcelist=[500, 502, 503],
            allowed_methods=None,
            raise_on_status=False,
        )
        self._session.mount("http://", HTTPAdapter(max_retries=retry))
        self._has_token = False

    def close(self) -> None:
        self._session.close()

    def health(self) -> dict[str, dict[str, str | None]] | None:
        """Return the health of each component, or ``None`` if the API server does not respond."""
        try:
            # Without retries, as callers poll it.
            response = requests.get(f"{self.url}/api/v2/monitor/health", timeout=5, proxies={"http": ""})
            return response.json() if response.ok else None
        except (requests.RequestException, ValueError):
            return None

    def request(self, method: str, path: str, **kwargs: Any) -> Any:
        """
        Send a request and return the JSON of its response.

        :param path: e.g. ``/api/v2/dags``.
        :raises AirflowApiError: if there is no response, or its status is an error.
        """
        if not self._has_token:
            token = self._session.get(f"{self.url}/auth/token", timeout=_TIMEOUT).json()["access_token"]
            self._session.headers["Authorization"] = f"Bearer {token}"
            self._has_token = True
        try:
            response = self._session.request(method, self.url + path, timeout=_TIMEOUT, **kwargs)
        except requests.RequestException as error:
            raise AirflowApiError(f"{method} {path}: {error}") from error
        if not response.ok:
            raise AirflowApiError(f"{method} {path}: {response.status_code} {response.text[:1000]}")
        return response.json() if response.content else None

    def get(self, path: str, **params: Any) -> Any:
        return self.request("GET", path, params=params)

    def rows(self, path: str, key: str, **params: Any) -> list[Any]:
        """
        Return all rows of a list, page by page.

        Airflow returns at most 100 rows per page, whatever ``limit`` says (``[api] maximum_page_limit``). The pages are
        not one snapshot: with a filter such as ``state``, a row that no longer matches moves those after it up, and
        one of them can be missed.

        :param path: of the list, e.g. ``/api/v2/dags``.
        :param key: field of the response that holds the rows.
        """
        found: list[Any] = []
        while True:
            page = self.get(path, **params, limit=_PAGE_SIZE, offset=len(found))
            found += page[key]
            if not page[key] or len(found) >= page["total_entries"]:
                return found

    def jobs(self) -> list[Job]:
        """Return all starts of schedulers, triggerers and DAG processors, the latest heartbeat first."""
        # Not ordered by heartbeat, which changes while the pages are read.
        found = self.rows("/api/v2/jobs", "jobs", order_by="id")
        jobs = [Job(job["id"], job["unixname"], _parse_time(job["latest_heartbeat"])) for job in found]
        return sorted(jobs, key=lambda job: job.heartbeat, reverse=True)

    def has_dag(self, dag_id: str) -> bool:
        """
        Whether the DAG has been parsed.

        :raises AirflowApiError: with the stack trace, if it has not, and some DAG file cannot be imported.
        """
        if any(dag["dag_id"] == dag_id for dag in self.rows("/api/v2/dags", "dags")):
            return True
        errors = self.get("/api/v2/importErrors")["import_errors"]
        if errors:
            raise AirflowApiError(f"{errors[0]['filename']} cannot be imported:\n{errors[0]['stack_trace']}")
        return False

    def unpause(self, dag_id: str) -> None:
        self.request("PATCH", f"/api/v2/dags/{dag_id}", json={"is_paused": False})

    def trigger(
        self, dag_id: str, conf: Mapping[str, Any] | None = None, *, run_id: str | None = None
    ) -> str:
        """
        Start a run of a DAG.

        :param conf: params of the run.
        :param run_id: id of the run; Airflow generates one if it is omitted.
        :return: the id of the run.
        """
        self.unpause(dag_id)
        body = {"logical_date": None, "conf": dict(conf or {}), **({"dag_run_id": run_id} if run_id else {})}
        run = self.request("POST", f"/api/v2/dags/{dag_id}/dagRuns", json=body)
        return str(run["dag_run_id"])

    def run_state(self, dag_id: str, run_id: str) -> str:
        return str(self.get(f"/api/v2/dags/{dag_id}/dagRuns/{run_id}")["state"])

    def note(self, dag_id: str, run_id: str) -> str | None:
        """Return the note of a run."""
        note = self.get(f"/api/v2/dags/{dag_id}/dagRuns/{run_id}")["note"]
        return None if note is None else str(note)

    def default_params(self, dag_id: str) -> dict[str, Any]:
        """Return the params of a DAG with their defaults."""
        params = self.get(f"/api/v2/dags/{dag_id}/details")["params"] or {}
        return {name: param["value"] for name, param in params.items()}

    def task_instances(
        self, dag_id: str, run_id: str, task_id: str | None = None, *, state: str | None = None
    ) -> list[TaskInstance]:
        """
        Return the tasks of a run, sorted by id and map index.

        :param run_id: the run, or ``~`` for all runs.
        :param task_id: return only instances of this task.
        :param state: return only tasks in this state.
        """
        filters = {"task_id": task_id, "state": state}
        params = {name: value for name, value in filters.items() if value is not None}
        path = f"/api/v2/dags/{dag_id}/dagRuns/{run_id}/taskInstances"
        tasks = [
            TaskInstance(
                dag_id=dag_id,
                run_id=task["dag_run_id"],
                task_id=task["task_id"],
                map_index=task["map_index"],
                state=task["state"],
                try_number=task["try_number"],
                duration=task["duration"],
                component=task["unixname"],
                triggerer_id=(task["trigger"] or {}).get("triggerer_id"),
            )
            for task in self.rows(path, "task_instances", **params)
        ]
        return sorted(tasks, key=lambda task: (task.task_id, task.map_index))

    def first_start(self, task: TaskInstance) -> float:
        """Return the start of a task's first try, in seconds since 1970; ``inf`` if none has started."""
        tries = self.get(f"{_path(task)}/{task.map_index}/tries")["task_instances"]
        starts = [_parse_time(each["start_date"]).timestamp() for each in tries if each["start_date"]]
        return min(starts, default=math.inf)

    def xcom(self, task: TaskInstance, key: str = "return_value") -> Any:
        path = f"{_path(task)}/xcomEntries/{key}"
        return self.get(path, map_index=task.map_index, deserialize=True)["value"]

    def log(self, task: TaskInstance, try_number: int | None = None) -> str:
        """
        Return the log of a task, from the worker and from the triggerer.

        :param try_number: the last try by default.
        """
        path = f"{_path(task)}/logs/{try_number or task.try_number}"
        events = self.get(path, map_index=task.map_index, full_content=True)["content"]
        return "\n".join(line for event in events for line in _lines(event))

    def describe(self, dag_id: str, run_id: str) -> str:
        """Return the states of a run's tasks, and the last log lines of those that failed."""
        parts = []
        for task in self.task_instances(dag_id, run_id):
            parts.append(f"{task.name}: {task.state}, try {task.try_number}")
            if task.state in ("failed", "up_for_retry"):
                parts += [f"    {line}" for line in without_groups(self.log(task))[-12:]]
        return "\n".join(parts)

    def add_connection(self, connection_id: str, connection: Mapping[str, Any]) -> None:
        """Add a connection to Airflow's database, with the fields of ``POST /api/v2/connections``."""
        self.request("POST", "/api/v2/connections", json={"connection_id": connection_id, **connection})


def _parse_time(text: str) -> datetime:
    # Python 3.10 does not parse the Z.
    return datetime.fromisoformat(text.replace("Z", "+00:00"))


def _path(task: TaskInstance) -> str:
    return f"/api/v2/dags/{task.dag_id}/dagRuns/{task.run_id}/taskInstances/{task.task_id}"


def _lines(event: Any) -> list[str]:
    if not isinstance(event, dict):
        return [str(event)]
    hidden = _OWN_FIELDS | _CONTEXT_FIELDS
    fields = " ".join(f"{key}={value}" for key, value in event.items() if key not in hidden)
    first = " ".join(part for part in (event.get("level"), event.get("event"), fields) if part)
    errors = [f"{error['exc_type']}: {error['exc_value']}" for error in event.get("error_detail") or []]
    return [first, *errors]


def without_groups(log: str) -> list[str]:
    """Return the lines of a task's log without the groups that Airflow's UI collapses."""
    lines, depth = [], 0
    for line in log.splitlines():
        if "::group::" in line:
            depth += 1
        elif "::endgroup::" in line:
            depth = max(0, depth - 1)
        elif depth == 0:
            lines.append(line)
    return lines


def poll_until(
    condition: Callable[[], Any],
    *,
    timeout: float,
    what: str,
    meanwhile: Callable[[], Any],
    every: float = 0.5,
) -> Any:
    """
    Call a condition until it is true, and return its value.

    :param timeout: seconds.
    :param what: what this waits for, e.g. ``"the run to end"``.
    :param every: seconds between two calls.
    :param meanwhile: called between them; it may raise to end the wait.
    :raises AirflowApiError: after the timeout.
    """
    deadline = time.monotonic() + timeout
    while not (value := condition()):
        if time.monotonic() > deadline:
            raise AirflowApiError(f"Timed out after {timeout:.0f} s of waiting for {what}.")
        meanwhile()
        time.sleep(every)
    return value
