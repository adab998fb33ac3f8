"""Each argument of a task is in its signature, its template fields, its argument model, its docstring and the docs."""

from __future__ import annotations

import inspect
import re
from pathlib import Path

import pytest

from airflow_provider_fireworks.arguments import (
    Arguments,
    CreateArguments,
    DeleteArguments,
    DeleteRouterArguments,
    DeploymentReadyArguments,
    ModelReadyArguments,
    PrepareArguments,
    RouteArguments,
    ScaleArguments,
    SweepArguments,
    UploadArguments,
)
from airflow_provider_fireworks.operators.deployment import (
    FireworksCreateDeploymentOperator,
    FireworksDeleteDeploymentOperator,
    FireworksScaleDeploymentOperator,
    FireworksSweepDeploymentsOperator,
)
from airflow_provider_fireworks.operators.model import (
    FireworksPrepareModelOperator,
    FireworksUploadModelOperator,
)
from airflow_provider_fireworks.operators.router import (
    FireworksDeleteRouterOperator,
    FireworksRouteOperator,
)
from airflow_provider_fireworks.sensors.deployment import FireworksDeploymentReadySensor
from airflow_provider_fireworks.sensors.model import FireworksModelReadySensor

DOCS = Path(__file__).parents[2] / "docs"

TASKS: dict[type, tuple[type[Arguments], str]] = {
    FireworksUploadModelOperator: (UploadArguments, "uploading.md"),
    FireworksPrepareModelOperator: (PrepareArguments, "preparing.md"),
    FireworksModelReadySensor: (ModelReadyArguments, "preparing.md"),
    FireworksCreateDeploymentOperator: (CreateArguments, "deployments.md"),
    FireworksDeploymentReadySensor: (DeploymentReadyArguments, "deployments.md"),
    FireworksScaleDeploymentOperator: (ScaleArguments, "deployments.md"),
    FireworksDeleteDeploymentOperator: (DeleteArguments, "deployments.md"),
    FireworksSweepDeploymentsOperator: (SweepArguments, "deployments.md"),
    FireworksRouteOperator: (RouteArguments, "routing.md"),
    FireworksDeleteRouterOperator: (DeleteRouterArguments, "routing.md"),
}
SENSORS = (FireworksModelReadySensor, FireworksDeploymentReadySensor)
AIRFLOWS_OWN = {"poke_interval", "timeout"}
"""Arguments of Airflow's sensors, which are not templated. Ours calls the first one poll_interval."""
OTHER_DEFAULTS = {"max_active_tis_per_dagrun"}
"""Arguments of any of Airflow's operators that have another default here."""


def signature(task: type) -> set[str]:
    """Return the names of a task's own arguments."""
    parameters = inspect.signature(task.__init__).parameters.values()
    names = {each.name for each in parameters if each.kind is inspect.Parameter.KEYWORD_ONLY}
    return names - OTHER_DEFAULTS


@pytest.mark.parametrize("task", TASKS, ids=lambda task: task.__name__)
def test_arguments_are_template_fields(task):
    own = AIRFLOWS_OWN if task in SENSORS else set()
    assert set(task.template_fields) == signature(task) - own


@pytest.mark.parametrize("task", TASKS, ids=lambda task: task.__name__)
def test_arguments_are_checked_by_their_model(task):
    checked = {field.alias or name for name, field in TASKS[task][0].model_fields.items()}
    if task in SENSORS:
        checked = checked - {"poll_interval"} | {"poke_interval"}
    # `prepared` is unpacked into other arguments.
    assert checked == signature(task) - {"prepared"}


@pytest.mark.parametrize("task", TASKS, ids=lambda task: task.__name__)
def test_arguments_are_in_the_docstring(task):
    assert set(re.findall(r":param (\w+):", task.__doc__)) - OTHER_DEFAULTS == signature(task)


@pytest.mark.parametrize("task", TASKS, ids=lambda task: task.__name__)
def test_arguments_are_in_the_docs(task):
    page = (DOCS / TASKS[task][1]).read_text()
    assert {name for name in signature(task) if not re.search(rf"`{name}[`=]", page)} == set()
