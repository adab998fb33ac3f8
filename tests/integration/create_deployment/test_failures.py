"""Create tasks that fail: with which error, and what is left of the deployment."""

from __future__ import annotations

import time

import pytest
from airflow.providers.common.compat.sdk import AirflowFailException

from airflow_provider_fireworks import exceptions
from airflow_provider_fireworks.hooks.fireworks import FireworksHook
from airflow_provider_fireworks.sensors.deployment import FireworksDeploymentReadySensor
from tests.integration.conftest import TaskInstance, run_task
from tests.integration.creating import (
    NAME,
    OWNER,
    act_when,
    costs_nothing,
    count_changes,
    count_creates,
    create_by_hand,
    fault_id,
    is_id_free,
    make_task,
    second_try,
    shown,
)
from tests.integration.sensing import MODES
from tests.timing import use_timing


@pytest.mark.parametrize("status", [429, 400, 403])
def test_create_without_quota_sends_one_request_and_can_be_retried(emulator, create, status):
    emulator.configure(gpu_quota=0, quota_status=status)
    with pytest.raises(
        exceptions.FireworksQuotaExceeded, match="in use: 0, quota: 0, requesting: 1"
    ) as failure:
        create()
    assert not isinstance(failure.value, AirflowFailException)
    assert (count_creates(emulator), count_changes(emulator), emulator.creations) == (1, 0, [])
    emulator.configure(gpu_quota=1)
    assert create(second_try()) == {"deployment": NAME}
    assert len(emulator.creations) == 1


# ---- the deployment fails


def test_create_deletes_deployment_that_fails_and_retry_creates_another(emulator, create):
    emulator.configure(deploy_outcome="failed")
    with pytest.raises(
        exceptions.FireworksDeploymentFailed, match=r"INTERNAL.*the replicas on 1 x 1 .* did not start"
    ) as failure:
        create()
    assert not isinstance(failure.value, AirflowFailException)
    assert is_id_free(emulator)
    emulator.configure(deploy_outcome="ok")
    emulator.clear()
    create(second_try())
    assert len(emulator.creations) == 1


def test_create_keeps_failed_deployment_until_retry_if_asked_to(emulator, create):
    emulator.configure(deploy_outcome="failed")
    with pytest.raises(exceptions.FireworksDeploymentFailed):
        create(delete_on_failure=False)
    assert shown(emulator)["state"] == "FAILED"
    assert count_changes(emulator) == 0
    emulator.configure(deploy_outcome="ok")
    emulator.clear()
    create(second_try(), delete_on_failure=False)
    assert (len(emulator.creations), emulator.count("DELETE")) == (1, 1)


def test_create_deletes_deployment_that_failed_after_lost_response(emulator, create):
    emulator.configure(deploy_outcome="failed", deploy_duration=0)
    emulator.fault("drop", method="POST", path="/deployments", after_work=True)
    with pytest.raises(exceptions.FireworksDeploymentFailed, match="did not start"):
        create()
    assert is_id_free(emulator)
    assert len(emulator.creations) == 1


# ---- somebody deletes the deployment


@pytest.mark.parametrize(("hard", "created"), [(False, 1), (True, 2)], ids=["softly", "for good"])
def test_create_fails_if_somebody_deletes_and_retry_restores(emulator, create, hard, created):
    emulator.configure(deploy_duration=60)
    with (
        act_when(
            lambda: emulator.creations and emulator.count("GET", "/deployments/") > 1,
            lambda: FireworksHook().delete_deployment(OWNER.deployment_id, hard=hard),
        ),
        pytest.raises(exceptions.FireworksDeploymentFailed, match="deleted while it was waited for"),
    ):
        create()
    assert costs_nothing(emulator)
    emulator.configure(deploy_duration=0.2)
    create(second_try())
    assert shown(emulator)["state"] == "READY"
    assert len(emulator.creations) == created


def test_create_fails_at_once_if_what_it_saw_is_gone(emulator, monkeypatch):
    use_timing(monkeypatch, visibility_lag=1.2)
    emulator.configure(deploy_duration=60)
    with (
        act_when(
            lambda: emulator.creations and emulator.count("GET", "/deployments/") > 1,
            lambda: emulator.remove_deployment(OWNER.deployment_id),
        ),
        pytest.raises(exceptions.FireworksDeploymentFailed),
    ):
        make_task().execute({"ti": TaskInstance()})
    (created_at,) = (request.at for request in emulator.requests if request.method == "POST")
    assert time.time() - created_at < 1.1


