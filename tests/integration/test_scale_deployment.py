"""Scaling a deployment, in a worker and deferred, with the API's own record as the proof."""

from __future__ import annotations

import time
from threading import Thread, Timer
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import AirflowFailException, TaskDeferred

from airflow_provider_fireworks import exceptions
from airflow_provider_fireworks.hooks.fireworks import FireworksHook
from airflow_provider_fireworks.operators.deployment import FireworksScaleDeploymentOperator
from tests.integration.conftest import MODEL, TaskInstance, run_task
from tests.timing import use_timing

NAME = "accounts/demo/deployments/d"
KEY_ERROR = (
    "Until.RESPONSE takes a 404 for an end that is READY, and _patiently fails with it: KeyError: 'ready'"
)
FINAL = "Wait._judge_error knows no quota: REFUSED, so FireworksRefused, which is final"


@pytest.fixture(autouse=True)
def _quick_retries(monkeypatch: pytest.MonkeyPatch) -> None:
    use_timing(monkeypatch, first_retry_delay=0.01)


@pytest.fixture(params=[False, True], ids=["worker", "deferrable"])
def scale(request: pytest.FixtureRequest) -> Any:
    def run(replica_count: Any, instance: TaskInstance | None = None, **arguments: Any) -> dict[str, Any]:
        arguments = {
            "deployment": "d",
            "poll_interval": 0.1,
            "timeout": 20,
            "deferrable": request.param,
            **arguments,
        }
        return run_task(
            lambda: FireworksScaleDeploymentOperator(
                task_id="scale", replica_count=replica_count, **arguments
            ),
            instance,
        )

    return run


@pytest.fixture
def deployed(emulator: Any) -> Any:
    """An API with the deployment ``d``, READY with one replica, of which nothing was asked yet."""
    emulator.configure(deploy_duration=0, scale_duration=0.3)
    spec = {"baseModel": MODEL, "acceleratorType": "NVIDIA_H100_80GB", "maxReplicaCount": 2}
    FireworksHook().create_deployment("d", spec)
    emulator.clear()
    return emulator


def asked(emulator: Any) -> list[int]:
    """The counts that were asked for."""
    return [request.body["replicaCount"] for request in emulator.requests if request.path.endswith(":scale")]


def replicas(emulator: Any) -> int:
    return emulator.deployment("d")["replicaStats"]["readyReplicaCount"]


@pytest.mark.parametrize("deployment", ["d", NAME])
def test_asks_once_and_does_not_wait(deployed, scale, deployment):
    instance = TaskInstance()
    assert scale(0, instance, deployment=deployment) == {"deployment": NAME}
    assert [(request.method, request.path) for request in deployed.requests] == [
        ("PATCH", f"/v1/{NAME}:scale")
    ]
    assert asked(deployed) == [0]
    assert instance.xcoms["deployment"] == NAME


def test_to_zero_and_back(deployed, scale):
    scale(0, wait_for_completion=True)
    read = deployed.deployment("d")
    assert (read["state"], read["replicaCount"], replicas(deployed)) == ("READY", 0, 0)
    scale("2", wait_for_completion=True)
    read = deployed.deployment("d")
    assert (read["state"], read["replicaCount"], replicas(deployed)) == ("READY", 2, 2)
    assert asked(deployed) == [0, 2]


def test_what_is_so_already_is_asked_for_all_the_same(deployed, scale):
    assert scale(1, wait_for_completion=True) == {"deployment": NAME}
    assert asked(deployed) == [1]


def test_a_look_comes_only_after_a_pause(deployed, scale):
    scale(2, wait_for_completion=True, poll_interval=0.5)
    first, second = deployed.requests[:2]
    assert second.method == "GET"
    assert second.at - first.at >= 0.4


@pytest.mark.parametrize(
    "fault",
    [
        {"kind": "drop"},
        {"kind": "drop", "after_work": True},
        {"kind": "truncate", "after_work": True},
        {"kind": "status", "status": 503},
        {"kind": "status", "status": 500, "after_work": True},
        {"kind": "html", "status": 502},
        {"kind": "html", "status": 403},
        {"kind": "status", "status": 429, "retry_after": "0"},
    ],
    ids=lambda fault: " ".join(map(str, fault.values())),
)
def test_a_lost_answer_is_asked_for_again(deployed, scale, fault):
    deployed.fault(**fault, method="PATCH", times=2)
    assert scale(2, wait_for_completion=True) == {"deployment": NAME}
    assert set(asked(deployed)) == {2}
    assert replicas(deployed) == 2


def test_a_gateway_that_is_away_for_a_while_is_waited_for(deployed, scale):
    deployed.stop()
    back = Timer(0.3, deployed.start)
    back.start()
    assert scale(0) == {"deployment": NAME}
    back.join()
    assert asked(deployed) == [0]


def test_a_gateway_that_stays_away_is_named_by_the_timeout(deployed, scale):
    deployed.stop()
    with pytest.raises(
        exceptions.FireworksTimeout,
        match=r"d with 0 replicas: timeout of 0 s is over, last seen: .*cannot be reached",
    ) as ending:
        scale(0, timeout=0.5)
    assert not isinstance(ending.value, AirflowFailException)


