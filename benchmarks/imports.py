"""
What a DAG file pays for importing this provider, beside what it pays for Airflow anyway.

``python benchmarks/imports.py`` prints milliseconds, the best of several new processes each, and the ratio.
"""

from __future__ import annotations

import subprocess
import sys

RUNS = 7
BASE = "import airflow.sdk.bases.operator, airflow.sdk.bases.sensor, airflow.triggers.base"
MODULES = (
    "operators.model",
    "operators.deployment",
    "sensors.model",
    "sensors.deployment",
    "triggers.model",
    "triggers.deployment",
)
MEASURE = """
import sys, time
began = time.perf_counter()
{base}
between = time.perf_counter()
import airflow_provider_fireworks.{module}
print(between - began, time.perf_counter() - between)
"""


def main() -> None:
    """Measure each module in processes of its own."""
    for module in MODULES:
        code = MEASURE.format(base=BASE, module=module)
        runs = [
            tuple(map(float, subprocess.check_output([sys.executable, "-c", code], text=True).split()))
            for _ in range(RUNS)
        ]
        base, added = (min(times) * 1000 for times in zip(*runs, strict=True))
        print(f"{module:20} Airflow's bases {base:6.0f} ms, added {added:5.1f} ms, ratio {added / base:.3f}")


if __name__ == "__main__":
    main()
