"""Run DAGs that are defined in tests, with ``dag.test()``."""

from __future__ import annotations

import subprocess
import sys
import time
from datetime import datetime, timezone
from functools import cache
from itertools import count
from pathlib import Path
from typing import Any

import airflow
import pytest
from airflow.sdk import DAG

try:
    from airflow.dag_processing import dagbag
except ImportError:  # Airflow 3.0 and 3.1
    from airflow.models import dagbag

DagBag: Any = dagbag.DagBag
#: In Airflow 3.0 it is a method of the bag.
sync_bag_to_db: Any = getattr(dagbag, "sync_bag_to_db", None)

_NUMBERS = count(1)


def new_dag(**arguments: Any) -> DAG:
    """Return a DAG with an id of its own, because Airflow 3.4 caches the DAGs that it has read from the database."""
    dag_id = f"of_a_test_{next(_NUMBERS)}"
    return DAG(dag_id, schedule=None, start_date=datetime(2026, 1, 1, tzinfo=timezone.utc), **arguments)


def run_dag(dag: DAG, folder: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """
    Run a DAG to its end, and return the run.

    :param folder: an empty one. Airflow versions that store DAGs parse the DAGs folder in each ``dag.test()``.
    """
    from airflow import settings
    from airflow.sdk.execution_time import supervisor

    if airflow.__version__ in ("3.0.0", "3.0.1"):
        pytest.skip("dag.test() came with Airflow 3.0.2")
    _migrate_database()
    # Airflow 3.0 starts a server for each task, which takes a second.
    monkeypatch.setattr(supervisor, "in_process_api_server", _api_server)
    monkeypatch.setattr(settings, "DAGS_FOLDER", str(folder))
    # dag.test() sleeps for a second whenever no task can run yet.
    sleep = time.sleep
    monkeypatch.setattr(time, "sleep", lambda seconds: sleep(min(seconds, 0.1)))
    _store(dag, folder)
    return dag.test()


def states(run: Any) -> dict[str, str]:
    """Return the state of each task of a run, a mapped one as ``task[0]``."""
    return {
        f"{ti.task_id}[{ti.map_index}]" if ti.map_index >= 0 else ti.task_id: str(ti.state)
        for ti in run.get_task_instances()
    }


@cache
def _api_server() -> Any:
    from airflow.api_fastapi.execution_api.app import InProcessExecutionAPI

    return InProcessExecutionAPI()


@cache
def _migrate_database() -> None:
    migrate = [sys.executable, "-m", "airflow", "db", "migrate"]
    subprocess.run(migrate, check=True, capture_output=True, timeout=180)


def _store(dag: DAG, folder: Path) -> None:
    """Store a DAG in the database, as the DAG processor does with the DAGs that it finds in files."""
    from airflow.dag_processing.bundles.manager import DagBundlesManager

    DagBundlesManager().sync_bundles_to_db()
    dag.relative_fileloc = "of_a_test.py"
    bag = DagBag(str(folder))
    bag.bag_dag(dag)
    if sync_bag_to_db is None:
        bag.sync_to_db("dags-folder", None)
    else:
        sync_bag_to_db(bag, "dags-folder", None)
