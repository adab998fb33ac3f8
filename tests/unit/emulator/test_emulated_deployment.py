"""The state machine of one deployment, and its cost."""

from __future__ import annotations

import pytest
from hypothesis import given, strategies as st

from airflow_provider_fireworks.emulator.emulated_deployment import EmulatedDeployment
from airflow_provider_fireworks.emulator.options import Options
from airflow_provider_fireworks.emulator.responses import ErrorResponse
from tests.unit.emulator.conftest import MODEL, refusal

OK = {"code": "OK", "message": ""}


def stages(payload: dict) -> tuple[int, int, int, int]:
    stats = payload["replicaStats"]
    names = ("pendingScheduling", "downloadingModel", "initializing", "ready")
    return tuple(stats[f"{name}ReplicaCount"] for name in names)


def test_creation_passes_through_the_stages_of_a_replica(make_api):
    api = make_api()
    api.create()
    seen = [
        (api.deployment_at(second)["state"], stages(api.deployment()))
        for second in (0, 1.9, 2, 5.9, 6, 7.9, 8)
    ]
    assert seen == [
        ("CREATING", (1, 0, 0, 0)),
        ("CREATING", (1, 0, 0, 0)),
        ("CREATING", (0, 1, 0, 0)),
        ("CREATING", (0, 1, 0, 0)),
        ("CREATING", (0, 0, 1, 0)),
        ("CREATING", (0, 0, 1, 0)),
        ("READY", (0, 0, 0, 1)),
    ]
    assert api.deployment()["updateTime"] == "2025-06-15T15:06:48Z"
    assert api.deployment()["status"] == OK


def test_replica_is_billed_from_its_scheduling_on(make_api):
    api = make_api()
    api.create(minReplicaCount=3, maxReplicaCount=3, acceleratorCount=4)
    assert [(api.deployment_at(second), api.gpu_seconds)[1] for second in (0, 2, 3, 8, 100)] == [
        0,
        0,
        12,
        72,
        98 * 12,
    ]


def test_changes_without_a_duration_happen_at_once(make_api):
    api = make_api(deploy_duration=0, scale_duration=0)
    assert api.create().state == "READY"
    api.scale(2)
    assert (api.deployment()["state"], stages(api.deployment())) == ("READY", (0, 0, 0, 2))


def test_failed_deployment_costs_nothing_and_only_can_be_deleted(make_api):
    api = make_api(deploy_outcome="failed")
    api.create(minReplicaCount=2)
    assert api.deployment_at(7.9)["state"] == "CREATING"
    failed = api.deployment_at(8)
    assert (failed["state"], failed["status"]["code"]) == ("FAILED", "INTERNAL")
    assert "the replicas on 2 x 1 NVIDIA_H100_80GB did not start" in failed["status"]["message"]
    assert (failed["replicaCount"], failed["desiredReplicaCount"], api.gpu_seconds) == (0, 0, 12)
    assert api.deployment_at(1000) == failed
    assert api.gpu_seconds == 12
    assert api.state.deployments.left() == ["accounts/demo/deployments/d"]
    for request in (lambda: api.scale(1), api.undelete, lambda: api.edit(displayName="x")):
        with refusal("FAILED_PRECONDITION"):
            request()
    api.delete()
    assert api.deployment()["state"] == "DELETED"


def test_deployment_that_never_becomes_ready_is_billed(make_api):
    api = make_api(deploy_outcome="never")
    api.create(minReplicaCount=1)
    assert (api.deployment_at(10_000)["state"], stages(api.deployment())) == ("CREATING", (0, 0, 1, 0))
    assert api.gpu_seconds == 9_998
    api.scale(0)
    assert api.deployment_at(10_002)["state"] == "READY"
    assert api.deployment()["replicaCount"] == 0


def test_deployment_that_stays_creating_serves_and_is_billed(make_api):
    api = make_api(deploy_outcome="stays_creating", serving_lag=2, scale_to_zero_after=20)
    api.create()
    for second, met in ((7.9, "not_deployed"), (9.9, "not_deployed"), (10, "served")):
        api.deployment_at(second)
        assert api.infer() == met, second
    assert (api.deployment_at(10_000)["state"], stages(api.deployment())) == ("CREATING", (0, 0, 0, 1))
    assert api.gpu_seconds == 9_998
    api.scale(2)
    assert (api.deployment_at(10_002)["state"], stages(api.deployment())) == ("CREATING", (0, 0, 0, 2))
    api.delete(ignore_checks=True)
    api.state.configure(deploy_outcome="ok")
    api.undelete()
    assert api.deployment_at(10_010)["state"] == "READY"


