from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from airflow.providers.common.compat import sdk

from airflow_provider_fireworks.client.errors import (
    AccessDeniedError,
    NotFoundError,
    RateLimitedError,
    UnavailableError,
)
from airflow_provider_fireworks.client.resources import Deployment, Model
from airflow_provider_fireworks.deployments.wait import DeploymentWait
from airflow_provider_fireworks.models.wait import ModelWait
from airflow_provider_fireworks.polling import Outcome, ResponseWait, Until
from airflow_provider_fireworks.routers.wait import RouterWait

READY = Model(state="READY", supported_precisions=["FP8"])
PREPARING = Model(state="PREPARING", supported_precisions=["FP16"])


class Recorder:
    """Records what is counted and timed, in place of Airflow's ``Stats``."""

    def __init__(self) -> None:
        self.counted: list[tuple[str, dict[str, str]]] = []
        self.timed: list[tuple[str, float, dict[str, str]]] = []

    def incr(self, name, *, tags):
        self.counted.append((name, tags))

    def timing(self, name, duration, *, tags):
        self.timed.append((name, duration.total_seconds(), tags))

    @property
    def names(self) -> list[str]:
        return [name for name, _ in self.counted]


@pytest.fixture
def stats(monkeypatch):
    recorder = Recorder()
    monkeypatch.setattr(sdk, "Stats", recorder, raising=False)
    return recorder


def model_wait(**fields: Any) -> ModelWait:
    return ModelWait(
        model="accounts/demo/models/my-model",
        precision="FP8",
        **{"began": 1000.0, "deadline": 2000.0, "poll_interval": 30, **fields},
    )


@pytest.mark.parametrize(
    ("result", "now", "verdict"),
    [
        (READY, 1060.0, "ready"),
        (PREPARING, 2000.0, "timeout"),
        (UnavailableError("away"), 2000.0, "timeout"),
        (AccessDeniedError("no"), 1060.0, "access_denied"),
        (NotFoundError("no such model"), 1060.0, "not_found"),
    ],
    ids=lambda value: getattr(value, "state", None) or str(value),
)
def test_ended_wait_is_counted_by_verdict_and_timed(stats, result, now, verdict):
    assert model_wait().observe(result, now).outcome.value == verdict

    tags = {"resource": "model", "until": "ready"}
    assert stats.counted == [("fireworks.polls", tags), (f"fireworks.waits_ended.{verdict}", tags)]
    assert stats.timed == [("fireworks.wait_duration", now - 1000.0, {**tags, "verdict": verdict})]


def test_pending_wait_is_counted_as_poll(stats):
    assert model_wait().observe(PREPARING, 1060.0).outcome is Outcome.PENDING

    assert stats.names == ["fireworks.polls"]
    assert not stats.timed


def test_rate_limited_poll_is_counted_as_throttled(stats):
    wait = model_wait()
    wait.observe(RateLimitedError("slow down", status=429), 1060.0)
    wait.observe(UnavailableError("away", status=503), 1061.0)

    assert stats.names == ["fireworks.polls", "fireworks.throttled", "fireworks.polls"]


@pytest.mark.parametrize("until", [Until.IDLE, Until.RESPONSE])
def test_wait_that_task_continues_after_is_not_counted_as_ended(stats, until):
    assert model_wait(until=until).observe(READY, 1060.0).outcome is Outcome.READY

    assert stats.names == ["fireworks.polls"]


@pytest.mark.parametrize("until", [Until.IDLE, Until.RESPONSE])
def test_wait_that_ends_task_is_counted_as_ended(stats, until):
    model_wait(until=until).observe(AccessDeniedError("no"), 1060.0)

    assert stats.names == ["fireworks.polls", "fireworks.waits_ended.access_denied"]


def test_inference_request_is_counted_as_poll_of_same_wait(stats):
    wait = DeploymentWait(
        deployment="accounts/demo/deployments/d",
        until=Until.INFERENCE,
        began=1000.0,
        deadline=2000.0,
        poll_interval=30,
    )
    wait.observe(Deployment(state="READY", base_model="accounts/demo/models/my-model"), 1010.0)
    wait.observe(None, 1011.0)

    tags = {"resource": "deployment", "until": "inference"}
    assert stats.names == ["fireworks.polls", "fireworks.polls", "fireworks.waits_ended.ready"]
    assert stats.timed == [("fireworks.wait_duration", 11.0, {**tags, "verdict": "ready"})]


def test_failed_request_of_worker_is_counted_with_resource_api(stats):
    wait = ResponseWait(about="my-model", began=1000.0, deadline=2000.0, poll_interval=30)
    wait.observe(UnavailableError("away"), 1060.0)

    assert stats.counted == [("fireworks.polls", {"resource": "api", "until": "response"})]


def test_clock_set_back_gives_no_negative_duration(stats):
    model_wait().observe(READY, 900.0)

    assert stats.timed[0][1] == 0


def test_metrics_and_tags_are_documented(stats):
    page = (Path(__file__).parents[2] / "docs" / "metrics.md").read_text()
    wait = model_wait()
    wait.observe(RateLimitedError("slow down"), 1060.0)
    wait.observe(READY, 1061.0)
    counted = {name.replace("waits_ended.ready", "waits_ended.<verdict>") for name in stats.names}
    documented = set(re.findall(r"^\| `(fireworks\.[a-z_.<>]+)` ", page, flags=re.MULTILINE))
    assert documented == counted | {name for name, _, _ in stats.timed}

    (resources,) = re.findall(r"^\| `resource` \| (.+) \|$", page, flags=re.MULTILINE)
    kinds = (ModelWait, DeploymentWait, RouterWait, ResponseWait)
    assert set(re.findall(r"`(\w+)`", resources)) == {kind.resource for kind in kinds}

    (verdicts,) = re.findall(r"^\| `verdict` \| (.+?)[;|]", page, flags=re.MULTILINE)
    # Without a usable connection nothing is sent, so there is no poll to count.
    counted = {outcome.value for outcome in Outcome} - {Outcome.PENDING.value, Outcome.BAD_CONNECTION.value}
    assert set(re.findall(r"`(\w+)`", verdicts)) == counted

    table = page.partition("| `until` | the task waits until |")[2].partition("\n\n")[0]
    assert set(re.findall(r"^\| `(\w+)` ", table, flags=re.MULTILINE)) == {until.value for until in Until}
