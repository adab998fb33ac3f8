"""Set up an Airflow home for the tests, before anything imports Airflow."""

from __future__ import annotations

import atexit
import os
import shutil
import tempfile
from pathlib import Path

from hypothesis import HealthCheck, settings

_home = tempfile.mkdtemp(prefix="airflow-provider-fireworks-")
atexit.register(shutil.rmtree, _home, ignore_errors=True)
# Those of make too, as some tests run make.
for name in [name for name in os.environ if name.startswith(("AIRFLOW", "FIREWORKS_", "MAKE", "MFLAGS"))]:
    if name != "FIREWORKS_OPENAPI_DIR":
        del os.environ[name]
os.environ["AIRFLOW_HOME"] = _home
os.environ["AIRFLOW__CORE__LOAD_EXAMPLES"] = "False"
# dag.test() runs only DAGs of this folder.
os.environ["AIRFLOW__CORE__DAGS_FOLDER"] = str(Path(__file__).parents[1] / "example_dags")

# An example may take long on a busy machine.
settings.register_profile("any_machine", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("any_machine")
