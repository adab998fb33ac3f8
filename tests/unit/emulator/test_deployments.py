"""What becomes of a deployment, second by second, and what it costs."""

from __future__ import annotations

import pytest
from hypothesis import given, strategies as st

from airflow_provider_fireworks.emulator.deployments import EmulatedDeployment
from airflow_provider_fireworks.emulator.options import Options
from airflow_provider_fireworks.emulator.responses import ApiError

OK = {"code": "OK", "message": ""}
MODEL = "accounts/demo/models/my-model"


def stages(payload: dict) -> tuple[int, int, int, int]:
    stats = payload["replicaStats"]
    names = ("pendingScheduling", "downloadingModel", "initializing", "ready")
    return tuple(stats[f"{name}ReplicaCount"] for name in names)


def refusal(name: str, **how: object):
    return pytest.raises(ApiError, match=name, **how)


def test_it_comes_up_in_stages(deployments):
    here = deployments()
    here.create()
    seen = [(here.at(second)["state"], stages(here.look())) for second in (0, 1.9, 2, 5.9, 6, 7.9, 8)]
    assert seen == [
        ("CREATING", (1, 0, 0, 0)),
        ("CREATING", (1, 0, 0, 0)),
        ("CREATING", (0, 1, 0, 0)),
        ("CREATING", (0, 1, 0, 0)),
        ("CREATING", (0, 0, 1, 0)),
        ("CREATING", (0, 0, 1, 0)),
        ("READY", (0, 0, 0, 1)),
    ]
    assert here.look()["updateTime"] == "2025-06-15T15:06:48Z"
    assert here.look()["status"] == OK


def test_it_is_billed_from_its_node_on_ready_or_not_used_or_not(deployments):
    here = deployments()
    here.create(minReplicaCount=3, maxReplicaCount=3, acceleratorCount=4)
    assert [(here.at(second), here.gpu_seconds)[1] for second in (0, 2, 3, 8, 100)] == [0, 0, 12, 72, 98 * 12]


def test_at_once_where_nothing_takes_time(deployments):
    here = deployments(deploy_duration=0, scale_duration=0)
    assert here.create().state == "READY"
    here.scale(2)
    assert (here.look()["state"], stages(here.look())) == ("READY", (0, 0, 0, 2))


def test_a_failed_one_costs_nothing_any_more(deployments):
    here = deployments(deploy_outcome="failed")
    here.create(minReplicaCount=2)
    assert here.at(7.9)["state"] == "CREATING"
    failed = here.at(8)
    assert (failed["state"], failed["status"]["code"]) == ("FAILED", "INTERNAL")
    assert "no capacity for 2 x 1 NVIDIA_H100_80GB" in failed["status"]["message"]
    assert (failed["replicaCount"], failed["desiredReplicaCount"], here.gpu_seconds) == (0, 0, 12)
    assert here.at(1000) == failed
    assert here.gpu_seconds == 12
    assert here.state.fleet.left() == ["accounts/demo/deployments/d"]
    for ask in (lambda: here.scale(1), here.undelete, lambda: here.edit(displayName="x")):
        with refusal("FAILED_PRECONDITION"):
            ask()
    here.delete()
    assert here.look()["state"] == "DELETED"


def test_one_that_never_comes_up_is_billed_all_the_same(deployments):
    here = deployments(deploy_outcome="never")
    here.create(minReplicaCount=1)
    assert (here.at(10_000)["state"], stages(here.look())) == ("CREATING", (0, 0, 1, 0))
    assert here.gpu_seconds == 9_998
    here.scale(0)
    assert here.at(10_002)["state"] == "READY"
    assert here.look()["replicaCount"] == 0


def test_outcomes_of_single_precisions_come_before_the_one_for_all(deployments):
    here = deployments(deploy_outcome="failed", deploy_outcomes={"FP16": "ok"}, outcome="ok")
    here.create()
    here.prepare("FP8")
    here.clock.sleep(10)
    here.create("e", precision="FP8")
    here.clock.sleep(8)
    assert (here.look("d")["state"], here.look("e")["state"]) == ("READY", "FAILED")


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
def test_with_how_many_replicas_it_begins(deployments, options, fields, first, most):
    here = deployments(**options)
    here.create(**fields)
    assert (here.look()["desiredReplicaCount"], here.look()["maxReplicaCount"]) == (first, most)
    after = here.at(8)
    assert (after["state"], after["replicaCount"]) == ("READY", first)


