"""Tasks and groups before and after a temporary deployment, and beside its block."""

from __future__ import annotations

from typing import Any

import pytest
from airflow.sdk import TaskGroup

from tests.integration.temporary_deployment.tasks import (
    check_deleted,
    deployed,
    empty,
    fail,
    not_created,
    skip,
    use,
)

# ---- before deploy and after remove


def test_task_before_deploy_succeeds(ends):
    with ends("success"):
        with deployed() as deployment:
            use()
        empty("before") >> deployment.deploy


def test_task_before_deploy_fails(ends):
    others = {"fail": "failed", "deploy": "upstream_failed"} | not_created("use")
    with ends("failed", others, created=0):
        with deployed() as deployment:
            use()
        fail() >> deployment.deploy


def test_task_before_deploy_is_skipped(ends):
    others = dict.fromkeys(("skip", "deploy", "up", "use", "done", "remove"), "skipped")
    with ends("success", others, created=0):
        with deployed() as deployment:
            use()
        skip() >> deployment.deploy


def test_task_after_remove_runs_without_deployment(ends):
    with ends("success"):
        with deployed() as deployment:
            use()
        deployment.remove >> check_deleted()


def test_task_after_remove_runs_after_failed_block(ends):
    with ends("failed", {"fail": "failed"}):
        with deployed() as deployment:
            fail()
        deployment.remove >> check_deleted()


def test_task_after_failed_remove_does_not_run(ends, emulator):
    emulator.fault("status", status=403, method="DELETE", times=-1)
    with ends("failed", {"remove": "failed", "after": "upstream_failed"}, left=1):
        with deployed() as deployment:
            use()
        deployment.remove >> empty("after")


# ---- beside the block


@pytest.mark.parametrize(
    ("outside", "state", "others"),
    [
        (lambda: empty("outside"), "success", {}),
        (fail, "failed", {"fail": "failed", "use": "upstream_failed"}),
        (skip, "success", {"skip": "skipped", "use": "skipped"}),
    ],
    ids=["succeeds", "fails", "is skipped"],
)
def test_task_of_block_waits_for_task_outside(ends, outside: Any, state, others):
    with ends(state, others):
        before = outside()
        with deployed():
            before >> use()


def test_task_of_block_before_task_outside_succeeds(ends):
    with ends("success"):
        with deployed():
            inside = use()
        inside >> empty("outside")


# ---- in a group


def test_task_before_group_with_deployment_succeeds(ends):
    with ends("success"):
        with TaskGroup("group") as group, deployed():
            use()
        empty("before") >> group


@pytest.mark.parametrize("is_empty", [False, True])
def test_task_after_group_with_deployment_succeeds(ends, is_empty):
    with ends("success"):
        with TaskGroup("group") as group, deployed():
            if not is_empty:
                use()
        group >> empty("after")


def test_task_after_group_with_failed_block_does_not_run(ends):
    with ends("failed", {"group.fail": "failed", "after": "upstream_failed"}):
        with TaskGroup("group") as group, deployed():
            fail()
        group >> empty("after")
