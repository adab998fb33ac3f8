from __future__ import annotations

from typing import Any

import pytest
from airflow.providers.common.compat.sdk import XCom

from airflow_provider_fireworks.links import (
    FireworksDeployedModelLink,
    FireworksDeploymentLink,
    FireworksLink,
    FireworksModelLink,
)
from airflow_provider_fireworks.operators.deployment import (
    FireworksCreateDeploymentOperator,
    FireworksScaleDeploymentOperator,
)
from airflow_provider_fireworks.operators.model import (
    FireworksPrepareModelOperator,
    FireworksUploadModelOperator,
)
from airflow_provider_fireworks.sensors.deployment import FireworksDeploymentReadySensor
from airflow_provider_fireworks.sensors.model import FireworksModelReadySensor

CONSOLE = "https://app.fireworks.ai"
DEPLOYMENT = "accounts/demo/deployments/my-deployment"
MODEL = "accounts/demo/models/my-model"


@pytest.fixture
def xcoms(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """What the task has pushed to XCom."""
    pushed: dict[str, Any] = {}
    monkeypatch.setattr(XCom, "get_value", lambda *, ti_key, key: pushed.get(key))
    return pushed


def address_of(link: FireworksLink) -> str:
    return link.get_link(operator=None, ti_key="any")


@pytest.mark.parametrize(
    ("link", "key", "value", "path"),
    [
        (FireworksDeploymentLink(), "deployment", DEPLOYMENT, "/dashboard/deployments/my-deployment"),
        (FireworksModelLink(), "model", MODEL, "/models/demo/my-model"),
        (FireworksDeployedModelLink(), "inference_model", f"{MODEL}#{DEPLOYMENT}", "/models/demo/my-model"),
    ],
    ids=["deployment", "model", "deployed model"],
)
def test_link_leads_to_page_in_console(xcoms, link, key, value, path):
    xcoms[key] = value
    assert address_of(link) == CONSOLE + path


UNUSABLE = [
    None,
    "",
    "bare-id",
    5,
    [DEPLOYMENT],
    {"deployment": DEPLOYMENT},
    "a b",
    "https://evil.example/",
    "../x",
    "javascript:alert(1)",
]
UNUSABLE += [
    name.replace("KIND", kind)
    for kind in ("models", "deployments")
    for name in (
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


@pytest.mark.parametrize("value", UNUSABLE, ids=repr)
def test_link_is_empty_without_full_resource_name(xcoms, value):
    xcoms.update(deployment=value, model=value, inference_model=value)
    assert address_of(FireworksDeploymentLink()) == ""
    assert address_of(FireworksModelLink()) == ""
    assert address_of(FireworksDeployedModelLink()) == ""


def test_link_is_empty_for_name_of_another_kind(xcoms):
    xcoms.update(deployment=MODEL, model=DEPLOYMENT)
    assert address_of(FireworksDeploymentLink()) == ""
    assert address_of(FireworksModelLink()) == ""


@pytest.mark.parametrize(
    ("task", "links"),
    [
        (FireworksUploadModelOperator, {FireworksModelLink}),
        (FireworksPrepareModelOperator, {FireworksModelLink}),
        (FireworksModelReadySensor, {FireworksModelLink}),
        (FireworksCreateDeploymentOperator, {FireworksDeployedModelLink, FireworksDeploymentLink}),
        (FireworksDeploymentReadySensor, {FireworksDeploymentLink}),
        (FireworksScaleDeploymentOperator, {FireworksDeploymentLink}),
    ],
)
def test_task_has_links(task, links):
    assert {type(link) for link in task.operator_extra_links} == links
    # Airflow finds a link by its name.
    assert len({link.name for link in task.operator_extra_links}) == len(links)
