"""
What waiting in the triggerer costs: this provider's triggers, and four simpler ways to poll.

``make bench`` installs what it compares with, and prints one table. Every line is a process of its own, in which so
many waits poll models over loopback until these are ready. The API is another process, which responds at once. All ways
use the same interval, and begin spread over one interval. Behind each figure is its ratio to that of ``httpx, shared``.

- ``this provider``: :class:`FireworksModelReadyTrigger`, as the triggerer runs it, with 1, 8 or 64 waits for each
  model; not 2,000 waits for as many models, since no account may poll so often. For the other ways it makes no
  difference how many waits are for the same model.
- ``httpx, shared``: one ``httpx.AsyncClient`` for all waits, which poll on their own.
- ``httpx, own client``: one ``httpx.AsyncClient`` for each wait; not with 2,000, whose creation takes a minute.
- ``requests, threads``: ``asyncio.to_thread`` and one ``requests.Session`` for each wait.
- ``HTTP provider``: ``HttpSensorTrigger`` of Airflow's HTTP provider, as the triggerer runs it. It waits for any
  response but 404, so it polls a path that is 404 until the model is ready.

CPU and requests are those of one interval, once all waits have polled, without what measuring the lag costs. The lag
of the loop is by how much longer a sleep of 10 ms takes, over the whole run. Memory is the growth of the process from
before the first wait to the end of that interval, with what the first wait loads.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import random
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Coroutine
from dataclasses import asdict, dataclass, replace
from typing import Any

import psutil

REFERENCE = "httpx, shared"
OTHERS = (REFERENCE, "httpx, own client", "requests, threads", "HTTP provider")
FAN_OUTS = (1, 8, 64)
WAITS = (64, 2000)
JITTER = 0.1
ACCOUNT = "/v1/accounts/demo/models"
PATH_UNTIL_READY = "/until-ready"
API_KEY = "fw_benchmark_0123456789"
HEADERS = {"Authorization": f"Bearer {API_KEY}"}


def interval_of(waits: int) -> float:
    """Return the poll interval in seconds: short, unless so many waits would then be busy all the time."""
    return 8.0 if waits > 100 else 2.0


@dataclass
class Measured:
    """The result of one run."""

    cpu_ms: float
    requests: float
    lag_ms: float
    memory_kib: float
    delay_s: float


# ---- the API


async def serve() -> None:
    """Respond with models, which are ready from ``GET /ready`` on."""
    is_ready = False
    count = 0

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal is_ready, count
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                path = (await reader.readuntil(b"\r\n\r\n")).split(b" ", 2)[1].decode()
                status = "200 OK"
                if path == "/count":
                    body = json.dumps(count)
                elif path == "/ready":
                    is_ready = True
                    body = "{}"
                else:
                    count += 1
                    if path == PATH_UNTIL_READY and not is_ready:
                        status = "404 Not Found"
                    body = json.dumps(
                        {
                            "name": path.removeprefix("/v1/"),
                            "state": "READY",
                            "supportedPrecisions": ["FP16", "FP8"] if is_ready else ["FP16"],
                            "status": {"code": "OK", "message": ""},
                            "updateTime": "2026-01-01T00:00:00Z",
                        }
                    )
                writer.write(
                    f"HTTP/1.1 {status}\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
                    f"{body}".encode()
                )
                await writer.drain()
        writer.close()

    server = await asyncio.start_server(connected, "127.0.0.1", 0, backlog=4096)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


# ---- the ways to wait, each as one wait


def is_ready(model: dict[str, Any]) -> bool:
    """Return what the simpler ways judge by."""
    return "FP8" in model["supportedPrecisions"]


async def wait_with_trigger(model: int, interval: float) -> None:
    """Wait as this provider does."""
    from airflow_provider_fireworks.triggers.model import FireworksModelReadyTrigger

    wait = {
        "model": f"accounts/demo/models/model-{model}",
        "precision": "FP8",
        "deadline": time.time() + 600,
        "poll_interval": interval,
    }
    trigger = FireworksModelReadyTrigger(fireworks_conn_id="bench", wait=wait)
    event = await anext(aiter(trigger.run()))
    if event.payload["verdict"]["outcome"] != "ready":
        raise RuntimeError(event.payload)


async def poll(read: Callable[[], Coroutine[Any, Any, dict[str, Any]]], interval: float) -> None:
    """Wait with any client."""
    while True:
        await asyncio.sleep(interval * (1 + JITTER * random.random()))
        if is_ready(await read()):
            return


async def wait_with_httpx(url: str, interval: float, client: Any = None) -> None:
    """Wait with a given httpx client, or one of its own."""
    import httpx

    own = client or httpx.AsyncClient(timeout=60)

    async def read() -> dict[str, Any]:
        response = await own.get(f"{url}{ACCOUNT}/my-model", headers=HEADERS)
        response.raise_for_status()
        return response.json()

    await poll(read, interval)
    if client is None:
        await own.aclose()


async def wait_with_threads(url: str, interval: float) -> None:
    """Wait with requests, in the threads of asyncio."""
    import requests

    session = requests.Session()
    session.headers.update(HEADERS)

    def get() -> dict[str, Any]:
        response = session.get(f"{url}{ACCOUNT}/my-model", timeout=60)
        response.raise_for_status()
        return response.json()

    await poll(lambda: asyncio.to_thread(get), interval)
    session.close()


async def wait_with_http_provider(interval: float) -> None:
    """Wait as Airflow's HTTP provider does."""
    from airflow.providers.http.triggers.http import HttpSensorTrigger

    trigger = HttpSensorTrigger(PATH_UNTIL_READY, "bench", headers=HEADERS, poke_interval=interval)
    await anext(aiter(trigger.run()))