def test_scaling_up_and_down(deployments):
    here = deployments()
    here.create(minReplicaCount=1)
    here.at(10)
    here.scale(3)
    assert (here.look()["state"], here.look()["desiredReplicaCount"]) == ("UPDATING", 3)
    assert (here.look()["maxReplicaCount"], stages(here.look())) == (3, (2, 0, 0, 1))
    assert stages(here.at(11)) == (0, 2, 0, 1)
    assert (here.at(12)["state"], stages(here.look())) == ("READY", (0, 0, 0, 3))
    assert here.gpu_seconds == 10 + 2 * 1.5
    here.scale(1)
    assert (here.at(13.9)["state"], here.look()["replicaCount"]) == ("UPDATING", 3)
    assert (here.at(14)["state"], here.look()["replicaCount"]) == ("READY", 1)
    assert here.gpu_seconds == 13 + 3 * 2
    here.scale(0)
    assert (here.at(16)["state"], here.look()["replicaCount"]) == ("READY", 0)
    assert here.at(1000)["state"] == "READY"
    assert here.gpu_seconds == 19 + 2


def test_scaling_to_what_it_is_changes_nothing(deployments):
    here = deployments()
    here.create()
    before = here.at(9)
    here.scale(1)
    assert here.look() == before


def test_scaling_while_it_is_created(deployments):
    here = deployments()
    here.create()
    here.at(7)
    here.scale(2)
    assert here.look()["state"] == "CREATING"
    assert here.at(8)["state"] == "CREATING"
    assert (here.at(9)["state"], stages(here.look())) == ("READY", (0, 0, 0, 2))


def test_scaling_to_zero_what_waits_for_a_node_costs_nothing(deployments):
    here = deployments(deploy_outcome="failed")
    here.create()
    here.at(1)
    here.scale(0)
    assert (here.look()["state"], here.look()["replicaCount"]) == ("READY", 0), "nothing is left to fail"
    assert here.at(100)["state"] == "READY"
    assert here.gpu_seconds == 0


def test_a_new_number_while_the_last_one_is_not_reached(deployments):
    here = deployments(scale_duration=4)
    here.create(minReplicaCount=1)
    here.at(10)
    here.scale(3)
    here.at(12)
    here.scale(1)
    assert stages(here.look()) == (0, 2, 0, 1)
    assert (here.at(16)["state"], stages(here.look())) == ("READY", (0, 0, 0, 1))
    assert here.gpu_seconds == 14 + 2 * 5


@pytest.mark.parametrize(
    ("options", "policy", "idle"),
    [
        ({}, None, 3600),
        ({}, {"scaleToZeroWindow": "300s"}, 300),
        ({"scale_to_zero_after": 5}, {"scaleToZeroWindow": "300s"}, 5),
    ],
)
def test_it_goes_to_zero_when_nobody_uses_it(deployments, options, policy, idle):
    here = deployments(**options)
    here.create(autoscalingPolicy=policy)
    assert here.at(8 + idle - 0.1)["state"] == "READY"
    assert here.at(8 + idle)["state"] == "UPDATING"
    after = here.at(8 + idle + 2)
    assert (after["state"], after["replicaCount"], after["desiredReplicaCount"]) == ("READY", 0, 0)
    assert here.gpu_seconds == 6 + idle + 2
    here.at(20_000)
    assert here.gpu_seconds == 6 + idle + 2


def test_traffic_puts_that_off_and_a_minimum_forbids_it(deployments):
    here = deployments(scale_to_zero_after=10)
    here.create()
    here.create("kept", minReplicaCount=1)
    here.at(15)
    assert here.chat() == "served"
    assert here.at(24.9)["replicaCount"] == 1
    assert here.at(27)["replicaCount"] == 0
    assert here.look("kept")["replicaCount"] == 1


