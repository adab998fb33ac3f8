"""Shorter durations than a user's, for everything that a test runs."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from airflow_provider_fireworks.hooks.fireworks import FireworksHook
from airflow_provider_fireworks.operators.base import FireworksOperator
from airflow_provider_fireworks.sensors.base import FireworksSensor
from airflow_provider_fireworks.timing import Timing
from airflow_provider_fireworks.triggers.base import FireworksTrigger

if TYPE_CHECKING:
    import pytest


def use_timing(monkeypatch: pytest.MonkeyPatch, **durations: float) -> Timing:
    """Change these durations of the current timing, for the hook, all operators, sensors and triggers."""
    timing = replace(FireworksHook.timing, **durations)
    for each in (FireworksHook, FireworksOperator, FireworksSensor, FireworksTrigger):
        monkeypatch.setattr(each, "timing", timing)
    return timing
