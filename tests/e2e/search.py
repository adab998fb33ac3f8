"""Search a whole Airflow for a text: its files, its database, and the responses of its API server."""

from __future__ import annotations

import base64
import json
import sqlite3
import zlib
from collections.abc import Iterable, Iterator
from contextlib import closing, suppress
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import requests
import yaml
from requests.adapters import HTTPAdapter
from urllib3.util import Retry

Place = tuple[str, bytes]

#: Where lists have the value of a path parameter under another name: (end of the list's path, field).
_FIELDS = {
    "xcom_key": ("/xcomEntries", "key"),
    "variable_key": ("/variables", "key"),
    "key": ("/state-store", "key"),
    "pool_name": ("/pools", "name"),
    "asset_id": ("/assets", "id"),
    "asset_alias_id": ("/aliases", "id"),
    "task_try_number": ("", "try_number"),
    "dag_run_id": ("", "run_id"),
    "run_id": ("", "dag_run_id"),
}
_CONSTANTS = {"interval": "1", "start_date": "2020-01-01T00:00:00Z"}
_PAGE_SIZE = 100


def find(text: str, places: Iterable[Place]) -> list[str]:
    """
    Return the places that contain a text as it is or in base64.

    :param text: letters, digits and ``_`` only, which are the same URL-encoded, in JSON and in a pickle.
    """
    assert text.replace("_", "").isalnum()
    needles = [text.encode(), *_in_base64(text.encode())]
    return [place for place, data in places if any(needle in data for needle in needles)]


