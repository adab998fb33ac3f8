"""
The tasks on gateways that behave in ways that are not known of the real one.

One section for each option of the emulator that no other test of the tasks turns; what is not to be expected of
the tasks there is pinned as the docs tell it.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import pytest
import requests
from airflow.providers.common.compat.sdk import AirflowFailException

from airflow_provider_fireworks import exceptions
from airflow_provider_fireworks.deployments.ownership import Owner
from airflow_provider_fireworks.hooks.fireworks import FireworksHook
from airflow_provider_fireworks.models import readiness
from airflow_provider_fireworks.operators.deployment import (
    FireworksCreateDeploymentOperator,
    FireworksDeleteDeploymentOperator,
    FireworksScaleDeploymentOperator,
)
from airflow_provider_fireworks.operators.model import FireworksPrepareModelOperator
from airflow_provider_fireworks.sensors.deployment import FireworksDeploymentReadySensor
from airflow_provider_fireworks.sensors.model import FireworksModelReadySensor
from tests.integration.conftest import MODEL, TaskInstance, run_task

REFUSALS = ["aborted", "already_exists", "failed_precondition"]
MODES = {
    "poke": {"mode": "poke"},
    "reschedule": {"mode": "reschedule"},
    "deferrable": {"deferrable": True},
}
NAME = f"accounts/demo/deployments/{Owner.from_context({'ti': TaskInstance()}).deployment_id}"

Run = Callable[..., Any]


@pytest.fixture(params=[False, True], ids=["worker", "deferrable"])
def deferrable(request: pytest.FixtureRequest) -> bool:
    return request.param


@pytest.fixture
def prepare(deferrable: bool) -> Run:
    def run(precision: str = "FP8", model: str = "my-model", **arguments: Any) -> dict[str, Any]:
        how = {"poll_interval": 0.1, "timeout": 20, "deferrable": deferrable, **arguments}
        return run_task(
            lambda: FireworksPrepareModelOperator(task_id="prepare", model=model, precision=precision, **how)
        )

    return run


@pytest.fixture(params=MODES)
def mode(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture
def ready(mode: str) -> Run:
    def run(**arguments: Any) -> dict[str, Any]:
        how = {
            "model": "my-model",
            "precision": "FP8",
            "poke_interval": 0.1,
            "timeout": 20,
            **MODES[mode],
            **arguments,
        }
        return run_task(lambda: FireworksModelReadySensor(task_id="ready", **how))

    return run


@pytest.fixture
def asked(emulator: Any) -> Run:
    """Ask for a preparation, and return what the sensor takes."""

    def ask(precision: str = "FP8", model: str = "my-model") -> dict[str, Any]:
        return run_task(
            lambda: FireworksPrepareModelOperator(
                task_id="prepare", model=model, precision=precision, poll_interval=0.1, timeout=20
            )
        )

    return ask


@pytest.fixture
def create(deferrable: bool) -> Run:
    def run(instance: TaskInstance | None = None, **arguments: Any) -> dict[str, Any]:
        how = {"poll_interval": 0.1, "timeout": 20, "deferrable": deferrable, **arguments}
        return run_task(
            lambda: FireworksCreateDeploymentOperator(
                task_id="deploy", model="my-model", accelerator_type="NVIDIA_H100_80GB", **how
            ),
            instance,
        )

    return run


def posts(emulator: Any) -> int:
    return emulator.count("POST", ":prepare")


# same_prepare: asking for what is being prepared already


@pytest.mark.parametrize("lists", ["present", "absent"])
@pytest.mark.parametrize("answer", ["ok", *REFUSALS])
def test_a_second_task_for_the_same_precision_waits_for_the_one_preparation(emulator, prepare, answer, lists):
    emulator.configure(same_prepare=answer, precision_lists=lists, duration=0.6)
    prepare()
    assert prepare(wait_for_completion=True)["precision"] == "FP8"
    assert emulator.model("my-model")["calibrated"]
    assert len(emulator.preparations) == 1


@pytest.mark.parametrize("answer", ["ok", *REFUSALS])
def test_a_sensor_behind_a_second_task_for_the_same_precision(emulator, asked, ready, answer):
    emulator.configure(same_prepare=answer, duration=0.6)
    asked()
    assert ready(**asked()) == {"model": MODEL, "precision": "FP8"}
    assert len(emulator.preparations) == 1


@pytest.mark.parametrize("answer", REFUSALS)
def test_a_refusal_before_the_preparation_shows_is_not_final(emulator, prepare, answer):
    emulator.configure(same_prepare=answer, start_lag=0.4)
    prepare()
    assert prepare(wait_for_completion=True)["precision"] == "FP8"
    assert "FP8" in emulator.model("my-model")["supportedPrecisions"]
    assert len(emulator.preparations) == 1


# lists_lag: the lists come to name a precision some time after the model is READY again


@pytest.mark.parametrize("lag", [0.15, 1.0], ids=["short", "longer than three looks"])
@pytest.mark.parametrize("outcome", ["ok", "calibrated"])
def test_the_operator_outwaits_lists_that_lag(emulator, prepare, outcome, lag):
    emulator.configure(lists_lag=lag, outcome=outcome)
    assert prepare(wait_for_completion=True)["precision"] == "FP8"
    assert len(emulator.preparations) == 1
    # Once more at the most: to the API that is prepared already.
    assert posts(emulator) <= 2


def test_a_sensor_takes_lists_that_lag_for_three_looks(emulator, asked, ready):
    emulator.configure(lists_lag=0.3)
    assert ready(**asked(), poke_interval=0.2)["precision"] == "FP8"


@pytest.mark.parametrize("mode", ["poke", "deferrable"], indirect=True)
def test_a_sensor_that_has_seen_it_end_gives_lists_no_more_than_three_looks(emulator, asked, ready):
    emulator.configure(lists_lag=30)
    with pytest.raises(AirflowFailException, match="has to be prepared again"):
        ready(**asked())


@pytest.mark.parametrize("mode", ["reschedule"], indirect=True)
def test_a_sensor_that_remembers_nothing_gives_lists_the_grace(emulator, asked, ready):
    emulator.configure(lists_lag=0.8)
    assert ready(**asked())["precision"] == "FP8"


@pytest.mark.parametrize("mode", ["reschedule"], indirect=True)
def test_what_moves_no_time_and_lists_late_can_be_failed_by_a_sensor_that_remembers_nothing(
    emulator, asked, ready
):
    """The limit that docs/readiness.md tells of, and what it says to do."""
    emulator.configure(lists_lag=1.0, bump_update_time=False, duration=1.5)
    assert emulator.options.duration > readiness.START_GRACE
    baseline = asked()
    with pytest.raises(AirflowFailException, match="has not begun"):
        ready(**baseline)
    time.sleep(1.2)
    assert ready(**baseline)["precision"] == "FP8"


# bump_update_time: a preparation need not move the model's updateTime


@pytest.mark.parametrize("lists", ["present", "absent"])
def test_a_time_that_does_not_move_keeps_nothing_from_getting_ready(emulator, asked, ready, lists):
    emulator.configure(bump_update_time=False, precision_lists=lists)
    before = emulator.model("my-model")["updateTime"]
    assert ready(**asked())["precision"] == "FP8"
    assert emulator.model("my-model")["updateTime"] == before
    # Calibrated already, the model shows less of the second one.
    assert ready(**asked("FP4"))["precision"] == "FP4"


@pytest.mark.parametrize("outcome", ["failed_state", "failed_status"])
def test_a_failure_is_told_though_no_time_moves(emulator, asked, ready, outcome):
    emulator.configure(bump_update_time=False, outcome=outcome)
    with pytest.raises(AirflowFailException, match="preparing the model at FP8 failed"):
        ready(**asked())


@pytest.mark.parametrize("outcome", ["failed_state", "failed_status"])
def test_the_same_failure_again_is_told_at_once_where_it_was_seen_in_preparation(emulator, prepare, outcome):
    emulator.configure(bump_update_time=False, outcome=outcome, duration=1)
    for _ in range(2):
        emulator.clear()
        with pytest.raises(
            exceptions.FireworksPreparationFailed, match=r"status.*preparing .* failed"
        ) as error:
            prepare(wait_for_completion=True)
        assert "has not begun" not in str(error.value)
        assert posts(emulator) == 1
    emulator.configure(outcome="ok")
    assert prepare(wait_for_completion=True)["precision"] == "FP8"


# upload_duration: a new model cannot be used yet


@pytest.fixture
def uploading(emulator: Any) -> Any:
    """An API with ``new``, which is UPLOADING for a while and of which nothing was asked yet."""
    emulator.configure(upload_duration=0.8)
    requests.post(
        f"{emulator.url}/v1/accounts/demo/models",
        headers={"Authorization": f"Bearer {emulator.api_key}"},
        json={"modelId": "new", "model": {"kind": "HF_BASE_MODEL", "baseModelDetails": {"worldSize": 1}}},
        timeout=5,
    ).raise_for_status()
    emulator.clear()
    return emulator


@pytest.mark.parametrize("precision", ["FP8", "FP16"])
def test_an_upload_is_waited_for_like_another_preparation(uploading, prepare, precision):
    assert prepare(precision, model="new", wait_for_completion=True)["precision"] == precision
    # Asked for while it was uploading, and then, unless that had made it ready.
    assert posts(uploading) == (2 if precision == "FP8" else 1)
    assert [p.precision for p in uploading.preparations] == (["FP8"] if precision == "FP8" else [])


def test_a_sensor_waits_for_an_upload_though_the_precision_is_named(uploading, ready):
    assert ready(model="new", precision="FP16")["precision"] == "FP16"
    assert uploading.model("new")["state"] == "READY"
    assert {request.method for request in uploading.requests} == {"GET"}


# purge_after: what is softly deleted is gone for good some day


def test_what_was_purged_is_made_anew(emulator, create):
    create()
    emulator.configure(purge_after=0.3)
    FireworksHook().delete_deployment(NAME)
    time.sleep(0.4)
    assert create(TaskInstance(try_number=2)) == {"deployment": NAME}
    assert (len(emulator.creations), emulator.count("POST", ":undelete")) == (2, 0)
    assert emulator.deployments_left == [NAME]


@pytest.mark.parametrize("shown", ["deleted", "not_found"])
def test_what_is_purged_between_the_look_and_bringing_it_back_is_made_anew(emulator, create, shown):
    create()
    emulator.configure(purge_after=1.5, deleted_get=shown)
    FireworksHook().delete_deployment(NAME)
    emulator.fault("slow", method="POST", path=":undelete", delay=2)
    assert create(TaskInstance(try_number=2)) == {"deployment": NAME}
    assert (len(emulator.creations), emulator.count("POST", ":undelete")) == (2, 1)
    assert emulator.deployments_left == [NAME]


def test_deleting_what_was_purged_is_a_success(emulator, create):
    emulator.configure(purge_after=0)
    create()
    for _ in range(2):
        run_task(lambda: FireworksDeleteDeploymentOperator(task_id="remove", deployment=NAME))
    assert emulator.deployments == []


# scale_to_zero_after: the API takes the replicas away where nobody asks them anything


@pytest.fixture
def asleep(emulator: Any) -> Any:
    """An API with the deployment ``d``, which has gone to zero and does so soon after each request."""
    emulator.configure(deploy_duration=0, scale_duration=0.1, scale_to_zero_after=0.5)
    FireworksHook().create_deployment("d", {"baseModel": MODEL, "acceleratorType": "NVIDIA_H100_80GB"})
    time.sleep(0.8)
    assert emulator.deployment("d")["replicaCount"] == 0
    emulator.clear()
    return emulator


@pytest.mark.parametrize("serving", [False, True], ids=["ready", "serving"])
def test_what_goes_to_zero_by_itself_is_created_and_ready(emulator, create, serving):
    emulator.configure(scale_to_zero_after=0.5)
    create(wait_for_inference=serving)
    # A retry long after it has gone to zero takes it as it is.
    time.sleep(0.8)
    assert create(TaskInstance(try_number=2)) == {"deployment": NAME}
    [deployment] = emulator.deployments
    assert (deployment["state"], deployment["replicaCount"], len(emulator.creations)) == ("READY", 0, 1)


@pytest.mark.parametrize("serving", [False, True], ids=["ready", "serving"])
def test_a_sensor_takes_what_has_gone_to_zero(asleep, mode, serving):
    found = run_task(
        lambda: FireworksDeploymentReadySensor(
            task_id="up",
            deployment="d",
            wait_for_inference=serving,
            poke_interval=0.1,
            timeout=20,
            **MODES[mode],
        )
    )
    assert found == {"deployment": "accounts/demo/deployments/d"}
    served = [request for request in asleep.requests if request.path.endswith("chat/completions")]
    assert bool(served) is serving
    assert not serving or served[-1].status == 200


def test_what_goes_to_zero_before_it_is_seen_is_not_taken_for_scaled(asleep, deferrable):
    """What the autoscaler makes of the replicas is its own affair: the wait ends with what was seen last."""
    with pytest.raises(exceptions.FireworksTimeout, match="not with 1 yet"):
        run_task(
            lambda: FireworksScaleDeploymentOperator(
                task_id="scale",
                deployment="d",
                replica_count=1,
                wait_for_completion=True,
                poll_interval=1.5,
                timeout=3,
                deferrable=deferrable,
            )
        )
    assert asleep.count("PATCH") == 1


def test_scaling_to_zero_what_has_gone_there_is_done(asleep, deferrable):
    run_task(
        lambda: FireworksScaleDeploymentOperator(
            task_id="scale",
            deployment="d",
            replica_count=0,
            wait_for_completion=True,
            poll_interval=0.1,
            timeout=20,
            deferrable=deferrable,
        )
    )
    assert asleep.deployment("d")["replicaCount"] == 0
