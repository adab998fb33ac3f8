"""
What counting costs a wait while Airflow sends no metrics.

``python benchmarks/metrics.py`` prints microseconds per poll, the best of several rounds each, and the ratio of what is
counted in it to the whole poll: a ``GET`` of a model over loopback, its judgement, and the counting.
"""

from __future__ import annotations

import os
import tempfile
import time
from typing import TYPE_CHECKING

os.environ.setdefault("AIRFLOW_HOME", tempfile.mkdtemp(prefix="airflow-provider-fireworks-"))

from airflow_provider_fireworks import metrics
from airflow_provider_fireworks.emulator import Emulator
from airflow_provider_fireworks.hooks.fireworks import FireworksHook
from airflow_provider_fireworks.polling import ModelWait

if TYPE_CHECKING:
    from collections.abc import Callable

ROUNDS = 7
TAGS = {"resource": "model", "until": "ready"}


def best(action: Callable[[], object], times: int) -> float:
    """Return the microseconds that an action takes, in the best of several rounds."""
    action()
    rounds = []
    for _ in range(ROUNDS):
        began = time.perf_counter()
        for _ in range(times):
            action()
        rounds.append(time.perf_counter() - began)
    return min(rounds) / times * 1e6


def main() -> None:
    """Measure a whole poll, and the counting alone."""
    with Emulator() as emulator:
        os.environ["AIRFLOW_CONN_FIREWORKS_DEFAULT"] = emulator.connection
        hook = FireworksHook()
        now = time.time()
        watch = ModelWait(
            model="accounts/demo/models/my-model", precisions=["FP8"], deadline=now + 3600, poll_interval=30
        )
        poll = best(lambda: watch.see(hook.get_model("my-model"), now), 200)
    counting = best(lambda: metrics.count_poll(TAGS, throttled=False), 20_000)
    print(f"a poll {poll:.0f} µs, counting in it {counting:.1f} µs, ratio {counting / poll:.4f}")


if __name__ == "__main__":
    main()
