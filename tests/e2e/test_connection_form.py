"""Airflow's UI knows the connection type, and parses all example DAGs."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from local_airflow.components import LocalAirflow


def test_connection_form_in_ui_has_fields_of_the_provider(airflow: LocalAirflow) -> None:
    forms = {form["connection_type"]: form for form in airflow.api.get("/ui/connections/hook_meta")}

    form = forms["fireworks"]
    assert form["hook_name"] == "Fireworks AI"
    fields = form["standard_fields"]
    assert fields["login"]["title"] == "Account ID"
    assert fields["password"]["title"] == "API key"
    assert fields["host"]["title"] == "Base URL"
    assert form["extra_fields"]["requests_per_minute"]["schema"]["title"] == "Requests per minute"


def test_example_dags_have_no_import_error(airflow: LocalAirflow) -> None:
    for dag in ("prepare_fan_out", "prepare_scheduled", "deploy_fan_out", "sweep_deployments"):
        airflow.wait_for_dag(dag)

    assert airflow.api.get("/api/v2/importErrors")["import_errors"] == []
