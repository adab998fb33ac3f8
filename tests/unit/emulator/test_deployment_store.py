"""Creating, changing and finding deployments, quotas and deployment shapes."""

from __future__ import annotations

import pytest

from airflow_provider_fireworks.emulator.responses import ErrorResponse
from tests.unit.emulator.conftest import MODEL, refusal

SHAPES = "accounts/demo/deploymentShapes"
UNSET = "ACCELERATOR_TYPE_UNSPECIFIED"


def test_validate_only_creates_nothing(make_api):
    api = make_api(gpu_quota=1)
    shown = api.create(validate_only=True).payload()
    assert (shown["name"], shown["acceleratorCount"]) == ("accounts/demo/deployments/d", 1)
    assert (api.state.deployments.all(), api.state.creations, api.state.counts) == ([], [], {})
    assert api.create().payload() == shown
    for name, deployment in (("ALREADY_EXISTS", "d"), ("RESOURCE_EXHAUSTED", "e")):
        with refusal(name):
            api.create(deployment, validate_only=True)
    api.deployment_at(100)
    assert api.gpu_seconds == 98


def test_blind_validate_only_does_not_notice_an_unprepared_precision(make_api):
    api = make_api(validate_only="blind", gpu_quota=1)
    assert api.create(precision="FP8", validate_only=True).precision == "FP8"
    with refusal("not prepared for precision FP8"):
        api.create(precision="FP8")
    api.create()
    with refusal("RESOURCE_EXHAUSTED"):
        api.create("e", validate_only=True)


def test_ignored_validate_only_creates_the_deployment(make_api):
    api = make_api(validate_only="creates")
    with refusal("not prepared for precision FP8"):
        api.create(precision="FP8", validate_only=True)
    api.create(validate_only=True)
    assert (api.state.deployments.left(), len(api.state.creations)) == (["accounts/demo/deployments/d"], 1)


@pytest.mark.parametrize(
    ("shapeless", "plain", "with_risk"),
    [("accepted", True, True), ("with_risk", False, True), ("refused", False, False)],
)
def test_create_without_a_shape_is_accepted_or_refused(make_api, shapeless, plain, with_risk):
    api = make_api(shapeless=shapeless)
    for accepts_risk, taken in ((False, plain), (True, with_risk)):
        if taken:
            api.create(None, accept_shapeless_risk=accepts_risk)
        else:
            with refusal("INVALID_ARGUMENT: deploymentShape: required"):
                api.create(None, accept_shapeless_risk=accepts_risk)
    with refusal("INVALID_ARGUMENT: acceptShapelessRisk"):
        api.create(acceleratorType=UNSET, deploymentShape="default", accept_shapeless_risk=True)
    api.create(acceleratorType=UNSET, deploymentShape="default")


@pytest.mark.parametrize(
    ("annotations", "code"),
    [
        ({f"custom/{number}": "x" for number in range(64)}, None),
        ({f"custom/{number}": "x" for number in range(65)}, "INVALID_ARGUMENT"),
        ({"custom/" + "k" * 121: "ü" * 128}, None),
        ({"custom/" + "k" * 122: "x"}, "INVALID_ARGUMENT"),
        ({"custom/ü": "x"}, "INVALID_ARGUMENT"),
        ({"custom/": "x"}, "INVALID_ARGUMENT"),
        ({"custom/a": "x" * 129}, "INVALID_ARGUMENT"),
        ({"custom/a": ""}, "INVALID_ARGUMENT"),
        ({"bare": "x"}, "PERMISSION_DENIED"),
        ({"custom/a": "x", "image-tag-reason": "x"}, "PERMISSION_DENIED"),
    ],
)
@pytest.mark.parametrize("validate_only", [False, True])
def test_create_checks_annotations(make_api, annotations, code, validate_only):
    api = make_api()
    if code is None:
        shown = api.create(annotations=annotations, validate_only=validate_only).payload()
        assert shown["annotations"] == annotations
        return
    with refusal(code):
        api.create(annotations=annotations, validate_only=validate_only)
    assert api.state.creations == []


