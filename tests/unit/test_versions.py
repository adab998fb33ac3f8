"""README, pyproject.toml, constraints/, the Makefile and CI name the same versions."""

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
#: The Airflow of .venv, which make test and all tools use. It must support the oldest Python.
DEVELOPMENT = "3.3"
#: The Airflows with end-to-end tests, and the dependency group that is installed with each.
GROUPS = {DEVELOPMENT: "dev", "3.4": "e2e"}
#: The oldest Python of an Airflow that does not support our oldest one.
PYTHON_OF = {"3.4": "3.11"}


def pins(name: str, python: str = "3.11") -> dict[str, str]:
    """Return the versions in ``constraints/airflow-<name>.txt`` for a Python."""
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
    """Return the names of the distributions in a dependency group."""
    names = set()
    for each in PYPROJECT["dependency-groups"][name]:
        if isinstance(each, dict):
            names |= group(each["include-group"], python)
        elif applies(requirement := Requirement(each), python):
            names.add(canonicalize_name(requirement.name))
    return names


#: Airflow → the Pythons that it is tested with, from the table in the README.
TESTED: dict[str, set[str]] = {}
for version, pythons in re.findall(
    r"^\| (3\.\d+\.\d+(?:b\d+)?) \| ([\d., ]+) \|", (CHECKOUT / "README.md").read_text(), re.MULTILINE
):
    TESTED.setdefault(version, set()).update(pythons.split(", "))
FILES = sorted(
    file.stem.removeprefix("airflow-") for file in (CHECKOUT / "constraints").glob("airflow-*.txt")
)


def test_readme_names_every_airflow_with_constraints():
    assert sorted(TESTED) == sorted(pins(name)["apache-airflow"] for name in FILES)
    assert sorted(minor for minor in FILES if minor != "lowest") == sorted(
        {version.rpartition(".")[0] for version in TESTED}
    )


def test_constraints_pin_airflow_of_their_file_name():
    for name in FILES[:-1]:
        assert pins(name)["apache-airflow"].startswith(f"{name}.")
        assert pins(name)["apache-airflow-core"] == pins(name)["apache-airflow"]


def test_declared_pythons_are_those_of_the_readme():
    declared = [each.rpartition(" ")[2] for each in PROJECT["classifiers"] if "Python :: 3." in each]
    assert set(declared) == set.union(*TESTED.values())
    assert PROJECT["requires-python"] == f">={min(declared, key=Version)}"


def test_lowest_constraints_are_the_lower_bounds_of_dependencies():
    lowest = pins("lowest")
    for each in map(Requirement, PROJECT["dependencies"]):
        floor = next(part.version for part in each.specifier if part.operator == ">=")
        assert Version(lowest[canonicalize_name(each.name)]) == Version(floor), each.name


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("python", ["3.10", "3.11", "3.12", "3.13"])
def test_constraints_pin_every_dependency(name, python):
    if Version(python) < Version(PYTHON_OF.get(name, python)):
        pytest.skip(f"Airflow {name} does not run on Python {python}.")
    required = {canonicalize_name(Requirement(each).name) for each in PROJECT["dependencies"]}
    assert required | group(GROUPS.get(name, "test"), python) <= set(pins(name, python))


def test_pythons_of_airflow_in_readme_are_supported_by_it() -> None:
    for name, oldest in PYTHON_OF.items():
        assert Version(oldest) <= min(map(Version, TESTED[pins(name)["apache-airflow"]]))


def test_ci_runs_lowest_and_newest_airflow():
    commands = (CHECKOUT / ".ci/run").read_text()
    newest = FILES[-2]
    assert "\nmake test\n" in commands
    assert f'\nmake matrix AIRFLOW="lowest {newest}"\n' in commands
    assert f"\nmake e2e AIRFLOW={newest} TESTS=" in commands
    makefile = (CHECKOUT / "Makefile").read_text()
    assert f".venv,dev,constraints/airflow-{DEVELOPMENT}.txt" in makefile
    assert f"E2E_KNOWN := {' '.join(GROUPS)}\n" in makefile


def test_ci_runs_existing_e2e_tests_on_newest_airflow() -> None:
    commands = (CHECKOUT / ".ci/run").read_text()
    names = re.search(r"tests/e2e/test_\{([a-z_,]+)\}\.py", commands)
    assert names is not None
    for name in names[1].split(","):
        assert (CHECKOUT / f"tests/e2e/test_{name}.py").exists()


@pytest.mark.skipif(shutil.which("make") is None, reason="Runs the Makefile, and make is not installed.")
@pytest.mark.parametrize(("old", "left_out"), [(True, True), (False, False)])
def test_matrix_leaves_out_airflow_for_which_python_is_too_old(
    tmp_path: Path, old: bool, left_out: bool
) -> None:
    python = tmp_path / "python"
    version = "3, 10" if old else "3, 11"
    # Pretends to be a Python of that version.
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
def test_make_with_unknown_airflow_is_rejected(target: str) -> None:
    command = ["make", target, "AIRFLOW=3.9", f"PYTHON={sys.executable}"]
    done = subprocess.run(command, cwd=CHECKOUT, capture_output=True, text=True, timeout=30)
    assert done.returncode == 2
    assert done.stderr.startswith("AIRFLOW=3.9: ")