def add_connection(conn_type: str, **fields: str) -> None:
    """Add the connection ``bench``."""
    os.environ["AIRFLOW_CONN_BENCH"] = json.dumps({"conn_type": conn_type, **fields})


async def measure(way: str, waits: int, fan_out: int, url: str) -> Measured:
    """Run so many waits until the models are ready, so many of them for each model."""
    interval = interval_of(waits)
    if way == "this provider":
        from airflow_provider_fireworks.hooks.fireworks import FireworksHook as FireworksHook
        from airflow_provider_fireworks.triggers.base import FireworksTrigger

        # Not what is measured: it would make the first interval longer.
        FireworksTrigger.timing = replace(FireworksTrigger.timing, first_trigger_delay=0.0)
        add_connection("fireworks", host=url, login="demo", password=API_KEY)

        def one(number: int) -> Coroutine[Any, Any, None]:
            return wait_with_trigger(number // fan_out, interval)

    elif way == "httpx, shared":
        import httpx

        client = httpx.AsyncClient(timeout=60)

        def one(number: int) -> Coroutine[Any, Any, None]:
            return wait_with_httpx(url, interval, client)

    elif way == "httpx, own client":
        import httpx as httpx

        def one(number: int) -> Coroutine[Any, Any, None]:
            return wait_with_httpx(url, interval)

    elif way == "HTTP provider":
        from airflow.providers.http.triggers import http as http

        add_connection("http", host=url)

        def one(number: int) -> Coroutine[Any, Any, None]:
            return wait_with_http_provider(interval)

    else:
        import requests as requests

        def one(number: int) -> Coroutine[Any, Any, None]:
            return wait_with_threads(url, interval)

    process = psutil.Process()
    lags: list[float] = []
    events: list[float] = []
    all_began = asyncio.Event()

    async def watch_loop() -> None:
        while True:
            began = time.perf_counter()
            await asyncio.sleep(0.01)
            lags.append(time.perf_counter() - began - 0.01)

    async def wait(number: int) -> None:
        await asyncio.sleep(interval * number / waits)
        if number == waits - 1:
            all_began.set()
        await one(number)
        events.append(time.time())

    async def ask(path: str) -> Any:
        # Not with httpx or requests, whose import would count for the ways that do not use them.
        return await asyncio.to_thread(lambda: json.load(urllib.request.urlopen(url + path)))  # noqa: S310 (own server)

    memory = process.memory_info().rss
    watching = asyncio.create_task(watch_loop())
    idle_cpu = time.process_time()
    await asyncio.sleep(1)
    idle_cpu = time.process_time() - idle_cpu
    waiting = asyncio.gather(*(wait(number) for number in range(waits)))
    await all_began.wait()
    await asyncio.sleep(interval * 1.2)
    cpu, requests_before = time.process_time(), await ask("/count")
    await asyncio.sleep(interval)
    cpu, count = time.process_time() - cpu, await ask("/count") - requests_before
    memory = process.memory_info().rss - memory
    ready_at = time.time()
    await ask("/ready")
    await waiting
    watching.cancel()
    return Measured(
        cpu_ms=(cpu - idle_cpu * interval) * 1000 / waits,
        requests=count,
        lag_ms=_p99(lags) * 1000,
        memory_kib=memory / 1024 / waits,
        delay_s=_p99([event - ready_at for event in events]),
    )


def _p99(values: list[float]) -> float:
    return statistics.quantiles(values, n=100, method="inclusive")[98] if len(values) > 1 else values[0]


# ---- the table


def run(way: str, waits: int, fan_out: int) -> Measured:
    """Measure one way in a process of its own, against an API in another one."""
    this = [sys.executable, __file__]
    with (
        tempfile.TemporaryDirectory(prefix="airflow-provider-fireworks-") as home,
        subprocess.Popen([*this, "--serve"], stdout=subprocess.PIPE, text=True) as server,
    ):
        try:
            url = f"http://127.0.0.1:{server.stdout.readline().strip()}"
            environment = os.environ | {"AIRFLOW_HOME": home, "NO_PROXY": "127.0.0.1"}
            command = [*this, "--measure", way, str(waits), str(fan_out), url]
            done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=180)
        finally:
            server.kill()
    if done.returncode:
        raise RuntimeError(done.stderr)
    return Measured(**json.loads(done.stdout.splitlines()[-1]))


