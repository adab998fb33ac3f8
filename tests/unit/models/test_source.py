"""What a folder has, and what is requested for it. Bad folders are in ``tests/integration/upload_model``."""

from __future__ import annotations

from dataclasses import replace

import pytest

from airflow_provider_fireworks.client.files import SourceFile
from airflow_provider_fireworks.models.source import InvalidSourceError, ModelKind, Source

FOLDER = "s3://bucket/folder"
LORA = ["adapter_config.json", "adapter_model.bin"]
BASE = ["config.json", "model.safetensors"]


def never() -> None:
    raise AssertionError("a file was opened")


def files(*names: str, size: int = 5, version: str = "v") -> list[SourceFile]:
    return [SourceFile(name, size, version, open=never) for name in names]


def source(*names: str, kind: ModelKind | None = None) -> Source:
    return Source.of(FOLDER, files(*names), kind)


@pytest.mark.parametrize(("names", "kind"), [(LORA, ModelKind.LORA), (BASE, ModelKind.BASE)])
def test_kind_is_told_by_the_files(names, kind):
    assert source(*names).kind is source(*names, kind=kind).kind is kind


def test_lora_beside_a_base_model_is_an_error():
    with pytest.raises(
        InvalidSourceError, match=r"Move these files elsewhere: config\.json, model\.safetensors"
    ):
        source(*LORA, *BASE)


def test_files_are_sorted():
    found = source("model.safetensors", "z.txt", "config.json", "a/b.txt")
    assert [file.name for file in found.files] == ["a/b.txt", "config.json", "model.safetensors", "z.txt"]
    assert found.size == 20


def test_model_card_is_left_out_beside_a_lora_only():
    assert len(source(*LORA, "README.md").files) == 2
    assert len(source(*BASE, "README.md").files) == 3


def test_configs_include_the_indexes_that_exist():
    assert source(*LORA).configs == ["adapter_config.json"]
    assert source(*BASE).configs == ["config.json"]
    index = "model.safetensors.index.json"
    assert source(*BASE, index).configs == ["config.json", index]


@pytest.mark.parametrize("weights", ["model.safetensors", "model.safetensors.index.json"])
def test_index_of_bin_files_beside_safetensors_is_not_read(weights):
    left_over = "pytorch_model.bin.index.json"
    names = ["config.json", "model-1.safetensors"]
    assert left_over in source(*names, left_over).configs
    assert left_over not in source(*names, weights, left_over).configs


def test_config_with_null_quantization_is_accepted():
    assert source(*BASE).spec({"config.json": {"quantization_config": None}})


def test_spec_of_base_model_has_its_details():
    spec = source(*BASE).spec({"config.json": {}}, base_model_details={"worldSize": 4, "moe": True})
    assert spec == {
        "kind": "HF_BASE_MODEL",
        "baseModelDetails": {
            "checkpointFormat": "HUGGINGFACE",
            "worldSize": 4,
            "huggingfaceFiles": BASE,
            "moe": True,
        },
    }


@pytest.mark.parametrize("rank", [None, "8", 8.5, True])
def test_rank_of_lora_must_be_a_whole_number(rank):
    config = {"r": rank, "target_modules": ["q"]}
    with pytest.raises(InvalidSourceError, match=r"r in adapter_config\.json is not a whole number"):
        source(*LORA).spec({"adapter_config.json": config}, base_model="m")


@pytest.mark.parametrize("modules", [None, "all-linear", [1], {"q": 1}])
def test_target_modules_of_lora_must_be_names(modules):
    config = {"r": 8, "target_modules": modules}
    with pytest.raises(InvalidSourceError, match=r"target_modules in adapter_config\.json is not a list"):
        source(*LORA).spec({"adapter_config.json": config}, base_model="m")


def test_missing_base_model_names_what_the_lora_was_trained_on():
    config = {"r": 8, "target_modules": ["q"], "base_model_name_or_path": "org/base"}
    with pytest.raises(InvalidSourceError, match="trained on, 'org/base'"):
        source(*LORA).spec({"adapter_config.json": config})


@pytest.mark.parametrize(
    "index", [{}, {"weight_map": None}, {"weight_map": []}, {"weight_map": {"a": "model.safetensors"}}]
)
def test_index_that_names_no_missing_file_is_accepted(index):
    name = "model.safetensors.index.json"
    assert source(*BASE, name).spec({"config.json": {}, name: index})["kind"] == "HF_BASE_MODEL"


@pytest.mark.parametrize("others", [[], ["training_args.bin"], ["optimizer.pt"]])
def test_checkpoint_without_weights_is_rejected(others):
    with pytest.raises(InvalidSourceError, match="has no weights"):
        source("config.json", *others)


def test_many_missing_files_are_not_all_named():
    name = "model.safetensors.index.json"
    weights = {str(number): f"model-{number:02}.safetensors" for number in range(30)}
    with pytest.raises(InvalidSourceError, match=r"model-00.*model-09\.safetensors and 20 more"):
        source(*BASE, name).spec({"config.json": {}, name: {"weight_map": weights}})


# ---- the digest


def test_digest_is_the_same_for_the_same_files_in_any_order():
    spec = {"kind": "HF_BASE_MODEL"}
    reordered = Source.of("s3://another/folder", files(*reversed(BASE)), None)
    assert source(*BASE).digest(spec) == reordered.digest(spec)
    assert len(source(*BASE).digest(spec)) == 32


@pytest.mark.parametrize("changed", [{"name": "model-2.safetensors"}, {"size": 6}, {"version": "w"}], ids=str)
def test_digest_differs_if_a_file_does(changed):
    before = source(*BASE)
    after = replace(before, files=(before.files[0], replace(before.files[1], **changed)))
    assert before.digest({}) != after.digest({})


def test_digest_differs_if_the_request_does():
    assert source(*BASE).digest({"kind": "a"}) != source(*BASE).digest({"kind": "b"})
