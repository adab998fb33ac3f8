"""A PostgreSQL server of one's own, for as long as it is needed."""

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


class Postgres(Server):
    """
    A PostgreSQL server with an empty database.

    It listens at a Unix socket in its folder only, which nobody else may enter, so it asks for no password::

        with Postgres() as postgres:
            LocalAirflow(home, dags, database=postgres.url)

    :raises ServerMissingError: if its programs are not found.
    """

    end_with = signal.SIGQUIT

    def __init__(self) -> None:
        self._programs = programs()
        super().__init__("PostgreSQL", _unprivileged())

    @property
    def url(self) -> str:
        """The database's address, for SQLAlchemy."""
        return f"postgresql+psycopg2://airflow@/postgres?host={self._folder}"

    def _begin(self) -> None:
        data, folder = str(self._folder / "data"), str(self._folder)
        initdb, postgres, pg_isready = (str(self._programs / program) for program in _PROGRAMS)
        if (
            self._run(initdb, "-D", data, "-U", "airflow", "-A", "trust", "-E", "UTF8", "--no-sync").wait()
            != 0
        ):
            raise LocalAirflowError(f"PostgreSQL's database could not be made:\n{self._log()}")
        settings = [part for name, value in _SETTINGS.items() for part in ("-c", f"{name}={value}")]
        self._serve(
            *(postgres, "-D", data, "-k", folder, *settings),
            answers=lambda: self._run(pg_isready, "-q", "-h", folder).wait() == 0,
        )


def programs() -> Path:
    """
    Return the folder of PostgreSQL's programs: the newest one of Debian's, or else what is in the PATH.

    :raises ServerMissingError: if there is none.
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
    """Return the user that the server must run as where the caller is root, whom it refuses."""
    if os.geteuid() != 0:
        return None
    with suppress(KeyError):
        return pwd.getpwnam("postgres")
    return pwd.getpwnam("nobody")
