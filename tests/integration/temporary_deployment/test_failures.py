"""A run fails if its temporary deployment cannot be created, does not become ready, or cannot be deleted."""

from __future__ import annotations

from typing import Any

import pytest
from airflow.sdk import TaskGroup

from tests.integration.temporary_deployment.tasks import deployed, fail, not_created, use


def refuse(emulator: Any, method: str) -> None:
    emulator.fault("status", status=403, method=method, times=-1)


# ---- creating


def test_create_refused_fails_run(ends, emulator):
    refuse(emulator, "POST")
    with ends("failed", {"deploy": "failed"} | not_created("use"), created=0), deployed():
        use()


def test_create_with_lost_response_succeeds(ends, emulator):
    emulator.fault("drop", method="POST", after_work=True)
    with ends("success"), deployed():
        use()


# ---- becoming ready


@pytest.mark.parametrize(
    ("behaviour", "arguments"),
    [
        ({"deploy_outcome": "failed"}, {}),
        ({"deploy_outcome": "never"}, {"ready_timeout": 0.5}),
        ({"serving_lag": 3600}, {"ready_timeout": 1}),
    ],
    ids=["fails", "never ready", "never answers"],
)
def test_deployment_not_ready_fails_run(ends, emulator, behaviour, arguments):
    emulator.configure(**behaviour)
    with ends("failed", {"up": "failed", "use": "upstream_failed"}), deployed(**arguments):
        use()


def test_deployment_not_ready_with_empty_block_fails_run(ends, emulator):
    emulator.configure(deploy_outcome="failed")
    with ends("failed", {"up": "failed"}), deployed():
        pass


def test_deployment_not_ready_fails_run_despite_soft_fail(ends, emulator):
    emulator.configure(deploy_outcome="failed")
    skipping = {"soft_fail": True, "never_fail": True}
    with (
        ends("failed", {"up": "failed", "use": "upstream_failed"}),
        TaskGroup("group", prefix_group_id=False, default_args=skipping),
        deployed(),
    ):
        use()


def test_deployment_without_inference_suffices_if_not_waited_for(ends, emulator):
    emulator.configure(serving_lag=3600)
    with ends("success"), deployed(wait_for_inference=False):
        use()


# ---- deleting


def test_removal_refused_fails_run(ends, emulator):
    refuse(emulator, "DELETE")
    with ends("failed", {"remove": "failed"}, left=1), deployed():
        use()


def test_removal_refused_after_failed_block_fails_run(ends, emulator):
    refuse(emulator, "DELETE")
    with ends("failed", {"fail": "failed", "remove": "failed"}, left=1), deployed():
        fail()


def test_removal_refused_after_empty_block_fails_run(ends, emulator):
    refuse(emulator, "DELETE")
    with ends("failed", {"remove": "failed"}, left=1), deployed():
        pass
