"""The trigger on its own, as a triggerer runs it: many on one event loop, restarted, with the key replaced."""

from __future__ import annotations

import asyncio
import json
import threading
import time
from typing import Any

import httpx
import pytest
from asgiref.sync import async_to_sync

from airflow_provider_fireworks.client.config import ClientConfig
from airflow_provider_fireworks.client.precision import Precision
from airflow_provider_fireworks.hooks import fireworks as hooks
from airflow_provider_fireworks.hooks.fireworks import FireworksHook
from airflow_provider_fireworks.triggers.deployment import FireworksDeploymentReadyTrigger
from airflow_provider_fireworks.triggers.model import FireworksModelReadyTrigger
from tests.integration.conftest import MODEL, fire
from tests.timing import use_timing

TRIGGER = "airflow_provider_fireworks.triggers.model.FireworksModelReadyTrigger"


def arguments(precision: str = "FP8", **wait: Any) -> dict[str, Any]:
    wait = {
        "model": MODEL,
        "precision": precision,
        "deadline": time.time() + 10,
        "poll_interval": 0.1,
    } | wait
    return {"fireworks_conn_id": "fireworks_default", "wait": wait, "resume_state": {"kept": [1]}}


async def event_of(trigger: FireworksModelReadyTrigger | FireworksDeploymentReadyTrigger) -> Any:
    return await anext(aiter(trigger.run()))


def test_it_survives_being_stored():
    kwargs = arguments()
    path, stored = FireworksModelReadyTrigger(**kwargs).serialize()
    assert path == TRIGGER
    assert json.loads(json.dumps(stored)) == kwargs


def test_a_restart_keeps_deadline_and_baseline(emulator):
    emulator.configure(precision_lists="absent", duration=0.5)
    before = {"state": "READY", "calibrated": False, "posted": "accepted", "posted_at": time.time()}
    kwargs = arguments(baseline=before, deadline=time.time() + 5)

    async def killed_and_restarted() -> Any:
        running = asyncio.create_task(event_of(FireworksModelReadyTrigger(**kwargs)))
        await asyncio.sleep(0.3)
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running
        _, stored = FireworksModelReadyTrigger(**kwargs).serialize()
        assert stored == kwargs
        emulator.set_model("my-model", calibrated=True, state="READY")
        return await event_of(FireworksModelReadyTrigger(**stored))

    verdict = asyncio.run(killed_and_restarted()).payload["verdict"]
    assert (verdict["outcome"], verdict["inferred"]) == ("ready", True)


def test_it_only_reads(emulator):
    fire(TRIGGER, arguments(deadline=time.time() + 0.5))
    assert {request.method for request in emulator.requests} == {"GET"}


def test_it_sleeps_before_its_first_look_and_not_beyond_the_deadline(emulator):
    started = time.time()
    event = fire(TRIGGER, arguments(poll_interval=60, deadline=started + 0.5))
    assert event["verdict"]["outcome"] == "timeout"
    assert event["resume_state"] == {"kept": [1]}
    assert time.time() - started < 2
    assert [request.at - started >= 0.4 for request in emulator.requests] == [True]


def test_many_share_one_client_and_one_connection_read(emulator, monkeypatch):
    made, read = [], []
    real_init, real_read = httpx.AsyncClient.__init__, FireworksHook.get_connection
    monkeypatch.setattr(
        httpx.AsyncClient,
        "__init__",
        lambda self, **how: (made.append(how["verify"]), real_init(self, **how))[1],
    )

    def reading(conn_id: str) -> Any:
        read.append(conn_id)
        return real_read(conn_id)

    monkeypatch.setattr(FireworksHook, "get_connection", staticmethod(reading))

    async def all_of_them() -> list[Any]:
        triggers = [FireworksModelReadyTrigger(**arguments(deadline=time.time() + 0.6)) for _ in range(50)]
        return await asyncio.gather(*map(event_of, triggers))

    assert {event.payload["verdict"]["outcome"] for event in asyncio.run(all_of_them())} == {"timeout"}
    assert len(made) == 1
    assert read == ["fireworks_default"]
    assert not [doors for doors in hooks._shared.values() if doors], "a client is left open"


