from __future__ import annotations

from typing import Any

import pytest
from airflow.providers.common.compat.sdk import XCom

from airflow_provider_fireworks.links import (
    FireworksDeployedModelLink,
    FireworksDeploymentLink,
    FireworksModelLink,
)
from airflow_provider_fireworks.operators.deployment import (
    FireworksCreateDeploymentOperator,
    FireworksScaleDeploymentOperator,
)
from airflow_provider_fireworks.operators.model import FireworksPrepareModelOperator
from airflow_provider_fireworks.sensors.deployment import FireworksDeploymentReadySensor
from airflow_provider_fireworks.sensors.model import FireworksModelReadySensor

CONSOLE = "https://app.fireworks.ai"
NAME = "accounts/demo/deployments/my-deployment"
MODEL = "accounts/demo/models/my-model"


@pytest.fixture
def pushed(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """What the task has pushed to XCom."""
    xcoms: dict[str, Any] = {}
    monkeypatch.setattr(XCom, "get_value", lambda *, ti_key, key: xcoms.get(key))
    return xcoms


def link_of(link: Any) -> str:
    return link.get_link(operator=None, ti_key="any")


@pytest.mark.parametrize(
    ("link", "xcoms", "address"),
    [
        (FireworksDeploymentLink(), {"deployment": NAME}, "/dashboard/deployments/my-deployment"),
        (FireworksModelLink(), {"model": MODEL}, "/models/demo/my-model"),
        (FireworksDeployedModelLink(), {"inference_model": f"{MODEL}#{NAME}"}, "/models/demo/my-model"),
    ],
)
def test_where_it_leads(pushed, link, xcoms, address):
    pushed.update(xcoms)
    assert link_of(link) == CONSOLE + address


NOTHING_KNOWN = [None, "", "bare-id", 5, [NAME], {"deployment": NAME}, "a b", "https://evil.example/", "../x"]
NOTHING_KNOWN += [
    evil.replace("KIND", kind)
    for kind in ("models", "deployments")
    for evil in (
        "javascript:alert(1)",
        "accounts/demo/KIND/javascript:alert(1)",
        "accounts/demo/KIND/..",
        "accounts/../KIND/x",
        "accounts/@evil.example/KIND/x",
        "accounts/demo/KIND/x?y=1",
        "accounts/demo/KIND/%2e%2e",
        "accounts/demo/KIND/x\n",
        'accounts/demo/KIND/"><script>',
    )
]


@pytest.mark.parametrize("value", NOTHING_KNOWN, ids=repr)
def test_it_leads_nowhere_as_long_as_nothing_is_known(pushed, value):
    pushed.update(deployment=value, model=value, inference_model=value)
    assert link_of(FireworksDeploymentLink()) == ""
    assert link_of(FireworksModelLink()) == ""
    assert link_of(FireworksDeployedModelLink()) == ""


def test_a_deployment_is_no_model_and_the_other_way_round(pushed):
    pushed.update(deployment=MODEL, model=NAME)
    assert link_of(FireworksDeploymentLink()) == ""
    assert link_of(FireworksModelLink()) == ""


@pytest.mark.parametrize(
    ("task", "links"),
    [
        (FireworksPrepareModelOperator, {FireworksModelLink}),
        (FireworksModelReadySensor, {FireworksModelLink}),
        (FireworksCreateDeploymentOperator, {FireworksDeployedModelLink, FireworksDeploymentLink}),
        (FireworksDeploymentReadySensor, {FireworksDeploymentLink}),
        (FireworksScaleDeploymentOperator, {FireworksDeploymentLink}),
    ],
)
def test_which_tasks_have_it(task, links):
    assert {type(link) for link in task.operator_extra_links} == links


def test_two_links_of_a_task_have_two_names():
    assert FireworksDeploymentLink.name != FireworksModelLink.name