def main() -> None:
    """Print the table."""
    import airflow
    import httpx

    parser = argparse.ArgumentParser(description="Measure what waiting in the triggerer costs.")
    parser.add_argument("--waits", type=int, nargs="+", default=WAITS, help="numbers of waits")
    numbers = parser.parse_args().waits
    python = ".".join(map(str, sys.version_info[:3]))
    print(
        f"Airflow {airflow.__version__}, httpx {httpx.__version__}, Python {python}, {os.cpu_count()} cores\n"
    )
    titles = (
        "CPU per wait, interval",
        "requests/interval",
        "loop lag p99",
        "memory per wait",
        "ready to event p99",
    )
    print("| waits | |", " | ".join(titles), "|")
    print("|--:|---|" + "--:|" * len(titles))
    for waits in numbers:
        base = run(REFERENCE, waits, 1)
        for fan_out in FAN_OUTS:
            models = waits // fan_out
            if models > 1000:
                continue
            _print_line(waits, f"this provider, {_count(models)}", run("this provider", waits, fan_out), base)
        _print_line(waits, REFERENCE, base, base)
        for way in OTHERS:
            if way != REFERENCE and not (way == "httpx, own client" and waits > 100):
                _print_line(waits, way, run(way, waits, 1), base)


def _print_line(waits: int, title: str, got: Measured, base: Measured) -> None:
    cells = (
        f"{value:.{digits}f} {unit} ({_ratio(value, reference)})"
        for value, reference, unit, digits in (
            (got.cpu_ms, base.cpu_ms, "ms", 2),
            (got.requests, base.requests, "", 1),
            (got.lag_ms, base.lag_ms, "ms", 1),
            (got.memory_kib, base.memory_kib, "KiB", 0),
            (got.delay_s, base.delay_s, "s", 2),
        )
    )
    print(f"| {waits} | {title} |", " | ".join(cells).replace("  ", " "), "|", flush=True)


def _count(models: int) -> str:
    return "1 model" if models == 1 else f"{models} models"


def _ratio(value: float, reference: float) -> str:
    return f"{value / reference:.2g}×" if reference > 0 else "–"


if __name__ == "__main__":
    if sys.argv[1:2] == ["--serve"]:
        asyncio.run(serve())
    elif sys.argv[1:2] == ["--measure"]:
        measured = asyncio.run(measure(sys.argv[2], int(sys.argv[3]), int(sys.argv[4]), sys.argv[5]))
        print(json.dumps(asdict(measured)))
    else:
        main()
