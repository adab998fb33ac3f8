"""Tests use an Airflow home of their own, set before anything imports Airflow."""

from __future__ import annotations

import atexit
import os
import shutil
import tempfile
from pathlib import Path

from hypothesis import HealthCheck, settings

_home = tempfile.mkdtemp(prefix="airflow-provider-fireworks-")
atexit.register(shutil.rmtree, _home, ignore_errors=True)
# Makefile variables are left out as well, for a make inside a test.
for name in [name for name in os.environ if name.startswith(("AIRFLOW", "FIREWORKS_", "MAKE", "MFLAGS"))]:
    if name != "FIREWORKS_OPENAPI_DIR":
        del os.environ[name]
os.environ["AIRFLOW_HOME"] = _home
os.environ["AIRFLOW__CORE__LOAD_EXAMPLES"] = "False"
# What dag.test() runs has to be found there.
os.environ["AIRFLOW__CORE__DAGS_FOLDER"] = str(Path(__file__).parents[1] / "example_dags")

# How long an example takes is the machine's affair, and what else runs on it.
settings.register_profile("any_machine", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("any_machine")
