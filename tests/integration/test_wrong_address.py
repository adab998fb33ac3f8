"""A Base URL that leads elsewhere: what plainly is not the Fireworks API ends a task within minutes."""

from __future__ import annotations

import contextlib
import json
import socket
import ssl
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
from tests.faults.network import certificate
from tests.integration.conftest import run_task
from tests.integration.raw import Server
from tests.timing import use_timing

PAGE = b"<html><title>Welcome</title></html>"


def response(status: str, body: bytes, *headers: str) -> bytes:
    lines = [f"HTTP/1.1 {status}", f"Content-Length: {len(body)}", "Connection: close", *headers]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


SITES = {
    "redirect": (
        response("302 Found", b"", "Location: https://login.example/"),
        "redirected to https://login.example/",
    ),
    "page": (response("200 OK", PAGE), r"HTML page: Welcome"),
    "page for 404": (response("404 Not Found", PAGE), "Welcome"),
    "page for 403": (response("403 Forbidden", PAGE), "Welcome"),
    "text for 401": (response("401 Unauthorized", b"who are you?"), "who are you"),
}


@pytest.fixture(autouse=True)
def _soon(monkeypatch: pytest.MonkeyPatch) -> None:
    use_timing(monkeypatch, misdirected_timeout=0.6)


@pytest.fixture
def lead_to(monkeypatch: pytest.MonkeyPatch) -> Any:
    def lead(url: str) -> None:
        connection = {"conn_type": "fireworks", "host": url, "password": "k", "login": "demo"}
        monkeypatch.setenv("AIRFLOW_CONN_FIREWORKS_DEFAULT", json.dumps(connection))

    return lead


def prepare(**arguments: Any) -> Any:
    given = {"poll_interval": 0.1, "timeout": 30, **arguments}
    return run_task(
        lambda: FireworksPrepareModelOperator(task_id="t", model="my-model", precision="FP8", **given)
    )


def ready(**arguments: Any) -> Any:
    given = {"poke_interval": 0.1, "timeout": 30, **arguments}
    return run_task(
        lambda: FireworksModelReadySensor(task_id="t", model="my-model", precision="FP8", **given)
    )


TASKS = [prepare, ready]


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("deferrable", [False, True], ids=["worker", "deferrable"])
@pytest.mark.parametrize(("sent", "told"), SITES.values(), ids=SITES)
def test_site_in_place_of_the_api_ends_the_task_with_what_answered(lead_to, task, deferrable, sent, told):
    with Server(lambda: [sent]) as server:
        lead_to(server.url)
        with pytest.raises(exceptions.FireworksUnreachable, match=told) as failure:
            task(deferrable=deferrable)
    assert "Check the connection's Base URL" in str(failure.value)
    assert not isinstance(failure.value, AirflowFailException), "it would not be retried"


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("deferrable", [False, True], ids=["worker", "deferrable"])
def test_name_that_does_not_resolve_ends_the_task(lead_to, task, deferrable):
    lead_to("https://no-such-host.invalid")
    with pytest.raises(exceptions.FireworksUnreachable, match=r"no-such-host\.invalid"):
        task(deferrable=deferrable)


@pytest.fixture
def other_certificate(tmp_path: Path) -> Iterator[str]:
    """The address of a server with a certificate that nobody trusts."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate(tmp_path))
    server = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        with contextlib.suppress(ValueError, OSError):
            while True:
                peer, _ = server.accept()
                with contextlib.suppress(OSError), context.wrap_socket(peer, server_side=True):
                    pass

    threading.Thread(target=serve, daemon=True).start()
    with server:
        yield f"https://127.0.0.1:{server.getsockname()[1]}"


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("deferrable", [False, True], ids=["worker", "deferrable"])
def test_certificate_of_another_name_ends_the_task(lead_to, other_certificate, task, deferrable):
    lead_to(other_certificate)
    with pytest.raises(exceptions.FireworksUnreachable, match="CERTIFICATE_VERIFY_FAILED"):
        task(deferrable=deferrable)


@pytest.mark.parametrize("deferrable", [False, True], ids=["worker", "deferrable"])
@pytest.mark.parametrize("skipping", [{"soft_fail": True}, {"never_fail": True}], ids=str)
def test_wrong_address_is_never_skipped(lead_to, deferrable, skipping):
    with Server(lambda: [SITES["page for 404"][0]]) as server:
        lead_to(server.url)
        with pytest.raises(exceptions.FireworksUnreachable):
            ready(deferrable=deferrable, **skipping)


@pytest.mark.parametrize("deferrable", [False, True], ids=["worker", "deferrable"])
@pytest.mark.parametrize(
    "fault", [{"kind": "status", "status": 503}, {"kind": "drop"}, {"kind": "html", "status": 502}]
)
def test_transient_error_is_borne_longer_than_a_wrong_address(emulator, deferrable, fault):
    emulator.set_model("my-model", supportedPrecisions=["FP16", "FP8"])
    emulator.fault(**fault, times=12)
    assert ready(deferrable=deferrable)["precision"] == "FP8"


def test_page_after_a_valid_response_is_borne(emulator, monkeypatch):
    emulator.configure(duration=1.5)
    run = threading.Timer(0.3, lambda: emulator.fault("html", status=404, times=8))
    run.start()
    assert prepare(wait_for_completion=True)["precision"] == "FP8"
    run.join()


def test_sensor_says_to_clear_what_creates_a_deployment_that_is_not_there(emulator):
    with pytest.raises(exceptions.FireworksNotFound, match="Clear the task that creates it"):
        run_task(lambda: FireworksDeploymentReadySensor(task_id="t", deployment="gone"))