# ---- the time is over


def test_create_timeout_names_last_state_and_deletes(emulator, create):
    emulator.configure(deploy_duration=60)
    with pytest.raises(
        exceptions.FireworksTimeout, match="timeout of 1 s is over, last seen: its state is CREATING"
    ) as failure:
        create(timeout=0.6)
    assert NAME in str(failure.value)
    assert not isinstance(failure.value, AirflowFailException)
    assert costs_nothing(emulator)
    assert is_id_free(emulator)


def test_create_timeout_keeps_deployment_if_asked_to(emulator, create):
    emulator.configure(deploy_duration=60)
    with pytest.raises(exceptions.FireworksTimeout, match="IT MAY COST MONEY") as failure:
        create(timeout=0.4, delete_on_failure=False)
    assert f"{NAME} is kept" in str(failure.value)
    assert emulator.deployments_left == [NAME]
    assert count_changes(emulator) == 0


def test_create_timeout_deletes_deployment_that_never_answers(emulator, create):
    emulator.configure(serving_lag=60)
    with pytest.raises(exceptions.FireworksTimeout, match="READY"):
        create(wait_for_inference=True, timeout=0.6)
    assert costs_nothing(emulator)


def test_create_of_model_without_chat_says_what_to_do_and_deletes(emulator, create):
    emulator.fault("status", status=400, method="POST", path="chat")
    with pytest.raises(exceptions.FireworksRefused, match="without wait_for_inference"):
        create(wait_for_inference=True)
    assert costs_nothing(emulator)


# ---- the key


def test_create_with_wrong_key_fails_at_once_without_showing_it(emulator, create):
    emulator.revoke_key()
    with pytest.raises(exceptions.FireworksAccessDenied, match="API key") as failure:
        create()
    assert isinstance(failure.value, AirflowFailException)
    shown_to_user = repr(failure.value) + repr(failure.value.__dict__) + repr(failure.value.__context__)
    assert emulator.api_key not in shown_to_user
    assert len(emulator.requests) == 1


def test_create_hides_key_that_api_echoes(emulator, create, caplog, capsys):
    emulator.fault("status", status=400, message=f"bad key {emulator.api_key}", method="POST")
    with pytest.raises(exceptions.FireworksRefused, match=r"bad key \*\*\*") as failure:
        create()
    logged = caplog.text + capsys.readouterr().out
    assert emulator.api_key not in repr(failure.value) + repr(failure.value.__context__) + logged


# ---- the termination message

SAYS_WHY = "its termination message: "


def test_failed_deployment_is_explained_by_its_termination_message(emulator, create):
    emulator.configure(deploy_outcome="failed")
    with pytest.raises(exceptions.FireworksDeploymentFailed, match=SAYS_WHY) as failure:
        create()
    assert emulator.count("GET", "/terminationMessage") == 1
    assert "its state is FAILED" in str(failure.value)
    assert costs_nothing(emulator)


@pytest.mark.parametrize("mode", MODES)
def test_failed_deployment_of_sensor_is_explained(emulator, mode):
    emulator.configure(deploy_outcome="failed")
    create_by_hand(emulator)
    with pytest.raises(exceptions.FireworksDeploymentNotReady, match=SAYS_WHY):
        run_task(
            lambda: FireworksDeploymentReadySensor(
                task_id="up", deployment=NAME, poke_interval=0.1, timeout=20, **MODES[mode]
            )
        )


@pytest.mark.parametrize(
    "fault",
    [{"kind": "status", "status": 503}, {"kind": "drop"}, {"kind": "html", "status": 404}],
    ids=fault_id,
)
def test_failure_is_reported_without_termination_message(emulator, create, fault):
    emulator.configure(deploy_outcome="failed")
    emulator.fault(**fault, path="/terminationMessage", times=-1)
    with pytest.raises(exceptions.FireworksDeploymentFailed) as failure:
        create()
    assert SAYS_WHY not in str(failure.value)
    assert emulator.count("GET", "/terminationMessage") == 1
    assert costs_nothing(emulator)
