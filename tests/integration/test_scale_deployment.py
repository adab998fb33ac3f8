"""``FireworksScaleDeploymentOperator``; the emulator's records say what happened."""

from __future__ import annotations

from threading import Timer
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import AirflowFailException

from airflow_provider_fireworks import exceptions
from airflow_provider_fireworks.hooks.fireworks import FireworksHook
from airflow_provider_fireworks.operators.deployment import FireworksScaleDeploymentOperator
from tests.integration.conftest import MODEL, TaskInstance, run_task
from tests.integration.creating import act_when, defer_task, fault_id
from tests.timing import use_timing

NAME = "accounts/demo/deployments/d"


@pytest.fixture(autouse=True)
def _quick_retries(monkeypatch: pytest.MonkeyPatch) -> None:
    use_timing(monkeypatch, first_retry_delay=0.01)


@pytest.fixture(params=[False, True], ids=["worker", "deferrable"])
def scale(request: pytest.FixtureRequest) -> Any:
    """Runs a scale task to its end, in both ways of waiting."""

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
    """An API with the deployment ``d``, READY with one replica, and no records of requests yet."""
    emulator.configure(deploy_duration=0, scale_duration=0.3)
    spec = {"baseModel": MODEL, "acceleratorType": "NVIDIA_H100_80GB", "maxReplicaCount": 2}
    FireworksHook().create_deployment("d", spec)
    emulator.clear()
    return emulator


def requested_counts(emulator: Any) -> list[int]:
    return [request.body["replicaCount"] for request in emulator.requests if request.path.endswith(":scale")]


def count_ready_replicas(emulator: Any) -> int:
    return emulator.deployment("d")["replicaStats"]["readyReplicaCount"]


# ---- scaling


@pytest.mark.parametrize("deployment", ["d", NAME])
def test_scale_sends_one_request_and_does_not_wait(deployed, scale, deployment):
    instance = TaskInstance()
    assert scale(0, instance, deployment=deployment) == {"deployment": NAME}
    assert [(request.method, request.path) for request in deployed.requests] == [
        ("PATCH", f"/v1/{NAME}:scale")
    ]
    assert requested_counts(deployed) == [0]
    assert instance.xcoms["deployment"] == NAME


def test_scale_waits_for_zero_and_for_more_replicas(deployed, scale):
    scale(0, wait_for_completion=True)
    deployment = deployed.deployment("d")
    assert (deployment["state"], deployment["replicaCount"]) == ("READY", 0)
    assert count_ready_replicas(deployed) == 0
    scale("2", wait_for_completion=True)
    deployment = deployed.deployment("d")
    assert (deployment["state"], deployment["replicaCount"]) == ("READY", 2)
    assert count_ready_replicas(deployed) == 2
    assert requested_counts(deployed) == [0, 2]


def test_scale_to_current_count_sends_request(deployed, scale):
    assert scale(1, wait_for_completion=True) == {"deployment": NAME}
    assert requested_counts(deployed) == [1]


def test_scale_first_polls_after_poll_interval(deployed, scale):
    scale(2, wait_for_completion=True, poll_interval=0.5)
    first, second = deployed.requests[:2]
    assert second.method == "GET"
    assert second.at - first.at >= 0.4


# ---- errors


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
    ids=fault_id,
)
def test_scale_continues_over_transient_errors(deployed, scale, fault):
    deployed.fault(**fault, method="PATCH", times=2)
    assert scale(2, wait_for_completion=True) == {"deployment": NAME}
    assert set(requested_counts(deployed)) == {2}
    assert count_ready_replicas(deployed) == 2


def test_scale_waits_until_api_is_back(deployed, scale):
    deployed.stop()
    back = Timer(0.3, deployed.start)
    back.start()
    assert scale(0) == {"deployment": NAME}
    back.join()
    assert requested_counts(deployed) == [0]


def test_scale_without_api_times_out_and_says_so(deployed, scale):
    deployed.stop()
    with pytest.raises(
        exceptions.FireworksTimeout,
        match=r"d with 0 replicas: timeout of 0 s is over, last seen: .*cannot be reached",
    ) as failure:
        scale(0, timeout=0.5)
    assert not isinstance(failure.value, AirflowFailException)