def test_a_request_brings_it_back_from_zero(deployments):
    here = deployments(scale_to_zero_after=10)
    here.create()
    assert here.chat() == "not_deployed"
    here.at(30)
    assert here.chat() == "scaling_up"
    assert (here.look()["state"], here.look()["desiredReplicaCount"]) == ("UPDATING", 1)
    here.at(31.9)
    assert here.chat() == "scaling_up"
    here.at(32)
    assert here.chat() == "served"
    assert here.gpu_seconds == pytest.approx(6 + 10 + 2 + 1.5)


def test_inference_lags_behind(deployments):
    here = deployments(serving_lag=5)
    here.create(minReplicaCount=1)
    for second, met in ((7.9, "not_deployed"), (8, "not_deployed"), (12.9, "not_deployed"), (13, "served")):
        here.at(second)
        assert here.chat() == met, second
    here.scale(2)
    assert here.chat() == "served", "what was there goes on while others come"


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
def test_what_is_not_deployed(deployments, model):
    here = deployments(deploy_duration=0)
    here.create()
    assert here.state.fleet.serve(model) == "not_deployed"


def test_a_deployment_without_a_maximum_stays_at_zero(deployments):
    here = deployments(deploy_duration=0)
    here.create(maxReplicaCount=0)
    assert here.chat() == "not_deployed"
    assert here.look()["desiredReplicaCount"] == 0


def test_deleting_is_soft_and_keeps_the_id(deployments):
    here = deployments(purge_after=100)
    here.create()
    here.at(10)
    here.delete()
    deleted = here.look()
    assert (deleted["state"], deleted["replicaCount"]) == ("DELETED", 0)
    assert (deleted["deleteTime"], deleted["purgeTime"]) == ("2025-06-15T15:06:50Z", "2025-06-15T15:08:30Z")
    assert (here.state.fleet.left(), here.gpu_seconds) == ([], 8)
    with refusal("ALREADY_EXISTS"):
        here.create()
    with refusal("NOT_FOUND"):
        here.delete()
    with refusal("FAILED_PRECONDITION"):
        here.scale(1)
    here.clock.sleep(100)
    assert here.state.fleet.all() == []
    assert here.gpu_seconds == 8
    here.create()


def test_deleting_takes_time_and_is_billed(deployments):
    here = deployments(delete_duration=5)
    here.create()
    here.at(10)
    here.delete()
    assert (here.look()["state"], here.state.fleet.left()) == ("DELETING", ["accounts/demo/deployments/d"])
    here.delete()
    assert here.at(14.9)["state"] == "DELETING"
    assert (here.at(15)["state"], here.state.fleet.left(), here.gpu_seconds) == ("DELETED", [], 13)


@pytest.mark.parametrize("duration", [0, 5])
def test_a_hard_deletion_leaves_nothing(deployments, duration):
    here = deployments(delete_duration=duration)
    here.create()
    here.at(10)
    here.delete(hard=True)
    if duration:
        assert here.at(14.9)["state"] == "DELETING"
        here.clock.sleep(0.1)
    assert (here.state.fleet.find("demo", "d"), here.gpu_seconds) == (None, 8 + duration)
    here.create()


def test_a_deleted_one_can_be_purged(deployments):
    here = deployments()
    here.create()
    here.delete()
    here.delete(hard=True)
    assert here.state.fleet.find("demo", "d") is None
    with refusal("resource not found"):
        here.delete(hard=True)


def test_what_served_lately_is_deleted_on_demand_only(deployments):
    here = deployments(recent_traffic=60)
    here.create(minReplicaCount=1)
    here.at(10)
    here.chat()
    here.at(69.9)
    with refusal("FAILED_PRECONDITION"):
        here.delete()
    with refusal("FAILED_PRECONDITION"):
        here.delete(hard=True)
    here.delete(ignore_checks=True)
    here.undelete()
    here.at(70 + 8)
    here.delete()
    assert here.look()["state"] == "DELETED"


