"""``temporary_deployment`` while a DAG is parsed: the tasks that it adds, their arguments, and what it rejects."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from airflow.sdk import TaskGroup, task_group

from airflow_provider_fireworks.operators.deployment import temporary_deployment
from tests.integration.creating import H100
from tests.integration.dag_runs import new_dag
from tests.integration.temporary_deployment.tasks import ask, deployed, empty, use

try:
    from airflow.sdk.exceptions import DuplicateTaskIdFound
except ImportError:  # Airflow 3.0 and 3.1
    from airflow.exceptions import DuplicateTaskIdFound


# ---- the tasks


def test_block_runs_between_up_and_done() -> None:
    @task_group
    def each(number: int) -> None:
        empty("mapped")

    with new_dag() as dag:
        outside = empty("outside")
        with deployed() as deployment:
            with TaskGroup("group"):
                outside >> empty("first") >> empty("second")
            each.expand(number=[1, 2])
            with deployed(group_id="inner"):
                pass
            empty("alone")
    block = {"group.first", "group.second", "each.mapped", "inner.up", "inner.remove", "alone"}
    for task_id in block:
        assert {"deploy", "up"} <= dag.get_task(task_id).get_flat_relative_ids(upstream=True)
        assert {"done", "remove"} <= dag.get_task(task_id).get_flat_relative_ids(upstream=False)
    first = {"group.first", "each.mapped", "inner.deploy", "alone"}
    assert first | {"done"} == deployment.up.downstream_task_ids
    last = {"group.second", "each.mapped", "inner.remove", "alone"}
    assert last | {"deploy", "up"} == dag.get_task("done").upstream_task_ids
    assert deployment.remove.upstream_task_ids == {"done", "deploy"}


@pytest.mark.parametrize("is_empty", [False, True])
def test_tasks_are_setups_and_teardowns(is_empty: bool) -> None:
    with new_dag() as dag, deployed() as deployment:
        if not is_empty:
            use()
    done = dag.get_task("done")
    assert deployment.deploy.is_setup
    # A group of only setups and teardowns has nothing that another task can follow.
    assert deployment.up.is_setup is not is_empty
    assert (done.is_teardown, done.on_failure_fail_dagrun) == (True, False)
    assert (deployment.remove.is_teardown, deployment.remove.on_failure_fail_dagrun) == (True, True)


# ---- arguments


def test_arguments_reach_their_tasks() -> None:
    with (
        new_dag(),
        deployed(
            fireworks_conn_id="other",
            account_id="another",
            deferrable=True,
            poll_interval=7,
            ready_timeout=70,
            timeout=30,
            execution_timeout=timedelta(minutes=1),
            retries=3,
            remove_retries=9,
            display_name="Shown",
        ) as deployment,
    ):
        use()
    deploy, up, remove = deployment.deploy, deployment.up, deployment.remove
    for each in (deploy, up, remove):
        assert (each.fireworks_conn_id, each.account_id) == ("other", "another")
    assert (deploy.deferrable, up.deferrable) == (True, True)
    assert (deploy.poll_interval, float(up.poke_interval)) == (7, 7)
    assert (deploy.timeout, float(up.timeout)) == (30, 70)
    assert (deploy.retries, remove.retries) == (3, 9)
    assert (deploy.execution_timeout, up.execution_timeout) == (timedelta(minutes=1), None)
    assert deploy.display_name == "Shown"
    assert not deploy.wait_for_completion
    assert up.wait_for_inference


def test_default_args_do_not_prevent_removal() -> None:
    hindering = {
        "depends_on_past": True,
        "wait_for_downstream": True,
        "execution_timeout": timedelta(seconds=1),
        "retries": 0,
        "retry_delay": timedelta(hours=1),
    }
    with (
        new_dag(default_args=hindering) as dag,
        temporary_deployment(model="my-model", accelerator_type=H100),
    ):
        use()
    remove = dag.get_task("remove")
    assert (remove.retries, remove.retry_delay) == (5, timedelta(seconds=30))
    for task_id in ("done", "remove"):
        last = dag.get_task(task_id)
        assert (last.depends_on_past, last.wait_for_downstream) == (False, False)
        assert last.execution_timeout is None
    assert dag.get_task("deploy").retries == 2
    assert dag.get_task("use").depends_on_past


def test_trigger_rule_of_default_args_reaches_only_deploy() -> None:
    with new_dag(default_args={"trigger_rule": "none_failed"}), deployed() as deployment:
        use.override(trigger_rule="all_success")()
    assert deployment.deploy.trigger_rule == "none_failed"
    assert deployment.up.trigger_rule == "all_success"
    assert deployment.remove.trigger_rule == "all_done_setup_success"


# ---- rejected


@pytest.mark.parametrize("trigger_rule", ["all_done", "none_failed", "always"])
def test_other_trigger_rule_after_up_is_rejected_by_task_id(trigger_rule: str) -> None:
    message = rf"wrong comes directly after up.*all_success, not {trigger_rule}"
    with pytest.raises(ValueError, match=message), new_dag(), deployed():
        use.override(task_id="wrong", trigger_rule=trigger_rule)()


@pytest.mark.parametrize(("argument", "after"), [("name", "deploy"), ("inference_model", "up")])
def test_other_trigger_rule_after_setup_is_rejected_by_task_id(argument: str, after: str) -> None:
    message = f"wrong comes directly after {after}, .*all_success"
    with pytest.raises(ValueError, match=message), new_dag(), deployed() as deployment:
        use() >> ask.override(task_id="wrong", trigger_rule="all_done")(getattr(deployment, argument))


@pytest.mark.parametrize(
    "argument",
    [{"task_id": "mine"}, {"wait_for_completion": True}, {"validate_only": True}, {"deployment_id": "d"}],
    ids=lambda argument: next(iter(argument)),
)
def test_argument_that_would_break_block_is_rejected(argument: dict[str, Any]) -> None:
    with new_dag() as dag, pytest.raises(TypeError, match=next(iter(argument))), deployed(**argument):
        pass
    assert dag.task_ids == []


def test_second_deployment_without_group_id_is_rejected() -> None:
    with new_dag():
        with deployed():
            use()
        with pytest.raises(DuplicateTaskIdFound, match="deploy"), deployed():
            pass
