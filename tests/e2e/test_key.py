"""The API key is nowhere in a whole Airflow but, encrypted, in its connection."""

from __future__ import annotations

import base64
import gzip
import json
import pickle
import secrets
import socket
import sqlite3
import zlib
from contextlib import closing
from typing import TYPE_CHECKING

import pytest
from cryptography.fernet import Fernet

from airflow_provider_fireworks.deployments.ownership import Owner
from tests.e2e.search import Crawl, files, find, rows
from tests.e2e.steps import AIRFLOW

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from airflow_provider_fireworks.emulator import Emulator
    from local_airflow.components import LocalAirflow

#: The doc_md of one of the DAGs.
IN_SOURCE = "control_in_the_source_of_a_dag"

MODELS = (
    *("good", "bad", "weekly", "deployed", "broken"),
    *("never-ready", "rejected-later", "hangs", "fails"),
)

#: DAG runs, and the expected state of each.
RUNS: list[tuple[str, dict[str, object], str]] = [
    ("fail_in_every_way", {}, "failed"),
    ("prepare_scheduled", {"models": ["weekly"], "precisions": ["FP8"]}, "success"),
    ("prepare_scheduled", {"models": ["none"], "precisions": ["FP8"]}, "failed"),
    ("sweep_deployments", {}, "failed"),
    ("sweep_deployments", {"delete": True}, "success"),
    ("deploy_fan_out", {"model": "deployed", "precisions": ["FP8"]}, "success"),
    ("deploy_fan_out", {"model": "broken", "precisions": ["NF4"]}, "failed"),
    ("prepare_fan_out", {"model": "good", "precisions": ["FP8"]}, "success"),
    ("prepare_fan_out", {"model": "bad", "precisions": ["FP4"]}, "failed"),
]

#: Routes that must at least have responded.
ROUTES = {
    "/api/v2/connections",
    "/api/v2/connections/{connection_id}",
    "/api/v2/variables",
    "/api/v2/variables/{variable_key}",
    "/api/v2/eventLogs",
    "/api/v2/eventLogs/{event_log_id}",
    "/api/v2/jobs",
    "/api/v2/dagSources/{dag_id}",
    "/api/v2/dags/{dag_id}/details",
    "/api/v2/dags/{dag_id}/tasks/{task_id}",
    "/api/v2/dags/{dag_id}/dagRuns/{dag_run_id}",
    "/api/v2/dags/{dag_id}/dagRuns/{dag_run_id}/taskInstances",
    *(
        f"/api/v2/dags/{{dag_id}}/dagRuns/{{dag_run_id}}/taskInstances/{{task_id}}{rest}"
        for rest in (
            *("", "/{map_index}", "/links", "/xcomEntries", "/xcomEntries/{xcom_key}", "/logs/{try_number}"),
            *("/tries", "/tries/{task_try_number}", "/{map_index}/tries/{task_try_number}"),
        )
    ),
    "/ui/connections/hook_meta",
    "/ui/dags",
    "/ui/grid/runs/{dag_id}",
    "/ui/grid/ti_summaries/{dag_id}",
    "/ui/structure/structure_data",
}


