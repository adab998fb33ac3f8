"""The folder in which a program runs its Airflow."""

from __future__ import annotations

import fcntl
import os
import shutil
from contextlib import contextmanager
from typing import TYPE_CHECKING

from local_airflow.components import LocalAirflowError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@contextmanager
def lock_home(home: Path) -> Iterator[Path]:
    """
    Lock a folder for this program, inside the block, and empty it.

    :raises LocalAirflowError: if it holds other files than those of an earlier run, or another program locks it.
    """
    marker = home / ".local-airflow"
    if home.exists() and any(home.iterdir()) and not marker.exists():
        raise LocalAirflowError(f"{home} holds other files than those of an earlier run. Use another folder.")
    home.mkdir(parents=True, exist_ok=True)
    folder = os.open(home, os.O_RDONLY)
    try:
        try:
            fcntl.flock(folder, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise LocalAirflowError(f"Another program is already running in {home}. Stop it first.") from None
        for entry in home.iterdir():
            if entry.is_dir() and not entry.is_symlink():
                shutil.rmtree(entry)
            else:
                entry.unlink()
        marker.touch()
        yield home
    finally:
        os.close(folder)
