"""The base of the temporary servers that an Airflow needs."""

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
    """A server is not installed. The message names Debian's package."""


class Server(ABC):
    """
    A server in a new folder of its own, which is removed with it.

    As a context manager it accepts connections inside the block, and is stopped after it.

    :param name: its name, for messages.
    :param user: the user that it runs as; by default the caller.
    """

    #: The signal that stops it at once, even while clients are connected.
    stop_signal = signal.SIGTERM

    def __init__(self, name: str, user: pwd.struct_passwd | None = None) -> None:
        self._name = name
        self._user = user
        self._folder = Path()
        self._watcher = sessions.Watcher()
        self._process: subprocess.Popen[bytes] | None = None

    @property
    @abstractmethod
    def url(self) -> str:
        """Its URL, for Airflow's configuration."""

    @abstractmethod
    def _launch(self) -> None:
        """Start it in its folder with :meth:`_serve`."""

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
        """Start it, and return once it accepts connections."""
        # Not in a folder of the caller, as the server's user may not enter that.
        self._folder = Path(tempfile.mkdtemp(prefix=f"local-airflow-{self._name.lower()}-"))
        self._watcher.remove_at_exit(self._folder)
        if self._user is not None:
            os.chown(self._folder, self._user.pw_uid, self._user.pw_gid)
        self._launch()

    def stop(self) -> None:
        """Stop it, even while clients are connected, and remove its folder."""
        # A signal must not interrupt this half-way.
        with sessions.signals_held(drop=True):
            if self._process is not None:
                self._process.send_signal(self.stop_signal)
                try:
                    self._process.wait(5)
                except subprocess.TimeoutExpired:
                    # Its children end by themselves then.
                    self._process.kill()
                    self._process.wait()
                self._process = None
            if self._folder != Path():
                shutil.rmtree(self._folder, ignore_errors=True)
            self._watcher.close()

    def _serve(self, *command: str, is_ready: Callable[[], bool]) -> None:
        """
        Start the server's process, and return once it is ready.

        :param is_ready: whether it accepts connections.
        """
        # A signal between the two would leave the process running forever.
        with sessions.signals_held(drop=False):
            self._process = self._run(*command)
            self._watcher.add(self._process.pid)
        deadline = time.monotonic() + _SECONDS_TO_START
        while not is_ready():
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
