"""``make matrix``: run tests/unit and tests/integration in several environments, and print a table of the results."""

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

    :return: its row of the table, and whether all tests passed.
    """
    python, report = environment / "bin/python", environment / "report.xml"
    airflow, version = subprocess.check_output([python, "-c", VERSIONS], text=True).split()
    if environment.name.endswith("lowest"):
        airflow += ", lowest"
    print(f"\nAirflow {airflow}, Python {version}", flush=True)
    report.unlink(missing_ok=True)
    started = time.monotonic()
    # One more than CI has cores, as most tests wait most of their time.
    command = [python, "-m", "pytest", "-q", "-n", "3", f"--junitxml={report}"]
    done = subprocess.run([*command, TESTS / "unit", TESTS / "integration"], cwd=TESTS.parent)
    counts = {"tests": 0, "failures": 0, "errors": 0, "skipped": 0}
    if report.exists():
        for suite in ElementTree.parse(report).getroot():
            counts = {name: counts[name] + int(suite.get(name, 0)) for name in counts}
    failed = counts["failures"] + counts["errors"]
    passed = counts["tests"] - failed - counts["skipped"]
    seconds = time.monotonic() - started
    return [airflow, version, str(passed), str(failed), str(counts["skipped"]), f"{seconds:.0f}"], (
        done.returncode == 0 and passed > 0
    )


def main(environments: list[str]) -> int:
    """
    Run the tests in each environment.

    :param environments: folders of virtual environments.
    :return: exit code: 0 if all tests passed in all of them.
    """
    results = [run(Path(environment).absolute()) for environment in environments]
    rows = [["Airflow", "Python", "passed", "failed", "skipped", "seconds"], *(row for row, _ in results)]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    print()
    for row, passed in zip(rows, [True, *(passed for _, passed in results)], strict=True):
        cells = [cell.ljust(width) for cell, width in zip(row, widths, strict=True)]
        print("  ".join(cells).rstrip() if passed else "  ".join([*cells, "RED"]))
    return 0 if all(passed for _, passed in results) else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
