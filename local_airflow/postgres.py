"""A PostgreSQL server of one's own, for as long as it is needed."""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from local_airflow import sessions
from local_airflow.components import LocalAirflowError

if TYPE_CHECKING:
    from types import TracebackType

_PROGRAMS = ("initdb", "postgres", "pg_isready")
_SECONDS_TO_START = 60

#: It is thrown away afterwards, so nothing of it has to outlive a power cut.
_SETTINGS = {
    "listen_addresses": "",
    "max_connections": "400",
    "fsync": "off",
    "synchronous_commit": "off",
    "full_page_writes": "off",
    # In the server's own folder, so that nothing is left in /dev/shm whatever ends it.
    "dynamic_shared_memory_type": "mmap",
}


class PostgresMissingError(LocalAirflowError):
    """PostgreSQL is not installed."""


class Postgres:
    """
    A PostgreSQL server with an empty database, in a new folder of its own that goes with it.

    It listens at a Unix socket in that folder only, which nobody else may enter, so it asks for no password::

        with Postgres() as postgres:
            LocalAirflow(home, dags, database=postgres.url)

    :raises PostgresMissingError: if its programs are not found.
    """

    def __init__(self) -> None:
        self._programs = programs()
        self._user = _unprivileged()
        self._folder = Path()
        self._watcher = sessions.Watcher()
        self._server: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """The database's address, for SQLAlchemy."""
        return f"postgresql+psycopg2://airflow@/postgres?host={self._folder}"

    def __enter__(self) -> Postgres:
        try:
            self.start()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def start(self) -> None:
        """Make a database, and return once it can be connected to."""
        # Not below a folder of the caller's: the server's user could not get there if a parent is private.
        self._folder = Path(tempfile.mkdtemp(prefix="local-airflow-postgres-"))
        self._watcher.remove_at_the_end(self._folder)
        if self._user is not None:
            os.chown(self._folder, self._user.pw_uid, self._user.pw_gid)
        data = str(self._folder / "data")
        made = self._run("initdb", "-D", data, "-U", "airflow", "-A", "trust", "-E", "UTF8", "--no-sync")
        if made.wait() != 0:
            raise LocalAirflowError(f"PostgreSQL's database could not be made:\n{self._log()}")
        settings = [part for name, value in _SETTINGS.items() for part in ("-c", f"{name}={value}")]
        # Were it interrupted between the two, nobody would ever end that process.
        with sessions.signals_held(drop=False):
            self._server = self._run("postgres", "-D", data, "-k", str(self._folder), *settings)
            self._watcher.add(self._server.pid)
        deadline = time.monotonic() + _SECONDS_TO_START
        while self._run("pg_isready", "-q", "-h", str(self._folder)).wait() != 0:
            if self._server.poll() is not None or time.monotonic() > deadline:
                raise LocalAirflowError(f"PostgreSQL did not start:\n{self._log()}")
            time.sleep(0.1)

    def stop(self) -> None:
        """Stop the server, whoever is still connected, and remove its folder."""
        # What comes in while it is being stopped must not end that half way.
        with sessions.signals_held(drop=True):
            if self._server is not None:
                with suppress(ProcessLookupError):
                    self._server.send_signal(signal.SIGQUIT)
                try:
                    self._server.wait(5)
                except subprocess.TimeoutExpired:
                    # Its children notice that, and end by themselves.
                    self._server.kill()
                    self._server.wait()
                self._server = None
            if self._folder != Path():
                shutil.rmtree(self._folder, ignore_errors=True)
            self._watcher.close()

    def _run(self, program: str, *arguments: str) -> subprocess.Popen[bytes]:
        user = self._user
        with (self._folder / "log").open("ab") as log:
            return subprocess.Popen(
                [str(self._programs / program), *arguments],
                cwd=self._folder,
                env={"PATH": os.defpath, "LC_ALL": "C.UTF-8", "TZ": "UTC"},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                user=None if user is None else user.pw_uid,
                group=None if user is None else user.pw_gid,
                extra_groups=None if user is None else [],
            )

    def _log(self) -> str:
        return "\n".join((self._folder / "log").read_text(errors="replace").splitlines()[-15:])


def programs() -> Path:
    """
    Return the folder of PostgreSQL's programs: the newest one of Debian's, or else what is in the PATH.

    :raises PostgresMissingError: if there is none.
    """
    folders = sorted(Path("/usr/lib/postgresql").glob("[0-9]*/bin"), key=lambda folder: int(folder.parts[-2]))
    in_path = shutil.which("initdb")
    if in_path is not None:
        folders.insert(0, Path(in_path).resolve().parent)
    for folder in reversed(folders):
        if all((folder / program).exists() for program in _PROGRAMS):
            return folder
    raise PostgresMissingError(
        "PostgreSQL is not installed. On Debian and Ubuntu: apt-get install --no-install-recommends postgresql"
    )


def _unprivileged() -> pwd.struct_passwd | None:
    """Return the user that the server must run as where the caller is root, whom it refuses."""
    if os.geteuid() != 0:
        return None
    with suppress(KeyError):
        return pwd.getpwnam("postgres")
    return pwd.getpwnam("nobody")
