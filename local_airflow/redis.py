"""A temporary Redis server."""

from __future__ import annotations

import secrets
import shutil
import socket

from local_airflow.components import reserve_any
from local_airflow.server import Server, ServerMissingError


class Redis(Server):
    """
    An empty Redis server on a free loopback port, which writes nothing to the disk::

        with Redis() as redis:
            LocalAirflow(home, dags, database=postgres.url, broker=redis.url)

    It needs a password, as whoever can write to it can make the workers run anything.

    :raises ServerMissingError: if Redis is not installed.
    """

    def __init__(self) -> None:
        self._program = find_program()
        self._password = secrets.token_hex(16)
        self._reserved = reserve_any()
        self._address = self._reserved.getsockname()
        super().__init__("Redis")

    @property
    def url(self) -> str:
        """The broker URL, for Celery."""
        host, port = self._address
        return f"redis://:{self._password}@{host}:{port}/0"

    def stop(self) -> None:
        super().stop()
        self._reserved.close()

    def _launch(self) -> None:
        host, port = self._address
        # Not as arguments, which every user of the machine can read.
        settings = self._folder / "redis.conf"
        settings.touch(0o600)
        settings.write_text(
            f'bind {host}\nport {port}\nrequirepass {self._password}\nsave ""\nappendonly no\n'
        )
        self._serve(self._program, str(settings), is_ready=self._is_ready)

    def _is_ready(self) -> bool:
        try:
            with (
                socket.create_connection(self._address, timeout=1) as connection,
                connection.makefile("rb") as responses,
            ):
                connection.sendall(f"AUTH {self._password}\r\nPING\r\n".encode())
                return (responses.readline(), responses.readline()) == (b"+OK\r\n", b"+PONG\r\n")
        except OSError:
            return False


def find_program() -> str:
    """
    Return the path of Redis' server program.

    :raises ServerMissingError: if Redis is not installed.
    """
    found = shutil.which("redis-server")
    if found is None:
        raise ServerMissingError(
            "Redis is not installed. On Debian and Ubuntu: "
            "apt-get install --no-install-recommends redis-server"
        )
    return found