def test_model_with_deployments_cannot_be_deleted(make_api):
    api = make_api(delete_duration=5, deploy_outcome="failed", create_lag=3)
    api.create()
    for second, state in ((0, "CREATING"), (8, "FAILED")):
        assert api.deployment_at(second)["state"] == state
        with refusal("FAILED_PRECONDITION.*active deployments"):
            api.delete_model()
    api.create("e")
    api.delete()
    with refusal("active deployments"):
        api.delete_model()
    api.deployment_at(13)
    with refusal("active deployments"):
        api.delete_model()
    api.state.deployments.delete("demo", "e", hard=True, ignore_checks=False)
    api.clock.sleep(5)
    api.delete_model()
    with refusal("NOT_FOUND"):
        api.delete_model()


@pytest.mark.parametrize("hard", [True, False])
def test_model_is_released_some_time_after_its_last_deployment(make_api, hard):
    api = make_api(model_release_lag=60)
    api.create()
    api.deployment_at(10)
    api.delete(hard=hard)
    api.clock.sleep(59.9)
    with refusal("active deployments"):
        api.delete_model()
    api.clock.sleep(0.1)
    api.delete_model()


def test_model_is_released_at_once_by_a_removed_deployment(make_api):
    api = make_api(model_release_lag=60)
    api.create()
    api.create("e", baseModel="accounts/demo/models/my-other-model")
    api.state.deployments.remove("demo", "d")
    api.delete_model()


def test_quotas_show_the_gpus_in_use_of_each_type(make_api):
    api = make_api(accounts=["demo", "other"])
    assert api.state.deployments.quotas("demo") == []
    api.state.configure(gpu_quota=16)
    api.create(acceleratorCount=2, minReplicaCount=2)
    api.create("e", acceleratorType="NVIDIA_B200_180GB", acceleratorCount=4)
    api.create("f", acceleratorType="AMD_MI300X_192GB")

    def usage(account: str) -> dict[str, int]:
        listed = api.state.deployments.quotas(account)
        assert {(one["value"], one["maxValue"]) for one in listed} == {("16", "16")}
        return {one["name"].rpartition("/")[2]: one["usage"] for one in listed}

    assert usage("demo") == {
        "global--b200-count": 4,
        "global--h100-count": 4,
        "global--h200-count": 0,
    }
    assert set(usage("other").values()) == {0}
    api.scale(0)
    api.clock.sleep(2)
    assert usage("demo")["global--h100-count"] == 0


def test_gpu_quota_limits_create_scale_and_edit(make_api):
    api = make_api(gpu_quota=16, quota_status=400)
    api.create(minReplicaCount=7, acceleratorCount=2)
    with pytest.raises(ErrorResponse) as caught:
        api.create("e", acceleratorCount=4)
    wanted = "global--h100-count for account demo, in use: 14, quota: 16, requesting: 4"
    assert (caught.value.code, caught.value.message, caught.value.status) == (
        "RESOURCE_EXHAUSTED",
        wanted,
        400,
    )
    api.create("e", acceleratorCount=2)
    with refusal("in use: 16, quota: 16, requesting: 2"):
        api.scale(8)
    with refusal("requesting: 4"):
        api.edit("max_replica_count,min_replica_count", maxReplicaCount=9, minReplicaCount=9)
    assert api.deployment()["maxReplicaCount"] == 7
    api.deployment_at(8)
    api.scale(6)
    with refusal("in use: 16"):
        api.create("f", acceleratorCount=1)
    api.clock.sleep(2)
    api.create("f", acceleratorCount=1)


def test_gpu_quota_is_per_account(make_api):
    api = make_api(gpu_quota=1, accounts=["demo", "other"])
    api.create()
    fields = {"baseModel": "accounts/fireworks/models/yi-6b", "acceleratorType": "AMD_MI300X_192GB"}
    api.state.deployments.create("other", "d", fields)
    with refusal("global--mi300x-count for account other, in use: 1"):
        api.state.deployments.create("other", "e", fields)