def _in_base64(text: bytes) -> Iterator[bytes]:
    """Yield a text as it appears in the base64 of longer data, which depends on its offset there."""
    for offset in range(3):
        encoded = base64.b64encode(b"\0" * offset + text)
        yield encoded[-(-offset * 8 // 6) : (offset + len(text)) * 8 // 6]


def _with_uncompressed(data: bytes) -> bytes:
    """Return data, followed by its uncompressed content if it is compressed (zlib, gzip)."""
    try:
        return data + _with_uncompressed(zlib.decompress(data, wbits=47))
    except zlib.error:
        return data


def files(home: Path) -> list[Place]:
    """Return all files below a folder: logs, database, configuration."""
    found = []
    for path in home.rglob("*"):
        # SQLite creates and deletes its journals.
        with suppress(FileNotFoundError):
            if path.is_file():
                found.append((str(path.relative_to(home)), _with_uncompressed(path.read_bytes())))
    return found


def rows(database: Path) -> list[Place]:
    """Return every value of a SQLite database, by table and column."""
    found = []
    with closing(sqlite3.connect(f"file:{database}?mode=ro", uri=True, timeout=30)) as connection:
        for (table,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall():
            cursor = connection.execute(f'SELECT * FROM "{table}"')
            columns = [column[0] for column in cursor.description]
            for row in cursor:
                found += [
                    (
                        f"{table}.{column}",
                        _with_uncompressed(value if isinstance(value, bytes) else str(value).encode()),
                    )
                    for column, value in zip(columns, row, strict=True)
                ]
    return found


@dataclass
class Crawl:
    """
    All responses of an API server to ``GET`` whose parameters are found in other responses.

    The routes are those of its OpenAPI document and of the private API of its UI, which is described in the installed
    package.

    :param url: of the API server, whose simple auth manager makes everyone an admin.
    :param runs: ids of the DAG runs to read.
    :ivar responses: by path, whatever their status.
    :ivar succeeded: routes with a successful response.
    """

    url: str
    runs: set[str]
    responses: dict[str, bytes] = field(default_factory=dict)
    succeeded: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        self._session = requests.Session()
        self._session.trust_env = False
        # The server closes the connection after an error of its own, such as /ui/calendar has for runs without a
        # logical date.
        self._session.mount("http://", HTTPAdapter(max_retries=Retry(total=3, backoff_factor=0.5)))
        token = self._session.get(f"{self.url}/auth/token", timeout=30).json()["access_token"]
        self._session.headers["Authorization"] = f"Bearer {token}"
        #: Objects of all responses: the route, and the fields of the object.
        self._objects: list[tuple[str, dict[str, Any]]] = [("", {})]
        routes = self._routes()
        count = -1
        while count != len(self.responses):
            count = len(self.responses)
            for route, parameters in routes.items():
                self._read_route(route, parameters)

    @property
    def places(self) -> list[Place]:
        """The responses, for :func:`find`."""
        return list(self.responses.items())

    def page(self, path: str) -> bytes:
        """Read a page of the UI, add it to the responses, and return it."""
        response = self._session.get(self.url + path, timeout=30)
        self.responses[path] = response.content
        assert response.ok, f"{path}: {response.status_code}"
        return response.content

    def _routes(self) -> dict[str, list[dict[str, Any]]]:
        spec = find_spec("airflow")
        assert spec is not None
        assert spec.origin is not None
        private = Path(spec.origin).parent / "api_fastapi/core_api/openapi/_private_ui.yaml"
        documents = [json.loads(self.page("/openapi.json")), yaml.safe_load(private.read_text())]
        return {
            route: verbs["get"].get("parameters", [])
            for document in documents
            for route, verbs in document["paths"].items()
            # These include the logout.
            if "get" in verbs and not route.startswith("/api/v2/auth/")
        }

    def _read_route(self, route: str, parameters: list[dict[str, Any]]) -> None:
        needed = {each["name"] for each in parameters if each["in"] == "path" or each.get("required")}
        optional = {each["name"] for each in parameters} - needed
        in_path = {each["name"] for each in parameters if each["in"] == "path"}
        if "task_id" in in_path and "map_index" in optional:
            needed.add("map_index")
        bindings = {
            tuple(sorted(binding.items()))
            for found in self._objects
            if (binding := self._bind(needed, *found)) is not None
        }
        for binding in sorted(bindings):
            values = dict(binding)
            path = route.format(**{name: requests.utils.quote(values[name], safe="") for name in in_path})
            query = {name: values[name] for name in needed - in_path}
            query |= {"full_content": "true"} if "full_content" in optional else {}
            if "limit" in optional:
                query["limit"] = str(_PAGE_SIZE)
            offset = 0
            while (
                self._read(route, path, query | ({"offset": str(offset)} if offset else {}), values)
                > offset + _PAGE_SIZE
            ):
                offset += _PAGE_SIZE

    def _bind(self, needed: set[str], source: str, fields: dict[str, Any]) -> dict[str, str] | None:
        """Return the parameters that are fields of an object, if those are all that are needed."""
        run = fields.get("dag_run_id") or fields.get("run_id")
        if run is not None and run not in self.runs:
            return None
        binding = {}
        for name in needed:
            value = _CONSTANTS.get(name, fields.get(name) if name != "key" else None)
            end, other = _FIELDS.get(name, ("", name))
            if value is None and source.endswith(end):
                value = fields.get(other)
            if value is None:
                return None
            binding[name] = str(value)
        return binding

    def _read(self, route: str, path: str, query: dict[str, str], values: dict[str, str]) -> int:
        """Send a request unless it was sent before, collect the objects of its response, return their total."""
        target = path + "?" + "&".join(f"{name}={value}" for name, value in sorted(query.items()))
        if target in self.responses:
            return 0
        response = self._session.get(self.url + path, params=query, timeout=60, allow_redirects=False)
        self.responses[target] = response.content + str(dict(response.headers)).encode()
        if not response.ok:
            return 0
        self.succeeded.add(route)
        content_type = response.headers.get("Content-Type", "")
        if "json" not in content_type:
            return 0
        lines = response.text.splitlines() if "ndjson" in content_type else [response.text]
        parsed = [json.loads(line) for line in lines if line]
        for each in parsed:
            self._objects += [(route, fields) for fields in _objects(each, values)]
        total = parsed[0].get("total_entries") if parsed and isinstance(parsed[0], dict) else None
        return total or 0


def _objects(value: Any, outer: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Yield the plain fields of each object in JSON, together with those of the objects around it."""
    if isinstance(value, dict):
        plain = {name: each for name, each in value.items() if isinstance(each, (str, int))}
        fields = {**outer, **plain}
        yield fields
        for each in value.values():
            yield from _objects(each, fields)
    elif isinstance(value, list):
        for each in value:
            yield from _objects(each, outer)
