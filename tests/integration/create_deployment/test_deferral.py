"""Create tasks that are deferred: what a deferral stores, and how it may end."""

from __future__ import annotations

import json
import time
from datetime import timedelta
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import AirflowTaskTimeout

from airflow_provider_fireworks import exceptions
from airflow_provider_fireworks.client import api
from airflow_provider_fireworks.hooks.fireworks import FireworksHook
from tests.integration.conftest import MODEL, TaskInstance, fire, run_task
from tests.integration.creating import (
    NAME,
    OWNER,
    costs_nothing,
    count_changes,
    create_by_hand,
    defer_task,
    is_id_free,
    make_task,
)


def make_deferrable(**arguments: Any) -> Any:
    return make_task(deferrable=True, **arguments)


def resume(event: Any, **arguments: Any) -> Any:
    """Resume a deferred task with the event of its trigger."""
    return make_deferrable(**arguments).resume_execution(
        "execute_complete", {"event": event}, {"ti": TaskInstance()}
    )


def resume_failed(error: str = "Trigger failure", **arguments: Any) -> Any:
    """Resume a deferred task whose trigger sent no event, as Airflow does after this error."""
    return make_deferrable(**arguments).resume_execution("__fail__", {"error": error}, {"ti": TaskInstance()})


def test_deferred_create_stores_deadline_and_signature_but_no_key(emulator):
    emulator.configure(deploy_duration=60)
    deferral = defer_task(lambda: make_deferrable(delete_on_kill=True))
    path, stored = deferral.trigger.serialize()
    assert path.endswith("triggers.deployment.FireworksDeploymentReadyTrigger")
    assert emulator.api_key not in json.dumps(stored)
    assert stored["wait"]["deadline"] == pytest.approx(time.time() + 20, abs=5)
    assert stored["owner_signature"] == OWNER.description
    assert deferral.timeout.total_seconds() > 20


def test_deferred_create_ends_by_execution_timeout_and_deletes(emulator):
    emulator.configure(deploy_duration=60)
    with pytest.raises(AirflowTaskTimeout, match=r"execution_timeout of 1 s is over, last seen: .*CREATING"):
        run_task(lambda: make_deferrable(timeout=600, execution_timeout=timedelta(seconds=0.6)))
    assert costs_nothing(emulator)


@pytest.mark.parametrize("before", [True, False])
def test_deferred_create_deletes_as_asked_before_deferral(emulator, before):
    emulator.configure(deploy_duration=60)
    deferral = defer_task(lambda: make_deferrable(delete_on_failure=before, timeout=0.4))
    event = fire(*deferral.trigger.serialize())
    # As after an edit of the DAG, or if the template renders differently now.
    with pytest.raises(exceptions.FireworksTimeout):
        resume(event, delete_on_failure=not before)
    assert is_id_free(emulator) is before


# ---- no event


@pytest.mark.parametrize("error", ["Trigger timeout", "Trigger failure", "Unknown"])
@pytest.mark.parametrize("delete_on_failure", [True, False])
def test_deferred_create_without_event_deletes_if_asked_to(emulator, error, delete_on_failure):
    emulator.configure(deploy_duration=60)
    defer_task(make_deferrable)
    with pytest.raises(Exception, match=error) as failure:
        resume_failed(error, delete_on_failure=delete_on_failure)
    assert "Deferral" in type(failure.value).__name__
    assert is_id_free(emulator) is delete_on_failure
    assert costs_nothing(emulator) is delete_on_failure


def test_deferred_create_without_event_deletes_despite_traffic(emulator):
    emulator.configure(deploy_duration=0)
    defer_task(make_deferrable)
    FireworksHook().send(api.request_inference(f"{MODEL}#{NAME}"))
    with pytest.raises(Exception, match="Trigger failure"):
        resume_failed()
    assert costs_nothing(emulator)


def test_deferred_create_without_event_leaves_foreign_deployment_alone(emulator):
    create_by_hand(emulator, description="Do not touch!")
    with pytest.raises(Exception, match="Trigger failure"):
        resume_failed()
    assert emulator.deployments_left == [NAME]
    assert count_changes(emulator) == 0


# ---- other events


@pytest.mark.parametrize(
    "event",
    [
        None,
        {},
        "ready",
        {"resume_state": {}},
        {"resume_state": {}, "wait": {}, "verdict": {"outcome": "ready", "reason": ""}},
        {"resume_state": {"deployment": NAME}, "wait": {}, "verdict": {"outcome": "pending", "reason": ""}},
    ],
    ids=str,
)
def test_deferred_create_with_invalid_event_fails_and_deletes(emulator, event):
    emulator.configure(deploy_duration=60)
    defer_task(make_deferrable)
    with pytest.raises(exceptions.FireworksInvalidEvent):
        resume(event)
    assert costs_nothing(emulator)


def test_deferred_create_without_connection_in_triggerer_deletes(emulator, monkeypatch):
    emulator.configure(deploy_duration=60)
    deferral = defer_task(make_deferrable)
    monkeypatch.delenv("AIRFLOW_CONN_FIREWORKS_DEFAULT")
    event = fire(*deferral.trigger.serialize())
    monkeypatch.setenv("AIRFLOW_CONN_FIREWORKS_DEFAULT", emulator.connection)
    with pytest.raises(exceptions.FireworksBadConnection):
        resume(event)
    assert costs_nothing(emulator)


def test_deferred_create_keeps_its_error_if_hook_cannot_be_built(emulator, monkeypatch):
    emulator.configure(deploy_outcome="failed")
    event = fire(*defer_task(make_deferrable).trigger.serialize())

    def fail(*_: Any, **__: Any) -> None:
        raise AirflowTaskTimeout("stopped")

    monkeypatch.setattr(FireworksHook, "__init__", fail)
    with pytest.raises(
        exceptions.FireworksDeploymentFailed, match=f"{NAME} was not deleted and IT MAY COST MONEY: stopped"
    ):
        resume(event)
