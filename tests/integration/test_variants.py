"""
Tasks on APIs that behave in ways which are not known of the real one.

There is a section for each option of the emulator that no other test of the tasks sets. Known limits are tested as the
docs describe them.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import AirflowFailException

from airflow_provider_fireworks import exceptions
from airflow_provider_fireworks.deployments.ownership import Owner
from airflow_provider_fireworks.hooks.fireworks import FireworksHook
from airflow_provider_fireworks.operators.deployment import (
    FireworksCreateDeploymentOperator,
    FireworksDeleteDeploymentOperator,
    FireworksScaleDeploymentOperator,
)
from airflow_provider_fireworks.operators.model import FireworksPrepareModelOperator
from airflow_provider_fireworks.sensors.deployment import FireworksDeploymentReadySensor
from airflow_provider_fireworks.sensors.model import FireworksModelReadySensor
from tests.integration.conftest import MODEL, TaskInstance, run_task
from tests.integration.creating import H100
from tests.integration.sensing import MODES

REFUSALS = ["aborted", "already_exists", "failed_precondition"]
NAME = f"accounts/demo/deployments/{Owner.from_context({'ti': TaskInstance()}).deployment_id}"

Run = Callable[..., Any]


@pytest.fixture(params=[False, True], ids=["worker", "deferrable"])
def deferrable(request: pytest.FixtureRequest) -> bool:
    return request.param


@pytest.fixture(params=MODES)
def mode(request: pytest.FixtureRequest) -> str:
    return request.param


def run_prepare(precision: str = "FP8", model: str = "my-model", **arguments: Any) -> dict[str, Any]:
    arguments = {"poll_interval": 0.1, "timeout": 20, **arguments}
    return run_task(
        lambda: FireworksPrepareModelOperator(
            task_id="prepare", model=model, precision=precision, **arguments
        )
    )


@pytest.fixture
def prepare(deferrable: bool) -> Run:
    """Runs the prepare operator, in the worker and deferred."""

    def run(precision: str = "FP8", **arguments: Any) -> dict[str, Any]:
        return run_prepare(precision, deferrable=deferrable, **arguments)

    return run


@pytest.fixture
def ready(mode: str) -> Run:
    """Runs the model sensor in each mode."""

    def run(**arguments: Any) -> dict[str, Any]:
        arguments = {
            "model": "my-model",
            "precision": "FP8",
            "poke_interval": 0.1,
            "timeout": 20,
            **arguments,
        }
        return run_task(lambda: FireworksModelReadySensor(task_id="ready", **MODES[mode], **arguments))

    return run


@pytest.fixture
def create(deferrable: bool) -> Run:
    """Runs the create operator, in the worker and deferred."""

    def run(instance: TaskInstance | None = None, **arguments: Any) -> dict[str, Any]:
        arguments = {"poll_interval": 0.1, "timeout": 20, "deferrable": deferrable, **arguments}
        return run_task(
            lambda: FireworksCreateDeploymentOperator(
                task_id="deploy", model="my-model", accelerator_type=H100, **arguments
            ),
            instance,
        )

    return run


def count_requests(emulator: Any) -> int:
    return emulator.count("POST", ":prepare")


# ---- same_prepare: a request for what is being prepared already


@pytest.mark.parametrize("lists", ["present", "absent"])
@pytest.mark.parametrize("response", ["ok", *REFUSALS])
def test_second_prepare_task_waits_for_same_preparation(emulator, prepare, response, lists):
    emulator.configure(same_prepare=response, precision_lists=lists, duration=0.6)
    prepare()
    assert prepare(wait_for_completion=True)["precision"] == "FP8"
    assert emulator.model("my-model")["calibrated"]
    assert len(emulator.preparations) == 1


@pytest.mark.parametrize("response", ["ok", *REFUSALS])
def test_sensor_after_second_prepare_task_waits_for_same_preparation(emulator, ready, response):
    emulator.configure(same_prepare=response, duration=0.6)
    run_prepare()
    assert ready(**run_prepare()) == {"model": MODEL, "precision": "FP8"}
    assert len(emulator.preparations) == 1


@pytest.mark.parametrize("lists", ["present", "absent"])
@pytest.mark.parametrize("response", REFUSALS)
def test_refusal_before_preparation_is_visible_is_not_final(emulator, prepare, response, lists):
    emulator.configure(same_prepare=response, precision_lists=lists, start_lag=0.4)
    # Not the operator, which waits for the preparation to begin if there are no lists.
    FireworksHook().prepare_model("my-model", "FP8")
    assert prepare(wait_for_completion=True)["precision"] == "FP8"
    assert emulator.is_prepared("my-model", "FP8")
    assert len(emulator.preparations) == 1


# ---- lists_lag: a precision is listed some time after the model is READY again


@pytest.mark.usefixtures("lists")
@pytest.mark.parametrize("lag", [0.15, 1.0], ids=["short", "longer than three polls"])
@pytest.mark.parametrize("outcome", ["ok", "calibrated"])
def test_prepare_operator_waits_out_lagging_lists(emulator, prepare, outcome, lag):
    emulator.configure(lists_lag=lag, outcome=outcome)
    assert prepare(wait_for_completion=True)["precision"] == "FP8"
    assert len(emulator.preparations) == 1
    # To the API the model is prepared already, so a second request does no harm.
    assert count_requests(emulator) <= 2


@pytest.mark.usefixtures("lists")
def test_sensor_waits_three_polls_for_lagging_lists(emulator, ready):
    emulator.configure(lists_lag=0.3)
    assert ready(**run_prepare(), poke_interval=0.2)["precision"] == "FP8"


@pytest.mark.usefixtures("lists")
@pytest.mark.parametrize("mode", ["poke", "deferrable"], indirect=True)
def test_sensor_that_saw_preparation_end_fails_after_three_polls(emulator, ready):
    emulator.configure(lists_lag=30)
    with pytest.raises(AirflowFailException, match="has to be prepared again"):
        ready(**run_prepare())


@pytest.mark.usefixtures("lists")
@pytest.mark.parametrize("mode", ["reschedule"], indirect=True)
def test_sensor_without_history_waits_start_time_for_lagging_lists(emulator, ready):
    emulator.configure(lists_lag=0.8)
    assert ready(**run_prepare())["precision"] == "FP8"


@pytest.mark.usefixtures("lists")
@pytest.mark.parametrize("mode", ["reschedule"], indirect=True)
def test_sensor_without_history_and_update_time_can_fail_on_lagging_lists(emulator, ready):
    """A limit described in docs/readiness.md, and what to do about it."""
    emulator.configure(lists_lag=1.0, bump_update_time=False, duration=1.5)
    assert emulator.options.duration > FireworksModelReadySensor.timing.preparation_start
    baseline = run_prepare()
    with pytest.raises(AirflowFailException, match="has not begun"):
        ready(**baseline)
    time.sleep(1.2)
    assert ready(**baseline)["precision"] == "FP8"


# ---- bump_update_time: a preparation may leave the model's updateTime unchanged


@pytest.mark.parametrize("lists", ["present", "absent"])
def test_sensor_needs_no_change_of_update_time(emulator, ready, lists):
    emulator.configure(bump_update_time=False, precision_lists=lists)
    before = emulator.model("my-model")["updateTime"]
    assert ready(**run_prepare())["precision"] == "FP8"
    assert emulator.model("my-model")["updateTime"] == before
    # The model is calibrated already, so less of the second preparation is visible.
    assert ready(**run_prepare("FP4"))["precision"] == "FP4"


@pytest.mark.parametrize("outcome", ["failed_state", "failed_status"])
def test_sensor_fails_without_change_of_update_time(emulator, ready, outcome):
    emulator.configure(bump_update_time=False, outcome=outcome)
    with pytest.raises(AirflowFailException, match="preparing the model at FP8 failed"):
        ready(**run_prepare())


@pytest.mark.parametrize("outcome", ["failed_state", "failed_status"])
def test_identical_second_failure_is_noticed_at_once_after_preparing(emulator, prepare, outcome):
    emulator.configure(bump_update_time=False, outcome=outcome, duration=1)
    for _ in range(2):
        emulator.clear()
        with pytest.raises(
            exceptions.FireworksPreparationFailed, match=r"status.*preparing .* failed"
        ) as error:
            prepare(wait_for_completion=True)
        assert "has not begun" not in str(error.value)
        assert count_requests(emulator) == 1
    emulator.configure(outcome="ok")
    assert prepare(wait_for_completion=True)["precision"] == "FP8"


# ---- a new model cannot be used yet


@pytest.fixture
def uploading(emulator: Any) -> Any:
    """The emulator with the model ``new``, UPLOADING for a while, and nothing recorded yet."""
    emulator.add_model("new", state="UPLOADING")
    uploaded = threading.Timer(0.8, emulator.set_model, ["new"], {"state": "READY"})
    uploaded.start()
    yield emulator
    uploaded.cancel()


@pytest.mark.parametrize(
    ("lists", "precision", "preparations", "prepare_requests"),
    [
        # Refused while the model is uploading, and accepted afterwards.
        ("present", "FP8", ["FP8"], 2),
        # Refused, and then ready without a preparation.
        ("present", "FP16", [], 1),
        # Not requested before the upload has ended.
        ("absent", "FP8", ["FP8"], 1),
        ("absent", "FP16", [], 0),
    ],
)
def test_prepare_waits_for_upload(uploading, prepare, lists, precision, preparations, prepare_requests):
    uploading.configure(precision_lists=lists)
    assert prepare(precision, model="new", wait_for_completion=True)["precision"] == precision
    assert [p.precision for p in uploading.preparations] == preparations
    assert count_requests(uploading) == prepare_requests


def test_sensor_waits_for_upload_even_if_precision_is_listed(uploading, ready):
    assert ready(model="new", precision="FP16")["precision"] == "FP16"
    assert uploading.model("new")["state"] == "READY"
    assert {request.method for request in uploading.requests} == {"GET"}


# ---- purge_after: a softly deleted deployment is gone for good after some time


def test_purged_deployment_is_created_again(emulator, create):
    create()
    emulator.configure(purge_after=0.3)
    FireworksHook().delete_deployment(NAME)
    time.sleep(0.4)
    assert create(TaskInstance(try_number=2)) == {"deployment": NAME}
    assert (len(emulator.creations), emulator.count("POST", ":undelete")) == (2, 0)
    assert emulator.deployments_left == [NAME]


@pytest.mark.parametrize("shown", ["deleted", "not_found"])
def test_deployment_purged_before_undelete_is_created_again(emulator, create, shown):
    create()
    emulator.configure(purge_after=1.5, deleted_get=shown)
    FireworksHook().delete_deployment(NAME)
    emulator.fault("slow", method="POST", path=":undelete", delay=2)
    assert create(TaskInstance(try_number=2)) == {"deployment": NAME}
    assert (len(emulator.creations), emulator.count("POST", ":undelete")) == (2, 1)
    assert emulator.deployments_left == [NAME]


def test_delete_of_purged_deployment_succeeds(emulator, create):
    emulator.configure(purge_after=0)
    create()
    for _ in range(2):
        run_task(lambda: FireworksDeleteDeploymentOperator(task_id="remove", deployment=NAME))
    assert emulator.deployments == []


# ---- scale_to_zero_after: the API removes the replicas of an idle deployment


@pytest.fixture
def idle(emulator: Any) -> Any:
    """The emulator with the deployment ``d``, scaled to zero, and scaled to zero again soon after each request."""
    emulator.configure(deploy_duration=0, scale_duration=0.1, scale_to_zero_after=0.5)
    FireworksHook().create_deployment("d", {"baseModel": MODEL, "acceleratorType": H100})
    time.sleep(0.8)
    assert emulator.deployment("d")["replicaCount"] == 0
    emulator.clear()
    return emulator


@pytest.mark.parametrize("wait_for_inference", [False, True])
def test_create_adopts_own_deployment_that_scaled_to_zero(emulator, create, wait_for_inference):
    emulator.configure(scale_to_zero_after=0.5)
    create(wait_for_inference=wait_for_inference)
    time.sleep(0.8)
    assert create(TaskInstance(try_number=2)) == {"deployment": NAME}
    [deployment] = emulator.deployments
    assert (deployment["state"], deployment["replicaCount"], len(emulator.creations)) == ("READY", 0, 1)


@pytest.mark.parametrize("wait_for_inference", [False, True])
def test_sensor_succeeds_on_deployment_that_scaled_to_zero(idle, mode, wait_for_inference):
    result = run_task(
        lambda: FireworksDeploymentReadySensor(
            task_id="up",
            deployment="d",
            wait_for_inference=wait_for_inference,
            poke_interval=0.1,
            timeout=20,
            **MODES[mode],
        )
    )
    assert result["deployment"] == "accounts/demo/deployments/d"
    statuses = [request.status for request in idle.requests if request.path.endswith("chat/completions")]
    assert bool(statuses) is wait_for_inference
    assert not wait_for_inference or statuses[-1] == 200


def scale(replica_count: int, **arguments: Any) -> dict[str, Any]:
    return run_task(
        lambda: FireworksScaleDeploymentOperator(
            task_id="scale",
            deployment="d",
            replica_count=replica_count,
            wait_for_completion=True,
            **arguments,
        )
    )


def test_scale_times_out_if_autoscaler_removes_replica_between_polls(idle, deferrable):
    with pytest.raises(exceptions.FireworksTimeout, match="not with 1 yet"):
        scale(1, poll_interval=1.5, timeout=3, deferrable=deferrable)
    assert idle.count("PATCH") == 1


def test_scale_to_zero_of_deployment_that_scaled_to_zero_succeeds(idle, deferrable):
    scale(0, poll_interval=0.1, timeout=20, deferrable=deferrable)
    assert idle.deployment("d")["replicaCount"] == 0
