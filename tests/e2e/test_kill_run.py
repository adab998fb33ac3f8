from __future__ import annotations

import math
import re
import signal
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pytest

from airflow_provider_fireworks.deployments.ownership import Owner
from airflow_provider_fireworks.emulator import CreatedDeployment
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
    # With this seed the deployments of the first run take 15 s. A triggerer that waits for one is frozen for 7 to 8 s,
    # and a triggerer is killed 10 s later, or 10 s earlier if no task waits yet when the freeze is due.
    process = kills(
        "--seed", "5831", "--kills", "1", "--freezes", "1", "--minutes", "1", "--runs-at-once", "1"
    )
    told, _ = process.communicate(timeout=900)

    assert process.returncode == 0, told
    assert "Traceback" not in told
    summary = re.fullmatch(
        r"seed \d+: 2 faults \(\d+ workers, \d+ triggerers, \d+ schedulers killed, "
        r"1 triggerers frozen, (\d+) waits reassigned\) in \d+ min, "
        r"(\d+) runs \((\d+) succeeded, \d+ failed\), "
        r"(\d+) deployments created \(\d+ of them anew after one that failed\), "
        r"0 deleted while in use, 0 doubled, 0 left, 0 succeeded without being READY",
        told.splitlines()[-1],
    )
    assert summary is not None, told
    reassigned, runs, succeeded, deployments = map(int, summary.groups())
    # Else the freeze would have tested nothing.
    assert reassigned >= 1
    assert succeeded == runs >= 1
    assert deployments == 4 * runs
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
    """An API that has whatever deployments a test wants it to have."""

    creations: list[CreatedDeployment] = field(default_factory=list)
    deployments: list[dict[str, Any]] = field(default_factory=list)

    def create(self, name: str, identity: Owner | None, state: str = "READY") -> dict[str, Any]:
        self.creations.append(
            CreatedDeployment("demo", name, "accounts/demo/models/my-model", "FP8", time.time())
        )
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


IDENTITY = Owner("kill_run", "r1", "worker.deploy")


def kinds(witness: Witness) -> list[str]:
    return [violation.kind for violation in witness.violations]


def test_a_run_that_is_as_it_must_be_is_no_violation() -> None:
    emulator = Gateway()
    witness = Witness(emulator, "kill_run", grace=0)
    first = emulator.create("one", IDENTITY)
    second = emulator.create("two", Owner("kill_run", "r1", "serve.deploy", 1))
    witness.look()
    for made in (first, second):
        made["state"] = "DELETED"
    tasks = [task("worker.deploy"), task("serve.deploy", map_index=1), task("serve.up", map_index=1)]
    witness.end_of_run("r1", "success", tasks, fails=False)
    witness.look()
    assert kinds(witness) == []


@pytest.mark.parametrize("creator", [("worker.deploy", -1), ("serve.deploy", 1)])
@pytest.mark.parametrize("state", ["CREATING", "READY", "UPDATING"])
@pytest.mark.parametrize("to", ["DELETING", "DELETED", None])
def test_deployment_deleted_before_removal_started_is_a_violation(
    creator: tuple[str, int], state: str, to: str | None
) -> None:
    emulator = Gateway()
    witness = Witness(emulator, "kill_run")
    identity = Owner("kill_run", "r1", *creator)
    made = emulator.create("one", identity, state="READY")
    witness.look()
    made["state"] = state
    witness.look()
    if to is None:
        emulator.deployments.clear()
    else:
        made["state"] = to
    witness.look()
    removal = task(creator[0].replace("deploy", "remove"), map_index=creator[1]).name
    witness.end_of_run("r1", "success", [], fails=False, removals={removal: time.time() + 1})
    assert kinds(witness) == ["deleted"]
    assert f"deleted before {removal} started" in str(witness.violations[0])


def test_deployment_replaced_although_removal_never_started_is_a_violation() -> None:
    emulator = Gateway()
    witness = Witness(emulator, "kill_run")
    emulator.create("one", IDENTITY)
    witness.look()
    emulator.deployments.clear()
    emulator.create("one", IDENTITY)
    witness.end_of_run("r1", "success", [], fails=False, removals={"worker.remove": math.inf})
    assert kinds(witness) == ["deleted"]


def test_deployment_deleted_after_removal_started_is_no_violation() -> None:
    emulator = Gateway()
    witness = Witness(emulator, "kill_run")
    made = emulator.create("one", IDENTITY)
    witness.look()
    started = time.time()
    made["state"] = "DELETED"
    witness.end_of_run("r1", "success", [], fails=False, removals={"worker.remove": started})
    assert kinds(witness) == []


def test_deployment_is_judged_by_the_removal_of_its_own_group_and_run() -> None:
    emulator = Gateway()
    witness = Witness(emulator, "kill_run")
    for name, identity in [
        ("one", Owner("kill_run", "r1", "serve.deploy", 0)),
        ("two", Owner("kill_run", "r2", "worker.deploy")),
    ]:
        emulator.create(name, identity, state="DELETED")
    removals = {"worker.remove": math.inf, "serve.remove[1]": math.inf}
    witness.end_of_run("r1", "success", [], fails=False, removals=removals)
    assert kinds(witness) == []


