"""A run with a temporary deployment ends as its block does, whatever the block consists of."""

from __future__ import annotations

import pytest
from airflow.sdk import TaskGroup, task, task_group

from airflow_provider_fireworks.hooks.fireworks import FireworksHook
from tests.integration.temporary_deployment.tasks import ask, deployed, empty, fail, skip, use

# ---- structures


@pytest.mark.parametrize("deferrable", [False, True])
def test_block_of_one_task_succeeds(ends, deferrable):
    with ends("success"), deployed(deferrable=deferrable) as deployment:
        ask(deployment.inference_model)


def test_block_of_chain_succeeds(ends):
    with ends("success"), deployed() as deployment:
        ask(deployment.inference_model) >> use() >> use.override(task_id="last")()


def test_block_of_parallel_tasks_succeeds(ends):
    with ends("success"), deployed() as deployment:
        ask(deployment.inference_model)
        use()
        use.override(task_id="third")()


def test_block_that_fans_out_and_in_succeeds(ends):
    with ends("success"), deployed():
        use.override(task_id="first")() >> [use(), use.override(task_id="third")()] >> empty("last")


@pytest.mark.parametrize("joins", [False, True])
def test_block_with_branch_succeeds(ends, joins):
    with ends("success", {"not_chosen": "skipped"}), deployed():
        both = [use.override(task_id="chosen")(), empty("not_chosen")]
        task.branch(task_id="choose")(lambda: "chosen")() >> both
        if joins:
            both >> use.override(task_id="join", trigger_rule="none_failed_min_one_success")()


def test_block_with_short_circuit_succeeds(ends):
    with ends("success", {"second": "skipped", "third": "skipped"}), deployed():
        first = task.short_circuit(task_id="first")(lambda: False)()
        first >> empty("second") >> empty("third")


def test_block_that_is_skipped_succeeds(ends):
    with ends("success", {"skip": "skipped", "second": "skipped"}), deployed():
        skip() >> empty("second")


def test_block_with_nested_groups_succeeds(ends):
    with ends("success"), deployed() as deployment, TaskGroup("outer"):
        ask(deployment.inference_model)
        with TaskGroup("inner"):
            use() >> empty("last")


def test_block_with_nested_groups_fails(ends):
    others = {"outer.inner.fail": "failed", "outer.inner.last": "upstream_failed"}
    with ends("failed", others), deployed(), TaskGroup("outer"):
        use()
        with TaskGroup("inner"):
            fail() >> empty("last")


def test_block_with_mapped_task_succeeds(ends):
    with ends("success"), deployed():
        use.override(task_id="listed")()
        task(lambda number: use.function()).override(task_id="mapped").expand(number=[1, 2])


def test_block_with_task_mapped_over_output_succeeds(ends):
    with ends("success"), deployed():
        numbers = task(lambda: [1, 2]).override(task_id="numbers")()
        task(lambda number: use.function()).override(task_id="mapped").expand(number=numbers)


def test_block_with_mapped_task_fails(ends):
    with ends("failed", {"divide[1]": "failed"}), deployed():
        task(lambda number: 1 / number).override(task_id="divide").expand(number=[1, 0])


def test_block_with_mapped_group_fails(ends):
    @task_group
    def each(number: int) -> None:
        task(lambda number: 1 / number).override(task_id="divide")(number) >> empty("then")

    with ends("failed", {"each.divide[1]": "failed", "each.then[1]": "upstream_failed"}), deployed():
        each.expand(number=[1, 0])


@pytest.mark.parametrize("fails", [False, True])
def test_block_with_setup_and_teardown_ends_as_its_work(ends, fails):
    expected = ("failed", {"fail": "failed"}) if fails else ("success",)
    with ends(*expected), deployed():
        prepared = empty("prepared").as_setup()
        prepared >> (fail() if fails else use()) >> empty("tidied").as_teardown(setups=prepared)


def test_block_that_is_empty_succeeds(ends):
    with ends("success"), deployed():
        pass


def test_block_that_deletes_deployment_succeeds(ends):
    @task
    def delete(deployment: str) -> None:
        FireworksHook().delete_deployment(deployment, ignore_checks=True)

    with ends("success"), deployed() as deployment:
        delete(deployment.name)


# ---- failures


def test_block_with_one_failed_of_two_parallel_tasks_fails(ends):
    with ends("failed", {"fail": "failed"}), deployed():
        fail()
        use()


def test_block_with_failed_start_of_chain_fails(ends):
    others = {"fail": "failed", "second": "upstream_failed", "third": "upstream_failed"}
    with ends("failed", others), deployed():
        fail() >> empty("second") >> empty("third")


# ---- trigger rules of the last task


@pytest.mark.parametrize("trigger_rule", ["all_done", "one_failed"])
def test_block_with_failure_before_successful_end_succeeds(ends, trigger_rule):
    with ends("success", {"fail": "failed"}), deployed():
        fail() >> use.override(trigger_rule=trigger_rule)()


def test_block_with_end_skipped_by_one_failed_succeeds(ends):
    with ends("success", {"last": "skipped"}), deployed():
        use() >> empty("last", trigger_rule="one_failed")


def test_block_with_failure_before_none_failed_fails(ends):
    with ends("failed", {"fail": "failed", "last": "upstream_failed"}), deployed():
        [fail(), use()] >> empty("last", trigger_rule="none_failed")


def test_block_with_skip_before_none_failed_succeeds(ends):
    with ends("success", {"skip": "skipped"}), deployed():
        skip() >> use.override(trigger_rule="none_failed")()
