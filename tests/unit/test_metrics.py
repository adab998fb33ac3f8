from __future__ import annotations

import re
from pathlib import Path

import pytest
from airflow.providers.common.compat import sdk

from airflow_provider_fireworks import metrics
from airflow_provider_fireworks.client.errors import (
    AccessDeniedError,
    NotFoundError,
    RateLimitedError,
    UnavailableError,
)
from airflow_provider_fireworks.client.resources import Deployment, Model
from airflow_provider_fireworks.polling import DeploymentWait, ModelWait, Outcome, Until

READY = Model(state="READY", supported_precisions=["FP8"])
PREPARING = Model(state="PREPARING", supported_precisions=["FP16"])


class Recorder:
    def __init__(self) -> None:
        self.counted: list[tuple[str, dict[str, str]]] = []
        self.timed: list[tuple[str, float, dict[str, str]]] = []

    def incr(self, name, *, tags):
        self.counted.append((name, tags))

    def timing(self, name, duration, *, tags):
        self.timed.append((name, duration.total_seconds(), tags))


@pytest.fixture
def stats(monkeypatch):
    recorder = Recorder()
    monkeypatch.setattr(sdk, "Stats", recorder, raising=False)
    return recorder


def model_watch(**fields):
    return ModelWait(
        model="accounts/demo/models/my-model",
        precision="FP8",
        **{"began": 1000.0, "deadline": 2000.0, "poll_interval": 30, **fields},
    )


@pytest.mark.parametrize(
    ("reading", "now", "verdict"),
    [
        (READY, 1060.0, "ready"),
        (PREPARING, 2000.0, "timeout"),
        (UnavailableError("away"), 2000.0, "timeout"),
        (AccessDeniedError("no"), 1060.0, "access_denied"),
        (NotFoundError("none"), 1060.0, "not_found"),
    ],
    ids=lambda value: getattr(value, "state", None) or str(value),
)
def test_a_wait_that_is_over_is_counted_by_its_verdict_and_timed(stats, reading, now, verdict):
    assert model_watch().observe(reading, now).outcome.value == verdict

    tags = {"resource": "model", "until": "ready"}
    assert stats.counted == [("fireworks.polls", tags), (f"fireworks.waits_ended.{verdict}", tags)]
    assert stats.timed == [("fireworks.wait_duration", now - 1000.0, {**tags, "verdict": verdict})]


def test_a_wait_that_goes_on_is_a_poll(stats):
    assert model_watch().observe(PREPARING, 1060.0).outcome is Outcome.PENDING

    assert [name for name, _ in stats.counted] == ["fireworks.polls"]
    assert not stats.timed


def test_too_many_requests_count_as_throttled(stats):
    wait = model_watch()
    wait.observe(RateLimitedError("slower", status=429), 1060.0)
    wait.observe(UnavailableError("away", status=503), 1061.0)

    assert [name for name, _ in stats.counted] == [
        "fireworks.polls",
        "fireworks.throttled",
        "fireworks.polls",
    ]


@pytest.mark.parametrize("until", [Until.IDLE, Until.RESPONSE])
def test_a_wait_after_which_the_task_goes_on_with_its_own_does_not_count_as_ended(stats, until):
    assert model_watch(until=until).observe(READY, 1060.0).outcome is Outcome.READY

    assert [name for name, _ in stats.counted] == ["fireworks.polls"]


@pytest.mark.parametrize("until", [Until.IDLE, Until.RESPONSE])
def test_it_does_if_the_task_ends_with_it(stats, until):
    model_watch(until=until).observe(AccessDeniedError("no"), 1060.0)

    assert [name for name, _ in stats.counted] == ["fireworks.polls", "fireworks.waits_ended.access_denied"]


def test_asking_inference_is_a_poll_too_and_one_wait(stats):
    wait = DeploymentWait(
        deployment="accounts/demo/deployments/d",
        until=Until.INFERENCE,
        began=1000.0,
        deadline=2000.0,
        poll_interval=30,
    )
    wait.observe(Deployment(state="READY", base_model="accounts/demo/models/my-model"), 1010.0)
    wait.observe(None, 1011.0)

    tags = {"resource": "deployment", "until": "serving"}
    assert [name for name, _ in stats.counted] == [
        "fireworks.polls",
        "fireworks.polls",
        "fireworks.waits_ended.ready",
    ]
    assert stats.timed == [("fireworks.wait_duration", 11.0, {**tags, "verdict": "ready"})]


def test_a_clock_that_was_set_back_gives_no_negative_duration(stats):
    model_watch().observe(READY, 900.0)

    assert stats.timed[0][1] == 0


def test_what_is_counted_is_documented():
    page = (Path(__file__).parents[2] / "docs" / "metrics.md").read_text()
    names = set(re.findall(r"^\| `(fireworks\.[a-z_.<>]+)` ", page, flags=re.MULTILINE))
    assert names == {
        metrics.POLLS,
        metrics.THROTTLED,
        f"{metrics.WAITS_ENDED}.<verdict>",
        metrics.WAIT_DURATION,
    }
    (verdicts,) = re.findall(r"^\| `verdict` \| (.+) \|$", page, flags=re.MULTILINE)
    # The API is not asked with a bad connection, so there is no look to count.
    counted = {outcome.value for outcome in Outcome} - {Outcome.PENDING.value, Outcome.BAD_CONNECTION.value}
    assert set(re.findall(r"`(\w+)`", verdicts)) == counted
    (until,) = re.findall(r"^\| `until` \| (.+) \|$", page, flags=re.MULTILINE)
    assert set(re.findall(r"`(\w+)`:", until)) == {until.value for until in Until}
