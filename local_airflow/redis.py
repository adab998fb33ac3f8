"""A Redis server of one's own, for as long as it is needed."""

from __future__ import annotations

import secrets
import shutil
import socket

from local_airflow.components import reserve_any
from local_airflow.server import Server, ServerMissingError


class Redis(Server):
    """
    An empty Redis server at a free port of loopback, which keeps nothing on the disk::

        with Redis() as redis:
            LocalAirflow(home, dags, database=postgres.url, broker=redis.url)

    Whoever can write to it can let the workers run what they like, so it asks for a password.

    :raises ServerMissingError: if its program is not found.
    """

    def __init__(self) -> None:
        self._program = program()
        self._password = secrets.token_hex(16)
        self._reserved = reserve_any()
        self._address = self._reserved.getsockname()
        super().__init__("Redis")

    @property
    def url(self) -> str:
        """Its address, for Celery."""
        host, port = self._address
        return f"redis://:{self._password}@{host}:{port}/0"

    def stop(self) -> None:
        super().stop()
        self._reserved.close()

    def _begin(self) -> None:
        host, port = self._address
        # In a file, as everyone can read the arguments of a process.
        settings = self._folder / "redis.conf"
        settings.touch(0o600)
        settings.write_text(
            f'bind {host}\nport {port}\nrequirepass {self._password}\nsave ""\nappendonly no\n'
        )
        self._serve(self._program, str(settings), answers=self._answers)

    def _answers(self) -> bool:
        try:
            with (
                socket.create_connection(self._address, timeout=1) as connection,
                connection.makefile("rb") as answers,
            ):
                connection.sendall(f"AUTH {self._password}\r\nPING\r\n".encode())
                return (answers.readline(), answers.readline()) == (b"+OK\r\n", b"+PONG\r\n")
        except OSError:
            return False


def program() -> str:
    """
    Return the path of Redis' program.

    :raises ServerMissingError: if there is none.
    """
    found = shutil.which("redis-server")
    if found is None:
        raise ServerMissingError(
            "Redis is not installed. On Debian and Ubuntu: "
            "apt-get install --no-install-recommends redis-server"
        )
    return found
