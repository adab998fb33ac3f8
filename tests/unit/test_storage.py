"""Folders of object stores: their lists of files, and how their files are opened."""

from __future__ import annotations

from typing import Any

import pytest
from airflow.sdk import ObjectStoragePath

from airflow_provider_fireworks.client.files import SourceError
from airflow_provider_fireworks.storage import list_files, read_json


class Store:
    """The file system of an object store, as fsspec shows it."""

    def __init__(self, listed: dict[str, dict[str, Any]]) -> None:
        self.listed = listed
        self.opened: list[tuple[str, dict[str, Any]]] = []

    def find(self, path: str, *, detail: bool) -> dict[str, Any]:
        assert detail
        return self.listed

    def open(self, path: str, mode: str, **options: Any) -> Any:
        self.opened.append((path, options))
        raise ConnectionError("the store is down")


@pytest.fixture
def store(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Returns a store that shows these files below ``file:///bucket/folder``."""

    def make(**listed: dict[str, Any]) -> Store:
        made = Store({name: {"type": "file", "size": 5, **info} for name, info in listed.items()})
        monkeypatch.setattr(ObjectStoragePath, "fs", made)
        return made

    return make


FOLDER = "file:///bucket/folder"


@pytest.mark.parametrize(
    ("properties", "version"),
    [
        ({"ETag": '"abc"', "LastModified": "2026-01-01"}, '"abc"'),
        ({"etag": "abc", "updated": "2026-01-01"}, "abc"),
        ({"mtime": 1.5}, "1.5"),
        ({"LastModified": "2026-01-01"}, "2026-01-01"),
        ({}, ""),
    ],
    ids=str,
)
def test_version_is_the_etag_or_the_time_of_the_last_change(store, properties, version):
    store(**{"bucket/folder/a/b": properties})
    (file,) = list_files(FOLDER)
    assert (file.name, file.size, file.version) == ("a/b", 5, version)


def test_empty_objects_in_place_of_folders_are_no_files(store):
    store(
        **{
            "bucket/folder": {},
            "bucket/folder/x": {},
            "bucket/folder/y/": {},
            "bucket/folder/z": {"type": "directory"},
        }
    )
    assert [file.name for file in list_files(f"{FOLDER}/")] == ["x"]


def test_path_of_an_object_is_a_file(store):
    store(**{"bucket/folder": {}})
    with pytest.raises(SourceError, match="is a file, not a folder"):
        list_files(FOLDER)


def test_file_is_opened_with_a_small_buffer(store):
    # s3fs would read 50 MiB ahead.
    made = store(**{"bucket/folder/x": {}})
    (file,) = list_files(FOLDER)
    with pytest.raises(ConnectionError):
        file.open()
    assert made.opened == [("/bucket/folder/x", {"block_size": 8 * 1024 * 1024})]


def test_error_that_may_pass_is_transient(store):
    store(**{"bucket/folder/x": {}})
    (file,) = list_files(FOLDER)
    with pytest.raises(SourceError, match="ConnectionError: the store is down") as failure:
        read_json(FOLDER, file)
    assert failure.value.is_transient
