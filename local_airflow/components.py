"""Start the components of an Airflow, look after them, and take them down with all that they started."""

from __future__ import annotations

import base64
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

# Their log servers would listen on every address of the machine; the logs are read from the disk anyway.
_NO_LOG_SERVER = "--skip-serve-logs"
_WORKER = "worker"


class LocalAirflowError(RuntimeError):
    """Airflow could not be started, or did not stay up. The message is for people."""


class LocalAirflow:
    """
    An Airflow with all its components on loopback.

    As a context manager it is healthy inside the block, and gone after it::

        with LocalAirflow(home, dags) as airflow:
            run_id = airflow.trigger("my_dag", {"model": "my-model"})
            assert airflow.wait("my_dag", run_id) == "success"

    :param home: its ``AIRFLOW_HOME``, made if missing: logs and configuration live there and nowhere else.
    :param dags: the folder with the DAG files.
    :param database: the URL of its database, as SQLAlchemy takes it; a SQLite database in ``home`` if left out.
    :param env: further environment of all components, such as ``AIRFLOW__*`` settings and ``AIRFLOW_CONN_*``.
        Nothing of the caller's own ``AIRFLOW*`` and ``FIREWORKS_*`` variables reaches them.
    :param port: the API server's port; any free one if left out.
    :param usual_port: taken, if it is free, where ``port`` is left out.
    :param parallelism: how many tasks run at once.
    :param broker: the URL of the queue that Celery's workers get their tasks from. Left out, the scheduler's own
        LocalExecutor runs the tasks.
    :param workers: how many workers there are, where there is a broker: ``worker``, ``worker-2``, ….
    :param triggerers: how many triggerers there are: ``triggerer``, ``triggerer-2``, ….
    :param start_timeout: seconds until all components must be healthy.
    :param say: takes lines about what is happening.
    """

    def __init__(
        self,
        home: Path,
        dags: Path,
        *,
        database: str | None = None,
        env: Mapping[str, str] | None = None,
        port: int | None = None,
        usual_port: int = 0,
        parallelism: int = 4,
        broker: str | None = None,
        workers: int = 1,
        triggerers: int = 1,
        start_timeout: float = 180,
        say: Callable[[str], None] = lambda line: None,
    ) -> None:
        self.home = home.resolve()
        self.logs = self.home / "components"
        self._reserved = reserve(port) if port else reserve_any(usual_port)
        self.port = int(self._reserved.getsockname()[1])
        self.url = f"http://127.0.0.1:{self.port}"
        self.api = AirflowApi(self.url)
        self.start_timeout = start_timeout
        self._say = say
        self._broker = broker
        #: The components, by name, with the arguments that each is started with.
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
        self._env = {**_bare_environment(), **settings, **(env or {})}
        self._running: dict[str, subprocess.Popen[bytes]] = {}
        self._since: dict[str, datetime] = {}
        #: Sessions of components that were killed alone, with the component's name and the time.
        self._orphaned: dict[int, tuple[str, float]] = {}
        self._watcher = sessions.Watcher()

    def _settings(self, dags: Path, parallelism: int, database: str | None, workers: int) -> dict[str, str]:
        settings = {
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
            # A DAG that does not change need not be parsed again: on two cores that would take half of them.
            "DAG_PROCESSOR__MIN_FILE_PROCESS_INTERVAL": "600",
            # Where many tasks begin at once, the 5 s that SQLite waits for its lock by default are too few.
            "DATABASE__SQL_ALCHEMY_CONN": database or f"sqlite:///{self.home / 'airflow.db'}?timeout=30",
            "USAGE_DATA_COLLECTION__ENABLED": "False",
            # With the default of 5 s, a trigger that fires sooner than that can fail its task.
            "WORKERS__MIN_HEARTBEAT_INTERVAL": "1",
        }
        if self._broker is not None:
            settings["CELERY__BROKER_URL"] = self._broker
            settings["CELERY__WORKER_CONCURRENCY"] = str(math.ceil(parallelism / workers))
        return {
            "AIRFLOW_HOME": str(self.home),
            "NO_COLOR": "1",
            "PYTHONUNBUFFERED": "1",
            **{f"AIRFLOW__{name}": value for name, value in settings.items()},
        }

    def __enter__(self) -> LocalAirflow:
        try:
            self.up()
        except BaseException:
            self.down()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.down()

    def up(self) -> None:
        """Make the database, start every component, and wait until all are healthy."""
        self.logs.mkdir(parents=True, exist_ok=True)
        self._migrate()
        if sys.platform != "linux":
            self._reserved.close()
        self.start(*self.components)

    def down(self, grace: float = 8) -> None:
        """
        Take everything down. Nothing of it is left afterwards.

        :param grace: seconds that the components have to end by themselves.
        """
        # What comes in while it is being taken down must not stop that half way.
        with sessions.signals_held(drop=True):
            if self._running:
                self._say("Stopping …")
            self.api.close()
            running = [process.pid for process in self._running.values()]
            sessions.end([*running, *self._orphaned], grace=grace)
            for process in self._running.values():
                process.wait()
            self._running.clear()
            self._orphaned.clear()
            self._watcher.close()
            self._reserved.close()

    def start(self, *names: str) -> None:
        """Start components, and wait until each has shown that it is alive since."""
        self.launch(*names)
        poll_until(
            lambda: self.healthy(*names),
            timeout=self.start_timeout,
            what=f"Waiting for {', '.join(names)} to be healthy (logs in {self.logs})",
            every=0.3,
            meanwhile=self.check,
        )

    def launch(self, *names: str) -> None:
        """Start components without waiting for them."""
        for name in names:
            if name in self._running:
                raise LocalAirflowError(f"The {name} is running already.")
            self._since[name] = datetime.now(timezone.utc)
            self._spawn(name, *self.components[name])

    def healthy(self, *names: str) -> bool:
        """Whether these components have all shown that they are alive since they were last started."""
        if not self._running.keys() >= set(names):
            return False
        health = self.api.health()
        if health is None or health["metadatabase"].get("status") != "healthy":
            return False
        workers = [name for name in names if name.startswith(_WORKER)]
        if workers and not self._answer(workers):
            return False
        try:
            beats = {job.component: job.beat for job in reversed(self.api.jobs())}
        except AirflowApiError:
            return False
        # One that was killed counts as alive for a while, by its last heartbeat.
        return all(
            name in beats and beats[name] >= self._since[name]
            for name in names
            if name != "api-server" and name not in workers
        )

    def waits(self, dag_id: str, run_id: str = "~") -> dict[str, list[TaskInstance]]:
        """Return the tasks of a run, or of all runs, that wait in triggerers, by the triggerer that has each."""
        of_triggerer = {job.id: job.component for job in self.api.jobs()}
        found: dict[str, list[TaskInstance]] = {}
        for task in self.api.task_instances(dag_id, run_id, state="deferred"):
            if task.triggerer_id is not None:
                found.setdefault(of_triggerer[task.triggerer_id], []).append(task)
        return found

    def kill(self, name: str, *, alone: bool = False) -> None:
        """
        Kill a component, as ``kill -9`` does.

        :param alone: kill its first process only. What that one has started lives on as an orphan for as long
            as it likes, at most until all is taken down.
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
        """Stop all processes of a component by SIGSTOP, until :meth:`thaw`."""
        sessions.freeze([self._running[name].pid])

    def thaw(self, name: str) -> None:
        """Continue a frozen component. It is healthy again from its next heartbeat on."""
        self._since[name] = datetime.now(timezone.utc)
        sessions.thaw([self._running[name].pid])

    def processes(self, name: str) -> list[psutil.Process]:
        """Return the living processes of a component, orphans included."""
        found = [orphaned for orphaned, (of, _) in self._orphaned.items() if of == name]
        if name in self._running:
            found.append(self._running[name].pid)
        return sessions.members(found)

    def end_orphans(self, idle: Callable[[psutil.Process], bool], *, after: float) -> None:
        """
        End what components that were killed alone have left behind, once none of it has anything to do.

        :param idle: whether an orphan has nothing to do.
        :param after: seconds that it is left alone in any case.
        """
        for session, (_, since) in list(self._orphaned.items()):
            old = time.monotonic() - since > after
            if old and all(idle(process) for process in sessions.members([session])):
                sessions.kill([session])
                del self._orphaned[session]
                self._watcher.discard(session)

    def check(self) -> None:
        """
        Raise if a component has ended by itself.

        :raises LocalAirflowError: with the last lines of its log.
        """
        for name in self._running:
            if (ended := self.ended(name)) is not None:
                raise LocalAirflowError(ended)

    def ended(self, name: str) -> str | None:
        """Return how a component has ended by itself, with the last lines of its log, or ``None`` if it runs."""
        process = self._running[name]
        return None if process.poll() is None else self._obituary(name, process)

    def wait_for_dag(self, dag_id: str, *, timeout: float = 60) -> None:
        """
        Wait until a DAG's file has been parsed.

        :param timeout: seconds.
        """
        poll_until(
            lambda: self.api.dag_is_there(dag_id),
            timeout=timeout,
            what=f"Waiting for the DAG {dag_id} to be parsed",
            meanwhile=self.check,
        )

    def trigger(self, dag_id: str, conf: Mapping[str, Any] | None = None) -> str:
        """
        Start a run of a DAG, as soon as its file has been parsed.

        :param conf: the run's params.
        :return: the run's id.
        """
        self.wait_for_dag(dag_id)
        return self.api.trigger(dag_id, conf)

    def wait(self, dag_id: str, run_id: str, *, timeout: float = 180) -> str:
        """
        Wait for the end of a run.

        :param timeout: seconds.
        :return: its state, ``success`` or ``failed``.
        """

        def end() -> str | None:
            state = self.api.run_state(dag_id, run_id)
            return state if state in FINISHED else None

        what = f"Waiting for the run of {dag_id}"
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
        Wait until a task, mapped or not, is in one of these states so many times.

        :param timeout: seconds.
        """
        wanted = frozenset(states)

        def there() -> list[TaskInstance] | None:
            tasks = self.api.task_instances(dag_id, run_id, task_id)
            if any(task.state == "failed" for task in tasks) and "failed" not in wanted:
                raise AirflowApiError(f"{task_id} failed while waiting for it to be {' or '.join(wanted)}.")
            found = [task for task in tasks if task.state in wanted]
            return found if len(found) >= count else None

        found: list[TaskInstance] = poll_until(
            there,
            timeout=timeout,
            what=f"Waiting for {count} x {task_id} to be {' or '.join(wanted)}",
            meanwhile=self.check,
        )
        return found

    def _migrate(self) -> None:
        begun = time.monotonic()
        process = self._spawn("db-migrate", "db", "migrate")
        code = process.wait()
        if code != 0:
            raise LocalAirflowError(self._obituary("db-migrate", process))
        del self._running["db-migrate"]
        self._watcher.discard(process.pid)
        self._say(f"Database ready after {time.monotonic() - begun:.0f} s.")

    def _answer(self, workers: Sequence[str]) -> bool:
        """Whether these workers of Celery all do."""
        # Here, as only few need it.
        from celery import Celery

        nodes = [f"celery@{name}" for name in workers]
        with Celery(broker=self._broker) as celery:
            found = celery.control.inspect(nodes, timeout=1, limit=len(nodes)).ping()
        return (found or {}).keys() >= set(nodes)

    def _spawn(self, name: str, *arguments: str) -> subprocess.Popen[bytes]:
        # Were it interrupted between starting a process and noting it, nobody would ever end that process.
        with sessions.signals_held(drop=False), self._log(name).open("ab") as log:
            process = subprocess.Popen(
                [sys.executable, "-m", "airflow", *arguments],
                cwd=self.home,
                # Airflow notes it with each job and task: so one can tell who has which.
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

    def _obituary(self, name: str, process: subprocess.Popen[bytes]) -> str:
        lines = self._log(name).read_text(errors="replace").rstrip().splitlines()[-15:]
        code = process.returncode
        how = f"was ended by {signal.Signals(-code).name}" if code < 0 else f"ended with exit code {code}"
        head = f"Airflow's {name} {how}. The last lines of {self._log(name)}:"
        return "\n".join([head, *(f"    {line}" for line in lines)])


def _numbered(name: str, count: int) -> list[str]:
    return [name, *(f"{name}-{number}" for number in range(2, count + 1))]


def reserve(port: int, *, over_old_connections: bool = True) -> socket.socket:
    """
    Bind a port of loopback without listening there, so that nobody takes it before the API server does.

    The API server imports for seconds before it listens. On Linux it may then bind the same port, as long as
    this socket does not listen; elsewhere it may not, so there the port is only looked at.

    :param port: 0 for any free one.
    :param over_old_connections: a port is free, too, where only closed connections of an earlier server linger.
    :raises LocalAirflowError: if it is taken.
    """
    reserved = socket.socket()
    try:
        if over_old_connections:
            reserved.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        reserved.bind(("127.0.0.1", port))
    except OSError as error:
        reserved.close()
        raise LocalAirflowError(
            f"Port {port} cannot be used: {error.strerror}. Name another one, or none for a free one."
        ) from error
    reserved.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    return reserved


def reserve_any(usual: int = 0) -> socket.socket:
    """Reserve the usual port, or else any that is free."""
    # Strictly: two sockets that are only reserved would not get in each other's way.
    with suppress(LocalAirflowError):
        return reserve(usual, over_old_connections=False)
    return reserve(0, over_old_connections=False)


def _bare_environment() -> dict[str, str]:
    env = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("AIRFLOW", "_AIRFLOW", "FIREWORKS_"))
    }
    # The components talk to each other over loopback, whatever proxy there is for the rest.
    for name in ("no_proxy", "NO_PROXY"):
        env[name] = ",".join(filter(None, [env.get(name), "127.0.0.1", "localhost"]))
    return env
