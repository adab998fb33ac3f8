from __future__ import annotations

import re
import signal
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pytest

from airflow_provider_fireworks.emulator import Creation
from airflow_provider_fireworks.identity import Identity
from local_airflow import TaskInstance
from local_airflow.invariants import Witness
from local_airflow.postgres import programs
from local_airflow.server import ServerMissingError

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Callable
    from pathlib import Path


@pytest.fixture
def kills(folder: Path, start: Callable[..., subprocess.Popen[str]]) -> Callable[..., subprocess.Popen[str]]:
    try:
        programs()
    except ServerMissingError as error:
        pytest.skip(str(error))
    return lambda *arguments: start("local_airflow.kills", "--home", str(folder / "home"), *arguments)


def test_nothing_is_doubled_or_left_whatever_is_killed(
    kills: Callable[..., subprocess.Popen[str]], left: Callable[[], list[str]]
) -> None:
    # Of this seed's runs the first one has a deployment that fails.
    process = kills("--seed", "3", "--kills", "5", "--minutes", "0.8", "--runs-at-once", "2")
    told, _ = process.communicate(timeout=900)

    assert process.returncode == 0, told
    assert "Traceback" not in told
    summary = re.fullmatch(
        r"seed \d+: (\d+) kills \(\d+ workers, \d+ triggerers, \d+ schedulers\) in \d+ min, "
        r"(\d+) runs \((\d+) succeeded, \d+ failed\), "
        r"(\d+) deployments created \(\d+ of them anew after one that failed\), "
        r"0 doubled, 0 left, 0 succeeded without being READY",
        told.splitlines()[-1],
    )
    assert summary is not None, told
    killed, runs, succeeded, deployments = map(int, summary.groups())
    assert killed == 5
    assert runs >= 2
    assert succeeded == runs - 1
    assert deployments >= 2 * runs
    assert left() == []


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGKILL, -signal.SIGKILL)])
def test_nothing_is_left_running_when_it_is_ended(
    kills: Callable[..., subprocess.Popen[str]],
    end_early: Callable[..., None],
    number: signal.Signals,
    code: int,
) -> None:
    end_early(kills(), number, code)


@dataclass
class Gateway:
    """A gateway that has whatever deployments a test wants it to have."""

    creations: list[Creation] = field(default_factory=list)
    deployments: list[dict[str, Any]] = field(default_factory=list)

    def create(self, name: str, identity: Identity | None, state: str = "READY") -> dict[str, Any]:
        self.creations.append(Creation("demo", name, "accounts/demo/models/my-model", "FP8", time.time()))
        description = "" if identity is None else identity.description
        made = {
            "name": f"accounts/demo/deployments/{name}",
            "description": description,
            "precision": "FP8",
            "createTime": str(len(self.creations)),
            "state": state,
        }
        self.deployments.append(made)
        return made


def task(task_id: str, state: str = "success", map_index: int = -1) -> TaskInstance:
    return TaskInstance("kill_run", "r1", task_id, map_index, state, 1, 1.0)


IDENTITY = Identity("kill_run", "r1", "worker.deploy")


def kinds(witness: Witness) -> list[str]:
    return [violation.kind for violation in witness.violations]


def test_a_run_that_is_as_it_must_be_is_no_violation() -> None:
    gateway = Gateway()
    witness = Witness(gateway, "kill_run", grace=0)
    first = gateway.create("one", IDENTITY)
    second = gateway.create("two", Identity("kill_run", "r1", "serve.deploy", 1))
    witness.look()
    for made in (first, second):
        made["state"] = "DELETED"
    tasks = [task("worker.deploy"), task("serve.deploy", map_index=1), task("serve.up", map_index=1)]
    witness.end_of_run("r1", "success", tasks, fails=False)
    witness.look()
    assert kinds(witness) == []