NO_CAPACITY = {"code": "RESOURCE_EXHAUSTED", "message": "no capacity for NVIDIA_H100_80GB"}


def test_creation_begins_once_there_is_capacity(make_api):
    api = make_api(capacity_after=100)
    api.create()
    before = api.deployment_at(99.9)
    assert (before["state"], before["status"], stages(before)) == ("CREATING", NO_CAPACITY, (1, 0, 0, 0))
    assert (before["replicaCount"], api.infer(), api.gpu_seconds) == (0, "not_deployed", 0)
    found = api.deployment_at(100)
    assert (found["state"], found["status"], stages(found)) == ("CREATING", OK, (1, 0, 0, 0))
    assert found["updateTime"] > before["updateTime"]
    assert stages(api.deployment_at(102)) == (0, 1, 0, 0)
    assert api.deployment_at(107.9)["state"] == "CREATING"
    assert (api.deployment_at(108)["state"], api.gpu_seconds) == ("READY", 6)


@pytest.mark.parametrize(("outcome", "state"), [("failed", "FAILED"), ("never", "CREATING")])
def test_outcome_follows_the_wait_for_capacity(make_api, outcome, state):
    api = make_api(capacity_after=100, deploy_outcome=outcome)
    api.create()
    assert api.deployment_at(107.9)["state"] == "CREATING"
    assert api.deployment_at(108)["state"] == state


def test_undeleted_deployment_waits_for_capacity_again(make_api):
    api = make_api()
    api.create()
    api.deployment_at(10)
    api.delete()
    api.state.configure(capacity_after=5)
    api.undelete()
    assert (api.deployment_at(14)["status"], api.gpu_seconds) == (NO_CAPACITY, 8)
    assert api.deployment_at(23)["state"] == "READY"


def test_scaling_while_waiting_for_capacity_keeps_waiting(make_api):
    api = make_api(capacity_after=100)
    api.create()
    api.deployment_at(50)
    api.scale(2)
    assert (api.deployment()["status"], stages(api.deployment())) == (NO_CAPACITY, (2, 0, 0, 0))
    assert stages(api.deployment_at(102)) == (0, 1, 0, 1)
    assert (api.deployment_at(108)["state"], stages(api.deployment())) == ("READY", (0, 0, 0, 2))


@pytest.mark.parametrize("cause", ["scale", "delete", "force", "start_at_zero"])
def test_deployment_without_replicas_does_not_wait_for_capacity(make_api, cause):
    api = make_api(capacity_after=100, start_at_zero=cause == "start_at_zero")
    api.create()
    if cause == "scale":
        api.scale(0)
    elif cause == "delete":
        api.delete()
    elif cause == "force":
        api.state.deployments.find("demo", "d").force({"state": "FAILED"}, api.clock())
    states = {"delete": "DELETED", "force": "FAILED"}
    after = api.deployment_at(8)
    assert (after["state"], after["status"]) == (states.get(cause, "READY"), OK)
    assert (api.deployment_at(1000)["state"], api.gpu_seconds) == (after["state"], 0)


def test_termination_message_is_set_only_while_failed(make_api):
    api = make_api(deploy_outcome="failed")
    api.create()
    found = api.state.deployments.find("demo", "d")
    assert found.termination_message == ""
    api.deployment_at(8)
    assert found.termination_message == "a replica ran out of memory while loading the weights at FP16"
    api.delete()
    assert found.termination_message == ""


@pytest.mark.parametrize(
    ("names", "with_model", "alone"),
    [
        ("with_model", "served", "not_deployed"),
        ("deployment", "not_deployed", "served"),
        ("both", "served", "served"),
    ],
)
def test_inference_answers_to_the_configured_names(make_api, names, with_model, alone):
    api = make_api(deploy_duration=0, inference_names=names)
    api.create()
    assert (api.infer(), api.infer("accounts/demo/deployments/d")) == (with_model, alone)
    for wrong in ("d", "accounts/demo/deployments/none", f"{MODEL}#{MODEL}#accounts/demo/deployments/d"):
        assert api.infer(wrong) == "not_deployed"


def test_deploy_outcome_of_one_precision_overrides_the_default(make_api):
    api = make_api(deploy_outcome="failed", deploy_outcomes={"FP16": "ok"}, outcome="ok")
    api.create()
    api.prepare("FP8")
    api.clock.sleep(10)
    api.create("e", precision="FP8")
    api.clock.sleep(8)
    assert (api.deployment("d")["state"], api.deployment("e")["state"]) == ("READY", "FAILED")