def test_undeleting_creates_it_anew(deployments):
    here = deployments()
    here.create()
    with refusal("FAILED_PRECONDITION"):
        here.undelete()
    here.at(10)
    here.delete()
    here.at(20)
    here.undelete()
    back = here.look()
    assert (back["state"], back["deleteTime"], back["purgeTime"]) == ("CREATING", None, None)
    assert here.at(28)["state"] == "READY"
    assert here.gpu_seconds == 8 + 6
    assert here.at(8 * 86_400)["state"] == "READY"


def test_a_deployment_shows_late_and_has_its_id_at_once(deployments):
    here = deployments(create_lag=3)
    here.create()
    fleet = here.state.fleet
    for ask in (lambda: fleet.own("demo", "d"), lambda: here.scale(1), here.delete):
        with refusal("NOT_FOUND"):
            ask()
    assert fleet.visible("demo", deleted=True) == []
    with refusal("ALREADY_EXISTS"):
        here.create()
    here.clock.sleep(3)
    assert fleet.own("demo", "d").state == "CREATING"
    assert [found.deployment for found in fleet.visible("demo", deleted=False)] == ["d"]


def test_checking_only(deployments):
    here = deployments(gpu_quota=1)
    shown = here.create(validate_only=True).payload()
    assert (shown["name"], shown["acceleratorCount"]) == ("accounts/demo/deployments/d", 1)
    assert (here.state.fleet.all(), here.state.creations, here.state.counts) == ([], [], {})
    assert here.create().payload() == shown
    for name, wrong in (("ALREADY_EXISTS", {}), ("RESOURCE_EXHAUSTED", {"deployment": "e"})):
        with refusal(name):
            here.create(validate_only=True, **wrong)
    here.at(100)
    assert here.gpu_seconds == 98


def test_the_quota_of_gpus(deployments):
    here = deployments(gpu_quota=16, quota_status=400)
    here.create(minReplicaCount=7, acceleratorCount=2)
    with pytest.raises(ApiError) as caught:
        here.create("e", acceleratorCount=4)
    wanted = "global--h100-count for account demo, in use: 14, quota: 16, requesting: 4"
    assert (caught.value.name, caught.value.message, caught.value.status) == (
        "RESOURCE_EXHAUSTED",
        wanted,
        400,
    )
    here.create("e", acceleratorCount=2)
    with refusal("in use: 16, quota: 16, requesting: 2"):
        here.scale(8)
    with refusal("requesting: 4"):
        here.edit("max_replica_count,min_replica_count", maxReplicaCount=9, minReplicaCount=9)
    assert here.look()["maxReplicaCount"] == 7
    here.at(8)
    here.scale(6)
    with refusal("in use: 16"):
        here.create("f", acceleratorCount=1)
    here.clock.sleep(2)
    here.create("f", acceleratorCount=1)


def test_the_quota_of_another_account_is_another_one(deployments):
    here = deployments(gpu_quota=1, accounts=["demo", "other"])
    here.create()
    fields = {"baseModel": "accounts/fireworks/models/yi-6b", "acceleratorType": "AMD_MI300X_192GB"}
    here.state.fleet.create("other", "d", fields)
    with refusal("global--mi300x-count for account other, in use: 1"):
        here.state.fleet.create("other", "e", fields)


def test_undeleting_and_waking_need_quota_too(deployments):
    here = deployments(gpu_quota=1, scale_to_zero_after=10)
    here.create()
    here.at(30)
    here.create("other", minReplicaCount=1)
    assert here.chat() == "scaling_up"
    assert here.look()["desiredReplicaCount"] == 0
    here.delete()
    with refusal("RESOURCE_EXHAUSTED"):
        here.undelete()
    assert here.look()["state"] == "DELETED"


