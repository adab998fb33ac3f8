"""A Base URL that leads elsewhere ends a task within minutes, and transient errors do not."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import AirflowFailException

from airflow_provider_fireworks import exceptions
from airflow_provider_fireworks.operators.model import FireworksPrepareModelOperator
from airflow_provider_fireworks.sensors.deployment import FireworksDeploymentReadySensor
from airflow_provider_fireworks.sensors.model import FireworksModelReadySensor
from tests.faults.network import create_certificate
from tests.integration.conftest import run_task
from tests.integration.servers import Server, http_response
from tests.timing import use_timing

PAGE = b"<html><title>Welcome</title></html>"
CLOSE = "Connection: close"
SITES = {
    "redirect": (
        http_response(b"", CLOSE, "Location: https://login.example/", status="302 Found"),
        "redirected to https://login.example/",
    ),
    "page": (http_response(PAGE, CLOSE), "HTML page: Welcome"),
    "page with 404": (http_response(PAGE, CLOSE, status="404 Not Found"), "Welcome"),
    "page with 403": (http_response(PAGE, CLOSE, status="403 Forbidden"), "Welcome"),
    "text with 401": (http_response(b"who are you?", CLOSE, status="401 Unauthorized"), "who are you"),
}


@pytest.fixture(autouse=True)
def _short_timeout(monkeypatch: pytest.MonkeyPatch) -> None:
    use_timing(monkeypatch, misdirected_timeout=0.6)


def prepare(**arguments: Any) -> Any:
    arguments = {"poll_interval": 0.1, "timeout": 30, **arguments}
    return run_task(
        lambda: FireworksPrepareModelOperator(task_id="t", model="my-model", precision="FP8", **arguments)
    )


def wait_for_model(**arguments: Any) -> Any:
    arguments = {"precision": "FP8", "poke_interval": 0.1, "timeout": 30, **arguments}
    return run_task(lambda: FireworksModelReadySensor(task_id="t", model="my-model", **arguments))


BOTH_TASKS = pytest.mark.parametrize("task", [prepare, wait_for_model])
BOTH_MODES = pytest.mark.parametrize("deferrable", [False, True], ids=["worker", "deferrable"])


@BOTH_TASKS
@BOTH_MODES
@pytest.mark.parametrize(("sent", "shown"), SITES.values(), ids=SITES)
def test_task_fails_if_a_web_site_responds(connect, task, deferrable, sent, shown):
    with Server(lambda: [sent]) as server:
        connect(host=server.url)
        with pytest.raises(exceptions.FireworksUnreachable, match=shown) as failure:
            task(deferrable=deferrable)
    assert "Check the connection's Base URL" in str(failure.value)
    assert not isinstance(failure.value, AirflowFailException), "it would not be retried"


@BOTH_TASKS
@BOTH_MODES
def test_task_fails_if_the_host_has_no_address(connect, task, deferrable):
    connect(host="https://no-such-host.invalid")
    with pytest.raises(exceptions.FireworksUnreachable, match=r"no-such-host\.invalid"):
        task(deferrable=deferrable)


@pytest.fixture
def untrusted_url(tmp_path: Path) -> Iterator[str]:
    """The URL of a server with a certificate that no client trusts."""
    with Server(lambda: [], certificate=create_certificate(tmp_path)) as server:
        yield server.url


@BOTH_TASKS
@BOTH_MODES
def test_task_fails_if_the_certificate_is_untrusted(connect, untrusted_url, task, deferrable):
    connect(host=untrusted_url)
    with pytest.raises(exceptions.FireworksUnreachable, match="CERTIFICATE_VERIFY_FAILED"):
        task(deferrable=deferrable)


@BOTH_MODES
@pytest.mark.parametrize("option", ["soft_fail", "never_fail"])
def test_sensor_never_skips_for_a_wrong_address(connect, deferrable, option):
    with Server(lambda: [SITES["page with 404"][0]]) as server:
        connect(host=server.url)
        with pytest.raises(exceptions.FireworksUnreachable):
            wait_for_model(deferrable=deferrable, **{option: True})


@BOTH_MODES
@pytest.mark.parametrize(
    "fault", [{"kind": "status", "status": 503}, {"kind": "drop"}, {"kind": "html", "status": 502}], ids=str
)
def test_sensor_survives_transient_errors_for_longer(emulator, deferrable, fault):
    emulator.fault(**fault, times=12)
    assert wait_for_model(deferrable=deferrable, precision="FP16")["precision"] == "FP16"


def test_task_survives_a_page_after_the_api_has_responded(emulator):
    emulator.configure(duration=1.5)
    fault = threading.Timer(0.3, lambda: emulator.fault("html", status=404, times=8))
    fault.start()
    assert prepare(wait_for_completion=True)["precision"] == "FP8"
    fault.join()


def test_missing_deployment_advises_to_clear_the_task_that_creates_it(emulator):
    with pytest.raises(exceptions.FireworksNotFound, match="Clear the task that creates it"):
        run_task(lambda: FireworksDeploymentReadySensor(task_id="t", deployment="gone"))