@pytest.mark.parametrize(
    ("options", "fields", "first", "most"),
    [
        ({}, {}, 1, 1),
        ({}, {"minReplicaCount": 2}, 2, 2),
        ({}, {"minReplicaCount": 0, "maxReplicaCount": 5}, 1, 5),
        ({}, {"maxReplicaCount": 0}, 0, 0),
        ({"start_at_zero": True}, {}, 0, 1),
        ({"start_at_zero": True}, {"minReplicaCount": 2}, 2, 2),
    ],
)
def test_initial_replica_count_follows_limits_and_options(make_api, options, fields, first, most):
    api = make_api(**options)
    api.create(**fields)
    assert (api.deployment()["desiredReplicaCount"], api.deployment()["maxReplicaCount"]) == (first, most)
    after = api.deployment_at(8)
    assert (after["state"], after["replicaCount"]) == ("READY", first)


def test_scaling_adds_and_removes_replicas(make_api):
    api = make_api()
    api.create(minReplicaCount=1)
    api.deployment_at(10)
    api.scale(3)
    assert (api.deployment()["state"], api.deployment()["desiredReplicaCount"]) == ("UPDATING", 3)
    assert (api.deployment()["maxReplicaCount"], stages(api.deployment())) == (3, (2, 0, 0, 1))
    assert stages(api.deployment_at(11)) == (0, 2, 0, 1)
    assert (api.deployment_at(12)["state"], stages(api.deployment())) == ("READY", (0, 0, 0, 3))
    assert api.gpu_seconds == 10 + 2 * 1.5
    api.scale(1)
    assert (api.deployment_at(13.9)["state"], api.deployment()["replicaCount"]) == ("UPDATING", 3)
    assert (api.deployment_at(14)["state"], api.deployment()["replicaCount"]) == ("READY", 1)
    assert api.gpu_seconds == 13 + 3 * 2
    api.scale(0)
    assert (api.deployment_at(16)["state"], api.deployment()["replicaCount"]) == ("READY", 0)
    assert api.deployment_at(1000)["state"] == "READY"
    assert api.gpu_seconds == 19 + 2


def test_scaling_to_the_current_count_changes_nothing(make_api):
    api = make_api()
    api.create()
    before = api.deployment_at(9)
    api.scale(1)
    assert api.deployment() == before


def test_scaling_during_creation_stays_creating(make_api):
    api = make_api()
    api.create()
    api.deployment_at(7)
    api.scale(2)
    assert api.deployment()["state"] == "CREATING"
    assert api.deployment_at(8)["state"] == "CREATING"
    assert (api.deployment_at(9)["state"], stages(api.deployment())) == ("READY", (0, 0, 0, 2))


def test_scaling_to_zero_before_scheduling_costs_nothing(make_api):
    api = make_api(deploy_outcome="failed")
    api.create()
    api.deployment_at(1)
    api.scale(0)
    assert (api.deployment()["state"], api.deployment()["replicaCount"]) == ("READY", 0), (
        "no replica is left that could fail"
    )
    assert api.deployment_at(100)["state"] == "READY"
    assert api.gpu_seconds == 0


def test_scaling_again_before_the_last_scaling_ends(make_api):
    api = make_api(scale_duration=4)
    api.create(minReplicaCount=1)
    api.deployment_at(10)
    api.scale(3)
    api.deployment_at(12)
    api.scale(1)
    assert stages(api.deployment()) == (0, 2, 0, 1)
    assert (api.deployment_at(16)["state"], stages(api.deployment())) == ("READY", (0, 0, 0, 1))
    assert api.gpu_seconds == 14 + 2 * 5


@pytest.mark.parametrize(
    ("options", "policy", "idle"),
    [
        ({}, None, 3600),
        ({}, {"scaleToZeroWindow": "300s"}, 300),
        ({"scale_to_zero_after": 5}, {"scaleToZeroWindow": "300s"}, 5),
    ],
)
def test_idle_deployment_is_scaled_to_zero(make_api, options, policy, idle):
    api = make_api(**options)
    api.create(autoscalingPolicy=policy)
    assert api.deployment_at(8 + idle - 0.1)["state"] == "READY"
    assert api.deployment_at(8 + idle)["state"] == "UPDATING"
    after = api.deployment_at(8 + idle + 2)
    assert (after["state"], after["replicaCount"], after["desiredReplicaCount"]) == ("READY", 0, 0)
    assert api.gpu_seconds == 6 + idle + 2
    api.deployment_at(20_000)
    assert api.gpu_seconds == 6 + idle + 2