@pytest.mark.parametrize("states", [["CREATING", "FAILED", "DELETED"], ["CREATING", "DELETED"]])
def test_failed_deployment_deleted_at_any_time_is_no_violation(states: list[str]) -> None:
    emulator = Gateway()
    # One that fails can be gone before it is seen to have failed.
    witness = Witness(emulator, "kill_run", failing=() if "FAILED" in states else {"FP8"})
    made = emulator.create("one", IDENTITY)
    for state in states:
        made["state"] = state
        witness.look()
    witness.end_of_run("r1", "failed", [], fails=True, removals={"worker.remove": math.inf})
    assert kinds(witness) == []


def test_deployment_undeleted_is_one_violation() -> None:
    emulator = Gateway()
    witness = Witness(emulator, "kill_run")
    made = emulator.create("one", IDENTITY)
    for state in ["READY", "DELETED", "CREATING", "READY"]:
        made["state"] = state
        witness.look()
    witness.end_of_run("r1", "success", [], fails=False, removals={"worker.remove": math.inf})
    assert kinds(witness) == ["deleted"]
    assert "brought back after its deletion" in str(witness.violations[0])


def test_deployment_created_anew_after_it_was_deleted_is_no_violation() -> None:
    emulator = Gateway()
    witness = Witness(emulator, "kill_run")
    emulator.create("one", IDENTITY, state="FAILED")
    witness.look()
    emulator.deployments.clear()
    witness.look()
    emulator.create("one", IDENTITY, state="CREATING")
    witness.look()
    assert kinds(witness) == []


def test_a_second_deployment_of_one_task_is_a_violation() -> None:
    emulator = Gateway()
    witness = Witness(emulator, "kill_run")
    emulator.create("one", IDENTITY, state="DELETED")
    emulator.create("two", IDENTITY)
    witness.look()
    assert kinds(witness) == ["doubled"]


def test_a_name_that_is_taken_twice_at_once_is_a_violation() -> None:
    emulator = Gateway()
    witness = Witness(emulator, "kill_run")
    emulator.create("one", IDENTITY)
    emulator.create("one", IDENTITY)
    witness.look()
    assert kinds(witness) == ["doubled"]


def test_one_that_is_made_anew_must_be_ready_itself() -> None:
    emulator = Gateway()
    witness = Witness(emulator, "kill_run")
    emulator.create("one", IDENTITY)
    witness.look()
    emulator.deployments.clear()
    emulator.create("one", IDENTITY, state="CREATING")
    witness.look()
    emulator.deployments.clear()
    witness.end_of_run("r1", "success", [task("worker.deploy")], fails=False)
    assert kinds(witness) == ["not ready"]
    assert "READY → made anew → CREATING → DELETED" in str(witness.violations[0])


def test_one_that_is_gone_before_it_is_seen_is_a_violation() -> None:
    emulator = Gateway()
    witness = Witness(emulator, "kill_run")
    emulator.create("one", IDENTITY)
    emulator.deployments.clear()
    witness.finish()
    assert kinds(witness) == ["unsigned"]


@pytest.mark.parametrize("state", ["CREATING", "READY", "UPDATING", "DELETING", "FAILED"])
def test_what_is_there_after_the_end_of_its_run_is_a_violation(state: str) -> None:
    emulator = Gateway()
    witness = Witness(emulator, "kill_run", grace=0)
    emulator.create("one", IDENTITY, state=state)
    witness.end_of_run("r1", "failed", [], fails=True)
    witness.look()
    assert kinds(witness) == ["left"]


def test_what_comes_after_the_end_of_its_run_is_a_violation() -> None:
    emulator = Gateway()
    witness = Witness(emulator, "kill_run", grace=0)
    witness.end_of_run("r1", "success", [], fails=False)
    emulator.create("one", IDENTITY, state="CREATING")
    witness.look()
    assert kinds(witness) == ["left"]


@pytest.mark.parametrize(
    ("creator", "succeeded"),
    [(("worker.deploy", -1), "worker.deploy"), (("serve.deploy", 1), "serve.up")],
)
def test_a_success_without_a_ready_deployment_is_a_violation(
    creator: tuple[str, int], succeeded: str
) -> None:
    emulator = Gateway()
    witness = Witness(emulator, "kill_run")
    emulator.create("one", Owner("kill_run", "r1", *creator), state="FAILED")
    # Of another task, so it proves nothing.
    emulator.create("two", Owner("kill_run", "r1", "serve.deploy", 0))
    witness.look()
    for made in emulator.deployments:
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
    emulator = Gateway()
    witness = Witness(emulator, "kill_run")
    emulator.create("one", None)
    witness.look()
    assert kinds(witness) == ["unsigned"]
