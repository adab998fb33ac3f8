"""
What importing this provider adds to the parsing of a DAG file, compared with what Airflow's own base classes take.

``python benchmarks/imports.py`` prints milliseconds of CPU time, the best of several new processes. It fails if the
operators, sensors and triggers together add more than :data:`LIMIT`.
"""

from __future__ import annotations

import os
import subprocess
import sys
from tempfile import TemporaryDirectory

LIMIT = 60
"""Milliseconds."""
RUNS = 7
AIRFLOW = ("airflow.sdk.bases.operator", "airflow.sdk.bases.sensor", "airflow.triggers.base")
OURS = tuple(
    f"airflow_provider_fireworks.{package}.{module}"
    for package in ("operators", "sensors", "triggers")
    for module in ("model", "deployment")
)
MEASURE = """
import time
started = time.process_time()
import {airflow}
between = time.process_time()
import {ours}
print(between - started, time.process_time() - between)
"""


def main() -> int:
    """Measure each module alone, then all together."""
    with TemporaryDirectory() as cache:
        for module in OURS:
            _measure(module, (module,), cache)
        added = _measure("all", OURS, cache)
    print(f"limit {LIMIT} ms: {'kept' if added <= LIMIT else 'exceeded'}")
    return int(added > LIMIT)


def _measure(label: str, modules: tuple[str, ...], cache: str) -> float:
    code = MEASURE.format(airflow=", ".join(AIRFLOW), ours=", ".join(modules))
    # Installed packages have their bytecode cached. So has every run but the first, whatever the environment says.
    environment = {**os.environ, "PYTHONPYCACHEPREFIX": cache}
    environment.pop("PYTHONDONTWRITEBYTECODE", None)
    command = [sys.executable, "-W", "ignore", "-c", code]
    runs = [
        tuple(map(float, subprocess.check_output(command, env=environment, text=True).split()))
        for _ in range(RUNS)
    ]
    airflow, added = (min(times) * 1000 for times in zip(*runs, strict=True))
    print(f"{label:54} Airflow's bases {airflow:6.0f} ms, added {added:5.1f} ms, ratio {added / airflow:.3f}")
    return added


if __name__ == "__main__":
    sys.exit(main())