def test_scale_to_zero_is_delayed_by_traffic_and_off_with_a_minimum(make_api):
    api = make_api(scale_to_zero_after=10)
    api.create()
    api.create("kept", minReplicaCount=1)
    api.deployment_at(15)
    assert api.infer() == "served"
    assert api.deployment_at(24.9)["replicaCount"] == 1
    assert api.deployment_at(27)["replicaCount"] == 0
    assert api.deployment("kept")["replicaCount"] == 1


def test_inference_causewakes_a_deployment_at_zero(make_api):
    api = make_api(scale_to_zero_after=10)
    api.create()
    assert api.infer() == "not_deployed"
    api.deployment_at(30)
    assert api.infer() == "scaling_up"
    assert (api.deployment()["state"], api.deployment()["desiredReplicaCount"]) == ("UPDATING", 1)
    api.deployment_at(31.9)
    assert api.infer() == "scaling_up"
    api.deployment_at(32)
    assert api.infer() == "served"
    assert api.gpu_seconds == pytest.approx(6 + 10 + 2 + 1.5)


def test_inference_succeeds_after_the_serving_lag(make_api):
    api = make_api(serving_lag=5)
    api.create(minReplicaCount=1)
    for second, met in ((7.9, "not_deployed"), (8, "not_deployed"), (12.9, "not_deployed"), (13, "served")):
        api.deployment_at(second)
        assert api.infer() == met, second
    api.scale(2)
    assert api.infer() == "served", "the first replica still serves while another is added"


@pytest.mark.parametrize(
    "model",
    [
        MODEL,
        f"{MODEL}#",
        f"{MODEL}#d",
        f"{MODEL}#accounts/demo/deployments/none",
        f"{MODEL}#accounts/other/deployments/d",
        "accounts/demo/models/my-other-model#accounts/demo/deployments/d",
    ],
)
def test_inference_for_an_unknown_deployment_is_not_deployed(make_api, model):
    api = make_api(deploy_duration=0)
    api.create()
    assert api.state.deployments.infer(model) == "not_deployed"


def test_inference_does_not_wake_a_deployment_with_maximum_zero(make_api):
    api = make_api(deploy_duration=0)
    api.create(maxReplicaCount=0)
    assert api.infer() == "not_deployed"
    assert api.deployment()["desiredReplicaCount"] == 0


def test_delete_is_soft_and_keeps_the_id(make_api):
    api = make_api(purge_after=100)
    api.create()
    api.deployment_at(10)
    api.delete()
    deleted = api.deployment()
    assert (deleted["state"], deleted["replicaCount"]) == ("DELETED", 0)
    assert (deleted["deleteTime"], deleted["purgeTime"]) == ("2025-06-15T15:06:50Z", "2025-06-15T15:08:30Z")
    assert (api.state.deployments.left(), api.gpu_seconds) == ([], 8)
    with refusal("ALREADY_EXISTS"):
        api.create()
    with refusal("NOT_FOUND"):
        api.delete()
    with refusal("FAILED_PRECONDITION"):
        api.scale(1)
    api.clock.sleep(100)
    assert api.state.deployments.all() == []
    assert api.gpu_seconds == 8
    api.create()


def test_deleting_takes_time_and_is_billed(make_api):
    api = make_api(delete_duration=5)
    api.create()
    api.deployment_at(10)
    api.delete()
    assert (api.deployment()["state"], api.state.deployments.left()) == (
        "DELETING",
        ["accounts/demo/deployments/d"],
    )
    api.delete()
    assert api.deployment_at(14.9)["state"] == "DELETING"
    assert (api.deployment_at(15)["state"], api.state.deployments.left(), api.gpu_seconds) == (
        "DELETED",
        [],
        13,
    )


@pytest.mark.parametrize("duration", [0, 5])
def test_hard_delete_frees_the_id(make_api, duration):
    api = make_api(delete_duration=duration)
    api.create()
    api.deployment_at(10)
    api.delete(hard=True)
    if duration:
        assert api.deployment_at(14.9)["state"] == "DELETING"
        api.clock.sleep(0.1)
    assert (api.state.deployments.find("demo", "d"), api.gpu_seconds) == (None, 8 + duration)
    api.create()


def test_hard_delete_purges_a_deleted_deployment(make_api):
    api = make_api()
    api.create()
    api.delete()
    api.delete(hard=True)
    assert api.state.deployments.find("demo", "d") is None
    with refusal("resource not found"):
        api.delete(hard=True)


def test_delete_after_recent_traffic_needs_ignore_checks(make_api):
    api = make_api(recent_traffic=60)
    api.create(minReplicaCount=1)
    api.deployment_at(10)
    api.infer()
    api.deployment_at(69.9)
    with refusal("FAILED_PRECONDITION"):
        api.delete()
    with refusal("FAILED_PRECONDITION"):
        api.delete(hard=True)
    api.delete(ignore_checks=True)
    api.undelete()
    api.deployment_at(70 + 8)
    api.delete()
    assert api.deployment()["state"] == "DELETED"


