"""Search a whole Airflow for a text: its files, its database, and what its API server answers."""

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

#: Where else than under its own name the value of a path's parameter is listed: (end of the list's path, field).
_LISTED = {
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
_ALWAYS = {"interval": "1", "start_date": "2020-01-01T00:00:00Z"}
_PAGE = 100


def find(text: str, places: Iterable[Place]) -> list[str]:
    """
    Return the places that hold a text: plainly, in base64, and both also compressed (zlib, gzip).

    :param text: of letters, digits and ``_`` alone, which read the same URL-encoded, in JSON and in a pickle.
    """
    assert text.replace("_", "").isalnum()
    needles = [text.encode(), *_in_base64(text.encode())]
    return [place for place, data in places if any(needle in data for needle in needles)]


def _in_base64(text: bytes) -> Iterator[bytes]:
    """What a text looks like in the base64 of something longer, which depends on where in it the text begins."""
    for before in range(3):
        encoded = base64.b64encode(b"\0" * before + text)
        yield encoded[-(-before * 8 // 6) : (before + len(text)) * 8 // 6]


def _unpacked(data: bytes) -> bytes:
    """Return data, and behind it what it holds if it is compressed."""
    try:
        return data + _unpacked(zlib.decompress(data, wbits=47))
    except zlib.error:
        return data


def files(home: Path) -> list[Place]:
    """Return all files below a folder: logs, database, configuration."""
    found = []
    for path in home.rglob("*"):
        # SQLite's journals come and go.
        with suppress(FileNotFoundError):
            if path.is_file():
                found.append((str(path.relative_to(home)), _unpacked(path.read_bytes())))
    return found


def rows(database: Path) -> list[Place]:
    """Return every value of a SQLite database, by table and column, as it is stored."""
    found = []
    with closing(sqlite3.connect(f"file:{database}?mode=ro", uri=True, timeout=30)) as connection:
        for (table,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall():
            cursor = connection.execute(f'SELECT * FROM "{table}"')
            columns = [column[0] for column in cursor.description]
            for row in cursor:
                found += [
                    (
                        f"{table}.{column}",
                        _unpacked(value if isinstance(value, bytes) else str(value).encode()),
                    )
                    for column, value in zip(columns, row, strict=True)
                ]
    return found


@dataclass
class Walk:
    """
    Every answer of an API server to a ``GET``, as far as its parameters are found in other answers.

    The routes are those that it describes itself, and those of its UI, which the installed Airflow describes.

    :param url: of the API server, whose simple auth manager lets everyone in as admin.
    :param runs: the runs to look into, by id.
    :ivar answers: by path, of whatever status.
    :ivar answered: the routes that gave a success.
    """

    url: str
    runs: set[str]
    answers: dict[str, bytes] = field(default_factory=dict)
    answered: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        self._session = requests.Session()
        self._session.trust_env = False
        # After an error of its own, as /ui/calendar has for runs without a logical date, the server hangs up.
        self._session.mount("http://", HTTPAdapter(max_retries=Retry(total=3, backoff_factor=0.5)))
        token = self._session.get(f"{self.url}/auth/token", timeout=30).json()["access_token"]
        self._session.headers["Authorization"] = f"Bearer {token}"
        #: What was listed: the route that listed it, and the fields of one thing.
        self._listed: list[tuple[str, dict[str, Any]]] = [("", {})]
        routes = self._routes()
        asked = -1
        while asked != len(self.answers):
            asked = len(self.answers)
            for route, parameters in routes.items():
                self._walk(route, parameters)

    @property
    def places(self) -> list[Place]:
        """The answers, for :func:`find`."""
        return list(self.answers.items())

    def page(self, path: str) -> bytes:
        """Ask for a page of the UI, and keep it with the answers."""
        answer = self._session.get(self.url + path, timeout=30)
        self.answers[path] = answer.content
        assert answer.ok, f"{path}: {answer.status_code}"
        return answer.content

    def _routes(self) -> dict[str, list[dict[str, Any]]]:
        spec = find_spec("airflow")
        assert spec is not None
        assert spec.origin is not None
        described = Path(spec.origin).parent / "api_fastapi/core_api/openapi/_private_ui.yaml"
        documents = [json.loads(self.page("/openapi.json")), yaml.safe_load(described.read_text())]
        return {
            route: verbs["get"].get("parameters", [])
            for document in documents
            for route, verbs in document["paths"].items()
            # Asked to log out, it would answer nothing more.
            if "get" in verbs and not route.startswith("/api/v2/auth/")
        }

    def _walk(self, route: str, parameters: list[dict[str, Any]]) -> None:
        needed = {each["name"] for each in parameters if each["in"] == "path" or each.get("required")}
        optional = {each["name"] for each in parameters} - needed
        in_path = {each["name"] for each in parameters if each["in"] == "path"}
        if "task_id" in in_path and "map_index" in optional:
            needed.add("map_index")
        bindings = {
            tuple(sorted(binding.items()))
            for listed in self._listed
            if (binding := self._binding(needed, *listed)) is not None
        }
        for binding in sorted(bindings):
            given = dict(binding)
            path = route.format(**{name: requests.utils.quote(given[name], safe="") for name in in_path})
            query = {name: given[name] for name in needed - in_path}
            query |= {"full_content": "true"} if "full_content" in optional else {}
            if "limit" in optional:
                query["limit"] = str(_PAGE)
            offset = 0
            while (
                self._ask(route, path, query | ({"offset": str(offset)} if offset else {}), given)
                > offset + _PAGE
            ):
                offset += _PAGE

    def _binding(self, needed: set[str], of: str, fields: dict[str, Any]) -> dict[str, str] | None:
        """Return the parameters that one listed thing gives, if they are all that is needed."""
        run = fields.get("dag_run_id") or fields.get("run_id")
        if run is not None and run not in self.runs:
            return None
        binding = {}
        for name in needed:
            value = _ALWAYS.get(name, fields.get(name) if name != "key" else None)
            end, other = _LISTED.get(name, ("", name))
            if value is None and of.endswith(end):
                value = fields.get(other)
            if value is None:
                return None
            binding[name] = str(value)
        return binding

    def _ask(self, route: str, path: str, query: dict[str, str], given: dict[str, str]) -> int:
        """Ask once, take in what is listed, and return how much there is to list."""
        asked = path + "?" + "&".join(f"{name}={value}" for name, value in sorted(query.items()))
        if asked in self.answers:
            return 0
        answer = self._session.get(self.url + path, params=query, timeout=60, allow_redirects=False)
        self.answers[asked] = answer.content + str(dict(answer.headers)).encode()
        if not answer.ok:
            return 0
        self.has_responded.add(route)
        if "json" not in answer.headers.get("Content-Type", ""):
            return 0
        lines = answer.text.splitlines() if "ndjson" in answer.headers["Content-Type"] else [answer.text]
        parsed = [json.loads(line) for line in lines if line]
        for each in parsed:
            self._listed += [(route, fields) for fields in _things(each, given)]
        total = parsed[0].get("total_entries") if parsed and isinstance(parsed[0], dict) else None
        return total or 0


def _things(value: Any, around: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Yield the plain fields of everything in an answer, with those of what it is in."""
    if isinstance(value, dict):
        plain = {name: each for name, each in value.items() if isinstance(each, (str, int))}
        fields = {**around, **plain}
        yield fields
        for each in value.values():
            yield from _things(each, fields)
    elif isinstance(value, list):
        for each in value:
            yield from _things(each, around)
