"""How the create operator rejects invalid arguments; which ones are invalid is in ``tests/unit/test_arguments.py``."""

from __future__ import annotations

import pytest
from airflow.providers.common.compat.sdk import AirflowFailException

from airflow_provider_fireworks import exceptions
from tests.integration.conftest import TaskInstance
from tests.integration.creating import H100, OWNER, make_task, second_try

INVALID = [
    ({"model": "../other"}, "model"),
    ({"precision": "fp8"}, "FP8"),
    ({"deployment_shape": "default", "accelerator_type": H100}, "deployment_shape cannot be combined with"),
    ({"extra_spec": {"minReplicaCount": 1}}, "extra_spec: minReplicaCount"),
]


@pytest.mark.parametrize(("arguments", "message"), INVALID, ids=str)
def test_create_rejects_invalid_literal_when_dag_is_parsed(emulator, arguments, message):
    with pytest.raises(exceptions.FireworksInvalidArgument, match=message):
        make_task(**arguments)
    assert emulator.requests == []


@pytest.mark.parametrize(
    ("arguments", "message"),
    [*INVALID, ({"timeout": "soon"}, "timeout"), ({"model": None}, "model")],
    ids=str,
)
def test_create_rejects_invalid_rendering_before_any_request(emulator, arguments, message):
    rendered = make_task()
    for name, value in arguments.items():
        setattr(rendered, name, value)
    with pytest.raises(exceptions.FireworksInvalidArgument, match=message) as failure:
        rendered.execute({"ti": TaskInstance()})
    assert isinstance(failure.value, AirflowFailException)
    assert "MAY COST MONEY" not in str(failure.value)
    assert emulator.requests == []


def test_create_retry_with_invalid_rendering_names_what_may_exist(emulator):
    rendered = make_task()
    rendered.timeout = "soon"
    with pytest.raises(exceptions.FireworksInvalidArgument, match="IT MAY COST MONEY") as failure:
        rendered.execute({"ti": second_try()})
    assert f"{OWNER.deployment_id} may exist, created by an earlier try" in str(failure.value)


def test_create_accepts_templates_when_dag_is_parsed():
    template = "{{ params.x }}"
    make_task(
        model=template,
        precision=template,
        deployment_id=template,
        accelerator_type=template,
        accelerator_count=template,
        min_replica_count=template,
        max_replica_count=1,
        display_name=template * 9,
        extra_spec={"autoscalingPolicy": template},
    )
