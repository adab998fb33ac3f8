"""The tables of docs/errors.md agree with the code."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from airflow.providers.common.compat.sdk import AirflowFailException, AirflowSensorTimeout

from airflow_provider_fireworks import exceptions
from airflow_provider_fireworks.client import errors
from airflow_provider_fireworks.client.retries import may_retry
from airflow_provider_fireworks.exceptions import NEVER_SKIPPED, FireworksError, FireworksFinalError

PAGE = (Path(__file__).parents[2] / "docs" / "errors.md").read_text()


def rows(section: str) -> list[dict[str, str]]:
    """Return the rows of a section's table by column. An empty first cell repeats the one above."""
    text = re.split(r"^## ", PAGE.split(f"\n## {section}\n")[1], flags=re.MULTILINE)[0]
    lines = [
        [re.sub(r"[*`]", "", cell).strip() for cell in line.split("|")[1:-1]]
        for line in text.splitlines()
        if line.startswith("|")
    ]
    header, _, *body = lines
    found: list[dict[str, str]] = []
    for cells in body:
        row = dict(zip(header, cells, strict=True))
        first = header[0]
        found.append({**row, first: row[first] or found[-1][first]})
    return found


SECTIONS = ("Of all tasks", "Uploading", "Preparing", "Deploying", "Routing")
TASKS = [row for section in SECTIONS for row in rows(section)]
HOOK = rows("What the hook raises")


def row_id(row: dict[str, str]) -> str:
    return " ".join(filter(None, (row.get("error", row.get("class")), row.get("of"))))


@pytest.mark.parametrize("row", TASKS, ids=row_id)
def test_row_of_a_task_error_agrees_with_its_exception(row):
    kind = getattr(exceptions, row["error"], AirflowSensorTimeout)
    final = issubclass(kind, (AirflowFailException, AirflowSensorTimeout))
    assert row["retried"] in ({"no"} if final else {"yes", "–"})
    skip = row["soft_fail, never_fail"]
    assert skip in ("–", "fails" if issubclass(kind, NEVER_SKIPPED) else "skips")
    if row.get("of") == "sensor":
        assert skip != "–"
    assert row["what to do"]


def test_tables_of_tasks_have_every_exception_and_no_other():
    names = {
        name
        for name, value in vars(exceptions).items()
        if isinstance(value, type) and issubclass(value, FireworksError) and value is not FireworksFinalError
    }
    assert {row["error"] for row in TASKS} == names | {"AirflowSensorTimeout"}


@pytest.mark.parametrize("row", HOOK, ids=row_id)
def test_row_of_a_hook_error_agrees_with_its_class(row):
    kind = getattr(errors, row["class"])
    assert (row["is_transient"] == "yes") is kind.is_transient
    assert (row["outcome_unknown"] == "yes") is kind.outcome_unknown
    retried = [writes for writes in (False, True) if may_retry(kind("message"), writes=writes)]
    assert row["tried again by the hook"] == {0: "no", 1: "reads only", 2: "yes"}[len(retried)]


def test_table_of_the_hook_has_every_api_error_and_no_other():
    names = {
        name
        for name, value in vars(errors).items()
        if isinstance(value, type) and issubclass(value, errors.ApiError)
    }
    assert {row["class"] for row in HOOK} == names - {"ApiError"}
