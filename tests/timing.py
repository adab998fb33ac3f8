"""Shorter durations for tests than in production."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from airflow_provider_fireworks.hooks.fireworks import FireworksHook
from airflow_provider_fireworks.task import FireworksTask
from airflow_provider_fireworks.timing import Timing
from airflow_provider_fireworks.triggers.base import FireworksTrigger

if TYPE_CHECKING:
    import pytest


def use_timing(monkeypatch: pytest.MonkeyPatch, **durations: float) -> Timing:
    """Change these durations of the current timing of the hook and of all operators, sensors and triggers."""
    timing = replace(FireworksHook.timing, **durations)
    for user in (FireworksHook, FireworksTask, FireworksTrigger):
        monkeypatch.setattr(user, "timing", timing)
    return timing
