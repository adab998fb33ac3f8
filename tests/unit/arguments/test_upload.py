"""The arguments of the task that uploads a model."""

from __future__ import annotations

from typing import Any

import pytest
from airflow.sdk import ObjectStoragePath

from airflow_provider_fireworks.arguments import UploadArguments
from airflow_provider_fireworks.exceptions import FireworksInvalidArgument
from airflow_provider_fireworks.models.source import ModelKind
from tests.unit.arguments.samples import OUTPUT, REQUIRED, assert_invalid, checked


def check(**arguments: Any) -> UploadArguments:
    return UploadArguments.check(**REQUIRED[UploadArguments] | arguments)


@pytest.mark.parametrize("model", ["7b", "accounts/demo/models/7b", "0"])
def test_model_id_does_not_begin_with_a_digit(model):
    assert_invalid(
        UploadArguments, "Invalid model id .*: the API accepts none that begins with a digit", model=model
    )


@pytest.mark.parametrize("model", ["m7", "accounts/7demo/models/m"])
def test_model_id_may_have_digits_elsewhere(model):
    assert checked(UploadArguments, model=model).model == model


@pytest.mark.parametrize(
    ("path", "url"),
    [
        ("s3://bucket/folder", "s3://bucket/folder"),
        ("/folder", "/folder"),
        (ObjectStoragePath("file:///folder"), "file:///folder"),
        (ObjectStoragePath("file:///folder", conn_id="c") / "x", "file://c@/folder/x"),
    ],
    ids=str,
)
def test_source_is_a_url_or_a_path(path, url):
    source = check(source=path).source
    assert ObjectStoragePath(source) == ObjectStoragePath(url)
    assert ObjectStoragePath(source).path == ObjectStoragePath(url).path


@pytest.mark.parametrize("source", ["", None, 5, ["file:///x"]], ids=repr)
def test_source_that_is_no_path_is_invalid(source):
    with pytest.raises(ValueError, match="source: "):
        check(source=source)


@pytest.mark.parametrize("password", ["word", "wo/rd+x", ""])
def test_password_in_source_is_refused_and_not_repeated(password):
    with pytest.raises(FireworksInvalidArgument, match=r"source: must have no password\.") as invalid:
        check(source=f"s3://KEY:{password}@bucket/folder")
    assert "KEY" not in str(invalid.value)


@pytest.mark.parametrize(
    "source", ["s3://connection@bucket/a:b@c", "hdfs://host:8020/a@b", "file:///a:b@c", "/a:b@c"]
)
def test_source_without_password_is_accepted(source):
    assert check(source=source).source == source


def test_kind_is_one_that_can_be_uploaded():
    assert check(kind="HF_BASE_MODEL").kind is ModelKind.BASE
    with pytest.raises(FireworksInvalidArgument, match=r"kind: .*HF_PEFT_ADDON.*, not 'LORA'"):
        check(kind="LORA")


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        ({"kind": "HF_PEFT_ADDON"}, "Missing base_model: a LoRA needs"),
        (
            {"kind": "HF_PEFT_ADDON", "base_model": "b", "base_model_details": {"a": 1}},
            "only a base model has",
        ),
        ({"kind": "HF_BASE_MODEL", "base_model": "b"}, "base_model: only a LoRA has one"),
    ],
    ids=str,
)
def test_argument_that_does_not_fit_kind_is_invalid(arguments, problem):
    with pytest.raises(FireworksInvalidArgument, match=problem):
        check(**arguments)
    with pytest.raises(FireworksInvalidArgument, match=problem):
        UploadArguments.check_literals(**REQUIRED[UploadArguments] | arguments)


def test_base_model_of_lora_may_be_of_any_account():
    base_model = "accounts/fireworks/models/b"
    assert check(kind="HF_PEFT_ADDON", base_model=base_model).base_model == base_model


@pytest.mark.parametrize("name", ["checkpointFormat", "huggingface_files"])
def test_details_that_the_operator_sets_are_invalid(name):
    assert_invalid(UploadArguments, "is not allowed: the operator sets it", base_model_details={name: 1})


def test_details_must_be_json():
    assert_invalid(
        UploadArguments, "base_model_details is not valid JSON", base_model_details={"a": float("nan")}
    )


@pytest.mark.parametrize("count", [0, -1, 65, 2.5, "many"])
def test_parallel_files_are_limited(count):
    assert_invalid(UploadArguments, "max_parallel: ", max_parallel=count)


def test_if_exists_is_fail_or_skip():
    assert checked(UploadArguments, if_exists="skip").if_exists == "skip"
    assert_invalid(UploadArguments, "if_exists: .*'overwrite'", if_exists="overwrite")


@pytest.mark.parametrize("name", UploadArguments.model_fields)
def test_output_of_another_task_is_not_used_while_the_dag_is_parsed(name):
    name = UploadArguments.model_fields[name].alias or name
    UploadArguments.check_literals(
        **{"model": "m", "source": "/x", "poll_interval": 1, "timeout": 1} | {name: OUTPUT}
    )
