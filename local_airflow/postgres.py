"""A temporary PostgreSQL server."""

from __future__ import annotations

import os
import pwd
import shutil
import signal
from contextlib import suppress
from pathlib import Path

from local_airflow.components import LocalAirflowError
from local_airflow.server import Server, ServerMissingError

_PROGRAMS = ("initdb", "postgres", "pg_isready")

#: Without the safety of data that would outlive the server.
_SETTINGS = {
    "listen_addresses": "",
    "max_connections": "400",
    "fsync": "off",
    "synchronous_commit": "off",
    "full_page_writes": "off",
    # In the server's folder, so that nothing stays in /dev/shm however the server ends.
    "dynamic_shared_memory_type": "mmap",
}


class Postgres(Server):
    """
    A PostgreSQL server with an empty database.

    It listens only on a Unix socket in its folder, which no other user may enter, so it needs no password::

        with Postgres() as postgres:
            LocalAirflow(home, dags, database=postgres.url)

    :raises ServerMissingError: if PostgreSQL is not installed.
    """

    stop_signal = signal.SIGQUIT

    def __init__(self) -> None:
        self._programs = find_programs()
        super().__init__("PostgreSQL", _unprivileged())

    @property
    def url(self) -> str:
        """The database's URL, for SQLAlchemy."""
        return f"postgresql+psycopg2://airflow@/postgres?host={self._folder}"

    def _launch(self) -> None:
        data, folder = str(self._folder / "data"), str(self._folder)
        initdb, postgres, pg_isready = (str(self._programs / program) for program in _PROGRAMS)
        created = self._run(initdb, "-D", data, "-U", "airflow", "-A", "trust", "-E", "UTF8", "--no-sync")
        if created.wait() != 0:
            raise LocalAirflowError(f"initdb failed:\n{self._log()}")
        settings = [part for name, value in _SETTINGS.items() for part in ("-c", f"{name}={value}")]
        self._serve(
            *(postgres, "-D", data, "-k", folder, *settings),
            is_ready=lambda: self._run(pg_isready, "-q", "-h", folder).wait() == 0,
        )


def find_programs() -> Path:
    """
    Return the folder of PostgreSQL's programs: the newest of Debian's, else the one in the PATH.

    :raises ServerMissingError: if PostgreSQL is not installed.
    """
    folders = sorted(Path("/usr/lib/postgresql").glob("[0-9]*/bin"), key=lambda folder: int(folder.parts[-2]))
    in_path = shutil.which("initdb")
    if in_path is not None:
        folders.insert(0, Path(in_path).resolve().parent)
    for folder in reversed(folders):
        if all((folder / program).exists() for program in _PROGRAMS):
            return folder
    raise ServerMissingError(
        "PostgreSQL is not installed. On Debian and Ubuntu: apt-get install --no-install-recommends postgresql"
    )


def _unprivileged() -> pwd.struct_passwd | None:
    """Return the user to run the server as if the caller is root, as which PostgreSQL refuses to run."""
    if os.geteuid() != 0:
        return None
    with suppress(KeyError):
        return pwd.getpwnam("postgres")
    return pwd.getpwnam("nobody")
