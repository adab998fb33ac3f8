"""What is said to be tested is what is tested: README, pyproject.toml, constraints/ and CI name the same."""

from __future__ import annotations

import re
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
NEWEST = "3.3"


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
    r"^\| (3\.\d+\.\d+) \| ([\d., ]+) \|", (CHECKOUT / "README.md").read_text(), re.MULTILINE
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
    assert FILES[-2] == NEWEST


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
    asked = {canonicalize_name(Requirement(each).name) for each in PROJECT["dependencies"]}
    assert asked | group("dev" if name == NEWEST else "test", python) <= set(pins(name, python))


def test_ci_runs_the_oldest_and_the_newest():
    commands = (CHECKOUT / ".ci/run").read_text().splitlines()
    assert "make test" in commands
    assert "make matrix AIRFLOW=lowest" in commands
    assert f".venv,dev,constraints/airflow-{NEWEST}.txt" in (CHECKOUT / "Makefile").read_text()
