"""What someone can do who chooses a task's arguments, or the fields of its connection."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from functools import partial
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from airflow_provider_fireworks import exceptions
from airflow_provider_fireworks.hooks.fireworks import FireworksHook
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
from tests.integration.conftest import TaskInstance
from tests.integration.plain_text import assert_plain
from tests.integration.servers import Server, json_response

HOSTILE = {
    "parent": "../x",
    "parent inside": "accounts/demo/models/../deployments/x",
    "encoded parent": "%2e%2e%2fx",
    "slash": "x/y",
    "encoded slash": "x%2fy",
    "query": "x?hard=true",
    "fragment": "x#y",
    "custom method": "x:prepare",
    "header": "x HTTP/1.1\r\nX-Evil: 1\r\n\r\n",
    "line end": "x\n",
    "NUL": "x\x00",
    "terminal colour": "\x1b[31mx",
    "writing direction": "x\u202ey",
    "full-width letter": "\uff58",
    "capital": "X",
    "surrogate": "\ud800",
    "long": "x" * 1_000_000,
    "URL": "https://evil.example/x",
}
EACH_HOSTILE = pytest.mark.parametrize("hostile", HOSTILE.values(), ids=HOSTILE)

TASKS: dict[str, tuple[Callable[..., Any], dict[str, Any], tuple[str, ...]]] = {
    "upload": (
        FireworksUploadModelOperator,
        {"model": "m", "source": "file:///checkpoint", "kind": "HF_PEFT_ADDON", "base_model": "m"},
        ("model", "source", "kind", "base_model"),
    ),
    "prepare": (FireworksPrepareModelOperator, {"model": "m", "precision": "FP8"}, ("model", "precision")),
    "model sensor": (FireworksModelReadySensor, {"model": "m", "precision": "FP8"}, ("model", "precision")),
    "create": (
        FireworksCreateDeploymentOperator,
        {"model": "m", "precision": "FP8", "accelerator_type": "A", "deployment_id": "d"},
        ("model", "deployment_id"),
    ),
    "deployment sensor": (FireworksDeploymentReadySensor, {"deployment": "d"}, ("deployment",)),
    "scale": (FireworksScaleDeploymentOperator, {"deployment": "d", "replica_count": 1}, ("deployment",)),
    "delete": (FireworksDeleteDeploymentOperator, {"deployment": "d"}, ("deployment",)),
    "sweep": (FireworksSweepDeploymentsOperator, {"delete": True}, ("keep",)),
    "route": (FireworksRouteOperator, {"router": "r", "deployments": "d"}, ("router", "deployments")),
    "delete router": (FireworksDeleteRouterOperator, {"router": "r"}, ("router",)),
}
ARGUMENTS = [
    pytest.param(make, arguments, name, id=f"{task}, {name}")
    for task, (make, arguments, names) in TASKS.items()
    for name in (*names, "account_id")
]


@EACH_HOSTILE
@pytest.mark.parametrize(("make", "arguments", "name"), ARGUMENTS)
def test_rendered_name_is_rejected_before_any_request(emulator, make, arguments, name, hostile):
    task = make(task_id="task", **arguments)
    # Set as Airflow sets a rendered template, after the checks of DAG parsing.
    setattr(task, name, hostile)
    with pytest.raises(exceptions.FireworksInvalidArgument) as rejected:
        task.execute({"ti": TaskInstance()})
    assert emulator.requests == []
    assert_plain(str(rejected.value))


@EACH_HOSTILE
def test_free_text_is_sent_in_the_body_only(emulator, hostile):
    hostile = hostile[:60]
    with contextlib.suppress(exceptions.FireworksError):
        task = FireworksCreateDeploymentOperator(
            task_id="deploy",
            model="my-model",
            accelerator_type=hostile,
            display_name=hostile,
            extra_spec={hostile: hostile},
            validate_only=True,
        )
        task.execute({"ti": TaskInstance()})
    if hostile == HOSTILE["surrogate"]:
        # It cannot be encoded.
        assert emulator.requests == []
        return
    *_, post = emulator.requests
    assert (post.method, post.path) == ("POST", "/v1/accounts/demo/deployments")
    assert set(post.query) == {"deploymentId", "validateOnly"}
    assert post.body["acceleratorType"] == post.body["displayName"] == post.body[hostile] == hostile


@pytest.mark.parametrize("parameter", ["filter", "pageToken"])
@EACH_HOSTILE
def test_query_parameter_stays_one_value(connect, parameter, hostile):
    """The caller chooses the filter, and the API the page token; both are sent unchanged."""
    hostile = hostile[:1000].replace("\ud800", "")
    pages = iter([{"models": [], "nextPageToken": hostile if parameter == "pageToken" else ""}, {}])
    with Server(lambda: [json_response(next(pages))]) as server:
        connect(host=server.url)
        FireworksHook().list_models(filter=hostile if parameter == "filter" else "")
    for request in server.requests:
        request_line, *headers = request.decode("ascii").removesuffix("\r\n\r\n").split("\r\n")
        method, target, version = request_line.split(" ")
        assert (method, urlsplit(target).path, version) == ("GET", "/v1/accounts/demo/models", "HTTP/1.1")
        assert not [header for header in headers if "evil" in header.lower()]
    query = parse_qs(urlsplit(target).query, keep_blank_values=True)
    assert query == {"pageSize": ["200"]} | ({parameter: [hostile]} if hostile else {})


@pytest.mark.parametrize("field", ["password", "login"])
@pytest.mark.parametrize(
    "hostile", ["x\r\nX-Evil: 1", "x\ny", "x\x00y", "x\u0130y", "x y", "\x7f"], ids=ascii
)
def test_connection_field_that_fits_no_header_is_rejected(connect, emulator, field, hostile):
    connect(**{field: hostile})
    hook = FireworksHook()
    for method in (hook.list_models, hook.list_deployments, lambda: hook.match_deployment_shapes("m")):
        with pytest.raises(exceptions.FireworksBadConnection) as rejected:
            method()
        assert_plain(str(rejected.value))
    assert emulator.requests == []


@EACH_HOSTILE
def test_account_of_any_hook_method_is_checked(emulator, hostile):
    hook = FireworksHook(account_id=hostile)
    for method in (
        hook.list_models,
        hook.list_deployments,
        hook.list_routers,
        partial(hook.match_deployment_shapes, "accounts/a/models/m"),
        partial(FireworksHook().list_models, account_id=hostile),
        partial(FireworksHook().list_deployments, account_id=hostile),
    ):
        with pytest.raises(exceptions.FireworksInvalidArgument):
            method()
    assert emulator.requests == []