@pytest.mark.parametrize(
    ("prepared", "lists", "precision", "taken"),
    [
        (None, "present", "FP8", False),
        (None, "present", "FP16", True),
        (None, "present", "PRECISION_UNSPECIFIED", True),
        ("ok", "present", "FP8", True),
        ("ok", "absent", "FP8", True),
        ("ok", "empty", "FP4", False),
        ("calibrated", "absent", "FP8", True),
        ("failed_status", "present", "FP8", False),
        ("without_precision", "absent", "FP8", False),
    ],
)
def test_only_precisions_that_the_model_is_prepared_for(deployments, prepared, lists, precision, taken):
    here = deployments(outcome=prepared or "ok", precision_lists=lists, lists_lag=5)
    if prepared:
        here.prepare("FP8")
        here.clock.sleep(9.9)
        with refusal("not prepared for precision FP8"):
            here.create(precision="FP8")
        here.clock.sleep(0.1)
    if taken:
        assert here.create(precision=precision).precision == precision
        assert [c.precision for c in here.state.creations] == [precision]
    else:
        with refusal("FAILED_PRECONDITION"):
            here.create(precision=precision)


def test_an_add_on_is_judged_by_its_base_model(deployments):
    here = deployments()
    with refusal("accounts/demo/models/my-model is not prepared"):
        here.create(baseModel="accounts/demo/models/my-addon", precision="FP8")
    assert here.create(baseModel="accounts/demo/models/my-addon", precision="FP16").gpus_per_replica == 1


@pytest.mark.parametrize(
    ("fields", "name"),
    [
        ({"baseModel": "accounts/demo/models/none"}, "NOT_FOUND"),
        ({"baseModel": "accounts/other/models/my-model"}, "NOT_FOUND"),
        ({"baseModel": "my-model"}, "INVALID_ARGUMENT"),
        ({"baseModel": "accounts/demo/models/my-uploading-model"}, "FAILED_PRECONDITION"),
        ({"acceleratorType": "ACCELERATOR_TYPE_UNSPECIFIED"}, "INVALID_ARGUMENT"),
        ({"minReplicaCount": 2, "maxReplicaCount": 1}, "INVALID_ARGUMENT"),
        ({"deploymentShape": "default"}, "INVALID_ARGUMENT"),
        ({"deploymentShape": "accounts/demo/deploymentShapes/none", "acceleratorType": None}, "NOT_FOUND"),
    ],
)
def test_what_cannot_be_deployed(deployments, fields, name):
    here = deployments()
    with refusal(name):
        here.create(**{key: value or "ACCELERATOR_TYPE_UNSPECIFIED" for key, value in fields.items()})
    assert here.state.creations == []


def test_the_number_of_gpus_is_that_of_the_model(deployments):
    here = deployments()
    assert here.create(baseModel="accounts/demo/models/my-other-model").gpus_per_replica == 4


def test_an_id_is_made_up(deployments):
    here = deployments()
    first, second = here.create(None), here.create(None)
    assert first.deployment != second.deployment
    assert first.deployment.isalnum()


UNSET = "ACCELERATOR_TYPE_UNSPECIFIED"
SHAPES = "accounts/demo/deploymentShapes"


@pytest.mark.parametrize(
    ("shape", "version", "count", "precision"),
    [
        (f"{SHAPES}/my-shape", f"{SHAPES}/my-shape/versions/v2", 1, "FP8"),
        (f"{SHAPES}/my-shape/versions/v1", f"{SHAPES}/my-shape/versions/v1", 2, "FP8"),
        ("default", f"{SHAPES}/my-full-shape/versions/v1", 1, "PRECISION_UNSPECIFIED"),
    ],
)
def test_a_shape_says_what_it_is_made_of(deployments, shape, version, count, precision):
    here = deployments()
    here.prepare("FP8")
    here.clock.sleep(10)
    shown = here.create(acceleratorType=UNSET, deploymentShape=shape).payload()
    assert (shown["deploymentShape"], shown["acceleratorType"]) == (version, "NVIDIA_H100_80GB")
    assert (shown["acceleratorCount"], shown["precision"]) == (count, precision)


def test_the_precision_of_a_shape_has_to_be_prepared_too(deployments):
    here = deployments()
    with refusal("not prepared for precision FP8"):
        here.create(acceleratorType=UNSET, deploymentShape=f"{SHAPES}/my-shape")
    here.prepare("FP4")
    here.clock.sleep(10)
    new = {"acceleratorType": UNSET, "deploymentShape": f"{SHAPES}/my-unvalidated-shape"}
    with refusal("not validated"):
        here.create(**new)
    assert here.create(**new, skip_shape_validation=True).accelerator_type == "NVIDIA_B200_180GB"