def test_a_timeout_says_what_was_last_seen(deployed, scale):
    deployed.configure(scale_duration=60)
    with pytest.raises(
        exceptions.FireworksTimeout,
        match="d with 2 replicas: timeout of 1 s is over, last seen: its state is UPDATING",
    ):
        scale(2, wait_for_completion=True, timeout=0.6)


@pytest.mark.parametrize("status", [429, 400, 403])
def test_a_quota_that_is_used_up_can_be_retried(deployed, scale, status):
    deployed.configure(gpu_quota=1, quota_status=status)
    with pytest.raises(exceptions.FireworksQuotaExceeded, match="in use: 1, quota: 1, requesting: 1"):
        scale(2)


def test_a_quota_is_asked_for_once_and_told_of(deployed, scale):
    deployed.configure(gpu_quota=1)
    with pytest.raises(exceptions.FireworksError, match="in use: 1, quota: 1, requesting: 1"):
        scale(2)
    assert asked(deployed) == [2]
    assert replicas(deployed) == 1


def test_a_deployment_that_is_missing_is_not_found(deployed, scale):
    with pytest.raises(exceptions.FireworksNotFound, match="404"):
        scale(1, deployment="none")


@pytest.mark.parametrize("state", ["FAILED", "DELETED", "DELETING"])
def test_one_that_cannot_be_scaled_is_refused_in_the_gateways_words(deployed, scale, state):
    deployed.set_deployment("d", state=state)
    with pytest.raises(exceptions.FireworksRefused, match=f"FAILED_PRECONDITION: .*is {state}") as refusal:
        scale(1)
    assert isinstance(refusal.value, AirflowFailException)


@pytest.mark.parametrize(
    ("end", "told"),
    [
        (lambda emulator: emulator.remove_deployment("d"), "deleted"),
        (lambda emulator: emulator.set_deployment("d", state="DELETED"), "DELETED"),
        (
            lambda emulator: emulator.set_deployment(
                "d", state="FAILED", status={"code": "INTERNAL", "message": "no capacity"}
            ),
            "no capacity",
        ),
    ],
    ids=["vanished", "deleted", "failed"],
)
def test_one_that_ends_while_it_is_waited_for_fails_the_task(deployed, scale, end, told):
    deployed.configure(scale_duration=60)

    def end_when_scaled() -> None:
        while not any(request.method == "PATCH" and request.status == 200 for request in deployed.requests):
            time.sleep(0.05)
        end(deployed)

    ending = Thread(target=end_when_scaled, daemon=True)
    ending.start()
    with pytest.raises(exceptions.FireworksDeploymentFailed, match=told):
        scale(2, wait_for_completion=True)
    ending.join()


def test_a_wrong_key_fails_at_once(deployed, scale):
    deployed.revoke_key()
    with pytest.raises(exceptions.FireworksAccessDenied) as failure:
        scale(0)
    assert isinstance(failure.value, AirflowFailException)
    assert deployed.api_key not in repr(failure.value)
    assert len(deployed.requests) == 1


@pytest.mark.parametrize("count", [-1, "-1", 1.5, "two", True])
def test_a_bad_count_is_refused_when_the_dag_is_parsed(count):
    with pytest.raises(exceptions.FireworksInvalidArgument, match="replica_count"):
        FireworksScaleDeploymentOperator(task_id="scale", deployment="d", replica_count=count)


@pytest.mark.parametrize(
    ("field", "rendered", "told"),
    [
        ("replica_count", "-1", "replica_count"),
        ("replica_count", "None", "replica_count"),
        ("replica_count", None, "replica_count"),
        ("deployment", "None", "is no deployment id"),
        ("deployment", MODEL, "is no deployment"),
        ("timeout", "soon", "timeout"),
    ],
)
def test_a_bad_rendering_is_refused_before_anything_is_sent(emulator, field, rendered, told):
    task = FireworksScaleDeploymentOperator(
        task_id="scale", deployment="{{ x }}", replica_count="{{ params.count }}"
    )
    task.deployment, task.replica_count = "d", 1
    setattr(task, field, rendered)
    with pytest.raises(exceptions.FireworksInvalidArgument, match=told):
        task.execute({"ti": TaskInstance()})
    assert emulator.requests == []


@pytest.mark.parametrize(
    "event", [None, {}, {"resume_state": {}}, {"resume_state": {"x": 1}, "verdict": None}], ids=str
)
def test_an_event_that_makes_no_sense_fails_the_task(deployed, event):
    task = FireworksScaleDeploymentOperator(
        task_id="scale", deployment="d", replica_count=2, wait_for_completion=True, deferrable=True
    )
    with pytest.raises(TaskDeferred) as deferred:
        task.execute({"ti": TaskInstance()})
    assert deployed.api_key not in repr(deferred.value.trigger.serialize())
    with pytest.raises(exceptions.FireworksInvalidEvent):
        task.resume_execution("execute_complete", {"event": event}, {})
