"""The provider's metadata: valid for Airflow, complete, and in agreement with the classes that it names."""

from __future__ import annotations

import importlib
import json
from importlib.metadata import entry_points, metadata
from pathlib import Path

import airflow
import jsonschema
import pytest

from airflow_provider_fireworks.get_provider_info import get_provider_info

INFO = get_provider_info()
SCHEMA = json.loads((Path(airflow.__file__).parent / "provider_info.schema.json").read_text())


def paths_in(value: object) -> set[str]:
    """Return all texts that are a path into the package."""
    if isinstance(value, dict):
        return {path for each in value.values() for path in paths_in(each)}
    if isinstance(value, list):
        return {path for each in value for path in paths_in(each)}
    return {value} if isinstance(value, str) and value.startswith("airflow_provider_fireworks.") else set()


def keys_in(value: object) -> set[str]:
    if isinstance(value, dict):
        return set(value) | {key for each in value.values() for key in keys_in(each)}
    return {key for each in value for key in keys_in(each)} if isinstance(value, list) else set()


def test_info_is_valid_for_the_schema_of_airflow():
    jsonschema.validate(INFO, SCHEMA)


def test_schema_rejects_a_connection_type_without_a_hook():
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(INFO | {"connection-types": [{"connection-type": "fireworks"}]}, SCHEMA)


def test_info_is_plain_json_and_new_in_each_call():
    assert json.loads(json.dumps(INFO)) == INFO
    assert get_provider_info() is not INFO


def test_info_has_only_keys_that_airflow_knows():
    form = {"login", "password", "host", "schema", "port", "extra"}
    # The one is our own field of the form.
    assert {key for key in keys_in(INFO) if "_" in key} == {"requests_per_minute"}
    # Airflow 3.0 and 3.1 know no commands of providers, and ignore them.
    assert set(INFO) - {"cli"} <= set(SCHEMA["properties"])
    assert keys_in(INFO["connection-types"][0]["ui-field-behaviour"]) <= form | {
        "hidden-fields",
        "relabeling",
        "placeholders",
    }


@pytest.mark.parametrize("path", sorted(paths_in(INFO)))
def test_path_in_the_info_can_be_imported(path):
    module, _, name = path.rpartition(".")
    if name[0].isupper():
        assert isinstance(getattr(importlib.import_module(module), name), type)
    elif path in INFO["cli"]:
        assert callable(getattr(importlib.import_module(module), name))
    else:
        importlib.import_module(path)


def test_info_names_every_public_module_and_link():
    assert paths_in(INFO) == {
        "airflow_provider_fireworks.check.airflow_command.get_cli_commands",
        "airflow_provider_fireworks.hooks.fireworks",
        "airflow_provider_fireworks.hooks.fireworks.FireworksHook",
        "airflow_provider_fireworks.operators.model",
        "airflow_provider_fireworks.operators.deployment",
        "airflow_provider_fireworks.operators.router",
        "airflow_provider_fireworks.sensors.model",
        "airflow_provider_fireworks.sensors.deployment",
        "airflow_provider_fireworks.triggers.model",
        "airflow_provider_fireworks.triggers.deployment",
        "airflow_provider_fireworks.triggers.router",
        "airflow_provider_fireworks.links.FireworksModelLink",
        "airflow_provider_fireworks.links.FireworksDeployedModelLink",
        "airflow_provider_fireworks.links.FireworksDeploymentLink",
    }


def test_info_names_every_link_of_a_task():
    # Airflow's API server restores only links that are listed here.
    used = set()
    for path in sorted(paths_in(INFO)):
        if ".operators." in path or ".sensors." in path:
            for task in vars(importlib.import_module(path)).values():
                for link in getattr(task, "operator_extra_links", ()) if isinstance(task, type) else ():
                    used.add(f"{type(link).__module__}.{type(link).__qualname__}")
    assert {link for link in used if link.startswith("airflow_provider_fireworks.")} == set(
        INFO["extra-links"]
    )


def test_connection_type_agrees_with_the_hook():
    from airflow_provider_fireworks.hooks.fireworks import FireworksHook

    (connection,) = INFO["connection-types"]
    assert connection["connection-type"] == FireworksHook.conn_type == "fireworks"
    assert connection["hook-name"] == FireworksHook.hook_name == "Fireworks AI"


def test_form_labels_what_it_shows_and_hides_the_rest():
    behaviour = INFO["connection-types"][0]["ui-field-behaviour"]
    assert behaviour["relabeling"] == {"login": "Account ID", "password": "API key", "host": "Base URL"}
    assert not set(behaviour["hidden-fields"]) & set(behaviour["relabeling"])


def test_own_fields_of_the_form_are_optional():
    # Airflow's schema does not describe them. Its UI shows label and description, and validates by the schema.
    fields = INFO["connection-types"][0]["conn-fields"]
    assert set(fields) == {"requests_per_minute"}
    for field in fields.values():
        assert set(field) == {"label", "description", "schema"}
        jsonschema.Draft202012Validator.check_schema(field["schema"])
        assert "null" in field["schema"]["type"]


def test_entry_point_of_the_distribution_returns_the_info():
    assert (
        INFO["package-name"] == metadata("airflow-provider-fireworks")["Name"] == "airflow-provider-fireworks"
    )
    (entry,) = [
        entry
        for entry in entry_points(group="apache_airflow_provider")
        if entry.value.startswith("airflow_provider_fireworks.")
    ]
    assert entry.load() is get_provider_info
