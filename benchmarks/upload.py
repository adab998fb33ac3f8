"""
What uploading a file costs, compared with a bare ``requests.put`` of a file object over loopback.

``python benchmarks/upload.py`` uploads files of a temporary folder to a server in another process that drops what it
receives, as often with our uploader as with ``requests.put``, and prints the throughput of both, the ratio, and the
memory that each parallel file adds. It fails if the ratio is below :data:`MIN_RATIO`, or a file takes more than
:data:`MAX_MEMORY`.
"""

from __future__ import annotations

import argparse
import multiprocessing
import resource
import socket
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from tempfile import TemporaryDirectory

MIN_RATIO = 0.8
MAX_MEMORY = 64
"""MiB."""
RUNS = 5
_MIB = 1024 * 1024


def main() -> int:
    """Measure one file, then several in parallel."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--size", type=int, default=512, help="MiB of each file (512)")
    parser.add_argument("--parallel", type=int, default=4, help="files at the same time (4)")
    arguments = parser.parse_args()
    kept = True
    with _receiver() as url, TemporaryDirectory() as folder:
        for number in range(arguments.parallel):
            _write(Path(folder, f"{number}.safetensors"), arguments.size)
        for files in (1, arguments.parallel):
            runs = [
                (_in_new_process(_put, folder, url, files), _in_new_process(_upload, folder, url, files))
                for _ in range(RUNS)
            ]
            bare, ours = (min(each[way][0] for each in runs) for way in (0, 1))
            memory = max(run[1][1] for run in runs) / files
            ratio = bare / ours
            size = files * arguments.size * _MIB / 1e6
            print(
                f"{files} files of {arguments.size} MiB: requests.put {size / bare:.0f} MB/s, "
                f"upload {size / ours:.0f} MB/s, ratio {ratio:.2f}; {memory:.1f} MiB per file"
            )
            kept = kept and ratio >= MIN_RATIO and memory <= MAX_MEMORY
    print(f"limits {MIN_RATIO} and {MAX_MEMORY} MiB: {'kept' if kept else 'exceeded'}")
    return int(not kept)


def _upload(folder: str, url: str, files: int) -> None:
    from airflow_provider_fireworks.client.uploads import Uploader
    from airflow_provider_fireworks.storage import list_files

    listed = sorted(list_files(f"file://{folder}"), key=lambda file: file.name)[:files]
    with listed[0].open() as file:
        # As the operator has read config.json: the first read of a process loads Airflow's lineage.
        file.read(1)
    urls = {file.name: f"{url}/{file.name}" for file in listed}
    _started()
    Uploader(listed, lambda: urls, max_parallel=files, log=lambda line: None).run()


def _put(folder: str, url: str, files: int) -> None:
    import requests

    def put(path: Path) -> None:
        with path.open("rb") as file:
            requests.put(f"{url}/{path.name}", data=file, timeout=60).raise_for_status()

    paths = sorted(Path(folder).iterdir())[:files]
    _started()
    with ThreadPoolExecutor(files) as pool:
        list(pool.map(put, paths))


_began = (0.0, 0)


def _started() -> None:
    """Begin to measure, after all imports."""
    global _began
    _began = time.perf_counter(), _peak()


def _in_new_process(work: Callable[[str, str, int], None], *arguments: object) -> tuple[float, float]:
    """Return seconds, and by how many MiB the memory of the process has grown."""
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(_measure, (work, *arguments))


def _measure(work: Callable[..., None], *arguments: object) -> tuple[float, float]:
    work(*arguments)
    return time.perf_counter() - _began[0], (_peak() - _began[1]) / 1024


def _peak() -> int:
    """Return the most memory that the process has used, in KiB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def _write(path: Path, size: int) -> None:
    block = bytes(range(256)) * (_MIB // 256)
    with path.open("wb") as file:
        for _ in range(size):
            file.write(block)


class _receiver:
    """A server in another process that accepts every PUT, and drops its body."""

    def __enter__(self) -> str:
        self._socket = socket.create_server(("127.0.0.1", 0))
        fork = multiprocessing.get_context("fork")
        self._process = fork.Process(target=_serve, args=(self._socket,), daemon=True)
        self._process.start()
        return f"http://127.0.0.1:{self._socket.getsockname()[1]}"

    def __exit__(self, *_: object) -> None:
        self._process.terminate()
        self._process.join()
        self._socket.close()


def _serve(listening: socket.socket) -> None:
    while True:
        peer, _ = listening.accept()
        threading.Thread(target=_receive, args=(peer,), daemon=True).start()


def _receive(peer: socket.socket) -> None:
    buffer = bytearray(_MIB)
    with peer, peer.makefile("rb") as stream:
        while stream.readline().strip():
            length = 0
            while line := stream.readline().strip().lower():
                name, _, value = line.partition(b":")
                length = int(value) if name == b"content-length" else length
            while length:
                count = stream.readinto(memoryview(buffer)[: min(length, len(buffer))])
                if not count:
                    return
                length -= count
            peer.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")


if __name__ == "__main__":
    sys.exit(main())
