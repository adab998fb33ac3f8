"""The folder that a model is uploaded from, read through Airflow's ``ObjectStoragePath``."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from airflow.sdk import ObjectStoragePath

from airflow_provider_fireworks.client.files import SourceError, SourceFile
from airflow_provider_fireworks.client.text import one_line

_BUFFER_BYTES = 8 * 1024 * 1024
"""What the file system of an object store reads ahead. Its default may be several times as much: s3fs has 50 MiB."""
_MAX_CONFIG_BYTES = 64 * 1024 * 1024
_PACKAGES = {
    "s3": "apache-airflow-providers-amazon with s3fs",
    "s3a": "apache-airflow-providers-amazon with s3fs",
    "s3n": "apache-airflow-providers-amazon with s3fs",
    "gs": "apache-airflow-providers-google with gcsfs",
    "gcs": "apache-airflow-providers-google with gcsfs",
    "abfs": "apache-airflow-providers-microsoft-azure with adlfs",
    "abfss": "apache-airflow-providers-microsoft-azure with adlfs",
    "adl": "apache-airflow-providers-microsoft-azure with adlfs",
}
"""The packages that read a path, by the protocol of its URL."""
_VERSIONS = ("ETag", "etag", "md5Hash", "mtime", "LastModified", "last_modified", "updated")
"""The names that file systems give to a file's ETag or time. The first one that a file has is its version."""
_FINAL = (ImportError, ValueError, TypeError, FileNotFoundError, NotADirectoryError, PermissionError)
"""Errors of a file system for which retrying will not help."""


def list_files(folder: str) -> list[SourceFile]:
    """
    List all files below a folder, with their sizes.

    Files and folders whose names begin with a dot, such as those of git, are left out.

    :param folder: whatever ``ObjectStoragePath`` reads: ``s3://connection@bucket/path``, ``gs://…``, ``file:///path``.
    :raises SourceError: if it cannot be read, or contains anything other than files, such as a link to a folder. For a
        folder that does not exist, an object store may return no files instead.
    """
    with _errors_of(folder):
        path = ObjectStoragePath(folder)
        root = path.path.strip("/")
        found = {
            full.strip("/").removeprefix(f"{root}/"): info
            for full, info in path.fs.find(path.path, detail=True).items()
            # An object store may have an empty object in place of a folder, even of this one.
            if info["type"] != "directory" and not full.endswith("/")
        }
        if found.pop(root, None) is not None and not found:
            raise SourceError(f"{folder} is a file, not a folder")
        return [_file(path, name, info) for name, info in found.items() if not _is_hidden(name)]


def read_json(folder: str, file: SourceFile) -> Any:
    """
    Return the parsed content of a file.

    :param folder: of the file, for messages.
    :raises SourceError: if it cannot be read, or is not JSON.
    """
    with _errors_of(folder), file.open() as stream:
        content = stream.read(_MAX_CONFIG_BYTES)
    try:
        return json.loads(content)
    except (ValueError, RecursionError) as error:
        raise SourceError(f"{folder}: {file.name} is not valid JSON: {one_line(error)}") from None


def _is_hidden(name: str) -> bool:
    return any(part.startswith(".") for part in name.split("/"))


def _file(folder: ObjectStoragePath, name: str, info: Mapping[str, Any]) -> SourceFile:
    path: Any = folder / name
    if info.get("islink"):
        # The listing has the time of the link, not of the file that it leads to.
        info = path.fs.info(path.path)
    if info["type"] != "file":
        what = "a link to a folder" if info["type"] == "directory" else "neither a file nor a folder"
        raise SourceError(f"{folder} has {one_line(name)}, which is {what}. Move it elsewhere")
    version = next((str(info[key]) for key in _VERSIONS if info.get(key)), "")

    def open_file() -> Any:
        return path.open("rb", block_size=_BUFFER_BYTES)

    return SourceFile(name, int(info["size"]), version, open=open_file)


@contextmanager
def _errors_of(folder: str) -> Iterator[None]:
    try:
        yield
    except SourceError:
        raise
    except Exception as error:
        shown = one_line(f"{type(error).__name__}: {error}")
        protocol = folder.partition("://")[0]
        is_missing = isinstance(error, ImportError) or "No filesystem registered" in shown
        if is_missing and protocol in _PACKAGES:
            shown = f"install {_PACKAGES[protocol]} on the workers ({shown})"
        raise SourceError(
            f"{folder} cannot be read: {shown}", is_transient=not isinstance(error, _FINAL)
        ) from None