def test_gpu_quota_limits_undelete_and_waking(make_api):
    api = make_api(gpu_quota=1, scale_to_zero_after=10)
    api.create()
    api.deployment_at(30)
    api.create("other", minReplicaCount=1)
    assert api.infer() == "scaling_up"
    assert api.deployment()["desiredReplicaCount"] == 0
    api.delete()
    with refusal("RESOURCE_EXHAUSTED"):
        api.undelete()
    assert api.deployment()["state"] == "DELETED"


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
def test_create_needs_a_prepared_precision(make_api, prepared, lists, precision, taken):
    api = make_api(outcome=prepared or "ok", precision_lists=lists, lists_lag=5)
    if prepared:
        api.prepare("FP8")
        api.clock.sleep(9.9)
        with refusal("not prepared for precision FP8"):
            api.create(precision="FP8")
        api.clock.sleep(0.1)
    if taken:
        assert api.create(precision=precision).precision == precision
        assert [c.precision for c in api.state.creations] == [precision]
    else:
        with refusal("FAILED_PRECONDITION"):
            api.create(precision=precision)


def test_create_for_an_addon_needs_its_base_model_prepared(make_api):
    api = make_api()
    with refusal("accounts/demo/models/my-model is not prepared"):
        api.create(baseModel="accounts/demo/models/my-addon", precision="FP8")
    assert api.create(baseModel="accounts/demo/models/my-addon", precision="FP16").gpus_per_replica == 1


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
def test_create_refuses_invalid_fields(make_api, fields, name):
    api = make_api()
    with refusal(name):
        api.create(**{key: value or UNSET for key, value in fields.items()})
    assert api.state.creations == []


def test_default_accelerator_count_is_the_world_size_of_the_model(make_api):
    api = make_api()
    assert api.create(baseModel="accounts/demo/models/my-other-model").gpus_per_replica == 4


def test_create_without_an_id_chooses_one(make_api):
    api = make_api()
    first, second = api.create(None), api.create(None)
    assert first.id != second.id
    assert first.id.isalnum()


@pytest.mark.parametrize(
    ("shape", "version", "count", "precision"),
    [
        (f"{SHAPES}/my-shape", f"{SHAPES}/my-shape/versions/v2", 1, "FP8"),
        (f"{SHAPES}/my-shape/versions/v1", f"{SHAPES}/my-shape/versions/v1", 2, "FP8"),
        ("default", f"{SHAPES}/my-full-shape/versions/v1", 1, "PRECISION_UNSPECIFIED"),
    ],
)
def test_shape_sets_accelerators_and_precision(make_api, shape, version, count, precision):
    api = make_api()
    api.prepare("FP8")
    api.clock.sleep(10)
    shown = api.create(acceleratorType=UNSET, deploymentShape=shape).payload()
    assert (shown["deploymentShape"], shown["acceleratorType"]) == (version, "NVIDIA_H100_80GB")
    assert (shown["acceleratorCount"], shown["precision"]) == (count, precision)


def test_create_needs_the_precision_of_the_shape_prepared(make_api):
    api = make_api()
    with refusal("not prepared for precision FP8"):
        api.create(acceleratorType=UNSET, deploymentShape=f"{SHAPES}/my-shape")
    api.prepare("FP4")
    api.clock.sleep(10)
    new = {"acceleratorType": UNSET, "deploymentShape": f"{SHAPES}/my-unvalidated-shape"}
    with refusal("not validated"):
        api.create(**new)
    assert api.create(**new, skip_shape_validation=True).accelerator_type == "NVIDIA_B200_180GB"


@pytest.mark.parametrize("field", [{"acceleratorCount": 2}, {"precision": "FP16"}])
def test_fields_beside_a_shape_are_refused_or_overridden(make_api, field):
    api = make_api()
    fields = {"acceleratorType": UNSET, "deploymentShape": "default", **field}
    with refusal("INVALID_ARGUMENT"):
        api.create(**fields)
    api.state.configure(shape_exclusive=False)
    created = api.create(**fields)
    assert (created.gpus_per_replica, created.precision) == (1, "PRECISION_UNSPECIFIED")


def test_matching_shapes_fit_the_model_and_its_precisions(make_api):
    api = make_api()

    def fitting(model: str = MODEL, **how: bool) -> list[str]:
        how = {"enable_addons": False, **how}
        return [version.shape for version in api.state.deployments.matching_shapes("demo", model, **how)]

    assert fitting() == fitting("accounts/demo/models/my-addon") == ["my-full-shape"]
    assert fitting("accounts/fireworks/models/yi-6b") == ["my-full-shape", "yi-6b-minimal"]
    assert fitting(prepared=False) == ["my-full-shape", "my-shape"]
    assert fitting(prepared=False, enable_addons=True) == ["my-full-shape"]
    api.prepare("FP8")
    api.clock.sleep(10)
    assert fitting() == ["my-full-shape", "my-shape"]
    assert fitting(enable_addons=True) == ["my-full-shape"]
    api.state.deployments._shapes.clear()
    with refusal("no validated deployment shape fits"):
        api.create(acceleratorType=UNSET, deploymentShape="default")


