"""How a create task that fails deletes what it created, and what it says if it cannot."""

from __future__ import annotations

import json
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import AirflowTaskTimeout

from airflow_provider_fireworks import exceptions
from airflow_provider_fireworks.operators.deployment import cleanup
from tests.integration.conftest import TaskInstance, run_task
from tests.integration.creating import (
    NAME,
    OWNER,
    UNKNOWN_OUTCOMES,
    act_when,
    costs_nothing,
    count_changes,
    fault_id,
    is_id_free,
    make_task,
    second_try,
    signal_when,
)

NOT_DELETED = f"{NAME} was not deleted and IT MAY COST MONEY"


def time_out() -> None:
    """Raise what Airflow raises in a task, wherever it is, when its ``execution_timeout`` is over."""
    raise AirflowTaskTimeout("stopped")


# ---- over errors


@pytest.mark.parametrize("after_work", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("fault", UNKNOWN_OUTCOMES[:2], ids=fault_id)
def test_clean_up_deletes_over_transient_error(emulator, create, fault, after_work):
    emulator.configure(deploy_outcome="never", deploy_duration=0)
    emulator.fault(**fault, method="DELETE", after_work=after_work)
    with pytest.raises(exceptions.FireworksTimeout):
        create(timeout=0.2)
    assert costs_nothing(emulator)


def test_clean_up_deletes_over_transient_errors_of_its_read(emulator, create):
    emulator.configure(deploy_duration=60)
    with (
        act_when(
            lambda: emulator.count("GET", "/deployments/") > 1,
            lambda: emulator.fault("status", times=6, method="GET", path="/deployments/"),
        ),
        pytest.raises(exceptions.FireworksTimeout),
    ):
        create(timeout=0.5)
    assert costs_nothing(emulator)


def test_clean_up_deletes_after_refusal(emulator, create):
    emulator.configure(deploy_duration=60)
    emulator.fault("status", status=409, method="DELETE")
    with pytest.raises(exceptions.FireworksTimeout):
        create(timeout=0.3)
    assert costs_nothing(emulator)


# ---- visible late


@pytest.mark.parametrize("kind", ["drop", "status"])
def test_clean_up_deletes_what_appears_after_timeout(emulator, create, kind):
    emulator.configure(create_lag=0.5)
    emulator.fault(kind, method="POST", path="/deployments", after_work=True)
    with pytest.raises(exceptions.FireworksTimeout):
        create(timeout=0.3)
    assert len(emulator.creations) == 1
    assert costs_nothing(emulator)


def test_clean_up_deletes_what_appears_after_second_request_is_refused(emulator, create):
    # Longer than the operator waits for it before it sends the second request.
    emulator.configure(create_lag=0.9)
    emulator.fault("drop", method="POST", path="/deployments", after_work=True)
    emulator.fault("status", status=400, method="POST", path="/deployments")
    with pytest.raises(exceptions.FireworksRefused):
        create()
    assert len(emulator.creations) == 1
    assert costs_nothing(emulator)


# ---- access


@pytest.mark.parametrize(
    ("arguments", "lag"),
    [({}, 0), ({"deferrable": True}, 0), ({"wait_for_completion": False}, 0.05)],
    ids=["waiting", "deferred", "not waiting"],
)
def test_clean_up_deletes_by_name_what_it_may_not_read(emulator, arguments, lag):
    emulator.configure(deploy_duration=60, create_lag=lag)

    def deny_reads() -> None:
        emulator.fault("status", status=403, code=7, method="GET", path="/deployments/", times=-1)

    with (
        act_when(lambda: emulator.creations, deny_reads),
        pytest.raises(exceptions.FireworksAccessDenied) as failure,
    ):
        run_task(lambda: make_task(**arguments))
    # As long as the deployment is not visible, deleting it is a 404, and is tried again.
    deletes = [request.status for request in emulator.requests if request.method == "DELETE"]
    assert deletes[-1] == 200
    assert set(deletes[:-1]) <= ({404} if lag else set())
    assert costs_nothing(emulator)
    assert "COST MONEY" not in str(failure.value)


def test_clean_up_without_permissions_names_what_is_left(emulator, create):
    emulator.configure(deploy_duration=60)

    def deny() -> None:
        emulator.fault("status", status=403, code=7, times=-1)

    with (
        act_when(lambda: emulator.creations, deny),
        pytest.raises(exceptions.FireworksAccessDenied) as failure,
    ):
        create()
    assert NOT_DELETED in str(failure.value)
    assert emulator.deployments_left == [NAME]


def test_clean_up_after_key_is_revoked_names_what_is_left(emulator, create, caplog, capsys):
    emulator.configure(deploy_duration=60)
    with (
        act_when(lambda: emulator.count("GET", "/deployments/") > 1, emulator.revoke_key),
        pytest.raises(exceptions.FireworksAccessDenied) as failure,
    ):
        create()
    for text in (str(failure.value), caplog.text + capsys.readouterr().out):
        assert NOT_DELETED in text
        assert emulator.api_key not in text
    assert emulator.api_key not in repr(failure.value)


@pytest.mark.parametrize("path", ["/deployments/", "/accounts"])
def test_clean_up_of_retry_that_may_not_read_deletes_nothing(emulator, create, path, monkeypatch):
    emulator.configure(deploy_duration=60)
    create(wait_for_completion=False)
    connection = json.loads(emulator.connection)
    if path == "/accounts":
        del connection["login"]
    monkeypatch.setenv("AIRFLOW_CONN_FIREWORKS_DEFAULT", json.dumps(connection))
    emulator.fault("status", status=403, code=7, method="GET", path=path, times=-1)
    with pytest.raises(exceptions.FireworksAccessDenied, match="IT MAY COST MONEY") as failure:
        create(second_try())
    assert OWNER.deployment_id in str(failure.value)
    assert emulator.count("DELETE") == 0
    assert emulator.deployments_left == [NAME]


def test_clean_up_leaves_alone_what_somebody_else_has_signed(emulator, create):
    emulator.configure(deploy_duration=60)
    with (
        act_when(
            lambda: emulator.creations,
            lambda: emulator.set_deployment(OWNER.deployment_id, description="Mine now!"),
        ),
        pytest.raises(exceptions.FireworksTimeout),
    ):
        create(timeout=0.3)
    assert emulator.deployments_left == [NAME]
    assert count_changes(emulator) == 0


# ---- interrupted by Airflow's time limit


@pytest.mark.parametrize("delete_on_failure", [False, True])
def test_clean_up_after_execution_timeout_while_waiting(emulator, delete_on_failure):
    emulator.configure(deploy_duration=60)
    with (
        signal_when(lambda: emulator.count("GET", "/deployments/") > 1, time_out),
        pytest.raises(AirflowTaskTimeout),
    ):
        make_task(delete_on_failure=delete_on_failure).execute({"ti": TaskInstance()})
    assert is_id_free(emulator) is delete_on_failure
    assert costs_nothing(emulator) is delete_on_failure


@pytest.mark.parametrize("lag", [0, 0.4], ids=["visible at once", "visible late"])
def test_clean_up_after_execution_timeout_while_creating(emulator, lag):
    emulator.configure(deploy_duration=60, create_lag=lag)
    emulator.fault("slow", method="POST", path="/deployments", after_work=True, delay=3)
    with signal_when(lambda: emulator.creations, time_out), pytest.raises(AirflowTaskTimeout):
        make_task().execute({"ti": TaskInstance()})
    assert len(emulator.creations) == 1
    assert costs_nothing(emulator)


@pytest.mark.parametrize(("interruptions", "deleted"), [(1, True), (2, False)])
def test_clean_up_interrupted_by_time_limit_is_tried_once_more(emulator, interruptions, deleted):
    emulator.configure(deploy_duration=60)
    # Slow enough for the time limit to interrupt a DELETE before the API carries it out.
    emulator.fault("slow", method="DELETE", times=interruptions, delay=3)
    seen: list[int] = []

    def deletes_once_more() -> bool:
        is_new = emulator.count("DELETE") > len(seen)
        if is_new:
            seen.append(1)
        return is_new

    with (
        signal_when(deletes_once_more, time_out, times=interruptions),
        pytest.raises(exceptions.FireworksTimeout) as failure,
    ):
        make_task(timeout=0.3).execute({"ti": TaskInstance()})
    assert (f"{NOT_DELETED}: stopped" in str(failure.value)) is not deleted
    assert emulator.count("DELETE") == 2
    if deleted:
        assert costs_nothing(emulator)


# ---- the task's own error comes first


def test_clean_up_error_does_not_replace_error_of_task(emulator, monkeypatch, capsys):
    def fail(*_: Any, **__: Any) -> None:
        raise ZeroDivisionError

    emulator.configure(deploy_duration=60)
    monkeypatch.setattr(cleanup, "remove", fail)
    with pytest.raises(exceptions.FireworksTimeout, match=NOT_DELETED):
        make_task(timeout=0.3).execute({"ti": TaskInstance()})
    assert NOT_DELETED in capsys.readouterr().out
