"""
How much counting adds to a poll while Airflow sends no metrics.

``python benchmarks/metrics.py`` prints the time of a whole poll (a ``GET`` of a model over loopback, its judgement and
the counting), that of the counting alone, each the best of several rounds, and the ratio of the two.
"""

from __future__ import annotations

import os
import tempfile
import time
from typing import TYPE_CHECKING

os.environ.setdefault("AIRFLOW_HOME", tempfile.mkdtemp(prefix="airflow-provider-fireworks-"))

from airflow_provider_fireworks.client.names import ModelName
from airflow_provider_fireworks.emulator import Emulator
from airflow_provider_fireworks.hooks.fireworks import FireworksHook
from airflow_provider_fireworks.models.wait import ModelWait

if TYPE_CHECKING:
    from collections.abc import Callable

ROUNDS = 7


def best(action: Callable[[], object], times: int) -> float:
    """Return the duration of an action in microseconds, the best of several rounds."""
    action()
    rounds = []
    for _ in range(ROUNDS):
        started = time.perf_counter()
        for _ in range(times):
            action()
        rounds.append(time.perf_counter() - started)
    return min(rounds) / times * 1e6


def main() -> None:
    """Measure a whole poll, and the counting alone."""
    # Without lists, a poll without a baseline ends the wait.
    with Emulator(precision_lists="present") as emulator:
        os.environ["AIRFLOW_CONN_FIREWORKS_DEFAULT"] = emulator.connection
        hook = FireworksHook()
        now = time.time()
        name = ModelName("demo", "my-model")
        wait = ModelWait(model=name, precision="FP8", deadline=now + 3600, poll_interval=30)
        poll = best(lambda: wait.observe(hook.get_model("my-model"), now), 200)
        model = hook.get_model("my-model")
    verdict = wait.observe(model, now)
    counting = best(lambda: wait._count(model, verdict, now), 20_000)
    print(f"a poll {poll:.0f} µs, counting in it {counting:.1f} µs, ratio {counting / poll:.4f}")


if __name__ == "__main__":
    main()
