"""``python -m airflow_provider_fireworks``."""

from __future__ import annotations

import signal
import sys

from airflow_provider_fireworks.check.cli import main


def _interrupt(signum: int, frame: object) -> None:
    raise KeyboardInterrupt


if __name__ == "__main__":
    # Deletes what a validation may have created, as after Ctrl-C.
    signal.signal(signal.SIGTERM, _interrupt)
    sys.exit(main())
