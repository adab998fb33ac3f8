"""What is said to be tested is what is tested: README, pyproject.toml, constraints/ and CI name the same."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

try:
    import tomllib
except ImportError:  # Python 3.10
    import tomli as tomllib

CHECKOUT = Path(__file__).parents[2]
PYPROJECT = tomllib.loads((CHECKOUT / "pyproject.toml").read_text())
PROJECT = PYPROJECT["project"]
#: The Airflow of .venv, which make test and all tools run on; it has to run on the oldest Python.
DEVELOPMENT = "3.3"
#: The Airflows with end-to-end tests, and the dependency groups that are installed with each.
GROUPS = {DEVELOPMENT: "dev", "3.4": "e2e"}
#: What Airflow needs, where that is more than we do.
PYTHON_OF = {"3.4": "3.11"}


def pins(name: str, python: str = "3.11") -> dict[str, str]:
    """What ``constraints/airflow-<name>.txt`` holds a Python to."""
    lines = (CHECKOUT / f"constraints/airflow-{name}.txt").read_text().splitlines()
    requirements = [Requirement(line) for line in lines]
    return {
        canonicalize_name(each.name): str(each.specifier).removeprefix("==")
        for each in requirements
        if applies(each, python)
    }


def applies(requirement: Requirement, python: str) -> bool:
    environment = {"python_version": python, "python_full_version": f"{python}.1", "sys_platform": "linux"}
    return requirement.marker is None or requirement.marker.evaluate(environment)


def group(name: str, python: str) -> set[str]:
    """The names of the distributions in a group of dependencies."""
    names = set()
    for each in PYPROJECT["dependency-groups"][name]:
        if isinstance(each, dict):
            names |= group(each["include-group"], python)
        elif applies(requirement := Requirement(each), python):
            names.add(canonicalize_name(requirement.name))
    return names


#: Airflow → the Pythons that it is run with, of the table in the README.
SAID: dict[str, set[str]] = {}
for version, pythons in re.findall(
    r"^\| (3\.\d+\.\d+(?:b\d+)?) \| ([\d., ]+) \|", (CHECKOUT / "README.md").read_text(), re.MULTILINE
):
    SAID.setdefault(version, set()).update(pythons.split(", "))
FILES = sorted(
    file.stem.removeprefix("airflow-") for file in (CHECKOUT / "constraints").glob("airflow-*.txt")
)


def test_the_readme_names_every_airflow_that_the_tests_are_run_with():
    assert sorted(SAID) == sorted(pins(name)["apache-airflow"] for name in FILES)
    assert sorted(minor for minor in FILES if minor != "lowest") == sorted(
        {version.rpartition(".")[0] for version in SAID}
    )


def test_a_file_holds_the_airflow_that_its_name_says():
    for name in FILES[:-1]:
        assert pins(name)["apache-airflow"].startswith(f"{name}.")
        assert pins(name)["apache-airflow-core"] == pins(name)["apache-airflow"]


def test_the_pythons_that_are_declared_are_those_that_the_readme_names():
    declared = [each.rpartition(" ")[2] for each in PROJECT["classifiers"] if "Python :: 3." in each]
    assert set(declared) == set.union(*SAID.values())
    assert PROJECT["requires-python"] == f">={min(declared, key=Version)}"


def test_lowest_is_the_lowest_that_is_allowed():
    lowest = pins("lowest")
    for each in map(Requirement, PROJECT["dependencies"]):
        floor = next(part.version for part in each.specifier if part.operator == ">=")
        assert Version(lowest[canonicalize_name(each.name)]) == Version(floor), each.name


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("python", ["3.10", "3.11", "3.12", "3.13"])
def test_nothing_that_is_asked_for_is_left_to_chance(name, python):
    if Version(python) < Version(PYTHON_OF.get(name, python)):
        pytest.skip(f"Airflow {name} does not run on Python {python}.")
    asked = {canonicalize_name(Requirement(each).name) for each in PROJECT["dependencies"]}
    assert asked | group(GROUPS.get(name, "test"), python) <= set(pins(name, python))


def test_pythons_said_of_airflow_are_those_it_supports() -> None:
    for name, oldest in PYTHON_OF.items():
        assert Version(oldest) <= min(map(Version, SAID[pins(name)["apache-airflow"]]))


def test_ci_runs_the_oldest_and_the_newest():
    commands = (CHECKOUT / ".ci/run").read_text()
    newest = FILES[-2]
    assert "\nmake test\n" in commands
    assert f'\nmake matrix AIRFLOW="lowest {newest}"\n' in commands
    assert f"\nmake e2e AIRFLOW={newest} TESTS=" in commands
    makefile = (CHECKOUT / "Makefile").read_text()
    assert f".venv,dev,constraints/airflow-{DEVELOPMENT}.txt" in makefile
    assert f"E2E_KNOWN := {' '.join(GROUPS)}\n" in makefile


def test_ci_end_to_end_tests_on_newest_airflow_exist() -> None:
    commands = (CHECKOUT / ".ci/run").read_text()
    names = re.search(r"tests/e2e/test_\{([a-z_,]+)\}\.py", commands)
    assert names is not None
    for name in names[1].split(","):
        assert (CHECKOUT / f"tests/e2e/test_{name}.py").exists()


@pytest.mark.skipif(shutil.which("make") is None, reason="Runs the Makefile, and make is not installed.")
@pytest.mark.parametrize(("old", "left_out"), [(True, True), (False, False)])
def test_matrix_leaves_out_airflow_that_python_is_too_old_for(
    tmp_path: Path, old: bool, left_out: bool
) -> None:
    python = tmp_path / "python"
    version = "3, 10" if old else "3, 11"
    # Answers as a Python of that version, without one.
    python.write_text(
        f'#!/bin/sh\nexec {sys.executable} -c "import sys; sys.version_info = ({version}); $2"\n'
    )
    python.chmod(0o755)
    command = ["make", "--dry-run", "matrix", f"PYTHON={python}"]
    done = subprocess.run(command, cwd=CHECKOUT, capture_output=True, text=True, check=True)
    assert ("airflow-3.4" not in done.stdout) == left_out
    assert ("Left out: Airflow 3.4. It needs Python 3.11 or later" in done.stdout) == left_out
    assert "airflow-3.3" in done.stdout


@pytest.mark.skipif(shutil.which("make") is None, reason="Runs the Makefile, and make is not installed.")
@pytest.mark.parametrize("target", ["matrix", "e2e"])
def test_make_with_unknown_airflow_is_refused(target: str) -> None:
    command = ["make", target, "AIRFLOW=3.9", f"PYTHON={sys.executable}"]
    done = subprocess.run(command, cwd=CHECKOUT, capture_output=True, text=True, timeout=30)
    assert done.returncode == 2
    assert done.stderr.startswith("AIRFLOW=3.9: ")