def test_edit_changes_only_the_fields_in_the_mask(make_api):
    api = make_api()
    api.create(displayName="Old", description="kept")
    before = api.deployment_at(9)
    api.edit("display_name", displayName="New", description="not in the mask")
    after = api.deployment()
    assert (after["displayName"], after["description"], after["state"]) == ("New", "kept", "READY")
    assert after["updateTime"] > before["updateTime"]
    api.edit("autoscaling_policy", autoscalingPolicy={"scaleToZeroWindow": "400s"})
    assert api.deployment()["autoscalingPolicy"] == {"scaleToZeroWindow": "400s"}


@pytest.mark.parametrize("mask", ["", "*"])
def test_edit_without_a_mask_replaces_all_mutable_fields(make_api, mask):
    api = make_api()
    api.create(displayName="Old", description="gone", maxReplicaCount=4)
    api.edit(mask, displayName="New", acceleratorType="NVIDIA_H100_80GB")
    after = api.deployment()
    assert (after["displayName"], after["description"], after["maxReplicaCount"]) == ("New", "", 1)
    assert after["acceleratorType"] == "NVIDIA_H100_80GB"


def test_edit_accepts_the_name_of_the_current_shape(make_api):
    api = make_api()
    api.create(acceleratorType=UNSET, deploymentShape=f"{SHAPES}/my-full-shape")
    api.edit(deploymentShape=f"{SHAPES}/my-full-shape")
    with refusal("deploymentShape: cannot be changed"):
        api.edit(deploymentShape=f"{SHAPES}/my")


@pytest.mark.parametrize(
    ("mask", "fields", "named"),
    [
        ("", {"precision": "FP8"}, "precision"),
        ("", {"baseModel": "accounts/demo/models/my-other-model"}, "baseModel"),
        ("acceleratorCount", {"acceleratorCount": 2}, "acceleratorCount"),
        ("state", {}, "state"),
        ("display_name,annotations", {"annotations": {}}, "updateMask: annotations cannot be changed"),
        ("", {"annotations": {"custom/a": "x"}}, "annotations: cannot be changed"),
        ("colour", {}, "updateMask: unknown field 'colour'"),
        ("autoscalingPolicy.scaleUpWindow", {}, "unknown field 'autoscalingPolicy.scaleUpWindow'"),
        ("minReplicaCount", {"minReplicaCount": 2}, "maxReplicaCount"),
    ],
)
def test_edit_names_a_field_that_cannot_be_changed(make_api, mask, fields, named):
    api = make_api()
    api.create()
    before = api.deployment()
    with refusal(named):
        api.edit(mask, **fields)
    assert api.deployment() == before


def test_edit_of_limits_adds_and_removes_replicas(make_api):
    api = make_api()
    api.create()
    api.deployment_at(9)
    api.edit("min_replica_count,max_replica_count", minReplicaCount=2, maxReplicaCount=3)
    assert (api.deployment()["state"], api.deployment()["desiredReplicaCount"]) == ("UPDATING", 2)
    assert api.deployment_at(11)["replicaCount"] == 2
    api.edit("min_replica_count,max_replica_count", minReplicaCount=0, maxReplicaCount=0)
    assert (api.deployment_at(13)["state"], api.deployment()["replicaCount"]) == ("READY", 0)


def test_creations_record_accepted_creates(make_api):
    api = make_api()
    api.create()
    with refusal("ALREADY_EXISTS"):
        api.create()
    [creation] = api.state.creations
    assert (creation.account, creation.deployment, creation.base_model) == ("demo", "d", MODEL)
    assert creation.precision == "PRECISION_UNSPECIFIED"
    assert api.state.counts == {"deployment created": 1}
    api.state.clear()
    assert (api.state.creations, len(api.state.deployments.all())) == ([], 1)
