"""The key is found nowhere in a whole Airflow but in its connection, encrypted."""

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
from tests.e2e.search import Walk, files, find, rows
from tests.e2e.steps import AIRFLOW

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from airflow_provider_fireworks.emulator import Emulator
    from local_airflow import LocalAirflow

#: What the doc_md of one of the DAGs is.
IN_THE_SOURCE = "control_in_the_source_of_a_dag"

MODELS = (
    *("good", "bad", "weekly", "deployed", "broken"),
    *("never-ready", "refused-later", "hangs", "fails"),
)

#: Runs, with the state that each is to end in.
PLAN: list[tuple[str, dict[str, object], str]] = [
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

#: Where, at least, an answer has to have come from.
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
    """Store connections that lead nowhere, with the right key; return the keys of all that are stored."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        closed = f"http://127.0.0.1:{taken.getsockname()[1]}"
    for name, host in (("fireworks_nobody", closed), ("fireworks_plain_http", "http://elsewhere")):
        airflow.api.add_connection(name, json.loads(emulator.connection) | {"host": host})
    right = dict.fromkeys(("fireworks_default", "fireworks_nobody", "fireworks_plain_http"), emulator.api_key)
    return right | {"fireworks_wrong_key": wrong_key}


@pytest.fixture
def run_everything(
    airflow: LocalAirflow,
    emulator: Emulator,
    finish: Callable[..., None],
    deploy_by_hand: Callable[[str, str], None],
) -> Iterator[Callable[[str], set[str]]]:
    """
    Run every example DAG to success and to failure, and fail in every other way; return the runs' ids.

    It is given a marker that Airflow gets to know as it does other parameters.
    """

    def run(marker: str) -> set[str]:
        for model in MODELS:
            emulator.add_model(model)
        # Unpaused, the scheduled DAG also makes a run of its own, with these.
        for model in ("my-model", "my-other-model"):
            emulator.set_model(model, supportedPrecisions=["FP8", "FP4"])
        emulator.configure(
            duration=3,
            deploy_duration=2,
            outcomes={"FP4": "failed_status"},
            deploy_outcomes={"NF4": "failed"},
        )
        emulator.fault("hang", path="/models/hangs", times=-1)
        emulator.fault("slow", path="/models/refused-later", delay=0)
        emulator.fault("status", status=403, path="/models/refused-later", times=-1)
        deploy_by_hand("left-behind", Owner("gone", "long_ago", "deploy").description)
        started = [(dag, airflow.trigger(dag, conf | {"marker": marker}), end) for dag, conf, end in PLAN]
        for dag, run, end in started:
            finish(dag, run, end)
        tasks = airflow.api.task_instances(*started[0][:2])
        assert [task.name for task in tasks if task.state != "failed"] == ["tell"]
        return {run for _, run, _ in started}

    yield run
    for dag in ("prepare_scheduled", "sweep_deployments"):
        airflow.api.request("PATCH", f"/api/v2/dags/{dag}", json={"is_paused": True})


def test_a_search_finds_what_is_there(tmp_path: Path) -> None:
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


def test_the_key_is_found_nowhere(
    airflow: LocalAirflow,
    emulator: Emulator,
    connections: dict[str, str],
    run_everything: Callable[[str], set[str]],
    fernet_key: str,
) -> None:
    marker = f"control_{secrets.token_hex(16)}"
    airflow.api.request("POST", "/api/v2/variables", json={"key": "control", "value": marker})
    runs = run_everything(marker)

    walk = Walk(airflow.url, runs)
    for page in ("/", "/connections", "/dags/deploy_fan_out", "/variables", "/docs", "/redoc"):
        assert b"<html" in walk.page(page)
    assert ROUTES - walk.has_responded == set()
    in_files, in_rows, in_answers = files(airflow.home), rows(airflow.home / "airflow.db"), walk.places
    for key in set(connections.values()):
        assert find(key, [*in_files, *in_rows, *in_answers]) == []

    # The keys were there to be found …
    stored = dict(
        zip(values("connection.conn_id", in_rows), values("connection.password", in_rows), strict=True)
    )
    assert {name: Fernet(fernet_key).decrypt(stored[name]).decode() for name in stored} == connections
    # … and what is there is found.
    assert any("task_id=tell" in file for file in find(marker, in_files))
    xcom = "xcom.value" if AIRFLOW < (3, 4) else "xcom_v2.value"
    assert {"dag_run.conf", xcom} <= set(find(marker, in_rows))
    assert {"dag_code.source_code", "serialized_dag.data_compressed"} <= set(find(IN_THE_SOURCE, in_rows))
    answers = [*find(marker, in_answers), *find(IN_THE_SOURCE, in_answers)]
    for path in ("/logs/1", "/xcomEntries/plain", "/xcomEntries/encoded", "/variables/control"):
        assert any(f"{path}?" in answer for answer in answers), path
    assert "/api/v2/dagSources/fail_in_every_way?" in answers


def values(column: str, places: list[tuple[str, bytes]]) -> list[str]:
    return [value.decode() for place, value in places if place == column]
