"""Several temporary deployments in one DAG: side by side, in turn, one in the block of another, and mapped."""

from __future__ import annotations

from typing import Any

import pytest
from airflow.sdk import task, task_group

from airflow_provider_fireworks.operators.deployment import TemporaryDeployment
from tests.integration.temporary_deployment.tasks import (
    ask,
    check_deleted,
    deployed,
    empty,
    fail,
    not_created,
    use,
)

SECOND_NOT_CREATED = {"second.deploy": "upstream_failed"} | not_created("ask", group="second")


@pytest.fixture
def prepared_emulator(emulator: Any) -> Any:
    """An emulated API whose ``my-model`` is ready at FP16, FP8 and FP4."""
    emulator.set_model("my-model", supportedPrecisions=["FP16", "FP8", "FP4"])
    return emulator


def second(**arguments: Any) -> TemporaryDeployment:
    """Return a second temporary deployment, with one task in its block."""
    with deployed(group_id="second", **arguments) as deployment:
        ask(deployment.inference_model)
    return deployment


# ---- side by side


def test_two_side_by_side_succeed(ends):
    with ends("success", created=2):
        with deployed(group_id="first") as first:
            ask(first.inference_model)
        second()


def test_two_side_by_side_run_both_if_one_fails(ends):
    with ends("failed", {"first.fail": "failed"}, created=2):
        with deployed(group_id="first"):
            fail()
        second()


# ---- in turn


def test_two_in_turn_never_exist_at_once(ends):
    with ends("success", created=2):
        with deployed(group_id="first") as first:
            ask(first.inference_model)
        first.remove >> check_deleted() >> second().deploy


def test_two_in_turn_run_both_if_first_block_fails(ends):
    with ends("failed", {"first.fail": "failed"}, created=2):
        with deployed(group_id="first") as first:
            fail()
        first.remove >> second().deploy


def test_two_in_turn_run_both_if_first_is_never_ready(ends, prepared_emulator):
    prepared_emulator.configure(deploy_outcomes={"FP4": "failed"})
    with ends("failed", {"first.up": "failed", "first.use": "upstream_failed"}, created=2):
        with deployed(group_id="first", precision="FP4") as first:
            use()
        first.remove >> second(precision="FP8").deploy


def test_two_in_turn_stop_if_first_create_fails(ends, emulator):
    emulator.fault("status", status=403, method="POST", times=-1)
    others = {"first.deploy": "failed"} | not_created("use", group="first") | SECOND_NOT_CREATED
    with ends("failed", others, created=0):
        with deployed(group_id="first") as first:
            use()
        first.remove >> second().deploy


@pytest.mark.parametrize("quota", [None, 1])
def test_two_in_turn_stop_if_first_removal_fails(ends, prepared_emulator, quota):
    prepared_emulator.configure(gpu_quota=quota)
    prepared_emulator.fault("status", status=403, method="DELETE", times=-1)
    with ends("failed", {"first.remove": "failed"} | SECOND_NOT_CREATED, left=1):
        with deployed(group_id="first", precision="FP8") as first:
            ask(first.inference_model)
        first.remove >> second(precision="FP4").deploy


def test_two_in_turn_succeed_under_quota_for_one(ends, prepared_emulator):
    prepared_emulator.configure(gpu_quota=1)
    with ends("success", created=2):
        with deployed(group_id="first", precision="FP8") as first:
            ask(first.inference_model)
        first.remove >> second(precision="FP4").deploy


def test_two_that_overlap_fail_under_quota_for_one(ends, prepared_emulator):
    prepared_emulator.configure(gpu_quota=1)
    others = SECOND_NOT_CREATED | {"second.deploy": "failed", "first.ask": "upstream_failed"}
    with ends("failed", others):
        with deployed(group_id="first", precision="FP8") as first:
            asked = ask(first.inference_model)
        first.up >> second(precision="FP4").deploy >> asked


# ---- one in the block of another


def test_nested_deployment_beside_task_succeeds(ends):
    with ends("success", created=2), deployed() as outer:
        with deployed(group_id="inner") as inner:
            ask(inner.inference_model)
        ask.override(task_id="outer")(outer.inference_model)


@pytest.mark.parametrize("is_empty", [False, True])
def test_nested_deployment_alone_succeeds(ends, is_empty):
    with ends("success", created=2), deployed(), deployed(group_id="inner") as inner:
        if not is_empty:
            ask(inner.inference_model)


def test_nested_deployment_with_failed_block_fails_run(ends):
    with ends("failed", {"inner.fail": "failed"}, created=2), deployed(), deployed(group_id="inner"):
        fail()


def test_nested_deployment_never_ready_fails_run(ends, prepared_emulator):
    prepared_emulator.configure(deploy_outcomes={"FP4": "failed"})
    others = {"inner.up": "failed", "inner.use": "upstream_failed"}
    with ends("failed", others, created=2), deployed(), deployed(group_id="inner", precision="FP4"):
        use()


# ---- mapped


@task_group
def serve(precision: str) -> None:
    with deployed(precision=precision) as deployment:
        ask(deployment.inference_model)


def test_mapped_group_before_task_succeeds(ends, prepared_emulator):
    with ends("success", created=2):
        serve.expand(precision=["FP8", "FP4"]) >> empty("after")


def test_mapped_group_with_failed_block_fails_run(ends, prepared_emulator):
    @task_group
    def divide_on(precision: str, number: int) -> None:
        with deployed(precision=precision):
            task(lambda number: 1 / number).override(task_id="divide")(number)

    with ends("failed", {"divide_on.divide[1]": "failed", "after": "upstream_failed"}, created=2):
        mapped = divide_on.expand_kwargs(
            [{"precision": "FP8", "number": 1}, {"precision": "FP4", "number": 0}]
        )
        mapped >> empty("after")


def test_mapped_group_with_failed_deployment_fails_run(ends, prepared_emulator):
    prepared_emulator.configure(deploy_outcomes={"FP4": "failed"})
    with ends("failed", {"serve.up[1]": "failed", "serve.ask[1]": "upstream_failed"}, created=2):
        serve.expand(precision=["FP8", "FP4"])


def test_mapped_group_with_failed_create_fails_run(ends, emulator):
    emulator.set_model("my-model", supportedPrecisions=["FP16", "FP8"])
    others = {f"{name}[1]": state for name, state in not_created("ask", group="serve").items()}
    with ends("failed", {"serve.deploy[1]": "failed"} | others):
        serve.expand(precision=["FP8", "FP4"])