def test_a_second_deployment_of_one_task_is_a_violation() -> None:
    gateway = Gateway()
    witness = Witness(gateway, "kill_run")
    gateway.create("one", IDENTITY, state="DELETED")
    gateway.create("two", IDENTITY)
    witness.look()
    assert kinds(witness) == ["doubled"]


def test_a_name_that_is_taken_twice_at_once_is_a_violation() -> None:
    gateway = Gateway()
    witness = Witness(gateway, "kill_run")
    gateway.create("one", IDENTITY)
    gateway.create("one", IDENTITY)
    witness.look()
    assert kinds(witness) == ["doubled"]


def test_one_that_is_made_anew_must_be_ready_itself() -> None:
    gateway = Gateway()
    witness = Witness(gateway, "kill_run")
    gateway.create("one", IDENTITY)
    witness.look()
    gateway.deployments.clear()
    gateway.create("one", IDENTITY, state="CREATING")
    witness.look()
    gateway.deployments.clear()
    witness.end_of_run("r1", "success", [task("worker.deploy")], fails=False)
    assert kinds(witness) == ["not ready"]
    assert "READY → made anew → CREATING → DELETED" in str(witness.violations[0])


def test_one_that_is_gone_before_it_is_seen_is_a_violation() -> None:
    gateway = Gateway()
    witness = Witness(gateway, "kill_run")
    gateway.create("one", IDENTITY)
    gateway.deployments.clear()
    witness.finish()
    assert kinds(witness) == ["unsigned"]


@pytest.mark.parametrize("state", ["CREATING", "READY", "UPDATING", "DELETING", "FAILED"])
def test_what_is_there_after_the_end_of_its_run_is_a_violation(state: str) -> None:
    gateway = Gateway()
    witness = Witness(gateway, "kill_run", grace=0)
    gateway.create("one", IDENTITY, state=state)
    witness.end_of_run("r1", "failed", [], fails=True)
    witness.look()
    assert kinds(witness) == ["left"]


def test_what_comes_after_the_end_of_its_run_is_a_violation() -> None:
    gateway = Gateway()
    witness = Witness(gateway, "kill_run", grace=0)
    witness.end_of_run("r1", "success", [], fails=False)
    gateway.create("one", IDENTITY, state="CREATING")
    witness.look()
    assert kinds(witness) == ["left"]


@pytest.mark.parametrize(
    ("creator", "succeeded"),
    [(("worker.deploy", -1), "worker.deploy"), (("serve.deploy", 1), "serve.up")],
)
def test_a_success_without_a_ready_deployment_is_a_violation(
    creator: tuple[str, int], succeeded: str
) -> None:
    gateway = Gateway()
    witness = Witness(gateway, "kill_run")
    gateway.create("one", Identity("kill_run", "r1", *creator), state="FAILED")
    # Of another task, so it proves nothing.
    gateway.create("two", Identity("kill_run", "r1", "serve.deploy", 0))
    witness.look()
    for made in gateway.deployments:
        made["state"] = "DELETED"
    witness.end_of_run("r1", "success", [task(succeeded, map_index=creator[1])], fails=False)
    assert kinds(witness) == ["not ready"]


def test_a_run_that_succeeds_though_a_deployment_of_it_fails_is_a_violation() -> None:
    witness = Witness(Gateway(), "kill_run")
    witness.end_of_run("r1", "success", [], fails=True)
    assert kinds(witness) == ["not ready"]


def test_a_run_that_fails_for_no_reason_is_a_violation() -> None:
    witness = Witness(Gateway(), "kill_run")
    witness.end_of_run("r1", "failed", [task("worker.deploy", "failed")], fails=False)
    assert kinds(witness) == ["unexpected"]
    assert "worker.deploy failed at try 1" in str(witness.violations[0])


def test_a_deployment_that_nobody_signed_is_a_violation() -> None:
    gateway = Gateway()
    witness = Witness(gateway, "kill_run")
    gateway.create("one", None)
    witness.look()
    assert kinds(witness) == ["unsigned"]