@pytest.mark.parametrize("conn_id", ["fireworks_default", None])
def test_what_the_supervisor_is_asked_comes_from_the_loop(emulator, monkeypatch, conn_id):
    """The triggerer of Airflow 3.0 and 3.1 has its link to the supervisor in the loop, and asks it so."""
    real_make, loops = ClientConfig.make, []

    def making(**fields: Any) -> ClientConfig:
        async def ask() -> None:
            loops.append(asyncio.get_running_loop())

        async_to_sync(ask)()
        return real_make(**fields)

    monkeypatch.setattr(ClientConfig, "make", making)
    monkeypatch.setenv("FIREWORKS_API_KEY", emulator.api_key)
    monkeypatch.setenv("FIREWORKS_BASE_URL", emulator.url)

    async def wait() -> Any:
        loops.append(asyncio.get_running_loop())
        return await event_of(
            FireworksModelReadyTrigger(**{**arguments("FP16"), "fireworks_conn_id": conn_id})
        )

    assert asyncio.run(wait()).payload["verdict"]["outcome"] == "ready"
    assert len(loops) == 2
    assert loops[0] is loops[1]


def test_cancelled_while_its_connection_is_read_it_knows_why(emulator, monkeypatch):
    """Airflow calls ``on_kill`` by the message that a cancellation has."""
    begun, real_read = threading.Event(), FireworksHook.get_connection

    def reading(conn_id: str) -> Any:
        begun.set()
        time.sleep(1)
        return real_read(conn_id)

    monkeypatch.setattr(FireworksHook, "get_connection", staticmethod(reading))

    async def cancelled() -> Any:
        # Caught in the task itself, as Airflow does: before Python 3.11 whoever awaits it is not told the message.
        async def running() -> Any:
            with pytest.raises(asyncio.CancelledError) as cancellation:
                await event_of(FireworksModelReadyTrigger(**arguments()))
            return cancellation.value.args

        task = asyncio.create_task(running())
        await asyncio.to_thread(begun.wait, 10)
        task.cancel("why")
        return await task

    assert asyncio.run(cancelled()) == ("why",)


def test_a_key_that_was_replaced_ends_no_wait(emulator, monkeypatch):
    async def while_replaced() -> Any:
        running = asyncio.create_task(event_of(FireworksModelReadyTrigger(**arguments(Precision.FP16.value))))
        emulator.set_model("my-model", state="UPLOADING")
        await asyncio.sleep(0.3)
        emulator.api_key = "fw_replaced"
        monkeypatch.setenv("AIRFLOW_CONN_FIREWORKS_DEFAULT", emulator.connection)
        await asyncio.sleep(0.3)
        emulator.set_model("my-model", state="READY")
        return await running

    assert asyncio.run(while_replaced()).payload["verdict"]["outcome"] == "ready"


def test_a_connection_that_cannot_be_read_for_a_while_ends_no_wait_that_has_it(emulator, monkeypatch):
    use_timing(monkeypatch, connection_ttl=0.0)
    read = []
    real_read = FireworksHook.get_connection

    def reading(conn_id: str) -> Any:
        read.append(conn_id)
        return real_read(conn_id)

    monkeypatch.setattr(FireworksHook, "get_connection", staticmethod(reading))

    async def while_away() -> Any:
        running = asyncio.create_task(event_of(FireworksModelReadyTrigger(**arguments(Precision.FP16.value))))
        emulator.set_model("my-model", state="UPLOADING")
        await asyncio.sleep(0.3)
        monkeypatch.delenv("AIRFLOW_CONN_FIREWORKS_DEFAULT")
        before = len(read)
        # A look takes a second at the shortest.
        await asyncio.sleep(1.5)
        assert len(read) > before
        emulator.set_model("my-model", state="READY")
        return await running

    assert asyncio.run(while_away()).payload["verdict"]["outcome"] == "ready"


@pytest.mark.parametrize("connection", [None, '{"conn_type": "fireworks"}'], ids=["none", "without a key"])
def test_a_connection_that_is_gone_ends_the_wait_in_words(emulator, monkeypatch, connection):
    if connection is None:
        monkeypatch.delenv("AIRFLOW_CONN_FIREWORKS_DEFAULT")
    else:
        monkeypatch.setenv("AIRFLOW_CONN_FIREWORKS_DEFAULT", connection)
    event = fire(TRIGGER, arguments())
    assert event["verdict"]["outcome"] == "bad_connection"
    assert "fireworks_default" in event["verdict"]["reason"]