def test_undelete_creates_the_deployment_again(make_api):
    api = make_api()
    api.create()
    with refusal("FAILED_PRECONDITION"):
        api.undelete()
    api.deployment_at(10)
    api.delete()
    api.deployment_at(20)
    api.undelete()
    back = api.deployment()
    assert (back["state"], back["deleteTime"], back["purgeTime"]) == ("CREATING", None, None)
    assert api.deployment_at(28)["state"] == "READY"
    assert api.gpu_seconds == 8 + 6
    assert api.deployment_at(8 * 86_400)["state"] == "READY"


def test_created_deployment_is_visible_after_the_create_lag(make_api):
    api = make_api(create_lag=3)
    api.create()
    store = api.state.deployments
    for request in (lambda: store.own("demo", "d"), lambda: api.scale(1), api.delete):
        with refusal("NOT_FOUND"):
            request()
    assert store.visible("demo", deleted=True) == []
    with refusal("ALREADY_EXISTS"):
        api.create()
    api.clock.sleep(3)
    assert store.own("demo", "d").state == "CREATING"
    assert [found.id for found in store.visible("demo", deleted=False)] == ["d"]


def test_forced_state_stays_until_the_deployment_is_changed(make_api):
    api = make_api(scale_to_zero_after=10)
    api.create()
    found = api.state.deployments.find("demo", "d")
    found.force({"state": "READY", "displayName": "forced"}, api.clock())
    assert (api.deployment()["state"], stages(api.deployment())) == ("READY", (0, 0, 0, 1))
    assert api.infer() == "served"
    assert api.deployment_at(100)["replicaCount"] == 1, "it is not scaled to zero"
    assert api.gpu_seconds == 100
    found.force({"state": "NEWER_THAN_US", "replicaCount": 77}, api.clock())
    assert (api.deployment_at(200)["state"], api.deployment()["replicaCount"]) == ("NEWER_THAN_US", 77)
    api.scale(2)
    assert (api.deployment()["state"], api.deployment()["replicaCount"]) == ("UPDATING", 1)
    found.force({"state": "DELETED"}, api.clock())
    assert api.deployment_at(10_000_000)["state"] == "DELETED"
    assert api.gpu_seconds == 200
    api.undelete()
    assert api.deployment()["state"] == "CREATING"
    with pytest.raises(ValueError, match="Unknown field 'State' of a deployment"):
        found.force({"State": "READY"}, api.clock())


def test_removed_deployment_keeps_its_cost(make_api):
    api = make_api()
    api.create()
    api.deployment_at(10)
    assert api.state.deployments.remove("demo", "d") is True
    assert api.state.deployments.remove("demo", "d") is False
    api.clock.sleep(100)
    assert api.gpu_seconds == 8
    api.state.reset()
    assert api.gpu_seconds == 0


@given(
    requests=st.lists(
        st.tuples(st.floats(0, 60), st.sampled_from(["up", "down", "chat", "delete"])), max_size=6
    ),
    reads=st.lists(st.floats(0, 200), max_size=10),
    outcome=st.sampled_from(["ok", "failed", "never", "stays_creating"]),
    capacity_after=st.sampled_from([0.0, 20.0]),
)
def test_reading_a_deployment_does_not_change_it(requests, reads, outcome, capacity_after):
    options = Options(
        deploy_outcome=outcome,
        capacity_after=capacity_after,
        scale_to_zero_after=7,
        delete_duration=3,
        purge_after=500,
    )
    fields = {"minReplicaCount": 0, "maxReplicaCount": 3, "acceleratorCount": 2}

    def run(reads: list[float]) -> tuple[dict[str, object], float]:
        deployment = EmulatedDeployment("demo", "d", 0, options, "FP16", acceleratorType="X_Y", **fields)
        for at, what in sorted([*requests, *((at, "") for at in reads)]):
            deployment.advance(at)
            try:
                if what in ("up", "down"):
                    deployment.scale(3 if what == "up" else 0, at, options)
                elif what == "chat":
                    deployment.infer(at, options, can_grow=True)
                elif what == "delete":
                    deployment.delete(at, options, hard=False, ignore_checks=True)
            except ErrorResponse:
                pass
        deployment.advance(300)
        return deployment.payload(), round(deployment.gpu_seconds, 6)

    with_reads = run(reads)
    assert with_reads == run([])
    assert 0 <= with_reads[1] <= 300 * 3 * 2
