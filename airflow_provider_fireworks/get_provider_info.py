"""The provider's metadata. Every component of Airflow reads it at its start, so it is data only and imports nothing."""

from __future__ import annotations

from typing import Any


def get_provider_info() -> dict[str, Any]:
    """Return the provider's metadata, as defined by Airflow's ``provider_info.schema.json``."""
    return {
        "package-name": "airflow-provider-fireworks",
        "name": "Fireworks AI",
        "description": "Upload models to Fireworks AI, prepare them per precision, and deploy them.",
        "integrations": [
            {
                "integration-name": "Fireworks AI",
                "external-doc-url": "https://docs.fireworks.ai/",
                "tags": ["ai"],
            }
        ],
        "hooks": [_modules("hooks.fireworks")],
        "operators": [_modules("operators.model", "operators.deployment", "operators.router")],
        "sensors": [_modules("sensors.model", "sensors.deployment")],
        "triggers": [_modules("triggers.model", "triggers.deployment", "triggers.router")],
        "extra-links": [
            "airflow_provider_fireworks.links.FireworksModelLink",
            "airflow_provider_fireworks.links.FireworksDeployedModelLink",
            "airflow_provider_fireworks.links.FireworksDeploymentLink",
        ],
        # Airflow 3.2 and later; earlier versions ignore it.
        "cli": ["airflow_provider_fireworks.check.airflow_command.get_cli_commands"],
        "connection-types": [
            {
                "connection-type": "fireworks",
                "hook-class-name": "airflow_provider_fireworks.hooks.fireworks.FireworksHook",
                "hook-name": "Fireworks AI",
                # Airflow 3.2 and later. They store it in the extra, of which earlier versions show nothing.
                "conn-fields": {
                    "requests_per_minute": {
                        "label": "Requests per minute",
                        "description": "The most that deferred tasks send. Empty: as many as the API accepts.",
                        "schema": {"type": ["integer", "null"], "minimum": 1},
                    }
                },
                "ui-field-behaviour": {
                    "hidden-fields": ["schema", "port", "extra"],
                    "relabeling": {"login": "Account ID", "password": "API key", "host": "Base URL"},
                    "placeholders": {
                        "login": "looked up from the key if empty",
                        "password": "fw_…",
                        "host": "https://api.fireworks.ai",
                    },
                },
            }
        ],
    }


def _modules(*modules: str) -> dict[str, Any]:
    return {
        "integration-name": "Fireworks AI",
        "python-modules": [f"airflow_provider_fireworks.{module}" for module in modules],
    }
