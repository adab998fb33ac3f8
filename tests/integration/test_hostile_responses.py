"""What someone can do who responds in the API's place."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import AirflowException

from airflow_provider_fireworks import exceptions
from airflow_provider_fireworks.deployments.ownership import Owner
from airflow_provider_fireworks.hooks.fireworks import FireworksHook
from airflow_provider_fireworks.operators.deployment import (
    FireworksCreateDeploymentOperator,
    FireworksDeleteDeploymentOperator,
    FireworksScaleDeploymentOperator,
    FireworksSweepDeploymentsOperator,
)
from airflow_provider_fireworks.operators.model import FireworksPrepareModelOperator
from airflow_provider_fireworks.operators.router import (
    FireworksDeleteRouterOperator,
    FireworksRouteOperator,
)
from airflow_provider_fireworks.sensors.deployment import FireworksDeploymentReadySensor
from airflow_provider_fireworks.sensors.model import FireworksModelReadySensor
from tests.integration.conftest import TaskInstance, run_task
from tests.integration.plain_text import assert_plain
from tests.integration.servers import Server, http_response, json_response
from tests.timing import use_timing

# ---- names in responses

FOREIGN_NAMES = {
    "another account": "accounts/other/deployments/d",
    "parent": "accounts/demo/deployments/../../other/deployments/d",
    "encoded parent": "accounts/demo/deployments/..%2f..%2fother",
    "query": "accounts/demo/deployments/d?hard=true",
    "another kind": "accounts/demo/models/d",
    "URL": "https://evil.example/accounts/demo/deployments/d",
    "line end": "accounts/demo/deployments/d\r\nX-Evil: 1",
    "empty": "",
}


@pytest.mark.parametrize("name", FOREIGN_NAMES.values(), ids=FOREIGN_NAMES)
def test_response_does_not_choose_what_the_sweep_deletes(connect, monkeypatch, name):
    monkeypatch.delenv("AIRFLOW__API__BASE_URL", raising=False)
    instance = TaskInstance("sweep")
    owner = replace(Owner.from_context({"ti": instance}), task_id="deploy")
    instance.runs = {owner.run_id: "success"}
    listed = {"deployments": [{"name": name, "description": owner.description, "state": "READY"}]}
    with Server(lambda: [json_response(listed)]) as server:
        connect(host=server.url)
        with pytest.raises(exceptions.FireworksError, match="the list has an invalid entry") as rejected:
            FireworksSweepDeploymentsOperator(task_id="sweep", delete=True).execute({"ti": instance})
    assert_plain(str(rejected.value))
    assert [request.split(b" ")[0] for request in server.requests] == [b"GET"]


@pytest.mark.parametrize(
    "account", ["accounts/../x", "accounts/a/b", "accounts/a?x=1", "x\ny", "", "accounts/"]
)
def test_account_returned_for_the_key_is_checked(connect, account):
    with Server(lambda: [json_response({"accounts": [{"name": account}]})]) as server:
        connect(host=server.url, login="")
        for method in (FireworksHook().list_deployments, lambda: FireworksHook().get_model("m")):
            with pytest.raises(exceptions.FireworksBadConnection, match="has an invalid id: '") as rejected:
                method()
            assert_plain(str(rejected.value))
        ok, message = FireworksHook().test_connection()
    assert not ok
    assert "not a valid account id" in message
    assert_plain(message)
    assert len(server.requests) == 3


# ---- text in responses

FORGED_LINE = "2026-01-01T00:00:00Z [info     ] FORGED"
HOSTILE_TEXT = (
    f"a\r\n{FORGED_LINE}\u2028{FORGED_LINE}\x1b[31m\x1b]0;title\x07\u202e\x00\ud800\U000e0041" + "b" * 100_000
)


def hostile_responses() -> dict[str, bytes]:
    status = {"code": HOSTILE_TEXT, "message": HOSTILE_TEXT}
    model = {
        "name": HOSTILE_TEXT,
        "state": HOSTILE_TEXT,
        "status": status,
        "updateTime": HOSTILE_TEXT,
        "supportedPrecisions": [HOSTILE_TEXT] * 20,
        "baseModelDetails": {"defaultPrecision": HOSTILE_TEXT},
    }
    deployment = {
        "name": HOSTILE_TEXT,
        "baseModel": HOSTILE_TEXT,
        "precision": HOSTILE_TEXT,
        "state": HOSTILE_TEXT,
        "status": status,
        "description": Owner(HOSTILE_TEXT, HOSTILE_TEXT, HOSTILE_TEXT).description,
        "acceleratorType": HOSTILE_TEXT,
        "replicaCount": 10**4000,
        "replicaStats": {"readyReplicaCount": 10**4000},
    }
    page = {
        "deployments": [deployment],
        "accounts": [{"name": HOSTILE_TEXT}] * 30,
        "nextPageToken": HOSTILE_TEXT,
    }
    envelope = {"code": HOSTILE_TEXT, "message": HOSTILE_TEXT, "request_id": HOSTILE_TEXT}
    # Every request finds its fields in it.
    resource = model | deployment | page
    return {
        "resource": json_response(resource | {"nextPageToken": ""}),
        "endless list": json_response(resource),
        "failed resource": json_response(resource | {"state": "FAILED", "nextPageToken": ""}),
        "deleted resource": json_response(resource | {"state": "DELETED"}),
        "ready resource": json_response(resource | {"state": "READY", "status": None}),
        **{
            f"envelope with {code}": json_response(envelope, status=f"{code} \x1b[31m")
            for code in (400, 401, 404, 409, 429, 503)
        },
        "text": http_response(HOSTILE_TEXT.encode("utf-8", "replace"), "Connection: close", status="502 Bad"),
        "unexpected fields": json_response(
            {
                "state": {HOSTILE_TEXT: HOSTILE_TEXT},
                "deployments": {HOSTILE_TEXT: HOSTILE_TEXT},
                HOSTILE_TEXT: HOSTILE_TEXT,
            }
        ),
        "redirect": json_response({}, "Location: https://\x1b[31m\x85" + "b" * 9000, status="302 Found"),
        "header": json_response({}, "X-Request-Id: \x1b[31m\x85" + "b" * 9000, status="500 Broken"),
    }


RESPONSES = hostile_responses()
TASKS = {
    "prepare": lambda: FireworksPrepareModelOperator(
        task_id="t", model="m", precision="FP8", wait_for_completion=True, timeout=0.1, poll_interval=0.05
    ),
    "model sensor": lambda: FireworksModelReadySensor(
        task_id="t", model="m", precision="FP8", timeout=0.1, poke_interval=0.05
    ),
    "deferred model sensor": lambda: FireworksModelReadySensor(
        task_id="t", model="m", precision="FP8", timeout=0.1, poke_interval=0.05, deferrable=True
    ),
    "create": lambda: FireworksCreateDeploymentOperator(
        task_id="t", model="m", precision="FP8", accelerator_type="A", timeout=0.1, poll_interval=0.05
    ),
    "validate_only": lambda: FireworksCreateDeploymentOperator(
        task_id="t", model="m", accelerator_type="A", timeout=0.1, validate_only=True
    ),
    "deployment sensor": lambda: FireworksDeploymentReadySensor(
        task_id="t", deployment="d", timeout=0.1, poke_interval=0.05, wait_for_inference=True
    ),
    "scale": lambda: FireworksScaleDeploymentOperator(
        task_id="t",
        deployment="d",
        replica_count=1,
        wait_for_completion=True,
        timeout=0.1,
        poll_interval=0.05,
    ),
    "delete": lambda: FireworksDeleteDeploymentOperator(task_id="t", deployment="d", timeout=0.1),
    "sweep": lambda: FireworksSweepDeploymentsOperator(task_id="t", delete=True),
    "route": lambda: FireworksRouteOperator(
        task_id="t", router="r", deployments="d", adopt=True, timeout=0.1, poll_interval=0.05
    ),
    "delete router": lambda: FireworksDeleteRouterOperator(task_id="t", router="r", timeout=0.1),
}


@pytest.mark.parametrize("sent", RESPONSES.values(), ids=RESPONSES)
@pytest.mark.parametrize("make", TASKS.values(), ids=TASKS)
def test_response_forges_no_line_of_the_log(connect, monkeypatch, caplog, capsys, make, sent):
    use_timing(monkeypatch, first_retry_delay=0.01, cleanup_timeout=0.1)
    # Airflow sets this level from 3.1 on. httpx logs the reason phrase of each response at the level INFO.
    caplog.set_level("WARNING", logger="httpx")
    instance = TaskInstance("t")
    result: Any = None
    with Server(lambda: [sent]) as server, caplog.at_level("INFO"):
        connect(host=server.url)
        try:
            result = run_task(make, instance)
        except AirflowException as error:
            assert_plain(str(error))
    assert server.requests
    logged = [record.getMessage() for record in caplog.records]
    for line in [*logged, *"".join(capsys.readouterr()).splitlines()]:
        assert_plain(line)
        assert not line.startswith((FORGED_LINE, f"a {FORGED_LINE}"))
    for stored in (result, instance.xcoms):
        assert "\\u0000" not in json.dumps(stored)


@pytest.mark.parametrize("sent", RESPONSES.values(), ids=RESPONSES)
def test_connection_test_shows_one_plain_line(connect, sent):
    with Server(lambda: [sent]) as server:
        connect(host=server.url, login="")
        _, message = FireworksHook().test_connection()
    assert_plain(message)


def test_hook_shows_many_accounts_in_one_plain_line(connect):
    accounts = [{"name": f"accounts/{HOSTILE_TEXT[:200]}{number}"} for number in range(100)]
    with Server(lambda: [json_response({"accounts": accounts})]) as server:
        connect(host=server.url, login="")
        with pytest.raises(exceptions.FireworksBadConnection, match="several accounts") as failure:
            FireworksHook().get_model("m")
    assert_plain(str(failure.value))
