from __future__ import annotations

import subprocess
import sys

import pytest

HEAVY = ("pydantic", "uvicorn", "fastapi", "starlette", "httpx", "requests", "airflow", "asyncio")


@pytest.mark.parametrize(
    ("module", "already"),
    [
        ("airflow_provider_fireworks.emulator", "sys"),
        ("airflow_provider_fireworks.pytest_plugin", "pytest"),
    ],
)
def test_importing_it_loads_nothing_heavy(module, already):
    code = f"""
import sys, {already}
before = set(sys.modules)
import {module}
new = set(sys.modules) - before
print(*sorted(name for name in new if not name.startswith("airflow_provider_fireworks")))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert not {name.split(".")[0] for name in done.stdout.split()} & set(HEAVY)


def test_no_server_is_loaded_before_one_is_started():
    code = """
import sys
from airflow_provider_fireworks.emulator import Emulator, Fault, Options
Emulator(), Fault(kind="drop"), Options()
assert "uvicorn" not in sys.modules
"""
    subprocess.run([sys.executable, "-c", code], check=True)


def test_unknown_names_are_an_attribute_error():
    import airflow_provider_fireworks.emulator as emulator

    with pytest.raises(AttributeError, match="Emulatr"):
        _ = emulator.Emulatr