@pytest.fixture
def connections(airflow: LocalAirflow, emulator: Emulator, wrong_key: str) -> dict[str, str]:
    """Add connections to wrong addresses with the right key. Return the keys of all connections."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        closed = f"http://127.0.0.1:{taken.getsockname()[1]}"
    for name, host in (("fireworks_unreachable", closed), ("fireworks_plain_http", "http://elsewhere")):
        airflow.api.add_connection(name, json.loads(emulator.connection) | {"host": host})
    right = dict.fromkeys(
        ("fireworks_default", "fireworks_unreachable", "fireworks_plain_http"), emulator.api_key
    )
    return right | {"fireworks_wrong_key": wrong_key}


@pytest.fixture
def run_everything(
    airflow: LocalAirflow,
    emulator: Emulator,
    finish: Callable[..., None],
    deploy_by_hand: Callable[[str, str], None],
) -> Iterator[Callable[[str], set[str]]]:
    """
    Run every example DAG to success and to failure, and fail in every other way. Return the ids of the runs.

    Its argument is a marker, which becomes a param of all runs.
    """

    def run(marker: str) -> set[str]:
        for model in MODELS:
            emulator.add_model(model)
        # The scheduled DAG prepares these in a run of its own as soon as it is unpaused.
        for model in ("my-model", "my-other-model"):
            emulator.set_model(model, supportedPrecisions=["FP8", "FP4"])
        # Prepared already, as this DAG polls only every 60 s.
        emulator.set_model("weekly", supportedPrecisions=["FP8"])
        emulator.configure(
            precision_lists="present",
            duration=3,
            deploy_duration=2,
            outcomes={"FP4": "failed_status"},
            deploy_outcomes={"NF4": "failed"},
        )
        emulator.fault("hang", path="/models/hangs", times=-1)
        emulator.fault("slow", path="/models/rejected-later", delay=0)
        emulator.fault("status", status=403, path="/models/rejected-later", times=-1)
        deploy_by_hand("orphaned", Owner("gone", "long_ago", "deploy").description)
        started = [(dag, airflow.trigger(dag, conf | {"marker": marker}), end) for dag, conf, end in RUNS]
        for dag, run, end in started:
            finish(dag, run, end)
        tasks = airflow.api.task_instances(*started[0][:2])
        assert [task.name for task in tasks if task.state != "failed"] == ["log_marker"]
        return {run for _, run, _ in started}

    yield run
    for dag in ("prepare_scheduled", "sweep_deployments"):
        airflow.api.request("PATCH", f"/api/v2/dags/{dag}", json={"is_paused": True})


def test_search_finds_text_in_every_encoding(tmp_path: Path) -> None:
    text = f"control_{secrets.token_hex(8)}"
    forms = {
        "plain": text.encode(),
        "json": f'{{"key": "Bearer {text}"}}'.encode(),
        "pickle": pickle.dumps({"key": [text]}),
        "zlib": zlib.compress(text.encode()),
        "gzip": gzip.compress(b"before " + base64.b64encode(text.encode())),
        "twice": zlib.compress(gzip.compress(text.encode())),
        **{f"base64, {n} before": base64.b64encode(b"x" * n + text.encode() + b"y" * n) for n in range(5)},
    }
    for name, data in forms.items():
        (tmp_path / name).write_bytes(data)
    (tmp_path / "another").write_bytes(b"control_")
    assert set(find(text, files(tmp_path))) == set(forms)
    with closing(sqlite3.connect(tmp_path / "another.db")) as connection:
        connection.execute("CREATE TABLE t (name TEXT, value BLOB)")
        connection.executemany("INSERT INTO t VALUES (?, ?)", forms.items())
        connection.commit()
    assert find(text, rows(tmp_path / "another.db")) == ["t.value"] * len(forms)


def test_key_is_nowhere_in_airflow_after_successes_and_failures(
    airflow: LocalAirflow,
    emulator: Emulator,
    connections: dict[str, str],
    run_everything: Callable[[str], set[str]],
    fernet_key: str,
) -> None:
    marker = f"control_{secrets.token_hex(16)}"
    airflow.api.request("POST", "/api/v2/variables", json={"key": "control", "value": marker})
    runs = run_everything(marker)

    crawl = Crawl(airflow.url, runs)
    for page in ("/", "/connections", "/dags/deploy_fan_out", "/variables", "/docs", "/redoc"):
        assert b"<html" in crawl.page(page)
    assert ROUTES - crawl.succeeded == set()
    in_files, in_rows, in_responses = files(airflow.home), rows(airflow.home / "airflow.db"), crawl.places
    for key in set(connections.values()):
        assert find(key, [*in_files, *in_rows, *in_responses]) == []

    # The search would have found the keys, as they are stored …
    stored = dict(
        zip(values("connection.conn_id", in_rows), values("connection.password", in_rows), strict=True)
    )
    assert {name: Fernet(fernet_key).decrypt(stored[name]).decode() for name in stored} == connections
    # … and it finds the markers everywhere.
    assert any("task_id=log_marker" in file for file in find(marker, in_files))
    xcom = "xcom.value" if AIRFLOW < (3, 4) else "xcom_v2.value"
    assert {"dag_run.conf", xcom} <= set(find(marker, in_rows))
    assert {"dag_code.source_code", "serialized_dag.data_compressed"} <= set(find(IN_SOURCE, in_rows))
    responses = [*find(marker, in_responses), *find(IN_SOURCE, in_responses)]
    for path in ("/logs/1", "/xcomEntries/plain", "/xcomEntries/encoded", "/variables/control"):
        assert any(f"{path}?" in response for response in responses), path
    assert "/api/v2/dagSources/fail_in_every_way?" in responses


def values(column: str, places: list[tuple[str, bytes]]) -> list[str]:
    return [value.decode() for place, value in places if place == column]
