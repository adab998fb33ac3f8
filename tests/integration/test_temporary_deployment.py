"""``temporary_deployment`` in whole runs: the run's state, the states of its tasks, and which deployments are left."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import AirflowSkipException
from airflow.providers.standard.operators.empty import EmptyOperator
from airflow.sdk import TaskGroup, task, task_group

try:
    from airflow.sdk.exceptions import DuplicateTaskIdFound
except ImportError:  # Airflow 3.0 and 3.1
    from airflow.exceptions import DuplicateTaskIdFound

from airflow_provider_fireworks.hooks.fireworks import FireworksHook
from airflow_provider_fireworks.operators.deployment import TemporaryDeployment, temporary_deployment
from tests.integration.creating import H100
from tests.integration.dag_runs import new_dag, run_dag, states


def deployed(**arguments: Any) -> AbstractContextManager[TemporaryDeployment]:
    """Return a temporary deployment that polls often, and retries nothing."""
    quick = {"poll_interval": 0.1, "ready_timeout": 20, "retries": 0, "remove_retries": 0}
    model = {} if "prepared" in arguments else {"model": "my-model", "precision": "FP16"}
    return temporary_deployment(**{**model, "accelerator_type": H100, **quick, **arguments})


@task
def ask(inference_model: str) -> None:
    """Fail unless inference answers."""
    hook = FireworksHook()
    body = {"model": inference_model, "messages": [{"role": "user", "content": "Say hello."}]}
    url = hook.config.url("inference/v1/chat/completions")
    hook.get_conn().post(url, json=body, timeout=10).raise_for_status()


@task
def use() -> None:
    """Fail unless there is a deployment that is ready."""
    assert "READY" in [each.state for each in FireworksHook().list_deployments()]


@task
def none_left() -> None:
    """Fail if there is a deployment."""
    assert {each.state for each in FireworksHook().list_deployments()} <= {"DELETED"}


@task
def fail() -> None:
    raise RuntimeError("This task fails.")


@task
def skip() -> None:
    raise AirflowSkipException("This task skips itself.")


def passes(task_id: str, **arguments: Any) -> EmptyOperator:
    return EmptyOperator(task_id=task_id, **arguments)


@dataclass(frozen=True)
class Structure:
    """
    A DAG, and what is to become of it.

    :param build: adds its tasks.
    :param run: the state of the run.
    :param others: the states of all tasks that do not succeed.
    :param created: how many deployments are created.
    :param left: how many are left.
    :param before: prepares the emulator.
    """

    build: Callable[[], Any]
    run: str
    others: dict[str, str]
    created: int
    left: int
    before: Callable[[Any], Any]


STRUCTURES: dict[str, Structure] = {}


def ends(
    run: str,
    others: dict[str, str] | None = None,
    *,
    created: int = 1,
    left: int = 0,
    before: Callable[[Any], Any] = lambda emulator: None,
) -> Callable[[Callable[[], Any]], Callable[[], Any]]:
    """Add a structure; see :class:`Structure`."""

    def add(build: Callable[[], Any]) -> Callable[[], Any]:
        STRUCTURES[build.__name__] = Structure(build, run, others or {}, created, left, before)
        return build

    return add


def none_created(*tasks: str) -> dict[str, str]:
    """Return the states of tasks that do not run since the deployment was not created."""
    return dict.fromkeys((*tasks, "up", "done", "remove"), "upstream_failed")


# Blocks


@ends("success")
def one_task() -> None:
    with deployed() as deployment:
        ask(deployment.inference_model)


@ends("success")
def one_task_while_all_waits_are_deferred() -> None:
    with deployed(deferrable=True) as deployment:
        ask(deployment.inference_model)


@ends("success")
def chain() -> None:
    with deployed() as deployment:
        ask(deployment.inference_model) >> use() >> use.override(task_id="last")()


@ends("success")
def parallel_tasks() -> None:
    with deployed() as deployment:
        ask(deployment.inference_model)
        use()
        use.override(task_id="third")()


@ends("success")
def fan_in_and_out() -> None:
    with deployed():
        use.override(task_id="first")() >> [use(), use.override(task_id="third")()] >> passes("last")


@ends("success", {"not_chosen": "skipped"})
def branch() -> None:
    with deployed():
        task.branch(task_id="choose")(lambda: "chosen")() >> [
            use.override(task_id="chosen")(),
            passes("not_chosen"),
        ]


@ends("success", {"not_chosen": "skipped"})
def branch_that_joins() -> None:
    with deployed():
        both = [use.override(task_id="chosen")(), passes("not_chosen")]
        join = use.override(task_id="join", trigger_rule="none_failed_min_one_success")()
        task.branch(task_id="choose")(lambda: "chosen")() >> both >> join


@ends("success", {"second": "skipped", "third": "skipped"})
def short_circuit() -> None:
    with deployed():
        first = task.short_circuit(task_id="first")(lambda: False)()
        first >> passes("second") >> passes("third")


@ends("success", {"skip": "skipped"})
def skipped_block() -> None:
    with deployed():
        skip()


@ends("success", {"skip": "skipped", "second": "skipped"})
def skipped_chain() -> None:
    with deployed():
        skip() >> passes("second")


@ends("success")
def nested_groups() -> None:
    with deployed() as deployment, TaskGroup("outer"):
        ask(deployment.inference_model)
        with TaskGroup("inner"):
            use() >> passes("last")


@ends("failed", {"outer.inner.fail": "failed", "outer.inner.last": "upstream_failed"})
def nested_groups_that_fail() -> None:
    with deployed(), TaskGroup("outer"):
        use()
        with TaskGroup("inner"):
            fail() >> passes("last")


@ends("success")
def mapped_task() -> None:
    with deployed():
        use.override(task_id="listed")()
        task(lambda number: use.function()).override(task_id="mapped").expand(number=[1, 2])


@ends("failed", {"divide[1]": "failed"})
def mapped_task_that_fails() -> None:
    with deployed():
        task(lambda number: 1 / number).override(task_id="divide").expand(number=[1, 0])


@ends("success")
def mapped_task_over_an_output() -> None:
    with deployed():
        numbers = task(lambda: [1, 2]).override(task_id="numbers")()
        task(lambda number: use.function()).override(task_id="mapped").expand(number=numbers)


@ends("failed", {"each.divide[1]": "failed", "each.then[1]": "upstream_failed"})
def mapped_group_in_the_block() -> None:
    @task_group
    def each(number: int) -> None:
        task(lambda number: 1 / number).override(task_id="divide")(number) >> passes("then")

    with deployed():
        each.expand(number=[1, 0])


@ends("success")
def setup_and_teardown_in_the_block() -> None:
    with deployed():
        prepared = passes("prepared").as_setup()
        prepared >> use() >> passes("tidied").as_teardown(setups=prepared)


@ends("failed", {"fail": "failed"})
def setup_and_teardown_in_a_block_that_fails() -> None:
    with deployed():
        prepared = passes("prepared").as_setup()
        prepared >> fail() >> passes("tidied").as_teardown(setups=prepared)


@ends("success")
def empty_block() -> None:
    with deployed():
        pass


# Failures in the block


@ends("failed", {"fail": "failed"})
def block_that_fails() -> None:
    with deployed():
        fail()


@ends("failed", {"fail": "failed"})
def one_of_two_parallel_tasks_fails() -> None:
    with deployed():
        fail()
        use()


@ends("failed", {"fail": "failed", "second": "upstream_failed", "third": "upstream_failed"})
def first_of_a_chain_fails() -> None:
    with deployed():
        fail() >> passes("second") >> passes("third")


@ends("success", {"fail": "failed"})
def failure_before_a_last_task_with_all_done() -> None:
    with deployed():
        fail() >> use.override(trigger_rule="all_done")()


@ends("success", {"fail": "failed"})
def failure_before_a_last_task_with_one_failed() -> None:
    with deployed():
        fail() >> use.override(trigger_rule="one_failed")()


@ends("success", {"one_failed": "skipped"})
def last_task_with_one_failed_after_a_success() -> None:
    with deployed():
        use() >> passes("one_failed", trigger_rule="one_failed")


@ends("failed", {"fail": "failed", "last": "upstream_failed"})
def failure_before_a_last_task_with_none_failed() -> None:
    with deployed():
        [fail(), use()] >> passes("last", trigger_rule="none_failed")


@ends("success", {"skip": "skipped"})
def skip_before_a_last_task_with_none_failed() -> None:
    with deployed():
        skip() >> use.override(trigger_rule="none_failed")()


@ends("success")
def deployment_deleted_by_the_block() -> None:
    @task
    def delete(deployment: str) -> None:
        FireworksHook().delete_deployment(deployment, ignore_checks=True)

    with deployed() as deployment:
        delete(deployment.name)


# Failures around the block


def refuse(method: str, **fields: Any) -> Callable[[Any], None]:
    return lambda emulator: emulator.fault("status", status=403, method=method, times=-1, **fields)


@ends("failed", {"deploy": "failed"} | none_created("use"), created=0, before=refuse("POST"))
def create_refused() -> None:
    with deployed():
        use()


@ends("success", before=lambda emulator: emulator.fault("drop", method="POST", after_work=True))
def create_whose_response_is_lost() -> None:
    with deployed():
        use()


@ends(
    "failed",
    {"up": "failed", "use": "upstream_failed"},
    before=lambda emulator: emulator.configure(deploy_outcome="failed"),
)
def deployment_that_fails() -> None:
    with deployed():
        use()


@ends(
    "failed",
    {"up": "failed"},
    before=lambda emulator: emulator.configure(deploy_outcome="failed"),
)
def deployment_that_fails_with_an_empty_block() -> None:
    with deployed():
        pass


@ends(
    "failed",
    {"up": "failed", "use": "upstream_failed"},
    before=lambda emulator: emulator.configure(deploy_outcome="failed"),
)
def deployment_that_fails_under_default_args_that_skip() -> None:
    with (
        TaskGroup("group", prefix_group_id=False, default_args={"soft_fail": True, "never_fail": True}),
        deployed(),
    ):
        use()


@ends(
    "failed",
    {"up": "failed", "use": "upstream_failed"},
    before=lambda emulator: emulator.configure(deploy_outcome="never"),
)
def deployment_that_is_never_ready() -> None:
    with deployed(ready_timeout=0.5):
        use()


@ends(
    "failed",
    {"up": "failed", "use": "upstream_failed"},
    before=lambda emulator: emulator.configure(serving_lag=3600),
)
def deployment_that_never_answers() -> None:
    with deployed(ready_timeout=1):
        use()


@ends("success", before=lambda emulator: emulator.configure(serving_lag=3600))
def deployment_that_need_not_answer() -> None:
    with deployed(wait_for_inference=False):
        use()


@ends("failed", {"remove": "failed"}, left=1, before=refuse("DELETE"))
def removal_refused() -> None:
    with deployed():
        use()


@ends("failed", {"fail": "failed", "remove": "failed"}, left=1, before=refuse("DELETE"))
def removal_refused_after_a_block_that_fails() -> None:
    with deployed():
        fail()


@ends("failed", {"remove": "failed"}, left=1, before=refuse("DELETE"))
def removal_refused_after_an_empty_block() -> None:
    with deployed():
        pass


# Tasks outside of the block


@ends("success")
def task_before() -> None:
    with deployed() as deployment:
        use()
    passes("before") >> deployment.deploy


@ends("failed", {"fail": "failed", "deploy": "upstream_failed"} | none_created("use"), created=0)
def task_before_that_fails() -> None:
    with deployed() as deployment:
        use()
    fail() >> deployment.deploy


@ends("success", dict.fromkeys(("skip", "deploy", "up", "use", "done", "remove"), "skipped"), created=0)
def task_before_that_is_skipped() -> None:
    with deployed() as deployment:
        use()
    skip() >> deployment.deploy


@ends("success")
def task_after() -> None:
    with deployed() as deployment:
        use()
    deployment.remove >> none_left()


@ends("failed", {"fail": "failed"})
def task_after_a_block_that_fails() -> None:
    with deployed() as deployment:
        fail()
    deployment.remove >> none_left()


@ends("failed", {"remove": "failed", "after": "upstream_failed"}, left=1, before=refuse("DELETE"))
def task_after_a_removal_that_fails() -> None:
    with deployed() as deployment:
        use()
    deployment.remove >> passes("after")


@ends("success")
def task_of_the_block_after_one_outside() -> None:
    outside = passes("outside")
    with deployed():
        outside >> use()


@ends("failed", {"fail": "failed", "use": "upstream_failed"})
def task_of_the_block_after_one_outside_that_fails() -> None:
    outside = fail()
    with deployed():
        outside >> use()


@ends("success", {"skip": "skipped", "use": "skipped"})
def task_of_the_block_after_one_outside_that_is_skipped() -> None:
    outside = skip()
    with deployed():
        outside >> use()


@ends("success")
def task_of_the_block_before_one_outside() -> None:
    with deployed():
        inside = use()
    inside >> passes("outside")


@ends("failed", {"group.fail": "failed", "after": "upstream_failed"})
def group_that_fails_before_a_task() -> None:
    with TaskGroup("group") as group, deployed():
        fail()
    group >> passes("after")


@ends("success")
def group_before_a_task() -> None:
    with TaskGroup("group") as group, deployed():
        use()
    group >> passes("after")


@ends("success")
def group_with_an_empty_block_before_a_task() -> None:
    with TaskGroup("group") as group, deployed():
        pass
    group >> passes("after")


@ends("success")
def task_before_a_group() -> None:
    with TaskGroup("group") as group, deployed():
        use()
    passes("before") >> group


# Several deployments

SECOND_NOT_CREATED = {
    f"second.{each}": "upstream_failed" for each in ("deploy", "up", "ask", "done", "remove")
}


def prepared_at_both(emulator: Any) -> None:
    emulator.set_model("my-model", supportedPrecisions=["FP16", "FP8", "FP4"])


def quota_for_one(emulator: Any) -> None:
    prepared_at_both(emulator)
    emulator.configure(gpu_quota=1)


def fails_at_fp4(emulator: Any) -> None:
    prepared_at_both(emulator)
    emulator.configure(deploy_outcomes={"FP4": "failed"})


@ends("success", created=2)
def two_side_by_side() -> None:
    with deployed(group_id="first") as first:
        ask(first.inference_model)
    with deployed(group_id="second") as second:
        ask(second.inference_model)


@ends("failed", {"first.fail": "failed"}, created=2)
def two_side_by_side_and_one_fails() -> None:
    with deployed(group_id="first"):
        fail()
    with deployed(group_id="second") as second:
        ask(second.inference_model)


@ends("success", created=2)
def two_in_turn() -> None:
    with deployed(group_id="first") as first:
        ask(first.inference_model)
    with deployed(group_id="second") as second:
        ask(second.inference_model)
    first.remove >> none_left() >> second.deploy


@ends("failed", {"first.fail": "failed"}, created=2)
def two_in_turn_and_the_first_block_fails() -> None:
    with deployed(group_id="first") as first:
        fail()
    with deployed(group_id="second") as second:
        ask(second.inference_model)
    first.remove >> second.deploy


@ends(
    "failed",
    {"first.remove": "failed", **SECOND_NOT_CREATED},
    left=1,
    before=refuse("DELETE"),
)
def two_in_turn_and_the_first_removal_fails() -> None:
    with deployed(group_id="first") as first:
        use()
    with deployed(group_id="second") as second:
        ask(second.inference_model)
    first.remove >> second.deploy


@ends(
    "failed",
    {
        "first.deploy": "failed",
        **{f"first.{each}": "upstream_failed" for each in ("up", "use", "done", "remove")},
        **SECOND_NOT_CREATED,
    },
    created=0,
    before=refuse("POST"),
)
def two_in_turn_and_the_first_create_fails() -> None:
    with deployed(group_id="first") as first:
        use()
    with deployed(group_id="second") as second:
        ask(second.inference_model)
    first.remove >> second.deploy


@ends("failed", {"first.up": "failed", "first.use": "upstream_failed"}, created=2, before=fails_at_fp4)
def two_in_turn_and_the_first_is_never_ready() -> None:
    with deployed(group_id="first", precision="FP4") as first:
        use()
    with deployed(group_id="second", precision="FP8") as second:
        ask(second.inference_model)
    first.remove >> second.deploy


@ends("success", created=2, before=quota_for_one)
def two_in_turn_under_a_quota_for_one() -> None:
    with deployed(group_id="first", precision="FP8") as first:
        ask(first.inference_model)
    with deployed(group_id="second", precision="FP4") as second:
        ask(second.inference_model)
    first.remove >> second.deploy


@ends(
    "failed",
    {"first.remove": "failed", **SECOND_NOT_CREATED},
    left=1,
    before=lambda emulator: (quota_for_one(emulator), refuse("DELETE")(emulator)),
)
def two_in_turn_under_a_quota_for_one_and_the_first_removal_fails() -> None:
    with deployed(group_id="first", precision="FP8") as first:
        ask(first.inference_model)
    with deployed(group_id="second", precision="FP4") as second:
        ask(second.inference_model)
    first.remove >> second.deploy


@ends(
    "failed",
    {**SECOND_NOT_CREATED, "second.deploy": "failed", "first.ask": "upstream_failed"},
    before=quota_for_one,
)
def two_that_overlap_under_a_quota_for_one() -> None:
    with deployed(group_id="first", precision="FP8") as first:
        asked = ask(first.inference_model)
    with deployed(group_id="second", precision="FP4") as second:
        ask(second.inference_model)
    first.up >> second.deploy >> asked


@ends("success", created=2)
def one_in_the_block_of_another() -> None:
    with deployed() as outer:
        with deployed(group_id="inner") as inner:
            ask(inner.inference_model)
        ask.override(task_id="outer")(outer.inference_model)


@ends("success", created=2)
def one_alone_in_the_block_of_another() -> None:
    with deployed(), deployed(group_id="inner") as inner:
        ask(inner.inference_model)


@ends("success", created=2)
def one_empty_in_the_block_of_another() -> None:
    with deployed(), deployed(group_id="inner"):
        pass


@ends("failed", {"inner.fail": "failed"}, created=2)
def one_in_the_block_of_another_fails() -> None:
    with deployed(), deployed(group_id="inner"):
        fail()


@ends(
    "failed",
    {"inner.up": "failed", "inner.use": "upstream_failed"},
    created=2,
    before=fails_at_fp4,
)
def one_in_the_block_of_another_is_never_ready() -> None:
    with deployed(), deployed(group_id="inner", precision="FP4"):
        use()


@ends("success", created=2, before=prepared_at_both)
def mapped_group() -> None:
    @task_group
    def serve(precision: str) -> None:
        with deployed(precision=precision) as deployment:
            ask(deployment.inference_model)

    serve.expand(precision=["FP8", "FP4"]) >> passes("after")


@ends("failed", {"serve.divide[1]": "failed", "after": "upstream_failed"}, created=2, before=prepared_at_both)
def mapped_group_with_a_block_that_fails() -> None:
    @task_group
    def serve(precision: str, number: int) -> None:
        with deployed(precision=precision):
            task(lambda number: 1 / number).override(task_id="divide")(number)

    serve.expand_kwargs([{"precision": "FP8", "number": 1}, {"precision": "FP4", "number": 0}]) >> passes(
        "after"
    )


@ends("failed", {"serve.up[1]": "failed", "serve.ask[1]": "upstream_failed"}, created=2, before=fails_at_fp4)
def mapped_group_with_a_deployment_that_fails() -> None:
    @task_group
    def serve(precision: str) -> None:
        with deployed(precision=precision) as deployment:
            ask(deployment.inference_model)

    serve.expand(precision=["FP8", "FP4"])


@ends(
    "failed",
    {"serve.deploy[1]": "failed"}
    | {f"serve.{each}[1]": "upstream_failed" for each in ("up", "ask", "done", "remove")},
    before=lambda emulator: emulator.set_model("my-model", supportedPrecisions=["FP16", "FP8"]),
)
def mapped_group_with_a_create_that_fails() -> None:
    @task_group
    def serve(precision: str) -> None:
        with deployed(precision=precision) as deployment:
            ask(deployment.inference_model)

    serve.expand(precision=["FP8", "FP4"])


@pytest.mark.parametrize("name", STRUCTURES)
def test_run_of_structure_ends_as_its_block(
    name: str, emulator: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    structure = STRUCTURES[name]
    structure.before(emulator)
    with new_dag() as dag:
        structure.build()
    run = run_dag(dag, tmp_path, monkeypatch)
    ended = states(run)
    assert {task_id: state for task_id, state in ended.items() if state != "success"} == structure.others
    assert run.state == structure.run
    assert len(emulator.creations) == structure.created
    assert len(emulator.deployments_left) == structure.left


def test_block_with_groups_lies_between_up_and_done() -> None:
    @task_group
    def each(number: int) -> None:
        passes("mapped")

    with new_dag() as dag:
        outside = passes("outside")
        with deployed() as deployment:
            with TaskGroup("group"):
                outside >> passes("first") >> passes("second")
            each.expand(number=[1, 2])
            with deployed(group_id="inner"):
                pass
            passes("alone")
    block = {"group.first", "group.second", "each.mapped", "inner.up", "inner.remove", "alone"}
    before_all = {"deploy", "up"}
    for task_id in block:
        assert before_all <= dag.get_task(task_id).get_flat_relative_ids(upstream=True)
        assert {"done", "remove"} <= dag.get_task(task_id).get_flat_relative_ids(upstream=False)
    first = {"group.first", "each.mapped", "inner.deploy", "alone"}
    assert first | {"done"} == deployment.up.downstream_task_ids
    last = {"group.second", "each.mapped", "inner.remove", "alone"}
    assert last | {"deploy", "up"} == dag.get_task("done").upstream_task_ids
    assert deployment.remove.upstream_task_ids == {"done", "deploy"}


@pytest.mark.parametrize("empty", [False, True])
def test_tasks_of_temporary_deployment_are_setups_and_teardowns(empty: bool) -> None:
    with new_dag() as dag, deployed() as deployment:
        if not empty:
            use()
    done = dag.get_task("done")
    assert deployment.deploy.is_setup
    # A group whose only tasks are setups and teardowns has nothing that another task can follow.
    assert deployment.up.is_setup is not empty
    assert (done.is_teardown, done.on_failure_fail_dagrun) == (True, False)
    assert (deployment.remove.is_teardown, deployment.remove.on_failure_fail_dagrun) == (True, True)


@pytest.mark.parametrize("trigger_rule", ["all_done", "none_failed", "always"])
def test_task_after_up_with_other_trigger_rule_is_refused_by_name(trigger_rule: str) -> None:
    message = rf"wrong comes directly after up.*all_success, not {trigger_rule}"
    with pytest.raises(ValueError, match=message), new_dag(), deployed():
        use.override(task_id="wrong", trigger_rule=trigger_rule)()


def test_task_after_output_with_other_trigger_rule_is_refused_by_name() -> None:
    message = "wrong comes directly after deploy.*all_success"
    with pytest.raises(ValueError, match=message), new_dag(), deployed() as deployment:
        use() >> ask.override(task_id="wrong", trigger_rule="all_done")(deployment.inference_model)


def test_trigger_rule_of_default_args_reaches_only_the_create() -> None:
    with new_dag(default_args={"trigger_rule": "none_failed"}), deployed() as deployment:
        use.override(trigger_rule="all_success")()
    assert deployment.deploy.trigger_rule == "none_failed"
    assert deployment.up.trigger_rule == "all_success"
    assert deployment.remove.trigger_rule == "all_done_setup_success"


@pytest.mark.parametrize(
    "wrong",
    [{"task_id": "mine"}, {"wait_for_completion": True}, {"validate_only": True}, {"deployment_id": "d"}],
)
def test_argument_of_create_that_would_break_the_block_is_type_error(wrong: dict[str, Any]) -> None:
    with new_dag() as dag, pytest.raises(TypeError, match=next(iter(wrong))), deployed(**wrong):
        pass
    assert dag.task_ids == []


def test_second_temporary_deployment_without_group_id_is_refused() -> None:
    with new_dag():
        with deployed():
            use()
        with pytest.raises(DuplicateTaskIdFound, match="deploy"), deployed():
            pass


def test_default_args_do_not_keep_remove_from_running() -> None:
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


def test_arguments_reach_the_tasks_they_are_for() -> None:
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
