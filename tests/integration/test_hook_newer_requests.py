"""The hook's requests that only newer versions of the API know, and those about what is left of a resource."""

from __future__ import annotations

import time

import pytest

from airflow_provider_fireworks import exceptions
from airflow_provider_fireworks.client import api
from airflow_provider_fireworks.hooks.fireworks import FireworksHook
from tests.integration.creating import SPEC
from tests.integration.sensing import act_later
from tests.timing import use_timing


@pytest.fixture
def hook(emulator):
    return FireworksHook()


# ---- preparing


def test_accelerator_count_is_sent_only_if_given(emulator, hook):
    hook.prepare_model("my-model", "FP8")
    hook.prepare_model("my-model", "FP4", accelerator_count=2)
    bodies = [request.body for request in emulator.requests]
    assert bodies == [{"precision": "FP8"}, {"precision": "FP4", "acceleratorCount": 2}]


@pytest.mark.parametrize(
    ("send", "field"),
    [
        (lambda hook: hook.prepare_model("my-model", "FP8", accelerator_count=2), "acceleratorCount"),
        (lambda hook: hook.abort_preparation("my-model"), "abort"),
    ],
    ids=["accelerator_count", "abort"],
)
def test_api_that_does_not_know_a_field_says_so(emulator, hook, send, field):
    emulator.configure(prepare_fields="unknown")
    with pytest.raises(exceptions.RefusedError, match=f"does not know {field}: omit"):
        send(hook)


def test_other_refusal_is_not_blamed_on_the_field(emulator, hook):
    emulator.configure(second_prepare="failed_precondition", duration=60)
    hook.prepare_model("my-model", "FP8")
    with pytest.raises(exceptions.RefusedError) as refusal:
        hook.prepare_model("my-model", "FP4", accelerator_count=2)
    assert "does not know" not in str(refusal.value)


def test_abort_stops_the_preparation(emulator, hook):
    emulator.configure(duration=60)
    hook.prepare_model("my-model", "FP8")
    assert hook.get_model("my-model").state == "PREPARING"
    hook.abort_preparation("my-model")
    aborted = hook.get_model("my-model")
    assert aborted.state == "READY"
    assert aborted.status.is_aborted
    assert not emulator.is_prepared("my-model", "FP8")
    assert emulator.requests[-2].body == {"abort": True}


def test_abort_sends_a_precision_only_if_given(emulator, hook):
    emulator.configure(abort_precision="required", duration=60)
    hook.prepare_model("my-model", "FP8")
    with pytest.raises(exceptions.RefusedError):
        hook.abort_preparation("my-model")
    hook.abort_preparation("my-model", "FP8")
    assert emulator.requests[-1].body == {"abort": True, "precision": "FP8"}


# ---- deleting a model


def test_delete_model_waits_until_its_deployments_are_gone(emulator, hook):
    emulator.configure(model_release_lag=0.5)
    hook.create_deployment("d", SPEC)
    hook.delete_deployment("d")
    started = time.monotonic()
    hook.delete_model("my-model")
    assert time.monotonic() - started > 0.3
    assert emulator.count("DELETE", "/models/my-model") > 1
    with pytest.raises(exceptions.NotFoundError):
        hook.get_model("my-model")


def test_delete_model_with_deployment_fails_in_the_end(emulator, hook, monkeypatch):
    use_timing(monkeypatch, model_release_timeout=0.5)
    hook.create_deployment("d", SPEC)
    with pytest.raises(exceptions.RefusedError, match="active deployments"):
        hook.delete_model("my-model")
    assert hook.get_model("my-model").state == "READY"


def test_delete_model_fails_at_once_for_another_reason(emulator, hook):
    emulator.fault("status", method="DELETE", status=400)
    with pytest.raises(exceptions.RefusedError):
        hook.delete_model("my-model")
    assert emulator.count("DELETE") == 1


def test_delete_model_succeeds_as_soon_as_the_last_deployment_is_deleted(emulator, hook):
    hook.create_deployment("d", SPEC)
    with act_later(lambda: FireworksHook().delete_deployment("d")):
        hook.delete_model("my-model")
    assert emulator.deployments_left == []


# ---- reading


def test_termination_message_says_why_a_deployment_failed(emulator, hook):
    emulator.configure(deploy_duration=0)
    hook.create_deployment("d", SPEC)
    assert hook.termination_message("d") == ""
    emulator.configure(deploy_outcome="failed")
    hook.create_deployment("e", SPEC)
    assert "memory" in hook.termination_message("e")


def test_quotas_are_read(emulator, hook):
    assert hook.list_quotas() == []
    emulator.configure(gpu_quota=4)
    hook.create_deployment("d", SPEC)
    quotas = {quota.name.rpartition("/")[2]: (quota.usage, quota.value) for quota in hook.list_quotas()}
    assert quotas["global--h100-count"] == (1.0, 4)


@pytest.mark.parametrize("zero_data_retention", [False, True])
def test_policy_settings_are_read(emulator, hook, zero_data_retention):
    emulator.configure(zero_data_retention=zero_data_retention)
    settings = hook.send(api.get_policy_settings(hook.account_id))
    assert bool(settings.zero_data_retention) is zero_data_retention
