"""A key that loses the right to read deployments after it created some."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.e2e.steps import deleted, until, wait_until_deleted

if TYPE_CHECKING:
    from collections.abc import Callable

    from airflow_provider_fireworks.emulator import Emulator
    from local_airflow.components import LocalAirflow

DAG = "deploy_unreadable"


def test_create_whose_key_may_not_read_deletes_by_name(
    airflow: LocalAirflow, emulator: Emulator, finish: Callable[..., None]
) -> None:
    emulator.configure(deploy_outcome="never")
    # A slow response: the key loses its rights before the task reads its deployment.
    emulator.fault("slow", method="POST", path="deploymentId=", after_work=True, delay=2, times=3)
    denied: set[str] = set()

    def all_denied() -> bool:
        for creation in emulator.creations:
            if creation.deployment not in denied:
                denied.add(creation.deployment)
                path = f"/deployments/{creation.deployment}"
                emulator.fault("status", method="GET", path=path, status=403, times=-1)
        return len(denied) == 3

    run = airflow.trigger(DAG)
    until(airflow, "all deployments to be created", all_denied, timeout=90, every=0.05)
    finish(DAG, run, "failed")

    created = {creation.deployment for creation in emulator.creations}
    assert len(emulator.creations) == len(created) == 3
    wait_until_deleted(airflow, emulator, *created, timeout=10)
    assert deleted(emulator) == created
