"""The folder that an Airflow is at home in."""

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
def own(home: Path) -> Iterator[Path]:
    """
    Take a folder for this program alone, in the block, and empty it.

    :raises LocalAirflowError: if something else is in it, or another program has it.
    """
    marker = home / ".local-airflow"
    if home.exists() and any(home.iterdir()) and not marker.exists():
        raise LocalAirflowError(f"{home} has something else in it than an earlier run. Name another folder.")
    home.mkdir(parents=True, exist_ok=True)
    folder = os.open(home, os.O_RDONLY)
    try:
        try:
            fcntl.flock(folder, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise LocalAirflowError(f"Another one is running in {home} already. Stop it first.") from None
        for entry in home.iterdir():
            if entry.is_dir() and not entry.is_symlink():
                shutil.rmtree(entry)
            else:
                entry.unlink()
        marker.touch()
        yield home
    finally:
        os.close(folder)
