from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from local_airflow import LocalAirflow


def test_the_ui_is_given_the_form_of_the_connection(airflow: LocalAirflow) -> None:
    forms = {form["connection_type"]: form for form in airflow.api.get("/ui/connections/hook_meta")}

    form = forms["fireworks"]
    assert form["hook_name"] == "Fireworks AI"
    fields = form["standard_fields"]
    assert fields["login"]["title"] == "Account ID"
    assert fields["password"]["title"] == "API key"
    assert fields["host"]["title"] == "Base URL"


def test_no_dag_file_is_broken(airflow: LocalAirflow) -> None:
    for dag in ("prepare_fan_out", "prepare_scheduled", "deploy_fan_out", "sweep_deployments"):
        airflow.wait_for_dag(dag)

    assert airflow.api.get("/api/v2/importErrors")["import_errors"] == []