@pytest.mark.parametrize("field", [{"acceleratorCount": 2}, {"precision": "FP16"}])
def test_beside_a_shape_nothing_else_or_it_prevails(deployments, field):
    here = deployments()
    asked = {"acceleratorType": UNSET, "deploymentShape": "default", **field}
    with refusal("INVALID_ARGUMENT"):
        here.create(**asked)
    here.state.configure(shape_exclusive=False)
    made = here.create(**asked)
    assert (made.gpus_per_replica, made.precision) == (1, "PRECISION_UNSPECIFIED")


def test_shapes_that_fit_a_model(deployments):
    here = deployments()

    def fitting(model: str = MODEL, enable_addons: bool = False) -> list[str]:
        found = here.state.fleet.matching("demo", model, enable_addons=enable_addons)
        return [version.shape for version in found]

    assert fitting() == fitting("accounts/demo/models/my-addon") == ["my-full-shape"]
    assert fitting("accounts/fireworks/models/yi-6b") == ["my-full-shape", "yi-6b-minimal"]
    here.prepare("FP8")
    here.clock.sleep(10)
    assert fitting() == ["my-full-shape", "my-shape"]
    assert fitting(enable_addons=True) == ["my-full-shape"]
    here.state.fleet._shapes.clear()
    with refusal("no validated deployment shape fits"):
        here.create(acceleratorType=UNSET, deploymentShape="default")


def test_changing_some_fields(deployments):
    here = deployments()
    here.create(displayName="Old", description="kept")
    before = here.at(9)
    here.edit("display_name", displayName="New", description="not in the mask")
    after = here.look()
    assert (after["displayName"], after["description"], after["state"]) == ("New", "kept", "READY")
    assert after["updateTime"] > before["updateTime"]
    here.edit("autoscalingPolicy.scaleToZeroWindow", autoscalingPolicy={"scaleToZeroWindow": "400s"})
    here.edit("autoscaling_policy.scale_up_window", autoscalingPolicy={"scaleUpWindow": "30s"})
    assert here.look()["autoscalingPolicy"] == {"scaleToZeroWindow": "400s", "scaleUpWindow": "30s"}
    here.edit("autoscaling_policy.scale_to_zero_window")
    assert here.look()["autoscalingPolicy"] == {"scaleUpWindow": "30s"}


@pytest.mark.parametrize("mask", ["", "*"])
def test_without_a_mask_all_that_can_be_changed_is_replaced(deployments, mask):
    here = deployments()
    here.create(displayName="Old", description="gone", maxReplicaCount=4)
    here.edit(mask, displayName="New", acceleratorType="NVIDIA_H100_80GB")
    after = here.look()
    assert (after["displayName"], after["description"], after["maxReplicaCount"]) == ("New", "", 1)
    assert after["acceleratorType"] == "NVIDIA_H100_80GB"


def test_a_shape_may_be_sent_again_by_its_name(deployments):
    here = deployments()
    here.create(acceleratorType=UNSET, deploymentShape=f"{SHAPES}/my-full-shape")
    here.edit(deploymentShape=f"{SHAPES}/my-full-shape")
    with refusal("deploymentShape: cannot be changed"):
        here.edit(deploymentShape=f"{SHAPES}/my")


@pytest.mark.parametrize(
    ("mask", "fields", "named"),
    [
        ("", {"precision": "FP8"}, "precision"),
        ("", {"baseModel": "accounts/demo/models/my-other-model"}, "baseModel"),
        ("acceleratorCount", {"acceleratorCount": 2}, "acceleratorCount"),
        ("state", {}, "state"),
        ("colour", {}, "updateMask: unknown field 'colour'"),
        ("minReplicaCount", {"minReplicaCount": 2}, "maxReplicaCount"),
    ],
)
def test_what_cannot_be_changed_is_said(deployments, mask, fields, named):
    here = deployments()
    here.create()
    before = here.look()
    with refusal(named):
        here.edit(mask, **fields)
    assert here.look() == before


