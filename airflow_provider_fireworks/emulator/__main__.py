from __future__ import annotations

import sys

from airflow_provider_fireworks.emulator.cli import main

if __name__ == "__main__":
    sys.exit(main())
