"""A server of one's own that an Airflow needs, for as long as it is needed."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import tempfile
import time
from abc import ABC, abstractmethod
from pathlib import Path
from typing import TYPE_CHECKING

from local_airflow import sessions
from local_airflow.components import LocalAirflowError

if TYPE_CHECKING:
    import pwd
    from collections.abc import Callable
    from types import TracebackType

    from typing_extensions import Self

_SECONDS_TO_START = 60


class ServerMissingError(LocalAirflowError):
    """A server's programs are not installed. The message names Debian's package."""


class Server(ABC):
    """
    A server in a new folder of its own, which goes with it.

    As a context manager it takes connections inside the block, and is gone after it.

    :param name: how people call it.
    :param user: whom it runs as; the caller if left out.
    """

    #: The signal that ends it at once, whoever is connected.
    end_with = signal.SIGTERM

    def __init__(self, name: str, user: pwd.struct_passwd | None = None) -> None:
        self._name = name
        self._user = user
        self._folder = Path()
        self._watcher = sessions.Watcher()
        self._process: subprocess.Popen[bytes] | None = None

    @property
    @abstractmethod
    def url(self) -> str:
        """Its address, as Airflow takes it."""

    @abstractmethod
    def _begin(self) -> None:
        """Start it in its folder, by :meth:`_serve`."""

    def __enter__(self) -> Self:
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
        """Start it, and return once it can be connected to."""
        # Not below a folder of the caller's: the server's user could not get there if a parent is private.
        self._folder = Path(tempfile.mkdtemp(prefix=f"local-airflow-{self._name.lower()}-"))
        self._watcher.remove_at_the_end(self._folder)
        if self._user is not None:
            os.chown(self._folder, self._user.pw_uid, self._user.pw_gid)
        self._begin()

    def stop(self) -> None:
        """Stop it, whoever is still connected, and remove its folder."""
        # What comes in while it is being stopped must not end that half way.
        with sessions.signals_held(drop=True):
            if self._process is not None:
                self._process.send_signal(self.end_with)
                try:
                    self._process.wait(5)
                except subprocess.TimeoutExpired:
                    # Its children notice that, and end by themselves.
                    self._process.kill()
                    self._process.wait()
                self._process = None
            if self._folder != Path():
                shutil.rmtree(self._folder, ignore_errors=True)
            self._watcher.close()

    def _serve(self, *command: str, answers: Callable[[], bool]) -> None:
        """
        Start the server itself, and return once it answers.

        :param answers: whether it does.
        """
        # Were it interrupted between the two, nobody would ever end that process.
        with sessions.signals_held(drop=False):
            self._process = self._run(*command)
            self._watcher.add(self._process.pid)
        deadline = time.monotonic() + _SECONDS_TO_START
        while not answers():
            if self._process.poll() is not None or time.monotonic() > deadline:
                raise LocalAirflowError(f"{self._name} did not start:\n{self._log()}")
            time.sleep(0.1)

    def _run(self, *command: str) -> subprocess.Popen[bytes]:
        user = self._user
        with (self._folder / "log").open("ab") as log:
            return subprocess.Popen(
                command,
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
