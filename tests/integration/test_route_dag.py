"""Routing in whole DAGs, with the outputs of other tasks as arguments."""

from __future__ import annotations

from typing import Any

import pytest

from airflow_provider_fireworks.operators.deployment import (
    FireworksCreateDeploymentOperator,
    FireworksDeleteDeploymentOperator,
)
from airflow_provider_fireworks.operators.router import (
    FireworksDeleteRouterOperator,
    FireworksRouteOperator,
)
from airflow_provider_fireworks.polling import Wait
from tests.integration.conftest import TaskInstance, run_task
from tests.integration.dag_runs import new_dag, run_dag, states

ROUTER = "accounts/demo/routers/r"


@pytest.mark.parametrize("deferrable", [False, True], ids=["worker", "deferrable"])
def test_mapped_deployments_are_routed_to_and_replaced(emulator, tmp_path, monkeypatch, deferrable):
    monkeypatch.setattr(Wait, "next_delay", lambda self, now: 0.1)
    with new_dag() as dag:
        deploy = FireworksCreateDeploymentOperator.partial(
            task_id="deploy", model="my-model", accelerator_type="NVIDIA_H100_80GB"
        ).expand(deployment_id=["a", "b"])
        canary = FireworksRouteOperator(
            task_id="canary",
            router="r",
            deployments=deploy.output["deployment"],
            weights=[1, 1],
            deferrable=deferrable,
        )
        # A router has one owner, so another task that changes it adopts it.
        switch = FireworksRouteOperator(
            task_id="switch",
            router=canary.output["router"],
            deployments="{{ params.winner }}",
            adopt=True,
            deferrable=deferrable,
            params={"winner": "b"},
        )
        remove = FireworksDeleteDeploymentOperator(task_id="remove", deployment="a")
        canary >> switch >> remove
    run = run_dag(dag, tmp_path, monkeypatch)
    assert run.state == "success", states(run)
    router = emulator.router("r")
    assert (router["state"], router["deployments"]) == ("READY", ["accounts/demo/deployments/b"])
    assert emulator.deployments_left == ["accounts/demo/deployments/b"]
    sent = [each.body for each in emulator.requests if "/routers" in each.path and each.body]
    assert [sorted(body["deployments"]) for body in sent] == [
        ["accounts/demo/deployments/a", "accounts/demo/deployments/b"],
        ["accounts/demo/deployments/b"],
    ]
    result: Any = run_task(
        lambda: FireworksDeleteRouterOperator(task_id="unroute", router=ROUTER), TaskInstance("unroute")
    )
    assert result == {"deleted": [ROUTER]}
