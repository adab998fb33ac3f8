"""Runs tests/unit and tests/integration in several environments, and says how each went: ``make matrix``."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path
from xml.etree import ElementTree

TESTS = Path(__file__).parent
VERSIONS = (
    "import platform, importlib.metadata as m; print(m.version('apache-airflow'), platform.python_version())"
)


def run(environment: Path) -> tuple[list[str], bool]:
    """
    Run the tests in an environment.

    :returns: its row of the table, and whether all is well.
    """
    python, report = environment / "bin/python", environment / "report.xml"
    airflow, version = subprocess.check_output([python, "-c", VERSIONS], text=True).split()
    if environment.name.endswith("lowest"):
        airflow += ", lowest"
    print(f"\nAirflow {airflow}, Python {version}", flush=True)
    report.unlink(missing_ok=True)
    began = time.monotonic()
    # A worker more than two cores have, as most of the time goes by in waiting.
    command = [python, "-m", "pytest", "-q", "-n", "3", f"--junitxml={report}"]
    ended = subprocess.run([*command, TESTS / "unit", TESTS / "integration"], cwd=TESTS.parent)
    counts = {"tests": 0, "failures": 0, "errors": 0, "skipped": 0}
    if report.exists():
        for suite in ElementTree.parse(report).getroot():
            counts = {name: counts[name] + int(suite.get(name, 0)) for name in counts}
    failed = counts["failures"] + counts["errors"]
    passed = counts["tests"] - failed - counts["skipped"]
    seconds = time.monotonic() - began
    return [airflow, version, str(passed), str(failed), str(counts["skipped"]), f"{seconds:.0f}"], (
        ended.returncode == 0 and passed > 0
    )


def main(environments: list[str]) -> int:
    """
    :param environments: directories of virtual environments.
    :returns: 0 if all tests of all of them have passed.
    """
    results = [run(Path(environment).absolute()) for environment in environments]
    rows = [["Airflow", "Python", "passed", "failed", "skipped", "seconds"], *(row for row, _ in results)]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    print()
    for row, well in zip(rows, [True, *(well for _, well in results)], strict=True):
        cells = [cell.ljust(width) for cell, width in zip(row, widths, strict=True)]
        print("  ".join(cells).rstrip() if well else "  ".join([*cells, "RED"]))
    return 0 if all(well for _, well in results) else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
