"""``python -m airflow_provider_fireworks``."""

from __future__ import annotations

import sys

from airflow_provider_fireworks.check.cli import interrupt_on_signals, main

if __name__ == "__main__":
    interrupt_on_signals()
    sys.exit(main())
