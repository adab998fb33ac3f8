"""Start and stop the components of an Airflow, with every process that they start."""

from __future__ import annotations

import base64
import json
import math
import os
import secrets
import signal
import socket
import subprocess
import sys
import time
from contextlib import suppress
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any

from local_airflow import sessions
from local_airflow.api import FINISHED, AirflowApi, AirflowApiError, TaskInstance, poll_until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from pathlib import Path
    from types import TracebackType

    import psutil

# A log server would listen on all addresses of the machine. The logs are on this disk anyway.
_NO_LOG_SERVER = "--skip-serve-logs"
_WORKER = "worker"


class LocalAirflowError(RuntimeError):
    """Airflow did not start, or a component of it ended by itself."""


class LocalAirflow:
    """
    An Airflow with all its components, on loopback only.

    As a context manager it is healthy inside the block, and nothing of it is left after it::

        with LocalAirflow(home, dags) as airflow:
            run_id = airflow.trigger("my_dag", {"model": "my-model"})
            assert airflow.wait("my_dag", run_id) == "success"

    :param home: its ``AIRFLOW_HOME``, created if missing, which holds all logs and the configuration.
    :param dags: the folder with the DAG files.
    :param database: SQLAlchemy URL of its database; by default SQLite in ``home``.
    :param env: further environment variables of all components, such as ``AIRFLOW__*`` and ``AIRFLOW_CONN_*``.
        They do not inherit ``AIRFLOW*`` and ``FIREWORKS_*`` variables of this process.
    :param port: of the API server.
    :param preferred_port: used without ``port``, if it is free; any free port otherwise.
    :param parallelism: number of tasks that may run at once.
    :param broker: Celery's broker URL. Without it, LocalExecutor runs the tasks in the scheduler.
    :param workers: number of Celery workers, which are called ``worker``, ``worker-2``, ….
    :param triggerers: number of triggerers, which are called ``triggerer``, ``triggerer-2``, ….
    :param start_timeout: seconds for all components to become healthy.
    :param stop_timeout: seconds for all components to end after SIGTERM, before SIGKILL.
    :param report: called with a line of text for each step.
    """

    def __init__(
        self,
        home: Path,
        dags: Path,
        *,
        database: str | None = None,
        env: Mapping[str, str] | None = None,
        port: int | None = None,
        preferred_port: int = 0,
        parallelism: int = 4,
        broker: str | None = None,
        workers: int = 1,
        triggerers: int = 1,
        start_timeout: float = 180,
        stop_timeout: float = 8,
        report: Callable[[str], None] = lambda line: None,
    ) -> None:
        self.home = home.resolve()
        self.logs = self.home / "components"
        self._reserved = reserve(port) if port else reserve_any(preferred_port)
        self.port = int(self._reserved.getsockname()[1])
        self.url = f"http://127.0.0.1:{self.port}"
        self.api = AirflowApi(self.url)
        self.start_timeout = start_timeout
        self.stop_timeout = stop_timeout
        self._report = report
        self._broker = broker
        #: Arguments of ``airflow`` for each component, by its name.
        self.components = {
            "api-server": ("api-server",),
            "dag-processor": ("dag-processor",),
            "scheduler": ("scheduler", _NO_LOG_SERVER),
            **dict.fromkeys(_numbered("triggerer", triggerers), ("triggerer", _NO_LOG_SERVER)),
        }
        if broker is not None:
            for name in _numbered(_WORKER, workers):
                self.components[name] = ("celery", "worker", _NO_LOG_SERVER, "--celery-hostname", name)
        settings = self._settings(dags.resolve(), parallelism, database, workers)
        self._env = {**_inherited_environment(), **settings, **(env or {})}
        self._running: dict[str, subprocess.Popen[bytes]] = {}
        self._started: dict[str, datetime] = {}
        #: Name and time of each component of which only the first process was killed, by its session.
        self._orphaned: dict[int, tuple[str, float]] = {}
        self._watcher = sessions.Watcher()

    def _settings(self, dags: Path, parallelism: int, database: str | None, workers: int) -> dict[str, str]:
        settings = {
            # Errors of the API server then say what went wrong, not only where to search for it.
            "API__EXPOSE_STACKTRACE": "True",
            "API__HOST": "127.0.0.1",
            "API__PORT": str(self.port),
            "API__WORKERS": "1",
            "API_AUTH__JWT_SECRET": secrets.token_urlsafe(64),
            "API__SECRET_KEY": secrets.token_urlsafe(32),
            "CORE__DAGS_FOLDER": str(dags),
            "CORE__EXECUTION_API_SERVER_URL": f"{self.url}/execution/",
            "CORE__EXECUTOR": "LocalExecutor" if self._broker is None else "CeleryExecutor",
            "CORE__FERNET_KEY": base64.urlsafe_b64encode(secrets.token_bytes(32)).decode(),
            "CORE__LOAD_EXAMPLES": "False",
            "CORE__PARALLELISM": str(parallelism),
            "CORE__SIMPLE_AUTH_MANAGER_ALL_ADMINS": "True",
            "DAG_PROCESSOR__REFRESH_INTERVAL": "5",
            # DAGs do not change, and parsing them again would take half of two cores.
            "DAG_PROCESSOR__MIN_FILE_PROCESS_INTERVAL": "600",
            # When many tasks start at once, SQLite's default of 5 s for its lock is not enough.
            "DATABASE__SQL_ALCHEMY_CONN": database or f"sqlite:///{self.home / 'airflow.db'}?timeout=30",
            # With fewer connections, requests of many tasks at once wait for up to 30 s in the API server.
            "DATABASE__SQL_ALCHEMY_POOL_SIZE": "20",
            "DATABASE__SQL_ALCHEMY_MAX_OVERFLOW": "60",
            "USAGE_DATA_COLLECTION__ENABLED": "False",
            # With the default of 5 s, a trigger that fires earlier can fail its task (apache/airflow#71580).
            "WORKERS__MIN_HEARTBEAT_INTERVAL": "1",
        }
        if self._broker is not None:
            settings["CELERY__BROKER_URL"] = self._broker
            settings["CELERY__WORKER_CONCURRENCY"] = str(math.ceil(parallelism / workers))
        return {
            "AIRFLOW_HOME": str(self.home),
            "NO_COLOR": "1",
            "PYTHONUNBUFFERED": "1",
            # For tasks that use Airflow's public API. Every user is an admin.
            "AIRFLOW_CONN_AIRFLOW_API": json.dumps(
                {"conn_type": "http", "host": self.url, "login": "demo", "password": "demo"}
            ),
            **{f"AIRFLOW__{name}": value for name, value in settings.items()},
        }

    def __enter__(self) -> LocalAirflow:
        try:
            self.start_all()
        except BaseException:
            self.stop_all()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop_all()

    def start_all(self) -> None:
        """Create the database, start every component, and wait until all are healthy."""
        self.logs.mkdir(parents=True, exist_ok=True)
        self._migrate()
        if sys.platform != "linux":
            self._reserved.close()
        self.start(*self.components)

    def stop_all(self) -> None:
        """Stop every process of this Airflow."""
        # A signal must not interrupt this half-way.
        with sessions.signals_held(drop=True):
            if self._running:
                self._report("Stopping …")
            self.api.close()
            running = [process.pid for process in self._running.values()]
            sessions.end([*running, *self._orphaned], grace=self.stop_timeout)
            for process in self._running.values():
                process.wait()
            self._running.clear()
            self._orphaned.clear()
            self._watcher.close()
            self._reserved.close()

    def start(self, *names: str) -> None:
        """Start components, and wait until they are healthy."""
        self.launch(*names)
        poll_until(
            lambda: self.healthy(*names),
            timeout=self.start_timeout,
            what=f"{', '.join(names)} to be healthy (logs in {self.logs})",
            every=0.3,
            meanwhile=self.check,
        )

    def launch(self, *names: str) -> None:
        """Start components without waiting for them."""
        for name in names:
            if name in self._running:
                raise LocalAirflowError(f"The {name} is already running.")
            self._started[name] = datetime.now(timezone.utc)
            self._spawn(name, *self.components[name])

    def healthy(self, *names: str) -> bool:
        """Whether each of these components has sent a heartbeat since it was last started."""
        if not self._running.keys() >= set(names):
            return False
        health = self.api.health()
        if health is None or health["metadatabase"].get("status") != "healthy":
            return False
        workers = [name for name in names if name.startswith(_WORKER)]
        if workers and not self._workers_respond(workers):
            return False
        try:
            heartbeats = {job.component: job.heartbeat for job in reversed(self.api.jobs())}
        except AirflowApiError:
            return False
        # Airflow itself would count the heartbeat of an earlier start, too.
        return all(
            name in heartbeats and heartbeats[name] >= self._started[name]
            for name in names
            if name != "api-server" and name not in workers
        )

    def deferred_tasks(self, dag_id: str, run_id: str = "~") -> dict[str, list[TaskInstance]]:
        """Return the deferred tasks of a run, or of all runs, by the triggerer that runs their triggers."""
        triggerers = {job.id: job.component for job in self.api.jobs()}
        found: dict[str, list[TaskInstance]] = {}
        for task in self.api.task_instances(dag_id, run_id, state="deferred"):
            if task.triggerer_id is not None:
                found.setdefault(triggerers[task.triggerer_id], []).append(task)
        return found

    def kill(self, name: str, *, alone: bool = False) -> None:
        """
        Kill a component with SIGKILL.

        :param alone: kill only its first process. The processes that it started go on as orphans, until
            :meth:`end_orphans` or :meth:`stop_all`.
        """
        process = self._running.pop(name)
        if alone:
            process.kill()
            self._orphaned[process.pid] = (name, time.monotonic())
        else:
            sessions.kill([process.pid])
            self._watcher.discard(process.pid)
        process.wait()

    def freeze(self, name: str) -> None:
        """Stop all processes of a component with SIGSTOP, until :meth:`thaw`."""
        sessions.freeze([self._running[name].pid])

    def thaw(self, name: str) -> None:
        """Continue a frozen component. It counts as healthy from its next heartbeat on."""
        self._started[name] = datetime.now(timezone.utc)
        sessions.thaw([self._running[name].pid])

    def processes(self, name: str) -> list[psutil.Process]:
        """Return the running processes of a component, orphans included."""
        found = [session for session, (component, _) in self._orphaned.items() if component == name]
        if name in self._running:
            found.append(self._running[name].pid)
        return sessions.members(found)

    def end_orphans(self, idle: Callable[[psutil.Process], bool], *, after: float) -> None:
        """
        Kill the orphans of components that were killed alone, as soon as all of a component's are idle.

        :param idle: whether a process is idle.
        :param after: seconds since the component was killed in which its orphans are never killed.
        """
        for session, (_, killed_at) in list(self._orphaned.items()):
            is_due = time.monotonic() - killed_at > after
            if is_due and all(idle(process) for process in sessions.members([session])):
                sessions.kill([session])
                del self._orphaned[session]
                self._watcher.discard(session)

    def check(self) -> None:
        """
        Raise if a component has ended by itself.

        :raises LocalAirflowError: with the last lines of its log.
        """
        for name in self._running:
            if (exit_report := self.exit_report(name)) is not None:
                raise LocalAirflowError(exit_report)

    def exit_report(self, name: str) -> str | None:
        """Return how a component ended by itself, with the last lines of its log; ``None`` while it runs."""
        process = self._running[name]
        return None if process.poll() is None else self._describe_exit(name, process)

    def wait_for_dag(self, dag_id: str, *, timeout: float = 60) -> None:
        """
        Wait until a DAG's file has been parsed.

        :param timeout: seconds.
        """
        poll_until(
            lambda: self.api.has_dag(dag_id),
            timeout=timeout,
            what=f"DAG {dag_id} to be parsed",
            meanwhile=self.check,
        )

    def trigger(
        self, dag_id: str, conf: Mapping[str, Any] | None = None, *, run_id: str | None = None
    ) -> str:
        """
        Start a run of a DAG, as soon as its file has been parsed.

        :param conf: params of the run.
        :param run_id: id of the run; Airflow generates one if it is omitted.
        :return: the id of the run.
        """
        self.wait_for_dag(dag_id)
        return self.api.trigger(dag_id, conf, run_id=run_id)

    def wait(self, dag_id: str, run_id: str, *, timeout: float = 180) -> str:
        """
        Wait for the end of a run.

        :param timeout: seconds.
        :return: its state, ``success`` or ``failed``.
        """

        def end() -> str | None:
            state = self.api.run_state(dag_id, run_id)
            return state if state in FINISHED else None

        what = f"the run of {dag_id} to end"
        try:
            return str(poll_until(end, timeout=timeout, what=what, meanwhile=self.check))
        except AirflowApiError as error:
            raise AirflowApiError(f"{error}\n{self.api.describe(dag_id, run_id)}") from error

    def wait_for_tasks(
        self,
        dag_id: str,
        run_id: str,
        task_id: str,
        states: Iterable[str],
        *,
        count: int,
        timeout: float = 90,
    ) -> list[TaskInstance]:
        """
        Wait until this many instances of a task are in one of these states, and return them.

        :param timeout: seconds.
        :raises AirflowApiError: after the timeout, or if an instance fails although ``failed`` is not among them.
        """
        expected = frozenset(states)

        def reached() -> list[TaskInstance] | None:
            tasks = self.api.task_instances(dag_id, run_id, task_id)
            if any(task.state == "failed" for task in tasks) and "failed" not in expected:
                raise AirflowApiError(f"{task_id} failed instead of being {' or '.join(expected)}.")
            found = [task for task in tasks if task.state in expected]
            return found if len(found) >= count else None

        found: list[TaskInstance] = poll_until(
            reached,
            timeout=timeout,
            what=f"{count} x {task_id} to be {' or '.join(expected)}",
            meanwhile=self.check,
        )
        return found

    def _migrate(self) -> None:
        started = time.monotonic()
        process = self._spawn("db-migrate", "db", "migrate")
        code = process.wait()
        if code != 0:
            raise LocalAirflowError(self._describe_exit("db-migrate", process))
        del self._running["db-migrate"]
        self._watcher.discard(process.pid)
        self._report(f"Database ready after {time.monotonic() - started:.0f} s.")

    def _workers_respond(self, workers: Sequence[str]) -> bool:
        """Whether all of these Celery workers respond to a ping."""
        # Not at the top, as only Airflow's Celery provider brings it.
        from celery import Celery

        nodes = [f"celery@{name}" for name in workers]
        with Celery(broker=self._broker) as celery:
            found = celery.control.inspect(nodes, timeout=1, limit=len(nodes)).ping()
        return (found or {}).keys() >= set(nodes)

    def _spawn(self, name: str, *arguments: str) -> subprocess.Popen[bytes]:
        # A signal between starting a process and recording it would leave the process running forever.
        with sessions.signals_held(drop=False), self._log(name).open("ab") as log:
            process = subprocess.Popen(
                [sys.executable, "-m", "airflow", *arguments],
                cwd=self.home,
                # Airflow records it with each job and task as their unixname: it tells components apart.
                env={**self._env, "LOGNAME": name},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
            self._running[name] = process
            self._watcher.add(process.pid)
        return process

    def _log(self, name: str) -> Path:
        return self.logs / f"{name}.log"

    def _describe_exit(self, name: str, process: subprocess.Popen[bytes]) -> str:
        lines = self._log(name).read_text(errors="replace").rstrip().splitlines()[-15:]
        code = process.returncode
        reason = f"was ended by {signal.Signals(-code).name}" if code < 0 else f"ended with exit code {code}"
        first = f"Airflow's {name} {reason}. The last lines of {self._log(name)}:"
        return "\n".join([first, *(f"    {line}" for line in lines)])


def _numbered(name: str, count: int) -> list[str]:
    return [name, *(f"{name}-{number}" for number in range(2, count + 1))]


def reserve(port: int, *, over_old_connections: bool = True) -> socket.socket:
    """
    Bind a loopback port without listening, so that no other program takes it before the API server listens.

    The API server imports for seconds before it listens. Linux lets it bind the same port as long as this socket does
    not listen. Other systems do not, so there the socket is closed before the API server starts.

    :param port: 0 for any free one.
    :param over_old_connections: take the port although connections of an earlier server are in TIME_WAIT.
    :raises LocalAirflowError: if the port is taken.
    """
    reserved = socket.socket()
    try:
        if over_old_connections:
            reserved.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        reserved.bind(("127.0.0.1", port))
    except OSError as error:
        reserved.close()
        raise LocalAirflowError(
            f"Cannot use port {port}: {error.strerror}. Use another one, or leave it out to get one that is free."
        ) from error
    reserved.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    return reserved


def reserve_any(preferred: int = 0) -> socket.socket:
    """Reserve the preferred port if it is free, any free port otherwise."""
    # With SO_REUSEADDR, two programs could reserve the same port.
    with suppress(LocalAirflowError):
        return reserve(preferred, over_old_connections=False)
    return reserve(0, over_old_connections=False)


def _inherited_environment() -> dict[str, str]:
    env = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("AIRFLOW", "_AIRFLOW", "FIREWORKS_"))
    }
    # The components talk to each other over loopback, never through a proxy.
    for name in ("no_proxy", "NO_PROXY"):
        env[name] = ",".join(filter(None, [env.get(name), "127.0.0.1", "localhost"]))
    return env