def test_the_environment_is_a_connection_too(emulator, monkeypatch):
    monkeypatch.setenv("FIREWORKS_API_KEY", emulator.api_key)
    monkeypatch.setenv("FIREWORKS_BASE_URL", emulator.url)
    event = fire(TRIGGER, arguments("FP16") | {"fireworks_conn_id": None})
    assert event["verdict"]["outcome"] == "ready"


# ---- a deployment's

DEPLOYMENT_TRIGGER = "airflow_provider_fireworks.triggers.deployment.FireworksDeploymentReadyTrigger"
DEPLOYMENT = "accounts/demo/deployments/d"
CHAT = "/inference/v1/chat/completions"
MINE = "mine, and of nobody else"


@pytest.fixture
def deployed(emulator: Any) -> Any:
    """An API with the deployment ``d``, CREATING for half a second, of which nothing was asked yet."""
    emulator.configure(deploy_duration=0.5, scale_duration=0.2)
    spec = {"baseModel": MODEL, "acceleratorType": "NVIDIA_H100_80GB", "description": MINE}
    FireworksHook().create_deployment("d", spec)
    emulator.clear()
    return emulator


def deployment_arguments(delete_on_kill: str | None = None, **wait: Any) -> dict[str, Any]:
    wait = {"deployment": DEPLOYMENT, "deadline": time.time() + 10, "poll_interval": 0.1} | wait
    return {
        "fireworks_conn_id": "fireworks_default",
        "wait": wait,
        "resume_state": {"kept": [1]},
        "delete_on_kill": delete_on_kill,
    }


def test_a_deployments_trigger_survives_being_stored():
    kwargs = deployment_arguments(MINE, until="inference", known=True, replica_count=2)
    path, stored = FireworksDeploymentReadyTrigger(**kwargs).serialize()
    assert path == DEPLOYMENT_TRIGGER
    assert json.loads(json.dumps(stored)) == kwargs


ENDINGS = {
    # What becomes of it: (how, fields of the wait, outcome, reason)
    "ready": (None, {}, "ready", "READY"),
    "as many replicas": (None, {"replica_count": 1}, "ready", "1 ready"),
    "too few": (None, {"replica_count": 2, "deadline": 1.5}, "timeout", "not with 2 yet"),
    "failed": (lambda emulator: emulator.set_deployment("d", state="FAILED"), {}, "failed", "FAILED"),
    "deleted": (lambda emulator: emulator.set_deployment("d", state="DELETED"), {}, "failed", "DELETED"),
    "vanished": (lambda emulator: emulator.remove_deployment("d"), {"known": True}, "failed", "deleted"),
    "never there": (lambda emulator: emulator.remove_deployment("d"), {}, "not_found", "404"),
    "no key": (lambda emulator: emulator.revoke_key(), {}, "access_denied", "API key"),
    "away": (lambda emulator: emulator.stop(), {"deadline": 0.5}, "timeout", "cannot be reached"),
}


@pytest.mark.parametrize(("happen", "wait", "outcome", "told"), ENDINGS.values(), ids=ENDINGS)
def test_how_a_wait_for_a_deployment_ends(deployed, happen, wait, outcome, told):
    if happen:
        happen(deployed)
    if "deadline" in wait:
        wait = wait | {"deadline": time.time() + wait["deadline"]}
    event = fire(DEPLOYMENT_TRIGGER, deployment_arguments(**wait))
    assert event["verdict"]["outcome"] == outcome
    assert told in event["verdict"]["reason"]
    assert event["resume_state"] == {"kept": [1]}
    assert deployed.api_key not in repr(event)


