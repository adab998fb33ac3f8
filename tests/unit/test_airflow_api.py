"""The client of Airflow's API reads lists of any number of pages, and repeats requests that hit a locked database."""

from __future__ import annotations

import json
import threading
from collections import Counter
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from local_airflow.api import AirflowApi, AirflowApiError

MAX_PAGE_SIZE = 100
RUN = "/api/v2/dags/fan_out/dagRuns/run/taskInstances"


def mapped_task(index: int, state: str) -> dict[str, Any]:
    return {
        "dag_run_id": "run",
        "task_id": "prepare",
        "map_index": index,
        "state": state,
        "try_number": 1,
        "duration": None,
        "unixname": None,
        "trigger": None,
    }


def job(number: int) -> dict[str, Any]:
    return {"id": number, "unixname": "triggerer", "latest_heartbeat": f"2026-11-28T00:00:{number % 60:02}Z"}


class PagingServer:
    """
    Serves lists by path, at most 100 rows per page whatever ``limit`` says, and filters by ``state``.

    :ivar pages: number of pages that were read, by path.
    :ivar total_entries: overrides the number of rows in the responses.
    :ivar locked: how many requests to start a run fail before one succeeds, as with a locked database.
    :ivar runs: bodies of the requests to start a run.
    """

    def __init__(self) -> None:
        self.lists: dict[str, tuple[str, list[dict[str, Any]]]] = {}
        self.pages: Counter[str] = Counter()
        self.total_entries: int | None = None
        self.locked = 0
        self.runs: list[dict[str, Any]] = []
        paging = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self.respond(200, paging.respond(self.path))

            def do_PATCH(self) -> None:
                self.rfile.read(int(self.headers["Content-Length"]))
                self.respond(200, {})

            def do_POST(self) -> None:
                paging.runs.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
                if len(paging.runs) <= paging.locked:
                    self.respond(500, {"detail": {"reason": "Database error"}})
                else:
                    self.respond(200, {"dag_run_id": "manual"})

            def respond(self, status: int, body: dict[str, Any]) -> None:
                content = json.dumps(body).encode()
                self.send_response(status)
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

            def log_message(self, format: str, *args: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)

    def respond(self, target: str) -> dict[str, Any]:
        url = urlsplit(target)
        if url.path == "/auth/token":
            return {"access_token": "token"}
        params = parse_qs(url.query)
        self.pages[url.path] += 1
        key, rows = self.lists[url.path]
        rows = [row for row in rows if row.get("state") in params.get("state", [row.get("state")])]
        first = int(params.get("offset", ["0"])[0])
        size = min(int(params.get("limit", ["50"])[0]), MAX_PAGE_SIZE)
        total = len(rows) if self.total_entries is None else self.total_entries
        return {key: rows[first : first + size], "total_entries": total}


@pytest.fixture
def server() -> Iterator[PagingServer]:
    paging = PagingServer()
    thread = threading.Thread(target=paging.server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield paging
    paging.server.shutdown()
    thread.join()
    paging.server.server_close()


@pytest.fixture
def api(server: PagingServer) -> Iterator[AirflowApi]:
    client = AirflowApi(f"http://127.0.0.1:{server.server.server_port}")
    yield client
    client.close()


@pytest.mark.parametrize(("count", "pages"), [(0, 1), (1, 1), (100, 1), (101, 2), (250, 3)])
def test_task_instances_of_any_number_are_all_returned(
    server: PagingServer, api: AirflowApi, count: int, pages: int
) -> None:
    server.lists[RUN] = ("task_instances", [mapped_task(index, "success") for index in range(count)])

    tasks = api.task_instances("fan_out", "run")

    assert [task.map_index for task in tasks] == list(range(count))
    assert server.pages[RUN] == pages


def test_task_instances_of_state_after_first_page_are_found(server: PagingServer, api: AirflowApi) -> None:
    states = ["success"] * 120 + ["failed"] * 130
    tasks = [mapped_task(index, state) for index, state in enumerate(states)]
    server.lists[RUN] = ("task_instances", tasks)

    found = api.task_instances("fan_out", "run", state="failed")

    assert [task.map_index for task in found] == list(range(120, 250))


def test_dag_after_first_page_is_found(server: PagingServer, api: AirflowApi) -> None:
    server.lists["/api/v2/dags"] = ("dags", [{"dag_id": f"dag_{number}"} for number in range(150)])
    server.lists["/api/v2/importErrors"] = ("import_errors", [])

    assert api.has_dag("dag_149")
    assert not api.has_dag("dag_150")


def test_jobs_after_first_page_are_sorted_by_heartbeat(server: PagingServer, api: AirflowApi) -> None:
    server.lists["/api/v2/jobs"] = ("jobs", [job(number) for number in range(119)])

    jobs = api.jobs()

    assert len(jobs) == 119
    assert jobs[0].id == 59
    assert [each.heartbeat for each in jobs] == sorted((each.heartbeat for each in jobs), reverse=True)


def test_rows_that_disappear_between_pages_end_the_list(server: PagingServer, api: AirflowApi) -> None:
    server.lists["/api/v2/dags"] = ("dags", [{"dag_id": f"dag_{number}"} for number in range(150)])
    server.total_entries = 1000

    assert len(api.rows("/api/v2/dags", "dags")) == 150


def test_trigger_repeats_request_that_hit_a_locked_database(server: PagingServer, api: AirflowApi) -> None:
    server.locked = 2

    assert api.trigger("fan_out", {"model": "my-model"}) == "manual"

    assert server.runs == [{"logical_date": None, "conf": {"model": "my-model"}}] * 3


def test_trigger_raises_airflows_error_if_database_stays_locked(
    server: PagingServer, api: AirflowApi, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.locked = 100
    monkeypatch.setattr("urllib3.util.Retry.sleep", lambda *_: None)

    with pytest.raises(AirflowApiError, match=r"dagRuns: 500 .*Database error"):
        api.trigger("fan_out")