def test_scale_timeout_names_last_state(deployed, scale):
    deployed.configure(scale_duration=60)
    with pytest.raises(
        exceptions.FireworksTimeout,
        match="d with 2 replicas: timeout of 1 s is over, last seen: its state is UPDATING",
    ):
        scale(2, wait_for_completion=True, timeout=0.6)


@pytest.mark.parametrize("status", [429, 400, 403])
def test_scale_without_quota_sends_one_request_and_can_be_retried(deployed, scale, status):
    deployed.configure(gpu_quota=1, quota_status=status)
    with pytest.raises(
        exceptions.FireworksQuotaExceeded, match="in use: 1, quota: 1, requesting: 1"
    ) as failure:
        scale(2)
    assert not isinstance(failure.value, AirflowFailException)
    assert requested_counts(deployed) == [2]
    assert count_ready_replicas(deployed) == 1


def test_scale_of_unknown_deployment_is_not_found(deployed, scale):
    with pytest.raises(exceptions.FireworksNotFound, match="404"):
        scale(1, deployment="none")


@pytest.mark.parametrize("state", ["FAILED", "DELETED", "DELETING"])
def test_scale_in_wrong_state_is_refused_in_words_of_api(deployed, scale, state):
    deployed.set_deployment("d", state=state)
    with pytest.raises(exceptions.FireworksRefused, match=f"FAILED_PRECONDITION: .*is {state}") as refusal:
        scale(1)
    assert isinstance(refusal.value, AirflowFailException)


@pytest.mark.parametrize(
    ("end", "reason"),
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
    ids=["vanishes", "is deleted", "fails"],
)
def test_scale_fails_if_deployment_ends_while_waiting(deployed, scale, end, reason):
    deployed.configure(scale_duration=60)

    def is_scaling() -> bool:
        return any(request.method == "PATCH" and request.status == 200 for request in deployed.requests)

    with (
        act_when(is_scaling, lambda: end(deployed)),
        pytest.raises(exceptions.FireworksDeploymentFailed, match=reason),
    ):
        scale(2, wait_for_completion=True)


def test_scale_with_wrong_key_fails_at_once_without_showing_it(deployed, scale):
    deployed.revoke_key()
    with pytest.raises(exceptions.FireworksAccessDenied) as failure:
        scale(0)
    assert isinstance(failure.value, AirflowFailException)
    assert deployed.api_key not in repr(failure.value)
    assert len(deployed.requests) == 1


# ---- invalid arguments and events; which arguments are invalid is in tests/unit/test_arguments.py


def test_scale_rejects_invalid_literal_when_dag_is_parsed():
    with pytest.raises(exceptions.FireworksInvalidArgument, match="replica_count"):
        FireworksScaleDeploymentOperator(task_id="scale", deployment="d", replica_count=-1)


@pytest.mark.parametrize(
    ("argument", "rendered"),
    [("replica_count", "None"), ("deployment", "None"), ("deployment", MODEL), ("timeout", "soon")],
)
def test_scale_rejects_invalid_rendering_before_any_request(emulator, argument, rendered):
    task = FireworksScaleDeploymentOperator(
        task_id="scale", deployment="{{ x }}", replica_count="{{ params.count }}"
    )
    task.deployment, task.replica_count = "d", 1
    setattr(task, argument, rendered)
    with pytest.raises(exceptions.FireworksInvalidArgument, match=argument):
        task.execute({"ti": TaskInstance()})
    assert emulator.requests == []


@pytest.mark.parametrize(
    "event",
    [
        None,
        {},
        {"resume_state": {}},
        {"resume_state": {"x": 1}, "verdict": None},
        {"resume_state": {}, "wait": {}, "verdict": {"outcome": "ready", "reason": ""}},
    ],
    ids=str,
)
def test_scale_with_invalid_event_fails(deployed, event):
    task = FireworksScaleDeploymentOperator(
        task_id="scale", deployment="d", replica_count=2, wait_for_completion=True, deferrable=True
    )
    deferral = defer_task(lambda: task)
    assert deployed.api_key not in repr(deferral.trigger.serialize())
    with pytest.raises(exceptions.FireworksInvalidEvent):
        task.resume_execution("execute_complete", {"event": event}, {})
