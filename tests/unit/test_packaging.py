"""The sdist contains every file of the repository, and the changelog describes the version."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from airflow_provider_fireworks import __version__

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

CHECKOUT = Path(__file__).parents[2]
PYPROJECT = tomllib.loads((CHECKOUT / "pyproject.toml").read_text())
#: hatchling adds these to every sdist.
ALWAYS_IN_SDIST = {".gitignore", "LICENSE", "README.md", "pyproject.toml"}


def test_sdist_includes_existing_paths_only():
    included = PYPROJECT["tool"]["hatch"]["build"]["targets"]["sdist"]["include"]
    assert [path for path in included if not (CHECKOUT / path.lstrip("/")).exists()] == []


@pytest.mark.skipif(
    shutil.which("git") is None or not (CHECKOUT / ".git").exists(), reason="This is not a git checkout."
)
def test_sdist_includes_every_file_of_the_repository():
    included = PYPROJECT["tool"]["hatch"]["build"]["targets"]["sdist"]["include"]
    # The checkout may belong to another user.
    command = ["git", "-c", "safe.directory=*", "ls-files"]
    listed = subprocess.run(command, cwd=CHECKOUT, capture_output=True, text=True, check=True)
    tops = {path.partition("/")[0] for path in listed.stdout.splitlines()}
    assert tops - ALWAYS_IN_SDIST == {path.lstrip("/") for path in included}


def test_changelog_describes_the_version_below_an_unreleased_section():
    unreleased, newest = re.findall(
        r"^## (.+)$", (CHECKOUT / "CHANGELOG.md").read_text(), flags=re.MULTILINE
    )[:2]
    assert unreleased == "Unreleased"
    assert re.fullmatch(rf"{re.escape(__version__)} - \d{{4}}-\d\d-\d\d", newest)