def test_a_restart_keeps_what_was_known_of_a_deployment(deployed):
    kwargs = deployment_arguments(known=True, deadline=time.time() + 5)

    async def killed_and_restarted() -> Any:
        running = asyncio.create_task(event_of(FireworksDeploymentReadyTrigger(**kwargs)))
        await asyncio.sleep(0.25)
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running
        _, stored = FireworksDeploymentReadyTrigger(**kwargs).serialize()
        assert stored == kwargs
        assert deployed.deployments_left == [DEPLOYMENT]
        deployed.remove_deployment("d")
        return await event_of(FireworksDeploymentReadyTrigger(**stored))

    verdict = asyncio.run(killed_and_restarted()).payload["verdict"]
    assert verdict["outcome"] == "failed"


def test_it_only_reads_a_deployment(deployed):
    fire(DEPLOYMENT_TRIGGER, deployment_arguments(MINE))
    assert {request.method for request in deployed.requests} == {"GET"}


def test_waiting_for_it_to_serve_it_asks_it_once_it_is_ready(deployed):
    deployed.configure(serving_lag=0.4)
    event = fire(DEPLOYMENT_TRIGGER, deployment_arguments(until="inference"))
    assert event["verdict"] == {**event["verdict"], "outcome": "ready", "reason": "inference answers"}
    asked = [request.status for request in deployed.requests if request.path == CHAT]
    assert set(asked[:-1]) == {404}
    assert asked[-1] == 200
    assert deployed.requests[0].method == "GET"
    assert {request.path for request in deployed.requests} == {CHAT, f"/v1/{DEPLOYMENT}"}


def test_asking_it_wakes_it_from_zero(deployed):
    deployed.set_deployment("d", state="READY")
    FireworksHook().scale_deployment("d", 0)
    event = fire(DEPLOYMENT_TRIGGER, deployment_arguments(until="inference"))
    assert event["verdict"]["outcome"] == "ready"
    assert deployed.deployment("d")["replicaCount"] == 1


@pytest.mark.parametrize(
    "error",
    [
        {"kind": "drop"},
        {"kind": "status", "status": 503},
        {"kind": "status", "status": 429, "retry_after": "0"},
        {"kind": "html", "status": 404},
    ],
    ids=lambda error: " ".join(map(str, error.values())),
)
def test_blips_are_waited_out_in_the_triggerer(deployed, error):
    deployed.fault(**error, times=3)
    event = fire(DEPLOYMENT_TRIGGER, deployment_arguments(until="inference"))
    assert event["verdict"]["outcome"] == "ready"


def test_both_kinds_of_trigger_share_one_client(deployed, monkeypatch):
    made = []
    real_init = httpx.AsyncClient.__init__
    monkeypatch.setattr(
        httpx.AsyncClient, "__init__", lambda self, **how: (made.append(1), real_init(self, **how))[1]
    )

    async def all_of_them() -> list[Any]:
        triggers = [FireworksDeploymentReadyTrigger(**deployment_arguments()) for _ in range(20)]
        others = [FireworksModelReadyTrigger(**arguments("FP16")) for _ in range(5)]
        return await asyncio.gather(*map(event_of, [*triggers, *others]))

    assert {event.payload["verdict"]["outcome"] for event in asyncio.run(all_of_them())} == {"ready"}
    assert len(made) == 1
    assert not [doors for doors in hooks._shared.values() if doors], "a client is left open"


def test_cancelled_it_deletes_nothing(deployed):
    async def cancelled() -> None:
        trigger = FireworksDeploymentReadyTrigger(**deployment_arguments(MINE, poll_interval=60))
        running = asyncio.create_task(event_of(trigger))
        await asyncio.sleep(0.1)
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running
        await trigger.cleanup()

    asyncio.run(cancelled())
    assert deployed.deployments_left == [DEPLOYMENT]


@pytest.mark.parametrize("connection", [None, '{"conn_type": "fireworks"}'], ids=["none", "without a key"])
def test_a_connection_that_is_gone_ends_the_wait_for_a_deployment(deployed, monkeypatch, connection):
    if connection is None:
        monkeypatch.delenv("AIRFLOW_CONN_FIREWORKS_DEFAULT")
    else:
        monkeypatch.setenv("AIRFLOW_CONN_FIREWORKS_DEFAULT", connection)
    event = fire(DEPLOYMENT_TRIGGER, deployment_arguments())
    assert event["verdict"]["outcome"] == "bad_connection"