def test_changed_limits_move_the_replicas(deployments):
    here = deployments()
    here.create()
    here.at(9)
    here.edit("min_replica_count,max_replica_count", minReplicaCount=2, maxReplicaCount=3)
    assert (here.look()["state"], here.look()["desiredReplicaCount"]) == ("UPDATING", 2)
    assert here.at(11)["replicaCount"] == 2
    here.edit("min_replica_count,max_replica_count", minReplicaCount=0, maxReplicaCount=0)
    assert (here.at(13)["state"], here.look()["replicaCount"]) == ("READY", 0)


def test_forced_states_stay_until_something_is_asked(deployments):
    here = deployments(scale_to_zero_after=10)
    here.create()
    found = here.state.fleet.find("demo", "d")
    found.force({"state": "READY", "displayName": "forced"}, here.clock())
    assert (here.look()["state"], stages(here.look())) == ("READY", (0, 0, 0, 1))
    assert here.chat() == "served"
    assert here.at(100)["replicaCount"] == 1, "it does not go to zero by itself"
    assert here.gpu_seconds == 100
    found.force({"state": "NEWER_THAN_US", "replicaCount": 77}, here.clock())
    assert (here.at(200)["state"], here.look()["replicaCount"]) == ("NEWER_THAN_US", 77)
    here.scale(2)
    assert (here.look()["state"], here.look()["replicaCount"]) == ("UPDATING", 1)
    found.force({"state": "DELETED"}, here.clock())
    assert here.at(10_000_000)["state"] == "DELETED"
    assert here.gpu_seconds == 200
    here.undelete()
    assert here.look()["state"] == "CREATING"
    with pytest.raises(ValueError, match="'State' is no field of a deployment"):
        found.force({"State": "READY"}, here.clock())


def test_one_that_vanishes_has_cost_what_it_cost(deployments):
    here = deployments()
    here.create()
    here.at(10)
    assert here.state.fleet.remove("demo", "d") is True
    assert here.state.fleet.remove("demo", "d") is False
    here.clock.sleep(100)
    assert here.gpu_seconds == 8
    here.state.reset()
    assert here.gpu_seconds == 0


def test_what_was_created(deployments):
    here = deployments()
    here.create()
    with refusal("ALREADY_EXISTS"):
        here.create()
    [creation] = here.state.creations
    assert (creation.account, creation.deployment, creation.base_model) == ("demo", "d", MODEL)
    assert (creation.precision, creation.at) == ("PRECISION_UNSPECIFIED", here.clock())
    assert here.state.counts == {"deployment created": 1}
    here.state.clear()
    assert (here.state.creations, len(here.state.fleet.all())) == ([], 1)


@given(
    asks=st.lists(st.tuples(st.floats(0, 60), st.sampled_from(["up", "down", "chat", "delete"])), max_size=6),
    looks=st.lists(st.floats(0, 200), max_size=10),
    outcome=st.sampled_from(["ok", "failed", "never"]),
)
def test_looking_changes_nothing(asks, looks, outcome):
    """However often a deployment is looked at, and whenever: what is read, and paid, in the end is the same."""
    options = Options(deploy_outcome=outcome, scale_to_zero_after=7, delete_duration=3, purge_after=500)
    fields = {"minReplicaCount": 0, "maxReplicaCount": 3, "acceleratorCount": 2}

    def run(extra: list[float]) -> tuple[dict[str, object], float]:
        deployment = EmulatedDeployment("demo", "d", 0, options, "FP16", acceleratorType="X_Y", **fields)
        for at, what in sorted([*asks, *((look, "") for look in extra)]):
            deployment.settle(at)
            try:
                if what in ("up", "down"):
                    deployment.scale(3 if what == "up" else 0, at, options)
                elif what == "chat":
                    deployment.serve(at, options, may_grow=True)
                elif what == "delete":
                    deployment.delete(at, options, hard=False, ignore_checks=True)
            except ApiError:
                pass
        deployment.settle(300)
        return deployment.payload(), round(deployment.gpu_seconds, 6)

    looked_at = run(looks)
    assert looked_at == run([])
    assert 0 <= looked_at[1] <= 300 * 3 * 2
